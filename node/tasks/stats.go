package tasks

import (
	"cmp"
	"errors"
	"slices"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// maxCounted bounds how many tasks of a partition are counted for Stats.
const maxCounted = 10_000

// Counts are the figures of a kind of task on this node. What is queued and dead is
// that of the partitions it leads, up to 10,000 a partition.
type Counts struct {
	Kind     string
	Queued   int
	Dead     int
	Running  int
	Steps    uint64 // done since the start
	Finished uint64 // tasks done since the start
	Failures uint64 // steps that failed since the start
}

func (r *Runner) count(kind string, f func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.mu.stats[kind]; c != nil {
		f(c)
	}
}

// Stats returns the figures of all kinds, by name; kinds without a handler here are
// among them if tasks wait.
func (r *Runner) Stats() []Counts {
	byKind := map[string]*Counts{}
	r.mu.Lock()
	for name, c := range r.mu.stats {
		now := *c
		byKind[name] = &now
	}
	r.mu.Unlock()
	for _, p := range r.host.Led() {
		// A partition that cannot be read now has been lost; its new leader counts.
		_ = r.census(p, byKind)
	}
	list := make([]Counts, 0, len(byKind))
	for _, c := range byKind {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Counts) int { return cmp.Compare(a.Kind, b.Kind) })
	return list
}

func (r *Runner) census(p entity.Partition, byKind map[string]*Counts) (err error) {
	view, err := r.host.View(p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	for _, state := range []entity.TaskState{entity.TaskReady, entity.TaskDead} {
		if err := countQueue(view, state, byKind); err != nil {
			return err
		}
	}
	return nil
}

func countQueue(view *storage.View, state entity.TaskState, byKind map[string]*Counts) (err error) {
	it, err := view.Scan(keys.QueueRange(view.Partition(), state))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	n := 0
	for ok := it.First(); ok && n < maxCounted; ok = it.Next() {
		n++
		c := byKind[string(it.Value())]
		if c == nil {
			c = &Counts{Kind: string(it.Value())}
			byKind[c.Kind] = c
		}
		if state == entity.TaskDead {
			c.Dead++
		} else {
			c.Queued++
		}
	}
	return it.Err()
}
