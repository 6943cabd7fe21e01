package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Kinds of keys in the log DB; docs/format/log.md draws them.
const (
	logEntry  = 'l' // partition 4 · 'l' · index 8 → entry
	logStable = 's' // partition 4 · 's' · name → value
	logMarker = 'm' // partition 4 · 'm' → index 8 · marker
)

// LogEntry is one entry of a partition's log.
type LogEntry struct {
	Index uint64
	Data  []byte
}

// Log is the log DB. Its methods are safe for concurrent use by different
// partitions; of one partition at most one call may change it at a time.
type Log struct {
	db    *pebble.DB
	marks *marks
	halt  func(error)

	mu     sync.RWMutex
	bounds map[entity.Partition]logBounds
}

// logBounds are the first and last index of a log, both 0 if it is empty.
// There may be gaps between them, after a received snapshot.
type logBounds struct{ first, last, marker uint64 }

// openLog opens the log DB and compares every partition's last index with its
// high-water mark.
func openLog(cfg *Config, dir string, cache *pebble.Cache, m *marks, fresh bool) (*Log, error) {
	o := baseOptions(cfg, cache, "log")
	o.MemTableSize = cfg.LogMemtableBytes
	o.ErrorIfNotExists = !fresh
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, openError("log", err)
	}
	l := &Log{db: db, marks: m, halt: cfg.Halt, bounds: map[entity.Partition]logBounds{}}
	if err := l.load(fresh); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

// load finds the bounds of every partition that has keys or a mark.
func (l *Log) load(fresh bool) error {
	it, err := l.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("read log database: %w", classify(err))
	}
	for ok := it.First(); ok; {
		if fresh {
			return errors.Join(damaged("the log database holds entries, but the file %s is missing", identityName), it.Close())
		}
		p, valid := partitionOf(it.Key())
		if !valid {
			return errors.Join(damaged("log database: key %x", it.Key()), it.Close())
		}
		b, err := l.readBounds(p)
		if err != nil {
			return errors.Join(err, it.Close())
		}
		l.bounds[p] = b
		ok = it.SeekGE(binary.BigEndian.AppendUint32(nil, uint32(p)+1))
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("read log database: %w", classify(err))
	}
	for p, mark := range l.marks.last {
		if have := max(l.bounds[p].last, l.bounds[p].marker); have < mark {
			return damaged("partition %d: the log ends at %d, but entries up to %d were acknowledged: its newest part is damaged", p, have, mark)
		}
	}
	return nil
}

func partitionOf(k []byte) (entity.Partition, bool) {
	if len(k) < 5 {
		return 0, false
	}
	return entity.Partition(binary.BigEndian.Uint32(k)), true
}

func (l *Log) readBounds(p entity.Partition) (b logBounds, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(p, 0), UpperBound: logKey(p, logEntry+1)})
	if err != nil {
		return b, fmt.Errorf("partition %d: read log: %w", p, classify(err))
	}
	defer func() {
		if cerr := it.Close(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("partition %d: read log: %w", p, classify(cerr)))
		}
	}()
	if it.First() {
		b.first = binary.BigEndian.Uint64(it.Key()[5:])
		if it.Last() {
			b.last = binary.BigEndian.Uint64(it.Key()[5:])
		}
	}
	b.marker, _, err = l.Marker(p)
	return b, err
}

func logKey(p entity.Partition, kind byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 16), uint32(p)), kind)
}

func entryKey(p entity.Partition, index uint64) []byte {
	return binary.BigEndian.AppendUint64(logKey(p, logEntry), index)
}

func (l *Log) boundsOf(p entity.Partition) logBounds {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.bounds[p]
}

func (l *Log) changeBounds(p entity.Partition, change func(*logBounds)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bounds[p]
	change(&b)
	l.bounds[p] = b
}

// First returns the first index in a partition's log, 0 if it is empty.
func (l *Log) First(p entity.Partition) uint64 { return l.boundsOf(p).first }

// Last returns the last index in a partition's log, 0 if it is empty.
func (l *Log) Last(p entity.Partition) uint64 { return l.boundsOf(p).last }

// Append writes entries in ascending order and returns once they are on disk.
// Concurrent appends, of any partitions, share one sync.
func (l *Log) Append(p entity.Partition, entries []LogEntry) error {
	return l.AppendWith(p, entries, nil)
}

// Stable is a value of Raft's stable store.
type Stable struct {
	Name  string
	Value []byte
}

// AppendWith writes entries and stable values in one step and returns once
// they are on disk.
func (l *Log) AppendWith(p entity.Partition, entries []LogEntry, stable []Stable) error {
	if len(entries) == 0 && len(stable) == 0 {
		return nil
	}
	err := l.commit(func(b *pebble.Batch) error {
		for i := range entries {
			if err := b.Set(entryKey(p, entries[i].Index), entries[i].Data, nil); err != nil {
				return err
			}
		}
		for _, s := range stable {
			if err := b.Set(append(logKey(p, logStable), s.Name...), s.Value, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("partition %d: append to log: %w", p, err)
	}
	if len(entries) == 0 {
		return nil
	}
	first, last := entries[0].Index, entries[len(entries)-1].Index
	l.changeBounds(p, func(b *logBounds) {
		if b.first == 0 || first < b.first {
			b.first = first
		}
		b.last = max(b.last, last)
	})
	if err := l.marks.set(p, max(last, l.marks.get(p)), false); err != nil {
		l.halt(err)
		return err
	}
	return nil
}

func (l *Log) commit(fill func(*pebble.Batch) error) (err error) {
	b := l.db.NewBatch()
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := fill(b); err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

// SetStable writes values of Raft's stable store in one step and returns once
// they are on disk.
func (l *Log) SetStable(p entity.Partition, values ...Stable) error {
	return l.AppendWith(p, nil, values)
}

// GetStable reads a value of Raft's stable store.
func (l *Log) GetStable(p entity.Partition, name string) ([]byte, bool, error) {
	return get(l.db, nil, append(logKey(p, logStable), name...))
}

// Get appends an entry's data to dst and reports whether there is one.
func (l *Log) Get(dst []byte, p entity.Partition, index uint64) ([]byte, bool, error) {
	return get(l.db, dst, entryKey(p, index))
}

// DeletePrefix drops the entries up to and including through. It refuses to go
// beyond the partition's marker: until the state DB is flushed the log is the
// only copy of what they did.
func (l *Log) DeletePrefix(p entity.Partition, through uint64) error {
	b := l.boundsOf(p)
	if through > b.marker {
		return fmt.Errorf("partition %d: log may be dropped up to its marker %d, not up to %d", p, b.marker, through)
	}
	return l.deleteRange(p, b.first, min(through, b.last))
}

// DeleteSuffix drops the entries from from on.
func (l *Log) DeleteSuffix(p entity.Partition, from uint64) error {
	b := l.boundsOf(p)
	if b.last == 0 || from > b.last {
		return nil
	}
	// The mark goes first: a log that is shorter than its mark is taken for damage.
	if err := l.marks.set(p, min(l.marks.get(p), from-1), true); err != nil {
		return err
	}
	return l.deleteRange(p, max(from, b.first), b.last)
}

func (l *Log) deleteRange(p entity.Partition, from, to uint64) error {
	if from == 0 || to < from {
		return nil
	}
	err := l.commit(func(b *pebble.Batch) error { return b.DeleteRange(entryKey(p, from), entryKey(p, to+1), nil) })
	if err != nil {
		return fmt.Errorf("partition %d: delete log entries %d to %d: %w", p, from, to, err)
	}
	found, err := l.readBounds(p)
	if err != nil {
		return err
	}
	l.changeBounds(p, func(b *logBounds) { *b = found })
	return nil
}

// SetMarker records a marker durably, unless a newer one is recorded: a local
// snapshot may finish after a received one.
func (l *Log) SetMarker(p entity.Partition, index uint64, data []byte) error {
	if index < l.boundsOf(p).marker {
		return nil
	}
	err := l.commit(func(b *pebble.Batch) error {
		return b.Set(logKey(p, logMarker), append(binary.BigEndian.AppendUint64(nil, index), data...), nil)
	})
	if err != nil {
		return fmt.Errorf("partition %d: write marker: %w", p, err)
	}
	l.changeBounds(p, func(b *logBounds) { b.marker = max(b.marker, index) })
	return nil
}

// Marker returns the partition's marker, index 0 if there is none.
func (l *Log) Marker(p entity.Partition) (index uint64, data []byte, err error) {
	v, ok, err := get(l.db, nil, logKey(p, logMarker))
	if err != nil || !ok {
		return 0, nil, err
	}
	if len(v) < 8 {
		return 0, nil, fault.New(fault.Corrupt, "partition %d: marker of %d bytes", p, len(v))
	}
	return binary.BigEndian.Uint64(v), v[8:], nil
}
