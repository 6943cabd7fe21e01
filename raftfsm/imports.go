package raftfsm

import (
	"bytes"
	"slices"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func (m *Machine) importEntities(cmd *command.Command, op *command.ImportEntities) (result, error) {
	defer m.releaseDrafts()
	if len(op.Items) > command.MaxMany {
		return result{}, refuse(fault.IllegalArgument, "%d entities, more than the %d allowed", len(op.Items), command.MaxMany)
	}
	c, err := m.open(cmd.App, op.Rules.Collection, op.Rules.Unique)
	if err != nil {
		return result{}, err
	}
	var res result
	existing := uint64(0)
	for i := range op.Items {
		c.retract()
		written, err := m.importEntity(c, op, &op.Items[i])
		if f := refusedBy(err); f != nil {
			res.Errors = append(res.Errors, command.ItemError{Index: i, Code: f.Code, Message: f.Message})
			continue
		}
		switch {
		case err != nil:
			return result{}, err
		case written:
			res.Handled++
		default:
			existing++
		}
	}
	c.retract()
	if res.Handled > 0 {
		m.touch(cmd.App, c.name)
	}
	lines := func(i int) uint64 { return op.Items[i].Line }
	return res, m.noteJob(cmd, &op.Note, res, existing, lines, func(f *entity.JobFile) { f.Imported += uint64(res.Handled) })
}

// importEntity adds an item or puts it in the place of the entity of its id, and reports
// whether it did either.
func (m *Machine) importEntity(c *collection, op *command.ImportEntities, item *command.ImportItem) (written bool, err error) {
	if err := m.checkHeld(c, item); err != nil {
		return false, err
	}
	if c.founded {
		old, found, err := m.findID(c, item.ID)
		if err != nil {
			return false, err
		}
		if found {
			return m.reimport(c, op, item, &old)
		}
	}
	if err := m.elsewhere(c, &op.Rules, item.ID); err != nil {
		return false, err
	}
	d := m.draftAt(0)
	err = m.check(d, c, &op.Rules, &item.NewEntity, c.next)
	if f := refusedBy(err); f != nil && f.Code == fault.Duplicate && op.Adopt {
		if gave, failed := m.giveWay(c, &op.Rules, item); failed != nil || gave {
			if failed != nil {
				return false, failed
			}
			err = m.check(d, c, &op.Rules, &item.NewEntity, c.next)
		}
	}
	if err == nil {
		err = m.enroll(c)
	}
	if err == nil {
		err = m.write(d, c)
	}
	if err != nil {
		return false, err
	}
	if len(item.Permissions) > 0 {
		m.grant(c.App, item.ID, item.Permissions)
	}
	return true, nil
}

// checkHeld refuses an item that brings what its kind cannot hold.
func (m *Machine) checkHeld(c *collection, item *command.ImportItem) error {
	if item.ID.IsZero() {
		return refuse(fault.IllegalArgument, "an entity needs an id")
	}
	if len(item.Permissions) == 0 {
		return nil
	}
	if !mayHold(c.name) {
		return refuse(fault.IllegalArgument, "collection %s has no permissions", excerpt(c.name))
	}
	if len(item.Permissions) > command.MaxPermissions {
		return refuse(fault.IllegalArgument, "more than the %d permissions allowed", command.MaxPermissions)
	}
	for _, text := range item.Permissions {
		if text == "" || len(text) > command.MaxPermission {
			return refuse(fault.IllegalArgument, "a permission cannot have %d bytes", len(text))
		}
	}
	return nil
}

// reimport puts an item in the place of the entity of its id, if that is wanted and
// changes anything.
func (m *Machine) reimport(c *collection, op *command.ImportEntities, item *command.ImportItem, old *entity.Entity) (bool, error) {
	if !op.Replace {
		return false, nil
	}
	old.JSON = bytes.Clone(old.JSON) // it would live until the next find only
	brought, err := m.describedAs(item.JSON, old)
	if err == nil {
		err = tooLarge(brought)
	}
	if err != nil {
		return false, err
	}
	held, err := m.grantsOf(c.App, item.ID)
	if err != nil {
		return false, err
	}
	modified := max(item.Created, item.Modified)
	regrants := len(held) != len(item.Permissions) || slices.ContainsFunc(item.Permissions, func(text string) bool { _, has := held[text]; return !has })
	if bytes.Equal(old.JSON, brought) && old.Created == item.Created && old.Modified == modified && !regrants && len(item.Credentials) == 0 {
		return false, nil
	}
	d := m.draftAt(0)
	d.entity = *old
	d.entity.JSON, d.entity.Created, d.entity.Modified, d.entity.Rev = brought, item.Created, modified, c.next
	if err := m.rebuild(d, c, old); err != nil {
		return false, err
	}
	if err := m.free(&op.Rules, &d.entries, &m.before, old.ID); err != nil {
		return false, err
	}
	for _, cr := range item.Credentials {
		if err := credentialKind(cr.Kind); err != nil {
			return false, err
		}
	}
	if err := m.enroll(c); err != nil {
		return false, err
	}
	c.next++
	m.names.change(c)
	m.replace(c, old, d)
	for i := range item.Credentials {
		m.putCredential(c.App, old.ID, item.Credentials[i].Kind, &entity.Credential{Changed: modified, Value: item.Credentials[i].Value})
	}
	if regrants {
		if err := m.removeGrants(c, old.ID); err != nil {
			return false, err
		}
		m.grant(c.App, old.ID, item.Permissions)
	}
	return true, nil
}

// giveWay removes the entity that has the unique value of an item, if nothing is
// connected to it.
func (m *Machine) giveWay(c *collection, rules *command.Rules, item *command.ImportItem) (bool, error) {
	if len(rules.Unique) != 1 {
		return false, nil
	}
	value, ok := textOf(item.JSON, rules.Unique[0])
	if !ok {
		return false, nil
	}
	e, found, err := m.find(c, &command.Target{Aliases: []command.Alias{{Property: rules.Unique[0], Value: value}}})
	if err != nil || !found || e.HasIn || e.HasOut {
		return false, err
	}
	e.JSON = bytes.Clone(e.JSON)
	if err := m.remove(c, &e); err != nil {
		return false, err
	}
	return true, m.removeHeld(c, e.ID)
}

func (m *Machine) importEdges(cmd *command.Command, op *command.ImportEdges) (result, error) {
	if len(op.Edges) > command.MaxMany {
		return result{}, refuse(fault.IllegalArgument, "%d edges, more than the %d allowed", len(op.Edges), command.MaxMany)
	}
	var res result
	for i := range op.Edges {
		e := &op.Edges[i]
		_, err := m.join(cmd, &command.Connect{Source: e.Source, Verb: e.Verb, Target: e.Target, Keep: true}, false)
		if f := refusedBy(err); f != nil {
			res.Errors = append(res.Errors, command.ItemError{Index: i, Code: f.Code, Message: f.Message})
			continue
		}
		if err != nil {
			return result{}, err
		}
		res.Handled++
	}
	lines := func(i int) uint64 { return op.Edges[i].Line }
	return res, m.noteJob(cmd, &op.Note, res, 0, lines, func(f *entity.JobFile) { f.Linked += uint64(res.Handled) })
}
