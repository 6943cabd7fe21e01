package raftfsm

import (
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// taskKey checks a key of the partition that has to do with tasks, and reports
// whether it is one.
func (c *checker) taskKey(k, v []byte) (known bool, err error) {
	if id, ok := keys.DecodeTask(k); ok {
		return true, c.task(k, v, id)
	}
	if q, ok := keys.DecodeQueued(k); ok {
		t, ok, err := storage.ReadTask(c.view, q.ID)
		switch {
		case err != nil:
			return true, err
		case !ok:
			c.problem(k, "queues task %s, which does not exist", q.ID)
		case keys.QueuedOf(&t) != q:
			c.problem(k, "is not the place of task %s", q.ID)
		case t.Kind != string(v):
			c.problem(k, "says that task %s is of kind %q, not %q", q.ID, v, t.Kind)
		}
		return true, nil
	}
	if app, ok := keys.DecodeGone(k); ok {
		if app < entity.FirstApp || len(v) != 0 {
			c.problem(k, "damaged mark of application %d, which was purged", app)
		}
		return true, nil
	}
	return false, nil
}

func (c *checker) task(k, v []byte, id entity.ID) error {
	t, err := entity.DecodeTask(v)
	if err != nil || t.ID != id {
		c.problem(k, "damaged record of task %s", id)
		return nil
	}
	c.report.Tasks++
	c.body(k, &t)
	c.key = keys.AppendQueued(c.key[:0], c.view.Partition(), keys.QueuedOf(&t))
	_, ok, err := c.get(c.key)
	if err == nil && !ok {
		c.problem(c.key, "missing: task %s has this place in the queue", id)
	}
	return err
}

// body checks what a task is about, and notes which entities it removes the rest of.
func (c *checker) body(k []byte, t *entity.Task) {
	var err error
	switch t.Kind {
	case entity.TaskDropEdges:
		c.dropping(k, t)
	case entity.TaskFanOut:
		_, err = entity.DecodeFanOut(t.Body)
	case entity.TaskFollow:
		_, err = entity.DecodeOutbox(t.Body)
	}
	if err != nil {
		c.problem(k, "task %s: %v", t.ID, err)
	}
}
