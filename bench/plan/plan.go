// Package plan draws which faults strike a cluster, when and for how long. A
// plan is a pure function of the seed and a few figures, so a printed seed
// brings the same faults back.
//
// It says whom a fault strikes by role, or by a number drawn now: who leads
// only shows when the fault strikes.
package plan

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Kind is a fault.
type Kind string

// The faults. Those of processes need nothing, those of the network need a
// network of the cluster's own, those of disks need disks, that of the clock a
// server whose clock can be set.
const (
	KillLeader     Kind = "kill leader"
	KillFollower   Kind = "kill follower"
	KillAll        Kind = "kill all"
	PauseLeader    Kind = "pause leader"
	PauseFollower  Kind = "pause follower"
	RollingRestart Kind = "rolling restart"
	WipeFollower   Kind = "wipe follower"

	IsolateLeader   Kind = "isolate leader"
	IsolateFollower Kind = "isolate follower"
	MuteLeader      Kind = "leader sends nothing" // and hears all
	DeafLeader      Kind = "leader hears nothing" // and sends all
	CutLink         Kind = "cut one link"
	FlapLink        Kind = "flapping link"
	Split           Kind = "links cut one by one"
	SlowLeader      Kind = "slow leader"
	Lossy           Kind = "lossy network"
	Narrow          Kind = "narrow network"

	FreezeLeader Kind = "freeze leader's disk"
	FillLeader   Kind = "fill leader's disk"
	WrongClock   Kind = "leader's clock off"
)

// trait is what is known of a kind.
type trait struct {
	goal    time.Duration // longest time without an acknowledged write
	nodes   int           // fewest nodes it makes sense with
	network bool
	wipe    bool
	disk    bool
	clock   bool
}

// traits gives the goals R9 to R18 and R24 their figures. A cluster of fewer
// than three nodes is down while one is: its goals do not hold there.
func traits(k Kind) trait {
	switch k {
	case KillLeader:
		return trait{goal: 2500 * time.Millisecond, nodes: 1}
	case KillFollower:
		return trait{goal: time.Second, nodes: 2}
	case KillAll:
		return trait{goal: 10 * time.Second, nodes: 1}
	case PauseLeader:
		return trait{goal: 3 * time.Second, nodes: 1}
	case PauseFollower:
		return trait{goal: 1500 * time.Millisecond, nodes: 2}
	case RollingRestart:
		return trait{goal: 2 * time.Second, nodes: 1}
	case WipeFollower:
		return trait{goal: time.Second, nodes: 3, wipe: true}
	case IsolateLeader:
		return trait{goal: 3 * time.Second, nodes: 3, network: true}
	case IsolateFollower:
		return trait{goal: time.Second, nodes: 3, network: true}
	case MuteLeader, DeafLeader:
		return trait{goal: 4 * time.Second, nodes: 2, network: true}
	case CutLink:
		return trait{goal: 3 * time.Second, nodes: 3, network: true}
	case FlapLink:
		return trait{goal: 5 * time.Second, nodes: 2, network: true}
	case Split:
		return trait{goal: 4 * time.Second, nodes: 3, network: true}
	case SlowLeader:
		return trait{goal: 3 * time.Second, nodes: 2, network: true}
	case FreezeLeader:
		return trait{goal: 8 * time.Second, nodes: 3, disk: true}
	case FillLeader:
		return trait{goal: 5 * time.Second, nodes: 3, disk: true}
	case WrongClock:
		return trait{goal: 2 * time.Second, nodes: 3, clock: true}
	case Lossy, Narrow:
		return trait{goal: 5 * time.Second, nodes: 2, network: true}
	}
	panic(fmt.Sprintf("plan: unknown fault %q", k))
}

// Kinds lists all faults.
func Kinds() []Kind {
	return []Kind{KillLeader, KillFollower, KillAll, PauseLeader, PauseFollower, RollingRestart, WipeFollower,
		IsolateLeader, IsolateFollower, MuteLeader, DeafLeader, CutLink, FlapLink, Split, SlowLeader, Lossy, Narrow,
		FreezeLeader, FillLeader, WrongClock}
}

// Follower tells whether a fault strikes a node that does not lead the partition in
// question. It may lead others.
func (k Kind) Follower() bool {
	return k == KillFollower || k == PauseFollower || k == WipeFollower || k == IsolateFollower
}

// Goal is how long, at most, no write may be acknowledged when a fault strikes
// a cluster of nodes; 0 is no goal. Outages that follow from the length of the
// fault itself (a killed majority, cut links without a majority) count from
// when it ends.
func Goal(k Kind, nodes int) time.Duration {
	if nodes < 3 {
		return 0
	}
	return traits(k).goal
}

// FromEnd tells whether the goal of a fault counts from its end: until then
// there is no majority.
func FromEnd(k Kind) bool { return k == KillAll || k == Split }

// Config says what a plan is for.
type Config struct {
	Nodes    int
	Duration time.Duration // of the whole schedule
	Network  bool          // the cluster has a network of its own
	Wipe     bool          // nodes may lose their data
	Disks    bool          // nodes have disks of their own
	Clock    bool          // the clocks of nodes can be set
	Only     []Kind        // if not empty, no others
}

// Strike is one fault. It begins At and is healed at At + For.
type Strike struct {
	Kind Kind
	At   time.Duration
	For  time.Duration
	Pick uint64 // decides between nodes when it strikes
}

// String describes the strike.
func (s Strike) String() string {
	return fmt.Sprintf("%s at %s for %s", s.Kind, s.At.Round(10*time.Millisecond), s.For.Round(10*time.Millisecond))
}

// End is when the strike is healed.
func (s Strike) End() time.Duration { return s.At + s.For }

// possible lists the faults that make sense.
func (c Config) possible() []Kind {
	var all []Kind
	for _, k := range Kinds() {
		t := traits(k)
		if c.Nodes >= t.nodes && (c.Network || !t.network) && (c.Wipe || !t.wipe) && (c.Disks || !t.disk) && (c.Clock || !t.clock) && c.chosen(k) {
			all = append(all, k)
		}
	}
	return all
}

func (c Config) chosen(k Kind) bool {
	for _, only := range c.Only {
		if only == k {
			return true
		}
	}
	return len(c.Only) == 0
}

const (
	perStrike = 6500 * time.Millisecond // a schedule has a strike for each such time
	longest   = 10 * time.Second
	shortest  = time.Second
)

// Draw makes a plan: strikes in order that do not overlap, each with calm
// before and after it. It fails if no fault is possible.
func Draw(rng *rand.Rand, c Config) ([]Strike, error) {
	kinds := c.possible()
	if len(kinds) == 0 {
		return nil, fmt.Errorf("plan: none of the faults %v is possible with %d nodes, network %t, wiping %t, disks %t, clocks %t", c.Only, c.Nodes, c.Network, c.Wipe, c.Disks, c.Clock)
	}
	n := max(1, int(c.Duration/perStrike))
	slot := c.Duration / time.Duration(n)
	var all []Strike
	for i := range n {
		calm := slot/10 + part(rng, slot/10)
		most := min(longest, slot*6/10)
		length := most
		if most > shortest {
			length = shortest + part(rng, most-shortest)
		}
		all = append(all, Strike{
			Kind: kinds[rng.IntN(len(kinds))],
			At:   time.Duration(i)*slot + calm,
			For:  length,
			Pick: rng.Uint64(),
		})
	}
	return all, nil
}

func part(rng *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(d) + 1))
}

// Parse reads a list of faults separated by commas, as String names them, with
// dashes or spaces.
func Parse(list string) ([]Kind, error) {
	var all []Kind
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ReplaceAll(strings.TrimSpace(name), "-", " ")
		if name == "" {
			continue
		}
		known := false
		for _, k := range Kinds() {
			if string(k) == name {
				all, known = append(all, k), true
			}
		}
		if !known {
			return nil, fmt.Errorf("plan: no fault is called %q; there are %v", name, Kinds())
		}
	}
	return all, nil
}
