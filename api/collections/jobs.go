package collections

import (
	"encoding/json"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// job is background work on a collection as clients see it.
type job struct {
	id     entity.ID
	status string
	since  int64  // what the client asked it to go by, ms since the epoch
	count  uint64 // entities, of what the endpoint says
}

// time reads a member of the body, which may be absent, as milliseconds.
func (c *call) time(member string) (int64, error) {
	text, err := c.jsonBody()
	if err != nil || text == nil {
		return 0, err
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(text, &body); err != nil {
		return 0, fault.New(fault.JSONMapping, "body must be a JSON object")
	}
	raw, ok := body[member]
	if !ok || string(raw) == "null" {
		return 0, nil
	}
	var ms int64
	if err := json.Unmarshal(raw, &ms); err != nil || ms < 0 {
		return 0, fault.New(fault.IllegalArgument, "%s must be a time in milliseconds", member)
	}
	return ms, nil
}

// reindex answers requests to index a collection anew (spec collections-and-entities
// section 12).
func (c *call) reindex() (*wire.Reply, error) {
	if err := c.administers(); err != nil {
		return nil, err
	}
	show := func(action string, j job) *wire.Reply {
		reply := wire.Management(action).Field("collection", c.typ.Collection).Field("status", j.status)
		if !j.id.IsZero() {
			reply.Field("jobId", j.id.String())
		}
		return reply.Field("lastUpdatedEpoch", j.since).Field("numberQueued", j.count)
	}
	switch c.req.Method() {
	case "POST", "PUT":
		since, err := c.time("updated")
		if err != nil {
			return nil, err
		}
		id := entity.NewID()
		if _, err := c.propose(c.req, command.Reindex{Collection: c.typ.Collection, Task: id, Updated: since}); err != nil {
			return nil, err
		}
		return show("rebuild indexes", job{id: id, status: "STARTED", since: since}), nil
	case "GET":
		var j job
		err := c.reading(c.req, func(v *storage.View) error {
			col, ok, err := storage.ReadCollectionID(v, c.req.App.Number, c.typ.Collection)
			if err != nil || !ok {
				j.status = "UNKNOWN"
				return err
			}
			s, err := storage.ReadSettings(v, c.req.App.Number, col)
			if err != nil {
				return err
			}
			j.id, j.since = s.Job, s.Reindexed
			return c.progress(v, &j, entity.TaskReindex)
		})
		return show("get rebuild index status", j), err
	}
	return nil, fault.New(fault.UnsupportedAction, "a re-index is asked for and looked at")
}

// progress notes how far the task of a job is: it is there until it is done.
func (c *call) progress(v *storage.View, j *job, kind string) error {
	if j.id.IsZero() {
		j.status = "UNKNOWN"
		return nil
	}
	task, ok, err := storage.ReadTask(v, j.id)
	switch {
	case err != nil:
		return err
	case !ok:
		j.status, j.count = "COMPLETE", entity.JobCount(j.id)
	case task.Kind != kind || task.App != c.req.App.Number:
		j.status = "UNKNOWN"
	case task.State == entity.TaskDead:
		j.status = "FAILED"
	case task.Step == 0:
		j.status = "STARTED"
	default:
		j.status, j.count = "INPROGRESS", task.Done
	}
	return nil
}

// clear answers requests to delete all entities of a collection (section 13).
func (c *call) clear(rest []string) (*wire.Reply, error) {
	if err := c.administers(); err != nil {
		return nil, err
	}
	show := func(j job, count string) *wire.Reply {
		return wire.Management("clear collection").Field("jobId", j.id.String()).Field("status", j.status).
			Field("lastUpdatedEpoch", j.since).Field(count, j.count)
	}
	switch {
	case len(rest) == 0 && c.req.Method() == "POST":
		j, err := c.beginClear()
		return show(j, "numberQueued"), err
	case len(rest) == 1 && c.req.Method() == "GET":
		id, ok := entity.ParseID(rest[0])
		if !ok {
			return nil, notFound()
		}
		j := job{id: id}
		err := c.reading(c.req, func(v *storage.View) error { return c.progress(v, &j, entity.TaskClear) })
		return show(j, "numberCheckedForDeletion"), err
	}
	return nil, fault.New(fault.UnsupportedAction, "a collection is cleared by POST, and GET of the job shows how far that is")
}

func (c *call) beginClear() (j job, err error) {
	before, err := c.time("updatedBefore")
	if err != nil {
		return j, err
	}
	var col storage.Collection
	err = c.upToDate(c.req, func(v *storage.View) error {
		col, _, err = storage.ReadCollection(v, c.req.App.Number, c.typ.Collection)
		return err
	})
	if err != nil {
		return j, err
	}
	j = job{id: entity.NewJobID(col.Count), status: "STARTED", since: before}
	_, err = c.propose(c.req, command.PutTask{Task: command.NewTask{
		ID: j.id, Kind: entity.TaskClear, Priority: entity.Normal, NotBefore: c.now(), Total: col.Count,
		Body: entity.AppendWalk(nil, &entity.Walk{Collection: c.typ.Collection, Next: 1, Until: max(col.NextSeq, 1), Time: before}),
	}})
	return j, err
}
