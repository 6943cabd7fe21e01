package query

import (
	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
)

// watch is what a lens wants to know of the values at one path: which leaves of the
// condition they make hold, and which sort keys they are.
//
// Leaves that ask for a value that is equal to something are found by that value, so
// thousands of them cost no more than one. Others are tried one by one.
type watch struct {
	texts   map[string][]int32        // leaves by the string they are equal to
	numbers map[entity.Number][]int32 // by number
	bools   [2][]int32
	ranges  []rangeLeaf
	globs   []globLeaf

	words     map[string][]int32
	wordGlobs []globLeaf

	places []placeLeaf

	values    []int32 // sort keys that are a value of the path
	distances []int32 // sort keys that are a distance from it
}

// rangeLeaf compares with a value.
type rangeLeaf struct {
	op    ql.Op
	value entity.Value
	leaf  int32
}

// globLeaf matches a pattern.
type globLeaf struct {
	pattern ql.Pattern
	leaf    int32
}

// placeLeaf holds near a place.
type placeLeaf struct {
	lat, lng, mm float64
	leaf         int32
}

// compare makes the watch look out for what a comparison asks for.
func (w *watch) compare(n *ql.Compare, leaf int32) {
	switch {
	case n.Op != ql.Equal:
		w.ranges = append(w.ranges, rangeLeaf{op: n.Op, value: n.Value, leaf: leaf})
	case n.Value.Class == entity.NumberClass:
		if w.numbers == nil {
			w.numbers = make(map[entity.Number][]int32)
		}
		w.numbers[n.Value.Number] = append(w.numbers[n.Value.Number], leaf)
	case n.Value.Class == entity.BoolClass:
		w.bools[bit(n.Value.Bool)] = append(w.bools[bit(n.Value.Bool)], leaf)
	case ql.HasWildcard(n.Value.String):
		w.globs = append(w.globs, globLeaf{pattern: ql.NewPattern(n.Value.String), leaf: leaf})
	default:
		if w.texts == nil {
			w.texts = make(map[string][]int32)
		}
		w.texts[n.Value.String] = append(w.texts[n.Value.String], leaf)
	}
}

// contains makes the watch look out for words.
func (w *watch) contains(n *ql.Contains, leaf int32) {
	if w.words == nil {
		w.words = make(map[string][]int32)
	}
	if ql.HasWildcard(n.Text) {
		w.wordGlobs = append(w.wordGlobs, globLeaf{pattern: ql.NewPattern(n.Text), leaf: leaf})
		return
	}
	for _, word := range index.Words(nil, n.Text) {
		w.words[word] = append(w.words[word], leaf)
	}
}

// within makes the watch look out for places.
func (w *watch) within(n *ql.Within, leaf int32) {
	w.places = append(w.places, placeLeaf{lat: n.Lat, lng: n.Lng, mm: millimetres(n.Meters), leaf: leaf})
}

// millimetres is how far a distance of so many metres reaches. Distances are compared
// in whole millimetres.
func millimetres(meters float64) float64 { return float64(meters * 1000) }

// holds reports whether a value of any class compares with that of the leaf as it asks.
func (r *rangeLeaf) holds(v *entity.Value) bool {
	if v.Class != r.value.Class {
		return false
	}
	var order int
	switch v.Class {
	case entity.NumberClass:
		order = v.Number.Compare(r.value.Number)
	case entity.StringClass:
		order = compareText(v.String, r.value.String)
	case entity.BoolClass:
		order = bit(v.Bool) - bit(r.value.Bool)
	}
	return compares(order, r.op)
}

// compares reports whether two values that are in this order compare as op asks.
func compares(order int, op ql.Op) bool {
	switch op {
	case ql.Less:
		return order < 0
	case ql.LessEqual:
		return order <= 0
	case ql.Greater:
		return order > 0
	case ql.GreaterEqual:
		return order >= 0
	}
	return order == 0
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
