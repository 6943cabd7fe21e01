package raftlog

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Names in Raft's stable store, as the library writes them.
const (
	keyCurrentTerm  = "CurrentTerm"
	keyLastVoteTerm = "LastVoteTerm"
)

// Store is the raft.LogStore and raft.StableStore of one partition. It is safe
// for concurrent use as Raft uses it. It does not claim to be monotonic: after
// a received snapshot the log has a gap.
type Store struct {
	store     *storage.Store
	log       *storage.Log
	partition entity.Partition

	mu   sync.Mutex
	held []storage.Stable // first halves of pairs that are written in one step
}

// Open returns the store of a partition. Fault: Corrupt if the state is behind
// its marker, for then the log no longer holds what is missing.
func Open(s *storage.Store, p entity.Partition) (*Store, error) {
	marker, _, err := s.Log().Marker(p)
	if err != nil {
		return nil, err
	}
	applied, err := s.State().Applied(p)
	if err != nil {
		return nil, err
	}
	if applied < marker {
		return nil, fault.New(fault.Corrupt, "partition %d: the state stands at entry %d, but was made durable up to %d: part of it is lost", p, applied, marker)
	}
	return &Store{store: s, log: s.Log(), partition: p}, nil
}

// FirstIndex implements raft.LogStore.
func (s *Store) FirstIndex() (uint64, error) { return s.log.First(s.partition), nil }

// LastIndex implements raft.LogStore.
func (s *Store) LastIndex() (uint64, error) { return s.log.Last(s.partition), nil }

// GetLog implements raft.LogStore.
func (s *Store) GetLog(index uint64, entry *raft.Log) error {
	data, ok, err := s.log.Get(nil, s.partition, index)
	if err != nil {
		return err
	}
	if !ok {
		return raft.ErrLogNotFound
	}
	if err := decodeEntry(data, entry); err != nil {
		return fmt.Errorf("partition %d: log entry %d: %w", s.partition, index, err)
	}
	entry.Index = index
	return nil
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. It returns once the entries are on disk.
func (s *Store) StoreLogs(entries []*raft.Log) error {
	records := make([]storage.LogEntry, len(entries))
	for i, e := range entries {
		records[i] = storage.LogEntry{Index: e.Index, Data: appendEntry(nil, e)}
	}
	return s.log.AppendWith(s.partition, records, s.takeHeld())
}

// DeleteRange implements raft.LogStore.
func (s *Store) DeleteRange(low, high uint64) error {
	if low <= s.log.First(s.partition) && high < s.log.Last(s.partition) {
		return s.log.DeletePrefix(s.partition, high)
	}
	return s.log.DeleteSuffix(s.partition, low)
}

// Set implements raft.StableStore.
func (s *Store) Set(key, value []byte) error {
	return s.log.SetStable(s.partition, append(s.takeHeld(), storage.Stable{Name: string(key), Value: value})...)
}

// SetUint64 implements raft.StableStore. Two writes wait for their other half,
// so that a crash never leaves one without it: the term of a vote for the name
// (else the voter takes an older name for this term's), and the first term of
// a bootstrap for the first entry.
func (s *Store) SetUint64(key []byte, value uint64) error {
	v := storage.Stable{Name: string(key), Value: binary.BigEndian.AppendUint64(nil, value)}
	first := v.Name == keyCurrentTerm && value == 1 && s.log.Last(s.partition) == 0
	if v.Name == keyLastVoteTerm || first {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held = append(s.held, v)
		return nil
	}
	return s.log.SetStable(s.partition, append(s.takeHeld(), v)...)
}

func (s *Store) takeHeld() []storage.Stable {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.held
	s.held = nil
	return held
}

// Get implements raft.StableStore.
func (s *Store) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	for i := len(s.held) - 1; i >= 0; i-- {
		if s.held[i].Name == string(key) {
			defer s.mu.Unlock()
			return s.held[i].Value, nil
		}
	}
	s.mu.Unlock()
	v, _, err := s.log.GetStable(s.partition, string(key))
	return v, err
}

// GetUint64 implements raft.StableStore.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil || len(v) == 0 {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fault.New(fault.Corrupt, "partition %d: stable value %q has %d bytes", s.partition, key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

const entryVersion = 1

// appendEntry appends the stored form of a log entry, without its index.
//
//	version 1 · type 1 · term uvarint · appended at (ns) varint ·
//	size of extensions uvarint · extensions · data
func appendEntry(dst []byte, e *raft.Log) []byte {
	dst = append(dst, entryVersion, byte(e.Type))
	dst = binary.AppendUvarint(dst, e.Term)
	var at int64
	if !e.AppendedAt.IsZero() {
		at = e.AppendedAt.UnixNano()
	}
	dst = binary.AppendVarint(dst, at)
	dst = binary.AppendUvarint(dst, uint64(len(e.Extensions)))
	dst = append(dst, e.Extensions...)
	return append(dst, e.Data...)
}

// decodeEntry reads what appendEntry wrote. Data aliases b.
func decodeEntry(b []byte, e *raft.Log) error {
	if len(b) < 2 || b[0] != entryVersion {
		return fault.New(fault.Corrupt, "bad header")
	}
	*e = raft.Log{Type: raft.LogType(b[1])}
	rest := b[2:]
	term, n := binary.Uvarint(rest)
	if n <= 0 {
		return fault.New(fault.Corrupt, "bad term")
	}
	rest = rest[n:]
	at, n := binary.Varint(rest)
	if n <= 0 {
		return fault.New(fault.Corrupt, "bad time")
	}
	rest = rest[n:]
	size, n := binary.Uvarint(rest)
	if n <= 0 || size > uint64(len(rest)-n) {
		return fault.New(fault.Corrupt, "bad extensions")
	}
	rest = rest[n:]
	e.Term = term
	if at != 0 {
		e.AppendedAt = time.Unix(0, at)
	}
	if size > 0 {
		e.Extensions = rest[:size]
	}
	e.Data = rest[size:]
	return nil
}

// Report is what Verify found of a partition's log.
type Report struct{ First, Last, Marker uint64 }

// Verify reads the log of a partition and checks that it continues the state:
// no entry after applied is missing, every one can be read. Fault: Corrupt.
func Verify(s *storage.Store, p entity.Partition, applied uint64) (Report, error) {
	store, err := Open(s, p)
	if err != nil {
		return Report{}, err
	}
	r := Report{First: store.log.First(p), Last: store.log.Last(p)}
	if r.Marker, _, err = store.log.Marker(p); err != nil {
		return r, err
	}
	if r.First > applied+1 {
		return r, fault.New(fault.Corrupt, "partition %d: the log begins at %d, the state ends at %d", p, r.First, applied)
	}
	var e raft.Log
	for i := r.First; i != 0 && i <= r.Last; i++ {
		switch err := store.GetLog(i, &e); {
		case err == nil:
		case i <= applied && err == raft.ErrLogNotFound: //nolint:errorlint // GetLog returns it bare
		default:
			return r, fmt.Errorf("partition %d: log entry %d: %w", p, i, err)
		}
	}
	return r, nil
}
