package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
)

// changesAtOnce is how many placements one plan replaces at most, orders of
// replicas aside: what follows is decided once these are under way.
const changesAtOnce = 4

// Node is a member as the planner sees it.
type Node struct {
	entity.Member
	Dead bool // not heard of for longer than the grace time
	Down bool // not heard of right now
}

// Cluster is what a plan depends on, in any order.
type Cluster struct {
	Nodes      []Node
	Placements []entity.Placement // partition 0 is the system partition
	// Unsettled: the Raft configuration isn't yet what the present version of the
	// placement wants. A group whose leader is not heard of keeps the answer its
	// last one gave; one that was never heard of is unsettled.
	Unsettled    map[entity.Partition]bool
	Load         map[entity.Partition]int64 // bytes or entities of a replica; without it all are equal
	Replication  int                        // voters of an application partition
	SystemVoters int                        // most voters of the system partition
}

// Change is a placement that is to take the place of the one before it.
type Change struct {
	Placement entity.Placement
	Why       string // a sentence for the log
}

// Plan returns the placements to replace, or nothing if all is as it should be
// or has to wait. Their versions are one up already and new replicas have their
// numbers. The caller has them written while it leads the system partition; one
// that comes too late is refused there because of its version.
func Plan(c Cluster) []Change {
	pl := newPlanner(c)
	var changes []Change
	if change, ok := pl.planSystem(); ok {
		changes = append(changes, change)
	}
	for i := range pl.table {
		if len(changes) == changesAtOnce {
			return changes
		}
		if change, ok := pl.repair(&pl.table[i]); ok {
			changes = append(changes, change)
			pl.replace(&pl.table[i], change.Placement)
		}
	}
	if len(changes) > 0 {
		return changes
	}
	if move, ok := pl.move(); ok {
		if pl.anyUnsettled() {
			return nil
		}
		return []Change{move}
	}
	return pl.spreadLeads()
}

// node is a member with what the table gives it.
type node struct {
	Node
	replicas int   // of application partitions
	load     int64 // of these
	leads    int   // of application partitions, by the order of their replicas
}

// usable reports whether replicas may stay on a node for good.
func (n *node) usable() bool { return n.State == entity.Active && !n.Dead }

// planner is a cluster in order, and the counts its rules go by.
type planner struct {
	nodes       []*node // by id
	byID        map[entity.NodeID]*node
	system      *entity.Placement  // nil: unknown
	table       []entity.Placement // of application partitions, by number
	unsettled   map[entity.Partition]bool
	loads       map[entity.Partition]int64
	replication int
	voters      int
	usable      int // nodes
}

func newPlanner(c Cluster) *planner {
	pl := &planner{
		byID:        make(map[entity.NodeID]*node, len(c.Nodes)),
		unsettled:   c.Unsettled,
		loads:       c.Load,
		replication: max(1, c.Replication),
		voters:      max(1, c.SystemVoters),
	}
	for _, n := range c.Nodes {
		known := &node{Node: n}
		pl.nodes = append(pl.nodes, known)
		pl.byID[n.ID] = known
		if known.usable() {
			pl.usable++
		}
	}
	slices.SortFunc(pl.nodes, func(a, b *node) int { return cmp.Compare(a.ID, b.ID) })
	for _, p := range c.Placements {
		p.Replicas = slices.Clone(p.Replicas)
		if p.Partition == 0 {
			pl.system = &p
		} else {
			pl.table = append(pl.table, p)
		}
	}
	slices.SortFunc(pl.table, func(a, b entity.Placement) int { return cmp.Compare(a.Partition, b.Partition) })
	for i := range pl.table {
		pl.count(&pl.table[i], 1)
	}
	return pl
}

// node returns the node a replica is on. One that nobody knows is as good as removed.
func (pl *planner) node(r entity.Replica) *node {
	n, ok := pl.byID[r.Node]
	if !ok {
		n = &node{Node: Node{Member: entity.Member{ID: r.Node, State: entity.Removed}, Dead: true, Down: true}}
		pl.byID[r.Node] = n
	}
	return n
}

// count adds a placement to the counts of its nodes, or takes it off with -1.
func (pl *planner) count(p *entity.Placement, sign int) {
	for i, r := range p.Replicas {
		n := pl.node(r)
		n.replicas += sign
		n.load += int64(sign) * pl.loads[p.Partition]
		if i == 0 {
			n.leads += sign
		}
	}
}

func (pl *planner) replace(p *entity.Placement, with entity.Placement) {
	pl.count(p, -1)
	*p = with
	pl.count(p, 1)
}

// anyUnsettled reports whether any group has yet to become what the table wants.
func (pl *planner) anyUnsettled() bool {
	if pl.system != nil && pl.unsettled[0] {
		return true
	}
	return slices.ContainsFunc(pl.table, func(p entity.Placement) bool { return !p.Formed || pl.unsettled[p.Partition] })
}

// alive counts the voters on nodes that are not dead, and those on dead ones.
func (pl *planner) alive(replicas []entity.Replica) (live, dead int) {
	for _, r := range replicas {
		switch {
		case !r.Voter:
		case pl.node(r).Dead:
			dead++
		default:
			live++
		}
	}
	return live, dead
}

// successor returns the next version of p with other replicas.
func successor(p *entity.Placement, replicas []entity.Replica, next uint32) entity.Placement {
	return entity.Placement{Partition: p.Partition, Version: p.Version + 1, Formed: p.Formed, Next: next, Replicas: replicas}
}

// lead returns the replicas with the one at i moved to the front.
func lead(replicas []entity.Replica, i int) []entity.Replica {
	first := replicas[i]
	return slices.Insert(slices.Delete(slices.Clone(replicas), i, i+1), 0, first)
}

// difference says what a change does to a placement, in words.
func (pl *planner) difference(old, now *entity.Placement) string {
	var said []string
	for _, r := range now.Replicas {
		before, ok := old.Replica(r.Node)
		switch {
		case !ok || before.Number != r.Number:
			said = append(said, fmt.Sprintf("add %s as %s", r.Node, role(r)))
		case before.Voter != r.Voter:
			said = append(said, fmt.Sprintf("make %s a %s", r.Node, role(r)))
		}
	}
	for _, r := range old.Replicas {
		if after, ok := now.Replica(r.Node); !ok || after.Number != r.Number {
			said = append(said, fmt.Sprintf("drop %s (%s)", r.Node, pl.node(r).condition()))
		}
	}
	if now.Replicas[0].Node != old.Replicas[0].Node {
		said = append(said, fmt.Sprintf("%s is to lead", now.Replicas[0].Node))
	}
	return strings.Join(said, ", ")
}

func role(r entity.Replica) string {
	if r.Voter {
		return "voter"
	}
	return "non-voter"
}

// condition says in a word why a replica may have to leave a node.
func (n *node) condition() string {
	switch {
	case n.State == entity.Removed:
		return "removed"
	case n.Dead:
		return "dead"
	case n.State == entity.Draining:
		return "draining"
	}
	return "not needed"
}
