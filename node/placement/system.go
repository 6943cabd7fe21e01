package placement

import (
	"fmt"
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
)

// planSystem returns what the system partition needs: a replica on every
// member, and the right ones voting.
func (pl *planner) planSystem() (Change, bool) {
	p := pl.system
	if p == nil || !p.Formed || len(p.Replicas) == 0 {
		return Change{}, false
	}
	unsettled := pl.unsettled[0]
	live, dead := pl.alive(p.Replicas)
	if !unsettled && live <= dead {
		return Change{}, false
	}
	next := p.Next
	var replicas []entity.Replica
	for _, r := range p.Replicas {
		if n := pl.node(r); n.State != entity.Removed || pl.busy(n) {
			replicas = append(replicas, r)
		}
	}
	for _, n := range pl.nodes {
		if _, has := p.Replica(n.ID); !has && n.State != entity.Removed {
			replicas = append(replicas, entity.Replica{Node: n.ID, Number: next})
			next++
		}
	}
	if !pl.chooseVoters(replicas) {
		return Change{}, false
	}
	replicas = lead(replicas, pl.fittest(replicas))
	change := Change{Placement: successor(p, replicas, next)}
	if slices.Equal(replicas, p.Replicas) || unsettled && live > dead && !pl.dismisses(p, &change.Placement) {
		return Change{}, false
	}
	change.Why = fmt.Sprintf("system partition: %s", pl.difference(p, &change.Placement))
	return change, true
}

// busy reports whether a removed member may still have a part in the group of
// an application, now or when it is up again. It must see the table until then:
// if it came to lead the group it would go by the table it saw last.
func (pl *planner) busy(n *node) bool {
	return slices.ContainsFunc(pl.table, func(p entity.Placement) bool {
		_, holds := p.Replica(n.ID)
		return holds || p.Formed && pl.unsettled[p.Partition]
	})
}

// dismisses reports whether a voter that is dead or removed votes no more after a change.
func (pl *planner) dismisses(old, now *entity.Placement) bool {
	return slices.ContainsFunc(old.Replicas, func(r entity.Replica) bool {
		n := pl.node(r)
		after, _ := now.Replica(r.Node)
		return r.Voter && !after.Voter && (n.Dead || n.State == entity.Removed)
	})
}

// rank orders members by how fit they are to vote for the system partition.
func rank(n *node) int {
	switch {
	case n.State == entity.Removed:
		return 3
	case n.Dead:
		return 2
	case n.State == entity.Draining:
		return 1
	}
	return 0
}

// chooseVoters says who of the system partition's replicas votes. It reports
// false if nobody alive could.
func (pl *planner) chooseVoters(replicas []entity.Replica) bool {
	var count [4]int
	for _, r := range replicas {
		count[rank(pl.node(r))]++
	}
	members := count[0] + count[1] + count[2]
	// Who is not both active and alive votes only where there would be fewer than three without.
	wanted := max(odd(min(pl.voters, count[0])), min(3, pl.voters, members))

	before := make([]bool, len(replicas))
	for i := range replicas {
		before[i], replicas[i].Voter = replicas[i].Voter, false
	}
	zone := make(map[string]int)
	// better reports whether the replica at i should rather vote than the one at j.
	better := func(i, j int) bool {
		a, b := pl.node(replicas[i]), pl.node(replicas[j])
		switch {
		case rank(a) != rank(b):
			return rank(a) < rank(b)
		case zone[a.Zone] != zone[b.Zone]:
			return zone[a.Zone] < zone[b.Zone]
		case before[i] != before[j]:
			return before[i]
		case a.Down != b.Down:
			return b.Down
		}
		return a.ID < b.ID
	}
	live, dead := 0, 0
	for range wanted {
		best := -1
		for i, r := range replicas {
			if !r.Voter && rank(pl.node(r)) < 3 && (best < 0 || better(i, best)) {
				best = i
			}
		}
		n := pl.node(replicas[best])
		if n.Dead {
			if dead++; dead >= live {
				break // the dead would be as many as the living
			}
		} else {
			live++
		}
		replicas[best].Voter = true
		zone[n.Zone]++
	}
	return live > 0
}

// fittest returns which of the system partition's replicas is to lead: the first
// of the voters that are the fittest, which is the one that has led if it is
// among them.
func (pl *planner) fittest(replicas []entity.Replica) int {
	best := slices.IndexFunc(replicas, func(r entity.Replica) bool { return r.Voter })
	for i, r := range replicas {
		if r.Voter && rank(pl.node(r)) < rank(pl.node(replicas[best])) {
			best = i
		}
	}
	return best
}

// odd returns the number of voters to have with n who could vote: an even
// number of more than two bears no more losses than one less.
func odd(n int) int {
	if n > 2 && n%2 == 0 {
		return n - 1
	}
	return n
}
