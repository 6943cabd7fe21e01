package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/raftfsm/raftlog"
	"github.com/trellisdb/trellis/raftfsm/transport"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Time-outs of a group with a single voter: nobody else can hold the lead, so
// waiting for a heartbeat before the first election only delays the start.
const (
	soleHeartbeat = 50 * time.Millisecond
	commitTimeout = 20 * time.Millisecond
	appendEntries = 64
)

// group is one partition of this node: its Raft instance, its state machine
// and the queue in front of them.
type group struct {
	partition entity.Partition
	node      entity.NodeID
	cfg       *Config
	log       *slog.Logger

	machine *raftfsm.Machine
	store   *raftlog.Store
	entries *meteredLog
	snaps   *raftlog.Snapshots
	trans   *transport.Transport
	raft    *raft.Raft
	queue   *queue

	readableTerm atomic.Uint64 // term whose term-start command is applied here; 0: not leading

	markedBytes atomic.Uint64 // entries.appended at the last marker
	markedIndex atomic.Uint64
	markedAt    atomic.Int64 // ns since the epoch

	stop    context.CancelFunc
	watched chan struct{}
}

// openGroup starts the Raft group of a partition, forming it if this store has
// never held it. The caller ends it with close.
func openGroup(n *Node, p entity.Partition) (*group, error) {
	g := &group{
		partition: p,
		node:      n.ID(),
		cfg:       &n.cfg,
		log:       n.cfg.Log.With("partition", uint32(p)),
		watched:   make(chan struct{}),
	}
	var err error
	g.machine, err = raftfsm.Open(raftfsm.Config{Partition: p, State: n.store.State(), Halt: n.halt, Log: g.log})
	if err != nil {
		return nil, fmt.Errorf("partition %d: open state machine: %w", p, err)
	}
	g.store, err = raftlog.Open(n.store, p)
	if err != nil {
		return nil, fmt.Errorf("partition %d: open raft log: %w", p, err)
	}
	g.entries = &meteredLog{LogStore: g.store}
	g.snaps = g.store.Snapshots()

	id := raft.ServerID(g.node)
	logger := newRaftLogger(g.log)
	tc := transport.DefaultConfig(id)
	tc.Stream, tc.Logger = transport.NewAlone(id), logger
	if g.trans, err = transport.Start(tc); err != nil {
		return nil, fmt.Errorf("partition %d: start transport: %w", p, err)
	}
	if err := g.startRaft(n, id, logger); err != nil {
		return nil, fmt.Errorf("partition %d: %w", p, errors.Join(err, g.trans.Close()))
	}
	g.markedAt.Store(time.Now().UnixNano())
	g.queue = startQueue(g.raft, &n.cfg)
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	go g.watchLead(ctx)
	return g, nil
}

// startRaft bootstraps the group if its log is new, and starts Raft.
func (g *group) startRaft(n *Node, id raft.ServerID, logger hclog.Logger) error {
	rc := raft.DefaultConfig()
	rc.LocalID = id
	rc.HeartbeatTimeout = soleHeartbeat
	rc.ElectionTimeout = soleHeartbeat
	rc.LeaderLeaseTimeout = soleHeartbeat
	rc.CommitTimeout = commitTimeout
	rc.MaxAppendEntries = appendEntries
	rc.SnapshotInterval = time.Hour
	rc.SnapshotThreshold = ^uint64(0) // markers are scheduled for the whole node
	rc.TrailingLogs = n.cfg.TrailingEntries
	rc.NoSnapshotRestoreOnStart = true
	rc.NoLegacyTelemetry = true
	rc.Logger = logger

	exists, err := raft.HasExistingState(g.entries, g.store, g.snaps)
	if err != nil {
		return fmt.Errorf("look for existing state: %w", err)
	}
	if !exists {
		err = raft.BootstrapCluster(rc, g.entries, g.store, g.snaps, g.trans, raft.Configuration{
			Servers: []raft.Server{{Suffrage: raft.Voter, ID: id, Address: raft.ServerAddress(id)}},
		})
		if err != nil {
			return fmt.Errorf("bootstrap: %w", err)
		}
	}
	if g.raft, err = raft.NewRaft(rc, g.machine, g.entries, g.store, g.snaps, g.trans); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	g.trans.Attach(g.raft)
	return nil
}

// watchLead proposes a term-start command whenever this node wins the
// partition, and takes reads off it when it loses.
func (g *group) watchLead(ctx context.Context) {
	defer close(g.watched)
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.raft.LeaderCh():
		case <-retry.C:
		}
		if g.raft.State() != raft.Leader {
			g.readableTerm.Store(0)
			continue
		}
		term := g.raft.CurrentTerm()
		cmd := command.Command{
			Request: command.RequestID(entity.NewID()),
			Time:    time.Now().UnixMilli(),
			App:     entity.NoApp,
			Op:      command.TermStart{Term: term, Node: string(g.node)},
		}
		wait, cancel := context.WithTimeout(ctx, g.cfg.ProposeTimeout)
		_, err := g.queue.propose(wait, command.AppendCommand(nil, &cmd))
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				g.log.Warn("term not started, trying again", "term", term, "error", err)
			}
			retry.Reset(100 * time.Millisecond)
			continue
		}
		g.readableTerm.Store(term)
	}
}

// ready reports whether the group leads and has applied its term-start command.
func (g *group) ready() bool { return g.readableTerm.Load() != 0 }

// readIndex returns an index that a state machine must have applied to serve
// a linearizable read that arrives now. The group's only voter is this node,
// so no later leader can exist and no other replica can be ahead: what is
// applied here is all that was ever acknowledged, and nothing needs asking.
func (g *group) readIndex() (uint64, error) {
	if !g.ready() {
		return 0, fault.New(fault.NoQuorum, "partition %d has no leader yet, try again", g.partition)
	}
	return g.machine.Applied(), nil
}

// mark makes a marker that covers everything applied so far, and lets Raft
// drop the log behind it. Without new entries it does nothing.
func (g *group) mark() error {
	index, appended := g.machine.Applied(), g.entries.appended.Load()
	if index == g.markedIndex.Load() {
		return nil
	}
	if err := g.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("partition %d: make marker at %d: %w", g.partition, index, err)
	}
	g.markedIndex.Store(index)
	g.markedBytes.Store(appended)
	g.markedAt.Store(time.Now().UnixNano())
	return nil
}

// markerDue reports whether the log has grown enough, or waited long enough.
func (g *group) markerDue(now time.Time) bool {
	if g.machine.Applied() == g.markedIndex.Load() {
		return false
	}
	return g.entries.appended.Load()-g.markedBytes.Load() >= g.cfg.MarkerLogBytes ||
		now.UnixNano()-g.markedAt.Load() >= int64(g.cfg.MarkerMaxAge)
}

// drain refuses nothing itself: the node has stopped taking proposals. It
// waits for those in flight.
func (g *group) drain(ctx context.Context) error { return g.queue.drain(ctx) }

// close ends the group's goroutines. It is safe after a drain that timed out.
func (g *group) close() error {
	g.stop()
	<-g.watched
	g.queue.close()
	return g.raft.Shutdown().Error()
}
