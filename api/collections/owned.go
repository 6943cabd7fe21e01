package collections

import (
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// maxOwnedReads bounds the pieces of a walk to the devices of owners.
const maxOwnedReads = 20

// belowOwners answers GET of what tells of devices that a path finds by their owners:
// /users/{user}/devices/{device}/receipts, likewise notifications and notifiers. done is
// false if the path leads to no devices.
func (c *call) belowOwners(word string) (reply *wire.Reply, done bool, err error) {
	err = c.reading(c.req, func(v *storage.View) error {
		target, path, is, err := c.audience(v)
		if err != nil || !is || target[len(target)-1].Collection != "devices" {
			return err
		}
		done = true
		if c.req.Method() != "GET" {
			return fault.New(fault.UnsupportedAction, "%s of devices are read only", word)
		}
		ids, err := c.owned(v, target)
		if err == nil {
			err = c.mayAsk(v, target[len(target)-1].Identifier != nil, ids, word)
		}
		if err != nil {
			return err
		}
		reply, err = c.told(v, word, path+"/"+word, ids)
		return err
	})
	return reply, done || err != nil, err
}

// owned returns the devices of a target: of many the first thousand that are found.
func (c *call) owned(v *storage.View, target []pathToken) (ids []entity.ID, err error) {
	if named := target[len(target)-1].Identifier; named != nil {
		id, _ := entity.ParseID(named.Value)
		return []entity.ID{id}, nil
	}
	var position []byte
	for range maxOwnedReads {
		devices, next, err := c.Devices(c.req.Context(), v, c.req.App.Number, appendPathQuery(nil, target), nil, false, position, maxLimit-len(ids))
		if err != nil {
			return nil, err
		}
		for i := range devices {
			ids = append(ids, devices[i].ID)
		}
		if position = next; next == nil || len(ids) == maxLimit {
			break
		}
	}
	return ids, nil
}

// mayAsk checks the permission to ask the same of the devices themselves: who may read
// what belongs to a user may not for that reason read receipts.
func (c *call) mayAsk(v *storage.View, named bool, ids []entity.ID, word string) error {
	if c.req.Access.Everything() {
		return nil
	}
	if !named {
		if c.req.Access.May(auth.Get, []string{"devices", selected, word}) {
			return nil
		}
		return c.req.Access.Refusal()
	}
	typ, err := c.types.of("devices")
	if err != nil {
		return err
	}
	e, found, err := c.of(typ).find(v, &command.Target{ID: ids[0]})
	if err != nil {
		return err
	}
	if !found {
		return notFound()
	}
	places := append(auth.Literal([]string{"devices"}), c.placeOf(typ, &e))
	return c.mayAlso(auth.Get, append(places, auth.Literal([]string{word})...)...)
}

// told answers with what tells of devices.
func (c *call) told(v *storage.View, word, path string, ids []entity.ID) (*wire.Reply, error) {
	switch word {
	case "receipts":
		return c.listWhere(v, word, path, anyOf("deviceid", ids), len(ids) == 0)
	case "notifications":
		cond, err := c.naming(v, "devices", ids)
		if err != nil {
			return nil, err
		}
		return c.listWhere(v, word, path, cond, len(ids) == 0)
	}
	if len(ids) != 1 {
		return nil, fault.New(fault.UnsupportedAction, "notifiers are asked for of one device")
	}
	registered, err := c.registeredFor(v, &command.Target{ID: ids[0]})
	if err != nil {
		return nil, err
	}
	return c.listWhere(v, word, path, anyOf("uuid", registered), len(registered) == 0)
}
