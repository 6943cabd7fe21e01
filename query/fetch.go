package query

import (
	"cmp"
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	firstFetch = 16  // entities fetched before it is known how large they are
	mostFetch  = 256 // entities fetched together at most
)

// get reads one entity, which is lent until the next call.
func (s *search) get(end entity.End) (e entity.Entity, found bool) {
	if s.fail(s.meter.add(1)) {
		return e, false
	}
	s.key = keys.AppendEntity(s.key[:0], s.view.Partition(), s.req.App, end.Collection, end.Seq)
	raw, found, err := s.view.Get(s.record[:0], s.key)
	if s.fail(err) || !found {
		return e, false
	}
	s.record = raw
	return s.decode(raw, end.Seq)
}

// decode reads a record, which the entity aliases.
func (s *search) decode(raw []byte, seq entity.Seq) (entity.Entity, bool) {
	e, err := entity.DecodeRecord(raw)
	if err == nil && e.Seq != seq {
		err = fault.New(fault.Corrupt, "entity %s stands at %d and says it is %d", e.ID, seq, e.Seq)
	}
	return e, !s.fail(err)
}

// emitItems emits the entities of items, in their order. Each was seen on this view, so
// it must be there.
func (s *search) emitItems(items []item) {
	size := firstFetch
	s.rows = slices.Grow(s.rows, min(len(items), max(s.req.Limit-len(s.rows), 0)))
	for len(items) > 0 && s.err == nil {
		n := min(size, len(items))
		if !s.emitSome(items[:n]) {
			return
		}
		items = items[n:]
		average := s.bytes/len(s.rows) + 1
		size = min(max((s.cfg.PageBytes-s.bytes)/average, 1), mostFetch)
	}
}

// emitSome fetches entities in the order they are stored in, which is cheaper, and then
// emits them.
func (s *search) emitSome(items []item) bool {
	room := max(s.req.Limit-len(s.rows), 0)
	more := len(items) > room
	had, n := len(s.rows), min(len(items), room)
	s.rows = slices.Grow(s.rows, n)
	fetched := s.rows[had : had+n] // where they stay
	order := make([]int, len(fetched))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(items[b].end.Seq, items[a].end.Seq) })
	for _, i := range order {
		row, ok := s.row(&items[i])
		if !ok {
			return false
		}
		fetched[i] = row
	}
	for i := range fetched {
		if s.full() {
			more = true
			break
		}
		s.rows = s.rows[:had+i+1]
		s.bytes += len(fetched[i].Entity.JSON)
	}
	s.more = more && len(s.rows) > 0
	return !more
}

// row fetches the entity of an item.
func (s *search) row(it *item) (Row, bool) {
	e, ok := s.get(it.end)
	if !ok {
		s.fail(fault.New(fault.Corrupt, "entity %d of collection %d is gone", it.end.Seq, it.end.Collection))
		return Row{}, false
	}
	row := Row{Collection: it.end.Collection, Entity: e, Distance: NoDistance, Eseq: it.eseq}
	if s.order.near != nil {
		l := s.lens(it.end.Collection)
		if l == nil {
			return row, false
		}
		if _, err := l.look(&e); s.fail(err) {
			return row, false
		}
		row.Distance = l.distance
	}
	row.Entity.JSON = s.arena.clone(e.JSON)
	return row, true
}

// fetch reads an entity that an index, or an earlier step, says is there. It is lent until
// the next call. Asked for entities of one collection in the order they are stored in, it
// steps from one to the next.
func (s *search) fetch(end entity.End) (e entity.Entity, ok bool) {
	if s.req.Edges != nil {
		if e, ok = s.get(end); !ok && s.err == nil {
			s.fail(fault.New(fault.Corrupt, "entity %d of collection %d is gone", end.Seq, end.Collection))
		}
		return e, ok
	}
	if s.entities == nil {
		s.entities = s.scan(keys.EntityRange(s.view.Partition(), s.req.App, end.Collection))
	}
	s.key = keys.AppendEntity(s.key[:0], s.view.Partition(), s.req.App, end.Collection, end.Seq)
	if !s.entities.seek(s.key) || string(s.entities.key()) != string(s.key) {
		s.fail(fault.New(fault.Corrupt, "partition %d: an index of collection %d of application %d leads to entity %d, which is not there",
			s.view.Partition(), end.Collection, s.req.App, end.Seq))
		return e, false
	}
	return s.decode(s.entities.value(), end.Seq)
}
