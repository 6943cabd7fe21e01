package storage

import (
	"encoding/binary"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/fault"
)

// Sum is what was counted in one bucket of a counter since the last reset that concerns
// it. It is also a change of one: what is added. Sums of int64 wrap around.
//
// Of two, the one of the later reset counts, and those of the same reset add up: in
// whatever order Pebble comes to put them together.
type Sum struct {
	Reset uint64 // number of the reset; 0: there was none
	Value int64
}

// add returns what two come to together.
func (s Sum) add(o Sum) Sum {
	switch {
	case s.Reset > o.Reset:
		return s
	case s.Reset < o.Reset:
		return o
	}
	return Sum{s.Reset, s.Value + o.Value}
}

// AppendSum appends the stored form, which is also that of a change, for Batch.Merge:
// reset uvarint · value varint.
func AppendSum(dst []byte, s Sum) []byte {
	return binary.AppendVarint(binary.AppendUvarint(dst, s.Reset), s.Value)
}

// DecodeSum reads what AppendSum wrote, and nothing else.
func DecodeSum(b []byte) (s Sum, ok bool) {
	var n int
	if s.Reset, n = uvarint(b); n == 0 {
		return Sum{}, false
	}
	zigzag, m := uvarint(b[n:])
	if m == 0 || n+m != len(b) {
		return Sum{}, false
	}
	s.Value = int64(zigzag>>1) ^ -int64(zigzag&1)
	return s, true
}

// uvarint is binary.Uvarint of a number in its shortest form; n is 0 of any other.
func uvarint(b []byte) (v uint64, n int) {
	if v, n = binary.Uvarint(b); n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, 0
	}
	return v, n
}

// mergedSum is merged of a counter.
func mergedSum(dst, key, value, change []byte) ([]byte, error) {
	s, ok := DecodeSum(change)
	if ok && value != nil {
		var before Sum
		before, ok = DecodeSum(value)
		s = s.add(before)
	}
	if !ok {
		return dst, notASum(key)
	}
	return AppendSum(dst, s), nil
}

func notASum(key []byte) error {
	return fault.New(fault.Corrupt, "state DB: key %x: not a sum", key)
}

// sumMerge implements pebble.ValueMerger.
type sumMerge struct{ sum Sum }

func newSumMerge(key, value []byte) (pebble.ValueMerger, error) {
	s, ok := DecodeSum(value)
	if !ok {
		return nil, notASum(key)
	}
	return &sumMerge{s}, nil
}

// MergeNewer implements pebble.ValueMerger.
func (m *sumMerge) MergeNewer(value []byte) error {
	s, ok := DecodeSum(value)
	if !ok {
		return fault.New(fault.Corrupt, "state DB: damaged sum")
	}
	m.sum = m.sum.add(s)
	return nil
}

// MergeOlder implements pebble.ValueMerger. The order makes no difference.
func (m *sumMerge) MergeOlder(value []byte) error { return m.MergeNewer(value) }

// Finish implements pebble.ValueMerger.
func (m *sumMerge) Finish(bool) ([]byte, io.Closer, error) { return AppendSum(nil, m.sum), nil, nil }
