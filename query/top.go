package query

import (
	"bytes"
	"container/heap"
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
)

// item is an entity that may be on the page, by its place in the order.
type item struct {
	place []byte
	end   entity.End
	eseq  entity.Seq
}

// top keeps the first of many items: those of the page, and one more to know whether
// anything follows. It is a heap with the last of them at the root.
type top struct {
	after []byte // only what comes after this place; nil: everything
	limit int
	items []item
}

// newTop returns an empty top for the page of a search.
func (s *search) newTop() *top {
	t := &top{limit: s.req.Limit + 1}
	if s.after != nil {
		t.after = s.after.text
	}
	return t
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (t *top) Len() int           { return len(t.items) }
func (t *top) Less(i, j int) bool { return bytes.Compare(t.items[i].place, t.items[j].place) > 0 }
func (t *top) Swap(i, j int)      { t.items[i], t.items[j] = t.items[j], t.items[i] }
func (t *top) Push(x any)         { t.items = append(t.items, x.(item)) }
func (t *top) Pop() any {
	last := t.items[len(t.items)-1]
	t.items = t.items[:len(t.items)-1]
	return last
}

// full reports whether something was left out, or would be.
func (t *top) full() bool { return len(t.items) >= t.limit }

// wants reports whether an item at a place would be kept.
func (t *top) wants(place []byte) bool {
	if t.after != nil && bytes.Compare(place, t.after) <= 0 {
		return false
	}
	return !t.full() || bytes.Compare(place, t.items[0].place) < 0
}

// offer keeps an item if it is one of the first. Place is lent.
func (t *top) offer(place []byte, end entity.End, eseq entity.Seq) {
	if !t.wants(place) {
		return
	}
	if !t.full() {
		heap.Push(t, item{place: bytes.Clone(place), end: end, eseq: eseq})
		return
	}
	root := &t.items[0]
	root.place, root.end, root.eseq = append(root.place[:0], place...), end, eseq
	heap.Fix(t, 0)
}

// sorted returns the items in order. The top is of no use afterwards.
func (t *top) sorted() []item {
	slices.SortFunc(t.items, func(a, b item) int { return bytes.Compare(a.place, b.place) })
	return t.items
}
