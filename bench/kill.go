package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/crash"
	"github.com/trellisdb/trellis/bench/server"
)

// killer is the kill command.
type killer struct {
	env         environment
	rounds      int
	connections int
	seed        uint64
	shortest    time.Duration
	longest     time.Duration
	sample      int
	page        int
	check       bool
	out         io.Writer

	target client.Target
	model  *crash.Model
	rng    *rand.Rand
	total  crash.Counts
}

// crashCollection is where the kill and damage commands write.
const crashCollection = "records"

func killCommand() *cobra.Command {
	k := &killer{}
	c := &cobra.Command{
		Use:   "kill",
		Short: "Kill the server under load, many times, and look for every acknowledged write",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			k.out = c.OutOrStdout()
			return k.run(c.Context())
		},
	}
	f := c.Flags()
	k.env.ownFlags(f)
	f.IntVar(&k.rounds, "rounds", 25, "how often the server is killed")
	f.IntVar(&k.connections, "connections", 64, "connections that write")
	f.Uint64Var(&k.seed, "seed", uint64(time.Now().UnixNano()), "seed of what is written and when it is killed")
	f.DurationVar(&k.shortest, "shortest", 200*time.Millisecond, "shortest time between ready and kill")
	f.DurationVar(&k.longest, "longest", 2500*time.Millisecond, "longest time between ready and kill")
	f.IntVar(&k.sample, "sample", 2000, "entities asked for one by one after each round, besides a walk over all")
	f.IntVar(&k.page, "page", 1000, "limit of that walk")
	f.BoolVar(&k.check, "check", true, "run \"check\" on the data directory between kill and start")
	return c
}

func (k *killer) run(ctx context.Context) (err error) {
	if k.rounds < 1 || k.connections < 1 || k.shortest < 0 || k.longest <= k.shortest || k.page < 1 || k.page > 1000 {
		return errors.New("want at least one round, one connection, --longest above --shortest, and pages of 1 to 1000")
	}
	defer func() { err = errors.Join(err, k.env.close()) }()
	fmt.Fprintf(k.out, "seed %d\n", k.seed)
	if k.target, err = k.env.open(ctx); err != nil {
		return err
	}
	k.model = crash.NewModel(crashCollection, k.seed, k.connections)
	k.rng = rand.New(rand.NewPCG(k.seed, 0))
	for round := range k.rounds {
		if err := k.round(ctx, round); err != nil {
			k.env.keep = true
			return fmt.Errorf("round %d, seed %d: %w", round, k.seed, err)
		}
	}
	if err := k.restartGently(ctx); err != nil {
		k.env.keep = true
		return fmt.Errorf("after SIGTERM, seed %d: %w", k.seed, err)
	}
	fmt.Fprintf(k.out, "killed %d times: %d writes acknowledged, %d unanswered (%d of them 5xx), %d refused; every acknowledged one was there, none half\n",
		k.rounds, k.total.Acknowledged, k.total.Unanswered, k.total.Unavailable, k.total.Refused)
	return nil
}

// writeUntilKilled lets the model write and kills the server at a random
// moment.
func (k *killer) writeUntilKilled(ctx context.Context, round int) (crash.Counts, error) {
	wait := k.shortest + time.Duration(k.rng.Int64N(int64(k.longest-k.shortest)))
	writing, stop := context.WithCancel(ctx)
	defer stop()
	counts := make(chan crash.Counts, 1)
	go func() { counts <- k.model.Write(writing, k.target, round) }()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	died := k.env.process.Exited()
	err := k.env.kill()
	stop()
	c := <-counts
	if died {
		return c, errors.Join(k.env.withLog(errors.New("the server ended by itself under load")), err)
	}
	return c, errors.Join(err, ctx.Err())
}

func (k *killer) round(ctx context.Context, round int) error {
	counts, err := k.writeUntilKilled(ctx, round)
	if err != nil {
		return err
	}
	k.total.Add(counts)
	if err := k.checkData(ctx); err != nil {
		return err
	}
	if round%4 == 3 {
		if err := k.killRecovery(); err != nil {
			return err
		}
		if err := k.checkData(ctx); err != nil {
			return fmt.Errorf("killed while starting: %w", err)
		}
	}
	begin := time.Now()
	if err := k.env.start(ctx); err != nil {
		return err
	}
	ready := time.Since(begin)
	found, err := k.verify()
	if err != nil {
		return err
	}
	fmt.Fprintf(k.out, "round %d: %d acknowledged, %d unanswered (%d of them 5xx), %d refused; ready in %s; %d entities, %d asked for singly\n",
		round, counts.Acknowledged, counts.Unanswered, counts.Unavailable, counts.Refused, ready.Round(time.Millisecond), found.Entities, found.Asked)
	return nil
}

// killRecovery kills the server while it is starting.
func (k *killer) killRecovery() error {
	p, err := server.Launch(k.env.config(k.env.dataDir))
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(k.rng.Int64N(int64(400 * time.Millisecond)))) // a random moment, not a fact to wait for
	return p.Kill()
}

func (k *killer) checkData(ctx context.Context) error {
	if !k.check {
		return nil
	}
	r, err := server.Check(ctx, k.env.binary, k.env.dataDir)
	if err != nil {
		return err
	}
	if !r.Clean {
		return fmt.Errorf("check is not clean: %s", r.Output)
	}
	return nil
}

// verify compares the server with the model and takes over what it finds.
func (k *killer) verify() (*crash.Findings, error) {
	found, err := k.model.Verify(k.target, crash.Depth{Sample: k.sample, Page: k.page})
	if err := errors.Join(violations(found), err); err != nil {
		return nil, err
	}
	k.model.Settle(found)
	return found, nil
}

// violations makes an error of what a verification found.
func violations(f *crash.Findings) error {
	if len(f.Violations) == 0 {
		return nil
	}
	const shown = 10
	var all error
	for _, v := range f.Violations[:min(shown, len(f.Violations))] {
		all = errors.Join(all, errors.New(v))
	}
	return fmt.Errorf("%d broken promises, the first are:\n%w", len(f.Violations), all)
}

// restartGently ends with SIGTERM, a check, a start and everything verified.
func (k *killer) restartGently(ctx context.Context) error {
	if err := k.env.stop(); err != nil {
		return err
	}
	if err := k.checkData(ctx); err != nil {
		return err
	}
	if err := k.env.start(ctx); err != nil {
		return err
	}
	found, err := k.model.Verify(k.target, crash.Depth{Everything: true, Page: k.page})
	return errors.Join(violations(found), err)
}
