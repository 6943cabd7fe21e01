package collections

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// roleNames are the spellings under which clients send the name of a role, and what the
// server makes of it.
var roleNames = []string{"name", "rolename", "role name"}

// newRole applies the rules of new roles to a document (spec users-groups-roles
// section 3). A role of a group has the name of its group before its own.
func newRole(doc *document, group entity.ID) error {
	name := ""
	for _, property := range roleNames {
		if text, ok := doc.text(property); ok && name == "" {
			name = strings.TrimSpace(text)
		}
		doc.remove(property)
	}
	doc.remove("group")
	if name == "" {
		return fault.New(fault.RequiredProperty, "Entity %q requires a property named %q", "role", "name")
	}
	own := name[strings.LastIndexByte(name, ':')+1:]
	stored := name
	if !group.IsZero() {
		stored = scopedName(group, name)
		if err := doc.setString("group", group.String()); err != nil {
			return err
		}
	}
	if len(stored) > maxUniqueBytes {
		return fault.New(fault.IllegalArgument, "the name of a role is longer than %d bytes", maxUniqueBytes)
	}
	if err := doc.setString("name", stored); err != nil {
		return err
	}
	if err := doc.setAs("roleName", wire.AppendString(nil, strings.ToLower(own))); err != nil {
		return err
	}
	if !doc.has("title") {
		if err := doc.setString("title", name); err != nil {
			return err
		}
	}
	if !doc.has("inactivity") {
		if err := doc.set("inactivity", []byte(`"inactivity"`), []byte("0")); err != nil {
			return err
		}
	}
	return notNegative(doc)
}

// scopedName is the name under which a role of a group is stored.
func scopedName(group entity.ID, name string) string { return group.String() + ":" + name }

// changedRole applies the rules of PUT to a document: what a role is called, and whose
// it is, stays.
func changedRole(doc *document) error {
	for _, property := range roleNames {
		doc.remove(property)
	}
	doc.remove("group")
	for _, property := range []string{"title", "inactivity"} { // every role has one
		if !doc.has(property) {
			doc.remove(property)
		}
	}
	return notNegative(doc)
}

func notNegative(doc *document) error {
	i := doc.find("inactivity")
	if i < 0 || doc.properties[i].value == nil || doc.properties[i].empty {
		return nil
	}
	if n, err := strconv.ParseInt(string(doc.properties[i].value), 10, 64); err != nil || n < 0 {
		return fault.New(fault.IllegalArgument, "inactivity is a number of milliseconds, 0 or more")
	}
	return nil
}

// withoutScoped lets a query of the collection of roles pass over those of groups, which
// are found through their groups, and by name or UUID.
func withoutScoped(typ *schema.Type, ask *query.Request) error {
	if typ.Collection != "roles" || ask.Query.Direct != nil {
		return nil
	}
	scoped := &ql.Compare{Property: "group", Op: ql.Equal, Value: entity.Value{Class: entity.StringClass, String: "*"}}
	return ask.Query.Restrict(&ql.Not{Of: scoped})
}

// ownRoles finds the roles of a group, attached to it or not: a page of them.
func (c *call) ownRoles(group entity.ID) (ids []entity.ID, err error) {
	roles, err := c.types.of("roles")
	if err != nil {
		return nil, err
	}
	of := &ql.Compare{Property: "group", Op: ql.Equal, Value: entity.Value{Class: entity.StringClass, String: group.String()}}
	page, err := c.of(roles).selectMany(&query.Request{App: c.req.App.Number, Query: &ql.Query{Where: of}, Limit: maxLimit})
	if err != nil {
		return nil, err
	}
	return idsOf(page.Rows), nil
}

// roleInfo is what lists of names say of a role.
type roleInfo struct {
	Name       string `json:"name"`
	Title      string `json:"title"`
	Inactivity int64  `json:"inactivity"`
}

func roleInfoOf(e *entity.Entity) (info roleInfo) {
	// The callback never fails, so neither does the walk.
	_ = eachMember(e.JSON, func(m member) error {
		switch {
		case keys.SameFold(m.key, "name"):
			info.Name = decodeString(m.value)
		case keys.SameFold(m.key, "title") && m.value[0] == '"':
			info.Title = decodeString(m.value)
		case keys.SameFold(m.key, "inactivity"):
			_ = json.Unmarshal(m.value, &info.Inactivity) // declared a number
		}
		return nil
	})
	return info
}

// allRoles reads the roles of the application, without those of groups.
func (h *Handlers) allRoles(req *wire.Request) (map[string]roleInfo, error) {
	typ, err := h.types.of("roles")
	if err != nil {
		return nil, err
	}
	c := &call{Handlers: h, req: req, typ: typ, path: "/roles", seg: []string{"roles"}}
	all := map[string]roleInfo{}
	ask := query.Request{App: req.App.Number, Query: &ql.Query{}, Limit: maxLimit}
	if err := withoutScoped(typ, &ask); err != nil {
		return nil, err
	}
	err = h.upToDate(req, func(v *storage.View) error {
		if ask.From, err = c.source(v, typ); err != nil {
			return err
		}
		for page := 0; page == 0 || ask.Cursor != ""; page++ {
			found, err := h.engine.Run(req.Context(), v, &ask)
			if err != nil {
				return err
			}
			for i := range found.Rows {
				info := roleInfoOf(&found.Rows[i].Entity)
				all[info.Name] = info
			}
			ask.Cursor = found.Cursor
		}
		return nil
	})
	return all, err
}

// roleNamesOfApplication answers GET of /rolenames.
func (h *Handlers) roleNamesOfApplication(req *wire.Request) (*wire.Reply, error) {
	if req.Method() != "GET" {
		return nil, fault.New(fault.UnsupportedAction, "names of roles are read here; roles are created at /roles")
	}
	all, err := h.allRoles(req)
	if err != nil {
		return nil, err
	}
	return req.Entities("").Field("data", all), nil
}

// resetRoles answers POST of /resetroles: default roles that are missing come back, and
// all of them get their permissions, without losing others.
func (h *Handlers) resetRoles(req *wire.Request) (*wire.Reply, error) {
	switch {
	case req.Method() != "POST":
		return nil, fault.New(fault.UnsupportedAction, "roles are reset by POST")
	case !req.Access.Everything():
		return nil, fault.New(fault.Unauthorized, "No application access authorized")
	}
	if _, err := h.accounts.SeedRoles(req.Context(), req.App.Number, req.App.Open, true); err != nil {
		return nil, err
	}
	all, err := h.allRoles(req)
	if err != nil {
		return nil, err
	}
	titles := make(map[string]string, len(all))
	for name, info := range all {
		titles[name] = info.Title
	}
	return req.Entities("").Field("data", titles), nil
}
