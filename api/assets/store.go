package assets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Cluster is what the store needs of a node.
type Cluster interface {
	// Propose runs a command and returns its outcome.
	Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error)
	// DiskFull reports whether the node's disk has no room for writes.
	DiskFull() bool
	// StaleView opens a view on the local replica.
	StaleView(ctx context.Context, app entity.AppID) (*storage.View, time.Duration, error)
}

// Objects is a bucket of an object store.
type Objects interface {
	// Put stores an object whole, or not at all.
	Put(ctx context.Context, key string, body io.Reader, size int64) error
	// Get reads size bytes of an object from an offset on.
	Get(ctx context.Context, key string, offset, size int64) (io.ReadCloser, error)
}

const (
	// chunkBytes is the size of a chunk: one command. Each layer of the storage holds some
	// of them, so larger ones cost memory; sixteen, with what belongs to them, fit into one
	// log entry, and a download writes one at a time.
	chunkBytes = 63 << 10
	// wholeBytes is up to what size data goes with the command that attaches it.
	wholeBytes = 256 << 10
	// inFlight is how many chunks of a file are on their way at a time: those of one log
	// entry, while those of the next are made.
	inFlight = 10
	// storing is how many files are stored at a time; others wait in the spool.
	storing = 4
	// unattachedFor is how long data that was stored may stay without an entity.
	unattachedFor = time.Hour
	// patience is how long a chunk is tried again that finds a queue full.
	patience = 15 * time.Second
	// objectPace is how fast an object must be taken by the object store, bytes a second,
	// once objectStart is over.
	objectPace  = 64 << 10
	objectStart = time.Minute
)

// Store keeps data. It is safe for concurrent use.
type Store struct {
	cluster Cluster
	spool   *Spool
	objects Objects // nil: none is configured
	remote  bool    // new data goes there
	turns   chan struct{}

	in, out, failed atomic.Uint64
	served, stored  atomic.Uint64
}

// New makes a store of data in the cluster.
func New(cluster Cluster, spool *Spool) *Store {
	return &Store{cluster: cluster, spool: spool, turns: make(chan struct{}, storing)}
}

// WithObjects lets data lie in an object store, too: what is there is read from there and,
// if remote is set, new data goes there. It returns s.
func (s *Store) WithObjects(objects Objects, remote bool) *Store {
	s.objects, s.remote = objects, remote && objects != nil
	return s
}

// Spool is where uploads arrive.
func (s *Store) Spool() *Spool { return s.spool }

// Stats are figures of a store for metrics.
type Stats struct {
	Spooled    int64  // bytes of uploads on disk now
	In, Out    uint64 // bytes stored and served
	Stored     uint64 // files stored
	Served     uint64 // downloads begun
	CutOff     uint64 // downloads that could not be finished
	StoreTurns int    // files being stored now
}

// Stats returns the store's figures at this moment.
func (s *Store) Stats() Stats {
	return Stats{
		Spooled: s.spool.Used(), In: s.in.Load(), Out: s.out.Load(), Stored: s.stored.Load(), Served: s.served.Load(),
		CutOff: s.failed.Load(), StoreTurns: len(s.turns),
	}
}

// Put stores a file for an application, and returns the command that gives it to an
// entity; the caller says to which. Until it has run the data is nobody's, and Drop
// removes it. object is the name of the application in an object store.
func (s *Store) Put(ctx context.Context, app entity.AppID, object string, f *File) (command.AttachBlob, error) {
	op := command.AttachBlob{Blob: entity.NewID()}
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return op, fault.Wrap(context.Cause(ctx), fault.Stopping, "the node is shutting down")
	}
	var err error
	switch {
	case !s.remote && f.Size <= wholeBytes:
		op.Whole, op.Data = true, make([]byte, f.Size)
		if _, err = f.ReadAt(op.Data, 0); errors.Is(err, io.EOF) {
			err = nil
		}
	case s.remote:
		err = s.putObject(ctx, app, object+"/"+op.Blob.String(), op.Blob, io.NewSectionReader(f, 0, f.Size), f.Size)
	default:
		err = s.putChunks(ctx, app, op.Blob, f)
	}
	if err != nil {
		return op, fmt.Errorf("store data of %d bytes: %w", f.Size, err)
	}
	s.in.Add(uint64(f.Size))
	s.stored.Add(1)
	return op, nil
}

// Admit refuses an upload before it arrives that would have no room. Fault: DiskFull.
func (s *Store) Admit() error {
	if s.cluster.DiskFull() {
		return fault.New(fault.DiskFull, "the disk is nearly full, uploads are refused until there is room")
	}
	return nil
}

// Remote reports whether new data goes to an object store.
func (s *Store) Remote() bool { return s.remote }

// FileBytes is how much data an entity may have.
func (s *Store) FileBytes() int64 { return s.spool.FileBytes() }

// PutObject stores data in the object store, of an application whose name there is
// object, under the id by which an entity will have it. Until then it is nobody's, and a
// task deletes it. If it was begun before, the same bytes replace what is there.
func (s *Store) PutObject(ctx context.Context, app entity.AppID, object string, id entity.ID, body io.Reader, size int64) error {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return fault.Wrap(context.Cause(ctx), fault.Stopping, "the node is shutting down")
	}
	err := s.putObject(ctx, app, object+"/"+id.String(), id, body, size)
	if err != nil {
		return fmt.Errorf("store data of %d bytes: %w", size, err)
	}
	s.in.Add(uint64(size)) // #nosec G115 -- the size of a file
	s.stored.Add(1)
	return nil
}

// Drop removes data that was stored and is nobody's, as the task would later; data that
// is somebody's it leaves alone.
func (s *Store) Drop(ctx context.Context, app entity.AppID, op *command.AttachBlob) {
	if op.Whole || s.remote { // nothing is there yet, or a task must delete it
		return
	}
	_ = s.propose(ctx, app, command.DropBlob{Blob: op.Blob}) // else the task does it
}

// propose runs a command, again and again while the queue in front of it is full. Data
// waits: it has arrived, and is on disk. What has no room on a disk is refused at once.
func (s *Store) propose(ctx context.Context, app entity.AppID, op command.Op) error {
	for begun, pause := time.Now(), 10*time.Millisecond; ; pause = min(2*pause, time.Second) {
		out, err := s.cluster.Propose(ctx, app, command.Command{App: app, Op: op})
		if err == nil && out.Fault != nil {
			err = out.Fault
		}
		if !fault.Is(err, fault.Overloaded) || time.Since(begun) > patience {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

func (s *Store) begin(ctx context.Context, app entity.AppID, blob entity.ID, size int64, object string) error {
	return s.propose(ctx, app, command.BeginBlob{
		Blob: blob, Size: uint64(size), Chunk: uint64(chunkOf(size)), Object: object, Expires: time.Now().Add(unattachedFor).UnixMilli(),
	})
}

// chunkOf returns the size of the chunks of a file: chunkBytes, if there are not too many
// of them.
func chunkOf(size int64) int64 { return max(chunkBytes, (size-1)/entity.MaxBlobChunks+1) }

// putChunks brings a file into the cluster, some chunks at a time.
func (s *Store) putChunks(ctx context.Context, app entity.AppID, blob entity.ID, f *File) error {
	if err := s.begin(ctx, app, blob, f.Size, ""); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	chunk := chunkOf(f.Size)
	count := (f.Size-1)/chunk + 1
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(inFlight, count) {
		workers.Go(func() {
			buf := make([]byte, chunk)
			for n := next.Add(1) - 1; n < count && ctx.Err() == nil; n = next.Add(1) - 1 {
				if err := s.putChunk(ctx, app, blob, f, n, buf); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	err := context.Cause(ctx)
	if err != nil {
		s.Drop(context.WithoutCancel(ctx), app, &command.AttachBlob{Blob: blob})
	}
	return err
}

func (s *Store) putChunk(ctx context.Context, app entity.AppID, blob entity.ID, f *File, n int64, buf []byte) error {
	chunk := int64(len(buf))
	size := min(chunk, f.Size-n*chunk)
	if _, err := f.ReadAt(buf[:size], n*chunk); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the spool: %w", err)
	}
	return s.propose(ctx, app, command.PutChunk{Blob: blob, Number: uint32(n), Data: buf[:size]}) // #nosec G115 -- bounded by the size of a file
}

// putObject brings data into the object store, after the cluster knows that it may be
// there.
func (s *Store) putObject(ctx context.Context, app entity.AppID, key string, blob entity.ID, body io.Reader, size int64) error {
	if err := s.begin(ctx, app, blob, size, key); err != nil && !fault.Is(err, fault.Conflict) { // it was begun before
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, objectStart+time.Duration(size/objectPace)*time.Second)
	defer cancel()
	if err := s.objects.Put(ctx, key, body, size); err != nil {
		return fmt.Errorf("put object %s: %w", key, err)
	}
	return nil
}
