package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// Drop removes everything of a partition: log, stable store, marker, number of
// the replica, received snapshots and state. When it returns, durably, the
// partition is like one that was never here, and another replica may be
// adopted. After a crash on the way, either Open finishes the drop or the
// partition is still whole.
//
// Nothing of the partition may be in use meanwhile: its Raft and its state
// machine are closed. Views opened before fail from now on. Other partitions are
// not held up. After an error nothing can be written to the log of the partition
// until Drop was called again, or the store opened, with success; ctx ends only a
// drop that has not begun.
func (s *Store) Drop(ctx context.Context, p entity.Partition) error {
	s.state.restores.Lock()
	defer s.state.restores.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("partition %d: drop: %w", p, err)
	}
	if err := s.logDB.beginDrop(p); err != nil {
		return err
	}
	return s.finishDrop(p)
}

// finishDrop carries out a drop that was noted in the log DB. The note goes with
// the log, last and in one step: until then a crash, or a second call, begins
// here again, and the state may be gone or not.
func (s *Store) finishDrop(p entity.Partition) error {
	err := s.state.drop(p)
	if err == nil {
		err = s.dropSpools(p)
	}
	if err != nil {
		return fmt.Errorf("partition %d: drop: %w", p, err)
	}
	return s.logDB.endDrop(p)
}

// drop removes a partition. It is gone from the disk when drop returns: what
// memtables held of it is in tables before, and tables are removed in one synced
// step, for which no commit of another partition has to wait.
func (s *State) drop(p entity.Partition) error {
	if err := s.db.Flush(); err != nil {
		return fmt.Errorf("flush state: %w", corrupt(err))
	}
	return s.replace(p, func(span pebble.KeyRange) error { return s.db.Excise(context.Background(), span) })
}

// beginDrop notes, durably, that a partition is being dropped. From then on the
// log takes nothing more.
func (l *Log) beginDrop(p entity.Partition) error {
	part := l.part(p)
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.dropping {
		return nil
	}
	b := l.db.NewBatch()
	if err := b.Set(logKey(nil, p, kindDropping), nil, nil); err != nil {
		return l.failed(p, errors.Join(err, b.Close()))
	}
	if err := l.sync(part, b, part.last.Load()); err != nil {
		return err
	}
	part.dropping = true
	return nil
}

// endDrop removes all that the log DB holds of a partition, the note of the drop
// included. Only the generation stays and grows: the marks, which lie in a file
// of their own, would otherwise call the log damaged, or take a damaged log of
// the next replica for a whole one.
func (l *Log) endDrop(p entity.Partition) error {
	part := l.part(p)
	part.mu.Lock()
	defer part.mu.Unlock()
	b := l.db.NewBatch()
	lower, upper := keys.PartitionRange(p)
	if err := b.DeleteRange(lower, upper, nil); err != nil {
		return l.failed(p, errors.Join(err, b.Close()))
	}
	if err := l.sync(part, b, 0); err != nil { // sets the generation, after the deletion
		return err
	}
	part.dropping = false
	part.mark.Store(0)
	part.first.Store(0)
	part.last.Store(0)
	part.bytes.Store(0)
	return nil
}

// isDropping reports whether a drop has begun and not ended.
func (l *Log) isDropping(p entity.Partition) bool {
	part := l.part(p)
	part.mu.Lock()
	defer part.mu.Unlock()
	return part.dropping
}
