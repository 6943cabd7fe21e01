package collections

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	maxEntityBytes    = 5_000_000 // stored JSON of one entity
	maxProperties     = 20_000    // members of one object
	maxUniqueBytes    = 4 << 10   // value of a unique property
	maxPropertyLength = 1 << 10   // name of a top-level property
)

// purpose says what a body is normalized for: what empty values mean, and
// which properties are left out, differs.
type purpose byte

const (
	forCreate purpose = iota // null and "" create nothing
	forUpdate                // null and "" stay, as null: they remove
)

// property is one top-level property after normalization.
type property struct {
	key   string // decoded, spelled as it first came
	quote []byte // the key as JSON
	value []byte // compact JSON
	empty bool
}

// document is a normalized body.
type document struct {
	properties []property
	byKey      map[string]int // folded key → place, once there are many
	named      bool           // the body had a member, if only an ignored one
	system     []property     // uuid, created and modified, as sent
	secrets    []property     // credentials of a user, as sent
}

// normalize makes a document of one JSON object of the given type (spec
// data-model sections 3 to 5, 9, 10). The text has passed wire.CheckJSON. now
// stands in for timestamps that are not positive.
func normalize(t *schema.Type, text []byte, p purpose, now int64) (*document, error) {
	if len(text) > maxEntityBytes {
		var compact bytes.Buffer
		if err := json.Compact(&compact, text); err != nil || compact.Len() > maxEntityBytes {
			return nil, tooLarge()
		}
		text = compact.Bytes()
	}
	d := &document{}
	err := eachMember(text, func(m member) error {
		d.named = true
		switch {
		case keys.SameFold(m.key, "created"), keys.SameFold(m.key, "modified"):
			d.system = append(d.system, property{key: keys.Fold(m.key), value: m.value})
			return nil
		case keys.SameFold(m.key, "uuid"):
			d.system = append(d.system, property{key: "uuid", value: m.value})
			return nil
		case schema.Dropped(m.key), p == forUpdate && schema.DroppedOnUpdate(m.key):
			return nil
		case t.Secret(m.key):
			d.secrets = append(d.secrets, property{key: keys.Fold(m.key), value: m.value})
			return nil
		case len(m.key) > maxPropertyLength:
			return fault.New(fault.IllegalArgument, "the name of a property is longer than %d bytes", maxPropertyLength)
		}
		value, err := topValue(t, m, now)
		if err != nil {
			return err
		}
		return d.set(m.key, m.quote, value)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// topValue returns the stored form of a top-level value.
func topValue(t *schema.Type, m member, now int64) ([]byte, error) {
	if isEmpty(m.value) {
		return []byte("null"), nil
	}
	value, err := schema.Convert(m.key, t.Class(m.key), m.value)
	if err != nil {
		return nil, err
	}
	switch value[0] {
	case '{', '[':
		return appendValue(nil, value, m.key)
	case '"':
		if contains(t.Unique, m.key) {
			return uniqueValue(m.key, value)
		}
		if id, ok := uuidOf(value); ok && !keys.SameFold(m.key, "name") {
			return append(id.AppendText([]byte{'"'}), '"'), nil
		}
	default:
		if keys.SameFold(m.key, "timestamp") {
			if f, err := strconv.ParseFloat(string(value), 64); err == nil && f <= 0 {
				return strconv.AppendInt(nil, now, 10), nil
			}
		}
	}
	return value, nil
}

// uniqueValue trims the value of a unique property: that is how it is compared.
func uniqueValue(key string, quoted []byte) ([]byte, error) {
	s := decodeString(quoted)
	if len(s) > maxUniqueBytes {
		return nil, fault.New(fault.IllegalArgument, "the value of %s is longer than %d bytes", key, maxUniqueBytes)
	}
	trimmed := strings.TrimSpace(s)
	switch {
	case trimmed == "":
		return []byte("null"), nil
	case len(trimmed) == len(s):
		return quoted, nil
	}
	return wire.AppendString(nil, trimmed), nil
}

func uuidOf(quoted []byte) (entity.ID, bool) {
	if len(quoted) != 38 {
		return entity.ID{}, false
	}
	return entity.ParseID(string(quoted[1:37]))
}

func contains(words []string, s string) bool {
	for _, w := range words {
		if keys.SameFold(w, s) {
			return true
		}
	}
	return false
}

const fewProperties = 16

// find returns the place of a property, whose name is compared without case.
func (d *document) find(key string) int {
	if d.byKey != nil {
		if i, ok := d.byKey[keys.Fold(key)]; ok {
			return i
		}
		return -1
	}
	for i := range d.properties {
		if keys.SameFold(d.properties[i].key, key) {
			return i
		}
	}
	return -1
}

// set adds a property or replaces the value of the one of that name, which
// keeps its spelling.
func (d *document) set(key string, quote, value []byte) error {
	empty := value[0] == 'n'
	if i := d.find(key); i >= 0 {
		d.properties[i].value, d.properties[i].empty = value, empty
		return nil
	}
	if len(d.properties) == maxProperties {
		return fault.New(fault.EntityTooLarge, "an entity has more than %d properties", maxProperties)
	}
	d.properties = append(d.properties, property{key: key, quote: quote, value: value, empty: empty})
	switch n := len(d.properties); {
	case d.byKey != nil:
		d.byKey[keys.Fold(key)] = n - 1
	case n > fewProperties:
		d.byKey = make(map[string]int, 2*n)
		for i := range d.properties {
			d.byKey[keys.Fold(d.properties[i].key)] = i
		}
	}
	return nil
}

// setString sets a property to a string of ours.
func (d *document) setString(key, value string) error {
	return d.set(key, wire.AppendString(nil, key), wire.AppendString(nil, value))
}

// setAs sets a property to a value of ours, and spells it like this, whatever the
// client's spelling was.
func (d *document) setAs(key string, value []byte) error {
	if err := d.set(key, wire.AppendString(nil, key), value); err != nil {
		return err
	}
	i := d.find(key)
	d.properties[i].key, d.properties[i].quote = key, wire.AppendString(nil, key)
	return nil
}

// remove takes a property out, as if the body had not named it.
func (d *document) remove(key string) {
	if i := d.find(key); i >= 0 {
		d.properties[i].value = nil
	}
}

// text returns the value of a string property; false if it is absent, empty or
// no string.
func (d *document) text(key string) (string, bool) {
	i := d.find(key)
	if i < 0 || len(d.properties[i].value) == 0 || d.properties[i].value[0] != '"' {
		return "", false
	}
	return decodeString(d.properties[i].value), true
}

// has reports whether a property has a value.
func (d *document) has(key string) bool {
	i := d.find(key)
	return i >= 0 && d.properties[i].value != nil && !d.properties[i].empty
}

// secret returns a credential that was sent as a string, or as a number, which
// means its digits.
func (d *document) secret(key string) (string, bool) {
	value, found := "", false
	for _, s := range d.secrets {
		if s.key != key {
			continue
		}
		switch c := s.value[0]; {
		case c == '"':
			value, found = decodeString(s.value), true
		case c == '-' || (c >= '0' && c <= '9'):
			value, found = string(s.value), true
		}
	}
	return value, found
}

// time returns created or modified as sent, if it is an integer in range.
func (d *document) time(key string) (int64, bool) {
	value, found := int64(0), false
	for _, s := range d.system {
		if s.key != key {
			continue
		}
		if n, err := strconv.ParseInt(string(s.value), 10, 64); err == nil && n >= 0 && n < 1<<53 {
			value, found = n, true
		}
	}
	return value, found
}

// json renders the document: for creation without empty values.
func (d *document) json(p purpose) ([]byte, error) {
	size := 2
	for i := range d.properties {
		size += len(d.properties[i].quote) + len(d.properties[i].value) + 2
	}
	if size > maxEntityBytes {
		return nil, tooLarge()
	}
	dst := append(make([]byte, 0, size), '{')
	for i := range d.properties {
		pr := &d.properties[i]
		if pr.value == nil || (pr.empty && p == forCreate) {
			continue
		}
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, pr.quote...), ':'), pr.value...)
	}
	return append(dst, '}'), nil
}

func tooLarge() error {
	return fault.New(fault.EntityTooLarge, "an entity is larger than %d bytes", maxEntityBytes)
}

// requireAll checks that every required property has a value. That of a group is called a
// bad argument (spec users-groups-roles section 2.2), as Usergrid does.
func (d *document) requireAll(t *schema.Type) error {
	for _, key := range t.Required {
		if !d.has(key) {
			if t.Collection == "groups" {
				return fault.New(fault.IllegalArgument, "You must provide a '%s' property when creating a group", key)
			}
			return fault.New(fault.RequiredProperty, "Entity %q requires a property named %q", t.Name, key)
		}
	}
	return nil
}

// appendValue appends a value compactly: the last of repeated keys, no white
// space, geo points in their one form. key is the name it is stored under.
func appendValue(dst, value []byte, key string) ([]byte, error) {
	switch value[0] {
	case '[':
		return appendArray(dst, value)
	case '{':
		return appendObject(dst, value, key)
	}
	return append(dst, value...), nil
}

func appendArray(dst, value []byte) ([]byte, error) {
	dst = append(dst, '[')
	empty := true
	err := eachElement(value, func(element []byte) (err error) {
		if !empty {
			dst = append(dst, ',')
		}
		empty = false
		dst, err = appendValue(dst, element, "")
		return err
	})
	return append(dst, ']'), err
}

func appendObject(dst, value []byte, key string) ([]byte, error) {
	var members []member
	var places map[string]int
	err := eachMember(value, func(m member) error {
		at := -1
		if places != nil {
			if i, ok := places[m.key]; ok {
				at = i
			}
		} else {
			for i := range members {
				if members[i].key == m.key {
					at = i
					break
				}
			}
		}
		if at >= 0 {
			members[at].value = m.value
			return nil
		}
		if len(members) == maxProperties {
			return fault.New(fault.EntityTooLarge, "an object has more than %d members", maxProperties)
		}
		members = append(members, m)
		switch n := len(members); {
		case places != nil:
			places[m.key] = n - 1
		case n > fewProperties:
			places = make(map[string]int, 2*n)
			for i := range members {
				places[members[i].key] = i
			}
		}
		return nil
	})
	if err != nil {
		return dst, err
	}
	if keys.SameFold(key, "location") {
		if point, ok, err := geoPoint(members); err != nil || ok {
			return append(dst, point...), err
		}
	}
	dst = append(dst, '{')
	for i := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, members[i].quote...), ':')
		if dst, err = appendValue(dst, members[i].value, members[i].key); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// geoPoint makes a geo point of the members of an object called location (spec
// data-model section 10); false if it is plain data.
func geoPoint(members []member) ([]byte, bool, error) {
	var latitude, longitude []byte
	for _, m := range members {
		switch k := strings.ToLower(m.key); {
		case k == "latitude" || k == "lat":
			latitude = m.value
		case k == "longitude" || k == "lon":
			longitude = m.value
		}
	}
	if (latitude == nil) != (longitude == nil) {
		return nil, false, fault.New(fault.IllegalArgument, "location must have both latitude and longitude")
	}
	if latitude == nil {
		return nil, false, nil
	}
	lat, err := coordinate(latitude)
	if err != nil {
		return nil, false, err
	}
	lon, err := coordinate(longitude)
	if err != nil {
		return nil, false, err
	}
	dst := append([]byte(`{"latitude":`), lat...)
	dst = append(append(dst, `,"longitude":`...), lon...)
	return append(dst, '}'), true, nil
}

// coordinate returns a number, or the number a string holds, as JSON.
func coordinate(value []byte) ([]byte, error) {
	if value[0] == '-' || (value[0] >= '0' && value[0] <= '9') {
		return value, nil
	}
	if value[0] == '"' {
		text := []byte(strings.TrimSpace(decodeString(value)))
		if len(text) <= 64 && len(text) > 0 && !bytes.ContainsAny(text, "\"{[tfn") && wire.CheckJSON(text) == nil {
			return text, nil
		}
	}
	return nil, fault.New(fault.IllegalArgument, "latitude and longitude of a location must be numbers")
}
