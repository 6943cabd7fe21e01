package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/node/peer"
	"github.com/trellisdb/trellis/raftfsm"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/raftfsm/raftlog"
	"github.com/trellisdb/trellis/raftfsm/transport"
	"github.com/trellisdb/trellis/storage/entity"
)

// Raft's time-outs (design section 5). A follower stands for election one to
// two heartbeat time-outs after it last heard of its leader; a leader that
// reaches no majority gives up within the lease.
const (
	heartbeatTimeout = 450 * time.Millisecond
	leaderLease      = 300 * time.Millisecond
	commitTimeout    = 20 * time.Millisecond
	appendEntries    = 16
)

// group is one replica on this node: its Raft instance, its state machine and
// the queue in front of them.
type group struct {
	node      *Node
	partition entity.Partition
	replica   entity.Replica
	id        raft.ServerID
	cfg       *Config
	log       *slog.Logger

	machine *raftfsm.Machine
	store   *raftlog.Store
	entries *meteredLog
	fsm     *meteredMachine
	snaps   *raftlog.Snapshots
	trans   *transport.Transport
	raft    *raft.Raft
	queue   *queue
	reads   reads

	spoolers     spoolers
	readableTerm atomic.Uint64          // term whose term-start command is applied here; 0: not leading
	leadSince    atomic.Int64           // when it was, ns since the epoch
	alone        atomic.Bool            // no other server is in the configuration
	leader       atomic.Pointer[leader] // never nil

	markedBytes atomic.Uint64 // entries.appended at the last marker
	markedIndex atomic.Uint64
	markedAt    atomic.Int64 // ns since the epoch

	closed  atomic.Bool // no more views
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

// leader is who leads a group, as this replica knows.
type leader struct {
	server  raft.ServerID // empty: nobody
	changed chan struct{} // closed when somebody else is known to lead
}

// openGroup starts a replica. If nothing is stored of it and form is not
// nil, it forms the group with that configuration, as all others named in it do; otherwise it
// waits to be spoken to. The caller ends it with close.
func openGroup(n *Node, p entity.Partition, replica entity.Replica, form []raft.Server) (*group, error) {
	g := &group{
		node:      n,
		partition: p,
		replica:   replica,
		id:        raft.ServerID(replica.ServerID()),
		cfg:       &n.cfg,
		log:       n.cfg.Log.With("partition", uint32(p)),
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.leader.Store(&leader{changed: make(chan struct{})})
	if err := n.store.Adopt(p, replica.Number); err != nil {
		return nil, fmt.Errorf("partition %d: adopt replica %d: %w", p, replica.Number, err)
	}
	var err error
	g.machine, err = raftfsm.Open(raftfsm.Config{
		Partition: p, State: n.store.State(), Halt: n.halt, Log: g.log, Configured: g.configured,
		Tasked: func() { n.tasks.Wake(p) },
	})
	if err != nil {
		return nil, fmt.Errorf("partition %d: open state machine: %w", p, err)
	}
	g.store, err = raftlog.Open(n.store, p)
	if err != nil {
		return nil, fmt.Errorf("partition %d: open raft log: %w", p, err)
	}
	g.entries = &meteredLog{LogStore: g.store}
	g.fsm = &meteredMachine{Machine: g.machine}
	g.snaps = g.store.Snapshots()

	logger := newRaftLogger(g.log)
	if err := g.startTransport(logger); err != nil {
		return nil, fmt.Errorf("partition %d: start transport: %w", p, err)
	}
	if err := g.startRaft(form, logger); err != nil {
		return nil, fmt.Errorf("partition %d: %w", p, errors.Join(err, g.trans.Close()))
	}
	g.markedAt.Store(time.Now().UnixNano())
	g.queue = startQueue(g.raft, &n.cfg)
	g.watch()
	if g.soleVoter() {
		g.running.Go(func() {
			if err := g.trans.Stand(g.ctx); err != nil && g.ctx.Err() == nil {
				g.log.Warn("not standing for election at once", "error", err)
			}
		})
	}
	return g, nil
}

func (g *group) startTransport(logger hclog.Logger) error {
	tc := transport.DefaultConfig(g.id)
	tc.Logger = logger
	if g.node.network == nil {
		tc.Stream = transport.NewAlone(g.id)
	} else {
		lane := peer.RaftLane(g.partition, g.replica.Number)
		listener, err := g.node.network.Lane(lane)
		if err != nil {
			return err
		}
		tc.Stream = &lanes{Listener: listener, network: g.node.network, partition: g.partition}
		tc.Resolve = g.node.resolve
	}
	var err error
	if g.trans, err = transport.Start(tc); err != nil {
		return errors.Join(err, tc.Stream.Close())
	}
	return nil
}

// lanes is the stream layer of a partition: the lane of each replica on the
// port of its node.
type lanes struct {
	net.Listener
	network   *peer.Network
	partition entity.Partition
}

// Dial connects to a resolved address: that of a node, and a replica's number.
func (l *lanes) Dial(at raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	r, ok := entity.ParseServerID(string(at))
	if !ok {
		return nil, fmt.Errorf("dial %q: not a replica", at)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return l.network.Dial(ctx, string(r.Node), peer.RaftLane(l.partition, r.Number))
}

// resolve turns the name of a replica into what lanes.Dial takes: the same with
// the address in the place of the node.
func (n *Node) resolve(_ context.Context, id raft.ServerID) (string, error) {
	r, ok := entity.ParseServerID(string(id))
	if !ok {
		return "", fmt.Errorf("resolve %q: not a replica", id)
	}
	address, err := n.addressOf(r.Node)
	if err != nil {
		return "", err
	}
	return entity.Replica{Node: entity.NodeID(address), Number: r.Number}.ServerID(), nil
}

func raftConfig(id raft.ServerID, cfg *Config, logger hclog.Logger) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = id
	rc.HeartbeatTimeout = heartbeatTimeout
	rc.ElectionTimeout = heartbeatTimeout
	rc.LeaderLeaseTimeout = leaderLease
	rc.CommitTimeout = commitTimeout
	rc.MaxAppendEntries = appendEntries
	rc.SnapshotInterval = time.Hour
	rc.SnapshotThreshold = ^uint64(0) // markers are scheduled for the whole node
	rc.TrailingLogs = cfg.TrailingEntries
	rc.NoSnapshotRestoreOnStart = true
	rc.NoLegacyTelemetry = true
	rc.Logger = logger
	return rc
}

// startRaft forms the group if that is wanted and its log is new, and starts
// Raft.
func (g *group) startRaft(form []raft.Server, logger hclog.Logger) error {
	rc := raftConfig(g.id, g.cfg, logger)
	exists, err := raft.HasExistingState(g.entries, g.store, g.snaps)
	if err != nil {
		return fmt.Errorf("look for existing state: %w", err)
	}
	if !exists && form != nil {
		if err := raft.BootstrapCluster(rc, g.entries, g.store, g.snaps, g.trans, raft.Configuration{Servers: form}); err != nil {
			return fmt.Errorf("form the group: %w", err)
		}
	}
	if g.raft, err = raft.NewRaft(rc, g.fsm, g.entries, g.store, g.snaps, g.trans); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	g.alone.Store(len(g.servers()) == 1)
	g.trans.Attach(g.raft)
	return nil
}

// servers returns the newest configuration of the group, committed or not.
func (g *group) servers() []raft.Server {
	future := g.raft.GetConfiguration()
	if future.Error() != nil {
		return nil // it never fails
	}
	return future.Configuration().Servers
}

func (g *group) soleVoter() bool {
	voters := 0
	for _, s := range g.servers() {
		if s.Suffrage == raft.Voter {
			if s.ID != g.id {
				return false
			}
			voters++
		}
	}
	return voters == 1
}

// configured is told of every configuration that has been committed. To learn
// late that this server is not alone any more does no harm: until the second
// configuration after that is appended, no quorum exists without it.
func (g *group) configured(c raft.Configuration) {
	g.alone.Store(len(c.Servers) == 1 && c.Servers[0].ID == g.id)
}

// watch follows who leads.
func (g *group) watch() {
	seen := make(chan raft.Observation, 16)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	g.raft.RegisterObserver(observer)
	g.running.Go(func() {
		defer g.raft.DeregisterObserver(observer)
		for {
			g.noteLeader()
			select {
			case <-seen:
			case <-g.ctx.Done():
				return
			}
		}
	})
	g.running.Go(g.watchLead)
}

func (g *group) noteLeader() {
	_, id := g.raft.LeaderWithID()
	if old := g.leader.Load(); old.server != id {
		g.leader.Store(&leader{server: id, changed: make(chan struct{})})
		close(old.changed)
	}
}

// watchLead proposes a term-start command whenever this replica wins the
// partition, and takes reads off it when it loses.
func (g *group) watchLead() {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.raft.LeaderCh():
		case <-retry.C:
		}
		term := g.raft.CurrentTerm()
		if g.raft.State() != raft.Leader {
			g.readableTerm.Store(0)
			g.node.tasks.Wake(g.partition)
			continue
		}
		if g.readableTerm.Load() == term {
			continue
		}
		g.readableTerm.Store(0)
		if err := g.startTerm(term); err != nil {
			if g.ctx.Err() == nil {
				g.log.Debug("term not started, trying again", "term", term, "error", err)
			}
			retry.Reset(50 * time.Millisecond)
			continue
		}
		g.leadSince.Store(time.Now().UnixNano())
		g.readableTerm.Store(term)
		g.node.tasks.Wake(g.partition)
		retry.Reset(0) // the term may have changed meanwhile
	}
}

// startTerm returns once a command that names the term has been applied here.
func (g *group) startTerm(term uint64) error {
	cmd := command.Command{
		Request: command.RequestID(entity.NewID()),
		Time:    time.Now().UnixMilli(),
		App:     entity.NoApp,
		Op:      command.TermStart{Term: term, Node: string(g.id)},
	}
	wait, cancel := context.WithTimeout(g.ctx, g.cfg.ProposeTimeout)
	defer cancel()
	_, err := g.queue.propose(wait, command.AppendCommand(nil, &cmd))
	return err
}

// leads reports whether the replica leads its group and has applied its
// term-start command.
func (g *group) leads() bool { return g.readableTerm.Load() != 0 }

// mark makes a marker that covers everything applied so far, and lets Raft
// drop the log behind it. Without new entries it does nothing, nor while a
// receiver of this replica's state needs the log behind that state.
func (g *group) mark() error {
	index, appended := g.machine.Applied(), g.entries.appended.Load()
	if index == g.markedIndex.Load() {
		return nil
	}
	if g.snaps.Sending() > 0 && appended-g.markedBytes.Load() < maxHeldLog {
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

// maxHeldLog is how many bytes of log are kept for a receiver of a snapshot.
const maxHeldLog = 1 << 30

// markerDue reports whether the log has grown enough, or waited long enough.
func (g *group) markerDue(now time.Time) bool {
	if g.machine.Applied() == g.markedIndex.Load() {
		return false
	}
	return g.entries.appended.Load()-g.markedBytes.Load() >= g.cfg.MarkerLogBytes ||
		now.UnixNano()-g.markedAt.Load() >= int64(g.cfg.MarkerMaxAge)
}

// handOver gives the lead to another voter, if this replica has it and there is one.
func (g *group) handOver(ctx context.Context) {
	if !g.leads() || g.alone.Load() || g.soleVoter() {
		return
	}
	done := make(chan error, 1)
	go func() { done <- g.raft.LeadershipTransfer().Error() }() // Raft answers within its election time-out
	select {
	case err := <-done:
		if err != nil {
			g.log.Info("lead not handed over", "error", err)
		}
	case <-ctx.Done():
	}
}

// drain refuses nothing itself: the node has stopped taking proposals. It
// waits for those in flight.
func (g *group) drain(ctx context.Context) error { return g.queue.drain(ctx) }

// close ends the group's goroutines. It is safe after a drain that timed out.
func (g *group) close() error {
	g.closed.Store(true)
	g.stop()
	err := g.raft.Shutdown().Error()
	g.queue.close()
	g.running.Wait()
	g.reads.close()
	g.spoolers.close()
	return err
}
