package placement

import (
	"cmp"
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
)

// group is a Raft group as its leader sees it. Each of its methods that return a
// step is one rule of Reconcile, and returns none if it has nothing to say.
type group struct {
	want     []entity.Replica
	wanted   map[string]entity.Replica // by server id
	servers  []Server                  // in the order they leave: the dead first, self last
	have     map[string]Server
	standing map[string]Standing
	self     string
	voters   int // in the configuration
	fit      int // of them, alive and caught up
}

func newGroup(want entity.Placement, have []Server, standing map[string]Standing, self string) *group {
	g := &group{
		want:     want.Replicas,
		wanted:   make(map[string]entity.Replica, len(want.Replicas)),
		servers:  slices.Clone(have),
		have:     make(map[string]Server, len(have)),
		standing: standing,
		self:     self,
	}
	for _, r := range want.Replicas {
		g.wanted[r.ServerID()] = r
	}
	for _, s := range have {
		g.have[s.ID] = s
		if s.Voter {
			g.voters++
			if g.isFit(s.ID) {
				g.fit++
			}
		}
	}
	turn := func(s Server) int {
		switch {
		case s.ID == self:
			return 2
		case g.alive(s.ID):
			return 1
		}
		return 0
	}
	slices.SortFunc(g.servers, func(a, b Server) int {
		return cmp.Or(cmp.Compare(turn(a), turn(b)), cmp.Compare(a.ID, b.ID))
	})
	return g
}

func (g *group) leads() bool { return g.have[g.self].Voter }

func (g *group) alive(id string) bool { return id == g.self || g.standing[id].Alive }

func (g *group) isFit(id string) bool {
	return id == g.self || g.standing[id].Alive && g.standing[id].CaughtUp
}

// carries reports whether the group has a majority that is alive and caught up
// without a voter.
func (g *group) carries(without string) bool {
	fit := g.fit
	if g.isFit(without) {
		fit--
	}
	return 2*fit > g.voters-1
}

// predecessor returns the server of the group that has to go before a wanted
// replica can come: another replica of the same node.
func (g *group) predecessor(of entity.Replica) (Server, bool) {
	for _, s := range g.servers {
		r, ok := entity.ParseServerID(s.ID)
		if _, wanted := g.wanted[s.ID]; ok && !wanted && r.Node == of.Node {
			return s, true
		}
	}
	return Server{}, false
}

// successor reports whether a server has to go so that another replica of its
// node can come.
func (g *group) successor(to Server) bool {
	return slices.ContainsFunc(g.want, func(r entity.Replica) bool {
		before, ok := g.predecessor(r)
		return ok && before == to && !g.have[r.ServerID()].Voter
	})
}

// clear takes out of the group what nobody wants and can go at once: non-voters,
// and dead voters whose node is to have another replica.
func (g *group) clear() Step {
	for _, s := range g.servers {
		if _, wanted := g.wanted[s.ID]; !wanted && !s.Voter {
			return Step{Kind: Remove, Server: s.ID}
		}
	}
	for _, s := range g.servers {
		if !g.alive(s.ID) && g.successor(s) && g.carries(s.ID) {
			return Step{Kind: Remove, Server: s.ID}
		}
	}
	return Step{}
}

// add lets the first wanted server join that hasn't yet and whose node can run it.
func (g *group) add() Step {
	for _, r := range g.want {
		if _, joined := g.have[r.ServerID()]; joined {
			continue
		}
		if _, waits := g.predecessor(r); !waits {
			return Step{Kind: AddNonvoter, Server: r.ServerID()}
		}
	}
	return Step{}
}

// promote gives the first wanted voter its vote that has caught up.
func (g *group) promote() Step {
	for _, r := range g.want {
		id := r.ServerID()
		s, joined := g.have[id]
		if !r.Voter || !joined || s.Voter || !g.isFit(id) || 2*(g.fit+1) <= g.voters+1 {
			continue
		}
		if _, waits := g.predecessor(r); !waits {
			return Step{Kind: Promote, Server: id}
		}
	}
	return Step{}
}

// incoming reports whether a wanted voter that is alive has yet to get its vote.
// One that waits for another replica of its node to go is not alive in that sense.
func (g *group) incoming() bool {
	return slices.ContainsFunc(g.want, func(r entity.Replica) bool {
		id := r.ServerID()
		_, waits := g.predecessor(r)
		return r.Voter && !g.have[id].Voter && g.alive(id) && !waits
	})
}

// dismiss takes the vote of the first voter that is not to have it.
//
// It waits for the wanted voters that are alive. And it waits for a majority of
// all that are wanted to vote, be alive and caught up: while they are away, who
// is not wanted holds their place. That doesn't save a voter whose own node is
// to have another replica; and where one such waits, it doesn't save the dead.
func (g *group) dismiss() Step {
	if g.incoming() {
		return Step{}
	}
	wanted, ready, waiting := 0, 0, false
	for _, r := range g.want {
		if !r.Voter {
			continue
		}
		wanted++
		if id := r.ServerID(); g.have[id].Voter && g.isFit(id) {
			ready++
		}
		_, waits := g.predecessor(r)
		waiting = waiting || waits
	}
	for _, s := range g.servers {
		r, stays := g.wanted[s.ID]
		if !s.Voter || r.Voter || s.ID == g.self || !g.carries(s.ID) {
			continue
		}
		if 2*ready > wanted || waiting && !g.alive(s.ID) || g.successor(s) {
			if stays {
				return Step{Kind: Demote, Server: s.ID}
			}
			return Step{Kind: Remove, Server: s.ID}
		}
	}
	return Step{}
}

// stepAside hands the lead over if the leader is not to vote, so that the next
// one can take its vote.
func (g *group) stepAside() Step {
	if g.wanted[g.self].Voter {
		return Step{}
	}
	for _, r := range g.want {
		if id := r.ServerID(); r.Voter && g.have[id].Voter && g.isFit(id) {
			return Step{Kind: Transfer, Server: id}
		}
	}
	if g.incoming() || !g.successor(g.have[g.self]) || !g.carries(g.self) {
		return Step{}
	}
	for _, s := range g.servers {
		if s.Voter && s.ID != g.self && g.isFit(s.ID) {
			return Step{Kind: Transfer, Server: s.ID}
		}
	}
	return Step{}
}

// prefer hands the lead to the replica that is to lead, once all is settled.
func (g *group) prefer() Step {
	if len(g.want) == 0 || !g.settled() {
		return Step{}
	}
	first := g.want[0].ServerID()
	if first == g.self || !g.have[first].Voter || !g.isFit(first) {
		return Step{}
	}
	return Step{Kind: Transfer, Server: first}
}

// settled is what Settled says.
func (g *group) settled() bool {
	if len(g.want) != len(g.have) {
		return false
	}
	for _, r := range g.want {
		s, joined := g.have[r.ServerID()]
		if !joined && r.Voter && g.voters == 1 {
			s, joined = g.predecessor(r)
		}
		if !joined || s.Voter != r.Voter {
			return false
		}
	}
	return true
}
