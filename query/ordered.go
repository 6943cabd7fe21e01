package query

import (
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// ordered is a walk in the order of a query, or as much of it as an index has.
type ordered struct {
	walk    walk // nil: no entity has a value
	inGroup inGroup
	missing *property // after the walk come entities that have no value of it; nil: none do
	all     bool      // they are all entities
	rest    []*term   // factors that the walk does not prove
	used    int       // factors that it does
	values  int       // sort keys that the index knows
	start   func()    // positions the walk
	index   string
}

// inGroup says in which order an index has what is equal to it.
type inGroup byte

const (
	asWanted    inGroup = iota // what comes first is first
	newestFirst                // to be sorted: newest first
	oldestFirst                // to be sorted: oldest first
	byPlace                    // to be sorted by what the index does not know
)

// inOrder answers a query with an order.
func (p *planner) inOrder() {
	s := p.s
	w := p.bestWalk()
	if s.err != nil {
		return
	}
	if w != nil && len(w.rest) == 0 {
		p.follow(w, nil, unlimited)
		return
	}
	factors := p.composed()
	for _, f := range factors {
		if found, ok := p.probe(f); ok {
			p.topOf(found)
			return
		}
	}
	if s.err != nil || p.nearest() {
		return
	}
	p.race(factors)
}

// race answers a query for which no index alone is enough. A walk that filters what it
// meets and sets that are collected take turns, each with more patience than before.
func (p *planner) race(factors []*term) {
	s := p.s
	tries, done := p.trial(), false
	p.bounds(func(bound int) bool {
		if w := p.bestWalk(); w != nil && p.follow(w, nil, tries) {
			done = true
			return true
		}
		tries = bound / 16
		found, at := p.pickSmall(factors, bound)
		if found == nil {
			return false
		}
		done = true
		w := p.bestWalk()
		if w == nil || p.fewEnough(found) || !p.follow(w, p.refine(found, factors, at), unlimited) && s.err == nil {
			p.topOf(found)
		}
		return true
	})
	if done || s.err != nil {
		return
	}
	if w := p.bestWalk(); w == nil || !p.follow(w, nil, p.walkTries()) && s.err == nil {
		s.scanForTop(p.l)
	}
}

// walkTries returns how many entities a walk may try before it is cheaper to look at all
// of them in the order they are stored in. To try one costs about five times as much that
// way. A collection too large to be looked at leaves only the walk.
func (p *planner) walkTries() int {
	n := p.c.entities()
	if n > uint64(p.s.cfg.MaxKeys-p.s.meter.examined) {
		return unlimited
	}
	return int(n/10) * p.s.tune.patience
}

// stepsOfAFetch is how many steps of a walk cost about as much as to fetch an entity.
const stepsOfAFetch = 20

// fewEnough reports whether it is cheaper to fetch all of a set than to walk until enough
// of it is met, if it lies evenly in the order. If it does not, the walk gives up in time.
func (p *planner) fewEnough(found *set) bool {
	m, n := uint64(len(found.ranks)), p.c.entities()
	return stepsOfAFetch*m*m <= uint64(p.s.req.Limit+1)*n
}

// refine drops from the set of one of the factors what streams of the others say is not
// wanted.
func (p *planner) refine(found *set, factors []*term, which int) *set {
	p.streams = 0
	and := &intersection{in: []rows{&list{ranks: found.ranks}}}
	exact := !found.loose
	for i, f := range factors {
		if i == which {
			continue
		}
		if r, partExact, ok := p.stream(f); ok {
			and.in, exact = append(and.in, r), exact && partExact
			continue
		}
		exact = false
	}
	if len(and.in) > 1 {
		var kept []uint64
		for at, ok := and.seek(0); ok; at, ok = and.seek(at + 1) {
			kept = append(kept, at)
		}
		found.ranks = kept
	}
	found.loose = !exact
	return found
}

// topOf fetches all of a set and emits the first of those that match.
func (p *planner) topOf(found *set) {
	s := p.s
	defer s.explain(func() *Plan { return over("sort", filtered(found.rows().explain(), true)) })
	if s.req.Limit == 0 {
		return
	}
	best := s.newTop()
	for _, rank := range found.ranks {
		end := p.item(rank).end
		e, ok := s.fetch(end)
		if !ok || !s.consider(best, p.l, &e, end, 0) {
			return
		}
	}
	s.emitItems(best.sorted())
}

// bestWalk returns the walk that knows most of the order and of the condition; nil if there
// is none.
func (p *planner) bestWalk() *ordered {
	if p.s.order.cut < keys.MaxValue {
		return nil // strings are cut shorter than in the indexes
	}
	best := p.propertyWalk()
	for _, x := range p.c.composites() {
		if w := p.compositeWalk(x); w != nil && w.betterThan(best) {
			best = w
		}
	}
	if best != nil && best.start != nil {
		best.start()
	}
	return best
}

func (w *ordered) betterThan(o *ordered) bool {
	if o == nil || w.used != o.used {
		return o == nil || w.used > o.used
	}
	return w.values > o.values
}

// propertyWalk returns the walk over the index of the first sort key.
func (p *planner) propertyWalk() *ordered {
	key := &p.s.order.keys[0]
	w := &ordered{rest: p.factors, values: 1, index: key.property}
	switch key.kind {
	case byCreated, byModified:
		return p.timeWalk(w, key)
	case byUUID:
		return p.uuidWalk(w, key)
	case byValue:
		return p.valueWalk(w, key)
	}
	return nil
}

func (p *planner) valueWalk(w *ordered, key *sortKey) *ordered {
	s := p.s
	if len(s.order.keys) > 1 {
		w.inGroup = byPlace
	}
	prop := p.c.property(key.property)
	if prop.covered && !prop.usable {
		return nil
	}
	w.missing, w.all = prop, !prop.covered || !prop.named
	if w.all || s.after != nil && s.after.forms[0][0] == keys.ClassMissing {
		return w
	}
	prefix := keys.AppendOrdered(nil, s.view.Partition(), s.req.App, p.c.c, prop.id)
	v := &valueWalk{s: s, index: key.property, prefix: prefix, desc: []bool{false}, back: key.desc, mask: flagOf(key)}
	v.bounds = p.bound(w, prop, prefix, false)
	if w.used == 0 {
		p.c.count(prop)
	}
	if w.used > 0 || prop.with == p.c.entities() {
		w.missing = nil
	}
	w.walk = v
	w.start = func() { v.start(p.resumeAt(w)) }
	return w
}

func flagOf(key *sortKey) byte {
	if key.desc {
		return keys.FlagLargest
	}
	return keys.FlagSmallest
}

// bound returns the keys behind a prefix that factors leave of a property that no entity
// has several values of. Those factors need not be looked at again.
func (p *planner) bound(w *ordered, prop *property, prefix []byte, descending bool) keyRange {
	r := keyRange{lower: prefix, upper: keys.Successor(prefix)}
	if !prop.usable || !prop.named || !p.c.single(prop) {
		return r
	}
	var rest []*term
	for _, f := range w.rest {
		if (f.kind != inRanges && f.kind != atRun) || f.leaf.bounds == nil || f.leaf.property != prop {
			rest = append(rest, f)
			continue
		}
		r = r.intersect(f.leaf.bounds(prefix, descending))
		w.used++
		if f.leaf.loose {
			rest = append(rest, f)
		}
	}
	w.rest = rest
	if r.empty() {
		r.upper = r.lower
	}
	return r
}

// resumeAt returns where a walk goes on for the next page.
func (p *planner) resumeAt(w *ordered) *from {
	after := p.s.after
	if after == nil {
		return nil
	}
	at := &from{rank: after.rank, inner: w.inGroup == asWanted}
	for i, form := range after.forms[:w.values] {
		switch p.s.order.keys[i].kind {
		case byCreated, byModified:
			form = form[:len(form)-8]
		}
		at.forms = append(at.forms, form)
	}
	return at
}

func (p *planner) timeWalk(w *ordered, key *sortKey) *ordered {
	s := p.s
	if !p.c.indexed() {
		return nil
	}
	id := keys.PropCreated
	if key.kind == byModified {
		id = keys.PropModified
	}
	prefix := keys.AppendOrdered(nil, s.view.Partition(), s.req.App, p.c.c, id)
	v := &plainWalk{s: s, index: key.property, back: key.desc, bounds: keyRange{prefix, keys.Successor(prefix)}}
	v.seq = func(k, _ []byte) (entity.Seq, bool) { return keys.TimeTail(k), true }
	if prop := p.c.known[key.property]; prop != nil && prop.named {
		v.bounds = p.bound(w, prop, prefix, false)
	}
	if s.after != nil {
		v.after = slices.Concat(prefix, s.after.forms[0])
	}
	w.walk = v
	return w
}

func (p *planner) uuidWalk(w *ordered, key *sortKey) *ordered {
	s := p.s
	lower, upper := keys.IDRange(s.view.Partition(), s.req.App, p.c.c)
	v := &plainWalk{s: s, index: "uuid", back: key.desc, bounds: keyRange{lower, upper}}
	v.seq = func(_, value []byte) (entity.Seq, bool) { return keys.DecodeSeq(value) }
	if s.after != nil {
		text, _, ok := keys.DecodeValue(s.after.forms[0])
		id, isID := entity.ParseID(text.String)
		if !ok || !isID {
			return nil
		}
		v.after = slices.Concat(lower, id[:])
	}
	w.walk = v
	return w
}
