package storage

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Reader reads single keys of a partition: a View, or a Batch.
type Reader interface {
	// Get appends the value of key to dst and reports whether the key exists.
	Get(dst, key []byte) ([]byte, bool, error)
	// Partition returns the partition whose keys may be read.
	Partition() entity.Partition
}

// View is a partition as it stood at one moment. Unless it is a LongView it holds up compaction, so
// it is closed with the request it serves. It is safe for concurrent use.
type View struct {
	state   *State
	part    *statePart
	picture *picture
	p       entity.Partition
}

// View returns the partition as it stands now. The caller closes it.
func (s *State) View(p entity.Partition) *View {
	part := s.part(p)
	return &View{state: s, part: part, picture: s.openPicture(part), p: p}
}

// LongView is a View for a walk through an application that may take minutes. It does not hold
// up compaction once what is in memory now has been flushed; until it is closed, the
// tables it reads stay on the disk. Its reads of single keys cost more than a View's.
// The caller closes it.
func (s *State) LongView(p entity.Partition) *View {
	part := s.part(p)
	lower, upper := keys.PartitionRange(p)
	epoch := part.epoch.Load() // read before the snapshot is taken
	snap := s.db.NewEventuallyFileOnlySnapshot([]pebble.KeyRange{{Start: lower, End: upper}})
	return &View{state: s, part: part, picture: &picture{snap: snap, epoch: epoch, views: 1}, p: p}
}

// Partition returns the partition the view shows.
func (v *View) Partition() entity.Partition { return v.p }

// stale tells that the partition was replaced or dropped under the view, or is
// being while the view was opened: its first reads may be of the old content and
// its last of the new.
func (v *View) stale() error {
	if epoch := v.picture.epoch; epoch%2 == 0 && v.part.epoch.Load() == epoch {
		return nil
	}
	return fault.New(fault.NoQuorum, "partition %d was replaced or given up while it was read; try again", v.p)
}

// Get appends the value of key to dst and reports whether the key exists.
func (v *View) Get(dst, key []byte) ([]byte, bool, error) {
	if !inPartition(key, v.p) {
		return dst, false, fmt.Errorf("partition %d: key %x belongs to another", v.p, key)
	}
	if !cached(key) || !v.part.isCommitted(v.picture) {
		return v.fetch(dst, key)
	}
	start := len(dst)
	if dst, found, known := v.state.rows.get(dst, key); known && v.part.isCommitted(v.picture) {
		return dst, found, nil
	}
	dst, found, err := v.fetch(dst[:start], key)
	if err == nil && (found || absenceCached(key)) {
		v.state.rows.put(key, row{dst[start:], !found}, func() bool { return v.part.isCommitted(v.picture) })
	}
	return dst, found, err
}

// fetch is Get from Pebble.
func (v *View) fetch(dst, key []byte) ([]byte, bool, error) {
	dst, ok, err := get(v.picture.snap, dst, key)
	if err == nil {
		err = v.stale()
	}
	return dst, ok && err == nil, err
}

// Applied returns the log index of the moment the view shows.
func (v *View) Applied() (uint64, error) {
	applied, err := readApplied(v.picture.snap, v.p)
	if err == nil {
		err = v.stale()
	}
	return applied, err
}

// Scan returns an iterator over the keys in [lower, upper), unpositioned. A nil
// bound stands for that end of the partition. The caller closes it, before the
// view. Both bounds must not change while it is open.
func (v *View) Scan(lower, upper []byte) (*Iterator, error) {
	first, last := keys.PartitionRange(v.p)
	if lower == nil {
		lower = first
	}
	if upper == nil {
		upper = last
	}
	if !inPartition(lower, v.p) || string(upper) > string(last) {
		return nil, fmt.Errorf("partition %d: scan of [%x, %x) leaves it", v.p, lower, upper)
	}
	it, err := v.picture.snap.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper, KeyTypes: pebble.IterKeyTypePointsOnly})
	if err != nil {
		return nil, fmt.Errorf("partition %d: scan: %w", v.p, corrupt(err))
	}
	if err := v.stale(); err != nil { // an iterator made before keeps what it needs
		_ = it.Close()
		return nil, err
	}
	return &Iterator{it: it, p: v.p}, nil
}

// Close gives the view back.
func (v *View) Close() error { return v.part.closePicture(v.picture) }

func inPartition(key []byte, p entity.Partition) bool {
	got, ok := keys.PartitionOf(key)
	return ok && got == p
}

// Iterator walks over the keys of a view in order. After each move that
// returned false, Err tells the end from an error. It is not safe for
// concurrent use.
type Iterator struct {
	it *pebble.Iterator
	p  entity.Partition
}

// SeekGE moves to the first key at or after key.
func (i *Iterator) SeekGE(key []byte) bool { return i.it.SeekGE(key) }

// SeekLT moves to the last key before key.
func (i *Iterator) SeekLT(key []byte) bool { return i.it.SeekLT(key) }

// First moves to the first key.
func (i *Iterator) First() bool { return i.it.First() }

// Last moves to the last key.
func (i *Iterator) Last() bool { return i.it.Last() }

// Next moves forward.
func (i *Iterator) Next() bool { return i.it.Next() }

// Prev moves back.
func (i *Iterator) Prev() bool { return i.it.Prev() }

// Key lends the current key until the next move.
func (i *Iterator) Key() []byte { return i.it.Key() }

// Value lends the current value until the next move.
func (i *Iterator) Value() []byte {
	value, err := i.it.ValueAndErr()
	if err != nil {
		return nil // the iterator keeps the error for Err
	}
	return value
}

// SetBounds makes it an iterator over the keys in [lower, upper), unpositioned. It is
// much cheaper than a new one. Both bounds must not change while they are in use.
func (i *Iterator) SetBounds(lower, upper []byte) { i.it.SetBounds(lower, upper) }

// Skipped returns how many keys the iterator has stepped over that are not there any
// more: deleted ones, and older values, that no compaction has removed yet.
func (i *Iterator) Skipped() int {
	s := i.it.Stats()
	return max(0, s.ForwardStepCount[pebble.InternalIterCall]-s.ForwardStepCount[pebble.InterfaceCall]) +
		max(0, s.ReverseStepCount[pebble.InternalIterCall]-s.ReverseStepCount[pebble.InterfaceCall])
}

// Err returns the error that ended the walk, if one did.
func (i *Iterator) Err() error {
	if err := i.it.Error(); err != nil {
		return fmt.Errorf("partition %d: scan: %w", i.p, corrupt(err))
	}
	return nil
}

// Close ends the iterator. It returns the error of the walk if there was one.
func (i *Iterator) Close() error {
	if err := i.it.Close(); err != nil {
		return fmt.Errorf("partition %d: scan: %w", i.p, corrupt(err))
	}
	return nil
}
