package collections

import (
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// selectMany finds the entities that a change by query is for: on an up to date
// view, whatever the client says of reads.
func (c *call) selectMany(ask *query.Request) (page *query.Page, err error) {
	err = c.upToDate(c.req, func(v *storage.View) error {
		if ask.From, err = c.source(v, c.typ); err == nil && isActivities(c.typ) {
			err = c.byPublished(v, ask)
		}
		if err == nil {
			page, err = c.engine.Run(c.req.Context(), v, ask)
		}
		return err
	})
	return page, err
}

func idsOf(rows []query.Row) []entity.ID {
	ids := make([]entity.ID, len(rows))
	for i := range rows {
		ids[i] = rows[i].Entity.ID
	}
	return ids
}

// updateMany answers PUT of what a query selects: up to 1000 entities, whatever the
// limit says (spec collections-and-entities section 8).
func (c *call) updateMany(p *params) (*wire.Reply, error) {
	patch, unique, err := c.patch()
	if err != nil {
		return nil, err
	}
	ask, err := c.ask(p, maxLimit)
	if err != nil {
		return nil, err
	}
	ask.Limit = maxLimit
	if err := withoutScoped(c.typ, &ask); err != nil {
		return nil, err
	}
	page, err := c.selectMany(&ask)
	if err != nil {
		return nil, err
	}
	switch {
	case len(page.Rows) == 0:
		return nil, notFound()
	case unique != "" && len(page.Rows) > 1:
		return nil, fault.New(fault.IllegalArgument, "%s is unique: it cannot be given to the %d entities that the query selects", unique, len(page.Rows))
	}
	changed, err := c.inSteps(idsOf(page.Rows), func(ids []entity.ID) command.Op {
		return command.UpdateEntities{Rules: c.typ.Rules(), IDs: ids, Patch: patch}
	})
	if err != nil {
		return nil, err
	}
	reply, err := c.reply(changed)
	if err != nil {
		return nil, err
	}
	return reply.Cursor(page.Cursor), nil
}

// patch reads the body of a PUT as what is to be merged, and names a unique property
// that it sets.
func (c *call) patch() (patch []byte, unique string, err error) {
	switch {
	case isEvents(c.typ):
		return nil, "", eventsStay()
	case ofPush(c.typ):
		return nil, "", closed(c.typ)
	}
	text, err := c.jsonBody()
	switch {
	case err != nil:
		return nil, "", err
	case text == nil:
		return nil, "", fault.New(fault.JSONParse, "a body is required")
	case text[skipSpace(text, 0)] != '{':
		return nil, "", fault.New(fault.JSONMapping, "body must be a JSON object")
	}
	doc, err := normalize(c.typ, text, forUpdate, c.now())
	if err != nil {
		return nil, "", err
	}
	if err := c.changed(doc, nil); err != nil {
		return nil, "", err
	}
	for _, name := range c.typ.Unique {
		if doc.has(name) {
			unique = name
		}
	}
	patch, err = doc.json(forUpdate)
	return patch, unique, err
}

// deleteMany answers DELETE of what a query selects: one page (section 9).
func (c *call) deleteMany(p *params) (*wire.Reply, error) {
	ask, err := c.ask(p, defaultLimit)
	if err != nil {
		return nil, err
	}
	if err := withoutScoped(c.typ, &ask); err != nil {
		return nil, err
	}
	page, err := c.selectMany(&ask)
	if err != nil {
		return nil, err
	}
	if c.typ.Collection == "groups" {
		return c.removeGroups(idsOf(page.Rows))
	}
	deleted, err := c.inSteps(idsOf(page.Rows), func(ids []entity.ID) command.Op {
		return command.DeleteEntities{Collection: c.typ.Collection, IDs: ids}
	})
	if err != nil {
		return nil, err
	}
	return c.reply(deleted)
}

// inSteps runs commands until all ids have been dealt with: each takes as many as its
// bounds allow. What was done before a failure stays.
func (c *call) inSteps(ids []entity.ID, op func([]entity.ID) command.Op) ([]entity.Entity, error) {
	var all []entity.Entity
	for step := firstOfMany; len(ids) > 0; step++ {
		out, err := c.proposeStep(c.req, c.req.App.Number, op(ids), step)
		if err != nil {
			return nil, err
		}
		if out.Handled < 1 {
			return nil, fault.New(fault.Uncaught, "a command dealt with none of %d entities", len(ids))
		}
		all = append(all, out.Entities...)
		ids = ids[min(out.Handled, len(ids)):] // the outcome of an earlier request with the same key may tell of more
	}
	return all, nil
}

// hidden reports whether neither metadata nor the list of all verbs shows a verb:
// memberships, and who follows whom, have places of their own.
func hidden(verb string) bool {
	return verb == "following" || verb == "followers" || entity.ReservedVerb(verb)
}
