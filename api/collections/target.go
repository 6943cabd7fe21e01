package collections

import (
	"strings"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// target finds what a path segment names: a UUID, or the alias values an entity
// may have. "me" is the caller.
func (c *call) target(segment string) (command.Target, error) {
	segment, _ = cutMatrix(segment)
	if c.isMe(segment) {
		p := c.req.Principal
		if p.Kind != auth.AppUser {
			return command.Target{}, notFound()
		}
		return command.Target{ID: p.ID}, nil
	}
	if id, ok := entity.ParseID(segment); ok {
		if id.IsZero() {
			return command.Target{}, c.missing() // it stands for none
		}
		return command.Target{ID: id}, nil
	}
	value := strings.TrimSpace(segment)
	if byPath(c.typ) {
		value = cleanPath(value)
	}
	if value == "" || len(value) > maxUniqueBytes {
		return command.Target{}, c.missing()
	}
	if isFiled(c.typ) {
		return c.pathTarget(value), nil
	}
	var t command.Target
	if c.typ.Collection == "users" {
		force := c.req.Query("force")
		if force == "email" || (force != "name" && isEmail(value)) {
			t.Aliases = append(t.Aliases, command.Alias{Property: "email", Value: value})
		}
		if force != "email" {
			t.Aliases = append(t.Aliases, command.Alias{Property: "username", Value: value})
		}
		return t, nil
	}
	for _, property := range c.typ.Aliases {
		t.Aliases = append(t.Aliases, command.Alias{Property: property, Value: value})
	}
	return t, nil
}

// isMe reports whether a segment of users means the caller.
func (c *call) isMe(segment string) bool {
	return c.typ.Collection == "users" && strings.EqualFold(segment, "me")
}

// find reads the entity a target names; false if there is none.
func (c *call) find(v *storage.View, t *command.Target) (entity.Entity, bool, error) {
	app := c.req.App.Number
	col, ok, err := storage.ReadCollectionID(v, app, c.typ.Collection)
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	if !t.ID.IsZero() {
		return storage.ReadEntityByID(v, app, col, t.ID)
	}
	for _, a := range t.Aliases {
		if e, ok, err := storage.ReadEntityByAlias(v, app, col, a.Property, a.Value); err != nil || ok {
			return e, ok, err
		}
	}
	return entity.Entity{}, false, nil
}

// lookup opens a view for one find.
func (c *call) lookup(t *command.Target) (e entity.Entity, found bool, err error) {
	err = c.reading(c.req, func(v *storage.View) error {
		e, found, err = c.find(v, t)
		return err
	})
	return e, found, err
}

// notFound is for missing users and targets of writes (spec envelope row R5).
func notFound() error {
	return fault.New(fault.ServiceResourceNotFound, "Service resource not found")
}

// missing is what a request about an unknown entity answers: rows R5 and R5b.
func (c *call) missing() error {
	_, isID := entity.ParseID(c.seg[1])
	if c.typ.Collection == "users" || c.req.Method() != "GET" || (c.typ.Collection == "roles" && !isID) {
		return notFound()
	}
	return fault.New(fault.EntityNotFound, "Cannot find entity in collection %s: %s", c.typ.Collection, c.seg[1])
}

// stringProperty returns a string property of stored JSON.
func stringProperty(object []byte, name string) (value string, ok bool) {
	// The callback never fails, so neither does the walk.
	_ = eachMember(object, func(m member) error {
		if keys.SameFold(m.key, name) && m.value[0] == '"' {
			value, ok = decodeString(m.value), true
		}
		return nil
	})
	return value, ok
}

// isEmail reports whether s is shaped like an e-mail address: local@domain.tld.
func isEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" {
		return false
	}
	for i := 0; i < len(local); i++ {
		if c := local[i]; !letterOrDigit(c) && strings.IndexByte("._%'+-", c) < 0 {
			return false
		}
	}
	dot := strings.LastIndexByte(domain, '.')
	if dot < 1 || len(domain)-dot < 3 {
		return false
	}
	for i := 0; i < len(domain); i++ {
		c := domain[i]
		if !letterOrDigit(c) && c != '.' && c != '-' || i > dot && c >= '0' && c <= '9' {
			return false
		}
	}
	return true
}

func letterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
