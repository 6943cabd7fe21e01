package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/cluster"
	"github.com/trellisdb/trellis/bench/history"
	"github.com/trellisdb/trellis/bench/plan"
)

// soaker is the soak command: schedules of faults, and after each everything
// verified.
type soaker struct {
	stand     stand
	schedules int
	first     int
	duration  time.Duration
	faults    string
	wipe      bool
	fresh     bool
	apps      int
	clients   int
	think     time.Duration
	decide    time.Duration // for the checker, a key
	agree     time.Duration
	keepGoing bool
	strict    bool
	out       io.Writer

	only       []plan.Kind
	partitions []int // of the applications
	gaps       gapTable
	total      history.Counts
	keys       int
	given      int // keys the checker gave up on
	pairs      int // replicas compared by digest
	last       *kept
}

// kept is what a finished schedule left in the cluster: it must stay.
type kept struct {
	recorder *history.Recorder
	listings []history.Listing // by application
}

func soakCommand() *cobra.Command {
	s := &soaker{}
	c := &cobra.Command{
		Use:   "soak",
		Short: "Let faults strike a cluster under load, and look whether it kept every promise",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s.out = c.OutOrStdout()
			return s.run(c.Context())
		},
	}
	f := c.Flags()
	s.stand.flags(f)
	f.IntVar(&s.schedules, "schedules", 20, "schedules of faults")
	f.IntVar(&s.first, "first", 0, "number of the first schedule: with --schedules 1 and the seed of a run, one of its schedules alone")
	f.DurationVar(&s.duration, "duration", 20*time.Second, "of one schedule, without verification")
	f.StringVar(&s.faults, "faults", "", "only these faults, separated by commas, such as kill-leader,pause-leader")
	f.BoolVar(&s.wipe, "wipe", false, "let a node lose its data directory, too")
	f.BoolVar(&s.fresh, "fresh", false, "a new cluster for each schedule, instead of one that is stopped and started again")
	f.IntVar(&s.apps, "apps", 2, "applications")
	f.IntVar(&s.clients, "clients", 9, "clients at a time")
	f.DurationVar(&s.think, "think", 6*time.Millisecond, "longest pause of a client between two operations: clients share the machine with the nodes")
	f.DurationVar(&s.decide, "decide", 20*time.Second, "how long the checker may take for one key")
	f.DurationVar(&s.agree, "agree", 30*time.Second, "how long nodes may take to agree, and to take writes, after the last fault is healed")
	f.BoolVar(&s.keepGoing, "keep-going", false, "go on after a schedule that failed")
	f.BoolVar(&s.strict, "strict", false, "fail if a time without an acknowledged write is longer than its goal")
	return c
}

func (s *soaker) run(ctx context.Context) (err error) {
	if s.schedules < 1 || s.first < 0 || s.duration <= 0 || s.apps < 1 || s.clients < 1 {
		return errors.New("want at least one schedule, one application, one client and a positive --duration")
	}
	if s.only, err = plan.Parse(s.faults); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "seed %d\n", s.stand.seed)
	defer func() { err = errors.Join(err, s.stand.close(err != nil)) }()
	if err := s.stand.open(ctx, s.out, s.apps); err != nil {
		return err
	}
	if err := s.locate(); err != nil {
		return err
	}
	var failures error
	for i := s.first; i < s.first+s.schedules; i++ {
		err := s.schedule(ctx, i)
		if err == nil {
			continue
		}
		failures = errors.Join(failures, fmt.Errorf("schedule %d (again by --seed %d --first %d --schedules 1): %w", i, s.stand.seed, i, err))
		if !s.keepGoing || ctx.Err() != nil {
			break
		}
		fmt.Fprintf(s.out, "schedule %d FAILED: %v\n", i, err)
		s.last = nil
		if err := errors.Join(s.stand.renew(ctx), s.locate()); err != nil {
			failures = errors.Join(failures, err)
			break
		}
	}
	s.report()
	if s.strict {
		failures = errors.Join(failures, s.gaps.over(s.stand.nodes))
	}
	return failures
}

// locate finds the partitions of the applications.
func (s *soaker) locate() error {
	s.partitions = nil
	for _, app := range s.stand.apps {
		p, err := locate(s.stand.cluster, app)
		if err != nil {
			return err
		}
		s.partitions = append(s.partitions, p)
	}
	return nil
}

// schedule runs one schedule: load and faults, then verification.
func (s *soaker) schedule(ctx context.Context, number int) error {
	rng := rand.New(rand.NewPCG(s.stand.seed, uint64(number)))
	strikes, err := plan.Draw(rng, plan.Config{Nodes: s.stand.nodes, Duration: s.duration, Network: s.stand.netns, Wipe: s.wipe,
		Disks: s.stand.disks, Clock: s.stand.clock, Only: s.only})
	if err != nil {
		return err
	}
	cfg := history.DefaultConfig()
	cfg.Apps, cfg.Nodes, cfg.Clients, cfg.Seed = s.stand.apps, s.stand.cluster.Addrs(), s.clients, rng.Uint64()
	cfg.Think = s.think
	cfg.Collection = fmt.Sprintf("schedule%ds", number)
	recorder, err := history.NewRecorder(cfg)
	if err != nil {
		return err
	}
	times, err := s.torment(ctx, recorder, strikes)
	if err != nil {
		return err
	}
	listings, err := s.verify(ctx, recorder)
	if err != nil {
		return err
	}
	h := recorder.History()
	if err := s.judge(h, number); err != nil {
		return err
	}
	pairs, err := s.restart(ctx)
	if err != nil {
		return err
	}
	s.last, s.pairs = &kept{recorder, listings}, s.pairs+pairs
	if err := s.revisit(); err != nil {
		return err
	}
	n := h.Counts
	s.total.Add(n)
	fmt.Fprintf(s.out, "schedule %d: %d operations, %d acknowledged writes, %d unknown, %d retried, %d stale reads, %d other 5xx; all ready in %s, writing in %s\n",
		number, n.Operations, len(h.Acks), n.Unknown, n.Retried, n.Stale, n.Uncaught, times.ready.Round(time.Millisecond), times.writing.Round(time.Millisecond))
	for _, odd := range h.Odd {
		fmt.Fprintf(s.out, "  5xx: %s\n", odd)
	}
	return nil
}

// recovery is how long it took after the last fault.
type recovery struct{ ready, writing time.Duration }

// torment lets clients work and the strikes strike, and waits until all nodes
// serve again. Gaps go into the table.
func (s *soaker) torment(ctx context.Context, recorder *history.Recorder, strikes []plan.Strike) (times recovery, err error) {
	working, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		recorder.Run(working)
	}()
	windows, err := s.strike(ctx, recorder, strikes)
	if err == nil {
		err = sleep(ctx, s.duration-recorder.Now())
	}
	if err == nil {
		times, err = s.recover(ctx)
	}
	end := recorder.Now()
	stop()
	<-done
	h := recorder.History()
	for _, w := range windows {
		w.to = min(w.to, end)
		gap := s.gaps.add(h, w, s.apps)
		fmt.Fprintf(s.out, "  %6.2fs to %6.2fs  %-36s longest time without a write %s%s\n",
			w.struck.Seconds(), w.healed.Seconds(), w.what, gap.Round(time.Millisecond), w.exempted())
	}
	return times, err
}

// strike carries out the strikes at their times and says when they struck.
func (s *soaker) strike(ctx context.Context, recorder *history.Recorder, strikes []plan.Strike) ([]window, error) {
	hand := &striker{cluster: s.stand.cluster, leader: cluster.FindLeader, partition: cluster.AnyPartition}
	var windows []window
	for i, strike := range strikes {
		if err := sleep(ctx, max(strike.At-recorder.Now(), s.duration/20)); err != nil {
			return windows, err
		}
		if i == 0 {
			windows = append(windows, window{kind: calm, what: string(calm), from: warmUp(recorder.Now()), to: recorder.Now(), healed: recorder.Now()})
		} else {
			windows[len(windows)-1].to = recorder.Now()
		}
		w := window{kind: strike.Kind, struck: recorder.Now(), to: 1<<63 - 1}
		v := hand.choose(strike)
		if strike.Kind.Follower() {
			w.struckLeader = s.ledBy(v.follower)
		}
		err := hand.inflict(ctx, v, strike)
		w.what, w.healed, w.from = v.describe(strike.Kind), recorder.Now(), w.struck
		if plan.FromEnd(strike.Kind) {
			w.from = w.healed
		}
		windows = append(windows, w)
		if err := errors.Join(err, s.stand.died()); err != nil {
			return windows, fmt.Errorf("%s: %w", strike, err)
		}
		if err := s.stand.cluster.WaitAllReady(ctx); err != nil { // one fault at a time
			return windows, fmt.Errorf("after %s: %w", strike, err)
		}
	}
	return windows, nil
}

// ledBy says of each application whether a node leads its partition now.
func (s *soaker) ledBy(node int) []bool {
	replicas := s.stand.cluster.Replicas()
	led := make([]bool, len(s.partitions))
	for app, partition := range s.partitions {
		leader, known := cluster.FindLeader(replicas, partition)
		led[app] = known && leader == node
	}
	return led
}

// warmUp is when the calm before the first strike begins to count: connections
// are opened and the collection is made before.
func warmUp(until time.Duration) time.Duration { return until / 4 }

// recover waits until all nodes are ready and take writes. Each strike healed
// what it did.
func (s *soaker) recover(ctx context.Context) (recovery, error) {
	begin := time.Now()
	if err := s.stand.start(ctx); err != nil {
		return recovery{}, fmt.Errorf("after the last fault: %w", err)
	}
	times := recovery{ready: time.Since(begin)}
	for i, addr := range s.stand.cluster.Addrs() {
		if err := s.writeThrough(ctx, addr, begin.Add(s.agree)); err != nil {
			return times, fmt.Errorf("node %d takes no writes %s after the last fault: %w", i, s.agree, err)
		}
	}
	times.writing = time.Since(begin)
	return times, s.stand.died()
}

// writeThrough writes to each application through one node.
func (s *soaker) writeThrough(ctx context.Context, addr string, deadline time.Time) error {
	conn := client.NewConn(addr, 2*time.Second)
	defer conn.Close() //nolint:errcheck // nothing is pending on it
	for _, app := range s.stand.apps {
		t := app.At(addr)
		for {
			err := t.Call(conn, "PUT", t.Path("probes", "probe"), map[string]int64{"at": time.Now().UnixNano()}, nil)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return err
			}
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// verify walks everything through every node until all show the same.
func (s *soaker) verify(ctx context.Context, recorder *history.Recorder) ([]history.Listing, error) {
	begin := time.Now()
	listings := make([]history.Listing, s.apps)
	for app := range s.apps {
		for {
			l, err := s.compare(recorder, app)
			if err == nil {
				listings[app] = l
				break
			}
			if time.Since(begin) > s.agree {
				return nil, err
			}
			if err := sleep(ctx, 100*time.Millisecond); err != nil {
				return nil, err
			}
		}
	}
	return listings, nil
}

// compare walks one application through every node.
func (s *soaker) compare(recorder *history.Recorder, app int) (history.Listing, error) {
	var first history.Listing
	for node := range s.stand.nodes {
		l, err := recorder.Verify(app, node)
		if err != nil {
			return nil, err
		}
		if node == 0 {
			first = l
			continue
		}
		for _, d := range history.Differences(first, l) {
			return nil, fmt.Errorf("application %d: nodes 0 and %d show different things: %s", app, node, d)
		}
	}
	return first, nil
}

// judge looks for broken promises in a history.
func (s *soaker) judge(h *history.History, number int) error {
	dir := filepath.Join(s.stand.scratch, fmt.Sprintf("schedule%d", number))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a folder for pictures: %w", err)
	}
	v, err := h.Check(s.decide, dir)
	s.keys, s.given = s.keys+v.Keys, s.given+len(v.GaveUp)
	for _, key := range v.GaveUp {
		fmt.Fprintf(s.out, "  gave up on %s after %s\n", key, s.decide)
	}
	for i, key := range v.Illegal {
		err = errors.Join(err, fmt.Errorf("the history of %s is not linearizable, see %s", key, v.Files[i]))
	}
	return errors.Join(err, few(append(h.Wrong, h.CheckStale()...)))
}

// few makes an error of broken promises.
func few(wrong []string) error {
	const shown = 10
	var err error
	for _, w := range wrong[:min(shown, len(wrong))] {
		err = errors.Join(err, errors.New(w))
	}
	if len(wrong) > shown {
		err = errors.Join(err, fmt.Errorf("and %d more", len(wrong)-shown))
	}
	return err
}

// restart stops all nodes, checks their data and starts them again, with
// nothing if each schedule is to have a fresh cluster.
func (s *soaker) restart(ctx context.Context) (pairs int, err error) {
	if pairs, err = s.stand.compareReplicas(ctx); err != nil {
		return pairs, err
	}
	if err := s.stand.cluster.StopAll(); err != nil {
		return pairs, err
	}
	compared, err := s.stand.checkData(ctx)
	pairs += compared
	if err != nil {
		return pairs, err
	}
	if !s.fresh {
		return pairs, s.stand.start(ctx)
	}
	old := s.stand.dir()
	if err := s.stand.renew(ctx); err != nil || s.stand.keep {
		return pairs, err
	}
	return pairs, os.RemoveAll(old)
}

// revisit looks whether what the schedule left is still there after all nodes
// were stopped and started.
func (s *soaker) revisit() error {
	if s.fresh {
		return nil
	}
	for app, before := range s.last.listings {
		for node := range s.stand.nodes {
			now, err := s.last.recorder.Verify(app, node)
			if err != nil {
				return fmt.Errorf("after a restart of all nodes: %w", err)
			}
			for _, d := range history.Differences(before, now) {
				return fmt.Errorf("application %d changed over a restart of all nodes, through node %d: %s", app, node, d)
			}
		}
	}
	return nil
}

// report prints the sums.
func (s *soaker) report() {
	fmt.Fprintf(s.out, "\n%d operations on %d keys (gave up on %d), %d unknown, %d retried, %d stale reads, %d other 5xx; %d pairs of replicas had the same digest\n",
		s.total.Operations, s.keys, s.given, s.total.Unknown, s.total.Retried, s.total.Stale, s.total.Uncaught, s.pairs)
	s.gaps.print(s.out, s.stand.nodes)
}
