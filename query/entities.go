package query

import (
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// firstRank returns where the page begins in the default order; false if nothing can
// follow.
func (s *search) firstRank() (uint64, bool) {
	switch {
	case s.after != nil:
		return s.after.rank + 1, s.after.rank+1 != 0
	case s.req.Start != 0:
		return s.order.rank(s.req.Start), true
	}
	return 0, true
}

// scanInOrder emits the entities that match as they are stored, from a rank on. If it has
// not come to an end when the attempt is over, it returns where to go on. Without a lens
// all match.
func (s *search) scanInOrder(l *lens, from uint64, a attempt) (next uint64, done bool) {
	c := s.req.From.ID
	all := s.scan(keys.EntityRange(s.view.Partition(), s.req.App, c))
	defer s.explain(func() *Plan { return s.step(all, l != nil) })
	if s.req.Limit == 0 {
		return 0, true
	}
	distance := int64(NoDistance)
	for ok := s.seekRank(all, c, from); ok; ok = s.stepRank(all) {
		_, seq, _ := keys.DecodeEntity(all.key())
		if a.over(len(s.rows)) {
			return s.order.rank(seq), false
		}
		e, ok := s.decode(all.value(), seq)
		if !ok {
			break
		}
		if l != nil {
			matches, ok := s.look(l, &e)
			if !ok {
				break
			}
			if !matches {
				continue
			}
			distance = l.distance
		}
		if !s.emit(c, &e, 0, distance) {
			break
		}
	}
	return 0, true
}

// look is l.look, with its cost counted. The second result is false if the search has
// failed.
func (s *search) look(l *lens, e *entity.Entity) (matches, ok bool) {
	matches, err := l.look(e)
	if s.fail(err) {
		return false, false
	}
	if l.work >= 64 && s.fail(s.meter.add(l.takeWork())) {
		return false, false
	}
	return matches, true
}

// seekRank moves a scan of entities to the first that ranks at or after from.
func (s *search) seekRank(all *scan, c entity.CollectionID, from uint64) bool {
	if from == 0 {
		if s.order.oldest {
			return all.last()
		}
		return all.first()
	}
	s.key = keys.AppendEntity(s.key[:0], s.view.Partition(), s.req.App, c, s.order.seq(from))
	if !s.order.oldest {
		return all.seek(s.key)
	}
	return all.seekBefore(keys.Successor(s.key))
}

// stepRank moves a scan of entities to the next in the default order.
func (s *search) stepRank(all *scan) bool {
	if s.order.oldest {
		return all.prev()
	}
	return all.next()
}

// scanForTop looks at every entity and emits the first of those that match.
func (s *search) scanForTop(l *lens) {
	c := s.req.From.ID
	found := s.newTop()
	all := s.scan(keys.EntityRange(s.view.Partition(), s.req.App, c))
	defer s.explain(func() *Plan { return over("sort", s.step(all, true)) })
	if s.req.Limit == 0 {
		return
	}
	for ok := all.first(); ok; ok = all.next() {
		_, seq, _ := keys.DecodeEntity(all.key())
		e, ok := s.decode(all.value(), seq)
		if !ok || !s.consider(found, l, &e, entity.End{Collection: c, Seq: seq}, 0) {
			return
		}
	}
	if s.err == nil {
		s.emitItems(found.sorted())
	}
}

// consider offers an entity to a top if it matches. It returns false if the search has
// failed.
func (s *search) consider(found *top, l *lens, e *entity.Entity, end entity.End, eseq entity.Seq) bool {
	matches, ok := s.look(l, e)
	if !ok || !matches {
		return ok
	}
	seq := end.Seq
	if eseq != 0 {
		seq = eseq
	}
	s.place = l.place(s.place[:0], e, seq)
	found.offer(s.place, end, eseq)
	return true
}
