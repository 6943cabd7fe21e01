package query

import (
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// listed answers a query over a list of activities. Its default order is that of the list.
func (s *search) listed() {
	condition := conditionOf(s.req.Query)
	var l *lens
	if condition != nil || !s.order.plain() {
		if l = s.lens(s.req.From.ID); l == nil || l.blind {
			s.explain(func() *Plan { return &Plan{Kind: "nothing", Detail: "the collection has no indexes"} })
			return
		}
	}
	defer s.explain(func() *Plan {
		plan := filtered(&Plan{Kind: "list", Examined: s.meter.examined}, condition != nil)
		if s.order.plain() {
			return plan
		}
		return over("sort", plan)
	})
	if s.req.Limit == 0 {
		return
	}
	if !s.order.plain() {
		s.listedTop(l)
		return
	}
	s.eachListed(true, func(published int64, e *entity.Entity) bool {
		distance := int64(NoDistance)
		if l != nil {
			matches, ok := s.look(l, e)
			if !ok || !matches {
				return ok
			}
			distance = l.distance
		}
		if !s.emit(s.req.From.ID, e, 0, distance) {
			return false
		}
		s.rows[len(s.rows)-1].Published = published
		return true
	})
}

// listedTop looks at all of a list and emits the first of what matches, in another order.
func (s *search) listedTop(l *lens) {
	found := s.newTop()
	s.eachListed(false, func(_ int64, e *entity.Entity) bool {
		return s.consider(found, l, e, entity.End{Collection: s.req.From.ID, Seq: e.Seq}, 0)
	})
	if s.err == nil {
		s.emitItems(found.sorted())
	}
}

// eachListed calls visit with the activities of the list in its order, all or from where the
// page begins on, until it returns false. The entity is lent. Activities that are gone are
// passed over.
func (s *search) eachListed(resumed bool, visit func(published int64, e *entity.Entity) bool) {
	r := s.req.List
	all := s.scan(keys.ListRange(s.view.Partition(), s.req.App, r.Owner, r.List))
	ok := false
	if begin, exclusive, from := s.firstListed(); resumed && from {
		ok = s.seekListed(all, begin, exclusive)
	} else if s.order.oldest {
		ok = all.last()
	} else {
		ok = all.first()
	}
	for ok {
		_, _, published, seq, valid := keys.DecodeListed(all.key())
		if !valid {
			s.fail(fault.New(fault.Corrupt, "partition %d: activity in a list at %x", s.view.Partition(), all.key()))
			return
		}
		e, found := s.get(entity.End{Collection: s.req.From.ID, Seq: seq})
		if s.err != nil || found && !visit(published, &e) {
			return
		}
		if s.order.oldest {
			ok = all.prev()
		} else {
			ok = all.next()
		}
	}
}

// firstListed returns the place in the list at which the page begins, or after which.
func (s *search) firstListed() (place []byte, exclusive, from bool) {
	if s.after != nil {
		return s.after.text, true, true
	}
	if s.req.Start == 0 {
		return nil, false, false
	}
	published, listed, err := storage.Listed(s.view, s.req.App, s.req.Start, s.req.List.Owner, s.req.List.List)
	if s.fail(err) || !listed {
		return nil, false, false
	}
	return keys.AppendListedPlace(nil, published, s.req.Start), false, true
}

// seekListed moves a scan of the list to the first activity at a place, or after it.
func (s *search) seekListed(all *scan, place []byte, exclusive bool) bool {
	key, _ := keys.ListRange(s.view.Partition(), s.req.App, s.req.List.Owner, s.req.List.List)
	key = append(key, place...)
	switch {
	case s.order.oldest && exclusive:
		return all.seekBefore(key)
	case s.order.oldest:
		return all.seekBefore(append(key, 0)) // nothing lies between
	case exclusive:
		return all.seek(append(key, 0))
	}
	return all.seek(key)
}

// inList reports whether an activity is in the list of the request.
func (s *search) inList(seq entity.Seq) bool {
	_, listed, err := storage.Listed(s.view, s.req.App, seq, s.req.List.Owner, s.req.List.List)
	return !s.fail(err) && !s.fail(s.meter.add(1)) && listed
}
