package storage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/keys"
)

// Scan calls visit with the keys in [lower, upper) and their values, in order and
// as if the batch were committed, until visit returns false. It lends both until
// visit returns, and visit must not change the batch.
func (b *Batch) Scan(lower, upper []byte, visit func(key, value []byte) bool) (err error) {
	if _, last := keys.PartitionRange(b.p); !inPartition(lower, b.p) || bytes.Compare(upper, last) > 0 {
		return fmt.Errorf("partition %d: scan of [%x, %x) leaves it", b.p, lower, upper)
	}
	own := b.between(lower, upper)
	it, err := b.state.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper, KeyTypes: pebble.IterKeyTypePointsOnly})
	if err != nil {
		return fmt.Errorf("partition %d: scan: %w", b.p, corrupt(err))
	}
	defer func() {
		if closed := it.Close(); closed != nil {
			err = errors.Join(err, fmt.Errorf("partition %d: scan: %w", b.p, corrupt(closed)))
		}
	}()
	stored := it.First()
	for stored || len(own) > 0 {
		order := 1 // of the stored key and the batch's own
		switch {
		case len(own) == 0:
			order = -1
		case stored:
			order = bytes.Compare(it.Key(), b.keyOf(&b.ops[own[0]]))
		}
		if order < 0 {
			value, err := it.ValueAndErr()
			if err != nil {
				return fmt.Errorf("partition %d: scan: %w", b.p, corrupt(err))
			}
			if !b.cleared(it.Key()) && !visit(it.Key(), value) {
				return nil
			}
		} else {
			op := &b.ops[own[0]]
			if own = own[1:]; !op.deleted && !visit(b.keyOf(op), b.valueOf(op)) {
				return nil
			}
		}
		if order <= 0 {
			stored = it.Next()
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("partition %d: scan: %w", b.p, corrupt(err))
	}
	return nil
}

// cleared reports whether what is stored under key lies in a range that the batch
// deletes.
func (b *Batch) cleared(key []byte) bool {
	for _, r := range b.ranges {
		if bytes.Compare(key, r[0]) >= 0 && bytes.Compare(key, r[1]) < 0 {
			return true
		}
	}
	return false
}

// between returns the positions of the operations on keys in [lower, upper), in
// order of the keys.
func (b *Batch) between(lower, upper []byte) (found []uint32) {
	b.sort()
	at := func(n uint32, key []byte) int { return bytes.Compare(b.keyOf(&b.ops[n]), key) }
	parts := 0
	for _, run := range b.runs {
		from, _ := slices.BinarySearchFunc(run, lower, at)
		to, _ := slices.BinarySearchFunc(run, upper, at)
		if from < to {
			found = append(found, run[from:to]...)
			parts++
		}
	}
	if parts > 1 {
		slices.SortFunc(found, b.compare)
	}
	return found
}

// sort brings what was added since the last scan into the runs. Each run is more
// than twice as long as the next, so that scans between many changes cost little
// more than one sort.
func (b *Batch) sort() {
	if b.sorted == len(b.ops) {
		return
	}
	run := make([]uint32, 0, len(b.ops)-b.sorted)
	for ; b.sorted < len(b.ops); b.sorted++ {
		run = append(run, uint32(b.sorted))
	}
	slices.SortFunc(run, b.compare)
	for n := len(b.runs); n > 0 && len(b.runs[n-1]) <= 2*len(run); n = len(b.runs) {
		run = b.merge(b.runs[n-1], run)
		b.runs = b.runs[:n-1]
	}
	b.runs = append(b.runs, run)
}

func (b *Batch) compare(x, y uint32) int {
	return bytes.Compare(b.keyOf(&b.ops[x]), b.keyOf(&b.ops[y]))
}

// merge makes one run of two.
func (b *Batch) merge(x, y []uint32) []uint32 {
	all := make([]uint32, 0, len(x)+len(y))
	for len(x) > 0 && len(y) > 0 {
		if b.compare(x[0], y[0]) < 0 {
			all, x = append(all, x[0]), x[1:]
		} else {
			all, y = append(all, y[0]), y[1:]
		}
	}
	return append(append(all, x...), y...)
}
