package nodetest

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// Machines are partitions of a node without the node: a store on a disk in memory, and for
// each partition a real state machine with its log. What is above them in a node is the
// test's own.
type Machines struct {
	t        testing.TB
	cfg      MachinesConfig
	disk     *storagetest.Disk
	store    *storage.Store
	machines map[entity.Partition]*raftfsm.Machine
	logs     map[entity.Partition][]*raft.Log
}

// MachinesConfig says which machines there are.
type MachinesConfig struct {
	Partitions    []entity.Partition
	DedupEntries  uint64                 // see raftfsm.Config
	MemtableBytes uint64                 // of the state, and as many of the cache
	Tasked        func(entity.Partition) // is told when tasks of a partition have changed; may be nil
}

// StartMachines starts machines. The caller ends them with Close.
func StartMachines(t testing.TB, cfg MachinesConfig) *Machines {
	t.Helper()
	m := &Machines{t: t, cfg: cfg, disk: storagetest.NewDisk(), logs: map[entity.Partition][]*raft.Log{}}
	if err := m.disk.MkdirAll(storagetest.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := m.disk.OpenDir("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Sync(); err != nil { // the folder outlives a crash
		t.Fatal(err)
	}
	if err := root.Close(); err != nil {
		t.Fatal(err)
	}
	m.open()
	return m
}

// open starts the machines and gives them what their logs have.
func (m *Machines) open() {
	m.t.Helper()
	cfg := storage.DefaultConfig(storagetest.Dir)
	cfg.FS = m.disk
	cfg.CacheBytes, cfg.StateMemtableBytes, cfg.LogMemtableBytes = int64(m.cfg.MemtableBytes), m.cfg.MemtableBytes, 256<<10
	cfg.Log = slog.New(slog.DiscardHandler)
	cfg.Halt = func(err error) { m.t.Errorf("storage halted: %v", err) }
	var err error
	if m.store, err = storage.Open(cfg); err != nil {
		m.t.Fatal(err)
	}
	m.machines = map[entity.Partition]*raftfsm.Machine{}
	for _, p := range m.cfg.Partitions {
		machine, err := raftfsm.Open(raftfsm.Config{
			Partition: p, State: m.store.State(), DedupEntries: m.cfg.DedupEntries,
			Halt: func(err error) { m.t.Errorf("halted: %v", err) },
			Tasked: func() {
				if m.cfg.Tasked != nil {
					m.cfg.Tasked(p)
				}
			},
		})
		if err != nil {
			m.t.Fatal(err)
		}
		for _, entry := range m.logs[p] {
			machine.ApplyBatch([]*raft.Log{entry})
		}
		m.machines[p] = machine
	}
}

// Close checks the partitions and closes the store.
func (m *Machines) Close() {
	m.t.Helper()
	for _, p := range m.cfg.Partitions {
		v := m.View(p)
		report, err := raftfsm.Check(context.Background(), v)
		if err != nil {
			m.t.Error(err)
		}
		if err := v.Close(); err != nil {
			m.t.Error(err)
		}
		for _, problem := range report.Problems {
			m.t.Error(problem)
		}
	}
	if err := m.store.Close(); err != nil {
		m.t.Error(err)
	}
}

// Crash cuts the power: the state goes back to what was flushed, the logs stay.
func (m *Machines) Crash(rng *rand.Rand) {
	m.t.Helper()
	after := storagetest.CutPower(m.disk, rng.IntN(101), rng)
	if err := m.store.Close(); err != nil {
		m.t.Error(err)
	}
	m.disk = after
	m.open()
}

// State is the state of all partitions.
func (m *Machines) State() *storage.State { return m.store.State() }

// View shows a partition as it is. The caller closes it.
func (m *Machines) View(p entity.Partition) *storage.View { return m.store.State().View(p) }

// Entries is how many entries the log of a partition has.
func (m *Machines) Entries(p entity.Partition) int { return len(m.logs[p]) }

// Apply appends a command to the log of a partition and applies it; without a time of its
// own it has the time of now. Entries, Apply, Crash and Close are called one at a time.
func (m *Machines) Apply(p entity.Partition, cmd command.Command) command.Outcome {
	if cmd.Time == 0 {
		cmd.Time = time.Now().UnixMilli()
	}
	entry := &raft.Log{Index: uint64(len(m.logs[p]) + 1), Term: 1, Type: raft.LogCommand, Data: command.AppendEntry(nil, []command.Command{cmd})}
	m.logs[p] = append(m.logs[p], entry)
	return m.machines[p].Apply(entry).([]command.Outcome)[0]
}
