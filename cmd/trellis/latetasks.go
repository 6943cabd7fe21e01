package main

import (
	"context"
	"sync/atomic"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/push"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// lateTasks are kinds of tasks that need what is made only once the node has started:
// until then their steps fail and are tried again.
type lateTasks struct {
	directory atomic.Pointer[directory.Directory]
	push      atomic.Pointer[push.Engine]
}

func (l *lateTasks) kinds() []tasks.Kind {
	return []tasks.Kind{tasks.Reseal(l.reseal), {Name: entity.TaskPush, Run: l.notify}}
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
	s, err := e.Step(ctx, push.Task{App: job.Task.App, Partition: job.Partition, Body: job.Task.Body, Now: job.Now})
	return tasks.Step{Effect: s.Effect, Finish: s.Finish, NotBefore: s.NotBefore, Body: s.Body}, err
}

// close ends what the tasks use.
func (l *lateTasks) close() {
	if e := l.push.Load(); e != nil {
		e.Close()
	}
}
