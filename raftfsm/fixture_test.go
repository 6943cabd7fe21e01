package raftfsm

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// idOf is the n-th id of a test.
func idOf(n int) entity.ID {
	var id entity.ID
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

func requestOf(n int) command.RequestID {
	r := command.RequestID{0: 0xaa}
	binary.BigEndian.PutUint64(r[8:], uint64(n))
	return r
}

// entryOf is the log entry with the commands at an index.
func entryOf(index uint64, cmds ...command.Command) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: command.AppendEntry(nil, cmds)}
}

// fixture is a machine on a state of its own, and the log it was given.
type fixture struct {
	t        testing.TB
	state    *storage.State
	machine  *Machine
	index    uint64
	halted   error
	inFull   bool // dump shows every key of an index
	counting bool // dump shows counters
}

func newFixture(t testing.TB, p entity.Partition, dedup uint64) *fixture {
	t.Helper()
	f := &fixture{t: t, state: newState(t)}
	f.machine = f.open(p, dedup)
	return f
}

func (f *fixture) open(p entity.Partition, dedup uint64) *Machine {
	f.t.Helper()
	m, err := Open(Config{Partition: p, State: f.state, Halt: func(err error) { f.halted = err }, DedupEntries: dedup})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// apply runs one entry and returns its outcomes.
func (f *fixture) apply(cmds ...command.Command) []command.Outcome {
	f.t.Helper()
	f.index++
	outcomes, ok := f.machine.Apply(entryOf(f.index, cmds...)).([]command.Outcome)
	if !ok {
		f.t.Fatalf("entry %d has no outcomes; halted: %v", f.index, f.halted)
	}
	return outcomes
}

// digest is the state of the machine's partition.
func (f *fixture) digest() storage.Digest {
	f.t.Helper()
	return digestOf(f.t, f.state, f.machine.cfg.Partition)
}

func digestOf(t testing.TB, s *storage.State, p entity.Partition) storage.Digest {
	t.Helper()
	d, err := s.Digest(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
