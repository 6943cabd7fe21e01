package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Incoming is a snapshot stream being received into the spool directory. It is
// not safe for concurrent use.
type Incoming struct {
	store *Store
	p     entity.Partition
	name  string
	file  vfs.File

	buffer []byte // what is being written
}

// partSuffix ends the name of a stream that is not whole yet.
const partSuffix = ".part"

// receiveChunk is how much of a stream is written at a time.
const receiveChunk = 64 << 10

// Receive begins to keep a snapshot stream for a partition under a name, which
// a Marker may refer to once Commit has returned.
func (s *Store) Receive(p entity.Partition, name string) (*Incoming, error) {
	in := &Incoming{store: s, p: p, name: name}
	s.received.add(name, p)
	var err error
	if in.file, err = s.fs.Create(in.scratch(), vfs.WriteCategoryUnspecified); err != nil {
		s.received.remove(name)
		return nil, fmt.Errorf("partition %d: receive snapshot: %w", p, err)
	}
	return in, nil
}

// received knows which files in the spool directory are of which partition.
// Those of earlier starts are gone: Open empties the directory.
type received struct {
	mu struct {
		sync.Mutex
		names map[string]entity.Partition
	}
}

func (r *received) add(name string, p entity.Partition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.names == nil {
		r.mu.names = make(map[string]entity.Partition)
	}
	r.mu.names[name] = p
}

func (r *received) remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mu.names, name)
}

// of returns the names of a partition's files.
func (r *received) of(p entity.Partition) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name, of := range r.mu.names {
		if of == p {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (in *Incoming) path() string    { return in.store.fs.PathJoin(in.store.SpoolDir(), in.name) }
func (in *Incoming) scratch() string { return in.path() + partSuffix }

// Write adds to the stream. A vfs.File, unlike an io.Writer, may change what it
// is given: it gets a copy.
func (in *Incoming) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		in.buffer = append(in.buffer[:0], b[written:min(len(b), written+receiveChunk)]...)
		n, err := in.file.Write(in.buffer)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Commit makes the stream durable, if it is whole and of the right partition:
// nothing of it is trusted before. Otherwise it is removed.
func (in *Incoming) Commit(ctx context.Context) error {
	err := in.file.Sync()
	err = errors.Join(err, in.file.Close())
	in.file = nil
	if err == nil {
		err = in.verify(ctx)
	}
	if err == nil {
		err = in.store.fs.Rename(in.scratch(), in.path())
	}
	if err == nil {
		err = syncDir(in.store.fs, in.store.SpoolDir())
	}
	if err != nil {
		return fmt.Errorf("partition %d: receive snapshot: %w", in.p, errors.Join(err, in.Abort()))
	}
	return nil
}

func (in *Incoming) verify(ctx context.Context) error {
	f, err := in.store.fs.Open(in.scratch())
	if err != nil {
		return err
	}
	h, err := VerifyStream(ctx, f, func(_ int, _ int64, table io.Reader) error {
		_, err := io.Copy(io.Discard, table)
		return err
	})
	if err == nil && h.Partition != in.p {
		err = fault.New(fault.Corrupt, "the snapshot is of partition %d", h.Partition)
	}
	return errors.Join(err, f.Close())
}

// Abort removes what was received so far.
func (in *Incoming) Abort() error {
	var err error
	if in.file != nil {
		err = in.file.Close()
		in.file = nil
	}
	if rm := in.store.fs.Remove(in.scratch()); !isNotExist(rm) {
		err = errors.Join(err, rm)
	}
	if err == nil {
		in.store.received.remove(in.name)
	}
	return err
}

// OpenReceived opens a received stream by its name, and tells its size.
func (s *Store) OpenReceived(name string) (io.ReadCloser, int64, error) {
	path := s.fs.PathJoin(s.SpoolDir(), name)
	f, err := s.fs.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("open received snapshot: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("open received snapshot: %w", errors.Join(err, f.Close()))
	}
	return f, info.Size(), nil
}

// DropReceived removes a received stream. It is no error if there is none.
func (s *Store) DropReceived(name string) error {
	if err := s.fs.Remove(s.fs.PathJoin(s.SpoolDir(), name)); err != nil && !isNotExist(err) {
		return fmt.Errorf("drop received snapshot: %w", err)
	}
	s.received.remove(name)
	return nil
}

// dropSpools removes what was received for a partition, and what a restore of it
// may have left.
func (s *Store) dropSpools(p entity.Partition) error {
	for _, name := range s.received.of(p) {
		if err := s.DropReceived(name + partSuffix); err != nil {
			return err
		}
		if err := s.DropReceived(name); err != nil {
			return err
		}
	}
	return s.fs.RemoveAll(s.restoreDir(p))
}
