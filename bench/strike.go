package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/trellisdb/trellis/bench/cluster"
	"github.com/trellisdb/trellis/bench/mesh"
	"github.com/trellisdb/trellis/bench/plan"
)

// striker carries out the strikes of a plan.
type striker struct {
	cluster   *cluster.Cluster
	leader    cluster.LeaderFunc
	partition int // whose leader is struck
}

// victim says whom a strike is for.
type victim struct {
	leader, follower int
	guessed          bool // the cluster does not say who leads
}

// choose finds the leader, or guesses, and draws one of the others.
func (s *striker) choose(strike plan.Strike) victim {
	n := s.cluster.Nodes()
	v := victim{}
	var known bool
	if v.leader, known = s.leader(s.cluster.Replicas(), s.partition); !known {
		v.leader, v.guessed = int(strike.Pick%uint64(n)), true
	}
	v.follower = v.leader
	if n > 1 {
		v.follower = (v.leader + 1 + int(strike.Pick/uint64(n)%uint64(n-1))) % n
	}
	return v
}

// inflict carries out a strike, from its beginning until it is healed, and says
// whom it struck. It heals also if ctx ends meanwhile.
func (s *striker) inflict(ctx context.Context, strike plan.Strike) (what string, err error) {
	v := s.choose(strike)
	what = fmt.Sprintf("%s (node %d)", strike.Kind, v.leader)
	if v.guessed {
		what = fmt.Sprintf("%s (node %d, a guess)", strike.Kind, v.leader)
	}
	c := s.cluster
	begin, heal := func() error { return nil }, func() error { c.Heal(); return nil }
	switch strike.Kind {
	case plan.KillFollower, plan.PauseFollower, plan.IsolateFollower, plan.WipeFollower:
		what = fmt.Sprintf("%s (node %d)", strike.Kind, v.follower)
	}
	switch strike.Kind {
	case plan.KillLeader:
		begin, heal = func() error { return c.Kill(v.leader) }, c.StartAll
	case plan.KillFollower:
		begin, heal = func() error { return c.Kill(v.follower) }, c.StartAll
	case plan.WipeFollower:
		begin, heal = func() error { return errors.Join(c.Kill(v.follower), c.Wipe(v.follower)) }, c.StartAll
	case plan.KillAll:
		what = string(strike.Kind)
		begin, heal = s.killAll, c.StartAll
	case plan.PauseLeader:
		begin, heal = func() error { return c.Pause(v.leader) }, func() error { return c.Resume(v.leader) }
	case plan.PauseFollower:
		begin, heal = func() error { return c.Pause(v.follower) }, func() error { return c.Resume(v.follower) }
	case plan.RollingRestart:
		return string(strike.Kind), s.rollingRestart(ctx)
	case plan.IsolateLeader:
		begin = func() error { return c.Isolate(v.leader) }
	case plan.IsolateFollower:
		begin = func() error { return c.Isolate(v.follower) }
	case plan.MuteLeader:
		begin = func() error { return s.oneWay(v.leader, c.CutOneWay) }
	case plan.DeafLeader:
		begin = func() error { return s.oneWay(v.leader, func(a, b int) error { return c.CutOneWay(b, a) }) }
	case plan.CutLink:
		what = fmt.Sprintf("%s (%d to %d)", strike.Kind, v.leader, v.follower)
		begin = func() error { return c.Cut(v.leader, v.follower) }
	case plan.FlapLink:
		what = fmt.Sprintf("%s (%d to %d)", strike.Kind, v.leader, v.follower)
		return what, s.flap(ctx, v, strike)
	case plan.Split:
		what = string(strike.Kind)
		return what, s.split(ctx, strike)
	case plan.SlowLeader:
		begin = func() error { return c.Slow(v.leader, 100*time.Millisecond, 30*time.Millisecond, 0) }
	case plan.Lossy:
		what = string(strike.Kind)
		begin = func() error {
			return c.Everywhere(mesh.Rule{Loss: 0.1, Duplicate: 0.05, Delay: 2 * time.Millisecond, Jitter: 2 * time.Millisecond})
		}
	case plan.Narrow:
		what = string(strike.Kind)
		begin = func() error { return c.Everywhere(mesh.Rule{BitsPerSecond: 1_000_000}) }
	default:
		return "", fmt.Errorf("no way to bring about %q", strike.Kind)
	}
	err = begin()
	if err == nil {
		err = sleep(ctx, strike.For)
	}
	return what, errors.Join(err, heal())
}

func (s *striker) killAll() error {
	var err error
	for i := range s.cluster.Nodes() {
		err = errors.Join(err, s.cluster.Kill(i))
	}
	return err
}

// rollingRestart stops and starts one node after the other, as an upgrade does:
// each is ready before the next one stops.
func (s *striker) rollingRestart(ctx context.Context) error {
	for i := range s.cluster.Nodes() {
		if err := errors.Join(s.cluster.Stop(i), s.cluster.Start(i)); err != nil {
			return err
		}
		if err := s.cluster.WaitReady(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// oneWay does the same to a node and each other one.
func (s *striker) oneWay(node int, cut func(node, other int) error) error {
	var err error
	for other := range s.cluster.Nodes() {
		if other != node {
			err = errors.Join(err, cut(node, other))
		}
	}
	return err
}

// flap cuts a link and heals it, again and again.
func (s *striker) flap(ctx context.Context, v victim, strike plan.Strike) error {
	defer s.cluster.Heal()
	rng := rand.New(rand.NewPCG(strike.Pick, 0))
	for end := time.Now().Add(strike.For); time.Now().Before(end); {
		if err := s.cluster.Cut(v.leader, v.follower); err != nil {
			return err
		}
		if err := sleep(ctx, pause(rng)); err != nil {
			return err
		}
		s.cluster.Heal()
		if err := sleep(ctx, pause(rng)); err != nil {
			return err
		}
	}
	return nil
}

func pause(rng *rand.Rand) time.Duration {
	return 200*time.Millisecond + time.Duration(rng.Int64N(int64(700*time.Millisecond)))
}

// split cuts all links one by one, and restores them in another order.
func (s *striker) split(ctx context.Context, strike plan.Strike) error {
	defer s.cluster.Heal()
	var links [][2]int
	for i := range s.cluster.Nodes() {
		for j := range i {
			links = append(links, [2]int{i, j})
		}
	}
	rng := rand.New(rand.NewPCG(strike.Pick, 0))
	for _, rule := range []mesh.Rule{{Cut: true}, {}} {
		rng.Shuffle(len(links), func(i, j int) { links[i], links[j] = links[j], links[i] })
		for _, l := range links {
			if err := errors.Join(s.cluster.Rule(l[0], l[1], rule), s.cluster.Rule(l[1], l[0], rule)); err != nil {
				return err
			}
			if err := sleep(ctx, strike.For/time.Duration(2*len(links))); err != nil {
				return err
			}
		}
	}
	return nil
}
