package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Names in the library's stable store.
const (
	keyCurrentTerm  = "CurrentTerm"
	keyLastVoteTerm = "LastVoteTerm"
)

// Store is the raft.LogStore and raft.StableStore of one partition. It is safe
// for concurrent use.
type Store struct {
	store     *storage.Store
	log       *storage.Log
	partition entity.Partition

	mu struct {
		sync.Mutex
		held []storage.KV // first halves of pairs, written with the second
	}
}

// Open returns the store of a partition. The storage has brought the partition
// to its marker already. After the partition was dropped the store is of no use
// any more: the next replica has one of its own. Fault: Corrupt, if the state is
// not one that this log can have led to.
func Open(s *storage.Store, p entity.Partition) (*Store, error) {
	m, ok, err := s.Log().Marker(p)
	if err != nil {
		return nil, err
	}
	applied, err := s.State().Applied(p)
	if err != nil {
		return nil, err
	}
	switch {
	case applied < m.Index:
		return nil, fault.New(fault.Corrupt, "partition %d: the state is at index %d, its marker at %d", p, applied, m.Index)
	case !ok && applied > s.Log().Last(p):
		return nil, fault.New(fault.Corrupt, "partition %d: the state is at index %d, its log ends at %d, and there is no marker", p, applied, s.Log().Last(p))
	}
	return &Store{store: s, log: s.Log(), partition: p}, nil
}

// FirstIndex implements raft.LogStore.
func (s *Store) FirstIndex() (uint64, error) { return s.log.First(s.partition), nil }

// LastIndex implements raft.LogStore.
func (s *Store) LastIndex() (uint64, error) { return s.log.Last(s.partition), nil }

// GetLog implements raft.LogStore.
func (s *Store) GetLog(index uint64, entry *raft.Log) error {
	data, err := s.log.Get(nil, s.partition, index)
	if errors.Is(err, storage.ErrNoEntry) {
		return raft.ErrLogNotFound
	}
	if err != nil {
		return err
	}
	if err := decodeEntry(data, entry); err != nil {
		return fmt.Errorf("partition %d: index %d: %w", s.partition, index, err)
	}
	entry.Index = index
	return nil
}

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. All entries are on disk when it returns.
func (s *Store) StoreLogs(entries []*raft.Log) error {
	size := 0
	for _, e := range entries {
		size += len(e.Data) + len(e.Extensions) + 32
	}
	arena := make([]byte, 0, size) // never grows: 32 is more than a header takes
	records := make([]storage.LogEntry, len(entries))
	for i, e := range entries {
		start := len(arena)
		arena = appendEntry(arena, e)
		records[i] = storage.LogEntry{Index: e.Index, Data: arena[start:]}
	}
	return s.log.Append(s.partition, records, s.takeHeld()...)
}

// DeleteRange implements raft.LogStore. The library deletes either entries that
// a marker covers, from the front, or a tail that was never committed.
func (s *Store) DeleteRange(low, high uint64) error {
	if low <= s.log.First(s.partition) && high < s.log.Last(s.partition) {
		return s.log.DeletePrefix(s.partition, high)
	}
	if high < s.log.Last(s.partition) {
		return fmt.Errorf("partition %d: delete log entries %d to %d: neither head nor tail of the log", s.partition, low, high)
	}
	marker, _, err := s.log.Marker(s.partition)
	if err != nil {
		return err
	}
	if high <= marker.Index {
		return s.log.DeletePrefix(s.partition, high)
	}
	return s.log.DeleteSuffix(s.partition, low)
}

// Set implements raft.StableStore.
func (s *Store) Set(key, value []byte) error {
	return s.log.SetStable(s.partition, append(s.takeHeld(), storage.KV{Key: key, Value: value})...)
}

// SetUint64 implements raft.StableStore. Two values are held back until their
// other half is written, so that a crash never leaves one without the other:
// the term of a vote (else the voter takes the name of an older vote for this
// term's), and the first term of a bootstrap (else the node is neither empty
// nor configured).
func (s *Store) SetUint64(key []byte, value uint64) error {
	kv := kvUint64(string(key), value)
	if string(key) == keyLastVoteTerm {
		s.hold(kv)
		return nil
	}
	if string(key) == keyCurrentTerm && value == 1 && s.log.Last(s.partition) == 0 {
		marker, _, err := s.log.Marker(s.partition)
		if err != nil {
			return err
		}
		_, known, err := s.log.GetStable(s.partition, key)
		if err != nil {
			return err
		}
		if !known && marker.Index == 0 {
			s.hold(kv)
			return nil
		}
	}
	return s.log.SetStable(s.partition, append(s.takeHeld(), kv)...)
}

func kvUint64(key string, value uint64) storage.KV {
	return storage.KV{Key: []byte(key), Value: binary.BigEndian.AppendUint64(nil, value)}
}

func (s *Store) hold(kv storage.KV) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.held = append(s.mu.held, kv)
}

func (s *Store) takeHeld() []storage.KV {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.mu.held
	s.mu.held = nil
	return held
}

// Get implements raft.StableStore. It sees what is held back.
func (s *Store) Get(key []byte) ([]byte, error) {
	if value := s.heldValue(key); value != nil {
		return value, nil
	}
	value, _, err := s.log.GetStable(s.partition, key)
	return value, err
}

func (s *Store) heldValue(key []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.mu.held) - 1; i >= 0; i-- {
		if string(s.mu.held[i].Key) == string(key) {
			return s.mu.held[i].Value
		}
	}
	return nil
}

// GetUint64 implements raft.StableStore.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err != nil || len(value) == 0 {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fault.New(fault.Corrupt, "partition %d: stable value %q has %d bytes", s.partition, key, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// BytesSinceMarker returns about how many bytes of entries were appended since
// the marker was set, or since the start.
func (s *Store) BytesSinceMarker() uint64 { return s.log.BytesSinceMarker(s.partition) }
