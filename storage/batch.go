package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// Batch collects changes of one partition that become visible together or not
// at all. Reads through it see its own changes. It is not safe for concurrent
// use; one batch is reused for many commits with Reset.
//
// The batch is the overlay: an operation on a key replaces the one before it,
// and Pebble gets each key once, in order, which is what its memtable likes.
type Batch struct {
	state *State
	p     entity.Partition

	ops    []operation
	arena  []byte   // keys and values of ops
	table  []uint32 // open addressing: 1 + position in ops, 0 is empty
	seed   maphash.Seed
	ranges [][2][]byte // deleted before anything else

	runs   [][]uint32 // positions in ops, each run in order of the keys; of Scan
	sorted int        // ops that are in runs

	order   []sortable // scratch of Commit
	scratch []byte     // of Merge
	wire    *pebble.Batch
}

// operation is a set, a delete, or a merge. Offsets are into the arena.
type operation struct {
	key, keyEnd     uint32
	value, valueEnd uint32
	deleted         bool
	merge           bool // the value is a change of what is stored
}

// maxBatch bounds the arena, whose offsets are 32 bits.
const maxBatch = 1 << 31

// maxKept is how large an arena a batch keeps over Reset.
const maxKept = 4 << 20

// NewBatch returns an empty batch of a partition.
func (s *State) NewBatch(p entity.Partition) *Batch {
	s.part(p)
	return &Batch{state: s, p: p, seed: maphash.MakeSeed(), table: make([]uint32, 256)}
}

// Partition returns the partition the batch changes.
func (b *Batch) Partition() entity.Partition { return b.p }

// Len returns how many keys the batch changes.
func (b *Batch) Len() int { return len(b.ops) }

// Size returns about how much memory the batch takes, in bytes.
func (b *Batch) Size() int { return len(b.arena) }

func (b *Batch) keyOf(op *operation) []byte   { return b.arena[op.key:op.keyEnd] }
func (b *Batch) valueOf(op *operation) []byte { return b.arena[op.value:op.valueEnd] }

// slot returns the place of key in the table: its own, or the empty one where
// it belongs.
func (b *Batch) slot(key []byte) int {
	mask := len(b.table) - 1
	for i := int(maphash.Bytes(b.seed, key)) & mask; ; i = (i + 1) & mask {
		if n := b.table[i]; n == 0 || bytes.Equal(b.keyOf(&b.ops[n-1]), key) {
			return i
		}
	}
}

// Get appends the value of key to dst and reports whether the key exists, as if
// the batch were committed.
func (b *Batch) Get(dst, key []byte) ([]byte, bool, error) {
	if n := b.table[b.slot(key)]; n != 0 {
		op := &b.ops[n-1]
		switch {
		case op.deleted:
			return dst, false, nil
		case op.merge:
			stored, ok, err := b.stored(nil, key)
			if err == nil && !ok {
				stored = nil
			}
			if err == nil {
				dst, err = merged(dst, key, stored, b.valueOf(op), true)
			}
			return dst, err == nil, err
		}
		return append(dst, b.valueOf(op)...), true, nil
	}
	if !inPartition(key, b.p) {
		return dst, false, fmt.Errorf("partition %d: key %x belongs to another", b.p, key)
	}
	return b.stored(dst, key)
}

// stored is Get of a key that the batch neither sets nor deletes by itself.
func (b *Batch) stored(dst, key []byte) ([]byte, bool, error) {
	if b.cleared(key) {
		return dst, false, nil
	}
	return get(b.state.db, dst, key)
}

// Set gives key a value. It copies both. It panics on a key of another partition.
func (b *Batch) Set(key, value []byte) { b.put(key, value, false) }

// Merge changes the value of key, which is one of AppendPresent, by a change of
// AppendPresence, or that of a counter by AppendSum, whether or not there is a value.
// Nothing is read for it. It copies both. It panics on anything else.
func (b *Batch) Merge(key, change []byte) {
	var value []byte
	merge := true
	if n := b.table[b.slot(key)]; n != 0 {
		op := &b.ops[n-1]
		if merge = op.merge; !op.deleted {
			value = b.valueOf(op)
		}
	}
	var err error
	if b.scratch, err = merged(b.scratch[:0], key, value, change, !merge); err != nil {
		panic(fmt.Sprintf("partition %d: merge: %v", b.p, err))
	}
	b.put(key, b.scratch, false)
	b.ops[b.table[b.slot(key)]-1].merge = merge
}

// Delete removes key. It panics on a key of another partition.
func (b *Batch) Delete(key []byte) { b.put(key, nil, true) }

// SetApplied notes the log index that the batch brings the partition to.
func (b *Batch) SetApplied(index uint64) {
	var key [16]byte
	var value [8]byte
	binary.BigEndian.PutUint64(value[:], index)
	b.Set(keys.AppendApplied(key[:0], b.p), value[:])
}

// DeleteRange removes all keys in [lower, upper): what is stored, and what the batch
// has set so far. It takes as long as the batch is large, however much is stored. It
// copies both. It panics on a range that leaves the partition.
func (b *Batch) DeleteRange(lower, upper []byte) {
	_, last := keys.PartitionRange(b.p)
	if !inPartition(lower, b.p) || bytes.Compare(upper, last) > 0 {
		panic(fmt.Sprintf("partition %d: range [%x, %x) leaves it", b.p, lower, upper))
	}
	if bytes.Compare(lower, upper) >= 0 {
		return
	}
	for i := range b.ops {
		op := &b.ops[i]
		if key := b.keyOf(op); bytes.Compare(key, lower) >= 0 && bytes.Compare(key, upper) < 0 {
			op.deleted, op.merge = true, false // ranges reach Pebble before single keys
			op.valueEnd = op.value
		}
	}
	b.ranges = append(b.ranges, [2][]byte{bytes.Clone(lower), bytes.Clone(upper)})
}

func (b *Batch) put(key, value []byte, deleted bool) {
	if !inPartition(key, b.p) {
		panic(fmt.Sprintf("partition %d: key %x belongs to another", b.p, key))
	}
	if len(b.arena)+len(key)+len(value) > maxBatch {
		panic(fmt.Sprintf("partition %d: batch of more than %d bytes", b.p, maxBatch))
	}
	i := b.slot(key)
	if b.table[i] == 0 {
		op := operation{key: uint32(len(b.arena))}
		b.arena = append(b.arena, key...)
		op.keyEnd = uint32(len(b.arena))
		b.ops = append(b.ops, op)
		b.table[i] = uint32(len(b.ops))
		if len(b.ops)*2 > len(b.table) {
			b.grow()
			i = b.slot(key)
		}
	}
	op := &b.ops[b.table[i]-1]
	op.deleted, op.merge = deleted, false
	if room := op.valueEnd - op.value; uint32(len(value)) <= room {
		op.valueEnd = op.value + uint32(copy(b.arena[op.value:], value))
		return
	}
	op.value = uint32(len(b.arena))
	b.arena = append(b.arena, value...)
	op.valueEnd = uint32(len(b.arena))
}

// dropRows forgets the rows that the batch changes, before it becomes visible.
func (b *Batch) dropRows() {
	for i := range b.ops {
		if key := b.keyOf(&b.ops[i]); cached(key) {
			b.state.rows.drop(key)
		}
	}
	for _, r := range b.ranges {
		b.state.rows.dropRange(r[0], r[1])
	}
}

func (b *Batch) grow() {
	b.table = make([]uint32, 2*len(b.table))
	for n := range b.ops {
		b.table[b.slot(b.keyOf(&b.ops[n]))] = uint32(n + 1)
	}
}

// Commit makes the batch visible in one step. An error means that it is not
// known what a restart would find: the caller halts. The batch is empty only
// after Reset.
func (b *Batch) Commit() error {
	b.arrange()
	// Always a new one, whose memory is what it takes: one that was committed may belong
	// to the memtable queue, and one that is reset may forget its size.
	b.wire = b.state.db.NewBatchWithSize(len(b.arena) + 16*len(b.ops) + 64)
	large, err := b.encode()
	if err == nil {
		part := b.state.part(b.p)
		part.begun.Add(1)
		b.dropRows()
		err = b.wire.Commit(pebble.NoSync)
		part.commits.Add(1)
	}
	if err == nil {
		err = b.state.bulk.wrote(large)
	}
	if err != nil {
		return fmt.Errorf("partition %d: commit: %w", b.p, corrupt(err))
	}
	err = b.wire.Close()
	b.wire = nil
	return err
}

// encode fills the batch that Pebble takes, and returns how many bytes of it are bulk.
func (b *Batch) encode() (large int, err error) {
	for _, r := range b.ranges {
		if err := b.wire.DeleteRange(r[0], r[1], nil); err != nil {
			return 0, err
		}
	}
	for i := range b.order {
		op := &b.ops[b.order[i].op]
		if op.deleted {
			d := b.wire.DeleteDeferred(int(op.keyEnd - op.key))
			copy(d.Key, b.keyOf(op))
			if err := d.Finish(); err != nil {
				return 0, err
			}
			continue
		}
		var d *pebble.DeferredBatchOp
		if op.merge {
			d = b.wire.MergeDeferred(int(op.keyEnd-op.key), int(op.valueEnd-op.value))
		} else {
			d = b.wire.SetDeferred(int(op.keyEnd-op.key), int(op.valueEnd-op.value))
		}
		copy(d.Key, b.keyOf(op))
		copy(d.Value, b.valueOf(op))
		large += bulkOf(len(d.Value))
		if err := d.Finish(); err != nil {
			return 0, err
		}
	}
	return large, nil
}

// Reset empties the batch, for another commit.
func (b *Batch) Reset() {
	clear(b.table)
	b.ops, b.ranges = b.ops[:0], b.ranges[:0]
	b.runs, b.sorted = nil, 0
	if b.arena = b.arena[:0]; cap(b.arena) > maxKept {
		b.arena, b.ops, b.order, b.table = nil, nil, nil, make([]uint32, 256)
	}
}

// Close gives the batch back. What it holds is not committed.
func (b *Batch) Close() error {
	if b.wire == nil {
		return nil
	}
	err := b.wire.Close()
	b.wire = nil
	return err
}
