package limit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
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

// Group is a Raft group of one on two Pebble databases.
type Group struct {
	raft  *raft.Raft
	log   *pebble.DB
	state *pebble.DB
}

// OpenGroup makes the databases in dir, which must be empty, and waits until
// the group leads itself. Its settings are those the server's groups have.
func OpenGroup(ctx context.Context, dir string) (*Group, error) {
	logDB, err := pebble.Open(filepath.Join(dir, "log"), &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest, MemTableSize: 64 << 20, Logger: quiet{}})
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	stateDB, err := pebble.Open(filepath.Join(dir, "state"), &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest, MemTableSize: 64 << 20, DisableWAL: true, Logger: quiet{}})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the state: %w", err), logDB.Close())
	}
	g := &Group{log: logDB, state: stateDB}
	if err := g.start(ctx); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Group) start(ctx context.Context) error {
	store := &logStore{db: g.log}
	addr, transport := raft.NewInmemTransport("self")
	cfg := raft.DefaultConfig()
	cfg.LocalID = "self"
	cfg.HeartbeatTimeout, cfg.ElectionTimeout = 450*time.Millisecond, 450*time.Millisecond
	cfg.LeaderLeaseTimeout, cfg.CommitTimeout = 300*time.Millisecond, 20*time.Millisecond
	cfg.MaxAppendEntries, cfg.BatchApplyCh = 64, true
	cfg.SnapshotThreshold, cfg.NoSnapshotRestoreOnStart = math.MaxUint64, true
	cfg.LogOutput, cfg.LogLevel = io.Discard, "OFF"
	snapshots := raft.NewDiscardSnapshotStore()
	servers := raft.Configuration{Servers: []raft.Server{{ID: cfg.LocalID, Address: addr}}}
	if err := raft.BootstrapCluster(cfg, store, store, snapshots, transport, servers); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	var err error
	if g.raft, err = raft.NewRaft(cfg, &machine{db: g.state}, store, store, snapshots, transport); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	for {
		select {
		case leads := <-g.raft.LeaderCh():
			if leads {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for the election: %w", ctx.Err())
		}
	}
}

// Close stops the group.
func (g *Group) Close() error {
	var err error
	if g.raft != nil {
		err = g.raft.Shutdown().Error()
	}
	return errors.Join(err, g.log.Close(), g.state.Close())
}

// proposer commits one entry after the other.
type proposer struct {
	raft *raft.Raft
	data []byte
}

// Do implements load.Worker: an entry is committed, on disk, and applied.
func (p *proposer) Do() load.Outcome {
	data := append([]byte(nil), p.data...) // the library keeps what it is given
	f := p.raft.Apply(data, 10*time.Second)
	if err := f.Error(); err != nil {
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
		return &proposer{raft: g.raft, data: data}, nil
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
