package limit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/bench/load"
)

// machine sets one key an entry in a database without a write-ahead log.
type machine struct{ db *pebble.DB }

// Apply implements raft.FSM.
func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. An answer is nil or an error.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	b := m.db.NewBatch()
	defer b.Close() //nolint:errcheck // after Commit there is nothing left to fail
	var err error
	for _, l := range logs {
		err = errors.Join(err, b.Set(binary.BigEndian.AppendUint64(nil, l.Index), l.Data, nil))
	}
	if err = errors.Join(err, b.Commit(pebble.NoSync)); err != nil {
		for i := range answers {
			answers[i] = err
		}
	}
	return answers
}

// Snapshot implements raft.FSM; the limit takes none.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	return nil, errors.New("the limit takes no snapshots")
}

// Restore implements raft.FSM; the limit receives none.
func (m *machine) Restore(r io.ReadCloser) error {
	return errors.Join(errors.New("the limit restores no snapshots"), r.Close())
}

// Group is a Raft group whose members are all in this process, each on two
// Pebble databases of its own, and talk over TCP on loopback.
type Group struct{ members []*member }

type member struct {
	raft       *raft.Raft
	log, state *pebble.DB
	transport  *raft.NetworkTransport
}

// OpenGroup makes the databases of a group of some nodes in dir, which must be
// empty, and waits until one leads. Its settings are those the server's groups
// have.
func OpenGroup(ctx context.Context, dir string, nodes int) (*Group, error) {
	if nodes < 1 {
		return nil, fmt.Errorf("a group of %d nodes, want at least 1", nodes)
	}
	g := &Group{}
	if err := g.open(ctx, dir, nodes); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Group) open(ctx context.Context, dir string, nodes int) error {
	var servers []raft.Server
	for i := range nodes {
		m := &member{}
		g.members = append(g.members, m)
		if err := m.open(filepath.Join(dir, strconv.Itoa(i))); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
		servers = append(servers, raft.Server{ID: serverID(i), Address: m.transport.LocalAddr()})
	}
	for i, m := range g.members {
		if err := m.start(serverID(i), servers); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	return g.elect(ctx)
}

func serverID(i int) raft.ServerID { return raft.ServerID("node" + strconv.Itoa(i)) }

// elect waits until a member leads and the entry by which it learns what is
// committed is applied.
func (g *Group) elect(ctx context.Context) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if leader := g.leader(); leader != nil && leader.Barrier(commitTimeout).Error() == nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the election: %w", ctx.Err())
		}
	}
}

// leader is the member that leads, nil if none does.
func (g *Group) leader() *raft.Raft {
	for _, m := range g.members {
		if m.raft.State() == raft.Leader {
			return m.raft
		}
	}
	return nil
}

// open makes the member's databases in dir, and begins to listen.
func (m *member) open(dir string) error {
	var err error
	if m.log, err = pebble.Open(filepath.Join(dir, "log"), &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest, MemTableSize: 64 << 20, Logger: quiet{}}); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	if m.state, err = pebble.Open(filepath.Join(dir, "state"), &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest, MemTableSize: 64 << 20, DisableWAL: true, Logger: quiet{}}); err != nil {
		return fmt.Errorf("open the state: %w", err)
	}
	m.transport, err = raft.NewTCPTransportWithConfig("127.0.0.1:0", nil, &raft.NetworkTransportConfig{
		MaxPool: 3, Timeout: 5 * time.Second, MsgpackUseNewTimeFormat: true, Logger: hclog.NewNullLogger()})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// start writes the group's first configuration and starts Raft.
func (m *member) start(id raft.ServerID, servers []raft.Server) error {
	store := &logStore{db: m.log}
	cfg := raft.DefaultConfig()
	cfg.LocalID = id
	cfg.HeartbeatTimeout, cfg.ElectionTimeout = 450*time.Millisecond, 450*time.Millisecond
	cfg.LeaderLeaseTimeout, cfg.CommitTimeout = 300*time.Millisecond, 20*time.Millisecond
	cfg.MaxAppendEntries, cfg.BatchApplyCh = 64, true
	cfg.SnapshotThreshold, cfg.NoSnapshotRestoreOnStart = math.MaxUint64, true
	cfg.LogOutput, cfg.LogLevel = io.Discard, "OFF"
	snapshots := raft.NewDiscardSnapshotStore()
	if err := raft.BootstrapCluster(cfg, store, store, snapshots, m.transport, raft.Configuration{Servers: servers}); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	var err error
	if m.raft, err = raft.NewRaft(cfg, &machine{db: m.state}, store, store, snapshots, m.transport); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	return nil
}

// Close stops the group.
func (g *Group) Close() error {
	var err error
	for _, m := range g.members { // all stop before a database of one closes
		if m.raft != nil {
			err = errors.Join(err, m.raft.Shutdown().Error())
		}
	}
	for _, m := range g.members {
		err = errors.Join(err, m.close())
	}
	return err
}

func (m *member) close() error {
	var err error
	if m.transport != nil {
		err = m.transport.Close() // Raft has, if it ran
	}
	if m.log != nil {
		err = errors.Join(err, m.log.Close())
	}
	if m.state != nil {
		err = errors.Join(err, m.state.Close())
	}
	return err
}

// commitTimeout is how long an entry may wait to be taken.
const commitTimeout = 10 * time.Second

// proposer commits one entry after the other.
type proposer struct {
	group  *Group
	leader *raft.Raft // as far as is known
	data   []byte
}

var errNoLeader = errors.New("no node leads")

// Do implements load.Worker: an entry is committed, on the disks of a majority,
// and applied by the leader.
func (p *proposer) Do() load.Outcome {
	if p.leader == nil {
		if p.leader = p.group.leader(); p.leader == nil {
			time.Sleep(5 * time.Millisecond) // an election takes longer
			return load.Outcome{Err: errNoLeader}
		}
	}
	data := append([]byte(nil), p.data...) // the library keeps what it is given
	f := p.leader.Apply(data, commitTimeout)
	if err := f.Error(); err != nil {
		p.leader = nil
		return load.Outcome{Err: err}
	}
	if err, bad := f.Response().(error); bad {
		return load.Outcome{Err: err}
	}
	return load.Outcome{Status: 200}
}

// Close implements load.Worker.
func (p *proposer) Close() error { return nil }

// Commit drives plan against the group with entries of the given size.
func (g *Group) Commit(ctx context.Context, plan load.Plan, entryBytes int, measured func()) (*load.Result, error) {
	data := make([]byte, entryBytes)
	for i := range data {
		data[i] = byte('a' + i%26)
	}
	return load.Run(ctx, plan, func(int) (load.Worker, error) {
		return &proposer{group: g, data: data}, nil
	}, measured)
}

// quiet drops Pebble's notes and ends the process on a fatal one.
type quiet struct{}

// Infof implements pebble.Logger.
func (quiet) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (quiet) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger.
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
