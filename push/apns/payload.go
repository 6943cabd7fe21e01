package apns

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// payload is what is sent: a body, and headers that the client asked for.
type payload struct {
	body       []byte
	pushType   string
	priority   string // empty: by the message
	collapseID string
	topic      string // empty: the notifier's, with the suffix of the type
	id         string // empty: the message's
}

// Receipt is the body: always an object.
func (p *payload) Receipt() json.RawMessage { return p.body }

// suffixes are what topics end in, by push type.
var suffixes = map[string]string{
	"alert": "", "background": "", "mdm": "", "voip": ".voip", "complication": ".complication",
	"fileprovider": ".pushkit.fileprovider", "location": ".location-query",
	"liveactivity": ".push-type.liveactivity", "pushtotalk": ".voip-ptt",
}

// Translate makes a payload of a string, which is an alert or a whole payload as JSON,
// or of an object.
func (p *Provider) Translate(_ provider.Notifier, raw json.RawMessage) (provider.Payload, error) {
	members, err := object(raw)
	if err != nil {
		return nil, err
	}
	out := &payload{pushType: pushType(members)}
	if asked := provider.Find(members, "_apns"); asked != nil {
		members = slices.DeleteFunc(members, func(m provider.Member) bool { return m.Name == "_apns" })
		if err := out.ask(asked); err != nil {
			return nil, err
		}
	}
	out.body = provider.Object(members)
	limit := p.cfg.APNSMaxPayload
	if out.pushType == "voip" {
		limit += limit / 4
	}
	if len(out.body) > limit {
		return nil, fault.New(fault.IllegalArgument, "the apple payload has %d bytes, up to %d are allowed", len(out.body), limit)
	}
	return out, nil
}

// object reads the members of the payload that a client's value stands for.
func object(raw json.RawMessage) ([]provider.Member, error) {
	text, isText := provider.JSONText(raw)
	switch {
	case isText && strings.HasPrefix(text, "{"):
		members, err := provider.Members(json.RawMessage(text))
		if err != nil {
			return nil, fault.New(fault.IllegalArgument, "the apple payload begins like a JSON object and is none")
		}
		return members, nil
	case isText:
		aps := provider.Marshal(map[string]string{"alert": unescaped(text)})
		return []provider.Member{{Name: "aps", Value: aps}}, nil
	case !provider.IsObject(raw):
		return nil, fault.New(fault.IllegalArgument, "the apple payload must be a string or an object")
	}
	members, err := provider.Members(raw)
	if err != nil {
		return nil, fault.New(fault.IllegalArgument, "the apple payload is no JSON object")
	}
	return members, nil
}

// unescaped undoes the escapes of clients that write a quote as \" because their
// servers used to put alerts into JSON as they came.
func unescaped(text string) string {
	if !strings.Contains(text, `\"`) {
		return text
	}
	var once string
	if err := json.Unmarshal([]byte(`"`+text+`"`), &once); err != nil {
		return text
	}
	return once
}

// pushType is background for what shows, plays and counts nothing but says that there
// is something to fetch.
func pushType(members []provider.Member) string {
	aps, err := provider.Members(provider.Find(members, "aps"))
	if err != nil || string(provider.Find(aps, "content-available")) != "1" {
		return "alert"
	}
	for _, shown := range []string{"alert", "badge", "sound"} {
		if provider.Find(aps, shown) != nil {
			return "alert"
		}
	}
	return "background"
}

// ask takes the headers that the member _apns asks for.
func (p *payload) ask(asked json.RawMessage) error {
	members, err := provider.Members(asked)
	if err != nil {
		return fault.New(fault.IllegalArgument, "_apns must be an object")
	}
	for _, m := range members {
		text, ok := provider.JSONText(m.Value)
		switch m.Name {
		case "push-type":
			_, ok = suffixes[text]
			p.pushType = text
		case "priority":
			if !ok {
				text = string(m.Value)
			}
			ok = slices.Contains([]string{"1", "5", "10"}, text)
			p.priority = text
		case "collapse-id":
			ok = ok && text != "" && len(text) <= 64 && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
			p.collapseID = text
		case "topic":
			ok = ok && isTopic(text)
			p.topic = text
		case "id":
			id, isID := entity.ParseID(text)
			ok = ok && isID
			p.id = id.String()
		default:
			return fault.New(fault.IllegalArgument, "_apns has no member %q", m.Name)
		}
		if !ok {
			return fault.New(fault.IllegalArgument, "_apns.%s is no value that APNs takes", m.Name)
		}
	}
	return nil
}
