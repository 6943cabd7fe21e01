package index

import (
	"bytes"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Limits of what one entity adds to the indexes. Apply decides by them, so they are
// no settings.
const (
	// MaxEntries is how many entries an entity may have.
	MaxEntries = 20_000
	// MaxCombinations is how many of them may be of composite indexes, where a few
	// arrays make many.
	MaxCombinations = 1000
)

// Collection is what the entries of an entity depend on besides the entity and the
// plan it is indexed by.
type Collection struct {
	Partition  entity.Partition
	App        entity.AppID
	ID         entity.CollectionID
	Unique     []Unique
	Properties Properties
}

// Unique is a property no two entities of a collection share a value of.
type Unique struct {
	Name string // folded
	ID   entity.PropertyID
}

// Properties are the numbers that the property paths of a collection have.
type Properties interface {
	// Number returns the number of the property at a folded path, which is lent. It
	// may give it one. An error ends Build.
	Number(path []byte) (entity.PropertyID, error)
	// Known returns the number that a path has.
	Known(path string) (entity.PropertyID, bool)
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

// Claims reports whether no other entity may have the key.
func (e *Entry) Claims() bool { return e.Unique != "" || e.Key[atKind] == keys.KindID }

// Use is a property that an entity has a value of. Several says that it has more
// than one.
type Use struct {
	Property entity.PropertyID
	Several  bool
}

// Set is what one entity adds to the indexes, by key. Its zero value is empty
// and ready; Build reuses its memory. It is not safe for concurrent use.
type Set struct {
	arena   []byte
	entries []Entry
	uses    []Use
	builder builder
}

// Entries returns the entries in the order of their keys, until the next Build.
func (s *Set) Entries() []Entry { return s.entries }

// Uses returns the properties of which the entity has values that an ordered index
// holds, by number, until the next Build.
func (s *Set) Uses() []Use { return s.uses }

// Has reports whether the set has an entry with the key.
func (s *Set) Has(key []byte) bool {
	low, high := 0, len(s.entries)
	for low < high {
		middle := int(uint(low+high) >> 1)
		switch order := bytes.Compare(s.entries[middle].Key, key); {
		case order == 0:
			return true
		case order < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return false
}

// How much memory a set keeps for the next Build, in bytes of keys and in entries.
const (
	maxKeptBytes   = 1 << 16
	maxKeptEntries = 1 << 10
)

// Reset empties the set: it is then that of no entity.
func (s *Set) Reset() {
	if cap(s.arena) > maxKeptBytes || cap(s.entries) > maxKeptEntries {
		s.arena, s.entries = nil, nil
	}
	clear(s.entries) // they may refer to larger memory than what is kept
	s.arena, s.entries, s.uses = s.arena[:0], s.entries[:0], s.uses[:0]
}

// Build makes s the entries that e has in c by a plan. It returns a fault if the JSON
// is damaged, there are too many entries, or a unique property is no string; in the
// last case the set has all other entries.
func (s *Set) Build(c *Collection, plan *entity.IndexPlan, e *entity.Entity) error {
	s.Reset()
	start := len(s.arena)
	s.arena = keys.AppendID(s.arena, c.Partition, c.App, c.ID, e.ID)
	middle := len(s.arena)
	s.arena = keys.AppendSeq(s.arena, e.Seq)
	s.add(start, middle)
	wrong, damaged := s.addUnique(c, e)
	if damaged != nil {
		s.order()
		return damaged
	}
	b := &s.builder
	b.set, b.c, b.plan, b.e = s, c, plan, e
	err := b.build()
	b.release()
	if err != nil {
		return err
	}
	return wrong
}

// add adds the entry whose key is what the arena holds from start to middle, and
// whose value is the rest.
func (s *Set) add(start, middle int) *Entry {
	end := len(s.arena)
	s.entries = append(s.entries, Entry{Key: s.arena[start:middle:middle], Value: s.arena[middle:end:end]})
	return &s.entries[len(s.entries)-1]
}

// addUnique adds the entries of unique properties. wrong names one that is no
// string, damaged says that not all were seen.
func (s *Set) addUnique(c *Collection, e *entity.Entity) (wrong, damaged error) {
	if len(c.Unique) == 0 {
		return nil, nil
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
			start := len(s.arena)
			s.arena = keys.AppendUnique(s.arena, c.Partition, c.App, c.ID, u.ID, text)
			middle := len(s.arena)
			s.arena = keys.AppendUniqueValue(s.arena, e.Seq, e.ID)
			added := s.add(start, middle)
			added.Unique, added.Text = u.Name, text
		}
	}
	return wrong, o.Err()
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
