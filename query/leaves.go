package query

import (
	"bytes"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// usable returns the property a leaf is about if an index has it, or the term that the
// leaf is without one.
func (c *catalog) usable(name string) (*property, *term) {
	p := c.property(name)
	switch {
	case !p.covered:
		return nil, constant(false)
	case !p.usable:
		return nil, &term{kind: opaque}
	case !p.named:
		return nil, constant(false)
	}
	return p, nil
}

func (c *catalog) compare(n *ql.Compare) *term {
	switch n.Property {
	case "type":
		return constant(c.ofType(n))
	case "uuid":
		return c.compareID(n)
	case "created":
		return c.compareTime(n, keys.PropCreated)
	case "modified":
		return c.compareTime(n, keys.PropModified)
	}
	p, without := c.usable(n.Property)
	if without != nil {
		return without
	}
	prefix := keys.AppendOrdered(nil, c.s.view.Partition(), c.s.req.App, c.c, p.id)
	if n.Op == ql.Equal && n.Value.Class == entity.StringClass && ql.HasWildcard(n.Value.String) {
		return c.matching(p, prefix, n.Value.String)
	}
	form := keys.AppendValue(nil, &n.Value)
	l := &leaf{index: p.name, property: p, loose: isCut(form)}
	l.bounds = func(prefix []byte, descending bool) keyRange { return valueRange(prefix, n.Op, &n.Value, descending) }
	if n.Op == ql.Equal {
		l.run, l.equal = slices.Concat(prefix, form), &n.Value
		return &term{kind: atRun, leaf: l}
	}
	l.ranges = []keyRange{l.bounds(prefix, false)}
	return &term{kind: inRanges, leaf: l}
}

// valueRange bounds the keys that go on, behind a prefix, with a value that compares so.
// Values that are cut where the given one is are among them.
func valueRange(prefix []byte, op ql.Op, v *entity.Value, descending bool) keyRange {
	form := keys.AppendValue(nil, v)
	class := form[0]
	cut := isCut(form)
	if descending {
		invert(form[1:])
		switch op {
		case ql.Less:
			op = ql.Greater
		case ql.LessEqual:
			op = ql.GreaterEqual
		case ql.Greater:
			op = ql.Less
		case ql.GreaterEqual:
			op = ql.LessEqual
		}
	}
	if cut && op == ql.Less {
		op = ql.LessEqual
	}
	if cut && op == ql.Greater {
		op = ql.GreaterEqual
	}
	key := slices.Concat(prefix, form)
	r := keyRange{lower: append(bytes.Clone(prefix), class), upper: append(bytes.Clone(prefix), class+1)}
	switch op {
	case ql.Less:
		r.upper = key
	case ql.LessEqual:
		r.upper = keys.Successor(key)
	case ql.Greater:
		r.lower = keys.Successor(key)
	case ql.GreaterEqual:
		r.lower = key
	case ql.Equal:
		r.lower, r.upper = key, keys.Successor(key)
	}
	return r
}

// isCut reports whether the form of a value is that of a string that is cut.
func isCut(form []byte) bool { return form[0] == keys.ClassString && form[len(form)-1] == cutEnd }

// matching returns the term of a pattern.
func (c *catalog) matching(p *property, prefix []byte, text string) *term {
	pattern := ql.NewPattern(text)
	head := pattern.Prefix()
	l := &leaf{index: p.name, property: p}
	bounds := func(prefix []byte, descending bool) keyRange {
		key := keys.AppendPrefix(bytes.Clone(prefix), head)
		if descending {
			invert(key[len(prefix)+1:])
		}
		return keyRange{lower: key, upper: keys.Successor(key)}
	}
	l.ranges = []keyRange{bounds(prefix, false)}
	if text == head+"*" {
		l.bounds = bounds
		l.loose = len(head)+strings.Count(head, "\x00") > keys.MaxValue
		return &term{kind: inRanges, leaf: l}
	}
	l.property = nil
	l.loose = true // until it has been seen that no entry is cut
	l.test = func(key, _ []byte) verdict {
		return matches(&pattern, key[len(prefix)+1:len(key)-8])
	}
	return &term{kind: inRanges, leaf: l}
}

// matches says whether a pattern matches the string of a form, without its class. Of what
// is cut, or has zeros in it, the entity must tell.
func matches(pattern *ql.Pattern, form []byte) verdict {
	if len(form) < 2 || form[len(form)-1] == cutEnd {
		return perhaps
	}
	text := form[:len(form)-2]
	switch {
	case bytes.IndexByte(text, 0) >= 0:
		return perhaps
	case pattern.Match(lend(text)):
		return yes
	}
	return no
}

// ofType decides a comparison with the type, which all entities share.
func (c *catalog) ofType(n *ql.Compare) bool {
	typ := entity.Value{Class: entity.StringClass, String: keys.Fold(c.s.req.From.Type)}
	if n.Op == ql.Equal && n.Value.Class == entity.StringClass && ql.HasWildcard(n.Value.String) {
		pattern := ql.NewPattern(n.Value.String)
		return pattern.Match(typ.String)
	}
	r := rangeLeaf{op: n.Op, value: n.Value}
	return r.holds(&typ)
}

func (c *catalog) compareID(n *ql.Compare) *term {
	if n.Value.Class != entity.StringClass {
		return constant(false)
	}
	if n.Op != ql.Equal || ql.HasWildcard(n.Value.String) {
		return &term{kind: opaque}
	}
	id, ok := entity.ParseID(n.Value.String)
	if !ok {
		return constant(false)
	}
	s := c.s
	var val [8]byte
	raw, found, err := s.view.Get(val[:0], keys.AppendID(nil, s.view.Partition(), s.req.App, c.c, id))
	if s.fail(err) || s.fail(s.meter.add(1)) || !found {
		return constant(false)
	}
	seq, ok := keys.DecodeSeq(raw)
	if !ok {
		s.fail(fault.New(fault.Corrupt, "partition %d: number of entity %s", s.view.Partition(), id))
	}
	return &term{kind: listed, leaf: &leaf{index: "uuid", ranks: []uint64{s.order.rank(seq)}}}
}

// times are the properties of the indexes of time, of which every entity has one value.
var times = map[entity.PropertyID]string{keys.PropCreated: "created", keys.PropModified: "modified"}

func (c *catalog) compareTime(n *ql.Compare, id entity.PropertyID) *term {
	switch {
	case n.Value.Class != entity.NumberClass:
		return constant(false)
	case !c.indexed():
		return &term{kind: opaque}
	}
	p := c.known[times[id]]
	if p == nil {
		p = &property{name: times[id], covered: true, usable: true, named: true, id: id, counted: true, with: c.entities()}
		c.known[p.name] = p
	}
	l := &leaf{index: p.name, property: p}
	l.bounds = func(prefix []byte, descending bool) keyRange { return valueRange(prefix, n.Op, &n.Value, descending) }
	l.ranges = []keyRange{l.bounds(keys.AppendOrdered(nil, c.s.view.Partition(), c.s.req.App, c.c, id), false)}
	return &term{kind: inRanges, leaf: l}
}

func (c *catalog) contains(n *ql.Contains) *term {
	switch n.Property {
	case "type", "uuid":
		return &term{kind: opaque}
	case "created", "modified":
		return constant(false)
	}
	p, without := c.usable(n.Property)
	if without != nil {
		return without
	}
	prefix := keys.AppendWords(nil, c.s.view.Partition(), c.s.req.App, c.c, p.id)
	if ql.HasWildcard(n.Text) {
		return c.wordsLike(p, prefix, n.Text)
	}
	some := &term{kind: anyOf}
	for _, word := range index.Words(nil, n.Text) {
		run := keys.AppendWord(bytes.Clone(prefix), word)
		some.parts = append(some.parts, &term{kind: atRun, leaf: &leaf{index: p.name + " words", run: run, loose: run[len(run)-1] == cutEnd}})
	}
	switch len(some.parts) {
	case 0:
		return constant(false)
	case 1:
		return some.parts[0]
	}
	return some
}

// wordsLike returns the term of a pattern for words.
func (c *catalog) wordsLike(p *property, prefix []byte, text string) *term {
	pattern := ql.NewPattern(text)
	lower := keys.AppendWordPrefix(bytes.Clone(prefix), pattern.Prefix())
	l := &leaf{index: p.name + " words", ranges: []keyRange{{lower: lower, upper: keys.Successor(lower)}}, loose: true}
	l.test = func(key, _ []byte) verdict {
		return matches(&pattern, key[len(prefix):len(key)-8])
	}
	return &term{kind: inRanges, leaf: l}
}

// coverCells is how many cells a circle is covered with.
const coverCells = 12

func (c *catalog) within(n *ql.Within) *term {
	if _, system := systemNames[n.Property]; system {
		return constant(false)
	}
	p, without := c.usable(n.Property)
	if without != nil {
		return without
	}
	return &term{kind: inRanges, leaf: c.circle(p, n, n.Meters)}
}

// circle returns the leaf of what lies at most so far from the point of a within.
func (c *catalog) circle(p *property, n *ql.Within, meters float64) *leaf {
	prefix := keys.AppendGeo(nil, c.s.view.Partition(), c.s.req.App, c.c, p.id)
	l := &leaf{index: p.name + " geo", near: n}
	for _, cells := range index.Cover(n.Lat, n.Lng, meters, coverCells) {
		l.ranges = append(l.ranges, keyRange{
			lower: keys.AppendCell(bytes.Clone(prefix), cells.Lo), upper: keys.Successor(keys.AppendCell(bytes.Clone(prefix), cells.Hi))})
	}
	most := millimetres(meters)
	l.test = func(_, value []byte) verdict {
		lat, lng, ok := keys.DecodePoint(value)
		if ok && float64(index.Distance(n.Lat, n.Lng, lat, lng)) <= most {
			return yes
		}
		return no
	}
	return l
}
