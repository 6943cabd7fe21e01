package webpush

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

type payload struct {
	receipt json.RawMessage
	plain   []byte
	topic   string
	urgency string // empty: by the message
	ttl     int64  // seconds; -1: by the expiry of the message
}

// Receipt is what was encrypted, as an object.
func (p *payload) Receipt() json.RawMessage { return p.receipt }

// Translate makes a payload of a string or an object, which the page gets as it is.
func (p *Provider) Translate(_ provider.Notifier, raw json.RawMessage) (provider.Payload, error) {
	out := &payload{ttl: -1}
	if text, ok := provider.JSONText(raw); ok {
		out.plain = []byte(text)
		out.receipt = provider.Shown(provider.Marshal(text))
	} else {
		if !provider.IsObject(raw) {
			return nil, fault.New(fault.IllegalArgument, "the webpush payload must be a string or an object")
		}
		members, err := provider.Members(raw)
		if err != nil {
			return nil, fault.New(fault.IllegalArgument, "the webpush payload is no JSON object")
		}
		if asked := provider.Find(members, "_webpush"); asked != nil {
			members = slices.DeleteFunc(members, func(m provider.Member) bool { return m.Name == "_webpush" })
			if err := out.ask(asked); err != nil {
				return nil, err
			}
		}
		out.plain = provider.Object(members)
		out.receipt = out.plain
	}
	if len(out.plain) > maxPlain {
		return nil, fault.New(fault.IllegalArgument, "the webpush payload has %d bytes, up to %d are allowed", len(out.plain), maxPlain)
	}
	return out, nil
}

// ask takes the headers that the member _webpush asks for.
func (p *payload) ask(asked json.RawMessage) error {
	members, err := provider.Members(asked)
	if err != nil {
		return fault.New(fault.IllegalArgument, "_webpush must be an object")
	}
	for _, m := range members {
		text, ok := provider.JSONText(m.Value)
		switch m.Name {
		case "topic":
			ok = ok && text != "" && len(text) <= 32 && !strings.ContainsFunc(text, notBase64URL)
			p.topic = text
		case "urgency":
			ok = slices.Contains([]string{"very-low", "low", "normal", "high"}, text)
			p.urgency = text
		case "ttl":
			p.ttl, ok = seconds(m.Value)
		default:
			return fault.New(fault.IllegalArgument, "_webpush has no member %q", m.Name)
		}
		if !ok {
			return fault.New(fault.IllegalArgument, "_webpush.%s is no value that services take", m.Name)
		}
	}
	return nil
}

func notBase64URL(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}
