package management

import (
	"crypto/sha256"
	"strings"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// setUp answers what a Usergrid database needs before its first use. A cluster has what
// it needs since its first start.
func (c *call) setUp() (*wire.Reply, error) { return c.provision("cassandra setup") }

func (c *call) setUpSuperuser() (*wire.Reply, error) { return c.provision("superuser setup") }

// provision makes sure that the superuser is as the configuration says.
func (c *call) provision(action string) (*wire.Reply, error) {
	if c.Provision != nil {
		if err := c.Provision(c.req.Context()); err != nil {
			return nil, err
		}
	}
	return wire.Management(action).Field("status", "ok"), nil
}

// migrations answers what of Usergrid's migrations there is here: nothing to do.
func (c *call) migrations() (*wire.Reply, error) {
	return wire.Management("migrate").Field("status", "ok").Field("data", map[string]any{}), nil
}

func (c *call) queueSize() (*wire.Reply, error) {
	return wire.Management("get queue depth").Field("data", map[string]int{"queueDepth": 0}), nil
}

// job is background work as clients see it.
type job struct {
	id     string
	status string
	since  int64  // ms since the epoch
	count  uint64 // entities dealt with
}

const (
	jobStarted = "STARTED"
	jobRunning = "INPROGRESS"
	jobDone    = "COMPLETE"
	jobFailed  = "FAILED"
)

func (j *job) rebuild() *wire.Reply {
	return wire.Management("rebuild indexes").Field("jobId", j.id).Field("status", j.status).Field("lastUpdateTime", j.since).
		Field("numberQueued", 0).Field("numberProcessed", j.count)
}

// rebuilt answers a rebuild of everything: indexes are written together with what they
// index, so there is nothing to rebuild.
func (c *call) rebuilt() (*wire.Reply, error) {
	j := job{id: entity.NewID().String(), status: jobDone, since: c.now()}
	return j.rebuild(), nil
}

// rebuild indexes a collection anew that is indexed by settings it had earlier.
func (c *call) rebuild() (*wire.Reply, error) {
	app, err := c.live(c.segment("application"))
	if err != nil {
		return nil, err
	}
	name := c.segment("collection")
	if name == "" {
		return c.rebuilt()
	}
	t, err := schema.Of(name)
	if err != nil {
		return nil, err
	}
	task := entity.NewID()
	if _, err := c.proposeIn(app.Number, 0, command.Reindex{Collection: t.Collection, Task: task}); err != nil {
		return nil, err
	}
	j := job{id: app.ID.String() + jobSeparator + task.String(), status: jobStarted, since: c.now()}
	return j.rebuild(), nil
}

func (c *call) rebuildJob() (*wire.Reply, error) {
	j := job{id: c.segment("job"), status: jobDone, since: c.now()}
	id, task, ok := cutJob(j.id)
	if !ok {
		if _, ok := entity.ParseID(j.id); !ok {
			return nil, fault.New(fault.EntityNotFound, "no such job")
		}
		return j.rebuild(), nil
	}
	app, err := c.live(id.String())
	if err != nil {
		return nil, err
	}
	err = c.reading(app.Number, func(v *storage.View) error { return j.look(v, app.Number, task, entity.TaskReindex) })
	return j.rebuild(), err
}

// live returns a live application by its UUID.
func (c *call) live(text string) (*directory.Application, error) {
	id, ok := entity.ParseID(text)
	if !ok || id == entity.ManagementID {
		return nil, fault.New(fault.EntityNotFound, "no application has the UUID %q", text)
	}
	app, err := c.dir.ApplicationByID(c.req.Context(), id)
	if fault.Is(err, fault.OrganizationApplicationNotFound) {
		err = fault.Wrap(err, fault.EntityNotFound, "no application has the UUID %s", id)
	}
	c.app = app
	return app, err
}

// look adds how far a task is: it is there until it is done. Of several tasks the worst
// counts.
func (j *job) look(v *storage.View, app entity.AppID, id entity.ID, kind string) error {
	task, ok, err := storage.ReadTask(v, id)
	if err != nil || !ok || task.Kind != kind || task.App != app {
		return err
	}
	j.count += task.Done
	switch {
	case task.State == entity.TaskDead:
		j.status = jobFailed
	case j.status == jobFailed:
	case task.Step == 0 && j.status == jobDone:
		j.status = jobStarted
	case task.Step > 0:
		j.status = jobRunning
	}
	return nil
}

// clearApplication deletes all entities of an application in the background: a task for
// each collection.
func (c *call) clearApplication() (*wire.Reply, error) {
	app, err := c.live(c.segment("application"))
	if err != nil {
		return nil, err
	}
	confirmed := strings.ToLower(c.req.Query("confirmApplicationName"))
	if confirmed != app.Name && confirmed != app.FullName() {
		return nil, bad("confirmApplicationName must be the name of the application")
	}
	var collections []storage.Collection
	err = c.reading(app.Number, func(v *storage.View) error {
		collections, err = storage.Collections(v, app.Number)
		return err
	})
	if err != nil {
		return nil, err
	}
	var count uint64
	for i := range collections {
		count += collections[i].Count
	}
	id := entity.NewJobID(count)
	for i := range collections {
		col := &collections[i]
		_, err := c.proposeIn(app.Number, 0, command.PutTask{Task: command.NewTask{
			ID: clearTask(id, col.Name), Kind: entity.TaskClear, Priority: entity.Normal, NotBefore: c.now(), Total: col.Count,
			Body: entity.AppendWalk(nil, &entity.Walk{Collection: col.Name, Next: 1, Until: max(col.NextSeq, 1)}),
		}})
		if err != nil {
			return nil, err
		}
	}
	return wire.Management("clear application").Field("data", map[string]string{"jobId": id.String(), "status": jobStarted}), nil
}

// clearTask is the id of the task that clears a collection for a job.
func clearTask(job entity.ID, collection string) entity.ID {
	sum := sha256.Sum256(append(job[:], collection...))
	id := entity.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8
	return id
}

func (c *call) clearJob() (*wire.Reply, error) {
	app, err := c.live(c.segment("application"))
	if err != nil {
		return nil, err
	}
	id, ok := entity.ParseID(c.segment("job"))
	if !ok {
		return nil, fault.New(fault.EntityNotFound, "no such job")
	}
	j := job{id: id.String(), status: jobDone}
	err = c.reading(app.Number, func(v *storage.View) error {
		collections, err := storage.Collections(v, app.Number)
		if err != nil {
			return err
		}
		for i := range collections {
			if err := j.look(v, app.Number, clearTask(id, collections[i].Name), entity.TaskClear); err != nil {
				return err
			}
		}
		return nil
	})
	if j.status == jobDone { // its tasks are gone, and cannot tell
		j.count = entity.JobCount(id)
	}
	return wire.Management("clear application").Field("data", map[string]any{
		"jobId": j.id, "status": j.status, "metadata": map[string]uint64{"count": j.count},
	}), err
}

// deduplicated answers that connections are not there twice, which they never are.
func (c *call) deduplicated() (*wire.Reply, error) {
	if _, err := c.live(c.segment("application")); err != nil {
		return nil, err
	}
	return wire.Management("deduplicate connections").Field("data", map[string]any{
		"jobId": entity.NewID().String(), "status": jobDone, "metadata": map[string]uint64{"count": 0},
	}), nil
}
