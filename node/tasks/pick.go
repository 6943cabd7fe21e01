package tasks

import (
	"errors"
	"math"
	"slices"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// queued is a task in the queue, with what is needed to decide.
type queued struct {
	keys.Queued
	kind string
}

// never is later than any time a task is due.
const never = int64(math.MaxInt64)

// picker chooses the tasks of a partition that run next.
type picker struct {
	looks uint64
	last  map[entity.Priority]entity.AppID // who had the last turn
}

// pick returns up to most tasks that are due at now (ms since the epoch), in the
// order in which they are to run, and when the next one is due of those that are
// not; if most was reached, that is not known and is never. take says how many more
// steps an application may run; skip passes tasks over.
func (p *picker) pick(v *storage.View, now int64, most int, take func(entity.AppID) int, skip func(queued) bool) (list []queued, next int64, err error) {
	it, err := v.Scan(keys.QueueRange(v.Partition(), entity.TaskReady))
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	picked := map[entity.AppID]int{}
	left := func(app entity.AppID) int { return take(app) - picked[app] }
	w := walk{it: it, p: v.Partition(), now: now, take: left, skip: skip, next: never}
	var groups []*group
	for ok := it.First(); ok; {
		q, ok2 := keys.DecodeQueued(it.Key())
		if !ok2 {
			return nil, 0, fault.New(fault.Corrupt, "partition %d: queue key %x", v.Partition(), it.Key())
		}
		groups = append(groups, &group{priority: q.Priority})
		ok = q.Priority != math.MaxUint8 && it.SeekGE(w.from(q.Priority+1, 0))
	}
	if err := it.Err(); err != nil {
		return nil, 0, err
	}
	if p.looks++; p.looks%8 == 0 {
		slices.Reverse(groups)
	}
	for _, g := range groups {
		after, known := p.last[g.priority]
		if known && after < math.MaxUint32 {
			if err := w.collect(g, after+1, math.MaxUint32, most-len(list)); err != nil {
				return nil, 0, err
			}
			if err := w.collect(g, 0, after, most-len(list)); err != nil {
				return nil, 0, err
			}
		} else if err := w.collect(g, 0, math.MaxUint32, most-len(list)); err != nil {
			return nil, 0, err
		}
		turns := g.turns(most - len(list))
		if len(turns) > 0 {
			if p.last == nil {
				p.last = map[entity.Priority]entity.AppID{}
			}
			p.last[g.priority] = g.lastOf(turns)
		}
		for _, q := range turns {
			picked[q.App]++
		}
		if list = append(list, turns...); len(list) == most {
			return list, never, nil
		}
	}
	return list, w.next, nil
}

// walk steps through the queue of a partition.
type walk struct {
	it   *storage.Iterator
	p    entity.Partition
	now  int64
	take func(entity.AppID) int
	skip func(queued) bool
	next int64 // when the first of those not due is
	key  []byte
}

// from is the first place of an application in a priority.
func (w *walk) from(priority entity.Priority, app entity.AppID) []byte {
	w.key = keys.AppendQueued(w.key[:0], w.p, keys.Queued{State: entity.TaskReady, Priority: priority, App: app})
	return w.key
}

// group is what is due of one priority, by application in the order of their turns.
type group struct {
	priority entity.Priority
	apps     [][]queued
}

// collect adds what is due of the applications [first, last]. It stops when as many
// applications as there are places have something.
func (w *walk) collect(g *group, first, last entity.AppID, places int) error {
	for app := first; len(g.apps) < places; {
		if !w.it.SeekGE(w.from(g.priority, app)) {
			return w.it.Err()
		}
		q, ok := keys.DecodeQueued(w.it.Key())
		if !ok {
			return fault.New(fault.Corrupt, "partition %d: queue key %x", w.p, w.it.Key())
		}
		if q.Priority != g.priority || q.App > last {
			return nil
		}
		if due := w.dueOf(g.priority, q.App, min(places, w.take(q.App))); len(due) > 0 {
			g.apps = append(g.apps, due)
		}
		if q.App == last {
			return w.it.Err()
		}
		app = q.App + 1
	}
	return w.it.Err()
}

// dueOf returns the first of an application's tasks that are due. The iterator
// stands at its first.
func (w *walk) dueOf(priority entity.Priority, app entity.AppID, most int) (due []queued) {
	for ok := true; ok && len(due) < most; ok = w.it.Next() {
		key, ok := keys.DecodeQueued(w.it.Key())
		if !ok || key.Priority != priority || key.App != app {
			return due
		}
		if key.NotBefore > w.now {
			w.next = min(w.next, key.NotBefore)
			return due
		}
		if q := (queued{key, string(w.it.Value())}); !w.skip(q) {
			due = append(due, q)
		}
	}
	return due
}

// turns takes one task of each application, then a second of each, and so on.
func (g *group) turns(most int) (list []queued) {
	for round := 0; ; round++ {
		before := len(list)
		for _, due := range g.apps {
			if round < len(due) && len(list) < most {
				list = append(list, due[round])
			}
		}
		if len(list) == before {
			return list
		}
	}
}

// lastOf is the application whose turn came last in the first round.
func (g *group) lastOf(turns []queued) entity.AppID {
	return turns[min(len(turns), len(g.apps))-1].App
}
