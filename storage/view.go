package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Reader reads single keys of one partition. View and Batch implement it.
type Reader interface {
	// Get appends the value of key to dst and reports whether there is one.
	Get(dst, key []byte) ([]byte, bool, error)
	Partition() entity.Partition
}

// View is a read-only picture of one partition at one applied index. It holds
// up compaction while it is open. Reads are safe for concurrent use, Close is
// called once.
type View struct {
	state     *State
	snapshot  *pebble.Snapshot
	partition entity.Partition
}

// View takes a view of a partition as it is now. The caller closes it.
func (s *State) View(p entity.Partition) *View {
	return &View{state: s, snapshot: s.db.NewSnapshot(), partition: p}
}

// Partition returns the partition the view shows.
func (v *View) Partition() entity.Partition { return v.partition }

// Get appends the value of key to dst and reports whether there is one.
func (v *View) Get(dst, key []byte) ([]byte, bool, error) { return get(v.snapshot, dst, key) }

// Applied returns the last log index whose effect the view shows, 0 if none.
func (v *View) Applied() (uint64, error) { return readApplied(v) }

// Close ends the view.
func (v *View) Close() error { return v.snapshot.Close() }

func readApplied(r Reader) (uint64, error) {
	value, ok, err := r.Get(nil, keys.AppendApplied(nil, r.Partition()))
	if err != nil || !ok {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fault.New(fault.Corrupt, "partition %d: applied index has %d bytes", r.Partition(), len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// Scan returns an iterator over the keys [lower, upper) of the view, standing
// before the first. The caller closes it before the view.
func (v *View) Scan(lower, upper []byte) (*Iterator, error) {
	it, err := v.snapshot.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper, KeyTypes: pebble.IterKeyTypePointsOnly})
	if err != nil {
		return nil, fmt.Errorf("partition %d: scan: %w", v.partition, classify(err))
	}
	return &Iterator{it: it}, nil
}

// Iterator walks keys in order. A move that returns false has met an end or an
// error, which Err tells apart. Not safe for concurrent use.
type Iterator struct{ it *pebble.Iterator }

// First moves to the first key.
func (i *Iterator) First() bool { return i.it.First() }

// Last moves to the last key.
func (i *Iterator) Last() bool { return i.it.Last() }

// Next moves forward.
func (i *Iterator) Next() bool { return i.it.Next() }

// Prev moves backward.
func (i *Iterator) Prev() bool { return i.it.Prev() }

// SeekGE moves to the first key not below key.
func (i *Iterator) SeekGE(key []byte) bool { return i.it.SeekGE(key) }

// SeekLT moves to the last key below key.
func (i *Iterator) SeekLT(key []byte) bool { return i.it.SeekLT(key) }

// Key returns the current key, lent until the next move.
func (i *Iterator) Key() []byte { return i.it.Key() }

// Value returns the current value, lent until the next move. If it cannot be
// read it is nil, and Err says why.
func (i *Iterator) Value() []byte {
	v, err := i.it.ValueAndErr()
	if err != nil {
		return nil
	}
	return v
}

// Err returns what ended the walk, nil if it was the end of the range.
func (i *Iterator) Err() error {
	if err := i.it.Error(); err != nil {
		return fmt.Errorf("scan: %w", classify(err))
	}
	return nil
}

// Close ends the walk and returns what went wrong in it.
func (i *Iterator) Close() error {
	if err := i.it.Close(); err != nil {
		return fmt.Errorf("scan: %w", classify(err))
	}
	return nil
}

// classify turns Pebble's mark of damage into fault.Corrupt.
func classify(err error) error {
	if err != nil && errors.Is(err, pebble.ErrCorruption) {
		return fault.Wrap(err, fault.Corrupt, "stored bytes are not what was written")
	}
	return err
}
