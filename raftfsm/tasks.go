package raftfsm

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// recordTask puts a task into the batch, in the place of old if that is not nil.
func (m *Machine) recordTask(old, t *entity.Task) {
	if old != nil {
		m.unqueue(old)
	}
	m.key = keys.AppendTask(m.key[:0], m.cfg.Partition, t.ID)
	m.value = entity.AppendTask(m.value[:0], t)
	m.batch.Set(m.key, m.value)
	m.key = keys.AppendQueued(m.key[:0], m.cfg.Partition, keys.QueuedOf(t))
	m.batch.Set(m.key, []byte(t.Kind))
	if n, known := m.queued[t.App]; known && old == nil {
		m.queued[t.App] = n + 1
	}
	m.tasked = true
}

func (m *Machine) unqueue(t *entity.Task) {
	m.key = keys.AppendQueued(m.key[:0], m.cfg.Partition, keys.QueuedOf(t))
	m.batch.Delete(m.key)
}

func (m *Machine) removeTask(t *entity.Task) {
	m.unqueue(t)
	m.key = keys.AppendTask(m.key[:0], m.cfg.Partition, t.ID)
	m.batch.Delete(m.key)
	if n, known := m.queued[t.App]; known {
		m.queued[t.App] = n - 1
	}
	m.tasked = true
}

// room refuses another task of an application that has as many as may wait. What a
// deletion leaves to a task is not refused.
func (m *Machine) room(app entity.AppID) error {
	if app < entity.FirstApp {
		return nil
	}
	n, known := m.queued[app]
	if !known {
		var err error
		if n, err = m.countTasks(app); err != nil {
			return err
		}
		if m.queued == nil || len(m.queued) >= maxNames {
			m.queued = make(map[entity.AppID]int)
		}
		m.queued[app] = n
	}
	if n >= entity.MaxTasks {
		return refuse(fault.TooManyRequests, "the application has %d background tasks, more cannot wait", n)
	}
	return nil
}

// countTasks counts the tasks of an application. It is kept in mind after that.
func (m *Machine) countTasks(app entity.AppID) (n int, err error) {
	for _, state := range []entity.TaskState{entity.TaskReady, entity.TaskDead} {
		for priority := entity.Urgent; priority <= entity.Idle && err == nil; priority++ {
			lower, upper := keys.QueuedRange(m.cfg.Partition, state, priority, app)
			err = m.batch.Scan(lower, upper, func(_, _ []byte) bool { n++; return true })
		}
	}
	return n, err
}

// task returns a task that must exist.
func (m *Machine) task(id entity.ID) (entity.Task, error) {
	t, ok, err := storage.ReadTask(m.batch, id)
	if err == nil && !ok {
		err = refuse(fault.EntityNotFound, "no task %s", id)
	}
	return t, err
}

// taskAt returns a task that must be at a turn.
func (m *Machine) taskAt(id entity.ID, turn uint64) (entity.Task, error) {
	t, err := m.task(id)
	if err == nil && t.Turn != turn {
		err = refuse(fault.Conflict, "task %s is at turn %d, not %d", id, t.Turn, turn)
	}
	return t, err
}

func checkTask(t *entity.Task) error {
	switch {
	case t.ID.IsZero():
		return refuse(fault.IllegalArgument, "a task needs an id")
	case !entity.ValidTaskKind(t.Kind):
		return refuse(fault.IllegalArgument, "a task cannot be of kind %q", excerpt(t.Kind))
	case len(t.Body) > entity.MaxTaskBody:
		return refuse(fault.IllegalArgument, "task body of %d bytes, more than the %d allowed", len(t.Body), entity.MaxTaskBody)
	case t.NotBefore < 0:
		return refuse(fault.IllegalArgument, "a task is due at %d", t.NotBefore)
	}
	return nil
}

func (m *Machine) putTask(cmd *command.Command, op *command.PutTask) (result, error) {
	t := entity.Task{
		ID: op.Task.ID, Kind: op.Task.Kind, App: cmd.App, Priority: op.Task.Priority, State: entity.TaskReady,
		Created: cmd.Time, NotBefore: op.Task.NotBefore, Total: op.Task.Total, Body: op.Task.Body,
	}
	if err := checkTask(&t); err != nil {
		return result{}, err
	}
	_, known, err := storage.ReadTask(m.batch, t.ID)
	if err != nil || known {
		return result{}, err
	}
	if err := m.alive(cmd.App); err != nil {
		return result{}, err
	}
	if err := m.room(cmd.App); err != nil {
		return result{}, err
	}
	m.recordTask(nil, &t)
	return result{}, nil
}

// stepTask runs the effect of a step and moves the task on, in this order: an
// effect that is refused leaves nothing, and so does the step then.
func (m *Machine) stepTask(cmd *command.Command, op *command.StepTask) (result, error) {
	old, err := m.taskAt(op.ID, op.Turn)
	if err != nil {
		return result{}, err
	}
	next := old
	next.Step++
	next.Turn++
	next.Attempts, next.LastError = 0, ""
	next.NotBefore, next.Done, next.Total, next.Body = op.NotBefore, op.Done, op.Total, op.Body
	switch {
	case old.State != entity.TaskReady:
		return result{}, refuse(fault.Conflict, "task %s is %s", op.ID, old.State)
	case old.App != cmd.App:
		return result{}, refuse(fault.IllegalArgument, "task %s is one of application %d", op.ID, old.App)
	}
	if err := checkTask(&next); err != nil {
		return result{}, err
	}
	var res result
	if op.Effect != nil {
		effect := command.Command{Time: cmd.Time, App: cmd.App, Op: op.Effect}
		if res, err = m.dispatch(&effect); err != nil {
			return result{}, err
		}
	}
	if op.Finish {
		m.removeTask(&old)
	} else {
		m.recordTask(&old, &next)
	}
	return res, nil
}

func (m *Machine) failTask(op *command.FailTask) (result, error) {
	old, err := m.taskAt(op.ID, op.Turn)
	if err != nil {
		return result{}, err
	}
	if old.State != entity.TaskReady {
		return result{}, refuse(fault.Conflict, "task %s is %s", op.ID, old.State)
	}
	next := old
	next.Turn++
	next.Attempts++
	next.NotBefore = max(op.NotBefore, 0)
	next.LastError = strings.ToValidUTF8(op.Error[:min(len(op.Error), entity.MaxTaskError)], "")
	if op.Dead {
		next.State = entity.TaskDead
	}
	m.recordTask(&old, &next)
	return result{}, nil
}

func (m *Machine) cancelTask(op *command.CancelTask) (result, error) {
	t, err := m.task(op.ID)
	if err == nil {
		m.removeTask(&t)
	}
	return result{}, err
}

func (m *Machine) retryTask(cmd *command.Command, op *command.RetryTask) (result, error) {
	old, err := m.task(op.ID)
	if err != nil {
		return result{}, err
	}
	if old.State != entity.TaskDead && old.Attempts == 0 {
		return result{}, refuse(fault.Conflict, "task %s has not failed", op.ID)
	}
	next := old
	next.Turn++
	next.State, next.Attempts, next.NotBefore = entity.TaskReady, 0, max(cmd.Time, 0)
	m.recordTask(&old, &next)
	return result{}, nil
}

// alive refuses if an application was purged from this partition: what is on its
// way to it must not write where nobody would ever remove it.
func (m *Machine) alive(app entity.AppID) error {
	if app < entity.FirstApp {
		return nil
	}
	gone, err := storage.ReadGone(m.batch, app)
	if err == nil && gone {
		err = refuse(fault.NotFound, "the application was deleted")
	}
	return err
}

func (m *Machine) purgeApplication(cmd *command.Command) (result, error) {
	if cmd.App < entity.FirstApp {
		return result{}, refuse(fault.IllegalArgument, "application %d is not one to be purged", cmd.App)
	}
	m.names.forget(cmd.App)
	m.forgetVerbs(cmd.App)
	m.counters.forget(cmd.App)
	m.batch.DeleteRange(keys.AppRange(m.cfg.Partition, cmd.App))
	m.key = keys.AppendGone(m.key[:0], m.cfg.Partition, cmd.App)
	m.batch.Set(m.key, nil)
	m.touched = append(m.touched, cmd.App)
	return result{}, nil
}

// forget drops what is known of an application's collections. Their counters are
// not written any more.
func (n *names) forget(app entity.AppID) {
	for key, c := range n.known {
		if key.app == app {
			n.paths -= len(c.numbered)
			delete(n.known, key)
		}
	}
	kept := n.changed[:0]
	for _, c := range n.changed {
		if c.App != app {
			kept = append(kept, c)
		}
	}
	clear(n.changed[len(kept):])
	n.changed = kept
}

// planPurge is the task that will purge a deleted application, in the place of an
// earlier one.
func (m *Machine) planPurge(cmd *command.Command, op *command.DeleteApplication, e *entity.Entity) (old *entity.Task, t entity.Task, err error) {
	number, _, err := applicationOf(e)
	if err != nil {
		return nil, t, fault.Wrap(err, fault.Corrupt, "record of application %s", e.ID)
	}
	stored, known, err := storage.ReadTask(m.batch, op.Application)
	if err != nil {
		return nil, t, err
	}
	t = entity.Task{
		ID: op.Application, Kind: entity.TaskPurgeApplication, App: entity.Management, Priority: entity.Idle, State: entity.TaskReady,
		Created: cmd.Time, NotBefore: max(op.PurgeAt, 0), Body: binary.AppendUvarint(nil, uint64(number)),
	}
	if known {
		old, t.Turn = &stored, stored.Turn+1
	}
	return old, t, nil
}

func (m *Machine) forgetApplication(cmd *command.Command, op *command.ForgetApplication) (result, error) {
	c, err := m.open(entity.Management, command.DeletedApplications().Collection, command.DeletedApplications().Unique)
	if err != nil {
		return result{}, err
	}
	if op.Application.IsZero() {
		return result{}, nil
	}
	e, found, err := m.find(c, &command.Target{ID: op.Application})
	if err != nil || !found {
		return result{}, err
	}
	number, _, err := applicationOf(&e)
	if err != nil {
		return result{}, fault.Wrap(err, fault.Corrupt, "record of application %s", e.ID)
	}
	text, _ := textOf(e.JSON, "organization")
	organization, ok := entity.ParseID(text)
	if !ok {
		return result{}, fault.New(fault.Corrupt, "record of application %s names no organization", e.ID)
	}
	if err := m.remove(c, &e); err != nil {
		return result{}, err
	}
	if err := m.removeHeld(c, e.ID); err != nil {
		return result{}, err
	}
	m.unlink(keys.LinkDeletedApp, organization, e.ID)
	m.key = keys.AppendRoute(m.key[:0], number)
	m.batch.Delete(m.key)
	m.touch(cmd.App, "")
	return result{}, nil
}

// expireTokens looks at each token again: the proposer has seen an earlier state.
// Whoever holds one is refused for its age alone, so nothing that was derived from
// it becomes wrong.
func (m *Machine) expireTokens(op *command.ExpireTokens) (result, error) {
	for i := range op.Tokens {
		ref := &op.Tokens[i]
		if ref.App == entity.NoApp {
			continue
		}
		t, ok, err := storage.ReadToken(m.batch, ref.App, ref.Hash)
		if err != nil {
			return result{}, fmt.Errorf("token of application %d: %w", ref.App, err)
		}
		if ok && t.Expires != 0 && t.Expires < op.Before {
			m.key = keys.AppendToken(m.key[:0], m.cfg.Partition, ref.App, ref.Hash)
			m.batch.Delete(m.key)
		}
	}
	return result{}, nil
}
