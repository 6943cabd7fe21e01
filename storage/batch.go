package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// Batch gathers the changes of one apply and commits them in one step. It is
// its own overlay: Get sees what the batch has set and deleted. Only the last
// operation on a key is written, and keys are written in order, for the
// memtable's sake. Not safe for concurrent use.
type Batch struct {
	state     *State
	partition entity.Partition
	ops       map[string]operation
	arena     []byte // values; an operation names its part, so growing is safe
	ranges    []keyRange
	order     []string // scratch of Commit
}

type operation struct {
	from, to int // of the arena
	deleted  bool
}

type keyRange struct{ lower, upper []byte }

// NewBatch returns an empty batch of a partition's changes.
func (s *State) NewBatch(p entity.Partition) *Batch {
	return &Batch{state: s, partition: p, ops: make(map[string]operation)}
}

// Partition returns the partition the batch changes.
func (b *Batch) Partition() entity.Partition { return b.partition }

// Len returns the number of keys the batch changes.
func (b *Batch) Len() int { return len(b.ops) }

// Get appends the value of key to dst, as it will be once the batch is
// committed.
func (b *Batch) Get(dst, key []byte) ([]byte, bool, error) {
	if op, ok := b.ops[string(key)]; ok {
		if op.deleted {
			return dst, false, nil
		}
		return append(dst, b.arena[op.from:op.to]...), true, nil
	}
	return get(b.state.db, dst, key)
}

// Set puts a value under a key. It copies both.
func (b *Batch) Set(key, value []byte) {
	from := len(b.arena)
	b.arena = append(b.arena, value...)
	b.ops[string(key)] = operation{from: from, to: len(b.arena)}
}

// Delete removes a key.
func (b *Batch) Delete(key []byte) { b.ops[string(key)] = operation{deleted: true} }

// DeleteRange removes the keys [lower, upper), before the batch's sets and
// deletes take effect, and whatever order they were called in. Get does not
// know of it: keys in the range must not be read in the same batch.
func (b *Batch) DeleteRange(lower, upper []byte) {
	b.ranges = append(b.ranges, keyRange{slices.Clone(lower), slices.Clone(upper)})
}

// Reset empties the batch for another use.
func (b *Batch) Reset() {
	clear(b.ops)
	b.arena, b.ranges, b.order = b.arena[:0], b.ranges[:0], b.order[:0]
}

// Commit makes the changes visible in one step. They are durable once Flush
// has returned; until then the Raft log is the only copy of what they do. A
// key outside the batch's partition is an error, and nothing is changed.
func (b *Batch) Commit() (err error) {
	lower, upper := keys.PartitionRange(b.partition)
	b.order = b.order[:0]
	size := 0
	for k, op := range b.ops {
		if k < string(lower) || (upper != nil && k >= string(upper)) {
			return fmt.Errorf("partition %d: batch holds a key of another partition: %x", b.partition, k)
		}
		b.order = append(b.order, k)
		size += len(k) + op.to - op.from + 8
	}
	slices.SortFunc(b.order, strings.Compare)
	batch := b.state.db.NewBatchWithSize(size + 64)
	defer func() { err = errors.Join(err, batch.Close()) }()
	for _, r := range b.ranges {
		if err := batch.DeleteRange(r.lower, r.upper, nil); err != nil {
			return fmt.Errorf("partition %d: fill batch: %w", b.partition, err)
		}
	}
	for _, k := range b.order {
		op := b.ops[k]
		if op.deleted {
			d := batch.DeleteDeferred(len(k))
			copy(d.Key, k)
			err = d.Finish()
		} else {
			d := batch.SetDeferred(len(k), op.to-op.from)
			copy(d.Key, k)
			copy(d.Value, b.arena[op.from:op.to])
			err = d.Finish()
		}
		if err != nil {
			return fmt.Errorf("partition %d: fill batch: %w", b.partition, err)
		}
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("partition %d: commit batch: %w", b.partition, err)
	}
	return nil
}

// get appends the value of key to dst.
func get(r pebble.Reader, dst, key []byte) ([]byte, bool, error) {
	value, closer, err := r.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return dst, false, nil
		}
		return dst, false, fmt.Errorf("read key %x: %w", key, classify(err))
	}
	dst = append(dst, value...)
	if err := closer.Close(); err != nil {
		return dst, false, fmt.Errorf("read key %x: %w", key, err)
	}
	return dst, true, nil
}
