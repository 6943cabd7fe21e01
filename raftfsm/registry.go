package raftfsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// planned is a new entity of the registry and where it goes.
type planned struct {
	collection *collection
	draft      *draft
}

// plan checks an entity of the registry and keeps it as the i-th draft.
func (m *Machine) plan(i int, rules command.Rules, item *command.NewEntity) (planned, error) {
	c, err := m.open(entity.Management, rules.Collection, rules.Unique)
	if err != nil {
		return planned{}, err
	}
	p := planned{collection: c, draft: m.draftAt(i)}
	return p, m.check(p.draft, c, &rules, item, c.next)
}

// establish writes what was planned.
func (m *Machine) establish(p planned, res *result) error {
	if err := m.enroll(p.collection); err != nil {
		return err
	}
	if err := m.write(p.draft, p.collection); err != nil {
		return err
	}
	res.add(p.collection, p.draft.entity)
	return nil
}

func (m *Machine) link(relation byte, from, to entity.ID) {
	m.key = keys.AppendLink(m.key[:0], m.cfg.Partition, entity.Management, relation, from, to)
	m.batch.Set(m.key, nil)
}

func (m *Machine) unlink(relation byte, from, to entity.ID) {
	m.key = keys.AppendLink(m.key[:0], m.cfg.Partition, entity.Management, relation, from, to)
	m.batch.Delete(m.key)
}

func (m *Machine) createOrganization(cmd *command.Command, op *command.CreateOrganization) (result, error) {
	m.draftAt(2) // so that drafts stay where they are while they are planned
	organization, err := m.plan(0, command.Organizations(), &op.Organization)
	if err != nil {
		return result{}, err
	}
	var owner planned
	var existing entity.Entity
	if op.Owner != nil {
		owner, err = m.plan(1, command.Admins(), op.Owner)
	} else {
		existing, err = m.registered(command.Admins(), op.OwnerID)
	}
	if err != nil {
		return result{}, err
	}
	var application planned
	var number entity.AppID
	if op.Application != nil {
		application, number, err = m.planApplication(2, cmd, op.Organization.ID, op.Name, op.Application)
		if err != nil {
			return result{}, err
		}
	}

	var res result
	if err := m.establish(organization, &res); err != nil {
		return result{}, err
	}
	ownerID := op.OwnerID
	if op.Owner != nil {
		ownerID = op.Owner.ID
		if err := m.establish(owner, &res); err != nil {
			return result{}, err
		}
	} else {
		admins, err := m.open(entity.Management, command.Admins().Collection, command.Admins().Unique)
		if err != nil {
			return result{}, err
		}
		res.add(admins, existing)
	}
	m.link(keys.LinkMember, op.Organization.ID, ownerID)
	m.link(keys.LinkMemberOf, ownerID, op.Organization.ID)
	if op.Application != nil {
		if err := m.establishApplication(application, number, op.Organization.ID, op.Application.Partition, &res); err != nil {
			return result{}, err
		}
	}
	m.touch(cmd.App, "")
	return res, nil
}

// registered returns an entity of the registry, which must exist.
func (m *Machine) registered(rules command.Rules, id entity.ID) (entity.Entity, error) {
	c, err := m.open(entity.Management, rules.Collection, rules.Unique)
	if err != nil {
		return entity.Entity{}, err
	}
	if id.IsZero() {
		return entity.Entity{}, refuse(fault.ServiceResourceNotFound, "no such %s", rules.Type)
	}
	e, ok, err := m.find(c, &command.Target{ID: id})
	if err == nil && !ok {
		err = refuse(fault.ServiceResourceNotFound, "no such %s: %s", rules.Type, id)
	}
	e.JSON = bytes.Clone(e.JSON)
	return e, err
}

func (m *Machine) createApplication(cmd *command.Command, op *command.CreateApplication) (result, error) {
	organization, err := m.registered(command.Organizations(), op.Organization)
	if err != nil {
		return result{}, err
	}
	name, ok := textOf(organization.JSON, "name")
	if !ok {
		return result{}, fault.New(fault.Corrupt, "organization %s has no name", op.Organization)
	}
	p, number, err := m.planApplication(0, cmd, op.Organization, name, &op.Application)
	if err != nil {
		return result{}, err
	}
	var res result
	if err := m.establishApplication(p, number, op.Organization, op.Application.Partition, &res); err != nil {
		return result{}, err
	}
	m.touch(cmd.App, "")
	return res, nil
}

// textOf returns a property of an object that is a string.
func textOf(json []byte, name string) (string, bool) {
	o := index.NewObject(json)
	for p, ok := o.Next(); ok; p, ok = o.Next() {
		if p.Is(name) {
			return p.Text()
		}
	}
	return "", false
}

// planApplication checks an application's record, and says which number it gets.
func (m *Machine) planApplication(i int, cmd *command.Command, organization entity.ID, organizationName string, a *command.NewApplication) (planned, entity.AppID, error) {
	number, err := m.nextApp()
	if err != nil {
		return planned{}, 0, err
	}
	if a.Partition == entity.System {
		return planned{}, 0, refuse(fault.IllegalArgument, "the system partition holds no applications")
	}
	name := keys.Fold(organizationName) + "/" + keys.Fold(a.Name)
	item := command.NewEntity{
		ID: a.ID, Created: cmd.Time, Modified: cmd.Time,
		JSON: applicationJSON(name, organization, number, a.Partition, a.Open),
	}
	if a.Secret != "" {
		item.Credentials = []command.Credential{{Kind: entity.CredentialSecret, Value: []byte(a.Secret)}}
	}
	p, err := m.plan(i, command.Applications(), &item)
	if f := refusedBy(err); f != nil && f.Code == fault.Duplicate {
		err = refuse(fault.ApplicationExists, "Application %s already exists", excerpt(name))
	}
	return p, number, err
}

func (m *Machine) establishApplication(p planned, number entity.AppID, organization entity.ID, at entity.Partition, res *result) error {
	if err := m.establish(p, res); err != nil {
		return err
	}
	id := p.draft.entity.ID
	m.key = keys.AppendNextApp(m.key[:0])
	m.value = binary.AppendUvarint(m.value[:0], uint64(number)+1)
	m.batch.Set(m.key, m.value)
	m.key = keys.AppendRoute(m.key[:0], number)
	m.value = keys.AppendRouteValue(m.value[:0], at, id)
	m.batch.Set(m.key, m.value)
	m.link(keys.LinkApplication, organization, id)
	return nil
}

// nextApp reads which number the next application gets.
func (m *Machine) nextApp() (entity.AppID, error) {
	m.key = keys.AppendNextApp(m.key[:0])
	raw, ok, err := m.get(m.key)
	if err != nil {
		return 0, err
	}
	if !ok {
		return entity.FirstApp, nil
	}
	v, n := binary.Uvarint(raw)
	if n != len(raw) || v < uint64(entity.FirstApp) || v > 1<<32-1 {
		return 0, fault.New(fault.Corrupt, "counter of applications")
	}
	return entity.AppID(v), nil
}

// applicationJSON renders the record of command.NewApplication.
func applicationJSON(name string, organization entity.ID, number entity.AppID, p entity.Partition, open bool) []byte {
	b := append([]byte(nil), `{"name":`...)
	b = appendQuoted(b, name)
	b = append(b, `,"organization":"`...)
	b = organization.AppendText(b)
	b = append(b, `","number":`...)
	b = strconv.AppendUint(b, uint64(number), 10)
	b = append(b, `,"partition":`...)
	b = strconv.AppendUint(b, uint64(p), 10)
	b = append(b, `,"open":`...)
	b = strconv.AppendBool(b, open)
	return append(b, '}')
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	s = strings.ToValidUTF8(s, "\ufffd")
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = fmt.Appendf(dst, `\u%04x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

func (m *Machine) deleteApplication(cmd *command.Command, op *command.DeleteApplication) (result, error) {
	m.key = keys.AppendLink(m.key[:0], m.cfg.Partition, entity.Management, keys.LinkApplication, op.Organization, op.Application)
	_, linked, err := m.get(m.key)
	if err != nil {
		return result{}, err
	}
	if !linked {
		return result{}, refuse(fault.EntityNotFound, "no such application in the organization: %s", op.Application)
	}
	live, err := m.open(entity.Management, command.Applications().Collection, command.Applications().Unique)
	if err != nil {
		return result{}, err
	}
	e, found, err := m.find(live, &command.Target{ID: op.Application})
	if err == nil && !found {
		err = fault.New(fault.Corrupt, "application %s is linked and has no record", op.Application)
	}
	if err != nil {
		return result{}, err
	}
	e.JSON = bytes.Clone(e.JSON)
	p, err := m.plan(0, command.DeletedApplications(), &command.NewEntity{
		ID: e.ID, Created: e.Created, Modified: max(cmd.Time, e.Modified+1), JSON: e.JSON,
	})
	if f := refusedBy(err); f != nil {
		return result{}, refuse(fault.Conflict, "a deleted application has this name: %s", f.Message)
	}
	if err != nil {
		return result{}, err
	}
	var replaced *entity.Task
	var purge entity.Task
	if op.PurgeAt != 0 {
		if replaced, purge, err = m.planPurge(cmd, op, &e); err != nil {
			return result{}, err
		}
	}
	if err := m.remove(live, &e); err != nil {
		return result{}, err
	}
	var res result
	if err := m.establish(p, &res); err != nil {
		return result{}, err
	}
	m.unlink(keys.LinkApplication, op.Organization, op.Application)
	m.link(keys.LinkDeletedApp, op.Organization, op.Application)
	if op.PurgeAt != 0 {
		m.recordTask(replaced, &purge)
	}
	m.touch(cmd.App, "")
	return res, nil
}
