package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/cluster"
	"github.com/trellisdb/trellis/bench/history"
)

// failover is the failover command: it kills the leader of a loaded partition
// and measures how long its writes wait, and those of another partition.
type failover struct {
	stand   stand
	rounds  int
	down    time.Duration
	settle  time.Duration
	clients int
	think   time.Duration
	decide  time.Duration
	out     io.Writer
}

// candidates is how many applications are made to find two in different
// partitions.
const candidates = 6

// unknownPartition is where an application is whose partition did not show.
const unknownPartition = cluster.AnyPartition

func failoverCommand() *cobra.Command {
	f := &failover{}
	c := &cobra.Command{
		Use:   "failover",
		Short: "Kill the leader of a loaded partition again and again: how long do writes wait?",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.out = c.OutOrStdout()
			return f.run(c.Context())
		},
	}
	flags := c.Flags()
	f.stand.flags(flags)
	flags.IntVar(&f.rounds, "rounds", 30, "how often the leader is killed")
	flags.DurationVar(&f.down, "down", 3*time.Second, "how long a killed node stays down")
	flags.DurationVar(&f.settle, "settle", 2*time.Second, "time between ready and the next kill")
	flags.IntVar(&f.clients, "clients", 12, "clients at a time")
	flags.DurationVar(&f.think, "think", 6*time.Millisecond, "longest pause of a client between two operations: clients share the machine with the nodes")
	flags.DurationVar(&f.decide, "decide", 20*time.Second, "how long the checker may take for one key")
	return c
}

// round is one kill.
type round struct {
	at, until time.Duration
	node      int
	both      bool // the node led the other application's partition as well
}

func (f *failover) run(ctx context.Context) (err error) {
	if f.rounds < 1 || f.clients < 1 {
		return errors.New("want at least one round and one client")
	}
	fmt.Fprintf(f.out, "seed %d\n", f.stand.seed)
	defer func() { err = errors.Join(err, f.stand.close(err != nil)) }()
	if err := f.stand.open(ctx, f.out, candidates); err != nil {
		return err
	}
	apps, partitions, err := f.pair()
	if err != nil {
		return err
	}
	cfg := history.DefaultConfig()
	cfg.Apps, cfg.Nodes, cfg.Clients, cfg.Seed = apps, f.stand.cluster.Addrs(), f.clients, f.stand.seed
	cfg.Think = f.think
	cfg.Collection, cfg.Mix = "failovers", history.Mix{Update: 90, Read: 10}
	recorder, err := history.NewRecorder(cfg)
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		recorder.Run(working)
	}()
	rounds, err := f.kill(ctx, recorder, partitions)
	stop()
	<-done
	if err != nil {
		return err
	}
	for app := range apps {
		if _, err := recorder.Verify(app, 0); err != nil {
			return err
		}
	}
	h := recorder.History()
	f.report(h, rounds, len(apps))
	v, err := h.Check(f.decide, f.stand.scratch)
	for i, key := range v.Illegal {
		err = errors.Join(err, fmt.Errorf("the history of %s is not linearizable, see %s", key, v.Files[i]))
	}
	return errors.Join(err, few(h.Wrong))
}

// pair chooses an application and, if there is one, another in another
// partition. Which partition an application is in shows by what its writes
// make grow.
func (f *failover) pair() (apps []client.Target, partitions []int, err error) {
	for _, app := range f.stand.apps {
		p, err := locate(f.stand.cluster, app)
		if err != nil {
			return nil, nil, err
		}
		if len(apps) == 1 && (p == unknownPartition || p == partitions[0]) {
			continue
		}
		apps, partitions = append(apps, app), append(partitions, p)
		if len(apps) == 2 {
			break
		}
	}
	switch {
	case partitions[0] == unknownPartition:
		fmt.Fprint(f.out, "\nNOT KNOWN WHO LEADS: GET /status does not show status.node.partitions with applied indexes. The node to kill is guessed.\n\n")
	case len(apps) == 1:
		fmt.Fprintf(f.out, "application %s is in partition %d; none of %d is in another\n", apps[0].App, partitions[0], candidates)
	default:
		fmt.Fprintf(f.out, "application %s is in partition %d, whose leader is killed; %s is in partition %d\n", apps[0].App, partitions[0], apps[1].App, partitions[1])
	}
	return apps, partitions, nil
}

// locate finds the partition of an application.
func locate(c *cluster.Cluster, app client.Target) (int, error) {
	conn := client.NewConn(app.Addr, requestTimeout)
	defer conn.Close() //nolint:errcheck // nothing is pending on it
	before := c.Replicas()
	const writes = 40
	for i := range writes {
		if err := app.Call(conn, "PUT", app.Path("probes", "probe"), map[string]int{"n": i}, nil); err != nil {
			return 0, err
		}
	}
	if p, known := cluster.Busiest(before, c.Replicas()); known {
		return p, nil
	}
	return unknownPartition, nil
}

// kill kills the leader, again and again.
func (f *failover) kill(ctx context.Context, recorder *history.Recorder, partitions []int) ([]round, error) {
	c := f.stand.cluster
	var rounds []round
	for i := range f.rounds {
		if err := sleep(ctx, f.settle); err != nil {
			return nil, err
		}
		replicas := c.Replicas()
		node, known := cluster.FindLeader(replicas, partitions[0])
		if !known {
			node = i % c.Nodes()
		}
		r := round{node: node, at: recorder.Now()}
		if len(partitions) > 1 {
			other, otherKnown := cluster.FindLeader(replicas, partitions[1])
			r.both = !otherKnown || other == node
		}
		if err := c.Kill(node); err != nil {
			return nil, err
		}
		if err := sleep(ctx, f.down); err != nil {
			return nil, err
		}
		if err := errors.Join(f.stand.died(), f.stand.start(ctx)); err != nil {
			return nil, fmt.Errorf("round %d, node %d: %w", i, node, err)
		}
		r.until = recorder.Now()
		rounds = append(rounds, r)
	}
	return rounds, nil
}

// report prints the gaps of all rounds.
func (f *failover) report(h *history.History, rounds []round, apps int) {
	var own, shared, apart []time.Duration
	for i, r := range rounds {
		gap := h.Gap(0, r.at, r.until)
		own = append(own, gap)
		line := fmt.Sprintf("round %d: node %d killed, longest time without a write %s", i, r.node, gap.Round(time.Millisecond))
		if apps > 1 {
			other := h.Gap(1, r.at, r.until)
			line += fmt.Sprintf("; other partition %s", other.Round(time.Millisecond))
			if r.both {
				shared = append(shared, other)
				line += " (same leader)"
			} else {
				apart = append(apart, other)
			}
		}
		fmt.Fprintln(f.out, line)
	}
	fmt.Fprint(f.out, "\n| writes to | rounds | median gap | longest gap |\n|---|---|---|---|\n")
	for _, row := range []struct {
		what string
		gaps []time.Duration
	}{
		{"the partition whose leader is killed", own},
		{"another partition with the same leader", shared},
		{"another partition with another leader", apart},
	} {
		if len(row.gaps) > 0 {
			fmt.Fprintf(f.out, "| %s | %d | %s | %s |\n", row.what, len(row.gaps), median(row.gaps).Round(time.Millisecond), slices.Max(row.gaps).Round(time.Millisecond))
		}
	}
}
