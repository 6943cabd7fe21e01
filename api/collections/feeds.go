package collections

import (
	"time"

	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// listOf returns which list of activities a word names after an entity of a collection; 0
// if it names none.
func listOf(collection, word string) byte {
	switch {
	case collection != "users" && collection != "groups":
	case word == "feed":
		return keys.Feed
	case inflect.Collection(word) == "activities":
		return keys.Outbox
	}
	return 0
}

// listed reads a step to a list of activities, and what follows: a UUID, or what selects
// several.
func (c *call) listed(r *relation, list byte, segments []string) (rest []string, err error) {
	r.list, r.shown, r.typed = list, "activities", true
	if list == keys.Feed {
		r.shown, r.typed = "feed", false
	}
	r.below = r.shown
	if r.typ, err = c.types.of("activities"); err != nil || len(segments) == 0 {
		return nil, err
	}
	if len(segments) == 1 && segments[0] == "indexes" {
		r.indexes, r.typed = true, false
		return nil, nil
	}
	done, err := c.chosen(r, segments[0])
	if err == nil && !done {
		err = notFound() // activities have no names
	}
	return segments[1:], err
}

// runList runs a query over a list of an owner.
func (c *call) runList(v *storage.View, o *owner, r *relation, ask *query.Request) (page *query.Page, err error) {
	if ask.From, err = c.source(v, r.typ); err != nil {
		return nil, err
	}
	ask.List, ask.Binding = &query.List{Owner: o.end, List: r.list}, []byte(o.path+"/"+r.shown)
	ask.Cursors = c.req.Method() == "GET"
	return c.engine.Run(c.req.Context(), v, ask)
}

// within notes of a step to the outbox of a user who was named inside a group that it is
// about what he does there.
func (r *relation) within(groups []owner, before *relation) {
	if r.list == keys.Outbox && len(groups) == 1 && groups[0].typ.Collection == "groups" && before.begin == 0 &&
		before.sub != nil && before.sub.far == "users" && before.target != nil {
		r.group = &groups[0]
	}
}

// mayList checks that the caller may do what he asks of the lists of owners to which a
// path of several steps leads: a feed is private to its owner, and not to be had by
// way of others.
func (c *call) mayList(v *storage.View, owners []owner, r *relation) error {
	if r.list == 0 || r.begin == 0 || r.group != nil {
		return nil
	}
	for i := range owners {
		if err := c.reaches(v, &owners[i], r, nil); err != nil {
			return err
		}
	}
	return nil
}

// changeList prepares what a POST, PUT or DELETE of a list does. What it returns runs after
// the view is closed.
func (c *call) changeList(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	p := &params{own: r.own, every: r.every, rest: c.req}
	switch {
	case c.req.Method() == "POST" && r.target != nil:
		return func() (*wire.Reply, error) { return c.link(o, r) }, nil
	case c.req.Method() == "POST" && (r.every || r.own != nil):
		return nil, fault.New(fault.UnsupportedAction, "activities are posted, or put into a list one by one")
	case c.req.Method() == "POST":
		return c.postInto(v, o, r)
	case r.target == nil && !p.selects():
		return nil, fault.New(fault.UnsupportedAction, "activities of a list are changed by query, or one by one")
	}
	var ids []entity.ID
	if r.target != nil {
		row, found, err := c.connected(v, o, r)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, notFound()
		}
		ids = []entity.ID{row.Entity.ID}
	} else {
		rows, err := c.selectListed(v, o, r, p)
		if err != nil {
			return nil, err
		}
		ids = idsOf(rows)
	}
	if c.req.Method() == "PUT" {
		return func() (*wire.Reply, error) { return c.putListed(o, r, ids) }, nil
	}
	return func() (*wire.Reply, error) { return c.unlist(o, r, ids) }, nil
}

// selectListed finds the activities of a list that a change by query is for.
func (c *call) selectListed(v *storage.View, o *owner, r *relation, p *params) ([]query.Row, error) {
	ask, err := c.ask(p, defaultLimit)
	if err != nil {
		return nil, err
	}
	if c.req.Method() == "PUT" {
		ask.Limit = maxLimit
	}
	page, err := c.runList(v, o, r, &ask)
	if err != nil {
		return nil, err
	}
	if c.req.Method() == "PUT" && len(page.Rows) == 0 {
		return nil, notFound()
	}
	return page.Rows, nil
}

// putListed changes activities of a list.
func (c *call) putListed(o *owner, r *relation, ids []entity.ID) (*wire.Reply, error) {
	patch, _, err := c.of(r.typ).patch()
	if err != nil {
		return nil, err
	}
	changed, err := c.inSteps(ids, func(ids []entity.ID) command.Op {
		return command.UpdateEntities{Rules: r.typ.Rules(), IDs: ids, Patch: patch}
	})
	if err != nil {
		return nil, err
	}
	return c.showTargets(o, r, changed, repeated(r.typ.Collection, len(changed)))
}

// unlist takes activities out of a list, and only there.
func (c *call) unlist(o *owner, r *relation, ids []entity.ID) (*wire.Reply, error) {
	gone, err := c.inSteps(ids, func(ids []entity.ID) command.Op {
		return command.Unlist{Owner: o.ref(), List: r.list, IDs: ids}
	})
	if err != nil && (r.target != nil || !fault.Is(err, fault.ServiceResourceNotFound)) {
		return nil, err
	}
	return c.showTargets(o, r, gone, repeated(r.typ.Collection, len(gone)))
}

// publisher says whose activities those of a list are, and who is to see them.
func (r *relation) publisher(o *owner) command.Publisher {
	by := command.Publisher{}
	if o.typ.Collection == "users" {
		by.User = o.id
	} else {
		by.Group = o.id
	}
	switch {
	case r.list == keys.Feed:
	case r.group != nil:
		by.Audience, by.Group = entity.Friends, r.group.id
	case o.typ.Collection == "users":
		by.Audience = entity.Followers
	default:
		by.Audience = entity.Members
	}
	return by
}

// link puts an activity that exists into a list, as if it had been posted there.
func (c *call) link(o *owner, r *relation) (*wire.Reply, error) {
	return c.post(o, r, command.Post{By: r.publisher(o), Create: command.CreateEntities{Rules: r.typ.Rules()}, Link: r.target.ID}, nil)
}

// postInto prepares a POST of new activities to a list.
func (c *call) postInto(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	of := c.of(r.typ)
	if o.typ.Collection == "users" && r.list == keys.Outbox {
		user, found, err := storage.ReadEntity(v, c.req.App.Number, o.end.Collection, o.end.Seq)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, notFound()
		}
		of.actor = &user
	}
	return func() (*wire.Reply, error) {
		text, err := c.jsonBody()
		if err != nil {
			return nil, err
		}
		if text == nil {
			text = []byte("{}")
		}
		op := command.Post{By: r.publisher(o)}
		switch text[skipSpace(text, 0)] {
		case '{':
			item, err := of.itemOf(text)
			if err != nil {
				return nil, err
			}
			op.Create = command.CreateEntities{Rules: r.typ.Rules(), Items: []command.NewEntity{item}}
			return c.post(o, r, op, nil)
		case '[':
			b, err := of.batchOf(text)
			if err != nil {
				return nil, err
			}
			op.Create = b.op
			return c.post(o, r, op, b)
		}
		return nil, fault.New(fault.JSONMapping, "body must be a JSON object")
	}, nil
}

// taskStep tells the id of a task from those of the commands of a request.
const taskStep = 1 << 40

// post proposes activities, and answers with them. If the client asks for that, it waits
// until they have reached everybody.
func (c *call) post(o *owner, r *relation, op command.Post, b *batch) (*wire.Reply, error) {
	op.Task = entity.NewID()
	if id, ok, err := c.req.Idempotency(taskStep); err != nil {
		return nil, err
	} else if ok { // a retry waits for the same
		op.Task = entity.ID(id)
	}
	out, err := c.propose(c.req, op)
	if err != nil {
		return nil, err
	}
	reply, err := c.showTargets(o, r, out.Entities, repeated(r.typ.Collection, len(out.Entities)))
	if err != nil {
		return nil, err
	}
	if b != nil {
		b.report(&out, reply)
	}
	if (&params{rest: c.req}).is("sync", "true") {
		return reply, c.await(op.Task)
	}
	return reply, nil
}

// Pauses between two looks at a task that a request waits for, and how long before its
// deadline it answers anyway.
const (
	firstLook = 2 * time.Millisecond
	lastLook  = 100 * time.Millisecond
	inTime    = time.Second
)

// await waits until a task is done, or will not be without a person, or the time for the
// request is nearly over.
func (c *call) await(task entity.ID) error {
	end := time.Now().Add(inTime)
	if deadline, ok := c.req.Context().Deadline(); ok {
		end = deadline.Add(-inTime)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		done := false
		err := c.upToDate(c.req, func(v *storage.View) error {
			t, found, err := storage.ReadTask(v, task)
			done = !found || t.State != entity.TaskReady
			return err
		})
		if err != nil || done || time.Now().Add(pause).After(end) {
			return err
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-c.req.Context().Done():
			return nil
		}
	}
}
