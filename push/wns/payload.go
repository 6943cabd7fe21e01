package wns

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

// maxPart bounds a part of a payload, in bytes.
const maxPart = 5000

// glyphs are the badges that are no numbers.
var glyphs = []string{
	"none", "activity", "alarm", "alert", "attention", "available", "away", "busy", "error", "newMessage", "paused", "playing", "unavailable",
}

// part is one notification of a payload.
type part struct {
	kind string // toast, badge, tile, raw
	body []byte
}

type payload struct {
	receipt json.RawMessage
	parts   []part
	badRaw  bool // raw is no string: nothing is sent
}

// Receipt is the payload as the client meant it.
func (p *payload) Receipt() json.RawMessage { return p.receipt }

// Translate makes a payload of a string, which is a toast, or of an object of parts.
func (p *Provider) Translate(_ provider.Notifier, raw json.RawMessage) (provider.Payload, error) {
	var members []provider.Member
	if _, ok := provider.JSONText(raw); ok {
		members = []provider.Member{{Name: "toast", Value: bytes.TrimSpace(raw)}}
	} else if !provider.IsObject(raw) {
		return nil, fault.New(fault.IllegalArgument, "the windows payload must be a string or an object")
	} else {
		var err error
		if members, err = provider.Members(raw); err != nil {
			return nil, fault.New(fault.IllegalArgument, "the windows payload is no JSON object")
		}
	}
	out := &payload{receipt: provider.Object(members)}
	for _, known := range []struct {
		kind string
		make func(json.RawMessage) ([]byte, error)
	}{{"toast", toast}, {"badge", badge}, {"tile", tile}, {"raw", rawText}} {
		value := provider.Find(members, known.kind)
		if value == nil || string(value) == "null" {
			continue
		}
		if _, ok := provider.JSONText(value); known.kind == "raw" && !ok {
			out.badRaw = true
			continue
		}
		body, err := known.make(value)
		if err != nil {
			return nil, err
		}
		if len(body) > maxPart {
			return nil, fault.New(fault.IllegalArgument, "%s of the windows payload has %d bytes, up to %d are allowed", known.kind, len(body), maxPart)
		}
		out.parts = append(out.parts, part{known.kind, body})
	}
	if len(out.parts) == 0 && !out.badRaw {
		return nil, fault.New(fault.IllegalArgument, "the windows payload has no toast, badge, tile or raw")
	}
	return out, nil
}

func toast(value json.RawMessage) ([]byte, error) {
	text, ok := provider.JSONText(value)
	if !ok {
		return nil, fault.New(fault.IllegalArgument, "toast of the windows payload must be a string")
	}
	if strings.HasPrefix(text, "<") {
		return document(text, "toast")
	}
	return []byte(`<toast><visual><binding template="ToastText01"><text id="1">` + escaped(text) + `</text></binding></visual></toast>`), nil
}

func badge(value json.RawMessage) ([]byte, error) {
	text, ok := provider.JSONText(value)
	if !ok {
		text = string(value)
	}
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		text = strconv.FormatUint(n, 10)
	} else if !ok || !slices.Contains(glyphs, text) {
		return nil, fault.New(fault.IllegalArgument, "badge of the windows payload must be a number from 0 or one of %s", strings.Join(glyphs, ", "))
	}
	return []byte(`<badge value="` + text + `"/>`), nil
}

func tile(value json.RawMessage) ([]byte, error) {
	text, ok := provider.JSONText(value)
	if !ok {
		return nil, fault.New(fault.IllegalArgument, "tile of the windows payload must be a string of XML")
	}
	return document(text, "tile")
}

func rawText(value json.RawMessage) ([]byte, error) {
	text, _ := provider.JSONText(value)
	return []byte(text), nil
}

// escaped is text as it may stand in XML; what XML cannot say is left out.
func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a strings.Builder takes all
	return out.String()
}

// document wants one well-formed element of that name.
func document(text, name string) ([]byte, error) {
	wrong := fault.New(fault.IllegalArgument, "%s of the windows payload must be an XML element of that name", name)
	if len(text) > maxPart {
		return []byte(text), nil // too long for anything: the caller says so
	}
	d := xml.NewDecoder(strings.NewReader(text))
	depth, roots := 0, 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, wrong
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				if roots++; roots > 1 || t.Name.Local != name {
					return nil, wrong
				}
			}
			depth++
		case xml.EndElement:
			depth--
		case xml.Directive:
			return nil, wrong
		}
	}
	if roots != 1 {
		return nil, wrong
	}
	return []byte(text), nil
}
