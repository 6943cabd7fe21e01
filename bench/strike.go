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

// inflict carries out a strike, from its beginning until it is healed. It heals also
// if ctx ends meanwhile.
func (s *striker) inflict(ctx context.Context, v victim, strike plan.Strike) (err error) {
	switch strike.Kind {
	case plan.RollingRestart:
		return s.rollingRestart(ctx)
	case plan.FlapLink:
		return s.flap(ctx, v, strike)
	case plan.Split:
		return s.split(ctx, strike)
	}
	if err = s.begin(v, strike.Kind); err == nil {
		err = sleep(ctx, strike.For)
	}
	err = errors.Join(err, s.heal())
	if strike.Kind == plan.FreezeLeader {
		err = errors.Join(err, s.afterFreeze(ctx, v.leader))
	}
	if strike.Kind == plan.WrongClock {
		err = errors.Join(err, s.restart(v.leader, 0))
	}
	return err
}

// afterFreeze starts a node again that has ended because its disk stood still: it
// comes to its end only when the disk moves again.
func (s *striker) afterFreeze(ctx context.Context, node int) error {
	if err := sleep(ctx, time.Second); err != nil || !s.cluster.Died(node) {
		return err
	}
	return errors.Join(s.cluster.Bury(node), s.cluster.Start(node))
}

// restart starts a node anew with its clock off by seconds.
func (s *striker) restart(node, seconds int) error {
	if err := s.cluster.Stop(node); err != nil {
		return err
	}
	s.cluster.SetClock(node, seconds)
	return s.cluster.Start(node)
}

// describe names a strike and whom it struck.
func (v victim) describe(k plan.Kind) string {
	guess := ""
	if v.guessed {
		guess = ", a guess"
	}
	switch k {
	case plan.KillAll, plan.RollingRestart, plan.Split, plan.Lossy, plan.Narrow:
		return string(k)
	case plan.CutLink, plan.FlapLink:
		return fmt.Sprintf("%s (%d to %d%s)", k, v.leader, v.follower, guess)
	case plan.KillFollower, plan.PauseFollower, plan.IsolateFollower, plan.WipeFollower:
		return fmt.Sprintf("%s (node %d%s)", k, v.follower, guess)
	}
	return fmt.Sprintf("%s (node %d%s)", k, v.leader, guess)
}

// begin brings about a fault that lasts until heal.
func (s *striker) begin(v victim, k plan.Kind) error {
	c := s.cluster
	switch k {
	case plan.KillLeader:
		return c.Kill(v.leader)
	case plan.KillFollower:
		return c.Kill(v.follower)
	case plan.WipeFollower:
		return errors.Join(c.Kill(v.follower), c.Wipe(v.follower))
	case plan.KillAll:
		return s.killAll()
	case plan.PauseLeader:
		return c.Pause(v.leader)
	case plan.PauseFollower:
		return c.Pause(v.follower)
	case plan.IsolateLeader:
		return c.Isolate(v.leader)
	case plan.IsolateFollower:
		return c.Isolate(v.follower)
	case plan.MuteLeader:
		return s.oneWay(v.leader, c.CutOneWay)
	case plan.DeafLeader:
		return s.oneWay(v.leader, func(leader, other int) error { return c.CutOneWay(other, leader) })
	case plan.CutLink:
		return c.Cut(v.leader, v.follower)
	case plan.SlowLeader:
		return c.Slow(v.leader, 100*time.Millisecond, 30*time.Millisecond, 0)
	case plan.FreezeLeader:
		return c.Freeze(v.leader)
	case plan.FillLeader:
		return c.Fill(v.leader, 64<<20)
	case plan.WrongClock:
		off := 3600
		if v.follower > v.leader {
			off = -off
		}
		return s.restart(v.leader, off)
	case plan.Lossy:
		return c.Everywhere(mesh.Rule{Loss: 0.1, Duplicate: 0.05, Delay: 2 * time.Millisecond, Jitter: 2 * time.Millisecond})
	case plan.Narrow:
		return c.Everywhere(mesh.Rule{BitsPerSecond: 1_000_000})
	}
	return fmt.Errorf("no way to bring about %q", k)
}

// heal ends every fault: links are whole, nodes run and are not paused.
func (s *striker) heal() error {
	s.cluster.Heal()
	err := s.cluster.HealDisks()
	for i := range s.cluster.Nodes() {
		err = errors.Join(err, s.cluster.Resume(i))
	}
	return errors.Join(err, s.cluster.StartAll())
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
