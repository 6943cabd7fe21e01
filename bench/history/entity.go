package history

import (
	"encoding/json"
	"errors"
	"fmt"
)

// stored is an entity as clients write and read it. Value is there twice, so
// that half an update shows.
type stored struct {
	UUID  string `json:"uuid,omitempty"`
	Name  string `json:"name"`
	Value uint64 `json:"value"`
	Twin  uint64 `json:"twin"`
}

func compose(name string, value uint64) []byte {
	encoded, err := json.Marshal(stored{Name: name, Value: value, Twin: value})
	if err != nil {
		panic(fmt.Sprintf("marshal an entity: %v", err)) // strings and numbers always marshal
	}
	return encoded
}

func parse(raw json.RawMessage) (stored, error) {
	var e stored
	if err := json.Unmarshal(raw, &e); err != nil {
		return e, fmt.Errorf("decode %.200q: %w", raw, err)
	}
	if e.UUID == "" || e.Value == Absent || e.Value != e.Twin {
		return e, fmt.Errorf("entity %q is not whole: %.300q", e.Name, raw)
	}
	return e, nil
}

// one reads an answer that must hold a single entity of a name.
func one(answer []byte, name string) (stored, error) {
	var envelope struct {
		Entities []json.RawMessage `json:"entities"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil {
		return stored{}, fmt.Errorf("decode answer %.200q: %w", answer, err)
	}
	if len(envelope.Entities) != 1 {
		return stored{}, fmt.Errorf("%d entities in the answer, want 1", len(envelope.Entities))
	}
	e, err := parse(envelope.Entities[0])
	if err == nil && e.Name != name {
		err = errors.New("the answer is about " + e.Name)
	}
	return e, err
}

// code is the "error" of an envelope, or "".
func code(answer []byte) string {
	var envelope struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(answer, &envelope) != nil {
		return ""
	}
	return envelope.Error
}
