package storage

import (
	"errors"
	"fmt"
	"math"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// ReadTask returns a task of the partition. One that is done is not there any more.
func ReadTask(r Reader, id entity.ID) (entity.Task, bool, error) {
	raw, ok, err := r.Get(nil, keys.AppendTask(nil, r.Partition(), id))
	if err != nil || !ok {
		return entity.Task{}, false, err
	}
	t, err := entity.DecodeTask(raw)
	if err == nil && t.ID != id {
		err = fault.New(fault.Corrupt, "the record says it is task %s", t.ID)
	}
	if err != nil {
		return entity.Task{}, false, fmt.Errorf("partition %d: task %s: %w", r.Partition(), id, err)
	}
	return t, true, nil
}

// Tasks returns tasks in a state in the order of the queue, at most so many, and
// whether there are more.
func Tasks(v *View, state entity.TaskState, most int) (list []entity.Task, more bool, err error) {
	it, err := v.Scan(keys.QueueRange(v.Partition(), state))
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if len(list) == most {
			return list, true, nil
		}
		q, ok := keys.DecodeQueued(it.Key())
		if !ok {
			return nil, false, fault.New(fault.Corrupt, "partition %d: queue key %x", v.Partition(), it.Key())
		}
		t, ok, err := ReadTask(v, q.ID)
		if err != nil {
			return nil, false, err
		}
		if !ok {
			return nil, false, fault.New(fault.Corrupt, "partition %d: task %s is queued and has no record", v.Partition(), q.ID)
		}
		list = append(list, t)
	}
	return list, false, it.Err()
}

// TasksOf returns tasks of an application, ready ones first, in the order of the queue,
// at most so many, and whether there are more. It costs a few steps for each priority,
// whatever others have queued.
func TasksOf(v *View, app entity.AppID, most int) (list []entity.Task, more bool, err error) {
	for _, state := range []entity.TaskState{entity.TaskReady, entity.TaskDead} {
		it, err := v.Scan(keys.QueueRange(v.Partition(), state))
		if err != nil {
			return nil, false, err
		}
		list, more, err = tasksOf(v, it, app, list, most)
		if err = errors.Join(err, it.Close()); err != nil || more {
			return list, more, err
		}
	}
	return list, false, nil
}

func tasksOf(v *View, it *Iterator, app entity.AppID, list []entity.Task, most int) ([]entity.Task, bool, error) {
	for ok := it.First(); ok; {
		q, valid := keys.DecodeQueued(it.Key())
		if !valid {
			return nil, false, fault.New(fault.Corrupt, "partition %d: queue key %x", v.Partition(), it.Key())
		}
		switch {
		case q.App < app:
			ok = it.SeekGE(keys.AppendQueued(nil, v.Partition(), keys.Queued{State: q.State, Priority: q.Priority, App: app}))
			continue
		case q.App > app:
			if q.Priority == math.MaxUint8 {
				return list, false, it.Err()
			}
			ok = it.SeekGE(keys.AppendQueued(nil, v.Partition(), keys.Queued{State: q.State, Priority: q.Priority + 1}))
			continue
		case len(list) == most:
			return list, true, nil
		}
		t, known, err := ReadTask(v, q.ID)
		if err != nil {
			return nil, false, err
		}
		if !known {
			return nil, false, fault.New(fault.Corrupt, "partition %d: task %s is queued and has no record", v.Partition(), q.ID)
		}
		list = append(list, t)
		ok = it.Next()
	}
	return list, false, it.Err()
}

// ReadGone reports whether an application was purged from the partition.
func ReadGone(r Reader, app entity.AppID) (bool, error) {
	var buf [16]byte
	_, ok, err := r.Get(nil, keys.AppendGone(buf[:0], r.Partition(), app))
	return ok, err
}
