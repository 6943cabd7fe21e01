package collections

import (
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// changeConnections prepares what a POST, PUT or DELETE of the last step of a path
// does. What it returns runs after the view is closed.
func (c *call) changeConnections(v *storage.View, owners []owner, r *relation) (func() (*wire.Reply, error), error) {
	switch {
	case r.indexes, r.fixed, r.list == 0 && r.verb == "", r.sub == nil && r.list == 0 && r.below != r.verb:
		return nil, fault.New(fault.UnsupportedAction, "connections are made and removed from their source, by a verb")
	case len(owners) == 0:
		return nil, notFound()
	case len(owners) > 1:
		return nil, fault.New(fault.IllegalArgument, "connections are made and removed of one entity at a time, the path selects %d", len(owners))
	}
	o := &owners[0]
	switch {
	case r.list != 0:
		return c.changeList(v, o, r)
	case r.sub != nil:
		return c.changeMembers(v, o, r)
	case c.req.Method() == "POST" && r.target != nil:
		return func() (*wire.Reply, error) { return c.connect(o, r, command.Connect{}) }, nil
	case c.req.Method() == "POST":
		return func() (*wire.Reply, error) { return c.connectNew(o, r) }, nil
	case c.req.Method() == "PUT" && r.target != nil:
		return c.putConnected(v, o, r)
	case c.req.Method() == "PUT":
		return c.putSelected(v, o, r)
	case r.target != nil:
		return c.disconnectOne(v, o, r)
	}
	return c.disconnectMany(v, o, r)
}

// connect proposes a connection to the entity that the step names.
func (c *call) connect(o *owner, r *relation, op command.Connect) (*wire.Reply, error) {
	op.Source = command.Ref{Collection: o.typ.Collection, Target: command.Target{ID: o.id}}
	op.Verb = r.verb
	if r.target != nil {
		op.Target = command.Ref{Any: r.typ == nil, Target: *r.target}
		if r.typ != nil {
			op.Target.Collection = r.typ.Collection
		}
	}
	all, err := c.welcomed(r.typ, op.Create, op)
	if err != nil {
		return nil, err
	}
	out, err := c.propose(c.req, all)
	if err != nil {
		return nil, c.ofTarget(err)
	}
	return c.showTargets(o, r, out.Entities, out.Collections)
}

// ofTarget says of a target that it is not found as the others do: which entity it is
// not stays unsaid.
func (c *call) ofTarget(err error) error {
	if fault.Is(err, fault.UnexpectedEntityType) {
		return notFound()
	}
	return err
}

// showTargets answers with the far ends that a command was about.
func (c *call) showTargets(o *owner, r *relation, entities []entity.Entity, names []string) (*wire.Reply, error) {
	reply := c.req.Entities(o.path + "/" + r.shown)
	err := c.upToDate(c.req, func(v *storage.View) error {
		s := c.newShow(v, &query.Request{Query: &ql.Query{}}, reply, func(*schema.Type) string { return o.path + "/" + r.below })
		for i := range entities {
			col, _, err := storage.ReadCollectionID(v, c.req.App.Number, names[i])
			if err != nil {
				return err
			}
			if err := s.row(&query.Row{Collection: col, Entity: entities[i], Distance: query.NoDistance}); err != nil {
				return err
			}
		}
		return nil
	})
	return reply, err
}

// object reads a body that must be a JSON object; nil if there is none.
func (c *call) object() ([]byte, error) {
	text, err := c.jsonBody()
	if err != nil || text == nil {
		return nil, err
	}
	switch text[skipSpace(text, 0)] {
	case '{':
		return text, nil
	case '[':
		return nil, fault.New(fault.IllegalArgument, "one entity at a time is created through a connection")
	}
	return nil, fault.New(fault.JSONMapping, "body must be a JSON object")
}

// connectNew answers POST to a verb and a type: the body is a new entity.
func (c *call) connectNew(o *owner, r *relation) (*wire.Reply, error) {
	text, err := c.object()
	if err != nil {
		return nil, err
	}
	if text == nil || r.typ == nil {
		return nil, notFound()
	}
	create, err := c.of(r.typ).created(text, entity.ID{})
	if err != nil {
		return nil, err
	}
	if create == nil {
		return nil, notFound()
	}
	return c.connect(o, r, command.Connect{Rules: r.typ.Rules(), Create: create})
}

// created makes a new entity of a body, with an id that the client chose unless that is
// zero; nil of a body without members.
func (c *call) created(text []byte, chosen entity.ID) (*command.NewEntity, error) {
	if !c.offered(c.typ) {
		return nil, notOffered(c.typ.Collection)
	}
	if err := closed(c.typ); err != nil {
		return nil, err
	}
	id, now := newID()
	doc, err := normalize(c.typ, text, forCreate, now)
	if err != nil || (!doc.named && chosen.IsZero()) {
		return nil, err
	}
	if !chosen.IsZero() {
		id = chosen
	}
	item, err := c.newEntity(doc, id)
	if err != nil {
		return nil, err
	}
	if !chosen.IsZero() {
		item.Created, item.Modified = c.times(doc, chosen)
	}
	return &item, nil
}

// putConnected answers PUT of one target: it is updated, and then connected. One that
// is named by its UUID and does not exist is created, if its type is known.
func (c *call) putConnected(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	row, found, err := c.lookUp(v, r)
	if err != nil {
		return nil, err
	}
	typ := r.typ
	if found {
		if typ, err = c.typeOf(v, row.Collection); err != nil {
			return nil, err
		}
		if err := c.mayChange(typ, &row.Entity); err != nil {
			return nil, err
		}
	}
	if typ == nil || (!found && r.target.ID.IsZero()) {
		return nil, notFound()
	}
	return func() (*wire.Reply, error) {
		text, err := c.object()
		if err != nil {
			return nil, err
		}
		op := command.Connect{Rules: typ.Rules()}
		if text != nil {
			if op.Patch, _, err = c.of(typ).patch(); err != nil {
				return nil, err
			}
		}
		if !found {
			if text == nil {
				text = []byte("{}")
			}
			if op.Create, err = c.of(typ).created(text, r.target.ID); err != nil {
				return nil, err
			}
		}
		named := *r
		named.typ = typ
		return c.connect(o, &named, op)
	}, nil
}

// putSelected answers PUT of the connected entities that a query selects: each is
// updated and connected anew.
func (c *call) putSelected(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	p := &params{own: r.own, every: r.every, rest: c.req}
	if !p.selects() {
		return nil, fault.New(fault.UnsupportedAction, "connected entities are changed by query, or one by one")
	}
	rows, types, err := c.selectConnected(v, o, r, p)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, notFound()
	}
	for i := range rows {
		if err := c.mayChange(types[i], &rows[i].Entity); err != nil {
			return nil, err
		}
	}
	return func() (*wire.Reply, error) {
		var entities []entity.Entity
		var names []string
		for i := len(rows) - 1; i >= 0; i-- { // the first of the list is the newest again
			patch, unique, err := c.of(types[i]).patch()
			switch {
			case err != nil:
				return nil, err
			case unique != "" && len(rows) > 1:
				return nil, fault.New(fault.IllegalArgument, "%s is unique: it cannot be given to the %d entities that the query selects", unique, len(rows))
			}
			out, err := c.proposeStep(c.req, c.req.App.Number, command.Connect{
				Source: command.Ref{Collection: o.typ.Collection, Target: command.Target{ID: o.id}}, Verb: r.verb,
				Target: command.Ref{Collection: types[i].Collection, Target: command.Target{ID: rows[i].Entity.ID}},
				Rules:  types[i].Rules(), Patch: patch,
			}, firstOfMany+i)
			if fault.Is(err, fault.ServiceResourceNotFound) {
				continue // deleted meanwhile
			}
			if err != nil {
				return nil, err
			}
			entities = append([]entity.Entity{out.Entities[0]}, entities...)
			names = append([]string{types[i].Collection}, names...)
		}
		return c.showTargets(o, r, entities, names)
	}, nil
}

// selectConnected finds the connected entities that a change by query is for.
func (c *call) selectConnected(v *storage.View, o *owner, r *relation, p *params) ([]query.Row, []*schema.Type, error) {
	ask, err := c.ask(p, defaultLimit)
	if err != nil {
		return nil, nil, err
	}
	page, err := c.runEdges(v, o, r, &ask)
	if err != nil {
		return nil, nil, err
	}
	types := make([]*schema.Type, len(page.Rows))
	for i := range page.Rows {
		if types[i], err = c.typeOf(v, page.Rows[i].Collection); err != nil {
			return nil, nil, err
		}
	}
	return page.Rows, types, nil
}

// disconnectOne answers DELETE of one target, which stays.
func (c *call) disconnectOne(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	row, found, err := c.lookUp(v, r)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, notFound()
	}
	typ, err := c.typeOf(v, row.Collection)
	if err != nil {
		return nil, err
	}
	target := command.Ref{Collection: typ.Collection, Target: command.Target{ID: row.Entity.ID}}
	return func() (*wire.Reply, error) { return c.disconnect(o, r, []command.Ref{target}) }, nil
}

// disconnectMany answers DELETE of what a query selects: one page.
func (c *call) disconnectMany(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	p := &params{own: r.own, every: r.every, rest: c.req}
	if !p.selects() {
		return nil, fault.New(fault.UnsupportedAction, "connections are removed by query, or one by one")
	}
	rows, types, err := c.selectConnected(v, o, r, p)
	if err != nil {
		return nil, err
	}
	targets := make([]command.Ref, len(rows))
	for i := range rows {
		targets[i] = command.Ref{Collection: types[i].Collection, Target: command.Target{ID: rows[i].Entity.ID}}
	}
	return func() (*wire.Reply, error) { return c.disconnect(o, r, targets) }, nil
}

// disconnect proposes the end of connections, in as many commands as their bounds ask
// for.
func (c *call) disconnect(o *owner, r *relation, targets []command.Ref) (*wire.Reply, error) {
	var entities []entity.Entity
	var names []string
	for step := firstOfMany; len(targets) > 0; step++ {
		out, err := c.proposeStep(c.req, c.req.App.Number, command.Disconnect{
			Source: command.Ref{Collection: o.typ.Collection, Target: command.Target{ID: o.id}}, Verb: r.verb, Targets: targets,
		}, step)
		if err != nil {
			return nil, err
		}
		if out.Handled < 1 {
			return nil, fault.New(fault.Uncaught, "a command dealt with none of %d connections", len(targets))
		}
		entities, names = append(entities, out.Entities...), append(names, out.Collections...)
		targets = targets[min(out.Handled, len(targets)):]
	}
	return c.showTargets(o, r, entities, names)
}
