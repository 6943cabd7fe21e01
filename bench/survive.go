package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/cluster"
)

// survive is the survive command: background work goes on while the leader of its
// partition is killed again and again, and its end must be exactly right.
type survive struct {
	stand     stand
	works     []string
	followers int
	entities  int
	counts    int
	every     time.Duration
	down      time.Duration
	patience  time.Duration
	out       io.Writer
}

// work is something that a cluster does, or is made to do, while it loses leaders.
type work interface {
	prepare(ctx context.Context) error // what is there before
	run(ctx context.Context) error     // begins it, and waits for its end
	verify(ctx context.Context) error  // what is there afterwards
}

// retryFor is how long a request is tried again that was not answered, or with 5xx.
const retryFor = 2 * time.Minute

// workers is how many connections prepare, run and verify something.
const workers = 32

func surviveCommand() *cobra.Command {
	s := &survive{}
	c := &cobra.Command{
		Use:   "survive",
		Short: "Kill the leader again and again during background work: is its end exactly right?",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s.out = c.OutOrStdout()
			return s.run(c.Context())
		},
	}
	f := c.Flags()
	s.stand.flags(f)
	f.StringSliceVar(&s.works, "works", []string{"counters", "feed", "clear", "import"}, "what is done: counters, feed, clear, import")
	f.IntVar(&s.followers, "followers", 100_000, "followers of the one who posts")
	f.IntVar(&s.entities, "entities", 1_000_000, "entities of the collection that is cleared; imported are a tenth of them")
	f.IntVar(&s.counts, "counts", 100_000, "increments of one counter, each tried until it is answered")
	f.DurationVar(&s.every, "every", 4*time.Second, "time between two kills, from ready on")
	f.DurationVar(&s.down, "down", 2*time.Second, "how long a killed node stays down")
	f.DurationVar(&s.patience, "patience", 20*time.Minute, "how long one work may take")
	return c
}

func (s *survive) run(ctx context.Context) (err error) {
	known := []string{"counters", "feed", "clear", "import"}
	for _, name := range s.works {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no work %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	if s.followers < 1 || s.entities < 10 || s.counts < 1 {
		return errors.New("want at least one follower, ten entities and one increment")
	}
	defer func() { err = errors.Join(err, s.stand.close(err != nil)) }()
	if err := s.stand.open(ctx, s.out, 3); err != nil {
		return err
	}
	for _, name := range s.works {
		if err := s.one(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	compared, err := s.stand.compareReplicas(ctx)
	if err == nil {
		err = s.stand.cluster.StopAll()
	}
	if err != nil {
		return err
	}
	if _, err := s.stand.checkData(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d pairs of replicas are the same, every check is clean\n", compared)
	return nil
}

// make makes a work by its name.
func (s *survive) make(name string) work {
	all := applied{addrs: s.stand.cluster.Addrs(), app: s.stand.apps[0]}
	switch name {
	case "counters":
		return &countWork{applied: all, n: s.counts}
	case "feed":
		return &feedWork{applied: all, followers: s.followers}
	case "clear":
		return &clearWork{applied: all, entities: s.entities}
	}
	all.app = s.stand.apps[2]
	return &importWork{applied: all, to: s.stand.apps[1], entities: s.entities / 10, binary: s.stand.binary, scratch: s.stand.scratch, password: s.stand.password}
}

func (s *survive) one(ctx context.Context, name string) error {
	w := s.make(name)
	begin := time.Now()
	if err := w.prepare(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	fmt.Fprintf(s.out, "%s: prepared in %s\n", name, time.Since(begin).Round(time.Second))
	app := s.stand.apps[0]
	if name == "import" {
		app = s.stand.apps[1]
	}
	partition, err := locate(s.stand.cluster, app)
	if err != nil {
		return err
	}
	working, stop := context.WithTimeout(ctx, s.patience)
	defer stop()
	ended := make(chan error, 1)
	begin = time.Now()
	go func() { ended <- w.run(working) }()
	kills, err := s.kill(working, partition, ended)
	if err != nil {
		stop()
		return errors.Join(err, drain(ended))
	}
	fmt.Fprintf(s.out, "%s: done in %s, the leader was killed %d times\n", name, time.Since(begin).Round(time.Second), kills)
	begin = time.Now()
	if err := w.verify(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: exactly right, as read in %s\n", name, time.Since(begin).Round(time.Second))
	return nil
}

// drain waits for a work that was told to stop. Its error is that it was.
func drain(ended <-chan error) error {
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// kill kills the leader of a partition until the work has ended, and leaves all nodes
// running.
func (s *survive) kill(ctx context.Context, partition int, ended chan error) (kills int, err error) {
	c := s.stand.cluster
	for ; ; kills++ {
		select {
		case err := <-ended:
			ended <- nil // for whoever drains it
			return kills, err
		case <-time.After(s.every / time.Duration(min(2, kills+1))):
		}
		node, known := cluster.FindLeader(c.Replicas(), partition)
		if !known {
			node = kills % c.Nodes()
		}
		if err := c.Kill(node); err != nil {
			return kills, err
		}
		if err := sleep(ctx, s.down); err != nil {
			return kills, err
		}
		if err := errors.Join(s.stand.died(), s.stand.start(ctx)); err != nil {
			return kills, fmt.Errorf("after killing node %d: %w", node, err)
		}
	}
}

// applied is an application on a cluster that loses nodes.
type applied struct {
	addrs []string
	app   client.Target
}

// asking is one of the clients of an application: it goes from node to node until it is
// answered.
type asking struct {
	applied
	at   int
	conn *client.Conn
}

func (a applied) client(number int) *asking { return &asking{applied: a, at: number % len(a.addrs)} }

func (q *asking) close() error {
	if q.conn == nil {
		return nil
	}
	return q.conn.Close()
}

// call asks until a node answers other than 5xx. A write must carry a key that makes it
// harmless to ask twice.
func (q *asking) call(ctx context.Context, app client.Target, method, path string, body []byte, key string, out any) error {
	var headers []string
	if key != "" {
		headers = []string{"Idempotency-Key: " + key}
	}
	for end := time.Now().Add(retryFor); ; {
		if q.conn == nil {
			q.conn = client.NewConn(q.addrs[q.at], requestTimeout)
		}
		err := app.At(q.addrs[q.at]).CallWith(q.conn, method, path, body, out, headers...)
		if err == nil || (client.StatusOf(err) != 0 && client.StatusOf(err) < 500 && client.StatusOf(err) != 429) {
			return err
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if closed := q.close(); closed != nil {
			return closed
		}
		q.conn, q.at = nil, (q.at+1)%len(q.addrs)
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// each does something with the numbers from 0 to n, by several clients at once. The first
// error ends all.
func (a applied) each(ctx context.Context, n int, do func(ctx context.Context, q *asking, i int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			q := a.client(w)
			var err error
			for i := w; i < n && err == nil && ctx.Err() == nil; i += workers {
				err = do(ctx, q, i)
			}
			if err = errors.Join(err, q.close()); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
