package query

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	// firstRing is which part of the radius asked for is looked at first, and ringGrowth
	// how much larger the next circle is.
	firstRing  = 256
	ringGrowth = 4
	// maxSpots is how many entries of a ring are kept in memory.
	maxSpots = 400_000
)

// spot is an entry of the geo index with its distance.
type spot struct {
	seq entity.Seq
	mm  int64
}

// nearest answers a query that is ordered by the distance from a point around which it
// looks: rings grow outwards until the page is full. It returns false if the query is not
// one.
func (p *planner) nearest() bool {
	s := p.s
	key := &s.order.keys[0]
	if key.kind != byDistance || key.desc {
		return false
	}
	var within *ql.Within
	for _, f := range p.factors {
		if f.kind == inRanges && f.leaf.near != nil && f.leaf.near.Property == key.property && f.leaf.near.Lat == key.lat && f.leaf.near.Lng == key.lng {
			within = f.leaf.near
		}
	}
	if within == nil {
		return false
	}
	r := &rings{p: p, within: within, best: s.newTop(), seen: make(map[entity.Seq]bool)}
	if s.req.Limit > 0 {
		r.run()
	}
	s.explain(func() *Plan {
		return over("sort", filtered(&Plan{Kind: "rings", Index: key.property + " geo", Examined: r.examined}, true))
	})
	if s.err == nil && s.req.Limit > 0 {
		s.emitItems(r.best.sorted())
	}
	return true
}

// rings looks for the entities nearest to a point.
type rings struct {
	p        *planner
	within   *ql.Within
	best     *top
	seen     map[entity.Seq]bool
	examined int
}

func (r *rings) run() {
	least := int64(-1) // nearer ones were on earlier pages
	radius := r.within.Meters / firstRing
	if after := r.p.s.after; after != nil {
		v, _, ok := keys.DecodeValue(after.forms[0])
		if !ok || v.Class != entity.NumberClass {
			return // behind all that is within
		}
		least = int64(v.Number.Float)
		radius = max(radius, v.Number.Float/1000)
	}
	inner := least - 1
	for {
		radius = min(radius, r.within.Meters)
		outer := int64(millimetres(radius))
		spots := r.ring(radius, inner, outer)
		if r.p.s.err != nil || !r.take(spots) || radius >= r.within.Meters {
			return
		}
		inner, radius = outer, radius*ringGrowth
	}
}

// ring returns what lies farther away than inner and at most as far as outer, nearest
// first.
func (r *rings) ring(radius float64, inner, outer int64) []spot {
	s := r.p.s
	var spots []spot
	prop := r.p.c.property(r.within.Property)
	k := &collector{c: r.p.c}
	for _, cells := range r.p.c.circle(prop, r.within, radius).ranges {
		scan := k.scan(cells)
		for ok := scan.first(); ok; ok = scan.next() {
			r.examined++
			lat, lng, ok := keys.DecodePoint(scan.value())
			if !ok {
				continue
			}
			mm := index.Distance(r.within.Lat, r.within.Lng, lat, lng)
			if mm <= inner || mm > outer {
				continue
			}
			if spots = append(spots, spot{keys.Tail(scan.key()), mm}); len(spots) > maxSpots {
				s.fail(errTooCostly)
				return nil
			}
		}
	}
	slices.SortFunc(spots, func(a, b spot) int { return cmp.Or(cmp.Compare(a.mm, b.mm), cmp.Compare(a.seq, b.seq)) })
	return spots
}

// take looks at spots, nearest first. It returns false when what follows is too far to be
// on the page.
func (r *rings) take(spots []spot) bool {
	s := r.p.s
	var form []byte
	for _, at := range spots {
		if r.seen[at.seq] {
			continue
		}
		if r.best.full() {
			form = keys.AppendNumber(form[:0], entity.Int(at.mm))
			if worst := r.best.items[0].place; bytes.Compare(form, worst[:len(form)]) > 0 {
				return false
			}
		}
		r.seen[at.seq] = true
		end := entity.End{Collection: s.req.From.ID, Seq: at.seq}
		e, ok := s.fetch(end)
		if !ok || !s.consider(r.best, r.p.l, &e, end, 0) {
			return false
		}
	}
	return true
}
