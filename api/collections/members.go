package collections

import (
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// membership is a sub-collection of a default type: the far ends of edges by a reserved
// verb, which lead either way. Both directions are one link.
type membership struct {
	word      string // how it stands in paths
	verb      string
	direction byte
	far       string // collection of its entities
}

// membershipOf returns the sub-collection that entities of a collection have under a
// word in the plural; nil if they have none.
func membershipOf(collection, word string) *membership {
	switch collection + "/" + word {
	case "users/groups":
		return &membership{word, entity.VerbGroups, keys.Outbound, "groups"}
	case "groups/users":
		return &membership{word, entity.VerbGroups, keys.Inbound, "users"}
	case "users/roles", "groups/roles":
		return &membership{word, entity.VerbRoles, keys.Outbound, "roles"}
	case "roles/users":
		return &membership{word, entity.VerbRoles, keys.Inbound, "users"}
	case "roles/groups":
		return &membership{word, entity.VerbRoles, keys.Inbound, "groups"}
	case "users/devices":
		return &membership{word, entity.VerbDevices, keys.Outbound, "devices"}
	case "devices/users":
		return &membership{word, entity.VerbDevices, keys.Inbound, "users"}
	}
	return nil
}

// of returns the ways to read what a step names, below an owner: below a group a role of
// its own may be named without the group.
func (r *relation) of(o *owner) []*relation {
	if r.sub == nil || o.typ.Collection != "groups" || r.sub.far != "roles" || !r.target.ID.IsZero() {
		return []*relation{r}
	}
	own := *r
	own.target = &command.Target{Aliases: []command.Alias{{Property: "name", Value: scopedName(o.id, r.target.Aliases[0].Value)}}}
	return []*relation{r, &own}
}

// changeMembers prepares what a POST, PUT or DELETE of a sub-collection does. What it
// returns runs after the view is closed.
func (c *call) changeMembers(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	if r.target == nil {
		if err := c.mayReach(v, o, r, nil); err != nil {
			return nil, err
		}
		switch c.req.Method() {
		case "POST":
			if r.every || r.own != nil {
				return nil, fault.New(fault.UnsupportedAction, "entities join one by one")
			}
			return func() (*wire.Reply, error) { return c.joinNew(o, r) }, nil
		case "PUT":
			return c.putMembers(v, o, r)
		}
		return c.leaveMany(v, o, r)
	}
	if c.req.Method() == "PUT" {
		return c.putMember(v, o, r)
	}
	row, found, err := c.member(v, o, r)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, notFound()
	}
	if err := c.mayReach(v, o, r, &row); err != nil {
		return nil, err
	}
	if c.req.Method() == "POST" {
		return func() (*wire.Reply, error) { return c.join(o, r, &row) }, nil
	}
	return func() (*wire.Reply, error) {
		if err := c.leave(o, r, row.Entity.ID, 0); err != nil {
			return nil, err
		}
		return c.showTargets(o, r, []entity.Entity{row.Entity}, []string{r.typ.Collection})
	}, nil
}

// member finds the entity that a step names: for DELETE one that is a member, for the
// others any.
func (c *call) member(v *storage.View, o *owner, r *relation) (row query.Row, found bool, err error) {
	if c.req.Method() == "DELETE" {
		return c.connected(v, o, r)
	}
	for _, named := range r.of(o) {
		if row, found, err = c.lookUp(v, named); err != nil || found {
			return row, found, err
		}
	}
	return row, false, nil
}

func (o *owner) ref() command.Ref {
	return command.Ref{Collection: o.typ.Collection, Target: command.Target{ID: o.id}}
}

// link is the command that makes an entity a member. It is no news if it is one.
func (r *relation) link(o *owner, id entity.ID) command.Connect {
	near, far := o.ref(), command.Ref{Collection: r.sub.far, Target: command.Target{ID: id}}
	if r.direction == keys.Inbound {
		near, far = far, near
	}
	return command.Connect{Source: near, Verb: r.verb, Target: far, Keep: true}
}

// together is a command and those that go with it, if there are any.
func together(first command.Op, then []command.Op) command.Op {
	if len(then) == 0 {
		return first
	}
	return command.Together{First: first, Then: then}
}

// join makes an existing entity a member.
func (c *call) join(o *owner, r *relation, row *query.Row) (*wire.Reply, error) {
	link := r.link(o, row.Entity.ID)
	others, err := c.othersOf(o, r, row.Entity.ID)
	if err != nil {
		return nil, err
	}
	link.Keep = len(others) == 0
	if _, err := c.propose(c.req, together(link, others)); err != nil {
		return nil, c.ofTarget(err)
	}
	if err := c.settle(o, r, row.Entity.ID); err != nil {
		return nil, err
	}
	return c.showTargets(o, r, []entity.Entity{row.Entity}, []string{r.typ.Collection})
}

// joinNew answers POST of a body: a new entity, which is a member from the start.
func (c *call) joinNew(o *owner, r *relation) (*wire.Reply, error) {
	text, err := c.object()
	if err != nil {
		return nil, err
	}
	of := c.of(r.typ)
	if o.typ.Collection == "groups" && r.sub.far == "roles" {
		of.group = o.id
	}
	var create *command.NewEntity
	if text != nil {
		if create, err = of.created(text, entity.ID{}); err != nil {
			return nil, err
		}
	}
	if create == nil {
		if err := (&document{}).requireAll(r.typ); err != nil {
			return nil, err
		}
		return nil, notFound()
	}
	return c.joinCreated(o, r, create)
}

// joinCreated proposes an entity and its membership, in one step.
func (c *call) joinCreated(o *owner, r *relation, create *command.NewEntity) (*wire.Reply, error) {
	if r.direction == keys.Outbound {
		return c.connectFar(o, r, command.Connect{Rules: r.typ.Rules(), Create: create})
	}
	return c.changeFar(o, r, command.CreateEntities{Rules: r.typ.Rules(), Items: []command.NewEntity{*create}}, create.ID, create)
}

// connectFar proposes a change of a far end together with the edge that leads to it.
func (c *call) connectFar(o *owner, r *relation, op command.Connect) (*wire.Reply, error) {
	op.Source, op.Verb, op.Keep = o.ref(), r.verb, true
	if op.Target.Collection == "" {
		op.Target.Collection = r.sub.far
	}
	others, err := c.othersOf(o, r, op.Target.Target.ID)
	if err != nil {
		return nil, err
	}
	op.Keep = len(others) == 0
	all, err := c.welcomed(r.typ, op.Create, together(op, others))
	if err != nil {
		return nil, err
	}
	out, err := c.propose(c.req, all)
	if err == nil && len(out.Entities) > 0 {
		err = c.settle(o, r, out.Entities[0].ID)
	}
	if err != nil {
		return nil, c.ofTarget(err)
	}
	return c.showTargets(o, r, out.Entities, out.Collections)
}

// changeFar proposes a change of a far end, and the edge that leads from it. create is
// what the change creates, if it does.
func (c *call) changeFar(o *owner, r *relation, change command.Op, id entity.ID, create *command.NewEntity) (*wire.Reply, error) {
	others, err := c.othersOf(o, r, id)
	if err != nil {
		return nil, err
	}
	link := r.link(o, id)
	link.Keep = len(others) == 0
	all, err := c.welcomed(r.typ, create, command.Together{First: change, Then: append([]command.Op{link}, others...)})
	if err != nil {
		return nil, err
	}
	out, err := c.propose(c.req, all)
	if err == nil {
		err = c.settle(o, r, id)
	}
	if err != nil {
		return nil, c.ofTarget(err)
	}
	return c.showTargets(o, r, out.Entities, []string{r.typ.Collection})
}

// putMember answers PUT of one entity, which is changed, and joins. One that is named by
// its UUID and does not exist is created.
func (c *call) putMember(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	row, found, err := c.member(v, o, r)
	if err != nil {
		return nil, err
	}
	id := r.target.ID
	if found {
		id = row.Entity.ID
		if err := c.mayReach(v, o, r, &row); err != nil {
			return nil, err
		}
		if err := c.mayChange(r.typ, &row.Entity); err != nil {
			return nil, err
		}
	} else if err := c.mayReach(v, o, r, nil); err != nil {
		return nil, err
	}
	return func() (*wire.Reply, error) {
		text, err := c.object()
		switch {
		case err != nil:
			return nil, err
		case !found && (text == nil && id.IsZero()):
			return nil, notFound()
		case found && text == nil:
			return c.join(o, r, &row)
		}
		of := c.of(r.typ)
		if !found {
			return c.putNewMember(o, r, of, text)
		}
		patch, _, err := of.patch()
		if err != nil {
			return nil, err
		}
		if r.direction == keys.Outbound {
			return c.connectFar(o, r, command.Connect{
				Target: command.Ref{Collection: r.sub.far, Target: command.Target{ID: id}}, Rules: r.typ.Rules(), Patch: patch,
			})
		}
		return c.changeFar(o, r, command.UpdateEntity{Rules: r.typ.Rules(), Target: command.Target{ID: id}, Patch: patch}, id, nil)
	}, nil
}

// putNewMember creates the entity that a PUT names and nobody is, under the UUID or the
// name by which it was asked for.
func (c *call) putNewMember(o *owner, r *relation, of *call, text []byte) (*wire.Reply, error) {
	if text == nil {
		text = []byte("{}")
	}
	if !r.target.ID.IsZero() {
		create, err := of.created(text, r.target.ID)
		if err != nil {
			return nil, err
		}
		return c.joinCreated(o, r, create)
	}
	if holds(r.sub.far) {
		return nil, notFound() // principals are not made by a mistyped name
	}
	id, now := newID()
	doc, err := normalize(r.typ, text, forCreate, now)
	if err == nil {
		err = of.nameAfterPath(doc, *r.target)
	}
	if err != nil {
		return nil, err
	}
	create, err := of.newEntity(doc, id)
	if err != nil {
		return nil, err
	}
	return c.joinCreated(o, r, &create)
}

// putMembers answers PUT of the members that a query selects.
func (c *call) putMembers(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	p := &params{own: r.own, every: r.every, rest: c.req}
	if !p.selects() {
		return nil, fault.New(fault.UnsupportedAction, "members are changed by query, or one by one")
	}
	rows, _, err := c.selectConnected(v, o, r, p)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, notFound()
	}
	for i := range rows {
		if err := c.mayChange(r.typ, &rows[i].Entity); err != nil {
			return nil, err
		}
	}
	return func() (*wire.Reply, error) {
		patch, unique, err := c.of(r.typ).patch()
		switch {
		case err != nil:
			return nil, err
		case unique != "" && len(rows) > 1:
			return nil, fault.New(fault.IllegalArgument, "%s is unique: it cannot be given to the %d entities that the query selects", unique, len(rows))
		}
		changed, err := c.inSteps(idsOf(rows), func(ids []entity.ID) command.Op {
			return command.UpdateEntities{Rules: r.typ.Rules(), IDs: ids, Patch: patch}
		})
		if err != nil {
			return nil, err
		}
		return c.showTargets(o, r, changed, repeated(r.typ.Collection, len(changed)))
	}, nil
}

func repeated(name string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = name
	}
	return list
}

// leave ends a membership: ServiceResourceNotFound if there is none.
func (c *call) leave(o *owner, r *relation, id entity.ID, step int) error {
	link := r.link(o, id)
	_, err := c.proposeStep(c.req, c.req.App.Number, command.Disconnect{
		Source: link.Source, Verb: link.Verb, Strict: true, Targets: []command.Ref{link.Target},
	}, step)
	return err
}

// leaveMany answers DELETE of the members that a query selects: one page. They stay.
func (c *call) leaveMany(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	p := &params{own: r.own, every: r.every, rest: c.req}
	if !p.selects() {
		return nil, fault.New(fault.UnsupportedAction, "members leave by query, or one by one")
	}
	rows, _, err := c.selectConnected(v, o, r, p)
	if err != nil {
		return nil, err
	}
	return func() (*wire.Reply, error) {
		var gone []entity.Entity
		for i := range rows {
			err := c.leave(o, r, rows[i].Entity.ID, firstOfMany+i)
			if fault.Is(err, fault.ServiceResourceNotFound) {
				continue // left meanwhile
			}
			if err != nil {
				return nil, err
			}
			gone = append(gone, rows[i].Entity)
		}
		return c.showTargets(o, r, gone, repeated(r.typ.Collection, len(gone)))
	}, nil
}
