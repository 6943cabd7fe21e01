package query

import (
	"cmp"
	"slices"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// follower makes a page of what a walk yields.
type follower struct {
	p      *planner
	w      *ordered
	in     *set // only these entities; nil: all
	filter bool
	tries  int
	misses int // steps that may yet meet none of in

	items   []item       // found
	pending []entity.Seq // next in order, not looked at yet
	group   []entity.Seq // equal as far as the index knows, not sorted yet
	resumed bool         // the group may begin before the page does
	gaveUp  bool
}

// follow emits what matches in the order of a walk. in are the only entities that can, if
// it is not nil. It returns false if it gave up after so many tries, or when it would have
// been cheaper to fetch all of in, and emitted nothing.
func (p *planner) follow(w *ordered, in *set, tries int) bool {
	s := p.s
	f := &follower{p: p, w: w, in: in, filter: len(w.rest) > 0, tries: tries}
	if in != nil {
		f.filter, f.misses = in.loose, stepsOfAFetch*len(in.ranks)
	}
	f.resumed = s.after != nil && w.inGroup != asWanted
	if s.req.Limit > 0 {
		f.run()
	}
	if s.err == nil && f.gaveUp {
		return false
	}
	s.explain(f.step)
	if s.err == nil && s.req.Limit > 0 {
		s.emitItems(f.items)
	}
	return true
}

func (f *follower) run() {
	if f.w.walk != nil {
		for seq, fresh, ok := f.w.walk.next(); ok; seq, fresh, ok = f.w.walk.next() {
			if fresh {
				if !f.close() {
					return
				}
				f.resumed = false // the group that the page begins in may be gone
			}
			if !f.add(seq) {
				return
			}
		}
		if f.p.s.err != nil || !f.close() {
			return
		}
	}
	if f.w.missing == nil || f.p.eachMissing(f) {
		_ = f.close() && f.flush()
	}
}

// enough reports whether the page is full, and it is known whether anything follows.
func (f *follower) enough() bool { return len(f.items) > f.p.s.req.Limit }

// add takes the next entity of the walk. It returns false when no more is wanted.
func (f *follower) add(seq entity.Seq) bool {
	if f.in != nil {
		if _, found := slices.BinarySearch(f.in.ranks, f.p.s.order.rank(seq)); !found {
			f.misses--
			f.gaveUp = f.misses < 0
			return !f.gaveUp
		}
	}
	if f.w.inGroup != asWanted {
		f.group = append(f.group, seq)
		return true
	}
	f.pending = append(f.pending, seq)
	return len(f.pending) < f.batch() || f.flush()
}

// batch is how many entities are looked at together.
func (f *follower) batch() int {
	want := f.p.s.req.Limit + 1 - len(f.items)
	if !f.filter {
		return want
	}
	return min(max(2*want, 16), 512)
}

// flush looks at what is pending. It returns false when no more is wanted.
func (f *follower) flush() bool {
	p := f.p
	kept := f.pending
	if f.filter {
		if kept = f.matching(f.pending); p.s.err != nil {
			return false
		}
	}
	for _, seq := range kept {
		f.items = append(f.items, p.item(p.s.order.rank(seq)))
		if f.enough() {
			return false
		}
	}
	f.pending = f.pending[:0]
	f.gaveUp = f.tries < 0
	return !f.gaveUp
}

// matching returns which entities match, in the order given. They are fetched in the order
// they are stored in.
func (f *follower) matching(seqs []entity.Seq) []entity.Seq {
	s := f.p.s
	sorted := slices.Clone(seqs)
	slices.SortFunc(sorted, func(a, b entity.Seq) int { return -cmp.Compare(a, b) })
	matched := make(map[entity.Seq]bool, len(sorted))
	for _, seq := range sorted {
		f.tries--
		e, ok := s.fetch(entity.End{Collection: s.req.From.ID, Seq: seq})
		if !ok {
			return nil
		}
		if matched[seq], ok = s.look(f.p.l, &e); !ok {
			return nil
		}
	}
	return slices.DeleteFunc(seqs, func(seq entity.Seq) bool { return !matched[seq] })
}

// close sorts the group that has come to its end. It returns false when no more is wanted.
func (f *follower) close() bool {
	group, resumed := f.group, f.resumed
	if f.w.inGroup == asWanted || len(group) == 0 {
		return true
	}
	f.group, f.resumed = f.group[:0], false
	o := f.p.s.order
	switch {
	case f.w.inGroup == byPlace && (len(group) > 1 || resumed):
		return f.flush() && f.place(group)
	case f.w.inGroup == newestFirst || f.w.inGroup == oldestFirst:
		sign := 1
		if f.w.inGroup == newestFirst {
			sign = -1
		}
		if resumed {
			last := o.seq(f.p.s.after.rank)
			group = slices.DeleteFunc(group, func(seq entity.Seq) bool { return sign*cmp.Compare(seq, last) <= 0 })
		}
		slices.SortFunc(group, func(a, b entity.Seq) int { return sign * cmp.Compare(a, b) })
	}
	for _, seq := range group {
		f.pending = append(f.pending, seq)
		if len(f.pending) >= f.batch() && !f.flush() {
			return false
		}
	}
	return true
}

// place looks at all of a group and sorts what matches.
func (f *follower) place(group []entity.Seq) bool {
	p := f.p
	best := p.s.newTop()
	best.limit -= len(f.items)
	slices.SortFunc(group, func(a, b entity.Seq) int { return -cmp.Compare(a, b) })
	for _, seq := range group {
		end := entity.End{Collection: p.s.req.From.ID, Seq: seq}
		e, ok := p.s.fetch(end)
		if !ok || !p.s.consider(best, p.l, &e, end, 0) {
			return false
		}
		if f.filter {
			f.tries--
		}
	}
	f.items = append(f.items, best.sorted()...)
	if f.enough() {
		return false
	}
	f.gaveUp = f.tries < 0
	return !f.gaveUp
}

// eachMissing adds the entities that have no value of the property of a walk. It returns
// false when no more is wanted, or the search has failed.
func (p *planner) eachMissing(f *follower) bool {
	s := p.s
	begin := uint64(0)
	if s.after != nil && s.after.forms[0][0] == keys.ClassMissing && f.w.inGroup == asWanted {
		if begin = s.after.rank + 1; begin == 0 {
			return true
		}
	}
	if s.after == nil || s.after.forms[0][0] != keys.ClassMissing {
		f.resumed = false
	}
	var source rows = s.all()
	if f.in != nil {
		source = &list{ranks: f.in.ranks}
	}
	var present storage.Bitmap
	block := ^entity.Seq(0)
	for at, ok := source.seek(begin); ok; at, ok = source.seek(at + 1) {
		seq := s.order.seq(at)
		if !f.w.all {
			if seq/keys.PresentBlock != block {
				block = seq / keys.PresentBlock
				var err error
				present, err = storage.ReadPresent(s.view, s.req.App, p.c.c, f.w.missing.id, seq)
				if s.fail(err) || s.fail(s.meter.add(1)) {
					return false
				}
			}
			if present.Has(seq) {
				continue
			}
		}
		if !f.add(seq) {
			return false
		}
		if at == ^uint64(0) {
			break
		}
	}
	return s.err == nil
}
