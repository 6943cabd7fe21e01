package placement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
)

// repair returns what an application partition needs so that the right number
// of replicas is on nodes that may hold them, and one of these is to lead.
func (pl *planner) repair(p *entity.Placement) (Change, bool) {
	live, dead := pl.alive(p.Replicas)
	var replicas []entity.Replica
	switch {
	case !p.Formed || len(p.Replicas) == 0:
		return Change{}, false
	case pl.unsettled[p.Partition]:
		replicas = pl.unblocked(p)
	case live > dead:
		replicas = pl.staying(p)
	default:
		return Change{}, false
	}
	next := p.Next
	for i := range replicas {
		if replicas[i].Number == 0 {
			replicas[i].Number = next
			next++
		}
		replicas[i].Voter = true
	}
	if len(replicas) == 0 {
		return Change{}, false
	}
	replicas = pl.electable(p, replicas)
	if slices.Equal(replicas, p.Replicas) {
		return Change{}, false
	}
	change := Change{Placement: successor(p, replicas, next)}
	change.Why = fmt.Sprintf("partition %d: %s", p.Partition, pl.difference(p, &change.Placement))
	return change, true
}

// staying returns the replicas a settled partition is to have next: those that
// stay, in their order, and after them at most one that is new and has no
// number yet.
//
// Those who can still serve leave only after their successors vote; the dead
// leave as soon as a successor is named.
func (pl *planner) staying(p *entity.Placement) []entity.Replica {
	good := pl.good(p.Replicas)
	candidates := pl.candidates(p)
	short := max(0, min(pl.replication, pl.usable)-good)
	coming := min(short, len(candidates))
	added := min(1, coming)

	room := max(0, pl.replication-good) // for those who should leave and can't be replaced, or not yet
	alive := good + added
	stay := make([]bool, len(p.Replicas))
	keep := func(which func(*node) bool, most int) (kept int) {
		for _, i := range byNumber(p.Replicas) {
			if kept < most && which(pl.node(p.Replicas[i])) {
				stay[i] = true
				kept++
			}
		}
		return kept
	}
	keep((*node).usable, good)
	draining := keep(func(n *node) bool { return n.State == entity.Draining && !n.Dead }, room)
	// Who was removed waits for a successor, but not for one that may never come.
	removed := keep(func(n *node) bool { return n.State == entity.Removed && !n.Dead }, min(coming, room-draining))
	alive += draining + removed
	keep(func(n *node) bool { return n.State != entity.Removed && n.Dead }, min(room-draining-removed-added, alive-1))
	if alive == 0 {
		return nil
	}
	if good > pl.replication {
		stay[pl.leastNeeded(p)] = false
	}

	var replicas []entity.Replica
	for i, r := range p.Replicas {
		if stay[i] {
			replicas = append(replicas, r)
		}
	}
	if added > 0 {
		replicas = append(replicas, entity.Replica{Node: candidates[0].ID})
	}
	return replicas
}

// unblocked returns the replicas an unsettled partition is to have next, if it
// might never settle with those it is to have now: one can't come any more, or so
// many have died that whoever else is still in the group can't be let go.
func (pl *planner) unblocked(p *entity.Placement) []entity.Replica {
	others := slices.Clone(p.Replicas)
	missed := pl.missed(p)
	if missed >= 0 {
		others = slices.Delete(others, missed, missed+1)
	} else if live, dead := pl.alive(others); live > dead {
		return nil
	}
	live, dead := pl.alive(others)
	good, candidates := pl.good(others), pl.candidates(p)
	switch {
	case (missed < 0 || good < min(pl.replication, pl.usable)) && len(candidates) > 0:
		return append(others, entity.Replica{Node: candidates[0].ID})
	case missed < 0:
		return nil
	case !pl.node(p.Replicas[missed]).Dead && live <= dead:
		return nil // the dead would be as many as the living
	case pl.node(p.Replicas[missed]).State != entity.Removed && len(others) < pl.replication && live > dead+1,
		live <= dead && good < pl.replication && dead > 0:
		return nil // it may be a voter of old, and nobody could take its place
	}
	return others
}

// missed returns which replica of an unsettled partition may be what it waits for
// in vain, or -1. That is the newest on a dead node, unless all that are older are
// dead too: then it may be the last to have the data, and stays until it is back
// or its node removed. If none is dead it is the newest of all, if its node
// was removed.
func (pl *planner) missed(p *entity.Placement) int {
	order := byNumber(p.Replicas)
	oldest := slices.IndexFunc(order, func(i int) bool { return !pl.node(p.Replicas[i]).Dead })
	if oldest < 0 {
		return -1
	}
	for at, i := range slices.Backward(order) {
		if n := pl.node(p.Replicas[i]); n.Dead && (at > oldest || n.State == entity.Removed) {
			return i
		}
	}
	if last := len(order) - 1; last > oldest && pl.node(p.Replicas[order[last]]).State == entity.Removed {
		return order[last]
	}
	return -1
}

// good counts the replicas that are where they may stay.
func (pl *planner) good(replicas []entity.Replica) (n int) {
	for _, r := range replicas {
		if pl.node(r).usable() {
			n++
		}
	}
	return n
}

// candidates returns the nodes that could take another replica of p, the best
// first: those in the zones with the fewest of its replicas, and among them the
// emptiest.
func (pl *planner) candidates(p *entity.Placement) []*node {
	var all []*node
	zone := make(map[string]int)
	for _, r := range p.Replicas {
		if n := pl.node(r); n.usable() {
			zone[n.Zone]++
		}
	}
	for _, n := range pl.nodes {
		if _, holds := p.Replica(n.ID); !holds && n.usable() && !n.Down && pl.follows(n) {
			all = append(all, n)
		}
	}
	slices.SortStableFunc(all, func(a, b *node) int {
		return cmp.Or(cmp.Compare(zone[a.Zone], zone[b.Zone]), cmp.Compare(a.replicas, b.replicas), cmp.Compare(a.load, b.load))
	})
	return all
}

// follows reports whether a node is to have the system partition, and so the table.
func (pl *planner) follows(n *node) bool {
	if pl.system == nil {
		return true
	}
	_, follows := pl.system.Replica(n.ID)
	return follows
}

// leastNeeded returns which of too many replicas on usable nodes is to go: the
// one in the most crowded zone, there the one on the fullest node, and rather
// one that is not to lead.
func (pl *planner) leastNeeded(p *entity.Placement) int {
	zone := make(map[string]int)
	for _, r := range p.Replicas {
		if n := pl.node(r); n.usable() {
			zone[n.Zone]++
		}
	}
	worst := -1
	for i, r := range p.Replicas {
		n := pl.node(r)
		if !n.usable() {
			continue
		}
		if worst < 0 {
			worst = i
			continue
		}
		w := pl.node(p.Replicas[worst])
		if cmp.Or(cmp.Compare(zone[n.Zone], zone[w.Zone]), cmp.Compare(n.replicas, w.replicas), cmp.Compare(i, worst)) > 0 {
			worst = i
		}
	}
	return worst
}

// electable returns the replicas with one in front that may lead: where the
// first is on a node which is dead or has to go, the one whose node leads the
// fewest partitions, of those that have their data.
func (pl *planner) electable(p *entity.Placement, replicas []entity.Replica) []entity.Replica {
	if pl.node(replicas[0]).usable() {
		return replicas
	}
	best := -1
	for i, r := range replicas {
		n := pl.node(r)
		if _, had := p.Replica(r.Node); !had || !n.usable() {
			continue
		}
		if best < 0 || n.leads < pl.node(replicas[best]).leads {
			best = i
		}
	}
	if best < 0 {
		return replicas
	}
	return lead(replicas, best)
}

// byNumber returns the positions of replicas, the oldest replica first.
func byNumber(replicas []entity.Replica) []int {
	order := make([]int, len(replicas))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(replicas[a].Number, replicas[b].Number) })
	return order
}
