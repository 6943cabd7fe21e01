package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Engine sends the notifications of the partitions that a node leads. Make one with
// Start; it is safe for concurrent use.
type Engine struct {
	cfg     Config
	host    Host
	targets Targets
	secrets Secrets
	log     *slog.Logger
	slots   chan struct{} // one for each message in flight, save the first two of each notifier
	figures figures

	running context.Context // ends when the engine is closed: nothing is begun any more
	stop    context.CancelFunc
	sending context.Context // what is in flight and what is written of it; ends later
	abandon context.CancelFunc
	done    sync.WaitGroup

	mu struct {
		sync.Mutex
		closed bool
		lanes  map[laneKey]*lane
		pools  int
	}
}

type laneKey struct {
	partition entity.Partition
	app       entity.AppID
}

// Start checks cfg and begins. The caller ends the engine with Close, before the node.
func Start(cfg Config, host Host, targets Targets, secrets Secrets, log *slog.Logger) (*Engine, error) {
	if err := cfg.check(log); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, host: host, targets: targets, secrets: secrets, log: log.With("part", "push"), slots: make(chan struct{}, cfg.NodeInFlight)}
	e.figures.init()
	e.mu.lanes = map[laneKey]*lane{}
	e.running, e.stop = context.WithCancel(context.Background())
	e.sending, e.abandon = context.WithCancel(context.Background())
	e.done.Go(e.follow)
	return e, nil
}

// Close ends the engine: it begins nothing more, gives what is in flight
// Config.CloseWithin to end, and returns when nothing runs. What has not ended is for
// whoever leads next.
func (e *Engine) Close() {
	e.mu.Lock()
	e.mu.closed = true
	e.mu.Unlock()
	e.stop()
	patience := time.AfterFunc(e.cfg.CloseWithin, e.abandon)
	e.done.Wait()
	patience.Stop()
	e.abandon()
}

// follow keeps lanes of the partitions that are led here and of no others.
func (e *Engine) follow() {
	tick := time.NewTicker(e.cfg.Watch)
	defer tick.Stop()
	led := map[entity.Partition]bool{}
	for {
		now := map[entity.Partition]bool{}
		for _, p := range e.host.Led() {
			now[p] = true
			if led[p] {
				continue
			}
			if err := e.takeOver(p); err != nil {
				now[p] = false // looked at again
				e.log.Warn("notifications under way not found, trying again", "partition", p, "error", err)
			}
		}
		e.leave(now)
		led = now
		select {
		case <-e.running.Done():
			e.leave(nil)
			return
		case <-tick.C:
		}
	}
}

// leave drops the lanes of all but some partitions.
func (e *Engine) leave(led map[entity.Partition]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, l := range e.mu.lanes {
		if !led[key.partition] {
			l.stop()
			if l.busy.count() == 0 {
				delete(e.mu.lanes, key)
			}
		}
	}
}

// takeOver finds the applications of a partition that have notifications under way.
func (e *Engine) takeOver(p entity.Partition) error {
	v, err := e.host.View(p)
	if err != nil {
		return err
	}
	apps, err := pushing(v)
	if err := errors.Join(err, v.Close()); err != nil {
		return err
	}
	for _, app := range apps {
		if err := e.wake(p, app); err != nil {
			return err
		}
	}
	return nil
}

// pushing returns the applications that have tasks of notifications.
func pushing(v *storage.View) (apps []entity.AppID, err error) {
	it, err := v.Scan(keys.QueueRange(v.Partition(), entity.TaskReady))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	seen := map[entity.AppID]bool{}
	for ok := it.First(); ok; ok = it.Next() {
		q, valid := keys.DecodeQueued(it.Key())
		if !valid {
			return nil, fault.New(fault.Corrupt, "partition %d: queue key %x", v.Partition(), it.Key())
		}
		if string(it.Value()) == entity.TaskPush && !seen[q.App] {
			seen[q.App] = true
			apps = append(apps, q.App)
		}
	}
	return apps, it.Err()
}

// lane returns the lane of an application; nil if the engine is closed.
func (e *Engine) lane(p entity.Partition, app entity.AppID) *lane {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.closed {
		return nil
	}
	key := laneKey{p, app}
	l := e.mu.lanes[key]
	switch {
	case l == nil:
		l = newLane(e, p, app, &busy{places: map[place]struct{}{}})
	case l.ctx.Err() != nil:
		l = newLane(e, p, app, l.busy)
	}
	e.mu.lanes[key] = l
	return l
}

// wake says that an application may have deliveries that are due.
func (e *Engine) wake(p entity.Partition, app entity.AppID) error {
	l := e.lane(p, app)
	if l == nil {
		return fault.New(fault.Stopping, "the node is stopping")
	}
	v, err := e.host.View(p)
	if err != nil {
		return err
	}
	found, err := waitingNotifiers(v, app)
	if err := errors.Join(err, v.Close()); err != nil {
		return fmt.Errorf("application %d: look for open deliveries: %w", app, err)
	}
	for _, n := range found {
		l.wake(n, 0)
	}
	return nil
}

// waitingNotifiers returns the notifiers that have open deliveries: a seek for each.
func waitingNotifiers(v *storage.View, app entity.AppID) (list []entity.Seq, err error) {
	var after *storage.Waiting
	for {
		next, err := storage.WaitingNotifications(v, app, after, 1)
		if err != nil || len(next) == 0 {
			return list, err
		}
		list = append(list, next[0].Notifier)
		after = &storage.Waiting{Notifier: next[0].Notifier, Notification: ^entity.Seq(0)}
	}
}

// startPool runs a pool, if there may be one more.
func (e *Engine) startPool(p *pool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.closed || e.mu.pools >= e.cfg.Pools {
		return false
	}
	e.mu.pools++
	e.done.Go(func() {
		p.run()
		e.mu.Lock()
		defer e.mu.Unlock()
		e.mu.pools--
	})
	return true
}
