package query

import (
	"encoding/binary"
	"slices"

	"github.com/trellisdb/trellis/storage/keys"
)

// rows yields entities by their rank in the default order, each once, in that order.
type rows interface {
	// seek returns the first entity that ranks at or after a rank, which is not lower than
	// that of the last call; false after the last one, or if the search has failed.
	seek(rank uint64) (uint64, bool)
	explain() *Plan
}

// nextBeforeSeek is how many steps a stream takes towards a place before it jumps there,
// if the place is likely to be so near.
const nextBeforeSeek = 3

// stream yields the entities of keys that begin alike and end with a number: a run of
// equal values in an index, or all entities of a collection.
type stream struct {
	s      *search
	scan   *scan
	kind   string
	index  string
	prefix []byte
	key    []byte
	at     uint64
	gap    float64 // ranks from one key to the next, on average of late; 0: not known
	state  streamState
}

type streamState byte

const (
	unread streamState = iota
	standing
	ended
)

func (s *search) newStream(kind, index string, prefix []byte) *stream {
	return &stream{s: s, kind: kind, index: index, prefix: prefix}
}

// all yields every entity.
func (s *search) all() *stream {
	lower, _ := keys.EntityRange(s.view.Partition(), s.req.App, s.req.From.ID)
	return s.newStream("scan", "", lower)
}

func (r *stream) seek(rank uint64) (uint64, bool) {
	if r.state == standing && r.at >= rank {
		return r.at, true
	}
	if r.state == unread {
		r.scan = r.s.scan(r.prefix, keys.Successor(r.prefix))
	}
	for n := 0; r.state == standing && n < nextBeforeSeek && r.near(rank); n++ {
		before := r.at
		if !r.moved(r.s.stepRank(r.scan)) {
			return 0, false
		}
		r.learn(float64(r.at - before))
		if r.at >= rank {
			return r.at, true
		}
	}
	if r.state == ended {
		return 0, false
	}
	// Keys end with the number inverted, which is the rank if what is newest is first.
	r.key = append(r.key[:0], r.prefix...)
	if !r.s.order.oldest {
		r.key = binary.BigEndian.AppendUint64(r.key, rank)
		return r.at, r.moved(r.scan.seek(r.key))
	}
	r.key = binary.BigEndian.AppendUint64(r.key, ^rank)
	next := keys.Successor(r.key)
	return r.at, r.moved(r.scan.seekBefore(next)) && r.at >= rank
}

// near reports whether a few steps may lead to a rank.
func (r *stream) near(rank uint64) bool {
	return r.gap == 0 || float64(rank-r.at) <= nextBeforeSeek*r.gap
}

// learn notes how far a step has led.
func (r *stream) learn(gap float64) {
	if r.gap == 0 {
		r.gap = gap
	}
	r.gap += (gap - r.gap) / 4
}

func (r *stream) moved(ok bool) bool {
	if !ok {
		r.state = ended
		return false
	}
	r.state = standing
	r.at = r.s.order.rank(keys.Tail(r.scan.key()))
	return true
}

// list yields entities that were collected before.
type list struct {
	ranks    []uint64 // in order
	index    string
	size     int // at first
	examined int
}

func (l *list) seek(rank uint64) (uint64, bool) {
	n := 0
	if len(l.ranks) > 8 && l.ranks[8] < rank {
		n, _ = slices.BinarySearch(l.ranks, rank)
	} else {
		for n < len(l.ranks) && l.ranks[n] < rank {
			n++
		}
	}
	if l.ranks = l.ranks[n:]; len(l.ranks) == 0 {
		return 0, false
	}
	return l.ranks[0], true
}

// intersection yields what all of several rows have and none of others.
//
// Whichever of the rows has passed over a rank says where the others go on, the first of
// them first. Those that pass over most come first, so that the others are asked little.
type intersection struct {
	in  []rows
	out []rows

	asked []asked // of in
}

// asked is what rows have answered.
type asked struct{ times, passed float64 }

// sparser reports whether rows have passed over more ranks a time than others.
func (a asked) sparser(b asked) bool { return a.passed*b.times > b.passed*a.times }

func (a *intersection) seek(rank uint64) (uint64, bool) {
	if len(a.asked) != len(a.in) {
		a.asked = make([]asked, len(a.in))
	}
	for {
		at, ok := a.agree(rank)
		if !ok || !a.excluded(at) {
			return at, ok
		}
		if rank = at + 1; rank == 0 {
			return 0, false
		}
	}
}

// agree returns the first rank from one on that all rows have.
func (a *intersection) agree(rank uint64) (uint64, bool) {
	for i := 0; i < len(a.in); i++ {
		at, ok := a.in[i].seek(rank)
		if !ok {
			return 0, false
		}
		a.asked[i].times++
		if at == rank {
			continue
		}
		a.asked[i].passed += float64(at - rank)
		if rank = at; i == 0 {
			continue
		}
		if a.asked[i].sparser(a.asked[i-1]) {
			a.in[i], a.in[i-1] = a.in[i-1], a.in[i]
			a.asked[i], a.asked[i-1] = a.asked[i-1], a.asked[i]
		}
		i = -1
	}
	return rank, true
}

func (a *intersection) excluded(rank uint64) bool {
	for _, r := range a.out {
		if at, ok := r.seek(rank); ok && at == rank {
			return true
		}
	}
	return false
}

// union yields what any of several rows has.
type union struct {
	in    []rows
	heads []uint64
	ended []bool
}

func newUnion(in []rows) *union {
	return &union{in: in, heads: make([]uint64, len(in)), ended: make([]bool, len(in))}
}

func (u *union) seek(rank uint64) (uint64, bool) {
	best, found := uint64(0), false
	for i, r := range u.in {
		if u.ended[i] {
			continue
		}
		if u.heads[i] == 0 || u.heads[i] < rank {
			at, ok := r.seek(rank)
			if !ok {
				u.ended[i] = true
				continue
			}
			u.heads[i] = at
		}
		if !found || u.heads[i] < best {
			best, found = u.heads[i], true
		}
	}
	return best, found
}
