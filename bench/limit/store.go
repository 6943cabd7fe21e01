package limit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// Keys of the log database: 'l' and an index for entries, 's' and a name for
// the stable store.
const (
	logSpace    = 'l'
	stableSpace = 's'
)

// logStore keeps Raft's log and stable values in one Pebble database; every
// write is synced.
type logStore struct{ db *pebble.DB }

var errNotFound = errors.New("not found") // raft knows an absent stable value by this text

func logKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{logSpace}, index)
}

// edge reads the first or last index of the log, 0 if it is empty.
func (s *logStore) edge(last bool) (index uint64, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{logSpace}, UpperBound: []byte{logSpace + 1}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	found := false
	if last {
		found = it.Last()
	} else {
		found = it.First()
	}
	if !found {
		return 0, it.Error()
	}
	return binary.BigEndian.Uint64(it.Key()[1:]), nil
}

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (uint64, error) { return s.edge(false) }

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (uint64, error) { return s.edge(true) }

// GetLog implements raft.LogStore.
func (s *logStore) GetLog(index uint64, log *raft.Log) error {
	v, closer, err := s.db.Get(logKey(index))
	if errors.Is(err, pebble.ErrNotFound) {
		return raft.ErrLogNotFound
	}
	if err != nil {
		return err
	}
	if len(v) < 17 {
		return errors.Join(fmt.Errorf("log entry %d has %d bytes", index, len(v)), closer.Close())
	}
	log.Index, log.Term, log.Type = index, binary.BigEndian.Uint64(v), raft.LogType(v[8])
	log.AppendedAt = time.Unix(0, int64(binary.BigEndian.Uint64(v[9:])))
	log.Data = append([]byte(nil), v[17:]...)
	return closer.Close()
}

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	b := s.db.NewBatch()
	defer b.Close() //nolint:errcheck // after Commit there is nothing left to fail
	for _, l := range logs {
		op := b.SetDeferred(9, 17+len(l.Data))
		op.Key[0] = logSpace
		binary.BigEndian.PutUint64(op.Key[1:], l.Index)
		binary.BigEndian.PutUint64(op.Value, l.Term)
		op.Value[8] = byte(l.Type)
		binary.BigEndian.PutUint64(op.Value[9:], uint64(l.AppendedAt.UnixNano()))
		copy(op.Value[17:], l.Data)
		if err := op.Finish(); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

// DeleteRange implements raft.LogStore.
func (s *logStore) DeleteRange(low, high uint64) error {
	return s.db.DeleteRange(logKey(low), logKey(high+1), pebble.Sync)
}

// Set implements raft.StableStore.
func (s *logStore) Set(key, value []byte) error {
	return s.db.Set(append([]byte{stableSpace}, key...), value, pebble.Sync)
}

// Get implements raft.StableStore.
func (s *logStore) Get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(append([]byte{stableSpace}, key...))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, errNotFound
	}
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), v...), closer.Close()
}

// SetUint64 implements raft.StableStore.
func (s *logStore) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 implements raft.StableStore.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("stable value %q has %d bytes", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}
