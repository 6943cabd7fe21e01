package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/node/gossip"
	"github.com/trellisdb/trellis/node/rpc"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Protocol is the newest version of commands and messages this program
// understands. The cluster uses what all its members understand.
const Protocol = 4

// Pauses of what waits for other nodes.
const (
	gatherPause   = 100 * time.Millisecond
	registerPause = time.Second
	askTimeout    = 3 * time.Second
)

// enter gets this node its replica of the system partition: from its disk, by
// forming a cluster, or by joining one. It waits for other nodes as long as ctx
// lets it.
func (n *Node) enter(ctx context.Context) (*group, error) {
	number, err := n.store.Replica(entity.System)
	if err != nil {
		return nil, fmt.Errorf("look for a replica of the system partition: %w", err)
	}
	if number != 0 {
		return n.openSystem(number, nil)
	}
	if n.cfg.Expect == 1 && len(n.cfg.Join) == 0 {
		return n.formAlone()
	}
	var told, refused time.Time
	for {
		g, waitsFor, err := n.gather(ctx)
		switch {
		case g != nil:
			return g, nil
		case err == nil:
			refused = time.Time{}
		case !fault.Is(err, fault.Conflict) || !refused.IsZero() && time.Since(refused) > n.cfg.NameWait:
			return nil, err
		default:
			// A node that has lost its disk comes back under its name before gossip has
			// found its former self dead.
			if refused.IsZero() {
				refused = time.Now()
				n.log.Warn("refused, trying again for a while", "error", err)
			}
			waitsFor = err.Error()
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			n.log.Info("waiting to belong to a cluster", "for", waitsFor)
		}
		select {
		case <-time.After(gatherPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", waitsFor, context.Cause(ctx))
		}
	}
}

func (n *Node) openSystem(number uint32, form []raft.Server) (*group, error) {
	return openGroup(n, entity.System, entity.Replica{Node: n.ID(), Number: number, Voter: true}, form)
}

// formAlone makes this node a cluster of its own.
func (n *Node) formAlone() (*group, error) {
	if n.store.Identity().Cluster.IsZero() {
		if err := n.belong(entity.NewID()); err != nil {
			return nil, err
		}
	}
	return n.openSystem(1, servers([]entity.NodeID{n.ID()}))
}

// servers is the first configuration of the system partition: replica i+1 on
// node i, all of them voters.
func servers(nodes []entity.NodeID) []raft.Server {
	list := make([]raft.Server, len(nodes))
	for i, id := range nodes {
		list[i] = server(entity.Replica{Node: id, Number: uint32(i + 1), Voter: true})
	}
	return list
}

func server(r entity.Replica) raft.Server {
	s := raft.Server{ID: raft.ServerID(r.ServerID()), Address: raft.ServerAddress(r.ServerID()), Suffrage: raft.Nonvoter}
	if r.Voter {
		s.Suffrage = raft.Voter
	}
	return s
}

// belong notes durably to which cluster this node belongs, and tells the others.
func (n *Node) belong(cluster entity.ID) error {
	if err := n.store.SetCluster(cluster); err != nil {
		return fmt.Errorf("note the cluster: %w", err)
	}
	if n.gossip == nil {
		return nil
	}
	return n.gossip.Update(func(p *gossip.Peer) { p.Cluster, p.Expect = cluster, 0 })
}

// gather looks once whether a cluster can be formed or joined. Without a
// replica and an error, it says what it waits for.
func (n *Node) gather(ctx context.Context) (*group, string, error) {
	if g, err := n.adopted(); err != nil || g != nil {
		return g, "", err
	}
	peers := n.gossip.Peers()
	mine := n.store.Identity().Cluster
	var formed []gossip.Peer
	var fellows []entity.NodeID // who wait as this node does
	for _, p := range peers {
		switch {
		case p.ID == n.ID():
			fellows = append(fellows, p.ID)
		case !p.Cluster.IsZero() && (mine.IsZero() || p.Cluster == mine):
			formed = append(formed, p)
		case p.Expect == uint32(n.cfg.Expect):
			fellows = append(fellows, p.ID)
		}
	}
	if len(formed) > 0 {
		if g, err := n.join(ctx, formed); err != nil || g != nil || mine.IsZero() {
			return g, "an answer of the cluster's members", err
		}
		// This node may have stopped while it was forming the cluster that the
		// others have promised to belong to.
		for _, p := range formed {
			fellows = append(fellows, p.ID)
		}
	}
	if n.cfg.Expect <= 1 {
		return nil, "a member of a cluster among those to join", nil
	}
	if len(fellows) > n.cfg.Expect {
		return nil, fmt.Sprintf("less than %d nodes that expect %d", len(fellows), n.cfg.Expect), nil
	}
	waits := fmt.Sprintf("%d nodes that expect %d, there are %d", n.cfg.Expect, n.cfg.Expect, len(fellows))
	if len(fellows) < n.cfg.Expect || slices.Min(fellows) != n.ID() {
		return nil, waits, nil
	}
	slices.Sort(fellows)
	g, err := n.form(ctx, fellows)
	return g, waits, err
}

// form forms a cluster with others that have all promised to belong to it. The
// node with the smallest id does; it forms the group of the system partition
// alone, the others wait to be spoken to.
func (n *Node) form(ctx context.Context, nodes []entity.NodeID) (*group, error) {
	n.forming.Lock() // against a promise to somebody else meanwhile
	defer n.forming.Unlock()
	cluster := n.store.Identity().Cluster
	if cluster.IsZero() {
		cluster = entity.NewID()
		if err := n.store.SetCluster(cluster); err != nil { // before anybody promises: after a crash it is the same one
			return nil, fmt.Errorf("note the cluster: %w", err)
		}
	}
	for _, id := range nodes {
		if id == n.ID() {
			continue
		}
		k, err := n.links.to(id)
		if err != nil {
			return nil, err
		}
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		err = k.client.Adopt(ask, rpc.Adopt{Cluster: cluster, Nodes: nodes})
		cancel()
		if err != nil {
			n.log.Warn("a node does not agree to form the cluster, trying again", "node", id, "error", err)
			return nil, nil
		}
	}
	g, err := n.openSystem(1, servers(nodes)) // this node is the first
	if err != nil {
		return nil, err
	}
	n.log.Info("cluster formed", "cluster", cluster, "nodes", nodes)
	return g, n.belong(cluster)
}

// serveAdopt answers whether this node will belong to a new cluster. It says yes
// to one only, for ever.
func (n *Node) serveAdopt(_ context.Context, a rpc.Adopt) error {
	i := slices.Index(a.Nodes, n.ID())
	if i < 0 || len(a.Nodes) != n.cfg.Expect || a.Cluster.IsZero() {
		return fault.New(fault.Conflict, "node %s expects %d nodes and was named among %v", n.ID(), n.cfg.Expect, a.Nodes)
	}
	if n.formed.Load() {
		return fault.New(fault.Conflict, "node %s belongs to a cluster that is formed", n.ID())
	}
	if !n.forming.TryLock() {
		return fault.New(fault.Conflict, "node %s is forming a cluster itself", n.ID())
	}
	defer n.forming.Unlock()
	number := uint32(i + 1)
	if has, err := n.store.Replica(entity.System); err != nil || (has != 0 && has != number) {
		return errors.Join(err, fault.New(fault.Conflict, "node %s has replica %d of the system partition", n.ID(), has))
	}
	if err := n.belong(a.Cluster); err != nil {
		return fault.Wrap(err, fault.Conflict, "node %s belongs to another cluster", n.ID())
	}
	if err := n.store.Adopt(entity.System, number); err != nil {
		return err
	}
	return nil
}

// adopted opens the replica of the system partition that a promise has brought.
func (n *Node) adopted() (*group, error) {
	number, err := n.store.Replica(entity.System)
	if err != nil || number == 0 {
		return nil, err
	}
	return n.openSystem(number, nil)
}

// self is what this node says of itself as a member.
func (n *Node) self() entity.Member {
	return entity.Member{
		ID: n.ID(), State: entity.Active,
		ClusterAddr: n.advertised.cluster, GossipAddr: n.advertised.gossip, HTTPAddr: n.cfg.HTTPAddr,
		Zone: n.cfg.Zone, Version: n.cfg.Version, Protocol: Protocol, Joined: time.Now().UnixMilli(),
	}
}

// join asks members of a cluster to take this node in, until one has a replica
// of the system partition for it.
func (n *Node) join(ctx context.Context, members []gossip.Peer) (*group, error) {
	for _, m := range members {
		client, err := n.links.at(m.ClusterAddr)
		if err != nil {
			return nil, err
		}
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		a, err := client.Join(ask, rpc.Join{Member: n.self(), Cluster: n.store.Identity().Cluster, Replaces: true})
		cancel()
		client.Close()
		if fault.Is(err, fault.Conflict) || fault.Is(err, fault.IllegalArgument) {
			return nil, fmt.Errorf("join the cluster at %s: %w", m.ClusterAddr, err)
		}
		if err != nil {
			n.log.Debug("not taken in yet", "by", m.ID, "error", err)
			continue
		}
		if err := n.belong(a.Cluster); err != nil {
			return nil, err
		}
		if a.System.Number == 0 {
			return nil, nil // known, and placed soon
		}
		n.log.Info("joined the cluster", "cluster", a.Cluster, "through", m.ID)
		return n.openSystem(a.System.Number, nil)
	}
	return nil, nil
}

// serveJoin takes a node in, or notes where a member is to be found now. Any
// member does it: the table of members decides.
func (n *Node) serveJoin(ctx context.Context, j rpc.Join) (rpc.Joined, error) {
	cluster := n.store.Identity().Cluster
	if cluster.IsZero() || !n.formed.Load() {
		return rpc.Joined{}, fault.New(fault.NoQuorum, "node %s does not belong to a cluster yet", n.ID())
	}
	if !j.Cluster.IsZero() && j.Cluster != cluster {
		return rpc.Joined{}, fault.New(fault.Conflict, "node %s belongs to cluster %s, this is %s", j.Member.ID, j.Cluster, cluster)
	}
	if err := n.register(ctx, j.Member, j.Replaces); err != nil {
		return rpc.Joined{}, err
	}
	place, err := n.placement(entity.System)
	if err != nil {
		return rpc.Joined{}, err
	}
	r, _ := place.Replica(j.Member.ID)
	return rpc.Joined{Cluster: cluster, System: r}, nil
}

// register enters a node into the table of members.
func (n *Node) register(ctx context.Context, m entity.Member, replaces bool) error {
	if err := n.hosted(entity.System).await(ctx, n.clock()); err != nil {
		return err
	}
	members, needed, err := n.table()
	if err != nil {
		return err
	}
	if m.Protocol < needed {
		return fault.New(fault.Conflict, "node %s understands protocol %d, the cluster uses %d: run a newer version", m.ID, m.Protocol, needed)
	}
	op := command.PutMember{Member: m}
	for _, old := range members {
		if old.ID == m.ID && sameMember(old, m) {
			return nil
		}
		if old.ID != m.ID && old.ID.Name() == m.ID.Name() && old.State != entity.Removed && replaces && !n.alive(old.ID) {
			op.Replaces = old.ID
		}
	}
	out, err := n.Propose(ctx, entity.Management, command.Command{Op: op})
	if err == nil && out.Fault != nil {
		return out.Fault
	}
	return err
}

// sameMember reports whether two records say the same of a node, but for what
// only the cluster knows.
func sameMember(a, b entity.Member) bool {
	if a.State == entity.Removed {
		return false
	}
	b.State, b.Joined = a.State, a.Joined
	return a == b
}

// table returns the members of the cluster and the protocol they use, as this node
// knows them.
func (n *Node) table() (members []entity.Member, protocol uint32, err error) {
	view := n.store.State().View(entity.System)
	members, err = storage.Members(view)
	if err == nil {
		protocol, err = storage.ReadProtocol(view)
	}
	return members, protocol, errors.Join(err, view.Close())
}

// alive reports whether gossip has heard of a node lately.
func (n *Node) alive(id entity.NodeID) bool {
	if id == n.ID() {
		return true
	}
	if n.gossip == nil {
		return false
	}
	_, ok := n.gossip.Peer(id)
	return ok
}

// keepRegistered makes sure that the table of members says of this node what is
// so, as often as that changes. A node that was removed learns it here.
func (n *Node) keepRegistered(ctx context.Context) {
	for {
		err := n.registerSelf(ctx)
		pause := 10 * registerPause
		switch {
		case fault.Is(err, fault.Conflict):
			n.halt(fmt.Errorf("the cluster does not want this node: %w", err))
			return
		case err != nil:
			pause = registerPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// registerSelf registers this node by itself, or through another one if its own
// replica of the table does not follow a majority.
func (n *Node) registerSelf(ctx context.Context) error {
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	err := n.register(ask, n.self(), false)
	cancel()
	if err == nil || fault.Is(err, fault.Conflict) || n.gossip == nil {
		return err
	}
	for _, p := range n.gossip.Peers() {
		if p.ID == n.ID() || p.Cluster.IsZero() {
			continue
		}
		k, err := n.links.to(p.ID)
		if err != nil {
			return err
		}
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		_, err = k.client.Join(ask, rpc.Join{Member: n.self(), Cluster: n.store.Identity().Cluster})
		cancel()
		if err == nil || fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return err
}
