package tasks

import (
	"context"
	"errors"
	"fmt"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Bounds of a step that fills feeds.
const (
	fanOutEntries = 512    // that it adds, unless one feed alone gets more
	fanOutEdges   = 10_000 // that it looks at
)

// FanOut brings activities into the feeds of an audience that is too large for the command
// that posted them. Its progress is in edges looked at.
func FanOut() Kind { return Kind{Name: entity.TaskFanOut, Run: fanOut} }

// Follow brings what a user has published into the feed of a new follower, where that is
// too much for the command that connected them. Its progress is in activities.
func Follow() Kind { return Kind{Name: entity.TaskFollow, Run: followOutbox} }

func fanOut(_ context.Context, job *Job) (s Step, err error) {
	f, err := entity.DecodeFanOut(job.Task.Body)
	if err != nil {
		return Step{}, Permanent(fmt.Errorf("task %s: %w", job.Task.ID, err))
	}
	view, err := job.View()
	if err != nil {
		return Step{}, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if f.Activities, err = present(view, job.Task.App, f.Activities); err != nil {
		return Step{}, err
	}
	reach, err := storage.ReachOf(view, job.Task.App, &f)
	if err != nil {
		return Step{}, err
	}
	if len(f.Activities) == 0 || reach.Size == 0 {
		return Step{Finish: true}, nil
	}
	feeds, looked, end, err := reached(view, job.Task.App, &reach, &f)
	if err != nil {
		return Step{}, err
	}
	s = job.Keep()
	s.Done += looked
	s.Finish = end
	s.Body = entity.AppendFanOut(nil, &f)
	if len(feeds) > 0 {
		s.Effect = command.Deliver{Activities: f.Activities, Feeds: feeds}
	}
	return s, nil
}

// present returns the activities that still exist.
func present(v *storage.View, app entity.AppID, list []entity.Posted) (kept []entity.Posted, err error) {
	c, known, err := storage.ReadCollectionID(v, app, "activities")
	if err != nil || !known {
		return nil, err
	}
	var key, value []byte
	for _, p := range list {
		key = keys.AppendEntity(key[:0], v.Partition(), app, c, p.Seq)
		raw, ok, err := v.Get(value[:0], key)
		if err != nil {
			return nil, err
		}
		if value = raw; ok {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

// reached returns the next feeds of a fan-out, how many edges it has looked at for them and
// whether there are no more, and moves f on.
func reached(v *storage.View, app entity.AppID, reach *storage.Reach, f *entity.FanOut) (feeds []entity.End, looked uint64, end bool, err error) {
	it, err := v.Scan(keys.EdgeRange(v.Partition(), app, keys.Inbound, reach.Near, reach.Verb))
	if err != nil {
		return nil, 0, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	most := max(1, fanOutEntries/len(f.Activities))
	var ok bool
	if f.Next == 0 {
		ok = it.Last()
	} else { // keys have the numbers inverted: the key before those of Next-1 and lower
		ok = it.SeekLT(keys.AppendEdgeFrom(nil, v.Partition(), app, keys.Inbound, reach.Near, reach.Verb, f.Next-1))
	}
	for ; ok; ok = it.Prev() {
		_, _, _, eseq, far, valid := keys.DecodeEdge(it.Key())
		if !valid {
			return nil, 0, false, fault.New(fault.Corrupt, "partition %d: edge at key %x", v.Partition(), it.Key())
		}
		reaches, err := reach.Reaches(v, eseq, far)
		if err != nil {
			return nil, 0, false, err
		}
		if reaches {
			feeds = append(feeds, far)
		}
		looked++
		f.Next = eseq + 1
		if len(feeds) == most || looked == fanOutEdges {
			return feeds, looked, false, nil
		}
	}
	return feeds, looked, true, it.Err()
}

func followOutbox(_ context.Context, job *Job) (s Step, err error) {
	o, err := entity.DecodeOutbox(job.Task.Body)
	if err != nil {
		return Step{}, Permanent(fmt.Errorf("task %s: %w", job.Task.ID, err))
	}
	view, err := job.View()
	if err != nil {
		return Step{}, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	it, err := view.Scan(keys.ListRange(view.Partition(), job.Task.App, o.Followed, keys.Outbox))
	if err != nil {
		return Step{}, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	from := keys.AppendListed(nil, view.Partition(), job.Task.App, o.Followed, keys.Outbox, o.After.Published, o.After.Seq)
	var list []entity.Posted
	looked := 0
	for ok := it.SeekGE(append(from, 0)); ok && looked < fanOutEntries; ok = it.Next() {
		_, _, published, seq, valid := keys.DecodeListed(it.Key())
		if !valid {
			return Step{}, fault.New(fault.Corrupt, "partition %d: activity in a list at key %x", view.Partition(), it.Key())
		}
		looked++
		o.After = entity.Posted{Seq: seq, Published: published}
		if seq < o.Until {
			list = append(list, o.After)
		}
	}
	if err := it.Err(); err != nil {
		return Step{}, err
	}
	s = job.Keep()
	s.Done += uint64(looked)
	s.Finish = looked < fanOutEntries
	s.Body = entity.AppendOutbox(nil, &o)
	if len(list) > 0 {
		s.Effect = command.Deliver{Activities: list, Feeds: []entity.End{o.Follower}}
	}
	return s, nil
}
