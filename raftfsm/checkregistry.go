package raftfsm

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// credential checks that a credential has an owner in some collection.
func (c *checker) credential(k, v []byte) error {
	_, owner, kind, ok := keys.DecodeCredential(k)
	if !ok {
		c.problem(k, "damaged credential key")
		return nil
	}
	if _, err := entity.DecodeCredential(v); err != nil || credentialKind(kind) != nil {
		c.problem(k, "damaged credential record")
		return nil
	}
	return c.owner(k, owner)
}

// grant checks that a permission has an owner in some collection.
func (c *checker) grant(k, v []byte) error {
	owner, _, ok := keys.DecodeGrant(k)
	if !ok || len(v) != 0 {
		c.problem(k, "damaged permission")
		return nil
	}
	return c.owner(k, owner)
}

// owner reports a key of an entity that is in no collection of the application.
func (c *checker) owner(k []byte, owner entity.ID) error {
	c.key = keys.AppendName(c.key[:0], c.view.Partition(), c.app, 0, "")
	raw, ok, err := c.get(c.key)
	if err != nil {
		return err
	}
	next, _ := binary.Uvarint(raw)
	for n := entity.CollectionID(1); ok && uint64(n) < next; n++ {
		c.key = keys.AppendID(c.key[:0], c.view.Partition(), c.app, n, owner)
		if _, found, err := c.get(c.key); err != nil || found {
			return err
		}
	}
	c.problem(k, "its owner %s does not exist", owner)
	return nil
}

// record returns an entity of the registry.
func (c *checker) record(rules command.Rules, id entity.ID) (entity.Entity, bool, error) {
	collection, ok, err := storage.ReadCollection(c.view, entity.Management, rules.Collection)
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	return storage.ReadEntityByID(c.view, entity.Management, collection.ID, id)
}

// exists reports a link's end that is no record of the registry.
func (c *checker) exists(k []byte, rules command.Rules, id entity.ID) (entity.Entity, error) {
	e, ok, err := c.record(rules, id)
	if err == nil && !ok {
		c.problem(k, "links %s %s, which does not exist", rules.Type, id)
	}
	return e, err
}

func (c *checker) link(k []byte) error {
	relation, from, to, ok := keys.DecodeLink(k)
	if !ok || c.app != entity.Management {
		c.problem(k, "damaged link")
		return nil
	}
	switch relation {
	case keys.LinkMember, keys.LinkMemberOf:
		organization, admin, back := from, to, keys.LinkMemberOf
		if relation == keys.LinkMemberOf {
			organization, admin, back = to, from, keys.LinkMember
		}
		if _, err := c.exists(k, command.Organizations(), organization); err != nil {
			return err
		}
		if _, err := c.exists(k, command.Admins(), admin); err != nil {
			return err
		}
		c.key = keys.AppendLink(c.key[:0], c.view.Partition(), entity.Management, back, to, from)
		_, ok, err := c.get(c.key)
		if err == nil && !ok {
			c.problem(k, "has no link back from %s to %s", to, from)
		}
		return err
	case keys.LinkApplication, keys.LinkDeletedApp:
		rules := command.Applications()
		if relation == keys.LinkDeletedApp {
			rules = command.DeletedApplications()
		}
		if _, err := c.exists(k, command.Organizations(), from); err != nil {
			return err
		}
		e, err := c.exists(k, rules, to)
		if err != nil || e.ID.IsZero() {
			return err
		}
		return c.application(k, from, &e)
	}
	c.problem(k, "unknown relation %d", relation)
	return nil
}

// application checks that the record of an application agrees with the link to
// it and with its route.
func (c *checker) application(k []byte, organization entity.ID, e *entity.Entity) error {
	number, p, err := applicationOf(e)
	if err != nil {
		c.problem(k, "%v", err)
		return nil
	}
	if text, _ := textOf(e.JSON, "organization"); text != organization.String() {
		c.problem(k, "application %s says it belongs to %s", e.ID, text)
	}
	at, id, ok, err := storage.ReadRoute(c.view, number)
	if err == nil && (!ok || at != p || id != e.ID) {
		c.problem(keys.AppendRoute(nil, number), "does not lead to application %s in partition %d", e.ID, p)
	}
	return err
}

// applicationOf returns number and partition from an application's record.
func applicationOf(e *entity.Entity) (entity.AppID, entity.Partition, error) {
	var number, p uint64
	o := index.NewObject(e.JSON)
	for m, ok := o.Next(); ok; m, ok = o.Next() {
		var err error
		switch string(m.Key) {
		case `"number"`:
			number, err = strconv.ParseUint(string(m.Value), 10, 32)
		case `"partition"`:
			p, err = strconv.ParseUint(string(m.Value), 10, 32)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("record of application %s: %s: %w", e.ID, m.Key, err)
		}
	}
	if number == 0 || p == 0 {
		return 0, 0, fmt.Errorf("record of application %s names no number or partition", e.ID)
	}
	return entity.AppID(number), entity.Partition(p), nil
}

// route checks that a route leads to an application, live or deleted, that
// says the same.
func (c *checker) route(k, v []byte) error {
	p, id, ok := keys.DecodeRouteValue(v)
	if !ok || len(k) != 9+4 {
		c.problem(k, "damaged route")
		return nil
	}
	number := entity.AppID(binary.BigEndian.Uint32(k[9:]))
	for relation, rules := range map[byte]command.Rules{
		keys.LinkApplication: command.Applications(), keys.LinkDeletedApp: command.DeletedApplications(),
	} {
		e, ok, err := c.record(rules, id)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if n, at, err := applicationOf(&e); err != nil || n != number || at != p {
			c.problem(k, "application %s says it is number %d in partition %d", id, n, at)
		}
		text, _ := textOf(e.JSON, "organization")
		organization, _ := entity.ParseID(text)
		c.key = keys.AppendLink(c.key[:0], c.view.Partition(), entity.Management, relation, organization, id)
		_, linked, err := c.get(c.key)
		if err == nil && !linked {
			c.problem(k, "no organization links application %s", id)
		}
		return err
	}
	c.problem(k, "leads to application %s, which does not exist", id)
	return nil
}
