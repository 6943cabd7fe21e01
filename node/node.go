package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Consistency is what a read asks for.
type Consistency int

const (
	// Linearizable reads see every write acknowledged before they began.
	Linearizable Consistency = iota
	// Stale reads see the local replica as it is.
	Stale
)

// Node hosts partitions. Its methods are safe for concurrent use.
type Node struct {
	cfg     Config
	log     *slog.Logger
	store   *storage.Store
	cluster entity.Cluster
	groups  []*group // by partition

	routes   sync.Map // entity.AppID → entity.Partition; an application never moves
	stopping atomic.Bool
	diskFull atomic.Bool // less than Config.MinFreeBytes is left
	started  time.Time

	stopWork  context.CancelFunc // of what runs beside the partitions
	work      sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// Start opens the data directory, forms the cluster if it is empty, and
// returns when every partition serves. The caller ends the node with Close.
// Faults: Corrupt, with the damaged part named, if stored bytes are missing or
// are not what was written.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: cfg.Log.With("part", "node"), started: time.Now()}
	n.cfg.Storage.NodeName = cfg.Name
	n.cfg.Storage.Log = cfg.Log.With("part", "storage")
	n.cfg.Storage.Halt = cfg.Halt
	store, err := storage.Open(n.cfg.Storage)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	n.store = store
	if err := n.startGroups(ctx); err != nil {
		return nil, errors.Join(err, n.closeGroups(), store.Close())
	}
	work, stop := context.WithCancel(context.Background())
	n.stopWork = stop
	n.work.Go(func() { n.scheduleMarkers(work) })
	n.work.Go(func() { n.watchSpace(work) })
	n.log.Info("node started", "node", n.ID(), "partitions", len(n.groups)-1, "took", time.Since(n.started))
	return n, nil
}

// startGroups brings up the system partition, which knows how many others
// there are, and then those, all at once.
func (n *Node) startGroups(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.StartTimeout)
	defer cancel()
	system, err := openGroup(n, entity.System)
	if err != nil {
		return err
	}
	n.groups = []*group{system}
	if err := waitReady(ctx, system); err != nil {
		return err
	}
	if err := n.loadCluster(ctx); err != nil {
		return err
	}
	for p := entity.Partition(1); uint32(p) <= n.cluster.Partitions; p++ {
		g, err := openGroup(n, p)
		if err != nil {
			return err
		}
		n.groups = append(n.groups, g)
	}
	for _, g := range n.groups {
		if err := waitReady(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// loadCluster reads the cluster record, and writes it first if there is none.
func (n *Node) loadCluster(ctx context.Context) error {
	view := n.store.State().View(entity.System)
	cluster, found, err := storage.ReadCluster(view)
	if err = errors.Join(err, view.Close()); err != nil {
		return fmt.Errorf("read cluster record: %w", err)
	}
	if !found {
		cluster = entity.Cluster{ID: entity.NewID(), Partitions: uint32(n.cfg.Partitions), Created: time.Now().UnixMilli()}
		if _, err := rand.Read(cluster.Key[:]); err != nil {
			return fmt.Errorf("make cluster key: %w", err)
		}
		out, err := n.Propose(ctx, entity.Management, command.Command{Op: command.InitCluster{Cluster: cluster}})
		if err != nil {
			return fmt.Errorf("write cluster record: %w", err)
		}
		if out.Fault != nil {
			return fmt.Errorf("write cluster record: %w", out.Fault)
		}
	}
	n.cluster = cluster
	if known := n.store.Identity().Cluster; known.IsZero() {
		if err := n.store.SetCluster(cluster.ID); err != nil {
			return fmt.Errorf("write identity: %w", err)
		}
	} else if known != cluster.ID {
		return fault.New(fault.Corrupt, "the data directory belongs to cluster %s, its state to cluster %s", known, cluster.ID)
	}
	return nil
}

func waitReady(ctx context.Context, g *group) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !g.ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("partition %d: wait for a leader: %w", g.partition, ctx.Err())
		}
	}
	return nil
}

// ID returns the node's id, kept in its data directory.
func (n *Node) ID() entity.NodeID { return n.store.Identity().NodeID }

// Cluster returns the cluster's identity and master key.
func (n *Node) Cluster() entity.Cluster { return n.cluster }

// Propose puts a command through Raft in the partition of app and returns its
// outcome. Request and Time are filled in if zero. The error is a fault:
// Overloaded (a queue or the disk is full) and Stopping mean nothing was done;
// NoQuorum and Timeout that the
// outcome may be unknown; a fault of the command itself is in the outcome.
func (n *Node) Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error) {
	if n.stopping.Load() {
		return command.Outcome{}, stopping()
	}
	if n.diskFull.Load() {
		return command.Outcome{}, fault.New(fault.Overloaded, "the disk is nearly full, writes are refused until there is room")
	}
	g, err := n.group(app)
	if err != nil {
		return command.Outcome{}, err
	}
	cmd.App = app
	if cmd.Request == (command.RequestID{}) {
		cmd.Request = command.RequestID(entity.NewID())
	}
	if cmd.Time == 0 {
		cmd.Time = time.Now().UnixMilli()
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.cfg.ProposeTimeout)
		defer cancel()
	}
	return g.queue.propose(ctx, command.AppendCommand(nil, &cmd))
}

// View returns a snapshot of the partition of app. The caller closes it soon:
// an open view holds up compaction. Faults: NoQuorum, Timeout.
func (n *Node) View(ctx context.Context, app entity.AppID, c Consistency) (*storage.View, error) {
	g, err := n.group(app)
	if err != nil {
		return nil, err
	}
	if c == Linearizable {
		index, err := g.readIndex()
		if err != nil {
			return nil, err
		}
		if err := g.machine.WaitApplied(ctx, index); err != nil {
			return nil, err
		}
	}
	return n.store.State().View(g.partition), nil
}

// StaleView is View for Stale reads. It also says how old what it shows can be:
// 0 while this node leads the partition, for nobody else can then have
// acknowledged a write; less than 0 if that cannot be told. Faults: NotFound.
func (n *Node) StaleView(ctx context.Context, app entity.AppID) (*storage.View, time.Duration, error) {
	g, err := n.group(app)
	if err != nil {
		return nil, 0, err
	}
	age := time.Duration(-1)
	if g.ready() { // asked before the view is opened: what is shown is no older
		age = 0
	}
	view, err := n.View(ctx, app, Stale)
	return view, age, err
}

// Version grows after every committed change of the principals or the registry
// of app: what was resolved from them is valid while it stays the same.
func (n *Node) Version(app entity.AppID) uint64 {
	g, err := n.group(app)
	if err != nil {
		return 0
	}
	return g.machine.Version(app)
}

// group returns the partition of an application. Faults: NotFound for a number
// no application has.
func (n *Node) group(app entity.AppID) (*group, error) {
	if app <= entity.Management {
		return n.groups[entity.System], nil
	}
	if p, ok := n.routes.Load(app); ok {
		return n.groups[p.(entity.Partition)], nil
	}
	view := n.store.State().View(entity.System)
	p, _, found, err := storage.ReadRoute(view, app)
	if err = errors.Join(err, view.Close()); err != nil {
		return nil, fmt.Errorf("find partition of application %d: %w", app, err)
	}
	if !found || int(p) >= len(n.groups) {
		return nil, fault.New(fault.NotFound, "no application has number %d", app)
	}
	n.routes.Store(app, p)
	return n.groups[p], nil
}

// ChoosePartition returns the partition with the fewest applications, for a
// new one.
func (n *Node) ChoosePartition() (entity.Partition, error) {
	view := n.store.State().View(entity.System)
	routes, err := storage.Routes(view)
	if err = errors.Join(err, view.Close()); err != nil {
		return 0, fmt.Errorf("count applications: %w", err)
	}
	load := make([]int, len(n.groups))
	for _, p := range routes {
		if int(p) < len(load) {
			load[p]++
		}
	}
	best := entity.Partition(1)
	for p := range load[1:] {
		if load[p+1] < load[best] {
			best = entity.Partition(p + 1)
		}
	}
	return best, nil
}

// scheduleMarkers makes markers for all partitions that are due at one time,
// so that they share a flush of the state DB.
func (n *Node) scheduleMarkers(ctx context.Context) {
	tick := time.NewTicker(n.cfg.MarkerInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			var due []*group
			for _, g := range n.groups {
				if g.markerDue(now) {
					due = append(due, g)
				}
			}
			if err := markAll(due); err != nil {
				n.log.Warn("marker not made, trying again later", "error", err)
			}
		}
	}
}

// watchSpace refuses writes before the disk is so full that the databases
// break, and takes them again when there is room.
func (n *Node) watchSpace(ctx context.Context) {
	tick := time.NewTicker(n.cfg.SpaceInterval)
	defer tick.Stop()
	known := true
	for {
		free, err := n.store.FreeBytes()
		if err != nil && known { // once, not at every look
			n.log.Warn("free space is not known, a full disk will not be foreseen", "error", err)
		}
		known = err == nil
		switch full := known && free < n.cfg.MinFreeBytes; {
		case !known:
		case full && !n.diskFull.Swap(true):
			n.log.Error("the disk is nearly full, writes are refused", "free", free, "wanted", n.cfg.MinFreeBytes)
		case !full && n.diskFull.Swap(false):
			n.log.Info("the disk has room again, writes go on", "free", free)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func markAll(groups []*group) error {
	errs := make([]error, len(groups))
	var wg sync.WaitGroup
	for i, g := range groups {
		wg.Go(func() { errs[i] = g.mark() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// halt ends the node because going on would be unsafe. No outcome of what
// was under way may be acknowledged.
func (n *Node) halt(err error) {
	n.stopping.Store(true)
	n.cfg.Halt(err)
}

// Close refuses new proposals, waits for those in flight, makes everything
// durable with a marker in every partition, so that the next start replays
// nothing, and stops. It is safe to call more than once.
func (n *Node) Close(ctx context.Context) error {
	n.closeOnce.Do(func() {
		n.stopping.Store(true)
		n.stopWork()
		n.work.Wait()
		drain, cancel := context.WithTimeout(ctx, n.cfg.DrainTimeout)
		defer cancel()
		var errs []error
		for _, g := range n.groups {
			if err := g.drain(drain); err != nil {
				errs = append(errs, fmt.Errorf("partition %d: writes in flight: %w", g.partition, err))
			}
		}
		errs = append(errs, markAll(n.groups), n.closeGroups(), n.store.Close())
		n.closeErr = errors.Join(errs...)
		if n.closeErr == nil {
			n.log.Info("node stopped")
		}
	})
	return n.closeErr
}

func (n *Node) closeGroups() error {
	errs := make([]error, len(n.groups))
	var wg sync.WaitGroup
	for i, g := range n.groups {
		wg.Go(func() { errs[i] = g.close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
