package index

import (
	"bytes"
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Collection is what the entries of an entity depend on besides the entity.
type Collection struct {
	Partition entity.Partition
	App       entity.AppID
	ID        entity.CollectionID
	Unique    []Unique
}

// Unique is a property no two entities of a collection share a value of.
type Unique struct {
	Name string // folded
	ID   entity.PropertyID
}

// Entry is one key and value of an index. Its bytes belong to the set.
type Entry struct {
	Key   []byte
	Value []byte
	// Unique says that no other entity may have the key: the property's name,
	// or empty. Text is the value the key was made of.
	Unique string
	Text   string
}

// Set is what one entity adds to the indexes, by key. Its zero value is empty
// and ready; Build reuses its memory. It is not safe for concurrent use.
type Set struct {
	arena   []byte
	entries []Entry
}

// Entries returns the entries in the order of their keys, until the next Build.
func (s *Set) Entries() []Entry { return s.entries }

// Has reports whether the set has an entry with the key.
func (s *Set) Has(key []byte) bool {
	_, ok := slices.BinarySearchFunc(s.entries, key, func(e Entry, key []byte) int { return bytes.Compare(e.Key, key) })
	return ok
}

// Reset empties the set: it is then that of no entity.
func (s *Set) Reset() { s.arena, s.entries = s.arena[:0], s.entries[:0] }

// Build makes s the entries of e in c. It returns a fault if the JSON is
// damaged or a unique property is no string; the set then has the entries of
// the other properties.
func (s *Set) Build(c *Collection, e *entity.Entity) error {
	var wrong error
	s.Reset()
	s.add(func(dst []byte) []byte { return keys.AppendID(dst, c.Partition, c.App, c.ID, e.ID) },
		func(dst []byte) []byte { return keys.AppendSeq(dst, e.Seq) })
	if len(c.Unique) == 0 {
		return nil
	}
	o := NewObject(e.JSON)
	for p, ok := o.Next(); ok; p, ok = o.Next() {
		for i := range c.Unique {
			u := &c.Unique[i]
			if !p.Is(u.Name) {
				continue
			}
			text, ok := p.Text()
			if !ok {
				wrong = fault.New(fault.PropertyTypeConversion, "property %s must be a string", u.Name)
				continue
			}
			s.add(func(dst []byte) []byte { return keys.AppendUnique(dst, c.Partition, c.App, c.ID, u.ID, text) },
				func(dst []byte) []byte { return keys.AppendUniqueValue(dst, e.Seq, e.ID) })
			added := &s.entries[len(s.entries)-1]
			added.Unique, added.Text = u.Name, text
		}
	}
	slices.SortFunc(s.entries, func(a, b Entry) int { return bytes.Compare(a.Key, b.Key) })
	if err := o.Err(); err != nil {
		return err
	}
	return wrong
}

func (s *Set) add(key, value func([]byte) []byte) {
	start := len(s.arena)
	s.arena = key(s.arena)
	middle := len(s.arena)
	s.arena = value(s.arena)
	end := len(s.arena)
	s.entries = append(s.entries, Entry{Key: s.arena[start:middle:middle], Value: s.arena[middle:end:end]})
}

// Difference calls remove with every key that is in before and not in after,
// and put with every entry of after that before lacks or has another value of.
func Difference(before, after *Set, remove func(key []byte), put func(key, value []byte)) {
	a, b := before.entries, after.entries
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = bytes.Compare(a[0].Key, b[0].Key)
		}
		if order < 0 {
			remove(a[0].Key)
			a = a[1:]
			continue
		}
		if order > 0 || !bytes.Equal(a[0].Value, b[0].Value) {
			put(b[0].Key, b[0].Value)
		}
		if order == 0 {
			a = a[1:]
		}
		b = b[1:]
	}
}
