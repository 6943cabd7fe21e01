package index

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// builder adds to a set what an entity's values make of it.
type builder struct {
	set   *Set
	c     *Collection
	plan  *entity.IndexPlan
	e     *entity.Entity
	wrong error

	flat   flattener
	words  []string
	seen   map[string]struct{} // words of a long text
	groups []group
	parts  [entity.MaxCompositeKeys][]component
	forms  []byte // of components
}

// group are the entries of the ordered index of one property.
type group struct {
	property entity.PropertyID
	entries  []Entry
}

// manyWords is how many words a text has before those it repeats are sorted out.
const manyWords = 64

// release forgets what the builder was lent, and memory beyond the usual.
func (b *builder) release() {
	b.set, b.c, b.plan, b.e, b.wrong = nil, nil, nil, nil, nil
	b.flat.visitor = nil
	clear(b.groups)
	clear(b.words)
	if len(b.seen) > maxKeptEntries || cap(b.words) > maxKeptEntries {
		b.words, b.seen = nil, nil
	}
}

// build adds all entries but those of id and unique values, and puts the set in order.
func (b *builder) build() error {
	s := b.set
	if !b.plan.Indexes() {
		s.order()
		return nil
	}
	p, app, c := b.c.Partition, b.c.App, b.c.ID
	start := len(s.arena)
	s.arena = keys.AppendCreated(s.arena, p, app, c, b.e.Created, b.e.Seq)
	s.add(start, len(s.arena))
	start = len(s.arena)
	s.arena = keys.AppendModified(s.arena, p, app, c, b.e.Modified, b.e.Rev, b.e.Seq)
	s.add(start, len(s.arena))

	b.flat.visitor = b
	damaged := b.flat.run(b.e.JSON)
	s.order()
	b.flag()
	b.compose()
	switch {
	case damaged != nil:
		return damaged
	case b.wrong == nil && len(s.entries) > MaxEntries:
		b.wrong = tooMany()
	}
	return b.wrong
}

func tooMany() error {
	return fault.New(fault.EntityTooLarge, "an entity has more than the %d index entries allowed", MaxEntries)
}

// order sorts the entries by key and drops all but one of those with one key.
func (s *Set) order() {
	slices.SortFunc(s.entries, func(a, b Entry) int {
		if order := bytes.Compare(a.Key, b.Key); order != 0 {
			return order
		}
		return bytes.Compare(a.Value, b.Value)
	})
	s.entries = slices.CompactFunc(s.entries, func(a, b Entry) bool { return bytes.Equal(a.Key, b.Key) })
}

// full reports whether nothing more is to be added.
func (b *builder) full() bool {
	if b.wrong == nil && len(b.set.entries) > 2*MaxEntries {
		if b.set.order(); len(b.set.entries) > MaxEntries {
			b.wrong = tooMany()
		}
	}
	return b.wrong != nil
}

// number returns the number of a property, or false if it is not to be indexed.
func (b *builder) number(path []byte) (entity.PropertyID, bool) {
	if b.full() || !b.plan.Covers(lend(path)) {
		return 0, false
	}
	number, err := b.c.Properties.Number(path)
	if err != nil {
		b.wrong = err
	}
	return number, err == nil
}

// Scalar implements Visitor.
func (b *builder) Scalar(path []byte, v *entity.Value) {
	number, ok := b.number(path)
	if !ok {
		return
	}
	s := b.set
	start := len(s.arena)
	s.arena = keys.AppendOrdered(s.arena, b.c.Partition, b.c.App, b.c.ID, number)
	s.arena = keys.AppendTail(keys.AppendValue(s.arena, v), b.e.Seq)
	s.add(start, len(s.arena))
	if v.Class == entity.StringClass {
		b.addWords(number, v.String)
	}
}

// Point implements Visitor.
func (b *builder) Point(path []byte, lat, lng float64) {
	cell, onEarth := Cell(lat, lng)
	if !onEarth {
		return
	}
	number, ok := b.number(path)
	if !ok {
		return
	}
	s := b.set
	start := len(s.arena)
	s.arena = keys.AppendCell(keys.AppendGeo(s.arena, b.c.Partition, b.c.App, b.c.ID, number), cell)
	s.arena = keys.AppendTail(s.arena, b.e.Seq)
	middle := len(s.arena)
	s.arena = keys.AppendPoint(s.arena, lat, lng)
	s.add(start, middle)
}

func (b *builder) addWords(number entity.PropertyID, text string) {
	b.words = Words(b.words[:0], text)
	long := len(b.words) > manyWords
	if long {
		if b.seen == nil {
			b.seen = make(map[string]struct{})
		}
		clear(b.seen)
	}
	for _, word := range b.words {
		if long {
			if _, again := b.seen[word]; again {
				continue
			}
			b.seen[word] = struct{}{}
		}
		if b.full() {
			return
		}
		s := b.set
		start := len(s.arena)
		s.arena = keys.AppendWords(s.arena, b.c.Partition, b.c.App, b.c.ID, number)
		s.arena = keys.AppendTail(keys.AppendWord(s.arena, word), b.e.Seq)
		s.add(start, len(s.arena))
	}
}

// Where the parts of a key of an ordered index begin.
const (
	atKind     = 8
	atProperty = 13
	atForm     = 17
	tailSize   = 8
)

// formOf returns the form of the value in a key of an ordered index.
func formOf(key []byte) []byte { return key[atForm : len(key)-tailSize] }

// flagValues are the values of entries by their flags.
var flagValues = [...]byte{0, keys.FlagSmallest, keys.FlagLargest, keys.FlagSmallest | keys.FlagLargest}

// flag marks which of the values of each property the entity sorts by, and notes the
// properties it has.
func (b *builder) flag() {
	s := b.set
	b.groups = b.groups[:0]
	for i := 0; i < len(s.entries); {
		kind, _, property, _, ok := keys.DecodeIndex(s.entries[i].Key)
		if !ok || kind != keys.KindOrdered || property == keys.PropCreated || property == keys.PropModified {
			i++
			continue
		}
		prefix := s.entries[i].Key[:atForm]
		end := i + 1
		largest := i
		for ; end < len(s.entries) && bytes.HasPrefix(s.entries[end].Key, prefix); end++ {
			if s.entries[end].Key[atForm] == s.entries[i].Key[atForm] {
				largest = end
			}
		}
		for j := i; j < end; j++ {
			var flags byte
			if j == i {
				flags |= keys.FlagSmallest
			}
			if j == largest {
				flags |= keys.FlagLargest
			}
			s.entries[j].Value = flagValues[flags : flags+1 : flags+1]
		}
		b.groups = append(b.groups, group{property, s.entries[i:end]})
		s.uses = append(s.uses, Use{Property: property, Several: end-i > 1})
		i = end
	}
}

// component is a value in an entry of a composite index.
type component struct {
	form  []byte
	flags byte
}

const bothFlags = keys.FlagSmallest | keys.FlagLargest

// compose adds the entries of the composite indexes: one for each combination of
// values.
func (b *builder) compose() {
	first := len(b.set.entries)
	room := MaxCombinations
	for i := range b.plan.Composites {
		c := &b.plan.Composites[i]
		b.forms = b.forms[:0]
		combinations := 1
		for k := range c.Keys {
			b.parts[k] = b.components(b.parts[k][:0], &c.Keys[k])
			combinations *= min(len(b.parts[k]), MaxCombinations+1)
		}
		if room -= combinations; room < 0 {
			b.wrong = fault.New(fault.EntityTooLarge, "an entity has more than the %d combinations of values allowed in composite indexes", MaxCombinations)
			break
		}
		b.combine(c)
	}
	tail := b.set.entries[first:] // their kind comes after all others
	slices.SortFunc(tail, func(a, b Entry) int { return bytes.Compare(a.Key, b.Key) })
}

// components appends what an entity has for a key of a composite index.
func (b *builder) components(dst []component, key *entity.CompositeKey) []component {
	own := entity.Value{Class: entity.MissingClass}
	switch key.Property {
	case "created":
		own = entity.Value{Class: entity.NumberClass, Number: entity.Int(b.e.Created)}
	case "modified":
		own = entity.Value{Class: entity.NumberClass, Number: entity.Int(b.e.Modified)}
	case "uuid":
		own = entity.Value{Class: entity.StringClass, String: b.e.ID.String()}
	default:
		if number, ok := b.c.Properties.Known(key.Property); ok {
			i, found := slices.BinarySearchFunc(b.groups, number, func(g group, n entity.PropertyID) int { return cmp.Compare(g.property, n) })
			if found {
				for _, e := range b.groups[i].entries {
					dst = append(dst, component{b.form(formOf(e.Key), key.Desc), e.Value[0]})
				}
				return dst
			}
		}
	}
	start := len(b.forms)
	b.forms = keys.AppendValue(b.forms, &own)
	return append(dst, component{b.form(b.forms[start:], key.Desc), bothFlags})
}

// form returns a form in a direction.
func (b *builder) form(form []byte, desc bool) []byte {
	if !desc {
		return form
	}
	start := len(b.forms)
	b.forms = append(b.forms, form...)
	turned := b.forms[start:]
	for i := 1; i < len(turned); i++ {
		turned[i] = ^turned[i]
	}
	return turned
}

// combine adds an entry for each choice of one component a key.
func (b *builder) combine(c *entity.Composite) {
	var choice [entity.MaxCompositeKeys]int
	for {
		s := b.set
		start := len(s.arena)
		s.arena = keys.AppendComposite(s.arena, b.c.Partition, b.c.App, b.c.ID, c.Number)
		var flags byte
		for k := range c.Keys {
			part := &b.parts[k][choice[k]]
			s.arena = append(s.arena, part.form...)
			flags |= part.flags << (2 * k)
		}
		s.arena = keys.AppendTail(s.arena, b.e.Seq)
		middle := len(s.arena)
		s.arena = append(s.arena, flags)
		s.add(start, middle)
		k := 0
		for ; k < len(c.Keys); k++ {
			if choice[k]++; choice[k] < len(b.parts[k]) {
				break
			}
			choice[k] = 0
		}
		if k == len(c.Keys) {
			return
		}
	}
}
