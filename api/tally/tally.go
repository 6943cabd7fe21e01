package tally

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Cluster is what a tally needs of a node.
type Cluster interface {
	Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error)
}

// Config says how a tally writes.
type Config struct {
	Interval time.Duration // between two writes of what an application has counted
	Timeout  time.Duration // for one write
	Writers  int           // writes at one moment
}

// DefaultConfig returns a working configuration.
func DefaultConfig() Config {
	return Config{Interval: 5 * time.Second, Timeout: 10 * time.Second, Writers: 8}
}

const (
	shards = 64
	// maxMinutes is how many minutes of an application are kept apart, and so the most
	// that one command counts.
	maxMinutes = 60
	methods    = 4
)

// names returns the counters of the methods, in the order of methodOf.
func names() [methods]string {
	const of = "application.requests."
	return [methods]string{of + "get", of + "post", of + "put", of + "delete"}
}

func methodOf(name string) int {
	switch name {
	case "GET":
		return 0
	case "POST":
		return 1
	case "PUT":
		return 2
	}
	return 3
}

// Tally counts requests. Make one with Start; it is safe for concurrent use.
type Tally struct {
	cfg     Config
	cluster Cluster
	log     *slog.Logger
	shards  [shards]shard
	stop    context.CancelFunc
	done    sync.WaitGroup
	close   sync.Once
	lost    error // of Close
	written atomic.Uint64
	failed  atomic.Uint64
	refused atomic.Uint64
}

type shard struct {
	mu   sync.Mutex
	apps map[entity.AppID]*application // guarded by mu, and so is what they hold
	_    [40]byte                      // a line of the processor's cache each
}

// application is what was counted of an application and is not written yet.
type application struct {
	minutes []minute         // in the order in which they were first counted
	sending *command.Command // the last write that has begun, until its outcome is known
	begun   uint64           // writes
	written uint64           // of them
	busy    chan struct{}    // closed when the write under way has ended; nil: there is none
}

type minute struct {
	begin  int64 // ms since the epoch
	counts [methods]int64
}

// Start checks cfg and begins to write. The caller ends it with Close, after the last
// request.
func Start(cfg Config, cluster Cluster, log *slog.Logger) (*Tally, error) {
	if cfg.Interval <= 0 || cfg.Timeout <= 0 || cfg.Writers < 1 {
		return nil, fmt.Errorf("tally: interval is %s, timeout %s, writers %d, want more than 0", cfg.Interval, cfg.Timeout, cfg.Writers)
	}
	t := &Tally{cfg: cfg, cluster: cluster, log: log.With("part", "tally")}
	for i := range t.shards {
		t.shards[i].apps = make(map[entity.AppID]*application)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	t.done.Go(func() { t.run(ctx) })
	return t, nil
}

// Counting returns a handler that counts a request of an application before it hands it
// on. One that this node had to leave to another is counted there.
func (t *Tally) Counting(next wire.Handler) wire.Handler {
	return func(req *wire.Request) (*wire.Reply, error) {
		app, at, method := req.App.Number, req.Time().UnixMilli(), methodOf(req.Method())
		t.count(app, at, method, 1)
		reply, err := next(req)
		if err != nil && fault.Is(err, fault.NotHere) {
			t.count(app, at, method, -1)
		}
		return reply, err
	}
}

func (t *Tally) shard(app entity.AppID) *shard { return &t.shards[app%shards] }

func (t *Tally) count(app entity.AppID, at int64, method int, by int64) {
	begin := entity.Minute.Bucket(at)
	s := t.shard(app)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[app]
	if a == nil {
		a = &application{}
		s.apps[app] = a
	}
	a.at(begin).counts[method] += by
}

// at returns the counts of a minute.
func (a *application) at(begin int64) *minute {
	for i := len(a.minutes) - 1; i >= 0; i-- {
		if a.minutes[i].begin == begin {
			return &a.minutes[i]
		}
	}
	if len(a.minutes) == maxMinutes {
		for method, n := range a.minutes[0].counts {
			a.minutes[1].counts[method] += n
		}
		a.minutes = append(a.minutes[:0], a.minutes[1:]...)
	}
	a.minutes = append(a.minutes, minute{begin: begin})
	return &a.minutes[len(a.minutes)-1]
}

// run writes what has been counted, at every interval.
func (t *Tally) run(ctx context.Context) {
	tick := time.NewTicker(t.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if waiting, err := t.flush(ctx); waiting > 0 && ctx.Err() == nil {
				t.log.Warn("counts of requests wait to be written", "applications", waiting, "error", err)
			}
		}
	}
}

// flush writes what has been counted of all applications. It returns of how many that
// was not possible, and why it was not of one of them.
func (t *Tally) flush(ctx context.Context) (waiting int, err error) {
	var apps []entity.AppID
	for i := range t.shards {
		apps = append(apps, t.shards[i].counted()...)
	}
	var mu sync.Mutex
	var writers sync.WaitGroup
	next := make(chan entity.AppID)
	for range min(t.cfg.Writers, len(apps)) {
		writers.Go(func() {
			for app := range next {
				if failure := t.Flush(ctx, app); failure != nil {
					mu.Lock()
					waiting, err = waiting+1, failure
					mu.Unlock()
				}
			}
		})
	}
	for _, app := range apps {
		next <- app
	}
	close(next)
	writers.Wait()
	return waiting, err
}

// counted returns the applications of which something waits, and forgets the others.
func (s *shard) counted() (apps []entity.AppID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for app, a := range s.apps {
		switch {
		case len(a.minutes) > 0 || a.sending != nil:
			apps = append(apps, app)
		case a.busy == nil:
			delete(s.apps, app)
		}
	}
	return apps
}

// Flush writes what has been counted of an application, and returns when it can be read:
// all requests that were counted before Flush was called. Writes of one application
// follow one another, and many that wait share one.
func (t *Tally) Flush(ctx context.Context, app entity.AppID) error {
	s := t.shard(app)
	for due := s.due(app); ; {
		cmd, busy := s.begin(app, due)
		switch {
		case busy != nil:
			select {
			case <-busy:
			case <-ctx.Done():
				return fmt.Errorf("application %d: wait for its counts: %w", app, context.Cause(ctx))
			}
		case cmd == nil:
			return nil
		default:
			err := t.write(ctx, cmd)
			s.end(app, err == nil)
			if err != nil {
				return fmt.Errorf("application %d: write its counts: %w", app, err)
			}
		}
	}
}

// due returns the number of the write that brings all that is counted by now.
func (s *shard) due(app entity.AppID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[app]
	switch {
	case a == nil:
		return 0
	case len(a.minutes) > 0:
		return a.begun + 1
	}
	return a.begun
}

// begin begins a write, unless that of a number is done: of what has been sent without
// success, or else of all that was counted. busy is closed when the write under way
// ends; nothing has begun then.
func (s *shard) begin(app entity.AppID, due uint64) (cmd *command.Command, busy chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[app]
	switch {
	case a == nil, a.written >= due, a.sending == nil && len(a.minutes) == 0:
		return nil, nil
	case a.busy != nil:
		return nil, a.busy
	case a.sending == nil:
		a.sending = commandOf(app, a.minutes)
		a.minutes = a.minutes[:0]
		a.begun++
	}
	a.busy = make(chan struct{})
	return a.sending, nil
}

func (s *shard) end(app entity.AppID, written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[app]
	if written {
		a.sending = nil
		a.written++
	}
	close(a.busy)
	a.busy = nil
}

func commandOf(app entity.AppID, minutes []minute) *command.Command {
	var op command.Count
	for i := range minutes {
		tally := command.Tally{Time: minutes[i].begin}
		for method, n := range minutes[i].counts {
			if n != 0 {
				tally.Increments = append(tally.Increments, command.Increment{Name: names()[method], By: n})
			}
		}
		if len(tally.Increments) > 0 {
			op.Tallies = append(op.Tallies, tally)
		}
	}
	return &command.Command{Request: command.RequestID(entity.NewID()), App: app, Op: op}
}

// write sends a command. What is refused, because the application is gone, is nobody's
// to count any more.
func (t *Tally) write(ctx context.Context, cmd *command.Command) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	if op, ok := cmd.Op.(command.Count); ok && len(op.Tallies) == 0 {
		return nil // all of it was taken back
	}
	out, err := t.cluster.Propose(ctx, cmd.App, *cmd)
	if err == nil && out.Fault != nil {
		err = out.Fault
	}
	switch {
	case err == nil:
		t.written.Add(1)
		return nil
	case wire.Status(fault.CodeOf(err)) < 500:
		t.refused.Add(1)
		t.log.Info("counts of requests were refused", "application", cmd.App, "error", err)
		return nil
	}
	t.failed.Add(1)
	return err
}

// Stats are figures of a tally for metrics.
type Stats struct {
	Applications int    // of which something waits
	Written      uint64 // commands
	Failed       uint64 // tries that left it open whether they were applied, and were or will be repeated
	Refused      uint64 // commands whose application was gone
}

// Stats returns the figures at this moment.
func (t *Tally) Stats() Stats {
	s := Stats{Written: t.written.Load(), Failed: t.failed.Load(), Refused: t.refused.Load()}
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for _, a := range sh.apps {
			if len(a.minutes) > 0 || a.sending != nil {
				s.Applications++
			}
		}
		sh.mu.Unlock()
	}
	return s
}

// Close ends the writing, after a last one of all that was counted until ctx ends. An
// error says that something could not be written.
func (t *Tally) Close(ctx context.Context) error {
	t.close.Do(func() {
		t.stop()
		t.done.Wait()
		if waiting, err := t.flush(ctx); waiting > 0 {
			t.lost = fmt.Errorf("counts of requests of %d applications are lost: %w", waiting, err)
		}
	})
	return t.lost
}
