package query

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// edges answers a query over the entities that connections lead to.
func (s *search) edges() {
	from, ok := s.firstRank()
	if !s.order.plain() {
		from, ok = 0, true
	}
	if !ok {
		return
	}
	defer s.explain(func() *Plan {
		plan := filtered(&Plan{Kind: "connections", Examined: s.meter.examined}, conditionOf(s.req.Query) != nil)
		if s.order.plain() {
			return plan
		}
		return over("sort", plan)
	})
	if s.req.Limit == 0 {
		return
	}
	conditions := conditionOf(s.req.Query) != nil || s.order.explicit
	var found *top
	if !s.order.plain() {
		found = s.newTop()
	}
	s.eachTarget(from, func(edge *edgeHead, e *entity.Entity) bool {
		if !conditions {
			return s.emit(edge.far.Collection, e, edge.eseq, NoDistance)
		}
		l := s.lens(edge.far.Collection)
		if l == nil {
			return s.err == nil
		}
		if found != nil {
			return s.consider(found, l, e, edge.far, edge.eseq)
		}
		matches, ok := s.look(l, e)
		if !ok || !matches {
			return ok
		}
		return s.emit(edge.far.Collection, e, edge.eseq, l.distance)
	})
	if found != nil && s.err == nil {
		s.emitItems(found.sorted())
	}
}

// eachTarget calls visit with the entities that the edges of the request lead to, in the
// order of the edges from a rank on, each at its newest edge, until it returns false.
// The entity is lent. Edges to what is gone lead nowhere.
func (s *search) eachTarget(from uint64, visit func(edge *edgeHead, e *entity.Entity) bool) {
	r := s.req.Edges
	known := make(map[entity.CollectionID]bool)
	stream := s.newEdgeStream(from)
	for edge := stream.next(); edge != nil; edge = stream.next() {
		c := edge.far.Collection
		if r.Only != 0 && c != r.Only {
			continue
		}
		is, asked := known[c]
		if !asked {
			_, is = r.Collection(c)
			known[c] = is
		}
		if !is || !stream.newest(edge) {
			continue
		}
		e, found := s.get(edge.far)
		if s.err != nil || found && !visit(edge, &e) {
			return
		}
	}
}

// edgeHead is the next edge of one verb.
type edgeHead struct {
	verb entity.VerbID
	rank uint64
	eseq entity.Seq
	far  entity.End
}

// edgeStream merges the edges of several verbs at one end, in the order of their numbers.
// It is a heap of the next edge of each, and one iterator that goes from verb to verb.
type edgeStream struct {
	s     *search
	verbs []entity.VerbID
	heads []edgeHead
	last  edgeHead // what next returned
	began bool
	scan  *scan
	at    entity.VerbID // the verb of last whose edge the scan stands at, or 0
}

func (s *search) newEdgeStream(from uint64) *edgeStream {
	r := s.req.Edges
	st := &edgeStream{s: s, verbs: slices.Clone(r.Verbs)}
	slices.Sort(st.verbs)
	st.verbs = slices.Compact(st.verbs)
	if len(st.verbs) == 1 {
		st.scan = s.scan(keys.EdgeRange(s.view.Partition(), s.req.App, r.Direction, r.Near, st.verbs[0]))
	} else {
		st.scan = s.scan(keys.EdgesRange(s.view.Partition(), s.req.App, r.Direction, r.Near))
	}
	for _, verb := range st.verbs {
		if head, ok := st.seek(verb, from); ok {
			st.heads = append(st.heads, head)
		}
	}
	st.at = 0
	if len(st.verbs) == 1 {
		st.at = st.verbs[0]
	}
	heap.Init(st)
	return st
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (st *edgeStream) Len() int           { return len(st.heads) }
func (st *edgeStream) Less(i, j int) bool { return st.heads[i].rank < st.heads[j].rank }
func (st *edgeStream) Swap(i, j int)      { st.heads[i], st.heads[j] = st.heads[j], st.heads[i] }
func (st *edgeStream) Push(x any)         { st.heads = append(st.heads, x.(edgeHead)) }
func (st *edgeStream) Pop() any {
	last := st.heads[len(st.heads)-1]
	st.heads = st.heads[:len(st.heads)-1]
	return last
}

// seek returns the first edge of a verb that ranks at or after from.
func (st *edgeStream) seek(verb entity.VerbID, from uint64) (edgeHead, bool) {
	s, r := st.s, st.s.req.Edges
	eseq := s.order.seq(from)
	st.at = 0
	var ok bool
	if s.order.oldest {
		// The place before the edges numbered one less: those from eseq on lie before it.
		if eseq == 0 {
			eseq = 1
		}
		s.key = keys.AppendEdgeFrom(s.key[:0], s.view.Partition(), s.req.App, r.Direction, r.Near, verb, eseq-1)
		ok = st.scan.seekBefore(s.key)
	} else {
		s.key = keys.AppendEdgeFrom(s.key[:0], s.view.Partition(), s.req.App, r.Direction, r.Near, verb, eseq)
		ok = st.scan.seek(s.key)
	}
	if !ok {
		return edgeHead{}, false
	}
	return st.head(verb)
}

// head returns the edge the scan stands at, if it is one of the verb.
func (st *edgeStream) head(verb entity.VerbID) (edgeHead, bool) {
	_, _, at, eseq, far, ok := keys.DecodeEdge(st.scan.key())
	if !ok {
		st.s.fail(fault.New(fault.Corrupt, "partition %d: edge %x", st.s.view.Partition(), st.scan.key()))
		return edgeHead{}, false
	}
	st.at = verb
	return edgeHead{verb: verb, rank: st.s.order.rank(eseq), eseq: eseq, far: far}, at == verb
}

// next returns the next edge, lent until the next call; nil after the last.
func (st *edgeStream) next() *edgeHead {
	if st.began && len(st.heads) > 0 {
		head, ok := st.following()
		if ok {
			st.heads[0] = head
			heap.Fix(st, 0)
		} else {
			heap.Pop(st)
		}
	}
	st.began = true
	if len(st.heads) == 0 || st.s.err != nil {
		return nil
	}
	st.last = st.heads[0]
	return &st.last
}

// following returns the edge after the one at the root, of the same verb.
func (st *edgeStream) following() (edgeHead, bool) {
	root := &st.heads[0]
	if st.at != root.verb {
		if root.rank == ^uint64(0) {
			return edgeHead{}, false
		}
		return st.seek(root.verb, root.rank+1)
	}
	ok := false
	if st.s.order.oldest {
		ok = st.scan.prev()
	} else {
		ok = st.scan.next()
	}
	if !ok {
		return edgeHead{}, false
	}
	return st.head(root.verb)
}

// newest reports whether an edge is the newest of those that lead from one end to the
// other. No earlier page need be remembered for it.
func (st *edgeStream) newest(edge *edgeHead) bool {
	s, r := st.s, st.s.req.Edges
	if len(st.verbs) == 1 {
		return true
	}
	source, target := r.Near, edge.far
	if r.Direction == keys.Inbound {
		source, target = target, source
	}
	for _, verb := range st.verbs {
		if verb == edge.verb {
			continue
		}
		var val [8]byte
		s.key = keys.AppendConnected(s.key[:0], s.view.Partition(), s.req.App, source, verb, target)
		raw, ok, err := s.view.Get(val[:0], s.key)
		if s.fail(err) || s.fail(s.meter.add(1)) {
			return false
		}
		if !ok {
			continue
		}
		other, ok := keys.DecodeSeq(raw)
		if !ok {
			s.fail(fault.New(fault.Corrupt, "partition %d: edge %x", s.view.Partition(), s.key))
			return false
		}
		if cmp.Less(edge.eseq, other) {
			return false
		}
	}
	return true
}
