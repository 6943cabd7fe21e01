package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/trellisdb/trellis/api/collections"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Opened opens what is stored sealed beside an entity.
func (s *Server) Opened(owner entity.ID, kind byte, sealed []byte) ([]byte, error) {
	return s.dir.Load().Open(owner, kind, sealed)
}

// Providers is a collections.Push that asks no service. Of its providers, noop takes
// everything, and webpush registers objects with an endpoint alone. Payloads that are
// numbers are refused. The secrets of a notifier are apiKey, authKey and the file
// p12Certificate.
type Providers struct{}

// CheckNotifier implements collections.Push.
func (Providers) CheckNotifier(_ context.Context, in collections.NotifierInput) (properties, secrets []byte, err error) {
	all, hidden := map[string]json.RawMessage{}, map[string]string{}
	if in.Stored != nil {
		if err := json.Unmarshal(in.Stored, &all); err != nil {
			return nil, nil, err
		}
		if err := json.Unmarshal(in.StoredSecrets, &hidden); err != nil {
			return nil, nil, err
		}
	}
	for _, m := range in.Members {
		switch m.Name {
		case "certInfo":
			return nil, nil, fault.New(fault.IllegalArgument, "certInfo cannot be set")
		case "apiKey", "authKey", "certificatePassword":
			hidden[m.Name] = string(m.Value)
		default:
			all[m.Name] = m.Value
		}
	}
	for _, f := range in.Files {
		hidden[f.Part] = string(f.Content)
		all["certInfo"] = json.RawMessage(`{"filename":` + quoted(f.Name) + `}`)
	}
	var provider string
	if raw, ok := all["provider"]; !ok {
		return nil, nil, fault.New(fault.RequiredProperty, "a notifier needs the property provider")
	} else if json.Unmarshal(raw, &provider) != nil {
		provider = ""
	}
	switch strings.ToLower(provider) {
	case "noop", "webpush":
	case "google":
		if hidden["apiKey"] == "" {
			return nil, nil, fault.New(fault.RequiredProperty, "a notifier of google needs apiKey")
		}
	case "apple":
		if hidden["p12Certificate"] == "" && in.Form {
			return nil, nil, fault.New(fault.IllegalArgument, "the form has no file")
		}
	default:
		return nil, nil, fault.New(fault.IllegalArgument, "there is no provider %q", provider)
	}
	if properties, err = json.Marshal(all); err == nil {
		secrets, err = json.Marshal(hidden)
	}
	return properties, secrets, err
}

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(text)
}

// CheckPayload implements collections.Push.
func (Providers) CheckPayload(_, payload []byte) error {
	if payload[0] == '"' || payload[0] == '{' {
		return nil
	}
	return fault.New(fault.IllegalArgument, "the payload must be a string or an object")
}

// CheckToken implements collections.Push.
func (Providers) CheckToken(notifier, value []byte) error {
	if bytes.Contains(notifier, []byte(`"webpush"`)) && !bytes.Contains(value, []byte("endpoint")) {
		return fault.New(fault.IllegalArgument, "the subscription has no endpoint")
	}
	return nil
}

// HasToken implements collections.Push.
func (Providers) HasToken(_, value []byte) bool {
	return len(value) > 2 && (value[0] == '"' || value[0] == '{')
}
