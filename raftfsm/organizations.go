package raftfsm

import (
	"bytes"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

func (m *Machine) setMembership(cmd *command.Command, op *command.SetMembership) (result, error) {
	if _, err := m.registered(command.Organizations(), op.Organization); err != nil {
		return result{}, err
	}
	admin, err := m.registered(command.Admins(), op.Admin)
	if err != nil {
		return result{}, err
	}
	m.key = keys.AppendLink(m.key[:0], m.cfg.Partition, entity.Management, keys.LinkMember, op.Organization, op.Admin)
	_, member, err := m.get(m.key)
	if err != nil {
		return result{}, err
	}
	if member && !op.Member {
		members := 0
		lower, upper := keys.LinkRange(m.cfg.Partition, entity.Management, keys.LinkMember, op.Organization)
		if err := m.batch.Scan(lower, upper, func(_, _ []byte) bool { members++; return members < 2 }); err != nil {
			return result{}, err
		}
		if members < 2 {
			return result{}, refuse(fault.UnableToLeave, "Organizations must have at least one member.")
		}
	}
	admins, err := m.open(entity.Management, command.Admins().Collection, command.Admins().Unique)
	if err != nil {
		return result{}, err
	}
	res := m.newResult(1)
	res.add(admins, admin)
	if res.Created = member != op.Member; !res.Created {
		return res, nil
	}
	if op.Member {
		m.link(keys.LinkMember, op.Organization, op.Admin)
		m.link(keys.LinkMemberOf, op.Admin, op.Organization)
	} else {
		m.unlink(keys.LinkMember, op.Organization, op.Admin)
		m.unlink(keys.LinkMemberOf, op.Admin, op.Organization)
	}
	m.touch(cmd.App, "")
	return res, nil
}

// purgeMargin is how long before its purge is due a deleted application cannot be
// restored any more, in ms: the clocks of those who decide differ.
const purgeMargin = 60_000

func (m *Machine) restoreApplication(cmd *command.Command, op *command.RestoreApplication) (result, error) {
	if err := credentialKind(op.Secret.Kind); err != nil {
		return result{}, err
	}
	m.key = keys.AppendLink(m.key[:0], m.cfg.Partition, entity.Management, keys.LinkDeletedApp, op.Organization, op.Application)
	_, linked, err := m.get(m.key)
	if err != nil {
		return result{}, err
	}
	purge, planned, err := storage.ReadTask(m.batch, op.Application)
	if err != nil {
		return result{}, err
	}
	if !linked || (planned && cmd.Time > purge.NotBefore-purgeMargin) {
		return result{}, refuse(fault.EntityNotFound, "Deleted application ID %s not found", op.Application)
	}
	dead, err := m.open(entity.Management, command.DeletedApplications().Collection, command.DeletedApplications().Unique)
	if err != nil {
		return result{}, err
	}
	e, found, err := m.find(dead, &command.Target{ID: op.Application})
	if err == nil && !found {
		err = fault.New(fault.Corrupt, "deleted application %s is linked and has no record", op.Application)
	}
	if err != nil {
		return result{}, err
	}
	e.JSON = bytes.Clone(e.JSON)
	p, err := m.plan(0, command.Applications(), &command.NewEntity{
		ID: e.ID, Created: e.Created, Modified: max(cmd.Time, e.Modified+1), JSON: e.JSON, Credentials: []command.Credential{op.Secret},
	})
	if f := refusedBy(err); f != nil {
		return result{}, refuse(fault.Conflict, "another application has the name: %s", f.Message)
	}
	if err != nil {
		return result{}, err
	}
	if err := m.remove(dead, &e); err != nil {
		return result{}, err
	}
	var res result
	if err := m.establish(p, &res); err != nil {
		return result{}, err
	}
	m.unlink(keys.LinkDeletedApp, op.Organization, op.Application)
	m.link(keys.LinkApplication, op.Organization, op.Application)
	if planned {
		m.removeTask(&purge)
	}
	m.touch(cmd.App, "")
	return res, nil
}
