package placement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
)

// shift is a replica of a partition going from one node to another.
type shift struct {
	p        *entity.Placement
	from, to *node
	crowding int   // what it adds to the pairs of p's replicas that share a zone
	slope    int   // replicas that from has more than to
	uneven   int64 // difference of load between the two, once it is done
	leads    int   // 1 if it is the replica that is to lead
}

// compare orders shifts, the best first.
func (s *shift) compare(o *shift) int {
	return cmp.Or(
		cmp.Compare(s.crowding, o.crowding),
		-cmp.Compare(s.slope, o.slope),
		cmp.Compare(s.leads, o.leads),
		cmp.Compare(s.uneven, o.uneven),
		cmp.Compare(s.p.Partition, o.p.Partition),
		cmp.Compare(s.from.ID, o.from.ID),
		cmp.Compare(s.to.ID, o.to.ID),
	)
}

// move returns the first half of the shift that serves the cluster best: the
// partition gets a replica on the node it goes to, and once that votes, repair
// finds one too many and takes away the least needed, which is now on the node
// it comes from or on one as full.
//
// A shift either lets fewer replicas of a partition share a zone, or leaves that
// as it is and goes from a node to one with at least two replicas less. The
// first can't go on for ever, nor the second between two of the first.
func (pl *planner) move() (Change, bool) {
	var best *shift
	for i := range pl.table {
		p := &pl.table[i]
		if !pl.movable(p) {
			continue
		}
		for j, r := range p.Replicas {
			for _, to := range pl.candidates(p) {
				s := &shift{p: p, from: pl.node(r), to: to}
				s.slope = s.from.replicas - to.replicas
				s.crowding = pl.crowding(p, s.from, to)
				if s.crowding > 0 || s.crowding == 0 && s.slope < 2 {
					continue
				}
				load := pl.loads[p.Partition]
				s.uneven = max(s.from.load-to.load-2*load, to.load-s.from.load+2*load)
				if j == 0 {
					s.leads = 1
				}
				if best == nil || s.compare(best) < 0 {
					best = s
				}
			}
		}
	}
	if best == nil {
		return Change{}, false
	}
	replicas := append(slices.Clone(best.p.Replicas), entity.Replica{Node: best.to.ID, Number: best.p.Next, Voter: true})
	reason := fmt.Sprintf("which holds fewer replicas than %s", best.from.ID)
	if best.crowding < 0 {
		reason = fmt.Sprintf("since %s shares its zone with another replica", best.from.ID)
	}
	why := fmt.Sprintf("partition %d: add %s as voter, %s", best.p.Partition, best.to.ID, reason)
	return Change{Placement: successor(best.p, replicas, best.p.Next+1), Why: why}, true
}

// movable reports whether a partition is whole, so that a replica may move
// without need.
func (pl *planner) movable(p *entity.Placement) bool {
	if !p.Formed || len(p.Replicas) != pl.replication {
		return false
	}
	return !slices.ContainsFunc(p.Replicas, func(r entity.Replica) bool {
		n := pl.node(r)
		return n.Down || !n.usable()
	})
}

// crowding returns by how many a shift changes the pairs of replicas of p that share a zone.
func (pl *planner) crowding(p *entity.Placement, from, to *node) int {
	if from.Zone == to.Zone {
		return 0
	}
	more, less := 0, 0
	for _, r := range p.Replicas {
		n := pl.node(r)
		if n == from {
			continue
		}
		if n.Zone == to.Zone {
			more++
		}
		if n.Zone == from.Zone {
			less++
		}
	}
	return more - less
}

// step is a partition whose lead could pass to another node.
type step struct {
	p    *entity.Placement
	i    int // replica that would lead
	from *node
}

// spreadLeads returns new orders of replicas with which two nodes' shares of
// the leads differ by less, the largest first. If no single partition can pass
// from the one to the other, several do in a row: the lead of one goes from a
// to b, that of another from b to c. No data moves.
func (pl *planner) spreadLeads() []Change {
	order := slices.Clone(pl.nodes)
	slices.SortStableFunc(order, func(a, b *node) int { return cmp.Compare(b.leads, a.leads) })
	for _, from := range order {
		if from.usable() && from.leads > 1 {
			if changes := pl.passLead(from); changes != nil {
				return changes
			}
		}
	}
	return nil
}

// passLead looks for the node with the fewest leads that one of from's can be
// passed on to, by the shortest way, and returns the changes on that way.
func (pl *planner) passLead(from *node) []Change {
	via := map[*node]step{from: {}}
	to := from
	for queue := []*node{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at.leads < to.leads {
			to = at
		}
		for i := range pl.table {
			p := &pl.table[i]
			if !p.Formed || pl.unsettled[p.Partition] || pl.node(p.Replicas[0]) != at {
				continue
			}
			for j, r := range p.Replicas {
				n := pl.node(r)
				if _, seen := via[n]; !seen && n.usable() && r.Voter {
					via[n] = step{p: p, i: j, from: at}
					queue = append(queue, n)
				}
			}
		}
	}
	if from.leads-to.leads < 2 {
		return nil
	}
	var changes []Change
	for n := to; n != from; n = via[n].from {
		s := via[n]
		changes = append(changes, Change{
			Placement: successor(s.p, lead(s.p.Replicas, s.i), s.p.Next),
			Why:       fmt.Sprintf("partition %d: %s is to lead instead of %s, which leads more", s.p.Partition, n.ID, s.from.ID),
		})
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.Placement.Partition, b.Placement.Partition) })
	return changes
}
