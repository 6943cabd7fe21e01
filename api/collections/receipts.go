package collections

import (
	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// aboutReceipts answers what has rules of its own of the collection of receipts: they are
// made by what they tell of, and by nobody else.
func (c *call) aboutReceipts() (*wire.Reply, bool, error) {
	p, rest, err := c.pick()
	method := c.req.Method()
	switch {
	case err != nil:
		return nil, false, err
	case len(rest) == 0 && (method == "POST" || method == "PUT"):
		return nil, true, fault.New(fault.UnsupportedAction, "receipts are neither created nor changed")
	case len(rest) != 1:
		return nil, false, nil
	}
	word, own := cutMatrix(rest[0])
	switch {
	case own != nil || inflect.Collection(word) != "notifications":
		return nil, false, nil
	case method != "GET":
		return nil, true, fault.New(fault.UnsupportedAction, "notifications of receipts are read only")
	}
	reply, err := c.notificationsOfReceipts(p)
	return reply, true, err
}

// chosenOf finds the entities of the call's collection that a path selects. all: every one,
// and ids are empty.
func (c *call) chosenOf(v *storage.View, p *picked) (ids []entity.ID, path string, all bool, err error) {
	if !p.every {
		e, found, err := c.find(v, &p.target)
		if err == nil && !found {
			err = c.missing()
		}
		return []entity.ID{e.ID}, c.path + "/" + e.ID.String(), false, err
	}
	selected := &params{own: p.own}
	if selected.text() == "" && len(selected.all("filter")) == 0 || every(selected.text()) == "" {
		return nil, c.path, true, nil
	}
	ask, err := c.ask(selected, maxLimit)
	if err != nil {
		return nil, "", false, err
	}
	if ask.From, err = c.source(v, c.typ); err != nil {
		return nil, "", false, err
	}
	page, err := c.engine.Run(c.req.Context(), v, &ask)
	if err != nil {
		return nil, "", false, err
	}
	return idsOf(page.Rows), c.path, false, nil
}

// receiptsOf answers GET of the receipts of notifications, or of devices: those that name
// one of them in a property.
func (c *call) receiptsOf(p picked, property string) (reply *wire.Reply, err error) {
	err = c.reading(c.req, func(v *storage.View) error {
		ids, path, all, err := c.chosenOf(v, &p)
		if err != nil {
			return err
		}
		reply, err = c.listWhere(v, "receipts", path+"/receipts", anyOf(property, ids), !all && len(ids) == 0)
		return err
	})
	return reply, err
}

// notificationsOfReceipts answers GET of the notifications of receipts, each once. Of all
// receipts there are, those of the last ones are shown.
func (c *call) notificationsOfReceipts(p picked) (reply *wire.Reply, err error) {
	err = c.reading(c.req, func(v *storage.View) error {
		ids, path, all, err := c.chosenOf(v, &p)
		if err != nil {
			return err
		}
		if all {
			reply, err = c.receiptedNotifications(v, path+"/notifications")
			return err
		}
		var named []entity.ID
		col, _, err := storage.ReadCollectionID(v, c.req.App.Number, c.typ.Collection)
		if err != nil {
			return err
		}
		for _, id := range ids {
			e, found, err := storage.ReadEntityByID(v, c.req.App.Number, col, id)
			if err != nil {
				return err
			}
			if text, ok := stringProperty(e.JSON, "notificationUUID"); ok && found {
				if of, isID := entity.ParseID(text); isID {
					named = append(named, of)
				}
			}
		}
		reply, err = c.listWhere(v, "notifications", path+"/notifications", anyOf("uuid", named), len(named) == 0)
		return err
	})
	return reply, err
}

// Bounds of the search for notifications that have receipts.
const maxReceipted = 1000

// receiptedNotifications lists the notifications that have receipts. A page may have fewer
// of them than it could, and a cursor all the same.
func (c *call) receiptedNotifications(v *storage.View, path string) (*wire.Reply, error) {
	typ, err := c.types.of("notifications")
	if err != nil {
		return nil, err
	}
	of := c.of(typ)
	ask, err := of.ask(&params{rest: c.req}, defaultLimit)
	if err != nil {
		return nil, err
	}
	if ask.From, err = of.source(v, typ); err != nil {
		return nil, err
	}
	ask.Binding = []byte(path)
	wanted := ask.Limit
	found := &query.Page{}
	for looked := 0; looked < maxReceipted && wanted > 0; {
		ask.Limit = wanted
		page, err := c.engine.Run(c.req.Context(), v, &ask)
		if err != nil {
			return nil, err
		}
		looked += len(page.Rows)
		for i := range page.Rows {
			has, err := c.Receipts(c.req.Context(), v, c.req.App.Number, page.Rows[i].Entity.ID, 1)
			if err != nil {
				return nil, err
			}
			if len(has) > 0 {
				found.Rows = append(found.Rows, page.Rows[i])
				wanted--
			}
		}
		found.Cursor, found.Plan = page.Cursor, page.Plan
		if ask.Cursor = page.Cursor; page.Cursor == "" {
			break
		}
	}
	reply := c.req.Entities(path)
	s := of.newShow(v, &ask, reply, func(*schema.Type) string { return of.path })
	if err := s.rows(found.Rows); err != nil {
		return nil, err
	}
	s.finish(found)
	return reply, nil
}

// notificationsOf answers GET of the notifications whose target names what the path names,
// and of a device also those that it has a receipt of. done is false if the path is that of
// no target.
func (c *call) notificationsOf() (reply *wire.Reply, done bool, err error) {
	p, rest, err := c.pick()
	if err != nil || len(rest) != 1 || p.every && len(c.seg) == 2 && len(c.own) == 0 {
		return nil, false, err
	}
	err = c.reading(c.req, func(v *storage.View) error {
		ids, path, all, err := c.chosenOf(v, &p)
		if err != nil {
			return err
		}
		var cond ql.Node
		if all {
			cond = &ql.Compare{
				Property: "pathquery.pathtokens.collection", Op: ql.Equal, Value: entity.Value{Class: entity.StringClass, String: c.typ.Collection},
			}
		} else if cond, err = c.naming(v, c.typ.Collection, ids); err != nil {
			return err
		}
		reply, err = c.listWhere(v, "notifications", path+"/notifications", cond, !all && len(ids) == 0)
		return err
	})
	return reply, true, err
}

// naming is the condition that the target of a notification names one of some entities, or
// that one of them, if they are devices, has a receipt of it; nil of none.
func (c *call) naming(v *storage.View, collection string, ids []entity.ID) (ql.Node, error) {
	cond := anyOf("pathquery.pathtokens.identifier.value", ids)
	if collection != "devices" || len(ids) == 0 {
		return cond, nil
	}
	told, err := c.toldOf(v, ids)
	if err == nil && len(told) > 0 {
		cond = flatten(&ql.Or{List: []ql.Node{cond, anyOf("uuid", told)}})
	}
	return cond, err
}

// flatten makes the terms of an Or that are such themselves its own.
func flatten(n ql.Node) ql.Node {
	or, ok := n.(*ql.Or)
	if !ok {
		return n
	}
	flat := &ql.Or{At: or.At}
	for _, term := range or.List {
		if inner, ok := term.(*ql.Or); ok {
			flat.List = append(flat.List, inner.List...)
		} else {
			flat.List = append(flat.List, term)
		}
	}
	return flat
}

// toldOf returns the notifications that devices have receipts of: those of the last
// thousand.
func (c *call) toldOf(v *storage.View, devices []entity.ID) ([]entity.ID, error) {
	rows, err := c.receiptsBy(c.req.Context(), v, c.req.App.Number, anyOf("deviceid", devices), maxLimit)
	if err != nil {
		return nil, err
	}
	var list []entity.ID
	seen := map[entity.ID]bool{}
	for i := range rows {
		text, _ := stringProperty(rows[i].Entity.JSON, "notificationUUID")
		if id, ok := entity.ParseID(text); ok && !seen[id] {
			seen[id] = true
			list = append(list, id)
		}
	}
	return list, nil
}

// hasToken reports whether a device has a token for one of the notifiers of payloads.
func (c *call) hasToken(device []byte, notifiers []entity.Entity) bool {
	for i := range notifiers {
		name, _ := stringProperty(notifiers[i].JSON, "name")
		id := notifiers[i].ID.String()
		has := false
		_ = eachMember(device, func(m member) error {
			of, ok := notifierOfToken(m.key)
			if ok && (of == id || name != "" && of == keys.Fold(name)) && c.pushing.Push.HasToken(notifiers[i].JSON, m.value) {
				has = true
			}
			return nil
		})
		if has {
			return true
		}
	}
	return false
}
