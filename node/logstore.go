package node

import (
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm"
)

// meteredLog is a raft.LogStore that counts what is appended.
type meteredLog struct {
	raft.LogStore
	appended atomic.Uint64 // bytes since the node started
	stall    stall
}

// StoreLog implements raft.LogStore.
func (l *meteredLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l *meteredLog) StoreLogs(entries []*raft.Log) error {
	l.stall.begin()
	err := l.LogStore.StoreLogs(entries)
	l.stall.end()
	if err != nil {
		return err
	}
	var n uint64
	for _, e := range entries {
		n += uint64(len(e.Data))
	}
	l.appended.Add(n)
	return nil
}

// meteredMachine is a state machine whose applies can be seen to hang.
type meteredMachine struct {
	*raftfsm.Machine
	stall stall
}

// ApplyBatch implements raft.BatchingFSM.
func (m *meteredMachine) ApplyBatch(entries []*raft.Log) []any {
	m.stall.begin()
	defer m.stall.end()
	return m.Machine.ApplyBatch(entries)
}

// stall notices work that does not end. The work counts up by one when it begins
// and by one when it ends; a watcher looks now and then. Time is measured in
// looks, so that a process that was stopped for a while has not stalled.
type stall struct {
	steps atomic.Uint64 // odd: under way

	// The watcher's own.
	last  uint64
	looks int
}

func (s *stall) begin() { s.steps.Add(1) }
func (s *stall) end()   { s.steps.Add(1) }

// look returns how many looks in a row have seen the same piece of work.
func (s *stall) look() int {
	now := s.steps.Load()
	if now%2 == 0 || now != s.last {
		s.last, s.looks = now, 0
		return 0
	}
	s.looks++
	return s.looks
}
