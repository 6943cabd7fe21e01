package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// LogEntry is one entry of a partition's Raft log.
type LogEntry struct {
	Index uint64
	Data  []byte
}

// KV is a key and a value of a partition's stable store.
type KV struct{ Key, Value []byte }

// ErrNoEntry says that the log holds no entry at an index.
var ErrNoEntry = errors.New("no such log entry")

// Kinds of keys in the log DB, after the partition.
const (
	kindDropping   = 'd' // → nothing; there while the partition is dropped
	kindGeneration = 'g' // → how many synced writes the partition has seen, 8 bytes; outlives the replica
	kindEntry      = 'l' // index 8 → entry
	kindMarker     = 'm' // → marker
	kindReplica    = 'r' // → number of the replica, 4 bytes
	kindStable     = 's' // name → value
)

// Log is the log DB: Raft log, stable store and marker of every partition. All
// that its methods acknowledge is on disk, except where they say otherwise.
// Writers of different partitions share syncs. It is safe for concurrent use.
type Log struct {
	store *Store
	db    *pebble.DB
	bulk  bulk
	marks *marks

	parts struct {
		sync.RWMutex
		m map[entity.Partition]*logPart
	}
}

// logPart is what is kept in memory of one partition.
type logPart struct {
	p        entity.Partition
	mu       sync.Mutex    // orders writes; held across their sync
	gen      uint64        // of the newest write; guarded by mu
	dropping bool          // a drop has begun and not ended; guarded by mu
	mark     atomic.Uint64 // index of the marker

	first, last atomic.Uint64 // log indexes; 0 and 0: empty
	bytes       atomic.Uint64 // of entries appended since the marker
}

// openLog opens the log DB. A large memtable lets most entries be deleted
// before they are flushed.
func openLog(s *Store, exists bool) (*Log, error) {
	l := &Log{store: s}
	l.parts.m = make(map[entity.Partition]*logPart)
	var err error
	if l.marks, err = openMarks(s.fs, s.path(marksName), exists); err != nil {
		return nil, err
	}
	l.db, err = pebble.Open(s.path(logName), s.options("log", s.cfg.LogMemtableBytes, exists))
	if err == nil {
		l.bulk = bulk{db: l.db, limit: s.cfg.LogMemtableBytes / bulkShare}
		err = l.load()
	}
	if err != nil {
		return nil, errors.Join(openError(err), l.close())
	}
	return l, nil
}

func (l *Log) close() error {
	var err error
	if l.db != nil {
		err = l.db.Close()
	}
	return errors.Join(err, l.marks.close())
}

// load finds the partitions the log DB holds and how far each has come.
func (l *Log) load() error {
	it, err := l.db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		p := entity.Partition(binary.BigEndian.Uint32(it.Key()))
		if p > maxPartition || len(it.Key()) < 5 {
			return errors.Join(fault.New(fault.Corrupt, "key %x", it.Key()), it.Close())
		}
		if err := l.loadPart(p); err != nil {
			return errors.Join(err, it.Close())
		}
		ok = it.SeekGE(binary.BigEndian.AppendUint32(nil, uint32(p)+1))
	}
	return errors.Join(it.Error(), it.Close())
}

func (l *Log) loadPart(p entity.Partition) error {
	part := &logPart{p: p}
	l.parts.m[p] = part
	raw, ok, err := get(l.db, nil, logKey(nil, p, kindGeneration))
	if err != nil {
		return err
	}
	if ok {
		if len(raw) != 8 {
			return fault.New(fault.Corrupt, "partition %d: generation of %d bytes", p, len(raw))
		}
		part.gen = binary.BigEndian.Uint64(raw)
	}
	if _, part.dropping, err = get(l.db, nil, logKey(nil, p, kindDropping)); err != nil {
		return err
	}
	m, _, err := l.Marker(p)
	if err != nil {
		return err
	}
	part.mark.Store(m.Index)
	return l.loadBounds(part)
}

func (l *Log) loadBounds(part *logPart) (err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{
		LowerBound: logKey(nil, part.p, kindEntry), UpperBound: logKey(nil, part.p, kindEntry+1),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	var first, last uint64
	if it.First() {
		if first, err = indexOf(it.Key()); err != nil {
			return err
		}
	}
	if it.Last() {
		if last, err = indexOf(it.Key()); err != nil {
			return err
		}
	}
	part.first.Store(first)
	part.last.Store(last)
	return nil
}

func logKey(dst []byte, p entity.Partition, kind byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(p)), kind)
}

func entryKey(dst []byte, p entity.Partition, index uint64) []byte {
	return binary.BigEndian.AppendUint64(logKey(dst, p, kindEntry), index)
}

func indexOf(key []byte) (uint64, error) {
	if len(key) != 13 || key[4] != kindEntry {
		return 0, fault.New(fault.Corrupt, "log DB: key %x", key)
	}
	return binary.BigEndian.Uint64(key[5:]), nil
}

func (l *Log) part(p entity.Partition) *logPart {
	l.parts.RLock()
	part := l.parts.m[p]
	l.parts.RUnlock()
	if part != nil {
		return part
	}
	if p > maxPartition {
		panic(fmt.Sprintf("partition %d: numbers end at %d", p, maxPartition))
	}
	l.parts.Lock()
	defer l.parts.Unlock()
	if part = l.parts.m[p]; part == nil {
		part = &logPart{p: p}
		l.parts.m[p] = part
	}
	return part
}

// Partitions returns the partitions that the log DB or the marks know, in order.
func (l *Log) Partitions() []entity.Partition {
	var all []entity.Partition
	l.parts.RLock()
	defer l.parts.RUnlock()
	for p := entity.Partition(0); p <= maxPartition; p++ {
		if l.parts.m[p] != nil || l.marks.read[p].Generation > 0 {
			all = append(all, p)
		}
	}
	return all
}

// checkMark compares a partition's log with its high-water mark.
func (l *Log) checkMark(p entity.Partition) error {
	mark, ok := l.marks.read[p]
	if !ok {
		return nil
	}
	part := l.part(p)
	missing := part.last.Load() < mark.Last && part.mark.Load() < mark.Last // and not truncated behind the marker
	if part.gen < mark.Generation || (part.gen == mark.Generation && missing) {
		return fault.New(fault.Corrupt,
			"partition %d: the log DB has lost synced writes: it ends at entry %d of generation %d, its mark says entry %d of generation %d",
			p, part.last.Load(), part.gen, mark.Last, mark.Generation)
	}
	return nil
}

// commit is sync, for all but a drop itself. It refuses what a drop that has
// begun would take away again.
func (l *Log) commit(part *logPart, b *pebble.Batch, last uint64) error {
	if part.dropping {
		return errors.Join(fmt.Errorf("partition %d: write to the log DB: a drop of the partition has begun", part.p), b.Close())
	}
	return l.sync(part, b, last)
}

// sync syncs a batch of a partition whose lock is held, and moves its mark.
func (l *Log) sync(part *logPart, b *pebble.Batch, last uint64) error {
	var value [8]byte
	var key [5]byte
	binary.BigEndian.PutUint64(value[:], part.gen+1)
	err := b.Set(logKey(key[:0], part.p, kindGeneration), value[:], nil)
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		return l.failed(part.p, err)
	}
	part.gen++
	if err := l.marks.set(Mark{Partition: part.p, Generation: part.gen, Last: last}); err != nil {
		return l.failed(part.p, fmt.Errorf("write mark: %w", err))
	}
	return nil
}

// failed halts: what a restart would find is not known.
func (l *Log) failed(p entity.Partition, err error) error {
	err = fmt.Errorf("partition %d: write to the log DB: %w", p, corrupt(err))
	l.store.Halt(err)
	return err
}

// Append stores entries, and stable values with them if there are any, in one
// synced commit. Entries at indexes that exist are overwritten; gaps are allowed.
func (l *Log) Append(p entity.Partition, entries []LogEntry, stable ...KV) error {
	if len(entries) == 0 && len(stable) == 0 {
		return nil
	}
	size, large := 64, 0
	for i := range entries {
		size += len(entries[i].Data) + 32
		large += bulkOf(len(entries[i].Data))
	}
	part := l.part(p)
	part.mu.Lock()
	defer part.mu.Unlock()
	b := l.db.NewBatchWithSize(size)
	first, last := part.first.Load(), part.last.Load()
	var key [13]byte
	for i := range entries {
		e := &entries[i]
		if e.Index == 0 {
			return errors.Join(fmt.Errorf("partition %d: log entry at index 0", p), b.Close())
		}
		if err := b.Set(entryKey(key[:0], p, e.Index), e.Data, nil); err != nil {
			return l.failed(p, errors.Join(err, b.Close()))
		}
		if first == 0 || e.Index < first {
			first = e.Index
		}
		last = max(last, e.Index)
	}
	if err := setStable(b, p, stable); err != nil {
		return l.failed(p, errors.Join(err, b.Close()))
	}
	if err := l.commit(part, b, last); err != nil {
		return err
	}
	part.first.Store(first)
	part.last.Store(last)
	part.bytes.Add(uint64(size))
	if err := l.bulk.wrote(large); err != nil {
		return l.failed(p, err)
	}
	return nil
}

func setStable(b *pebble.Batch, p entity.Partition, stable []KV) error {
	for _, kv := range stable {
		if err := b.Set(append(logKey(nil, p, kindStable), kv.Key...), kv.Value, nil); err != nil {
			return err
		}
	}
	return nil
}

// Get appends the entry at index to dst, or returns ErrNoEntry.
func (l *Log) Get(dst []byte, p entity.Partition, index uint64) ([]byte, error) {
	var key [13]byte
	dst, ok, err := get(l.db, dst, entryKey(key[:0], p, index))
	if err != nil {
		return dst, fmt.Errorf("log entry %d: %w", index, err)
	}
	if !ok {
		return dst, fmt.Errorf("partition %d: index %d: %w", p, index, ErrNoEntry)
	}
	return dst, nil
}

// Scan calls visit for every entry in [from, to], in order; the bytes are lent.
// Entries that a gap leaves out are not reported.
func (l *Log) Scan(p entity.Partition, from, to uint64, visit func(index uint64, data []byte) error) (err error) {
	upper := logKey(nil, p, kindEntry+1)
	if to != ^uint64(0) {
		upper = entryKey(nil, p, to+1)
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(nil, p, from), UpperBound: upper})
	if err != nil {
		return fmt.Errorf("partition %d: scan log: %w", p, corrupt(err))
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		index, err := indexOf(it.Key())
		if err != nil {
			return err
		}
		data, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("partition %d: log entry %d: %w", p, index, corrupt(err))
		}
		if err := visit(index, data); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("partition %d: scan log: %w", p, corrupt(err))
	}
	return nil
}

// First returns the index of the first entry, 0 if there is none.
func (l *Log) First(p entity.Partition) uint64 { return l.part(p).first.Load() }

// Last returns the index of the last entry, 0 if there is none.
func (l *Log) Last(p entity.Partition) uint64 { return l.part(p).last.Load() }

// BytesSinceMarker returns about how many bytes of entries were appended to the
// partition since its marker was set, or since the start.
func (l *Log) BytesSinceMarker(p entity.Partition) uint64 { return l.part(p).bytes.Load() }

// DeletePrefix removes all entries up to and including through. It refuses to
// go beyond the marker: until then the log is the only copy of what the
// entries did. It is not synced; a crash may bring the entries back.
func (l *Log) DeletePrefix(p entity.Partition, through uint64) error {
	part := l.part(p)
	if marker := part.mark.Load(); through > marker {
		return fmt.Errorf("partition %d: truncate the log through %d: the marker on disk is at %d", p, through, marker)
	}
	part.mu.Lock()
	defer part.mu.Unlock()
	if err := l.db.DeleteRange(logKey(nil, p, kindEntry), entryKey(nil, p, through+1), pebble.NoSync); err != nil {
		return l.failed(p, err)
	}
	if err := l.loadBounds(part); err != nil {
		return l.failed(p, err)
	}
	return nil
}

// DeleteSuffix removes all entries from and including from.
func (l *Log) DeleteSuffix(p entity.Partition, from uint64) error {
	part := l.part(p)
	part.mu.Lock()
	defer part.mu.Unlock()
	first, last, err := l.before(p, from)
	if err != nil {
		return l.failed(p, err)
	}
	b := l.db.NewBatch()
	if err := b.DeleteRange(entryKey(nil, p, from), logKey(nil, p, kindEntry+1), nil); err != nil {
		return l.failed(p, errors.Join(err, b.Close()))
	}
	if err := l.commit(part, b, last); err != nil {
		return err
	}
	part.first.Store(first)
	part.last.Store(last)
	return nil
}

// before returns first and last index of the entries before an index.
func (l *Log) before(p entity.Partition, index uint64) (first, last uint64, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: logKey(nil, p, kindEntry), UpperBound: entryKey(nil, p, index)})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	if it.First() {
		if first, err = indexOf(it.Key()); err != nil {
			return 0, 0, err
		}
	}
	if it.Last() {
		last, err = indexOf(it.Key())
	}
	return first, last, err
}

// SetStable stores values of the stable store in one synced commit.
func (l *Log) SetStable(p entity.Partition, stable ...KV) error { return l.Append(p, nil, stable...) }

// GetStable returns a value of the stable store.
func (l *Log) GetStable(p entity.Partition, key []byte) ([]byte, bool, error) {
	value, ok, err := get(l.db, nil, append(logKey(nil, p, kindStable), key...))
	if err != nil {
		return nil, false, fmt.Errorf("stable value %q: %w", key, err)
	}
	return value, ok, nil
}
