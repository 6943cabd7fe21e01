package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/node/peer"
	"github.com/trellisdb/trellis/node/placement"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Roles of a replica.
const (
	roleLeader   = "leader"
	roleFollower = "follower"
	roleNonvoter = "nonvoter"
)

// Report is how a node is, for operators and for the leader of the system
// partition. It crosses between nodes as JSON.
type Report struct {
	Node       entity.NodeID     `json:"node"`
	Version    string            `json:"version"`
	Ready      bool              `json:"ready"` // every replica follows a leader, or leads
	DiskFull   bool              `json:"diskFull"`
	Partitions []PartitionStatus `json:"partitions"`
}

// PartitionStatus are the figures of one replica on this node.
type PartitionStatus struct {
	Partition entity.Partition `json:"partition"`
	Server    string           `json:"server"` // name of the replica in its Raft group
	Role      string           `json:"role"`   // leader, follower or nonvoter
	Leader    string           `json:"leader"` // server that leads, empty: nobody is known to
	Term      uint64           `json:"term"`
	Ready     bool             `json:"ready"`             // serves linearizable reads and writes, as far as is known
	Applied   uint64           `json:"applied"`           // last log index in the state
	Commit    uint64           `json:"commit"`            // last log index known to be committed
	Fresh     int64            `json:"freshMs"`           // age in ms of the last proof that the replica was up to date; -1: none yet
	Servers   []ServerStatus   `json:"servers,omitempty"` // the group's configuration, from its leader

	Marker   uint64 `json:"marker"`   // log index up to which the state is known to be on disk
	Queued   int64  `json:"queued"`   // commands waiting or under way
	Accepted uint64 `json:"accepted"` // commands taken since the start
	Refused  uint64 `json:"refused"`  // commands refused because the queue was full
	Entries  uint64 `json:"entries"`  // log entries proposed since the start
	LogBytes uint64 `json:"logBytes"` // bytes appended to the log since the start
	Sending  int    `json:"sending"`  // followers that are being sent the whole state
}

// ServerStatus is a member of a Raft group.
type ServerStatus struct {
	ID    string `json:"id"`
	Voter bool   `json:"voter"`
}

func (p *PartitionStatus) servers() []placement.Server {
	out := make([]placement.Server, len(p.Servers))
	for i, s := range p.Servers {
		out[i] = placement.Server(s)
	}
	return out
}

// Partitions returns the figures of all replicas here, the system partition
// first.
func (n *Node) Partitions() []PartitionStatus {
	var out []PartitionStatus
	for _, g := range n.running() {
		out = append(out, g.status())
	}
	return out
}

func (g *group) status() PartitionStatus {
	s := PartitionStatus{
		Partition: g.partition,
		Server:    string(g.id),
		Role:      roleFollower,
		Leader:    string(g.leader.Load().server),
		Term:      g.raft.CurrentTerm(),
		Ready:     g.ready(),
		Applied:   g.machine.Applied(),
		Commit:    g.raft.CommitIndex(),
		Fresh:     -1,
		Marker:    g.markedIndex.Load(),
		Queued:    g.queue.unanswered.Load(),
		Accepted:  g.queue.accepted.Load(),
		Refused:   g.queue.refused.Load(),
		Entries:   g.queue.entriesSent.Load(),
		LogBytes:  g.entries.appended.Load(),
		Sending:   g.snaps.Sending(),
	}
	if fresh := g.reads.fresh.Load(); fresh > 0 {
		s.Fresh = (g.node.clock() - fresh) / int64(time.Millisecond)
	}
	if g.alone.Load() && g.leads() {
		s.Fresh = 0
	}
	servers := g.servers()
	if g.leads() {
		s.Role = roleLeader
		for _, other := range servers {
			s.Servers = append(s.Servers, ServerStatus{ID: string(other.ID), Voter: other.Suffrage == raft.Voter})
		}
		return s
	}
	for _, other := range servers {
		if other.ID == g.id && other.Suffrage != raft.Voter {
			s.Role = roleNonvoter
		}
	}
	return s
}

// Report returns how this node is.
func (n *Node) Report() Report {
	return Report{
		Node: n.ID(), Version: n.cfg.Version, DiskFull: n.diskFull.Load(),
		Ready: n.Healthy(context.Background()) == nil, Partitions: n.Partitions(),
	}
}

// MemberStatus is a member of the cluster, and its report if it answers.
type MemberStatus struct {
	entity.Member
	Alive  bool
	Report *Report // nil: it did not answer
}

// ClusterStatus is what this node knows of its cluster and what the others say.
type ClusterStatus struct {
	Cluster    entity.ID
	Protocol   uint32
	Members    []MemberStatus
	Placements []entity.Placement
}

// ClusterStatus asks all members how they are. It needs no majority: what it
// shows of the tables can be old.
func (n *Node) ClusterStatus(ctx context.Context) (ClusterStatus, error) {
	members, protocol, err := n.table()
	if err != nil {
		return ClusterStatus{}, err
	}
	table, err := n.placements()
	if err != nil {
		return ClusterStatus{}, err
	}
	s := ClusterStatus{Cluster: n.store.Identity().Cluster, Protocol: protocol, Placements: table}
	reports := map[entity.NodeID]*Report{}
	for _, r := range n.askReports(ctx, members) {
		reports[r.Node] = &r
	}
	for _, m := range members {
		s.Members = append(s.Members, MemberStatus{Member: m, Alive: n.alive(m.ID), Report: reports[m.ID]})
	}
	return s, nil
}

// FindMember returns the member an operator means by an id or a name. Faults:
// EntityNotFound, Conflict (several have the name).
func (n *Node) FindMember(ctx context.Context, nameOrID string) (entity.Member, error) {
	if err := n.hosted(entity.System).await(ctx, n.clock()); err != nil {
		return entity.Member{}, err
	}
	members, _, err := n.table()
	if err != nil {
		return entity.Member{}, err
	}
	var found []entity.Member
	for _, m := range members {
		if string(m.ID) == nameOrID {
			return m, nil
		}
		if m.ID.Name() == nameOrID && m.State != entity.Removed {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return entity.Member{}, fault.New(fault.EntityNotFound, "the cluster has no node %q", nameOrID)
	case 1:
		return found[0], nil
	}
	return entity.Member{}, fault.New(fault.Conflict, "several nodes are called %q, name one by its id", nameOrID)
}

// SetMemberState drains a member, takes it back into service, or removes it for
// good. A live node is removed only once it holds no application's data any more, unless
// force is set. Faults: those of Propose, EntityNotFound, Conflict.
func (n *Node) SetMemberState(ctx context.Context, id entity.NodeID, state entity.MemberState, force bool) error {
	if state == entity.Removed && !force {
		table, err := n.placements()
		if err != nil {
			return err
		}
		for _, place := range table {
			if _, holds := place.Replica(id); holds && place.Partition != entity.System {
				return fault.New(fault.Conflict, "node %s holds a replica of partition %d: drain it first, or force the removal", id, place.Partition)
			}
		}
	}
	return n.command(ctx, command.SetMemberState{ID: id, State: state})
}

// Storage returns the figures of the node's databases.
func (n *Node) Storage() storage.Metrics { return n.store.Metrics() }

// Healthy returns nil if every replica here serves and the store can be read.
// Faults: NoQuorum, Stopping, Corrupt.
func (n *Node) Healthy(context.Context) error {
	if n.stopping.Load() {
		return stopping()
	}
	if !n.formed.Load() {
		return fault.New(fault.NoQuorum, "this node does not belong to a cluster yet")
	}
	for _, g := range n.running() {
		if !g.ready() {
			return fault.New(fault.NoQuorum, "partition %d has no leader, or this node is behind it", g.partition)
		}
	}
	table, err := n.placements()
	if err != nil {
		return err
	}
	for _, place := range table {
		if _, wanted := place.Replica(n.ID()); wanted && n.hosted(place.Partition) == nil {
			return fault.New(fault.NoQuorum, "partition %d is not open yet", place.Partition)
		}
	}
	_, err = n.store.State().Applied(entity.System)
	return err
}

// traffic counts what goes on between this node and others.
type traffic struct {
	forwarded atomic.Uint64
	retried   atomic.Uint64
	asked     atomic.Uint64
	confirmed atomic.Uint64
}

// Traffic are the figures of what goes on between this node and others, since the
// start.
type Traffic struct {
	Forwarded uint64     // proposals sent to other nodes
	Retried   uint64     // tries of proposals after the first: leaders that changed or did not answer
	Asked     uint64     // rounds in which the leader elsewhere was asked for a read index
	Confirmed uint64     // rounds in which a majority was asked for its term
	Alive     int        // nodes that gossip hears of, this one included; 0 without gossip
	Ignored   uint64     // gossip that was not understood, or of another cluster
	Port      peer.Stats // of the port between nodes; empty without one
}

// Traffic returns the figures of now.
func (n *Node) Traffic() Traffic {
	t := Traffic{
		Forwarded: n.traffic.forwarded.Load(), Retried: n.traffic.retried.Load(),
		Asked: n.traffic.asked.Load(), Confirmed: n.traffic.confirmed.Load(),
	}
	if n.gossip != nil {
		t.Alive, t.Ignored = len(n.gossip.Peers()), n.gossip.Ignored()
	}
	if n.network != nil {
		t.Port = n.network.Stats()
	}
	return t
}
