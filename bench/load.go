package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/data"
	"github.com/trellisdb/trellis/bench/load"
	"github.com/trellisdb/trellis/bench/server"
	"github.com/trellisdb/trellis/bench/workload"
)

// loader is the load command: many entities, and what they take.
type loader struct {
	env         environment
	entities    int
	batch       int
	connections int
	seed        uint64
	reads       time.Duration
	out         io.Writer
}

func loadCommand() *cobra.Command {
	l := &loader{}
	c := &cobra.Command{
		Use:   "load",
		Short: "Store many entities and report memory and disk",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l.out = c.OutOrStdout()
			return l.run(c.Context())
		},
	}
	f := c.Flags()
	l.env.ownFlags(f)
	f.IntVar(&l.entities, "entities", 1_000_000, "entities to store")
	f.IntVar(&l.batch, "batch", 100, "entities a request")
	f.IntVar(&l.connections, "connections", 16, "connections")
	f.Uint64Var(&l.seed, "seed", 1, "seed of the entities")
	f.DurationVar(&l.reads, "reads", 10*time.Second, "how long to read at random when all is stored")
	return c
}

func (l *loader) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, l.env.close()) }()
	target, err := l.env.open(ctx)
	if err != nil {
		return err
	}
	var peak, reported atomic.Int64
	begin := time.Now()
	err = workload.Fill(ctx, target, workload.Filling{Collection: "items", Prefix: "item", Seed: l.seed, Entities: l.entities,
		Connections: l.connections, Batch: l.batch, Timeout: requestTimeout,
		Progress: func(stored int) {
			second := int64(time.Since(begin) / time.Second)
			if last := reported.Load(); second == last || !reported.CompareAndSwap(last, second) {
				return
			}
			if u, ok := l.env.usage(); ok {
				peak.Store(max(peak.Load(), u.ResidentBytes))
			}
			if second%10 == 0 {
				fmt.Fprintf(os.Stderr, "%d stored after %s\n", stored, time.Since(begin).Round(time.Second))
			}
		}})
	if err != nil {
		return err
	}
	took := time.Since(begin)
	fmt.Fprintf(l.out, "stored %d entities of %d bytes in %s: %.0f a second, %d a request over %d connections\n",
		l.entities, data.EntityBytes, took.Round(time.Millisecond), float64(l.entities)/took.Seconds(), l.batch, l.connections)
	if err := l.tell("after loading"); err != nil {
		return err
	}
	fmt.Fprintf(l.out, "resident memory while loading: at most %.0f MB\n", float64(peak.Load())/1e6)
	set, err := workload.Prepare(ctx, target, workload.Config{Seed: l.seed, Entities: l.entities, PageSize: 100, Timeout: requestTimeout})
	if err != nil {
		return err
	}
	if err := l.tell("after walking all pages"); err != nil {
		return err
	}
	if l.reads > 0 {
		if err := l.read(ctx, set); err != nil {
			return err
		}
	}
	if err := l.env.stop(); err != nil {
		return err
	}
	begin = time.Now()
	if err := l.env.start(ctx); err != nil {
		return err
	}
	fmt.Fprintf(l.out, "restart after SIGTERM: ready in %s\n", time.Since(begin).Round(time.Millisecond))
	return l.tell("after the restart")
}

// read reads random entities by id and reports what that took.
func (l *loader) read(ctx context.Context, set *workload.Set) error {
	plan := load.Plan{Connections: l.connections, WarmUp: time.Second, Duration: l.reads}
	var before server.Usage
	result, err := load.Run(ctx, plan, func(i int) (load.Worker, error) { return set.Worker(workload.GetID, i) },
		func() { before, _ = l.env.usage() })
	if err != nil {
		return err
	}
	after, _ := l.env.usage()
	fmt.Fprintf(l.out, "reads by id at random: %.0f a second, p50 %.0f µs, p99 %.0f µs, %.4f CPU-seconds per 1000, errors %v\n", result.Throughput(),
		float64(result.Latency.ValueAtQuantile(50))/1e3, float64(result.Latency.ValueAtQuantile(99))/1e3,
		(after.CPU-before.CPU).Seconds()*1000/float64(max(1, result.Attempts)), result.Errors)
	if result.Failed() > 0 {
		return fmt.Errorf("%d reads failed: %w", result.Failed(), result.FirstErr)
	}
	return l.tell("after reading")
}

// tell prints memory and disk as of now.
func (l *loader) tell(when string) error {
	u, ok := l.env.usage()
	if !ok {
		return errors.New("the server's usage cannot be read")
	}
	disk, err := server.DiskBytes(l.env.dataDir)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.out, "%s: resident %.0f MB (peak %.0f MB), disk %.0f MB = %.0f bytes an entity\n",
		when, float64(u.ResidentBytes)/1e6, float64(u.PeakBytes)/1e6, float64(disk)/1e6, float64(disk)/float64(l.entities))
	return nil
}
