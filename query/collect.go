package query

import (
	"slices"

	"github.com/trellisdb/trellis/storage/keys"
)

// set is what was collected of a term: ranks of entities, in order, each once.
type set struct {
	ranks    []uint64
	loose    bool // some may not satisfy the term
	examined int
	index    string
}

func (c *set) rows() rows {
	return &list{ranks: c.ranks, index: c.index, size: len(c.ranks), examined: c.examined}
}

// collector reads sets from indexes.
type collector struct {
	c     *catalog
	bound int // keys that may still be examined
}

// collect returns the set of a term if it takes at most so many keys to read it.
func (c *catalog) collect(t *term, bound int) (*set, bool) {
	k := &collector{c: c, bound: bound}
	found, ok := k.collect(t)
	return found, ok && c.s.err == nil
}

func (k *collector) collect(t *term) (*set, bool) {
	switch t.kind {
	case nothing:
		return &set{}, true
	case listed:
		return &set{ranks: t.leaf.ranks, index: t.leaf.index}, true
	case atRun:
		return k.read(t.leaf, []keyRange{{lower: t.leaf.run, upper: keys.Successor(t.leaf.run)}})
	case inRanges:
		return k.read(t.leaf, t.leaf.ranges)
	case anyOf:
		return k.collectAny(t)
	case allOf:
		return k.collectOne(t)
	}
	return nil, false
}

// collectAny returns the union of all parts.
func (k *collector) collectAny(t *term) (*set, bool) {
	all := &set{}
	for _, part := range t.parts {
		found, ok := k.collect(part)
		if !ok {
			return nil, false
		}
		all.ranks = append(all.ranks, found.ranks...)
		all.loose = all.loose || found.loose
		all.examined += found.examined
		if all.index == "" {
			all.index = found.index
		} else if all.index != found.index && found.index != "" {
			all.index = "several"
		}
	}
	slices.Sort(all.ranks)
	all.ranks = slices.Compact(all.ranks)
	return all, true
}

// collectOne returns the set of the first part that is small enough: the others do not
// count.
func (k *collector) collectOne(t *term) (*set, bool) {
	share := k.bound / len(t.parts)
	for _, part := range t.parts {
		one := &collector{c: k.c, bound: share}
		found, ok := one.collect(part)
		k.bound -= share - one.bound
		if ok {
			found.loose = true
			return found, true
		}
	}
	return nil, false
}

// read returns the entities of ranges of keys that pass the leaf's test.
func (k *collector) read(l *leaf, ranges []keyRange) (*set, bool) {
	s := k.c.s
	found := &set{index: l.index, loose: l.loose && l.test == nil}
	tail := keys.Tail
	if l.property != nil && (l.property.id == keys.PropCreated || l.property.id == keys.PropModified) {
		tail = keys.TimeTail
	}
	for _, r := range ranges {
		if r.empty() {
			continue
		}
		if k.bound--; k.bound < 0 {
			return nil, false
		}
		scan := k.scan(r)
		for ok := scan.first(); ok; ok = scan.next() {
			if k.bound--; k.bound < 0 {
				return nil, false
			}
			found.examined++
			if l.test != nil {
				switch l.test(scan.key(), scan.value()) {
				case no:
					continue
				case perhaps:
					found.loose = true
				}
			}
			found.ranks = append(found.ranks, s.order.rank(tail(scan.key())))
		}
		if s.err != nil {
			return nil, false
		}
	}
	slices.Sort(found.ranks)
	found.ranks = slices.Compact(found.ranks)
	return found, true
}

// scan returns a scan of a range, the same one for all ranges.
func (k *collector) scan(r keyRange) *scan {
	if k.c.scan == nil {
		k.c.scan = k.c.s.scan(r.lower, r.upper)
	} else {
		k.c.scan.again(r.lower, r.upper)
	}
	return k.c.scan
}
