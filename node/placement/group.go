package placement

import (
	"cmp"
	"slices"

	"github.com/trellisdb/trellis/storage/entity"
)

// group is a Raft group as its leader sees it. Each of its methods that return a
// step is one rule of Reconcile, and returns none if it has nothing to say.
//
// A voter that is not wanted stands for a wanted one if that is another replica
// of its node: the node's copy is as good under the old number as it would be
// under the new one, and the node can't have both.
type group struct {
	want     []entity.Replica
	wanted   map[string]entity.Replica // by server id, also of those that stand for one
	servers  []Server                  // in the order they leave: the dead first, self last
	have     map[string]Server
	holder   map[string]string // server id of a wanted replica → of the server that is it or stands for it
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
		holder:   make(map[string]string, len(want.Replicas)),
		standing: standing,
		self:     self,
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
	for _, r := range want.Replicas {
		g.wanted[r.ServerID()] = r
		g.holder[r.ServerID()] = r.ServerID()
	}
	for _, r := range want.Replicas {
		if s, ok := g.predecessor(r); ok && s.Voter && r.Voter && !g.have[r.ServerID()].Voter {
			g.wanted[s.ID] = r
			g.holder[r.ServerID()] = s.ID
		}
	}
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

// predecessor returns the server of the group that is another replica of the
// same node. While it is there, the replica can't come.
func (g *group) predecessor(of entity.Replica) (Server, bool) {
	for _, s := range g.servers {
		if r, ok := entity.ParseServerID(s.ID); ok && r.Node == of.Node && r.Number != of.Number {
			return s, true
		}
	}
	return Server{}, false
}

// clear takes out of the group what nobody wants and can go at once: dead voters
// that stand for other replicas of their nodes, and non-voters.
func (g *group) clear() Step {
	for _, s := range g.servers {
		r, wanted := g.wanted[s.ID]
		if wanted && r.ServerID() != s.ID && !g.alive(s.ID) && g.carries(s.ID) {
			return Step{Kind: Remove, Server: s.ID}
		}
	}
	for _, s := range g.servers {
		if _, wanted := g.wanted[s.ID]; !wanted && !s.Voter {
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

// dismiss takes the vote of the first voter that is not to have it.
//
// It waits for the wanted voters that are alive. And it waits for a majority of
// all that are wanted to vote, be alive and caught up: while they are away, who
// is not wanted holds their place.
func (g *group) dismiss() Step {
	wanted, ready := 0, 0
	for _, r := range g.want {
		if !r.Voter {
			continue
		}
		wanted++
		switch id := g.holder[r.ServerID()]; {
		case !g.have[id].Voter && g.alive(id):
			return Step{}
		case g.have[id].Voter && g.isFit(id):
			ready++
		}
	}
	if 2*ready <= wanted {
		return Step{}
	}
	for _, s := range g.servers {
		r, stays := g.wanted[s.ID]
		switch {
		case !s.Voter || r.Voter || s.ID == g.self || !g.carries(s.ID):
			continue
		case stays:
			return Step{Kind: Demote, Server: s.ID}
		}
		return Step{Kind: Remove, Server: s.ID}
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
		if id := g.holder[r.ServerID()]; r.Voter && g.have[id].Voter && g.isFit(id) {
			return Step{Kind: Transfer, Server: id}
		}
	}
	return Step{}
}

// prefer hands the lead to the replica that is to lead, once all is settled.
func (g *group) prefer() Step {
	first := g.holder[g.want[0].ServerID()]
	if !g.settled() || first == g.self || !g.have[first].Voter || !g.isFit(first) {
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
		if s, joined := g.have[g.holder[r.ServerID()]]; !joined || s.Voter != r.Voter {
			return false
		}
	}
	return true
}
