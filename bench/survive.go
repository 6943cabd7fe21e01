package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/apns"
	"github.com/trellisdb/trellis/bench/cluster"
	"github.com/trellisdb/trellis/bench/data"
)

// survive is the survive command: background work goes on while the leader of its
// partition is killed again and again, and its end must be exactly right.
type survive struct {
	stand     stand
	works     []string
	followers int
	entities  int
	counts    int
	places    int
	devices   int
	cache     string
	every     time.Duration
	kills     int
	down      time.Duration
	patience  time.Duration
	out       io.Writer

	apple *apns.Service // if a work needs it
	peak  int64         // bytes of memory that a node had at most during a work
}

// workNames are the works there are, in the order in which they are done.
var workNames = []string{"counters", "feed", "clear", "import", "broadcast", "apns"}

// work is something that a cluster does, or is made to do, while it loses leaders.
type work interface {
	prepare(ctx context.Context) error // what is there before
	run(ctx context.Context) error     // begins it, and waits for its end
	verify(ctx context.Context) error  // what is there afterwards
}

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
	f.StringSliceVar(&s.works, "works", workNames, "what is done: "+strings.Join(workNames, ", "))
	f.IntVar(&s.followers, "followers", 100_000, "followers of the one who posts")
	f.IntVar(&s.entities, "entities", 1_000_000, "entities of the collection that is cleared")
	f.IntVar(&s.counts, "counts", 100_000, "increments of one counter, each tried until it is answered")
	f.IntVar(&s.places, "places", 0, "places of the data set that are imported; 0 is all")
	f.IntVar(&s.devices, "devices", 1_000_000, "devices that a notification goes to; through APNs goes one to a tenth of them")
	f.StringVar(&s.cache, "cache", defaultCache(), "folder the data set is downloaded to")
	f.DurationVar(&s.every, "every", 4*time.Second, "time between two kills, from ready on")
	f.IntVar(&s.kills, "kills", 0, "kills during a work, at most; 0 is no bound")
	f.DurationVar(&s.down, "down", 2*time.Second, "how long a killed node stays down")
	f.DurationVar(&s.patience, "patience", 20*time.Minute, "how long one work may take")
	return c
}

func (s *survive) run(ctx context.Context) (err error) {
	for _, name := range s.works {
		if !slices.Contains(workNames, name) {
			return fmt.Errorf("there is no work %q; there are %s", name, strings.Join(workNames, ", "))
		}
	}
	if s.followers < 1 || s.entities < 1 || s.counts < 1 || s.devices < 10 || s.places < 0 || s.kills < 0 {
		return errors.New("want at least one follower, one entity, one increment and ten devices, and nothing below zero")
	}
	dir, err := os.MkdirTemp("", "trellis-survive-")
	if err != nil {
		return fmt.Errorf("make scratch folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := s.serveApple(dir); err != nil {
		return err
	}
	defer s.apple.Close()
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

// serveApple starts a push service, and configures the nodes to send to it.
func (s *survive) serveApple(dir string) (err error) {
	if s.apple, err = apns.Start(); err != nil {
		return err
	}
	ca, config := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "trellis.yaml")
	text := fmt.Sprintf("push-apns-production: %s\npush-ca-file: %s\n", s.apple.URL(), ca)
	if err := errors.Join(os.WriteFile(ca, s.apple.CA(), 0o600), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return fmt.Errorf("configure the push service: %w", err)
	}
	s.stand.args = append(s.stand.args, "--config", config)
	return nil
}

// make makes a work by its name.
func (s *survive) make(ctx context.Context, name string) (work, error) {
	all := applied{addrs: s.stand.cluster.Addrs(), app: s.stand.apps[0]}
	switch name {
	case "counters":
		return &countWork{applied: all, n: s.counts}, nil
	case "feed":
		return &feedWork{applied: all, followers: s.followers}, nil
	case "clear":
		return &clearWork{applied: all, entities: s.entities}, nil
	case "broadcast":
		return &broadcastWork{applied: all, provider: "noop", devices: s.devices, out: s.out}, nil
	case "apns":
		all.app = s.stand.apps[1] // has no devices yet
		return &broadcastWork{applied: all, provider: "apple", devices: s.devices / 10, out: s.out, apple: s.apple}, nil
	}
	places, err := data.Cities(ctx, s.cache)
	if err != nil {
		return nil, err
	}
	if s.places > 0 {
		places = places[:min(s.places, len(places))]
	}
	all.app = s.stand.apps[2]
	return &importWork{applied: all, to: s.stand.apps[1], places: places, binary: s.stand.binary, scratch: s.stand.scratch, password: s.stand.password}, nil
}

func (s *survive) one(ctx context.Context, name string) error {
	w, err := s.make(ctx, name)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := w.prepare(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	fmt.Fprintf(s.out, "%s: prepared in %s\n", name, time.Since(begin).Round(time.Second))
	app := s.stand.apps[0]
	if name == "import" || name == "apns" {
		app = s.stand.apps[1]
	}
	partition, err := locate(s.stand.cluster, app)
	if err != nil {
		return err
	}
	working, stop := context.WithTimeout(ctx, s.patience)
	defer stop()
	ended := make(chan error, 1)
	begin, s.peak = time.Now(), 0
	go func() { ended <- w.run(working) }()
	kills, err := s.kill(working, partition, ended)
	if err != nil {
		stop()
		return errors.Join(err, drain(ended))
	}
	s.weigh()
	fmt.Fprintf(s.out, "%s: done in %s, the leader was killed %d times, a node had %d MiB of memory at most\n",
		name, time.Since(begin).Round(100*time.Millisecond), kills, s.peak>>20)
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
		wait := time.After(s.every / time.Duration(min(2, kills+1)))
		if s.kills > 0 && kills == s.kills {
			wait = nil
		}
		select {
		case err := <-ended:
			ended <- nil // for whoever drains it
			return kills, err
		case <-wait:
		}
		s.weigh()
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
		if err := s.revive(ctx); err != nil {
			return kills, fmt.Errorf("after killing node %d: %w", node, err)
		}
	}
}

// revive starts all nodes that do not run, and those again that have ended because the
// disk of this machine stood still, as they are to do.
func (s *survive) revive(ctx context.Context) error {
	c := s.stand.cluster
	for tries := 3; ; tries-- {
		err := s.stand.died()
		if err == nil {
			err = s.stand.start(ctx)
		}
		if err == nil || tries == 0 {
			return err
		}
		stalled := false
		for i := range c.Nodes() {
			if c.Died(i) && strings.Contains(c.LogTail(i), "the disk has not taken a write") {
				fmt.Fprintf(s.out, "node %d ended: the disk stood still\n", i)
				stalled = true
				if err := c.Bury(i); err != nil {
					return err
				}
			}
		}
		if !stalled {
			return err
		}
	}
}

// weigh notes how much memory the nodes have had since they were started.
func (s *survive) weigh() {
	for i := range s.stand.cluster.Nodes() {
		if u, err := s.stand.cluster.Usage(i, ""); err == nil { // one that is down weighs nothing
			s.peak = max(s.peak, u.PeakBytes)
		}
	}
}
