package query

import (
	"slices"

	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
)

// tuning are the bounds by which plans are chosen. Tests make them small.
type tuning struct {
	probe   int // keys that are read to see whether a set is small
	trial   int // entities that are tried before another plan is looked for
	streams int // runs that are merged at once
	// patience says how much longer than a trial a walk goes on if nothing else helps: 0,
	// not at all.
	patience int
}

func defaultTuning() tuning { return tuning{probe: 128, trial: 64, streams: 32, patience: 1} }

// planner answers a query over a collection by its indexes.
//
// A condition is taken apart into factors, all of which must hold. Factors that are
// streams are merged; small sets are collected and merged as well; what else there is
// becomes a filter. A plan with a filter is on trial while another could turn out better:
// a set that is not so small might still be smaller than what the filter has to look at.
type planner struct {
	s       *search
	c       *catalog
	l       *lens
	factors []*term
	streams int // that are in use
	probes  int // that were made
}

// maxProbes is how many factors of a query are looked at for a small set.
const maxProbes = 16

// probe returns the set of a term if it is small.
func (p *planner) probe(t *term) (*set, bool) {
	if p.probes++; p.probes > maxProbes {
		return nil, false
	}
	return p.c.collect(t, p.s.tune.probe)
}

// collection answers a query over the entities of a collection.
func (s *search) collection() {
	condition := conditionOf(s.req.Query)
	if s.order.plain() && condition == nil && !s.order.explicit {
		from, ok := s.firstRank()
		if ok {
			s.scanInOrder(nil, from, attempt{most: unlimited})
		}
		return
	}
	l := s.lens(s.req.From.ID)
	if l == nil || l.blind {
		s.explain(func() *Plan { return &Plan{Kind: "nothing", Detail: "the collection has no indexes"} })
		return
	}
	c := s.newCatalog(l.settings)
	root := c.term(condition)
	p := &planner{s: s, c: c, l: l}
	switch root.kind {
	case nothing:
		s.explain(func() *Plan { return &Plan{Kind: "nothing"} })
		return
	case everything:
	case allOf:
		p.factors = root.parts
	default:
		p.factors = []*term{root}
	}
	if s.err != nil {
		return
	}
	if s.order.plain() {
		p.inDefaultOrder()
	} else {
		p.inOrder()
	}
}

func conditionOf(q *ql.Query) ql.Node {
	if q == nil {
		return nil
	}
	return q.Where
}

// unlimited is a number of tries that does not end.
const unlimited = int(^uint(0) >> 1)

// trial returns how many entities a plan may try while there are others.
func (p *planner) trial() int { return p.s.tune.trial + 4*p.s.req.Limit }

// merge is what can be merged of a condition.
type merge struct {
	in, out []rows
	exact   bool    // in and out prove all factors but those of late
	late    []*term // factors that could be collected, if need be
}

// filter reports whether what is merged must be filtered.
func (m *merge) filter() bool { return !m.exact || len(m.late) > 0 }

// merge takes the factors apart.
func (p *planner) merge() *merge {
	m := &merge{exact: true}
	for _, f := range p.composed() {
		if r, exact, ok := p.stream(f); ok {
			m.in, m.exact = append(m.in, r), m.exact && exact
			continue
		}
		if f.kind == noneOf {
			m.exact = p.without(m, f.parts[0]) && m.exact
			continue
		}
		if found, ok := p.probe(f); ok {
			m.in, m.exact = append(m.in, found.rows()), m.exact && !found.loose
			continue
		}
		if f.kind == opaque {
			m.exact = false
		} else {
			m.late = append(m.late, f)
		}
	}
	return m
}

// without merges what must not hold, and reports whether it could.
func (p *planner) without(m *merge, t *term) bool {
	if r, exact, ok := p.stream(t); ok && exact {
		m.out = append(m.out, r)
		return true
	}
	if found, ok := p.probe(t); ok && !found.loose {
		m.out = append(m.out, found.rows())
		return true
	}
	return false
}

// stream returns the rows of a term whose runs are in default order, and whether they are
// exactly those of the term.
func (p *planner) stream(t *term) (r rows, exact, ok bool) {
	switch t.kind {
	case atRun:
		if p.streams >= p.s.tune.streams {
			return nil, false, false
		}
		p.streams++
		return p.s.newStream("run", t.leaf.index, t.leaf.run), !t.leaf.loose, true
	case listed:
		return &list{ranks: t.leaf.ranks, index: t.leaf.index, size: len(t.leaf.ranks)}, true, true
	case anyOf:
		before := p.streams
		var in []rows
		exact = true
		for _, part := range t.parts {
			r, partExact, ok := p.stream(part)
			if !ok {
				p.streams = before
				return nil, false, false
			}
			in, exact = append(in, r), exact && partExact
		}
		return newUnion(in), exact, true
	case allOf:
		and := &intersection{}
		exact = true
		for _, part := range t.parts {
			if part.kind == noneOf {
				if r, partExact, ok := p.stream(part.parts[0]); ok && partExact {
					and.out = append(and.out, r)
					continue
				}
			}
			r, partExact, ok := p.stream(part)
			if ok {
				and.in = append(and.in, r)
			}
			exact = exact && ok && partExact
		}
		return and, exact, len(and.in) > 0
	}
	return nil, false, false
}

// inDefaultOrder answers a query without an order.
func (p *planner) inDefaultOrder() {
	s := p.s
	from, ok := s.firstRank()
	if !ok {
		return
	}
	m := p.merge()
	if len(m.late) == 0 {
		p.take(m, from, attempt{most: unlimited})
		return
	}
	// The filter and the sets take turns, each with more patience than before, so that
	// neither costs much more than the one that is better.
	from, done := p.take(m, from, attempt{most: p.trial(), few: fewTries + s.req.Limit})
	if done || s.err != nil {
		return
	}
	p.bounds(func(bound int) bool {
		if found, at := p.pickSmall(m.late, bound); found != nil {
			m.in, m.exact = append(m.in, found.rows()), m.exact && !found.loose
			m.late = slices.Delete(m.late, at, at+1)
			return true
		}
		if s.err == nil {
			from, done = p.take(m, from, attempt{most: bound / 4})
		}
		return done
	})
	if !done && s.err == nil {
		p.take(m, from, attempt{most: unlimited})
	}
}

// fewTries is how many entities more than a page has are tried in any case.
const fewTries = 16

// attempt is how many entities a plan may try before another one is looked for.
type attempt struct {
	most int
	few  int // after so many it is over if none of them matched: more would hardly be enough; 0: not so
}

// over notes that one more entity is to be tried, and reports whether it may not.
func (a *attempt) over(matched int) bool {
	if a.few > 0 {
		if a.few--; a.few == 0 && matched == 0 {
			return true
		}
	}
	a.most--
	return a.most < 0
}

// take emits what matches from a rank on. If it has not come to an end when the attempt is
// over, it returns where to go on.
func (p *planner) take(m *merge, from uint64, a attempt) (next uint64, done bool) {
	s := p.s
	if len(m.in) == 0 {
		return s.scanInOrder(p.l, from, a)
	}
	var r rows = &intersection{in: m.in, out: m.out}
	if len(m.in) == 1 && len(m.out) == 0 {
		r = m.in[0]
	}
	defer s.explain(func() *Plan { return filtered(r.explain(), m.filter()) })
	if s.req.Limit == 0 {
		return 0, true
	}
	if !m.filter() {
		p.takeExact(r, from)
		return 0, true
	}
	for at, ok := r.seek(from); ok; at, ok = r.seek(at + 1) {
		if a.over(len(s.rows)) {
			return at, false
		}
		e, ok := s.fetch(entity.End{Collection: s.req.From.ID, Seq: s.order.seq(at)})
		if !ok {
			break
		}
		matches, ok := s.look(p.l, &e)
		if !ok || matches && !s.emit(s.req.From.ID, &e, 0, p.l.distance) || at == ^uint64(0) {
			break
		}
	}
	return 0, true
}

// takeExact emits rows without a look at what they are.
func (p *planner) takeExact(r rows, from uint64) {
	s := p.s
	items := make([]item, 0, min(s.req.Limit+1, mostFetch))
	for at, ok := r.seek(from); ok; at, ok = r.seek(at + 1) {
		items = append(items, p.item(at))
		if len(items) > s.req.Limit || at == ^uint64(0) {
			break
		}
	}
	if s.err == nil {
		s.emitItems(items)
	}
}

func (p *planner) item(rank uint64) item {
	return item{end: entity.End{Collection: p.s.req.From.ID, Seq: p.s.order.seq(rank)}}
}

// pickSmall collects the first factor that takes no more than so many keys, and returns
// which it is.
func (p *planner) pickSmall(factors []*term, bound int) (*set, int) {
	until := p.s.meter.examined + 3*bound // many factors are not all looked at
	for i, f := range factors {
		if found, ok := p.c.collect(f, bound); ok {
			return found, i
		}
		if p.s.err != nil || p.s.meter.examined > until {
			break
		}
	}
	return nil, 0
}

// bounds calls try with larger and larger numbers of keys that a set may take, up to the
// largest, until it returns true.
func (p *planner) bounds(try func(bound int) bool) {
	for bound := 8 * p.s.tune.probe; ; bound *= growth {
		bound = max(1, min(bound, p.s.cfg.MaxSet))
		if try(bound) || p.s.err != nil || bound >= p.s.cfg.MaxSet {
			return
		}
	}
}

// growth is how much larger than the last the next attempt of a plan may be.
const growth = 8

// composed returns the factors, with runs of composite indexes in place of the equalities
// that they stand for.
func (p *planner) composed() []*term {
	factors := p.factors
	for _, x := range p.c.composites() {
		run := p.compositePrefix(x)
		var used []*term
		for _, key := range x.Keys {
			f := equalOn(factors, key.Property)
			if f == nil {
				break
			}
			run = appendForm(run, f.leaf.equal, key.Desc)
			used = append(used, f)
		}
		if len(used) < len(x.Keys) {
			continue
		}
		factors = slices.DeleteFunc(slices.Clone(factors), func(f *term) bool { return slices.Contains(used, f) })
		factors = append(factors, &term{kind: atRun, leaf: &leaf{index: compositeName(x), run: run}})
	}
	return factors
}

// equalOn returns the factor that asks for one value of a property.
func equalOn(factors []*term, property string) *term {
	for _, f := range factors {
		if f.kind == atRun && f.leaf.equal != nil && !f.leaf.loose && f.leaf.property.name == property {
			return f
		}
	}
	return nil
}
