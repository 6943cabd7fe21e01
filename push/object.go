package push

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/trellisdb/trellis/push/provider"
)

// member is one of an object's.
type member struct {
	name  string
	value json.RawMessage
}

// object is a JSON object, in the order in which it was written.
type object []member

// parseObject reads an object.
func parseObject(raw []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("push: no JSON object")
	}
	var o object
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("push: damaged JSON object: %w", err)
		}
		m := member{name: name.(string)}
		if err := dec.Decode(&m.value); err != nil {
			return nil, fmt.Errorf("push: damaged JSON object: %w", err)
		}
		o = append(o, m)
	}
	return o, nil
}

// get returns the value of a member, whatever the case of its name; nil if there is
// none.
func (o object) get(name string) json.RawMessage {
	for i := range o {
		if strings.EqualFold(o[i].name, name) {
			return o[i].value
		}
	}
	return nil
}

// text returns the value of a member that is a string.
func (o object) text(name string) string {
	s, _ := provider.JSONText(o.get(name))
	return s
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(bytes.TrimSpace(raw)) == "null"
}
