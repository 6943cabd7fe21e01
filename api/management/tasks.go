package management

import (
	"errors"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// maxTasks is how many tasks a list shows.
const maxTasks = 200

// shownTask is a background task as those see it whose application it is.
type shownTask struct {
	UUID      string `json:"uuid"`
	Kind      string `json:"kind"`
	State     string `json:"state"`   // ready, or dead: it waits for the operator
	Created   int64  `json:"created"` // ms since the epoch
	NotBefore int64  `json:"notBefore"`
	Steps     uint64 `json:"steps"`
	Attempts  uint32 `json:"attempts"` // failures since the last step that was done
	Done      uint64 `json:"done"`     // progress, in units of the kind
	Total     uint64 `json:"total"`    // 0: not known
	Subject   string `json:"subject,omitempty"`
	LastError string `json:"lastError,omitempty"`
	// Cancellable says whether DELETE is offered.
	Cancellable bool `json:"cancellable"`
}

// cancellable are the kinds of task that were asked for, and that may end half done.
// What a deletion began is none of them: it would leave what nobody can see any more.
func cancellable(kind string) bool {
	switch kind {
	case entity.TaskReindex, entity.TaskClear, entity.TaskImport, entity.TaskExport:
		return true
	}
	return false
}

func showTask(t *entity.Task) shownTask {
	shown := shownTask{
		UUID: t.ID.String(), Kind: t.Kind, State: t.State.String(), Created: t.Created, NotBefore: t.NotBefore, Steps: t.Step,
		Attempts: t.Attempts, Done: t.Done, Total: t.Total, LastError: t.LastError, Cancellable: cancellable(t.Kind),
	}
	if t.Kind == entity.TaskReindex || t.Kind == entity.TaskClear {
		if w, err := entity.DecodeWalk(t.Body); err == nil {
			shown.Subject = w.Collection
		}
	}
	return shown
}

// applicationTasks lists the background tasks of an application.
func (c *call) applicationTasks() (*wire.Reply, error) {
	shown, more := []shownTask{}, false
	err := c.reading(c.app.Number, func(v *storage.View) error {
		list, rest, err := storage.TasksOf(v, c.app.Number, maxTasks)
		for i := range list {
			shown = append(shown, showTask(&list[i]))
		}
		more = rest
		return err
	})
	if err != nil {
		return nil, err
	}
	return wire.Management("get application tasks").Field("data", shown).Field("count", len(shown)).Field("more", more), nil
}

// task finds the task of the path, which must be the application's.
func (c *call) task(v *storage.View) (entity.Task, error) {
	missing := fault.New(fault.EntityNotFound, "there is no such task; one that is done is not kept")
	id, ok := entity.ParseID(c.segment("task"))
	if !ok {
		return entity.Task{}, missing
	}
	t, ok, err := storage.ReadTask(v, id)
	if err == nil && (!ok || t.App != c.app.Number) {
		err = missing
	}
	return t, err
}

func (c *call) applicationTask() (*wire.Reply, error) {
	var shown shownTask
	err := c.reading(c.app.Number, func(v *storage.View) error {
		t, err := c.task(v)
		shown = showTask(&t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return wire.Management("get application task").Field("data", shown), nil
}

// cancelTask ends a task, however far it is; what it has done stays.
func (c *call) cancelTask() (*wire.Reply, error) {
	var t entity.Task
	err := c.reading(c.app.Number, func(v *storage.View) (err error) {
		t, err = c.task(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !cancellable(t.Kind) {
		return nil, fault.New(fault.NotAllowed, "a task of kind %s cannot be cancelled", t.Kind)
	}
	if err := c.Portage.Cancel(c.req.Context(), &t); err != nil {
		return nil, err
	}
	return wire.Management("cancel application task").Field("data", showTask(&t)), nil
}

// organizationTasks lists what concerns whole applications: purges of those that were
// deleted, and exports.
func (c *call) organizationTasks() (*wire.Reply, error) {
	ctx := c.req.Context()
	deleted, err := c.dir.Applications(ctx, c.org.ID, true)
	if err != nil {
		return nil, err
	}
	shown := []shownTask{}
	err = c.reading(entity.Management, func(v *storage.View) error {
		for _, app := range deleted {
			t, ok, err := storage.ReadTask(v, app.ID)
			if err != nil {
				return err
			}
			if ok && t.Kind == entity.TaskPurgeApplication && len(shown) < maxTasks {
				one := showTask(&t)
				one.Subject = app.Name
				shown = append(shown, one)
			}
		}
		jobs, err := storage.Jobs(v, entity.Management)
		for i := range jobs {
			t, ok, failed := storage.ReadTask(v, jobs[i].ID)
			if err = errors.Join(err, failed); err == nil && ok && jobs[i].Organization == c.org.ID && len(shown) < maxTasks {
				one := showTask(&t)
				one.Cancellable = false
				shown = append(shown, one)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return wire.Management("get organization tasks").Field("data", shown).Field("count", len(shown)), nil
}
