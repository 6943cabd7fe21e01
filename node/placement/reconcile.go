package placement

import (
	"fmt"

	"github.com/trellisdb/trellis/storage/entity"
)

// Server is a member of a Raft configuration.
type Server struct {
	ID    string // as entity.Replica.ServerID returns it
	Voter bool
}

// Standing is what the leader's node knows of a server right now. Both are
// false of a server nothing is known of.
type Standing struct {
	Alive    bool // runs this very replica, and was heard of
	CaughtUp bool // has nearly all of the leader's log
}

// StepKind is what a step does.
type StepKind byte

// Kinds of steps. All but None and Transfer change the Raft configuration.
const (
	None        StepKind = iota // nothing to do, or to wait for
	AddNonvoter                 // a server joins the group and follows its log
	Promote                     // a non-voter becomes a voter
	Demote                      // a voter becomes a non-voter
	Remove                      // a server leaves the group
	Transfer                    // the server gets the lead
)

// String returns the kind in words.
func (k StepKind) String() string {
	switch k {
	case None:
		return "none"
	case AddNonvoter:
		return "add non-voter"
	case Promote:
		return "promote"
	case Demote:
		return "demote"
	case Remove:
		return "remove"
	case Transfer:
		return "transfer the lead to"
	}
	return fmt.Sprintf("step kind %d", byte(k))
}

// Step is the next thing the leader of a group does about its configuration.
type Step struct {
	Kind   StepKind
	Server string // its id; empty for None
}

// Reconcile returns the next step from the configuration a group has towards
// the one the table wants. The leader of the group asks, under its id self, once
// the configuration before is committed.
//
// Nobody gets a vote or loses one if the voters that are alive and caught up
// would be no majority afterwards. What doesn't vote may always come and go.
func Reconcile(want entity.Placement, have []Server, standing map[string]Standing, self string) Step {
	g := newGroup(want, have, standing, self)
	if !g.leads() || len(want.Replicas) == 0 {
		return Step{}
	}
	for _, rule := range []func() Step{g.clear, g.add, g.promote, g.dismiss, g.stepAside, g.prefer} {
		if step := rule(); step.Kind != None {
			return step
		}
	}
	return Step{}
}

// Settled reports whether the configuration is what the table wants. A voter
// counts as another replica of its node, if that is wanted to vote: a node that
// has not given its copy up needs no new one.
func Settled(want entity.Placement, have []Server) bool {
	return newGroup(want, have, nil, "").settled()
}
