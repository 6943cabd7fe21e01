package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// stored is an entity as it is written and read back.
type stored struct {
	UUID    string `json:"uuid,omitempty"`
	Name    string `json:"name"`
	Version uint64 `json:"version"`
	Filler  string `json:"filler"`
	Twin    uint64 `json:"twin"`
	Sum     string `json:"sum"`
}

// compose makes version v of the entity of a name.
func compose(name string, v uint64) stored {
	sum := checksum(name, v)
	return stored{Name: name, Version: v, Twin: v, Sum: sum, Filler: filler(sum, v)}
}

func checksum(name string, v uint64) string {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", name, v) // a hash takes everything
	return strconv.FormatUint(h.Sum64(), 16)
}

// filler has a length that depends on the version, so that versions differ in
// size on disk too.
func filler(sum string, v uint64) string {
	return strings.Repeat(sum, int(4+v%7))
}

// parse decodes an entity and checks that it is one version, whole.
func parse(raw json.RawMessage) (stored, error) {
	var e stored
	if err := json.Unmarshal(raw, &e); err != nil {
		return e, fmt.Errorf("decode %.200q: %w", raw, err)
	}
	want := compose(e.Name, e.Version)
	want.UUID = e.UUID
	if e.UUID == "" || e.Version == 0 {
		return e, fmt.Errorf("entity %q has uuid %q and version %d", e.Name, e.UUID, e.Version)
	}
	if e != want {
		return e, fmt.Errorf("entity %q is half there: %.300q", e.Name, raw)
	}
	return e, nil
}

// one decodes an envelope that must hold a single entity.
func one(answer []byte) (stored, error) {
	all, err := several(answer)
	if err != nil {
		return stored{}, err
	}
	if len(all) != 1 {
		return stored{}, fmt.Errorf("%d entities in the answer, want 1", len(all))
	}
	return all[0], nil
}

// several decodes the entities of an envelope.
func several(answer []byte) ([]stored, error) {
	var envelope struct {
		Entities []json.RawMessage `json:"entities"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	if envelope.Entities == nil {
		return nil, errors.New("the answer has no entities")
	}
	all := make([]stored, len(envelope.Entities))
	for i, raw := range envelope.Entities {
		var err error
		if all[i], err = parse(raw); err != nil {
			return nil, err
		}
	}
	return all, nil
}
