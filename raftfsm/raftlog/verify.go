package raftlog

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Report is what Verify found of a partition's log. First and Last are 0 for
// an empty one.
type Report struct{ First, Last, Marker uint64 }

// Verify reads the log of a partition and checks that it continues the state:
// no entry after applied is missing, every one can be read, and terms never go
// back. Fault: Corrupt.
func Verify(s *storage.Store, p entity.Partition, applied uint64) (Report, error) {
	if _, err := Open(s, p); err != nil {
		return Report{}, err
	}
	r := Report{First: s.Log().First(p), Last: s.Log().Last(p)}
	marker, _, err := s.Log().Marker(p)
	if err != nil {
		return r, err
	}
	r.Marker = marker.Index
	next, term := applied+1, uint64(0)
	err = s.Log().Scan(p, 0, ^uint64(0), func(index uint64, data []byte) error {
		var e raft.Log
		if err := decodeEntry(data, &e); err != nil {
			return fmt.Errorf("partition %d: index %d: %w", p, index, err)
		}
		// A tail of an older term may stand behind a received snapshot until the
		// leader's next append removes it.
		if e.Term < term && index != marker.Index+1 {
			return fault.New(fault.Corrupt, "partition %d: term goes back from %d to %d at index %d", p, term, e.Term, index)
		}
		term = e.Term
		if index < next {
			return nil
		}
		if index > next {
			return fault.New(fault.Corrupt, "partition %d: the log misses the entries %d to %d", p, next, index-1)
		}
		next++
		return nil
	})
	return r, err
}
