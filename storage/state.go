package storage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// State is the state DB: what the state machines of all partitions have built.
// It has no write-ahead log; what is committed survives a crash from the next
// Flush on, and the Raft log replays the rest. It is safe for concurrent use.
type State struct {
	store *Store
	db    *pebble.DB
	opts  *pebble.Options
	bulk  bulk
	reads bulkReads

	restores sync.Mutex // held while a partition is replaced
	spools   sync.Mutex // held while a partition is written to a spool
	names    nameCache
	rows     *rowCache
	parts    struct {
		sync.Mutex // for adding
		all        atomic.Pointer[[]*statePart]
	}

	stopPictures, picturesDone chan struct{}
}

// statePart is what is kept in memory of one partition.
type statePart struct {
	// epoch is raised before and after the partition is replaced or dropped, so
	// it is odd meanwhile. Pebble's snapshots do not survive that: a view of an
	// earlier or an odd epoch must notice.
	epoch   atomic.Uint64
	durable durable
	// begun counts the changes that are about to become visible, commits those
	// that have: batches, and replacements of the whole partition.
	begun    atomic.Uint64
	commits  atomic.Uint64
	pictures pictures
}

// durable is an applied index known to be on disk. What was learned in an
// earlier epoch says nothing about a later one: the replica may be another.
type durable struct {
	sync.Mutex
	epoch, index uint64
}

// raise notes that the partition is on disk up to an applied index that was read
// in an epoch.
func (d *durable) raise(epoch, index uint64) {
	d.Lock()
	defer d.Unlock()
	if epoch > d.epoch {
		d.epoch, d.index = epoch, 0
	}
	if epoch == d.epoch {
		d.index = max(d.index, index)
	}
}

// at returns the index known in an epoch.
func (d *durable) at(epoch uint64) uint64 {
	d.Lock()
	defer d.Unlock()
	if epoch != d.epoch {
		return 0
	}
	return d.index
}

// maxPartition bounds partition numbers; marks and tables in memory are
// arrays indexed by them.
const maxPartition = 1 << 14

// openState opens the state DB. Its WAL is off, and tables are ingested at once
// rather than by way of the memtable queue, which only a WAL makes durable.
func openState(s *Store, exists bool) (*State, error) {
	opts := s.options("state", s.cfg.StateMemtableBytes, exists)
	opts.DisableWAL = true
	opts.Experimental.DisableIngestAsFlushable = func() bool { return true }
	opts.Experimental.SpanPolicyFunc = splitAtPartitions
	var err error
	if opts.Merger, err = s.merger(exists); err != nil {
		return nil, err
	}
	db, err := pebble.Open(s.path(stateName), opts)
	if err != nil {
		return nil, openError(err)
	}
	st := &State{store: s, db: db, opts: opts, rows: newRowCache(s.cfg.RowCacheBytes), stopPictures: make(chan struct{}), picturesDone: make(chan struct{})}
	st.bulk = bulk{db: db, limit: s.cfg.StateMemtableBytes / bulkShare}
	st.reads.state = st
	st.parts.all.Store(&[]*statePart{})
	go st.runPictures()
	return st, nil
}

// close ends the database. All views are closed by then.
func (s *State) close() error {
	close(s.stopPictures)
	<-s.picturesDone
	s.reads.end()
	return s.db.Close()
}

// splitAtPartitions makes flushes and compactions end a table where a partition
// ends. Replacing a partition then drops whole tables. It must not cut one in
// two: Pebble 2.1.7 reads such a table to find the bounds of what remains, takes
// a failed read for the end of it, and the rest of a neighbour's keys is gone
// without a word (see TestFailedDiskNeverAcknowledges).
func splitAtPartitions(start []byte) (pebble.SpanPolicy, []byte, error) {
	p, ok := keys.PartitionOf(start)
	if !ok {
		return pebble.SpanPolicy{}, nil, fault.New(fault.Corrupt, "state DB: key %x", start)
	}
	_, end := keys.PartitionRange(p)
	return pebble.SpanPolicy{}, end, nil
}

// openError marks as damage what keeps a database from opening, where Pebble
// says that it is, or that there is none.
func openError(err error) error {
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		return fault.Wrap(err, fault.Corrupt, "the database is missing")
	}
	return corrupt(err)
}

func (s *State) part(p entity.Partition) *statePart {
	if all := *s.parts.all.Load(); int(p) < len(all) {
		return all[p]
	}
	if p > maxPartition {
		panic(fmt.Sprintf("partition %d: numbers end at %d", p, maxPartition))
	}
	s.parts.Lock()
	defer s.parts.Unlock()
	all := append([]*statePart(nil), *s.parts.all.Load()...)
	for len(all) <= int(p) {
		all = append(all, new(statePart))
	}
	s.parts.all.Store(&all)
	return all[p]
}

// get appends the value of a key to dst.
func get(r pebble.Reader, dst, key []byte) ([]byte, bool, error) {
	value, closer, err := r.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return dst, false, nil
		}
		return dst, false, readError(key, err)
	}
	dst = append(dst, value...)
	return dst, true, closer.Close()
}

// visit lends the value of a key, if it exists, to f until that returns.
func visit(r pebble.Reader, key []byte, f func(value []byte)) error {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return readError(key, err)
	}
	f(value)
	return closer.Close()
}

func readError(key []byte, err error) error {
	p, _ := keys.PartitionOf(key)
	return fmt.Errorf("partition %d: read key %x: %w", p, key, corrupt(err))
}

// Applied returns the log index up to which the partition's committed state
// has come: 0 if nothing was ever applied. It need not be on disk yet.
func (s *State) Applied(p entity.Partition) (uint64, error) { return readApplied(s.db, p) }

func readApplied(r pebble.Reader, p entity.Partition) (uint64, error) {
	var buf [16]byte
	key := keys.AppendApplied(buf[:0], p)
	var val [16]byte
	raw, ok, err := get(r, val[:0], key)
	if err != nil || !ok {
		return 0, err
	}
	if len(raw) != 8 {
		return 0, fault.New(fault.Corrupt, "partition %d: applied index of %d bytes", p, len(raw))
	}
	return binary.BigEndian.Uint64(raw), nil
}

// Flush makes everything committed so far durable, in all partitions.
func (s *State) Flush() error {
	all := *s.parts.all.Load()
	applied, epochs := make([]uint64, len(all)), make([]uint64, len(all))
	for p, part := range all {
		epochs[p] = part.epoch.Load()
		var err error
		if applied[p], err = s.Applied(entity.Partition(p)); err != nil {
			return fmt.Errorf("flush state: %w", err)
		}
	}
	if err := s.db.Flush(); err != nil {
		return fmt.Errorf("flush state: %w", corrupt(err))
	}
	for p, part := range all {
		part.durable.raise(epochs[p], applied[p])
	}
	return nil
}

// FlushTo makes everything committed so far durable unless the partition is
// known to be durable up to index. It fails if the partition has not come so far.
func (s *State) FlushTo(p entity.Partition, index uint64) error {
	part := s.part(p)
	if part.durable.at(part.epoch.Load()) >= index {
		return nil
	}
	if err := s.Flush(); err != nil {
		return err
	}
	if got := part.durable.at(part.epoch.Load()); got < index {
		return fmt.Errorf("partition %d: flushed at applied index %d, before %d", p, got, index)
	}
	return nil
}

// Digest is a fingerprint of all that a partition stores.
type Digest struct {
	Applied uint64
	Keys    uint64
	Sum     [sha256.Size]byte
}

// Digest reads the whole partition, verifying the checksum of every block on
// the way, and returns the SHA-256 over length and bytes of every key and value.
func (s *State) Digest(ctx context.Context, p entity.Partition) (d Digest, err error) {
	v := s.View(p)
	defer func() { err = errors.Join(err, v.Close()) }()
	if d.Applied, err = v.Applied(); err != nil {
		return d, err
	}
	it, err := v.Scan(nil, nil)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	h := sha256.New()
	var size [16]byte
	for ok := it.First(); ok; ok = it.Next() {
		if d.Keys%1024 == 0 && ctx.Err() != nil {
			return d, ctx.Err()
		}
		d.Keys++
		k, val := it.Key(), it.Value()
		binary.BigEndian.PutUint64(size[:8], uint64(len(k)))
		binary.BigEndian.PutUint64(size[8:], uint64(len(val)))
		h.Write(size[:])
		h.Write(k)
		h.Write(val)
	}
	h.Sum(d.Sum[:0])
	return d, it.Err()
}
