package fcm

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	maxPayload = 4096
	maxTTL     = 2_419_200 // seconds: four weeks
)

// payload is what a message is made of. Either message is set, or the rest.
type payload struct {
	receipt json.RawMessage

	message []provider.Member // a complete message of the v1 API, without a token

	notification string // text to show; empty: data
	shows        bool
	data         []provider.Member // values as the client sent them
	ttl          int64             // seconds; -1: by the expiry of the message
	priority     string            // high, normal; empty: by the message
	collapseKey  string
}

// Receipt is the payload as the client meant it.
func (p *payload) Receipt() json.RawMessage { return p.receipt }

// Translate makes a payload of a string, of an object of data, or of a whole message
// of the v1 API.
func (p *Provider) Translate(n provider.Notifier, raw json.RawMessage) (provider.Payload, error) {
	if text, ok := provider.JSONText(raw); ok {
		return fromText(text, n.Text("stringPayloadAs") == "notification")
	}
	if !provider.IsObject(raw) {
		return nil, fault.New(fault.IllegalArgument, "the google payload must be a string or an object")
	}
	members, err := provider.Members(raw)
	if err != nil {
		return nil, fault.New(fault.IllegalArgument, "the google payload is no JSON object")
	}
	out := &payload{receipt: provider.Object(members), ttl: -1}
	if err := within(out.receipt); err != nil {
		return nil, err
	}
	if n.Text("projectId") != "" && len(members) == 1 && members[0].Name == "message" && provider.IsObject(members[0].Value) {
		return out, out.whole(members[0].Value)
	}
	for _, m := range members {
		if err := out.take(m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func within(body json.RawMessage) error {
	if len(body) > maxPayload {
		return fault.New(fault.IllegalArgument, "the google payload has %d bytes, up to %d are allowed", len(body), maxPayload)
	}
	return nil
}

func fromText(text string, notification bool) (provider.Payload, error) {
	out := &payload{ttl: -1}
	quoted := provider.Marshal(text)
	if notification {
		out.shows, out.notification = true, text
		body := provider.Object([]provider.Member{{Name: "body", Value: quoted}})
		out.receipt = provider.Object([]provider.Member{{Name: "notification", Value: body}})
	} else {
		out.data = []provider.Member{{Name: "data", Value: quoted}}
		out.receipt = provider.Object(out.data)
	}
	return out, within(out.receipt)
}

// whole takes a complete message; the token in it, if any, is left out.
func (p *payload) whole(message json.RawMessage) error {
	members, err := provider.Members(message)
	if err != nil {
		return fault.New(fault.IllegalArgument, "the message of the google payload is no JSON object")
	}
	for _, m := range members {
		switch m.Name {
		case "topic", "condition":
			return fault.New(fault.IllegalArgument, "the message of the google payload may not have a %s: the devices are the notification's", m.Name)
		case "token":
		default:
			p.message = append(p.message, m)
		}
	}
	return nil
}

// take takes a member of an object of data: what steers the delivery is lifted out.
func (p *payload) take(m provider.Member) error {
	switch m.Name {
	case "time_to_live":
		seconds, ok := wholeNumber(m.Value)
		if !ok {
			return fault.New(fault.IllegalArgument, "time_to_live of the google payload must be a number of seconds")
		}
		p.ttl = min(seconds, maxTTL)
	case "priority":
		text, ok := provider.JSONText(m.Value)
		if !ok {
			return fault.New(fault.IllegalArgument, "priority of the google payload must be high or normal")
		}
		p.priority = "normal"
		if strings.EqualFold(text, "high") {
			p.priority = "high"
		}
	case "collapse_key":
		text, ok := provider.JSONText(m.Value)
		if !ok {
			return fault.New(fault.IllegalArgument, "collapse_key of the google payload must be a string")
		}
		p.collapseKey = text
	default:
		if reserved(m.Name) {
			return fault.New(fault.IllegalArgument, "the google payload may not have a member %q: FCM keeps it for itself", m.Name)
		}
		p.data = append(p.data, m)
	}
	return nil
}

// reserved are the names that FCM refuses in data.
func reserved(name string) bool {
	return name == "from" || name == "message_type" || name == "gcm" || strings.HasPrefix(name, "google") || strings.HasPrefix(name, "gcm.")
}

// wholeNumber reads a number that is not negative, or a string of one.
func wholeNumber(raw json.RawMessage) (int64, bool) {
	text, ok := provider.JSONText(raw)
	if !ok {
		text = string(raw)
	}
	var n float64
	if err := json.Unmarshal([]byte(text), &n); err != nil || n < 0 || n != math.Trunc(n) {
		return 0, false
	}
	return int64(min(n, 1<<40)), true
}

// stringData is data as the v1 API wants it: strings only.
func (p *payload) stringData() []provider.Member {
	out := make([]provider.Member, len(p.data))
	for i, m := range p.data {
		out[i] = m
		if _, ok := provider.JSONText(m.Value); !ok {
			out[i].Value = provider.Marshal(string(m.Value))
		}
	}
	return out
}
