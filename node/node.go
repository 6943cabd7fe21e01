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

	"github.com/trellisdb/trellis/node/gossip"
	"github.com/trellisdb/trellis/node/peer"
	"github.com/trellisdb/trellis/node/rpc"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Node hosts replicas of partitions. Its methods are safe for concurrent use.
type Node struct {
	cfg     Config
	log     *slog.Logger
	store   *storage.Store
	cluster entity.Cluster
	started time.Time

	network    *peer.Network  // nil without a cluster secret: nobody else can be spoken to
	gossip     *gossip.Gossip // nil likewise
	rpc        *rpc.Server    // nil likewise
	forwarded  net.Listener   // nil likewise
	links      *links
	advertised struct{ cluster, gossip string }

	groups  atomic.Pointer[[]*group] // by partition; nil where none runs here
	routes  sync.Map                 // entity.AppID → entity.Partition; an application never moves
	guesses sync.Map                 // entity.Partition → entity.NodeID: who leads what has no replica here

	protocol atomic.Uint32 // what all members understand, as far as this node knows; 0: it does not know yet
	traffic  traffic

	forming  sync.Mutex  // while a cluster is formed, or its forming promised
	formed   atomic.Bool // the cluster's record is known
	stopping atomic.Bool
	diskFull atomic.Bool // less than Config.MinFreeBytes is left
	backups  backups

	tasks *tasks.Runner // of background work

	lastSeen map[entity.NodeID]int64     // manage's own: when a member was last alive, by clock
	settled  map[entity.Partition]uint64 // manage's own: version of the placement that the group's configuration was last seen to be
	dropping []entity.Partition          // host's own: drops that have failed once

	stopWork  context.CancelFunc // of what runs beside the partitions
	work      sync.WaitGroup
	serving   sync.WaitGroup // what ends with the port between nodes
	closeOnce sync.Once
	closeErr  error
}

// Start opens the data directory, gets the node into its cluster and returns
// when it belongs to one and runs its replicas. A node that is a cluster of its
// own serves by then; one of several does when Healthy says so. Waiting for
// other nodes takes as long as ctx allows. The caller ends the node with Close.
// Faults: Corrupt, with the damaged part named, if stored bytes are missing or
// are not what was written.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: cfg.Log.With("part", "node"), started: time.Now(), lastSeen: map[entity.NodeID]int64{}, settled: map[entity.Partition]uint64{}}
	n.groups.Store(&[]*group{})
	n.cfg.Storage.NodeName = cfg.Name
	n.cfg.Storage.Log = cfg.Log.With("part", "storage")
	n.cfg.Storage.Halt = cfg.Halt
	store, err := storage.Open(n.cfg.Storage)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	n.store = store
	work, stop := context.WithCancel(context.Background())
	n.stopWork = stop
	if err = n.startTasks(); err == nil {
		err = n.connect(ctx)
	}
	if err == nil {
		err = n.startReplicas(ctx, work)
	}
	if err != nil {
		stop()
		n.work.Wait()
		return nil, errors.Join(err, n.disconnect(ctx), n.closeGroups(), store.Close())
	}
	for _, job := range []func(context.Context){n.scheduleMarkers, n.watchSpace, n.watchStalls, n.stayFresh, n.tasks.Run} {
		n.work.Go(func() { job(work) })
	}
	n.log.Info("node started", "node", n.ID(), "replicas", len(n.running()), "took", time.Since(n.started))
	return n, nil
}

// connect opens the port between nodes and begins to gossip, if there is a
// cluster secret.
func (n *Node) connect(ctx context.Context) error {
	if len(n.cfg.Secret) > 0 {
		var err error
		n.network, err = peer.Listen(ctx, n.cfg.ClusterAddr, peer.Config{
			ID: n.ID(), Cluster: func() entity.ID { return n.store.Identity().Cluster },
			Secret: n.cfg.Secret, TLS: n.cfg.TLS, Log: n.cfg.Log.With("part", "peer"),
		})
		if err != nil {
			return fmt.Errorf("listen for other nodes: %w", err)
		}
	}
	n.links = newLinks(n.network, n.addressOf)
	if n.network == nil {
		return nil
	}
	n.advertised.cluster = advertise(n.cfg.ClusterAdvertise, n.network.Addr())
	calls, err := n.network.Lane(peer.LaneRPC)
	if err != nil {
		return err
	}
	if n.forwarded, err = n.network.Lane(peer.LaneAPI); err != nil {
		return err
	}
	n.rpc = rpc.NewServer(n.services(), n.cfg.Log.With("part", "rpc"))
	n.serving.Go(func() {
		if err := n.rpc.Serve(calls); err != nil && !errors.Is(err, net.ErrClosed) {
			n.log.Error("calls of other nodes are not answered any more", "error", err)
		}
	})
	identity := n.store.Identity()
	self := gossip.Peer{
		ID: n.ID(), Cluster: identity.Cluster, ClusterAddr: n.advertised.cluster, HTTPAddr: n.cfg.HTTPAddr,
		Zone: n.cfg.Zone, Version: n.cfg.Version, Protocol: Protocol,
	}
	if identity.Cluster.IsZero() && n.cfg.Expect > 1 {
		self.Expect = uint32(n.cfg.Expect)
	}
	n.gossip, err = gossip.Start(gossip.Config{
		Bind: n.cfg.GossipAddr, Advertise: n.cfg.GossipAdvertise, Self: self, Secret: n.cfg.Secret,
		Seeds: n.cfg.Join, Known: n.gossipAddresses, Log: n.cfg.Log.With("part", "gossip"),
	})
	if err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	n.advertised.gossip = n.gossip.Addr()
	return nil
}

// advertise is the address others are told: the configured one, or the one that
// is listened on.
func advertise(configured string, addr net.Addr) string {
	if configured != "" {
		return configured
	}
	return addr.String()
}

// gossipAddresses are where other members have been, as this node knows.
func (n *Node) gossipAddresses() []string {
	members, _, err := n.table()
	if err != nil {
		n.log.Warn("table of members not read", "error", err)
		return nil
	}
	var list []string
	for _, m := range members {
		if m.ID != n.ID() && m.State != entity.Removed && m.GossipAddr != "" {
			list = append(list, m.GossipAddr)
		}
	}
	return list
}

// startReplicas brings up the system partition, learns from it what else is to
// run here, and begins the work that goes on until Close.
func (n *Node) startReplicas(ctx, work context.Context) error {
	system, err := n.enter(ctx)
	if err != nil {
		return err
	}
	n.setHosted(entity.System, system)
	n.work.Go(func() { n.manage(work) })
	if err := n.awaitCluster(ctx); err != nil {
		return err
	}
	n.work.Go(func() { n.keepRegistered(work) })
	if err := n.awaitPlacements(ctx); err != nil {
		return err
	}
	if err := unlessReplaced(n.hostAll(ctx)); err != nil { // host tries again
		return err
	}
	n.work.Go(func() { n.host(work) })
	n.work.Go(func() { n.tend(work) })
	for _, g := range n.running() {
		if !g.soleVoter() {
			continue
		}
		if err := n.until(ctx, fmt.Sprintf("partition %d has a leader", g.partition), g.leads); err != nil {
			return err
		}
	}
	return nil
}

// until polls for a fact.
func (n *Node) until(ctx context.Context, what string, ok func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}

// awaitCluster waits for the cluster's record, which the leader of the system
// partition writes.
func (n *Node) awaitCluster(ctx context.Context) error {
	var failed error
	err := n.until(ctx, "the cluster's record is there", func() bool {
		cluster, found, err := n.readCluster()
		n.cluster, failed = cluster, unlessReplaced(err)
		return (found && err == nil) || failed != nil
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	if known := n.store.Identity().Cluster; known != n.cluster.ID {
		return fault.New(fault.Corrupt, "the data directory belongs to cluster %s, its state to cluster %s", known, n.cluster.ID)
	}
	n.formed.Store(true)
	return nil
}

// awaitPlacements waits until the partitions are placed for the first time.
func (n *Node) awaitPlacements(ctx context.Context) error {
	var failed error
	err := n.until(ctx, "partitions are placed", func() bool {
		table, err := n.placements()
		failed = unlessReplaced(err)
		return (len(table) > 0 && err == nil) || failed != nil
	})
	return errors.Join(err, failed)
}

// unlessReplaced is the error of a read of the system partition, but for one that
// a snapshot overtook: a node that has just joined is sent one while it reads.
func unlessReplaced(err error) error {
	if fault.Is(err, fault.NoQuorum) {
		return nil
	}
	return err
}

// ID returns the node's id, kept in its data directory.
func (n *Node) ID() entity.NodeID { return n.store.Identity().NodeID }

// Cluster returns the cluster's identity and master key.
func (n *Node) Cluster() entity.Cluster { return n.cluster }

func diskFull() *fault.Error {
	return fault.New(fault.DiskFull, "the disk is nearly full, writes are refused until there is room")
}

// DiskFull reports whether this node's disk has so little room that it refuses writes.
func (n *Node) DiskFull() bool { return n.diskFull.Load() }

// Propose puts a command through Raft in the partition of app and returns its
// outcome, wherever its leader is. Request and Time are filled in if zero. The
// error is a fault: Overloaded, DiskFull and Stopping mean nothing was done; NoQuorum and Timeout that the outcome may be unknown; a
// fault of the command itself is in the outcome.
func (n *Node) Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error) {
	if n.stopping.Load() {
		return command.Outcome{}, stopping()
	}
	p, err := n.partitionOf(ctx, app)
	if err != nil {
		return command.Outcome{}, err
	}
	cmd.App = app
	return n.proposeIn(ctx, p, cmd)
}

// bound gives a context a deadline, if it has none that is earlier.
func bound(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

// replicaOf returns the replica of the partition of app, as up to date as ctx asks
// for (entity.FreshnessOf). Faults: NotFound, NotHere, NoQuorum, Stopping.
func (n *Node) replicaOf(ctx context.Context, app entity.AppID) (*group, error) {
	p, err := n.partitionOf(ctx, app)
	if err != nil {
		return nil, err
	}
	g := n.hosted(p)
	if g == nil {
		return nil, notHere(p)
	}
	return g, n.freshen(ctx, g)
}

// freshen waits until a replica is as up to date as ctx asks for.
func (n *Node) freshen(ctx context.Context, g *group) error {
	if g.alone.Load() {
		return g.awaitAlone()
	}
	f := entity.FreshnessOf(ctx)
	since := n.since(f.Since)
	if f.Stale || g.reads.fresh.Load() >= since {
		return nil
	}
	ctx, cancel := bound(ctx, n.cfg.ReadTimeout)
	defer cancel()
	return g.await(ctx, since)
}

// View returns a snapshot of the partition of app, as up to date as ctx asks for:
// by default it shows every write acknowledged before the call. The caller closes it
// soon: an open view holds up compaction. Faults: NotFound, NotHere, NoQuorum,
// Stopping.
func (n *Node) View(ctx context.Context, app entity.AppID) (*storage.View, error) {
	g, err := n.replicaOf(ctx, app)
	if err != nil {
		return nil, err
	}
	return g.view()
}

// LongView is View for a walk through the application that may take minutes: it does
// not hold up compaction for long, and its reads of single keys cost more.
func (n *Node) LongView(ctx context.Context, app entity.AppID) (*storage.View, error) {
	g, err := n.replicaOf(ctx, app)
	if err != nil {
		return nil, err
	}
	return g.shown(n.store.State().LongView(g.partition))
}

// view opens a snapshot of what the replica has applied.
func (g *group) view() (*storage.View, error) { return g.shown(g.node.store.State().View(g.partition)) }

// shown returns a view, unless the replica is being given up.
func (g *group) shown(view *storage.View) (*storage.View, error) {
	if !g.closed.Load() {
		return view, nil
	}
	// The replica is being given up: its state may be gone already.
	return nil, errors.Join(notHere(g.partition), view.Close())
}

// StaleView is View of what is at hand, however old. It also says how old what it
// shows can be: 0 while this node is the whole group, for nobody else can then
// have acknowledged a write; less than 0 if that cannot be told. Faults:
// NotFound, NotHere.
func (n *Node) StaleView(ctx context.Context, app entity.AppID) (*storage.View, time.Duration, error) {
	p, err := n.partitionOf(ctx, app)
	if err != nil {
		return nil, 0, err
	}
	g := n.hosted(p)
	if g == nil {
		return nil, 0, notHere(p)
	}
	age := time.Duration(-1)
	if g.alone.Load() {
		if g.leads() {
			age = 0
		}
	} else if fresh := g.reads.fresh.Load(); fresh > 0 {
		age = time.Duration(n.clock() - fresh) // looked at before the view is opened: what is shown is no older
	}
	view, err := g.view()
	return view, age, err
}

// Version is the version of app that a read within ctx would see: what was resolved
// from its principals, permissions or registry is valid while the part of it that
// says so stays the same. Faults: those of View.
func (n *Node) Version(ctx context.Context, app entity.AppID) (entity.Version, error) {
	g, err := n.replicaOf(ctx, app)
	if err != nil {
		return entity.Version{}, err
	}
	return g.machine.Version(app), nil
}

// partitionOf returns the partition of an application. Faults: NotFound for a
// number no application has; NoQuorum.
func (n *Node) partitionOf(ctx context.Context, app entity.AppID) (entity.Partition, error) {
	if app <= entity.Management {
		return entity.System, nil
	}
	if p, ok := n.routes.Load(app); ok {
		return p.(entity.Partition), nil
	}
	p, found, err := n.readRoute(app)
	if err == nil && !found { // it may be new
		bounded, cancel := bound(ctx, n.cfg.ReadTimeout)
		defer cancel()
		system := n.hosted(entity.System)
		if err := system.await(bounded, n.since(entity.FreshnessOf(ctx).Since)); err != nil {
			return 0, err
		}
		p, found, err = n.readRoute(app)
	}
	if err != nil {
		return 0, fmt.Errorf("find partition of application %d: %w", app, err)
	}
	if !found || uint32(p) > n.cluster.Partitions {
		return 0, fault.New(fault.NotFound, "no application has number %d", app)
	}
	n.routes.Store(app, p)
	return p, nil
}

func (n *Node) readRoute(app entity.AppID) (entity.Partition, bool, error) {
	view := n.store.State().View(entity.System)
	p, _, found, err := storage.ReadRoute(view, app)
	return p, found, errors.Join(err, view.Close())
}

// ChoosePartition returns the partition with the fewest applications, for a
// new one.
func (n *Node) ChoosePartition() (entity.Partition, error) {
	view := n.store.State().View(entity.System)
	routes, err := storage.Routes(view)
	if err = errors.Join(err, view.Close()); err != nil {
		return 0, fmt.Errorf("count applications: %w", err)
	}
	load := make([]int, n.cluster.Partitions+1)
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
			for _, g := range n.running() {
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
		if n.diskFull.Load() { // others may have room
			wait, cancel := context.WithTimeout(ctx, changeTimeout)
			_ = each(n.running(), func(g *group) error { g.handOver(wait); return nil })
			cancel()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func markAll(groups []*group) error { return each(groups, (*group).mark) }

// each calls f for all groups at once.
func each(groups []*group, f func(*group) error) error {
	errs := make([]error, len(groups))
	var wg sync.WaitGroup
	for i, g := range groups {
		wg.Go(func() { errs[i] = f(g) })
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

// Close hands over what this node leads, refuses new proposals, waits for those
// in flight, makes everything durable with a marker for every replica, so that
// the next start replays nothing, and stops. It is safe to call more than once.
func (n *Node) Close(ctx context.Context) error {
	n.closeOnce.Do(func() {
		n.stopWork()
		n.work.Wait()
		drain, cancel := context.WithTimeout(ctx, n.cfg.DrainTimeout)
		defer cancel()
		groups := n.running()
		_ = each(groups, func(g *group) error { g.handOver(drain); return nil })
		n.stopping.Store(true)
		errs := []error{each(groups, func(g *group) error {
			if err := g.drain(drain); err != nil {
				return fmt.Errorf("partition %d: writes in flight: %w", g.partition, err)
			}
			return nil
		})}
		errs = append(errs, n.disconnect(ctx), markAll(groups), n.closeGroups(), n.store.Close())
		n.closeErr = errors.Join(errs...)
		if n.closeErr == nil {
			n.log.Info("node stopped")
		}
	})
	return n.closeErr
}

// disconnect ends everything between this node and others but Raft, whose lanes its
// groups close.
func (n *Node) disconnect(ctx context.Context) error {
	var errs []error
	stop, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if n.gossip != nil {
		if err := n.gossip.Close(stop); err != nil { // the others notice by themselves
			n.log.Info("others were not told that this node stops", "error", err)
		}
	}
	if n.rpc != nil {
		errs = append(errs, n.rpc.Close(stop))
	}
	if n.links != nil {
		n.links.close()
	}
	if n.network != nil {
		errs = append(errs, n.network.Close())
	}
	n.serving.Wait()
	return errors.Join(errs...)
}

func (n *Node) closeGroups() error { return each(n.running(), (*group).close) }
