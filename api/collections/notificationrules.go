package collections

import (
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func refusedIn(state string, what string) error {
	return fault.New(fault.ForbiddenOperation, "a notification that is %s %s", state, what)
}

// revision works out what a PUT does to a notification (spec push-notifications section
// 6.1).
func (c *call) revision(v *storage.View, e *entity.Entity, f entity.NotificationFacts, text []byte) (revision, error) {
	a, err := c.askedOf(text, forUpdate)
	if err != nil {
		return revision{}, err
	}
	cancels := false
	if a.canceled != nil {
		if cancels, err = canceledOf(a.canceled); err != nil {
			return revision{}, err
		}
	}
	now := c.now()
	state := entity.NotificationState(f, now)
	switch {
	case a.restart:
		return c.restart(e, f, state)
	case state == entity.NotificationStarted:
		return c.whileStarted(e, f, a, cancels)
	case state == entity.NotificationFinished, state == entity.NotificationFailed, state == entity.NotificationCanceled:
		return revision{}, refusedIn(state, "cannot be changed")
	}
	return c.beforeStart(v, e, f, a, cancels)
}

// says reports whether the client says anything but of cancelling and of expiry.
func (a *asked) says() bool {
	if a.payloads != nil || a.deliver != nil {
		return true
	}
	for i := range a.doc.properties {
		if p := &a.doc.properties[i]; p.value != nil && p.key != "expire" {
			return true
		}
	}
	return false
}

// whileStarted works out a change of a notification that is being sent: it can be
// cancelled, and expire earlier.
func (c *call) whileStarted(e *entity.Entity, f entity.NotificationFacts, a *asked, cancels bool) (revision, error) {
	earlier := a.expire != nil && *a.expire != 0 && (f.Expire == 0 || *a.expire <= f.Expire)
	if a.says() || !cancels && !earlier || a.expire != nil && !earlier {
		return revision{}, refusedIn(entity.NotificationStarted, "can only be cancelled, or expire earlier")
	}
	f.Canceled = cancels
	return c.revise(e, f, a.doc, c.now())
}

// beforeStart works out a change of a notification that is not being sent yet.
func (c *call) beforeStart(v *storage.View, e *entity.Entity, f entity.NotificationFacts, a *asked, cancels bool) (revision, error) {
	if a.payloads != nil {
		payloads, err := c.checkPayloads(v, a.payloads)
		if err == nil {
			err = a.doc.setAs("payloads", payloads)
		}
		if err != nil {
			return revision{}, err
		}
	}
	if a.deliver != nil {
		deliver, err := due(a.deliver, c.now())
		if err == nil {
			err = a.doc.setAs("deliver", orNull(deliver))
		}
		if err == nil {
			err = a.doc.setAs("scheduled", strconv.AppendBool(nil, deliver != 0))
		}
		if err != nil {
			return revision{}, err
		}
		f.Deliver, f.Queued = deliver, 0
	}
	if a.expire != nil {
		f.Expire = *a.expire
	}
	if i := a.doc.find("useGraph"); i >= 0 && string(a.doc.properties[i].value) == "true" {
		pathQuery, _ := lastMember(e.JSON, "pathQuery")
		steps, err := stepsOf(pathQuery)
		if err != nil {
			return revision{}, err
		}
		for i := range steps {
			if steps[i].query != nil && !steps[i].all() {
				return revision{}, fault.New(fault.IllegalArgument, "useGraph cannot be combined with a query")
			}
		}
	}
	f.Canceled = cancels
	return c.revise(e, f, a.doc, dueOf(f, c.now()))
}

// revise makes the change of a notification: its document, the state that it has then, and
// when its task is due.
func (c *call) revise(e *entity.Entity, f entity.NotificationFacts, doc *document, due int64) (r revision, err error) {
	if f.Canceled {
		if err := doc.setAs("canceled", []byte("true")); err != nil {
			return r, err
		}
	}
	if err := doc.setAs("state", wire.AppendString(nil, entity.NotificationState(f, c.now()))); err != nil {
		return r, err
	}
	task := c.pushTask(e.ID, due)
	r.then = []command.Op{task, command.ScheduleTask{ID: task.Task.ID, NotBefore: task.Task.NotBefore}}
	r.patch, err = doc.json(forUpdate)
	return r, err
}

// restart works out the change that has a notification sent once more, from the beginning.
func (c *call) restart(e *entity.Entity, f entity.NotificationFacts, state string) (r revision, err error) {
	switch {
	case !c.req.Access.Everything():
		return r, c.req.Access.Refusal()
	case state == entity.NotificationCreated, state == entity.NotificationScheduled, state == entity.NotificationStarted:
		return r, refusedIn(state, "cannot be restarted")
	case f.Started != 0 && f.Finished == 0 && !f.Error:
		return r, refusedIn(state, "cannot be restarted before what is being sent of it has ended")
	}
	patch := []string{
		`"errorMessage":null`, `"finished":null`, `"canceled":null`, `"started":null`, `"queued":null`, `"deliver":null`, `"statistics":null`,
		`"expectedCount":null`, `"deviceProcessedCount":0`, `"processingFinished":0`, `"scheduled":false`,
		`"state":"` + entity.NotificationCreated + `"`,
	}
	if f.Expire != 0 && f.Expire <= c.now() {
		patch = append(patch, `"expire":null`)
	}
	r.patch = []byte("{" + strings.Join(patch, ",") + "}")
	task := c.pushTask(e.ID, c.now())
	r.then = []command.Op{command.CancelTask{ID: task.Task.ID}, task}
	return r, nil
}
