package raftfsm

import (
	"bytes"
	"strconv"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// activities is the collection of what lists hold.
const activities = "activities"

// maxSpread is how many edges times activities a command looks at by itself to bring
// activities into the feeds of others: what is more is a task's.
const maxSpread = 256

// soon is up to how many edges times activities a person may wait for the task.
const soon = 2000

func (m *Machine) post(cmd *command.Command, op *command.Post) (result, error) {
	if err := m.postable(op); err != nil {
		return result{}, err
	}
	own, to, err := m.publisher(cmd.App, &op.By)
	if err != nil {
		return result{}, err
	}
	res, err := m.posted(cmd, op)
	if err != nil {
		return result{}, err
	}
	// Nothing is refused from here on.
	for i := range res.Entities {
		e := &res.Entities[i]
		p := entity.Posted{Seq: e.Seq, Published: publishedOf(e)}
		if op.By.Audience != entity.NoAudience {
			m.list(cmd.App, own, keys.Outbox, p)
		}
		m.list(cmd.App, own, keys.Feed, p)
		to.Activities = append(to.Activities, p)
	}
	if op.By.Audience == entity.NoAudience {
		return res, nil
	}
	return res, m.spread(cmd, &to, op.Task)
}

func (m *Machine) postable(op *command.Post) error {
	switch {
	case op.Create.Rules.Collection != activities:
		return refuse(fault.IllegalArgument, "only activities are posted")
	case len(op.Create.Items) > entity.MaxPosted:
		return refuse(fault.IllegalArgument, "%d activities, more than the %d allowed", len(op.Create.Items), entity.MaxPosted)
	case op.Task.IsZero():
		return refuse(fault.IllegalArgument, "a task needs an id")
	}
	_, known, err := storage.ReadTask(m.batch, op.Task)
	if err == nil && known {
		err = refuse(fault.Conflict, "there is a task %s", op.Task)
	}
	return err
}

// publisher returns whose lists get what is posted, and a fan-out of it, or refuses.
func (m *Machine) publisher(app entity.AppID, by *command.Publisher) (own entity.End, to entity.FanOut, err error) {
	to.Audience = by.Audience
	for _, who := range [...]struct {
		collection string
		id         entity.ID
		end        *entity.End
	}{{"groups", by.Group, &to.Group}, {"users", by.User, &to.User}} {
		if who.id.IsZero() {
			continue
		}
		p, found, err := m.resolve(app, &command.Ref{Collection: who.collection, Target: command.Target{ID: who.id}})
		if err == nil && !found {
			err = refuse(fault.ServiceResourceNotFound, "no such entity in collection %s", who.collection)
		}
		if err != nil {
			return own, to, err
		}
		*who.end = p.end()
		own = p.end()
	}
	user, group := !by.User.IsZero(), !by.Group.IsZero()
	fits := false
	switch by.Audience {
	case entity.NoAudience:
		fits = user != group
	case entity.Followers:
		fits = user && !group
	case entity.Members:
		fits = group && !user
	case entity.Friends:
		if fits = user && group; fits {
			err = m.belongsTo(app, to.User, to.Group)
		}
	}
	if !fits {
		err = refuse(fault.IllegalArgument, "audience %d does not go with its publisher", by.Audience)
	}
	return own, to, err
}

// belongsTo refuses if a user is not in a group.
func (m *Machine) belongsTo(app entity.AppID, user, group entity.End) error {
	verb, known, err := storage.VerbID(m.batch, app, entity.VerbGroups)
	member := false
	if err == nil && known {
		_, member, err = storage.Connected(m.batch, app, user, verb, group)
	}
	if err == nil && !member {
		err = refuse(fault.ServiceResourceNotFound, "the user is not in the group")
	}
	return err
}

// posted creates the activities of a Post, or finds the one that it names.
func (m *Machine) posted(cmd *command.Command, op *command.Post) (result, error) {
	if len(op.Create.Items) > 0 || op.Link.IsZero() {
		return m.createEntities(cmd, &op.Create)
	}
	c, err := m.open(cmd.App, activities, nil)
	if err != nil {
		return result{}, err
	}
	e, found, err := m.find(c, &command.Target{ID: op.Link})
	if err == nil && !found {
		err = refuse(fault.ServiceResourceNotFound, "no such entity in collection %s", activities)
	}
	if err != nil {
		return result{}, err
	}
	e.JSON = bytes.Clone(e.JSON)
	res := m.newResult(1)
	res.add(c, e)
	return res, nil
}

// publishedOf returns when an activity was published: when it was created, if it does not
// say.
func publishedOf(e *entity.Entity) int64 {
	o := index.NewObject(e.JSON)
	for p, ok := o.Next(); ok; p, ok = o.Next() {
		if p.Is("published") {
			if n, err := strconv.ParseInt(string(p.Value), 10, 64); err == nil {
				return n
			}
			break
		}
	}
	return e.Created
}

// list puts an activity into a list, where it may be already.
func (m *Machine) list(app entity.AppID, owner entity.End, list byte, p entity.Posted) {
	m.key = keys.AppendListed(m.key[:0], m.cfg.Partition, app, owner, list, p.Published, p.Seq)
	m.batch.Set(m.key, nil)
	m.key = keys.AppendListedIn(m.key[:0], m.cfg.Partition, app, p.Seq, owner, list)
	m.value = keys.AppendPublished(m.value[:0], p.Published)
	m.batch.Set(m.key, m.value)
}

// unlistActivity takes an activity out of a list that it is in.
func (m *Machine) unlistActivity(app entity.AppID, owner entity.End, list byte, p entity.Posted) {
	m.key = keys.AppendListed(m.key[:0], m.cfg.Partition, app, owner, list, p.Published, p.Seq)
	m.batch.Delete(m.key)
	m.key = keys.AppendListedIn(m.key[:0], m.cfg.Partition, app, p.Seq, owner, list)
	m.batch.Delete(m.key)
}

// spread brings activities to their audience: at once, if it is small, or by a task.
func (m *Machine) spread(cmd *command.Command, to *entity.FanOut, task entity.ID) error {
	var err error
	if to.Until, err = m.edgeNumber(cmd.App); err != nil {
		return err
	}
	reach, err := storage.ReachOf(m.batch, cmd.App, to)
	if err != nil || reach.Size == 0 || len(to.Activities) == 0 {
		return err
	}
	work := reach.Size * uint64(len(to.Activities))
	if work <= maxSpread {
		feeds, err := m.reached(cmd.App, &reach)
		if err == nil {
			err = m.bring(cmd.App, to.Activities, feeds)
		}
		return err
	}
	priority := entity.Normal
	if work <= soon {
		priority = entity.Urgent
	}
	m.recordTask(nil, &entity.Task{
		ID: task, Kind: entity.TaskFanOut, App: cmd.App, Priority: priority, State: entity.TaskReady,
		Created: cmd.Time, Total: reach.Size, Body: entity.AppendFanOut(nil, to),
	})
	return nil
}

// reached returns all whom a fan-out reaches.
func (m *Machine) reached(app entity.AppID, reach *storage.Reach) (feeds []entity.End, err error) {
	lower, upper := keys.EdgeRange(m.cfg.Partition, app, keys.Inbound, reach.Near, reach.Verb)
	scanned := m.batch.Scan(lower, upper, func(key, _ []byte) bool {
		_, _, _, eseq, far, ok := keys.DecodeEdge(key)
		if !ok {
			err = fault.New(fault.Corrupt, "edge key %x", key)
			return false
		}
		var reaches bool
		if reaches, err = reach.Reaches(m.batch, eseq, far); reaches {
			feeds = append(feeds, far)
		}
		return err == nil
	})
	if err == nil {
		err = scanned
	}
	return feeds, err
}

// bring puts activities into the feeds of those that exist.
func (m *Machine) bring(app entity.AppID, list []entity.Posted, feeds []entity.End) error {
	for _, owner := range feeds {
		exists, err := m.exists(app, owner)
		if err != nil {
			return err
		}
		if !exists {
			continue
		}
		for _, p := range list {
			m.list(app, owner, keys.Feed, p)
		}
	}
	return nil
}

func (m *Machine) exists(app entity.AppID, end entity.End) (bool, error) {
	m.key = keys.AppendEntity(m.key[:0], m.cfg.Partition, app, end.Collection, end.Seq)
	_, exists, err := m.get(m.key)
	return exists, err
}

func (m *Machine) deliver(cmd *command.Command, op *command.Deliver) (result, error) {
	if n := len(op.Activities); n > command.MaxDelivered || len(op.Feeds) > command.MaxDelivered || n*len(op.Feeds) > command.MaxDelivered {
		return result{}, refuse(fault.IllegalArgument, "%d activities into %d feeds, more than the %d entries allowed", n, len(op.Feeds), command.MaxDelivered)
	}
	c, err := m.open(cmd.App, activities, nil)
	if err != nil || !c.founded {
		return result{}, err
	}
	list := make([]entity.Posted, 0, len(op.Activities))
	for _, p := range op.Activities {
		exists, err := m.exists(cmd.App, entity.End{Collection: c.ID, Seq: p.Seq})
		if err != nil {
			return result{}, err
		}
		if exists {
			list = append(list, p)
		}
	}
	return result{}, m.bring(cmd.App, list, op.Feeds)
}

func (m *Machine) unlist(cmd *command.Command, op *command.Unlist) (result, error) {
	if err := tooMany(op.IDs); err != nil {
		return result{}, err
	}
	owner, found, err := m.resolve(cmd.App, &op.Owner)
	if err == nil && !found {
		err = noSource(&op.Owner)
	}
	if err != nil {
		return result{}, err
	}
	end := owner.end()
	c, err := m.open(cmd.App, activities, nil)
	if err != nil {
		return result{}, err
	}
	room := command.MaxManyBytes
	res := m.newResult(len(op.IDs))
	for i, id := range op.IDs {
		e, found, err := m.find(c, &command.Target{ID: id})
		if err != nil {
			return result{}, err
		}
		if found {
			published, listed, err := storage.Listed(m.batch, cmd.App, e.Seq, end, op.List)
			if err != nil {
				return result{}, err
			}
			if listed {
				if room -= len(e.JSON); room < 0 && len(res.Entities) > 0 {
					break
				}
				e.JSON = bytes.Clone(e.JSON)
				m.unlistActivity(cmd.App, end, op.List, entity.Posted{Seq: e.Seq, Published: published})
				res.add(c, e)
			}
		}
		res.Handled = i + 1
	}
	if len(res.Entities) == 0 {
		return result{}, refuse(fault.ServiceResourceNotFound, "no such activity in the list")
	}
	return res, nil
}
