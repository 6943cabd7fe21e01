package raftfsm

import (
	"bytes"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// mayHold reports whether entities of a collection have permissions.
func mayHold(collection string) bool {
	return collection == "users" || collection == "groups" || collection == "roles"
}

func (m *Machine) setPermissions(cmd *command.Command, op *command.SetPermissions) (result, error) {
	if !mayHold(op.Collection) {
		return result{}, refuse(fault.IllegalArgument, "collection %s has no permissions", excerpt(op.Collection))
	}
	for _, text := range op.Add {
		if text == "" || len(text) > command.MaxPermission {
			return result{}, refuse(fault.IllegalArgument, "a permission cannot have %d bytes", len(text))
		}
	}
	c, err := m.open(cmd.App, op.Collection, nil)
	if err != nil {
		return result{}, err
	}
	_, found, err := m.find(c, &command.Target{ID: op.Owner})
	if err == nil && !found {
		err = refuse(fault.ServiceResourceNotFound, "no such entity in collection %s", op.Collection)
	}
	if err != nil {
		return result{}, err
	}
	held, err := m.grantsOf(cmd.App, op.Owner)
	if err != nil {
		return result{}, err
	}
	before := len(held)
	for _, text := range op.Remove {
		delete(held, text)
	}
	for _, text := range op.Add {
		held[text] = struct{}{}
	}
	if len(held) > command.MaxPermissions && len(held) > before {
		return result{}, refuse(fault.IllegalArgument, "more than the %d permissions allowed", command.MaxPermissions)
	}
	for _, text := range op.Remove {
		if _, stays := held[text]; !stays {
			m.batch.Delete(keys.AppendGrant(nil, m.cfg.Partition, cmd.App, op.Owner, text))
		}
	}
	m.grant(cmd.App, op.Owner, op.Add)
	return result{}, nil
}

func (m *Machine) grant(app entity.AppID, owner entity.ID, texts []string) {
	for _, text := range texts {
		m.key = keys.AppendGrant(m.key[:0], m.cfg.Partition, app, owner, text)
		m.batch.Set(m.key, nil)
	}
	m.regranted = append(m.regranted, app)
}

// grantsOf returns the permissions of an owner as the batch leaves them.
func (m *Machine) grantsOf(app entity.AppID, owner entity.ID) (map[string]struct{}, error) {
	held := make(map[string]struct{})
	lower, upper := keys.GrantRange(m.cfg.Partition, app, owner)
	err := m.batch.Scan(lower, upper, func(key, _ []byte) bool {
		_, text, _ := keys.DecodeGrant(key)
		held[text] = struct{}{}
		return true
	})
	return held, err
}

// removeGrants removes all permissions of an entity that is deleted.
func (m *Machine) removeGrants(c *collection, owner entity.ID) error {
	if !mayHold(c.name) {
		return nil
	}
	var gone [][]byte
	lower, upper := keys.GrantRange(c.Partition, c.App, owner)
	err := m.batch.Scan(lower, upper, func(key, _ []byte) bool {
		gone = append(gone, bytes.Clone(key))
		return true
	})
	for _, key := range gone {
		m.batch.Delete(key)
	}
	m.regranted = append(m.regranted, c.App)
	return err
}

func (m *Machine) seedRoles(cmd *command.Command, op *command.SeedRoles) (result, error) {
	c, err := m.open(cmd.App, op.Rules.Collection, op.Rules.Unique)
	if err != nil || (c.founded && !op.Reset) {
		return result{}, err
	}
	if !mayHold(op.Rules.Collection) {
		return result{}, refuse(fault.IllegalArgument, "collection %s has no permissions", excerpt(op.Rules.Collection))
	}
	create := command.CreateEntities{Rules: op.Rules, Partial: true}
	for i := range op.Roles {
		if len(op.Roles[i].Permissions) > command.MaxPermissions {
			return result{}, refuse(fault.IllegalArgument, "more than the %d permissions allowed", command.MaxPermissions)
		}
		create.Items = append(create.Items, op.Roles[i].Entity)
	}
	res, err := m.createEntities(cmd, &create)
	if err != nil {
		return result{}, err
	}
	// What it could not create exists already.
	res.Errors = nil
	if c, err = m.open(cmd.App, op.Rules.Collection, op.Rules.Unique); err != nil {
		return result{}, err
	}
	for i := range op.Roles {
		role := &op.Roles[i]
		name, ok := textOf(role.Entity.JSON, "name")
		if !ok {
			continue
		}
		e, found, err := m.find(c, &command.Target{Aliases: []command.Alias{{Property: "name", Value: name}}})
		if err != nil {
			return result{}, err
		}
		if found {
			m.grant(cmd.App, e.ID, role.Permissions)
		}
	}
	return res, nil
}

func (m *Machine) touchToken(cmd *command.Command, op *command.TouchToken) (result, error) {
	t, ok, err := storage.ReadToken(m.batch, cmd.App, op.Hash)
	if err != nil || !ok {
		return result{}, err
	}
	next := t
	next.Accessed, next.Inactive = max(t.Accessed, op.Accessed), max(t.Inactive, op.Inactive)
	if next == t {
		return result{}, nil
	}
	m.key = keys.AppendToken(m.key[:0], m.cfg.Partition, cmd.App, op.Hash)
	m.value = entity.AppendToken(m.value[:0], &next)
	m.batch.Set(m.key, m.value)
	return result{}, nil
}
