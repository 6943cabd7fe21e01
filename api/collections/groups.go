package collections

import (
	"strings"
	"unicode"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// groupWords end the path of a group within the path of a request: a group whose path
// has one of them is reached by its UUID (spec users-groups-roles section 2.2).
var groupWords = []string{
	"users", "user", "activities", "activity", "feed", "roles", "role", "rolenames", "permissions", "notifications", "notification",
	"credentials", "connections", "connected", "connecting", "indexes",
}

// cleanPath is the path of a group as it is stored: without slashes around it, and
// single ones within.
func cleanPath(path string) string { return strings.Join(auth.SplitPath(path), "/") }

// groupPath applies the rules of the path of a group to a document, if it has one.
func groupPath(doc *document) error {
	if !doc.has("path") {
		return nil
	}
	sent, _ := doc.text("path")
	path := cleanPath(sent)
	if path == "" {
		return fault.New(fault.IllegalArgument, "the path of a group must have letters or digits")
	}
	for _, c := range path {
		if !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("-./", c) {
			return fault.New(fault.IllegalArgument, "the path of a group has letters, digits and - . / only, %q has %q", path, c)
		}
	}
	if path == sent {
		return nil
	}
	return doc.setString("path", path)
}

// pathNamed finds the entity, of a type that is known by its path, that the first of some
// segments name: by its UUID, or by the longest path that some entity has, or if it is a
// group by the name in the first. n is how many segments that are. If there is none, n is
// how many could be the path of one, and the target names one of that path.
func (c *call) pathNamed(v *storage.View, segments []string) (t command.Target, n int, found bool, err error) {
	if id, ok := entity.ParseID(segments[0]); ok {
		t, err = c.target(segments[0])
		return t, 1, !id.IsZero(), err
	}
	run := 0
	for run < len(segments) && !c.endsPath(segments[run]) {
		run++
	}
	var names []string
	for _, segment := range segments[:run] {
		name, _ := cutMatrix(segment)
		names = append(names, name)
	}
	for n = run; n > 0; n-- {
		t = c.pathTarget(cleanPath(strings.Join(names[:n], "/")))
		if t.Aliases[0].Value == "" || len(t.Aliases[0].Value) > maxUniqueBytes {
			continue
		}
		if _, found, err = c.find(v, &t); err != nil || found {
			return t, n, found, err
		}
	}
	if run == 0 {
		return t, 0, false, nil
	}
	if c.typ.Collection == "groups" {
		if id, ok, err := c.groupByName(v, names[0]); err != nil || ok {
			return command.Target{ID: id}, 1, ok, err
		}
	}
	return c.pathTarget(cleanPath(strings.Join(names, "/"))), run, false, nil
}

// endsPath reports whether a segment cannot be one of the path of an entity of the call's
// type.
func (c *call) endsPath(segment string) bool {
	if _, isID := entity.ParseID(segment); isID || c.typ.Collection == "groups" && contains(groupWords, segment) {
		return true
	}
	every, _, err := c.selection(segment)
	return every || err != nil
}

// groupByName finds a group by its name, which is not unique: the newest.
func (c *call) groupByName(v *storage.View, name string) (entity.ID, bool, error) {
	if len(name) > maxUniqueBytes || ql.HasWildcard(name) {
		return entity.ID{}, false, nil
	}
	from, err := c.source(v, c.typ)
	if err != nil {
		return entity.ID{}, false, err
	}
	named := &ql.Compare{Property: "name", Op: ql.Equal, Value: entity.Value{Class: entity.StringClass, String: keys.Fold(strings.TrimSpace(name))}}
	page, err := c.engine.Run(c.req.Context(), v, &query.Request{App: c.req.App.Number, From: from, Query: &ql.Query{Where: named}, Limit: 1})
	if err != nil || len(page.Rows) == 0 {
		return entity.ID{}, false, err
	}
	return page.Rows[0].Entity.ID, true, nil
}

// joinPath makes one segment of those that are the path of an entity.
func (c *call) joinPath() error {
	if every, _, err := c.selection(c.seg[1]); every || err != nil || strings.HasPrefix(c.seg[1], "_") || contains([]string{"indexes"}, c.seg[1]) {
		return err
	}
	return c.reading(c.req, func(v *storage.View) error {
		t, n, _, err := c.pathNamed(v, c.seg[1:])
		switch {
		case err != nil:
			return err
		case n == 0:
			return c.missing()
		}
		name := t.ID.String()
		if t.ID.IsZero() {
			name = t.Aliases[0].Value
		}
		c.seg = append([]string{c.seg[0], name}, c.seg[1+n:]...)
		return nil
	})
}

// removeGroup deletes a group, and in the same step the roles that are its own.
func (c *call) removeGroup(t command.Target, step int) ([]entity.Entity, error) {
	var e entity.Entity
	var found bool
	err := c.upToDate(c.req, func(v *storage.View) (err error) {
		e, found, err = c.find(v, &t)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, notFound()
	}
	own, err := c.ownRoles(e.ID)
	if err != nil {
		return nil, err
	}
	var op command.Op = command.DeleteEntity{Collection: c.typ.Collection, Target: command.Target{ID: e.ID}}
	if len(own) > 0 {
		op = command.Together{First: op, Then: []command.Op{command.DeleteEntities{Collection: "roles", IDs: own}}}
	}
	out, err := c.proposeStep(c.req, c.req.App.Number, op, step)
	if err != nil {
		return nil, err
	}
	// What one command could not take, and what was made while it was on its way: no
	// other can be, for a group that is gone.
	for again := 1; ; again++ {
		left, err := c.ownRoles(e.ID)
		if err != nil || len(left) == 0 {
			return out.Entities, err
		}
		if _, err := c.proposeStep(c.req, c.req.App.Number, command.DeleteEntities{Collection: "roles", IDs: left}, step+again<<20); err != nil {
			return nil, err
		}
	}
}

// removeGroups deletes groups, each in a step of its own.
func (c *call) removeGroups(ids []entity.ID) (*wire.Reply, error) {
	var all []entity.Entity
	for i, id := range ids {
		gone, err := c.removeGroup(command.Target{ID: id}, firstOfMany+i)
		if fault.Is(err, fault.ServiceResourceNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, gone...)
	}
	return c.reply(all)
}
