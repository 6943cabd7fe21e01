package raftfsm

import (
	"slices"

	"github.com/trellisdb/trellis/index"
)

// change is what a patch does to one property.
type change struct {
	index.Property
	name string
	done bool // its place in the stored object was found
}

// manyChanges is how many members a patch has before a map finds them.
const manyChanges = 8

// merger merges patches and reuses its memory. Its zero value is ready.
type merger struct {
	changes []change
	byName  map[string]int // position in changes; only for long patches
}

// merge applies patch to stored, both compact objects, at the top level, and
// returns a new object. Names are matched ignoring case and keep their stored
// spelling and place; null and "" remove a property unless required names it;
// of a name that a patch repeats, the first spelling and the last value count.
// Values pass as the bytes they are.
func (m *merger) merge(stored, patch []byte, required []string) ([]byte, error) {
	if err := m.read(patch); err != nil {
		return nil, err
	}
	dst := make([]byte, 0, len(stored)+len(patch))
	dst = append(dst, '{')
	o := index.NewObject(stored)
	for p, ok := o.Next(); ok; p, ok = o.Next() {
		if c := m.find(p); c != nil {
			c.done = true
			if !c.Removes() {
				p.Value = c.Value
			} else if !slices.Contains(required, c.name) {
				continue
			}
		}
		dst = appendMember(dst, p)
	}
	if err := o.Err(); err != nil {
		return nil, err
	}
	for i := range m.changes {
		if c := &m.changes[i]; !c.done && !c.Removes() {
			dst = appendMember(dst, c.Property)
		}
	}
	return append(dst, '}'), nil
}

func (m *merger) read(patch []byte) error {
	if cap(m.changes) > 16*manyChanges {
		m.changes = nil // a long patch must not be held for ever
	}
	m.changes, m.byName = m.changes[:0], nil
	o := index.NewObject(patch)
	for p, ok := o.Next(); ok; p, ok = o.Next() {
		if earlier := m.find(p); earlier != nil {
			earlier.Value = p.Value
			continue
		}
		m.changes = append(m.changes, change{Property: p, name: p.Name()})
		switch n := len(m.changes); {
		case n > manyChanges:
			m.byName[m.changes[n-1].name] = n - 1
		case n == manyChanges:
			m.byName = make(map[string]int)
			for i := range m.changes {
				m.byName[m.changes[i].name] = i
			}
		}
	}
	return o.Err()
}

func (m *merger) find(p index.Property) *change {
	if m.byName != nil {
		if i, ok := m.byName[p.Name()]; ok {
			return &m.changes[i]
		}
		return nil
	}
	for i := range m.changes {
		if p.Is(m.changes[i].name) {
			return &m.changes[i]
		}
	}
	return nil
}

func appendMember(dst []byte, p index.Property) []byte {
	if len(dst) > 1 {
		dst = append(dst, ',')
	}
	dst = append(dst, p.Key...)
	dst = append(dst, ':')
	return append(dst, p.Value...)
}
