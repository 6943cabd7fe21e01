package raftlog

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// End returns the index of the last entry of a partition's log that may have been
// committed: all but a tail that a received snapshot contradicts, which nobody
// removed because no append has come since. Without entries it is the marker's.
// It also returns the newest configuration up to there, by the names of its servers,
// nil if there is none.
func End(s *storage.Store, p entity.Partition) (last uint64, servers []string, err error) {
	marker, found, err := s.Log().Marker(p)
	if err != nil {
		return 0, nil, err
	}
	last = marker.Index
	if found {
		servers = names(raft.DecodeConfiguration(marker.Configuration))
	}
	tail := errors.New("the rest was never committed")
	err = s.Log().Scan(p, marker.Index+1, ^uint64(0), func(index uint64, data []byte) error {
		var e raft.Log
		if err := decodeEntry(data, &e); err != nil {
			return fmt.Errorf("partition %d: index %d: %w", p, index, err)
		}
		if e.Term < marker.Term {
			return tail
		}
		if e.Type == raft.LogConfiguration {
			servers = names(raft.DecodeConfiguration(e.Data))
		}
		last = index
		return nil
	})
	if errors.Is(err, tail) {
		err = nil
	}
	return last, servers, err
}

func names(c raft.Configuration) []string {
	list := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		list[i] = string(s.ID)
	}
	return list
}

// StandAlone makes a replica the only server of its group, while no Raft runs:
// the next one to start finds a snapshot at the index that the state has come
// to, in the newest term known, and no log. The state has applied all of the log
// by then. What a crash leaves is the group as it was or as it becomes, and to
// call it again is harmless.
//
// The term of the snapshot need not be that of the entry at its index: nobody
// else will ever compare them, and a newer one only makes later entries newer.
func StandAlone(s *storage.Store, p entity.Partition, server string) error {
	applied, err := s.State().Applied(p)
	if err != nil {
		return err
	}
	own := &Store{store: s, log: s.Log(), partition: p} // not Open: a restored state has no log behind it
	term, err := own.GetUint64([]byte(keyCurrentTerm))
	if err != nil {
		return err
	}
	last, _, err := End(s, p)
	if err != nil {
		return err
	}
	if applied < last || applied == 0 {
		return fmt.Errorf("partition %d: the state is at index %d, its log ends at %d", p, applied, last)
	}
	term = max(term, 1)
	if err := s.Log().SetStable(p, kvUint64(keyCurrentTerm, term)); err != nil {
		return err
	}
	id := raft.ServerID(server)
	only := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: id, Address: raft.ServerAddress(id)}}}
	_, err = s.Log().SetMarker(p, storage.Marker{
		Index: applied, Term: term, ConfigurationIndex: applied, Configuration: raft.EncodeConfiguration(only),
	}, nil)
	if err != nil {
		return err
	}
	if s.Log().Last(p) > applied {
		if err := s.Log().DeleteSuffix(p, applied+1); err != nil {
			return err
		}
	}
	return s.Log().DeletePrefix(p, applied)
}
