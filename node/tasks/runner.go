package tasks

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// Runner runs the tasks of the partitions that a node leads.
type Runner struct {
	cfg   Config
	host  Host
	log   *slog.Logger
	kinds map[string]*Kind
	wake  chan struct{} // something was noted in mu
	ended chan ending

	mu struct {
		sync.Mutex
		woken map[entity.Partition]bool
		stats map[string]*Counts // by kind
	}

	// The rest is Run's own.
	lanes   map[entity.Partition]*lane
	free    int // workers
	busy    map[place]bool
	running sync.WaitGroup
}

// place names a task.
type place struct {
	partition entity.Partition
	id        entity.ID
}

// lane is a partition that this node leads.
type lane struct {
	partition entity.Partition
	ctx       context.Context
	stop      context.CancelFunc
	picker    picker
	steps     map[entity.ID]*running
	apps      map[entity.AppID]int // running steps
	ensured   bool                 // its own tasks are recorded
	look      bool                 // something may be due
	next      time.Time            // when the next task is due; zero: not known to be any
	paused    time.Time            // proposals have failed: not before this
	pause     time.Duration
}

type running struct {
	queued
	stop context.CancelFunc
}

// ending is what a step reports when it is over.
type ending struct {
	lane   *lane
	id     entity.ID // zero: the partition's own tasks were looked after
	failed bool      // a proposal did not get through
}

// New makes a runner of the tasks of a host. It starts nothing.
func New(cfg Config, host Host) (*Runner, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := &Runner{
		cfg: cfg, host: host, log: cfg.Log.With("part", "tasks"), kinds: map[string]*Kind{},
		wake: make(chan struct{}, 1), ended: make(chan ending),
		lanes: map[entity.Partition]*lane{}, free: cfg.Workers, busy: map[place]bool{},
	}
	r.mu.woken, r.mu.stats = map[entity.Partition]bool{}, map[string]*Counts{}
	for i := range cfg.Kinds {
		r.kinds[cfg.Kinds[i].Name] = &cfg.Kinds[i]
		r.mu.stats[cfg.Kinds[i].Name] = &Counts{Kind: cfg.Kinds[i].Name}
	}
	return r, nil
}

// Wake says that tasks of a partition have changed, or that it was won or lost. It
// waits for nothing.
func (r *Runner) Wake(p entity.Partition) {
	r.mu.Lock()
	r.mu.woken[p] = true
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run runs tasks until ctx ends, and returns when nothing runs any more.
func (r *Runner) Run(ctx context.Context) {
	defer func() {
		for _, l := range r.lanes {
			l.stop()
		}
		stopped := make(chan struct{})
		go func() { r.running.Wait(); close(stopped) }()
		for {
			select {
			case <-r.ended:
			case <-stopped:
				return
			}
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	polled := time.Now()
	for {
		now := time.Now()
		all := now.Sub(polled) >= r.cfg.Poll
		if all {
			polled = now
		}
		r.follow(ctx, all)
		timer.Reset(max(0, time.Until(r.dispatch(now, polled.Add(r.cfg.Poll)))))
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case e := <-r.ended:
			r.end(e)
		case <-timer.C:
		}
	}
}

// follow learns which partitions are led here, and which of them were woken.
func (r *Runner) follow(ctx context.Context, all bool) {
	r.mu.Lock()
	woken := r.mu.woken
	r.mu.woken = map[entity.Partition]bool{}
	r.mu.Unlock()
	led := map[entity.Partition]bool{}
	for _, p := range r.host.Led() {
		led[p] = true
		l := r.lanes[p]
		if l == nil {
			l = &lane{partition: p, steps: map[entity.ID]*running{}, apps: map[entity.AppID]int{}, look: true}
			l.ctx, l.stop = context.WithCancel(ctx)
			r.lanes[p] = l
		}
		if woken[p] || all {
			l.look = true
		}
	}
	for p, l := range r.lanes {
		if !led[p] {
			l.stop()
			delete(r.lanes, p) // its steps end by themselves, and free their workers
		}
	}
}

// end takes note of the end of a step.
func (r *Runner) end(e ending) {
	l := e.lane
	r.free++
	delete(r.busy, place{l.partition, e.id})
	if now := r.lanes[l.partition]; now != nil {
		now.look = true // it may be another: the partition was lost and won again
	}
	if e.failed && e.id.IsZero() {
		l.ensured = false
	}
	if s := l.steps[e.id]; s != nil {
		s.stop()
		delete(l.steps, e.id)
		if l.apps[s.App]--; l.apps[s.App] == 0 {
			delete(l.apps, s.App)
		}
	}
	if !e.failed {
		l.pause = 0
		return
	}
	l.pause = min(max(2*l.pause, 100*time.Millisecond), 10*time.Second)
	l.paused = time.Now().Add(l.pause/2 + rand.N(l.pause))
}

// dispatch starts what is due as far as there are workers, and returns when to look
// again, at latest until.
func (r *Runner) dispatch(now time.Time, until time.Time) time.Time {
	partitions := slices.Collect(maps.Keys(r.lanes))
	rand.Shuffle(len(partitions), func(i, j int) { partitions[i], partitions[j] = partitions[j], partitions[i] })
	for _, p := range partitions {
		l := r.lanes[p]
		if !l.next.IsZero() && !now.Before(l.next) {
			l.look = true
		}
		if l.look && now.Before(l.paused) {
			until = earlier(until, l.paused)
			continue
		}
		if !l.look {
			until = earlier(until, l.next)
			continue
		}
		if r.free == 0 {
			continue // the end of a step brings us back
		}
		if err := r.fill(l, now); err != nil {
			if l.ctx.Err() == nil {
				r.log.Warn("queue of tasks not read, trying again", "partition", p, "error", err)
			}
			l.paused = now.Add(time.Second)
			until = earlier(until, l.paused)
			continue
		}
		until = earlier(until, l.next)
	}
	return until
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// fill starts steps of a partition.
func (r *Runner) fill(l *lane, now time.Time) error {
	if !l.ensured {
		l.ensured = true
		r.start(l, queued{}, func() bool { return r.ensure(l, now) })
		if r.free == 0 {
			return nil
		}
	}
	view, err := r.host.View(l.partition)
	if err != nil {
		return err
	}
	defer func() { _ = view.Close() }() // what was read is valid
	for id, s := range l.steps {
		if _, ok, err := storage.ReadTask(view, id); err != nil {
			return err
		} else if !ok {
			s.stop() // cancelled meanwhile, or just done
		}
	}
	list, next, err := l.picker.pick(view, now.UnixMilli(), r.free,
		func(app entity.AppID) int { return r.cfg.PerApp - l.apps[app] },
		func(q queued) bool { return r.busy[place{l.partition, q.ID}] || r.kinds[q.kind] == nil })
	if err != nil {
		return err
	}
	l.look = len(list) == r.free // then there may be more
	l.next = time.Time{}
	if next != never {
		l.next = time.UnixMilli(next)
	}
	for _, q := range list {
		ctx, stop := context.WithCancel(l.ctx)
		l.steps[q.ID] = &running{queued: q, stop: stop}
		l.apps[q.App]++
		r.busy[place{l.partition, q.ID}] = true
		r.start(l, q, func() bool { return r.step(ctx, l.partition, q) })
	}
	return nil
}

// start gives a worker something to do. work reports whether its proposals got
// through.
func (r *Runner) start(l *lane, q queued, work func() bool) {
	r.free--
	r.running.Go(func() {
		ok := work()
		r.ended <- ending{lane: l, id: q.ID, failed: !ok}
	})
}

// ensure records the tasks that the partition is to have.
func (r *Runner) ensure(l *lane, now time.Time) bool {
	for _, k := range r.cfg.Kinds {
		if !k.EveryPartition {
			continue
		}
		known, err := r.has(l.partition, OwnID(k.Name))
		if err == nil && !known {
			_, err = r.host.ProposeIn(l.ctx, l.partition, command.Command{
				Request: requestOf("own", OwnID(k.Name), now.UnixMilli(), uint64(l.partition)),
				App:     entity.NoApp,
				Op: command.PutTask{Task: command.NewTask{
					ID: OwnID(k.Name), Kind: k.Name, Priority: entity.Idle, NotBefore: now.Add(k.Delay).UnixMilli(),
				}},
			})
		}
		if err != nil {
			if l.ctx.Err() == nil {
				r.log.Info("task of a partition not recorded", "partition", l.partition, "kind", k.Name, "error", err)
			}
			return false
		}
	}
	return true
}

func (r *Runner) has(p entity.Partition, id entity.ID) (known bool, err error) {
	view, err := r.host.View(p)
	if err != nil {
		return false, err
	}
	_, known, err = storage.ReadTask(view, id)
	if closed := view.Close(); err == nil {
		err = closed
	}
	return known, err
}

// OwnID is the id of the task of a kind of which every partition has one.
func OwnID(kind string) entity.ID {
	sum := sha256.Sum256([]byte("task of every partition: " + kind))
	id := entity.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8
	return id
}

// requestOf makes the request id of a proposal about a task: the same from whoever
// proposes it, and another for every turn.
func requestOf(what string, id entity.ID, created int64, turn uint64) command.RequestID {
	b := append([]byte(what), id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(created))
	b = binary.BigEndian.AppendUint64(b, turn)
	sum := sha256.Sum256(b)
	return command.RequestID(sum[:16])
}

// safely runs a handler and makes an error of its panic.
func safely(ctx context.Context, run Handler, job *Job) (s Step, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return run(ctx, job)
}
