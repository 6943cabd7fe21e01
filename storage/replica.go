package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Replica returns the number of the replica of a partition that the store
// holds, 0 if none. It is the old number until Drop has come to its end.
func (s *Store) Replica(p entity.Partition) (uint32, error) { return s.logDB.replica(p) }

// Replicas returns the partitions of which the store holds a replica, with the
// numbers of these.
func (s *Store) Replicas() (map[entity.Partition]uint32, error) {
	held := make(map[entity.Partition]uint32)
	for _, p := range s.logDB.Partitions() {
		number, err := s.logDB.replica(p)
		if err != nil {
			return nil, err
		}
		if number != 0 {
			held[p] = number
		}
	}
	return held, nil
}

// Adopt notes, durably, that the store holds a replica of a partition, by its
// number. It comes before anything else of the replica is written, and does
// nothing if the store holds this one. It refuses when there is another, or data
// of which it is not known whose they were: Drop comes first.
func (s *Store) Adopt(p entity.Partition, number uint32) error {
	if number == 0 {
		return fmt.Errorf("partition %d: adopt replica 0: numbers begin at 1", p)
	}
	known, err := s.Replica(p)
	if err != nil {
		return err
	}
	if known == 0 {
		if err := s.mustBeEmpty(p); err != nil {
			return fmt.Errorf("adopt replica %d: %w", number, err)
		}
	}
	return s.logDB.adopt(p, number)
}

// mustBeEmpty returns an error if one of the databases holds anything of p.
func (s *Store) mustBeEmpty(p entity.Partition) error {
	lower, upper := keys.PartitionRange(p)
	within := &pebble.IterOptions{LowerBound: lower, UpperBound: upper}
	for _, db := range []struct {
		name string
		*pebble.DB
	}{{"log", s.logDB.db}, {"state", s.state.db}} {
		list, err := partitionsIn(db.DB, within)
		if err != nil {
			return fmt.Errorf("partition %d: look into the %s DB: %w", p, db.name, err)
		}
		if len(list) > 0 {
			return fmt.Errorf("partition %d: the %s DB holds data of no known replica", p, db.name)
		}
	}
	return nil
}

// Partitions returns the partitions of which the store holds anything, in one
// database or in both, in order.
func (s *Store) Partitions() ([]entity.Partition, error) {
	inLog, err := partitionsIn(s.logDB.db, nil)
	if err != nil {
		return nil, fmt.Errorf("partitions of the log DB: %w", err)
	}
	inState, err := partitionsIn(s.state.db, nil)
	if err != nil {
		return nil, fmt.Errorf("partitions of the state DB: %w", err)
	}
	var all []entity.Partition
	for len(inLog) > 0 || len(inState) > 0 {
		switch {
		case len(inState) == 0 || (len(inLog) > 0 && inLog[0] < inState[0]):
			all, inLog = append(all, inLog[0]), inLog[1:]
		case len(inLog) == 0 || inState[0] < inLog[0]:
			all, inState = append(all, inState[0]), inState[1:]
		default:
			all, inLog, inState = append(all, inLog[0]), inLog[1:], inState[1:]
		}
	}
	return all, nil
}

// partitionsIn lists the partitions of which a database holds a key. The
// generation, which stays behind when a replica is dropped, does not count.
func partitionsIn(db *pebble.DB, within *pebble.IterOptions) (list []entity.Partition, err error) {
	it, err := db.NewIter(within)
	if err != nil {
		return nil, corrupt(err)
	}
	defer func() { err = corrupt(errors.Join(err, it.Error(), it.Close())) }()
	for ok := it.First(); ok; {
		key := it.Key()
		p, known := keys.PartitionOf(key)
		if !known || p > maxPartition {
			return nil, fault.New(fault.Corrupt, "key %x", key)
		}
		if len(key) == 5 && key[4] == kindGeneration {
			ok = it.Next()
			continue
		}
		list = append(list, p)
		_, next := keys.PartitionRange(p)
		ok = it.SeekGE(next)
	}
	return list, nil
}

func (l *Log) replica(p entity.Partition) (uint32, error) {
	raw, ok, err := get(l.db, nil, logKey(nil, p, kindReplica))
	if err != nil || !ok {
		return 0, err
	}
	if len(raw) != 4 {
		return 0, fault.New(fault.Corrupt, "partition %d: number of the replica of %d bytes", p, len(raw))
	}
	return binary.BigEndian.Uint32(raw), nil
}

func (l *Log) adopt(p entity.Partition, number uint32) error {
	part := l.part(p)
	part.mu.Lock()
	defer part.mu.Unlock()
	known, err := l.replica(p)
	if err != nil {
		return err
	}
	switch {
	case known == number && !part.dropping:
		return nil
	case known != 0:
		return fmt.Errorf("partition %d: adopt replica %d: the store holds replica %d", p, number, known)
	}
	b := l.db.NewBatch()
	if err := b.Set(logKey(nil, p, kindReplica), binary.BigEndian.AppendUint32(nil, number), nil); err != nil {
		return l.failed(p, errors.Join(err, b.Close()))
	}
	return l.commit(part, b, part.last.Load())
}
