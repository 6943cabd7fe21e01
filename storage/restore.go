package storage

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Restore replaces the partition by the content of a snapshot stream, in one
// step: a crash leaves the old content or the new one. The whole stream is
// verified before anything changes. A state that has come further than the
// stream already is kept. When Restore returns, what it put in is durable.
//
// No batch of the partition may be committed meanwhile. Views opened before
// fail from now on.
func (s *State) Restore(ctx context.Context, p entity.Partition, r io.Reader) error {
	s.restores.Lock()
	defer s.restores.Unlock()
	fs := s.store.fs
	dir := s.store.restoreDir(p)
	err := errors.Join(fs.RemoveAll(dir), fs.MkdirAll(dir, 0o750))
	if err == nil {
		err = s.restore(ctx, p, r, dir)
	}
	if err = errors.Join(err, fs.RemoveAll(dir)); err != nil {
		return fmt.Errorf("partition %d: restore: %w", p, err)
	}
	return nil
}

// restoreDir is where the tables of a partition lie that is being restored.
func (s *Store) restoreDir(p entity.Partition) string {
	return s.fs.PathJoin(s.SpoolDir(), fmt.Sprintf("restore-%d", p))
}

func (s *State) restore(ctx context.Context, p entity.Partition, r io.Reader, dir string) error {
	fs := s.store.fs
	var tables []string
	h, err := VerifyStream(ctx, r, func(i int, _ int64, table io.Reader) error {
		name := fs.PathJoin(dir, fmt.Sprintf("%06d.sst", i))
		tables = append(tables, name)
		return copyTo(fs, name, table)
	})
	if err != nil {
		return err
	}
	if h.Partition != p {
		return fault.New(fault.Corrupt, "the snapshot is of partition %d", h.Partition)
	}
	applied, err := s.Applied(p)
	if err != nil {
		return err
	}
	if applied >= h.Applied && applied > 0 {
		return s.FlushTo(p, applied)
	}
	if err := syncDir(fs, dir); err != nil {
		return err
	}
	err = s.replace(p, func(span pebble.KeyRange) error {
		if len(tables) == 0 {
			return s.db.Excise(ctx, span)
		}
		_, err := s.db.IngestAndExcise(ctx, tables, nil, nil, span)
		return err
	})
	if err != nil {
		return err
	}
	if applied, err = s.Applied(p); err != nil {
		return err
	}
	if applied != h.Applied {
		return fault.New(fault.Corrupt, "the snapshot says it is at index %d, its content is at %d", h.Applied, applied)
	}
	return s.Flush()
}

// replace runs change, which puts something else, or nothing, in the place of
// all that a partition holds. What is kept in memory of it goes, and views opened
// before the end of the change fail from now on. s.restores is held.
func (s *State) replace(p entity.Partition, change func(span pebble.KeyRange) error) error {
	part := s.part(p)
	lower, upper := keys.PartitionRange(p)
	part.begun.Add(1)
	defer part.commits.Add(1)
	s.rows.dropRange(lower, upper)
	part.epoch.Add(1)
	defer part.epoch.Add(1)
	return corrupt(change(pebble.KeyRange{Start: lower, End: upper}))
}

func copyTo(fs FS, name string, r io.Reader) error {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// finishRestore brings a partition to its marker, if the node stopped after it
// had received a snapshot and before it had installed it.
func (s *Store) finishRestore(p entity.Partition, m Marker) error {
	applied, err := s.state.Applied(p)
	if err != nil {
		return err
	}
	if applied >= m.Index {
		return nil
	}
	missing := fault.New(fault.Corrupt, "partition %d: the state DB is at index %d, behind its marker at %d", p, applied, m.Index)
	if m.Spool == "" {
		return missing
	}
	f, err := s.fs.Open(s.fs.PathJoin(s.SpoolDir(), m.Spool))
	if err != nil {
		missing.Cause = err
		return missing
	}
	s.log.Info("finishing the restore of a snapshot", "partition", p, "applied", applied, "marker", m.Index)
	err = s.state.Restore(context.Background(), p, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if applied, err = s.state.Applied(p); err != nil {
		return err
	}
	if applied < m.Index {
		return missing
	}
	return nil
}

// cleanSpool removes what no marker needs any more. All partitions stand at
// their markers by now.
func (s *Store) cleanSpool() error {
	names, err := s.fs.List(s.SpoolDir())
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.fs.RemoveAll(s.fs.PathJoin(s.SpoolDir(), name)); err != nil {
			return fmt.Errorf("clean spool: %w", err)
		}
	}
	return nil
}
