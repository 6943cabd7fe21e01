package tasks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// step runs one step of a task. It reports whether its proposals got through; the
// task is then another one, or gone.
func (r *Runner) step(ctx context.Context, p entity.Partition, q queued) bool {
	t, gone, err := r.read(p, q.ID, q.App)
	if err != nil {
		return r.lost(ctx, p, "read a task", err)
	}
	if t == nil || t.State != entity.TaskReady || t.NotBefore > time.Now().UnixMilli() {
		return true // what the queue said is not so any more
	}
	if gone {
		return r.propose(ctx, p, t, "gone", command.CancelTask{ID: t.ID})
	}
	kind := r.kinds[t.Kind]
	if kind == nil {
		return r.lost(ctx, p, "look for a handler", fmt.Errorf("task %s is of kind %q", t.ID, t.Kind))
	}
	r.count(t.Kind, func(c *Counts) { c.Running++ })
	defer r.count(t.Kind, func(c *Counts) { c.Running-- })

	timeout := kind.Timeout
	if timeout == 0 {
		timeout = r.cfg.StepTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	s, err := safely(limited, kind.Run, &Job{Task: *t, Partition: p, Now: time.Now(), host: r.host})
	cancel()
	if ctx.Err() != nil {
		return true // lost, cancelled or stopped: no failure, and nobody to tell
	}
	if err == nil {
		err = check(&s)
	}
	if err != nil {
		return r.fail(ctx, p, t, kind, err)
	}
	op := command.StepTask{
		ID: t.ID, Turn: t.Turn, Effect: s.Effect, Finish: s.Finish,
		Done: s.Done, Total: s.Total, Body: s.Body, NotBefore: time.Now().UnixMilli(),
	}
	if !s.NotBefore.IsZero() {
		op.NotBefore = max(0, s.NotBefore.UnixMilli())
	}
	out, err := r.host.ProposeIn(ctx, p, command.Command{Request: requestOf("step", t.ID, t.Created, t.Turn), App: t.App, Op: op})
	switch {
	case err != nil:
		return r.lost(ctx, p, "propose a step", err)
	case out.Fault == nil:
		r.count(t.Kind, func(c *Counts) {
			c.Steps++
			if s.Finish {
				c.Finished++
			}
		})
		return true
	}
	now, _, err := r.read(p, q.ID, q.App)
	if err != nil {
		return r.lost(ctx, p, "read a task again", err)
	}
	if now == nil || now.Turn != t.Turn || now.Created != t.Created {
		return true // somebody else's step came first
	}
	return r.fail(ctx, p, t, kind, out.Fault)
}

// check refuses what apply or the log would refuse.
func check(s *Step) error {
	if len(s.Body) > entity.MaxTaskBody {
		return fmt.Errorf("the step leaves a body of %d bytes, more than the %d allowed", len(s.Body), entity.MaxTaskBody)
	}
	if s.Effect != nil {
		if kind := (&command.Command{Op: s.Effect}).Kind(); !kind.MayBeEffect() {
			return fmt.Errorf("a command of kind %d cannot be the effect of a step", kind)
		}
	}
	return nil
}

// read returns a task, nil if it is not there any more, and whether its application
// was purged.
func (r *Runner) read(p entity.Partition, id entity.ID, app entity.AppID) (t *entity.Task, gone bool, err error) {
	view, err := r.host.View(p)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	task, ok, err := storage.ReadTask(view, id)
	if err != nil || !ok {
		return nil, false, err
	}
	if app >= entity.FirstApp {
		gone, err = storage.ReadGone(view, app)
	}
	return &task, gone, err
}

// lost ends a step that is not known to have been done. It is run again after a
// pause, and no failure of the task.
func (r *Runner) lost(ctx context.Context, p entity.Partition, what string, err error) bool {
	if ctx.Err() == nil {
		r.log.Info("task waits", "partition", p, "doing", what, "error", err)
	}
	return false
}

// propose tells the partition something about a task. A refusal means that it has
// changed meanwhile.
func (r *Runner) propose(ctx context.Context, p entity.Partition, t *entity.Task, what string, op command.Op) bool {
	_, err := r.host.ProposeIn(ctx, p, command.Command{Request: requestOf(what, t.ID, t.Created, t.Turn), App: t.App, Op: op})
	if err != nil {
		return r.lost(ctx, p, "propose that a task is "+what, err)
	}
	return true
}

// fail records a failure of a step, and when it is to be tried again.
func (r *Runner) fail(ctx context.Context, p entity.Partition, t *entity.Task, kind *Kind, cause error) bool {
	most := kind.MaxAttempts
	if most == 0 {
		most = r.cfg.MaxAttempts
	}
	attempts := int(t.Attempts) + 1
	dead := ((attempts >= most && !passing(cause)) || isPermanent(cause)) && !kind.EveryPartition
	log := r.log.With("partition", p, "task", t.ID, "kind", t.Kind, "application", t.App, "attempts", attempts)
	if dead {
		log.Error("task given up, it waits for a retry", "error", cause)
	} else {
		log.Warn("step of a task failed, trying again", "error", cause)
	}
	r.count(t.Kind, func(c *Counts) { c.Failures++ })
	return r.propose(ctx, p, t, "failed", command.FailTask{
		ID: t.ID, Turn: t.Turn, Error: cut(cause.Error()), Dead: dead,
		NotBefore: time.Now().Add(r.backoff(attempts)).UnixMilli(),
	})
}

// passing reports whether an error is one of a cluster in trouble, which ends
// without a person's looking at the task.
func passing(err error) bool {
	switch fault.CodeOf(err) {
	case fault.NoQuorum, fault.Timeout, fault.Overloaded, fault.DiskFull, fault.NotHere, fault.Stopping:
		return true
	}
	return false
}

// backoff is the pause after so many failures, a quarter more or less.
func (r *Runner) backoff(attempts int) time.Duration {
	pause := r.cfg.MaxBackoff
	if shift := attempts - 1; shift < 20 && r.cfg.Backoff<<shift < pause && r.cfg.Backoff<<shift > 0 {
		pause = r.cfg.Backoff << shift
	}
	return pause*3/4 + rand.N(pause/2+1)
}

// cut bounds the text of an error.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) <= entity.MaxTaskError {
		return s
	}
	n := entity.MaxTaskError
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
