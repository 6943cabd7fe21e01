package query

import (
	"bytes"

	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
)

// term is a part of a condition as the indexes of a collection can help with it.
type term struct {
	kind  termKind
	parts []*term
	leaf  *leaf
}

type termKind byte

const (
	everything termKind = iota // holds of every entity
	nothing                    // holds of none
	opaque                     // no index helps
	atRun                      // one run of an index: entities in default order
	inRanges                   // ranges of an index: entities in any order, some several times
	listed                     // these entities
	allOf
	anyOf
	noneOf // of its only part
)

// leaf is a comparison that an index helps with.
type leaf struct {
	index    string    // for people
	property *property // of whose ordered index it is a range, or nil
	// bounds returns the range of keys below a prefix whose next value is one that the
	// leaf asks for. descending says that keys have the value so.
	bounds func(prefix []byte, descending bool) keyRange
	equal  *entity.Value // the leaf asks for this one value

	run    []byte     // of atRun: what the keys begin with
	ranges []keyRange // of inRanges
	test   func(key, value []byte) verdict
	ranks  []uint64 // of listed
	near   *ql.Within
	// loose says that an entity that is found may not be one that the leaf asks for.
	loose bool
}

// keyRange bounds keys: [lower, upper).
type keyRange struct{ lower, upper []byte }

func (r keyRange) empty() bool { return bytes.Compare(r.lower, r.upper) >= 0 }

func (r keyRange) intersect(o keyRange) keyRange {
	if bytes.Compare(o.lower, r.lower) > 0 {
		r.lower = o.lower
	}
	if bytes.Compare(o.upper, r.upper) < 0 {
		r.upper = o.upper
	}
	return r
}

// verdict is what an entry of an index says about its entity.
type verdict byte

const (
	no verdict = iota
	yes
	perhaps // the entry is cut
)

func constant(holds bool) *term {
	if holds {
		return &term{kind: everything}
	}
	return &term{kind: nothing}
}

// term returns a condition as the indexes can help with it.
func (c *catalog) term(n ql.Node) *term {
	switch n := n.(type) {
	case nil:
		return constant(true)
	case *ql.And:
		return c.allOf(n.List)
	case *ql.Or:
		return c.anyOf(n.List)
	case *ql.Not:
		part := c.term(n.Of)
		switch part.kind {
		case everything, nothing:
			return constant(part.kind == nothing)
		case opaque:
			return part
		}
		return &term{kind: noneOf, parts: []*term{part}}
	case *ql.Compare:
		return c.compare(n)
	case *ql.Contains:
		return c.contains(n)
	case *ql.Within:
		return c.within(n)
	}
	return &term{kind: opaque}
}

func (c *catalog) allOf(list []ql.Node) *term {
	all := &term{kind: allOf}
	for _, n := range list {
		switch part := c.term(n); part.kind {
		case nothing:
			return part
		case everything:
		case allOf:
			all.parts = append(all.parts, part.parts...)
		default:
			all.parts = append(all.parts, part)
		}
	}
	if !c.narrow(all) {
		return constant(false)
	}
	switch len(all.parts) {
	case 0:
		return constant(true)
	case 1:
		return all.parts[0]
	}
	return all
}

// narrow makes ranges of one property one range, where entities have one value at most.
// It returns false if nothing is in all of them.
func (c *catalog) narrow(all *term) bool {
	merged := make(map[*property]*leaf)
	kept := all.parts[:0]
	for _, part := range all.parts {
		if part.kind != inRanges || part.leaf.bounds == nil || !c.single(part.leaf.property) {
			kept = append(kept, part)
			continue
		}
		first := merged[part.leaf.property]
		if first == nil {
			own := *part.leaf
			part = &term{kind: inRanges, leaf: &own}
			merged[own.property] = &own
			kept = append(kept, part)
			continue
		}
		first.ranges = []keyRange{first.ranges[0].intersect(part.leaf.ranges[0])}
		if first.ranges[0].empty() {
			return false
		}
		one, other := first.bounds, part.leaf.bounds
		first.bounds = func(prefix []byte, descending bool) keyRange {
			return one(prefix, descending).intersect(other(prefix, descending))
		}
		first.loose = first.loose || part.leaf.loose
	}
	all.parts = kept
	return true
}

func (c *catalog) anyOf(list []ql.Node) *term {
	some := &term{kind: anyOf}
	for _, n := range list {
		switch part := c.term(n); part.kind {
		case everything:
			return part
		case nothing:
		case opaque:
			return part
		default:
			some.parts = append(some.parts, part)
		}
	}
	switch len(some.parts) {
	case 0:
		return constant(false)
	case 1:
		return some.parts[0]
	}
	return some
}
