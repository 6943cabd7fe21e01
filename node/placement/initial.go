package placement

import (
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
)

// Initial returns the placements of a new cluster: the system partition's, which
// has formed already with the replicas given, and those of the partitions 1 to
// partitions, which nobody has formed yet, over the nodes that are active. At
// least one has to be.
func Initial(nodes []entity.Member, partitions uint32, replication int, system []entity.Replica) []entity.Placement {
	c := Cluster{Replication: max(1, replication)}
	for _, m := range nodes {
		if m.State == entity.Active {
			c.Nodes = append(c.Nodes, Node{Member: m})
		}
	}
	for i := range partitions {
		c.Placements = append(c.Placements, entity.Placement{Partition: entity.Partition(i + 1), Formed: true, Next: 1})
	}
	pl := newPlanner(c)
	for i := range pl.table {
		p := &pl.table[i]
		pl.replace(p, pl.fill(*p))
	}
	c.Placements = pl.table

	// What is spread as well as one partition after the other can be is not
	// always what a plan would leave alone.
	for changes := Plan(c); len(changes) > 0; changes = Plan(c) {
		for _, change := range changes {
			c.Placements[change.Placement.Partition-1] = change.Placement
		}
	}

	all := []entity.Placement{{Version: 1, Formed: true, Next: 1, Replicas: slices.Clone(system)}}
	for _, r := range system {
		all[0].Next = max(all[0].Next, r.Number+1)
	}
	for _, p := range c.Placements {
		for i := range p.Replicas {
			p.Replicas[i].Number = uint32(i + 1)
		}
		p.Version, p.Formed, p.Next = 1, false, uint32(len(p.Replicas)+1)
		all = append(all, p)
	}
	return all
}

// fill returns p with all its replicas, where the one whose node leads the
// fewest partitions is the first.
func (pl *planner) fill(p entity.Placement) entity.Placement {
	first := 0
	for i := range min(pl.replication, pl.usable) {
		n := pl.candidates(&p)[0]
		p.Replicas = append(p.Replicas, entity.Replica{Node: n.ID, Number: p.Next, Voter: true})
		p.Next++
		if n.leads < pl.node(p.Replicas[first]).leads {
			first = i
		}
	}
	if len(p.Replicas) > 0 {
		p.Replicas = lead(p.Replicas, first)
	}
	return p
}
