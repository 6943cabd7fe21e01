package collections

import (
	"encoding/json"
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/fault"
)

// dictionary prepares the answer to a request about the permissions, or the names of the
// roles, of an owner. What it returns runs after the view is closed.
func (c *call) dictionary(v *storage.View, owners []owner, r *relation) (func() (*wire.Reply, error), error) {
	switch {
	case len(owners) == 0:
		return nil, notFound()
	case len(owners) > 1:
		return nil, fault.New(fault.IllegalArgument, "%s are those of one entity at a time, the path selects %d", r.dictionary, len(owners))
	}
	o := &owners[0]
	if err := c.mayReach(v, o, r, nil); err != nil {
		return nil, err
	}
	if r.dictionary == "rolenames" {
		return c.roleNames(v, o, r)
	}
	if c.req.Method() == "GET" {
		held, err := storage.Grants(v, c.req.App.Number, o.id)
		return func() (*wire.Reply, error) { return c.showPermissions(held), nil }, err
	}
	return func() (*wire.Reply, error) { return c.changePermissions(o) }, nil
}

func (c *call) showPermissions(held []string) *wire.Reply {
	return c.req.Entities("").Field("data", append([]string{}, held...))
}

// changePermissions adds the permissions that a request names, or removes them, and
// answers with all that the owner has then.
func (c *call) changePermissions(o *owner) (*wire.Reply, error) {
	texts, err := c.sentPermissions()
	if err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		return nil, fault.New(fault.IllegalArgument, "You must supply a 'permission' property")
	}
	if len(texts) > command.MaxPermissions {
		return nil, fault.New(fault.IllegalArgument, "more than the %d permissions allowed", command.MaxPermissions)
	}
	if c.req.Method() == "DELETE" && !c.req.HasQuery("permission") {
		c.req.Echo("permission", texts) // clients read there what was asked for
	}
	op := command.SetPermissions{Collection: o.typ.Collection, Owner: o.id}
	for _, text := range texts {
		if c.req.Method() == "DELETE" {
			op.Remove = append(op.Remove, strings.ToLower(strings.TrimSpace(text)))
			continue
		}
		permission, err := auth.ParsePermission(text)
		if err != nil {
			return nil, err
		}
		op.Add = append(op.Add, permission.String())
	}
	if _, err := c.propose(c.req, op); err != nil {
		return nil, err
	}
	var held []string
	err = c.upToDate(c.req, func(v *storage.View) error {
		held, err = storage.Grants(v, c.req.App.Number, o.id)
		return err
	})
	return c.showPermissions(held), err
}

// sentPermissions reads the permissions that a request names in its body or, failing
// that, in its query string (spec auth-and-tokens section 9.7).
func (c *call) sentPermissions() ([]string, error) {
	kind, err := c.req.Kind()
	if err != nil {
		return nil, err
	}
	var texts []string
	switch kind {
	case wire.JSONBody:
		body, err := c.req.JSON()
		if err != nil {
			return nil, err
		}
		if texts, err = permissionsIn(body); err != nil {
			return nil, err
		}
	case wire.FormBody:
		text, sent, err := c.req.LookupParam("permission")
		if err != nil {
			return nil, err
		}
		if sent && !c.req.HasQuery("permission") {
			texts = []string{text}
		}
	}
	if len(texts) == 0 {
		texts = c.req.QueryAll("permission")
	}
	return texts, nil
}

// permissionsIn reads the permissions that a JSON body names: strings, or arrays of them.
func permissionsIn(body []byte) (texts []string, err error) {
	if len(body) == 0 {
		return nil, nil
	}
	if body[skipSpace(body, 0)] != '{' {
		return nil, fault.New(fault.JSONMapping, "body must be a JSON object")
	}
	err = eachMember(body, func(m member) error {
		if m.key != "permission" && m.key != "permissions" && m.key != "data" {
			return nil
		}
		var one string
		var list []string
		switch {
		case isEmpty(m.value):
		case json.Unmarshal(m.value, &one) == nil:
			texts = append(texts, one)
		case json.Unmarshal(m.value, &list) == nil:
			texts = append(texts, list...)
		default:
			return fault.New(fault.IllegalArgument, "%s is a permission, or an array of them", m.key)
		}
		return nil
	})
	return texts, err
}

// roleRelation is the step to the roles of an owner, or to one of them.
func (c *call) roleRelation(v *storage.View, o *owner, role string) (*relation, error) {
	typ, err := c.types.of("roles")
	if err != nil {
		return nil, err
	}
	sub := membershipOf(o.typ.Collection, "roles")
	r := &relation{sub: sub, verb: sub.verb, direction: sub.direction, shown: sub.word, below: sub.word, typ: typ}
	if role != "" {
		t, _, _, err := c.of(typ).named(v, []string{role})
		if err != nil {
			return nil, err
		}
		r.target = &t
	}
	return r, nil
}

// roleNames prepares the answer to a request about the names of the roles of an owner.
func (c *call) roleNames(v *storage.View, o *owner, r *relation) (func() (*wire.Reply, error), error) {
	role := r.word
	switch method := c.req.Method(); {
	case method == "GET" && role == "":
		all, err := c.rolesOf(v, o)
		return func() (*wire.Reply, error) { return c.req.Entities("").Field("data", all), nil }, err
	case method == "DELETE" && role != "":
	case (method == "PUT" || method == "POST") && role == "":
		var err error
		for _, name := range []string{"name", "roleName", "rolename"} {
			if role == "" && err == nil {
				role, err = c.req.Param(name)
			}
		}
		if err != nil {
			return nil, err
		}
		if role = strings.TrimSpace(role); role == "" {
			return nil, fault.New(fault.IllegalArgument, "the name of a role is required")
		}
	default:
		return nil, fault.New(fault.UnsupportedAction, "names of roles are read, added by PUT and removed by DELETE")
	}
	to, err := c.roleRelation(v, o, role)
	if err != nil {
		return nil, err
	}
	row, found, err := c.member(v, o, to)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, notFound()
	}
	return func() (*wire.Reply, error) {
		if c.req.Method() == "DELETE" {
			err = c.leave(o, to, row.Entity.ID, 0)
		} else {
			_, err = c.propose(c.req, to.link(o, row.Entity.ID))
		}
		if err != nil {
			return nil, c.ofTarget(err)
		}
		var all map[string]roleInfo
		err := c.upToDate(c.req, func(v *storage.View) error {
			all, err = c.rolesOf(v, o)
			return err
		})
		return c.req.Entities("").Field("data", all), err
	}, nil
}

// rolesOf reads the roles of an owner, by their names.
func (c *call) rolesOf(v *storage.View, o *owner) (map[string]roleInfo, error) {
	r, err := c.roleRelation(v, o, "")
	if err != nil {
		return nil, err
	}
	all := map[string]roleInfo{}
	ask := query.Request{App: c.req.App.Number, Query: &ql.Query{}, Limit: maxLimit}
	for first := true; first || ask.Cursor != ""; first = false {
		page, err := c.runEdges(v, o, r, &ask)
		if err != nil {
			return nil, err
		}
		for i := range page.Rows {
			info := roleInfoOf(&page.Rows[i].Entity)
			all[info.Name] = info
		}
		ask.Cursor = page.Cursor
	}
	return all, nil
}
