package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/portage"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/push"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// lateTasks are kinds of tasks that need what is made only once the node has started:
// until then their steps fail and are tried again.
type lateTasks struct {
	directory atomic.Pointer[directory.Directory]
	portage   atomic.Pointer[portage.Handlers]
	push      atomic.Pointer[push.Engine]
}

func (l *lateTasks) kinds() []tasks.Kind {
	return []tasks.Kind{
		tasks.Reseal(l.reseal),
		{Name: entity.TaskPush, Run: l.notify},
		{Name: entity.TaskImport, Timeout: jobTimeout, Run: l.job((*portage.Handlers).ImportStep)},
		{Name: entity.TaskExport, Timeout: jobTimeout, Run: l.job((*portage.Handlers).ExportStep)},
	}
}

// jobTimeout bounds a step of an export or import, which speaks to an object store.
const jobTimeout = 2 * time.Minute

// job makes a handler of tasks of the steps of exports or imports.
func (l *lateTasks) job(run func(*portage.Handlers, context.Context, *entity.Task, portage.Host) (portage.Step, error)) tasks.Handler {
	return func(ctx context.Context, job *tasks.Job) (tasks.Step, error) {
		h := l.portage.Load()
		if h == nil {
			return tasks.Step{}, fault.New(fault.Stopping, "the node is starting")
		}
		s, err := run(h, ctx, &job.Task, job)
		return tasks.Step{Effect: s.Effect, Finish: s.Finish, Done: s.Done, Total: job.Task.Total, Body: s.Body}, err
	}
}

// close gives up what they hold, once the node has stopped.
func (l *lateTasks) close() {
	if h := l.portage.Load(); h != nil {
		h.Close()
	}
}

func (l *lateTasks) reseal(owner entity.ID, kind byte, sealed []byte) ([]byte, bool, error) {
	d := l.directory.Load()
	if d == nil {
		return nil, false, fault.New(fault.Stopping, "the node is starting")
	}
	return d.Reseal(owner, kind, sealed)
}

// notify does the next step of a notification.
func (l *lateTasks) notify(ctx context.Context, job *tasks.Job) (tasks.Step, error) {
	e := l.push.Load()
	if e == nil {
		return tasks.Step{}, fault.New(fault.Stopping, "the node is starting")
	}
	s, err := e.Step(ctx, push.Task{App: job.Task.App, Partition: job.Partition, Body: job.Task.Body, Attempts: int(job.Task.Attempts), Now: job.Now})
	return tasks.Step{Effect: s.Effect, Finish: s.Finish, NotBefore: s.NotBefore, Body: s.Body}, err
}

// endPush ends the sending of notifications, while the node still runs.
func (l *lateTasks) endPush() {
	if e := l.push.Load(); e != nil {
		e.Close()
	}
}
