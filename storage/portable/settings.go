package portable

import (
	"encoding/json"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Password is the kind of a credential that is a hash of a password.
const Password = "password"

// SettingsOf returns settings in the form of a file.
func SettingsOf(s *entity.Settings) *Settings {
	var fields any = "all"
	switch {
	case s.Plan.None:
		fields = "none"
	case !s.Plan.All:
		fields = append([]string{}, s.Plan.Fields...)
	}
	text, err := json.Marshal(fields)
	if err != nil { // texts always can be
		panic(err)
	}
	shown := &Settings{Fields: text, QueueIndex: s.QueueIndex, IndexConsistency: s.IndexConsistency}
	for i := range s.Plan.Composites {
		var properties []string
		for _, key := range s.Plan.Composites[i].Keys {
			if key.Desc {
				key.Property += " desc"
			}
			properties = append(properties, key.Property)
		}
		shown.Indexes = append(shown.Indexes, properties)
	}
	return shown
}

// FieldList reads which properties are indexed.
func (s *Settings) FieldList() (all, none bool, list []string, err error) {
	var word string
	switch {
	case len(s.Fields) == 0:
		return true, false, nil, nil
	case json.Unmarshal(s.Fields, &word) == nil && word == "all":
		return true, false, nil, nil
	case json.Unmarshal(s.Fields, &word) == nil && word == "none":
		return false, true, nil, nil
	case json.Unmarshal(s.Fields, &list) == nil && len(list) <= entity.MaxFields:
		return false, false, list, nil
	}
	return false, false, nil, fault.New(fault.IllegalArgument, "fields is \"all\", \"none\" or a list of at most %d properties", entity.MaxFields)
}

// Composites reads the composite indexes.
func (s *Settings) Composites() (list [][]entity.CompositeKey, err error) {
	if len(s.Indexes) > entity.MaxComposites {
		return nil, fault.New(fault.IllegalArgument, "a collection has at most %d composite indexes", entity.MaxComposites)
	}
	for _, properties := range s.Indexes {
		var composite []entity.CompositeKey
		for _, text := range properties {
			name, desc := strings.CutSuffix(text, " desc")
			composite = append(composite, entity.CompositeKey{Property: name, Desc: desc})
		}
		if len(composite) < entity.MinCompositeKeys || len(composite) > entity.MaxCompositeKeys {
			return nil, fault.New(fault.IllegalArgument, "a composite index has %d to %d properties", entity.MinCompositeKeys, entity.MaxCompositeKeys)
		}
		list = append(list, composite)
	}
	return list, nil
}
