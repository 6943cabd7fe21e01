package collections

import (
	"strings"

	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// aboutNotifications answers what has rules of its own of the collection of notifications.
func (c *call) aboutNotifications() (*wire.Reply, bool, error) {
	p, rest, err := c.pick()
	if err != nil {
		return nil, false, err
	}
	if len(rest) == 0 {
		return c.putNotifications(&p)
	}
	word, own := cutMatrix(rest[0])
	if len(rest) > 1 || own != nil {
		return nil, false, nil
	}
	word = inflect.Collection(word)
	switch {
	case word != "receipts" && word != "queues":
		return nil, false, nil
	case c.req.Method() != "GET":
		return nil, true, fault.New(fault.UnsupportedAction, "receipts and queues of notifications are read only")
	}
	var reply *wire.Reply
	if word == "queues" {
		reply, err = c.queueOf(p)
	} else {
		reply, err = c.receiptsOf(p, "notificationuuid")
	}
	return reply, true, err
}

// putNotifications answers what creates, changes and deletes notifications.
func (c *call) putNotifications(p *picked) (reply *wire.Reply, done bool, err error) {
	method := c.req.Method()
	whole := &params{own: p.own, every: len(c.seg) > 1, rest: c.req}
	switch {
	case method == "GET", !p.every && strings.HasPrefix(c.seg[1], "_"):
		return nil, false, nil
	case !p.every && method == "DELETE":
		reply, err = c.deleteNotification(p.target)
	case !p.every:
		reply, err = c.putNotification(p.target)
	case method == "POST", method == "PUT" && !whole.selects():
		reply, err = c.notify(nil, c.path)
	case method == "PUT":
		reply, err = c.changeNotifications(whole)
	case whole.selects():
		reply, err = c.deleteNotifications(whole)
	default:
		return nil, false, nil
	}
	return reply, true, err
}

// putNotification answers POST and PUT of one notification. One that nobody knows is
// created, and addresses nobody.
func (c *call) putNotification(t command.Target) (*wire.Reply, error) {
	if t.ID.IsZero() {
		return nil, notFound()
	}
	text, err := c.object()
	if err != nil {
		return nil, err
	}
	if text == nil {
		text = []byte("{}")
	}
	_, found, err := c.lookup(&t)
	switch {
	case err != nil:
		return nil, err
	case found && c.req.Method() == "POST":
		return c.touch(t)
	case found:
		return c.changeNotification(t.ID, text)
	}
	if _, has := lastMember(text, "payloads"); !has {
		return nil, c.ofAnotherType(t.ID, notFound())
	}
	var n newNotification
	err = c.upToDate(c.req, func(v *storage.View) error {
		if _, _, other, err := storage.Locate(v, c.req.App.Number, t.ID); err != nil || other {
			return c.ofAnotherType(t.ID, fault.New(fault.Conflict, "the notification was created meanwhile"))
		}
		n, err = c.newNotification(v, text, t.ID, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.store([]newNotification{n}, c.path)
}

// notificationAt reads a notification and what its state is derived from.
func (c *call) notificationAt(v *storage.View, id entity.ID) (e entity.Entity, f entity.NotificationFacts, err error) {
	e, found, err := c.find(v, &command.Target{ID: id})
	if err == nil && !found {
		err = notFound()
	}
	if err == nil {
		f, err = entity.ReadNotificationFacts(e.JSON)
	}
	return e, f, err
}

// revision is a change of a notification, worked out from what is stored of it.
type revision struct {
	patch []byte
	then  []command.Op
}

// changeNotification answers PUT of a notification that is there.
func (c *call) changeNotification(id entity.ID, text []byte) (*wire.Reply, error) {
	e, err := c.revised(id, text, 0)
	if err != nil {
		return nil, err
	}
	return c.reply([]entity.Entity{e})
}

// revised changes a notification as its rules allow, and returns what it is then. What it
// was decided by has not changed when it happens.
func (c *call) revised(id entity.ID, text []byte, step int) (entity.Entity, error) {
	for try := range maxRevisions {
		var e entity.Entity
		var r revision
		err := c.upToDate(c.req, func(v *storage.View) (err error) {
			var f entity.NotificationFacts
			if e, f, err = c.notificationAt(v, id); err == nil {
				r, err = c.revision(v, &e, f, text)
			}
			return err
		})
		if err != nil {
			return e, err
		}
		op := command.ReviseEntity{Rules: c.typ.Rules(), ID: id, Rev: e.Rev, Patch: r.patch}
		number := step
		if try > 0 {
			number = firstOfMany + 1<<22 + step*maxRevisions + try
		}
		out, err := c.proposeStep(c.req, c.req.App.Number, together(op, r.then), number)
		if fault.Is(err, fault.Conflict) {
			continue
		}
		if err != nil || len(out.Entities) == 0 {
			return e, err
		}
		return out.Entities[0], nil
	}
	return entity.Entity{}, fault.New(fault.Conflict, "the notification is being changed by others")
}

// changeNotifications answers PUT of the notifications that a query selects: all of them
// may be changed so, or none is.
func (c *call) changeNotifications(p *params) (*wire.Reply, error) {
	text, err := c.object()
	if err != nil {
		return nil, err
	}
	if text == nil {
		return nil, fault.New(fault.JSONParse, "a body is required")
	}
	ids, err := c.selectedNotifications(p, maxLimit, func(v *storage.View, e *entity.Entity, f entity.NotificationFacts) error {
		_, err := c.revision(v, e, f, text)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, notFound()
	}
	var changed []entity.Entity
	for i, id := range ids {
		e, err := c.revised(id, text, firstOfMany+i)
		if fault.Is(err, fault.ServiceResourceNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		changed = append(changed, e)
	}
	return c.reply(changed)
}

// selectedNotifications finds the notifications that a query selects, and checks each.
func (c *call) selectedNotifications(p *params, limit int, check func(*storage.View, *entity.Entity, entity.NotificationFacts) error) ([]entity.ID, error) {
	ask, err := c.ask(p, limit)
	if err != nil {
		return nil, err
	}
	if limit == maxLimit {
		ask.Limit = maxLimit
	}
	page, err := c.selectMany(&ask)
	if err != nil {
		return nil, err
	}
	err = c.upToDate(c.req, func(v *storage.View) error {
		for i := range page.Rows {
			f, err := entity.ReadNotificationFacts(page.Rows[i].Entity.JSON)
			if err == nil {
				err = check(v, &page.Rows[i].Entity, f)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return idsOf(page.Rows), err
}

// deletable says why a notification cannot be deleted.
func deletable(f entity.NotificationFacts, now int64) error {
	if entity.NotificationState(f, now) == entity.NotificationStarted {
		return fault.New(fault.ForbiddenOperation, "a notification that is being sent cannot be deleted: cancel it first")
	}
	return nil
}

// deleteNotification answers DELETE of one notification.
func (c *call) deleteNotification(t command.Target) (*wire.Reply, error) {
	if t.ID.IsZero() {
		return nil, notFound()
	}
	e, err := c.deleted(t.ID, 0)
	if err != nil {
		return nil, err
	}
	return c.reply([]entity.Entity{e})
}

// deleted deletes a notification, unless it is being sent at that moment, and returns what
// it was. Its receipts go after it, and what is not sent of it: by its task.
func (c *call) deleted(id entity.ID, step int) (entity.Entity, error) {
	for try := range maxRevisions {
		var e entity.Entity
		err := c.upToDate(c.req, func(v *storage.View) error {
			var f entity.NotificationFacts
			var err error
			if e, f, err = c.notificationAt(v, id); err == nil {
				err = deletable(f, c.now())
			}
			return err
		})
		if err != nil {
			return e, err
		}
		task := c.pushTask(id, c.now())
		number := step
		if try > 0 {
			number = firstOfMany + 1<<22 + step*maxRevisions + try
		}
		_, err = c.proposeStep(c.req, c.req.App.Number, command.Together{
			First: command.ReviseEntity{Rules: c.typ.Rules(), ID: id, Rev: e.Rev, Patch: []byte("{}")},
			Then: []command.Op{
				command.DeleteEntities{Collection: c.typ.Collection, IDs: []entity.ID{id}},
				task, command.ScheduleTask{ID: task.Task.ID, NotBefore: task.Task.NotBefore},
			},
		}, number)
		if fault.Is(err, fault.Conflict) {
			continue
		}
		if err == nil {
			err = c.dropReceipts(id, number)
		}
		return e, err
	}
	return entity.Entity{}, fault.New(fault.Conflict, "the notification is being changed by others")
}

// dropReceipts deletes the first receipts of a notification that is gone. Its task sees to
// the others.
func (c *call) dropReceipts(id entity.ID, step int) error {
	receipts, err := c.types.of("receipts")
	if err != nil {
		return err
	}
	var ids []entity.ID
	err = c.upToDate(c.req, func(v *storage.View) (err error) {
		ids, err = c.Receipts(c.req.Context(), v, c.req.App.Number, id, maxLimit)
		return err
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	_, err = c.proposeStep(c.req, c.req.App.Number, command.DeleteEntities{Collection: receipts.Collection, IDs: ids}, firstOfMany+1<<21+step)
	return err
}

// deleteNotifications answers DELETE of what a query selects: one page, of which all can be
// deleted, or none is.
func (c *call) deleteNotifications(p *params) (*wire.Reply, error) {
	ids, err := c.selectedNotifications(p, defaultLimit, func(_ *storage.View, _ *entity.Entity, f entity.NotificationFacts) error {
		return deletable(f, c.now())
	})
	if err != nil {
		return nil, err
	}
	var gone []entity.Entity
	for i, id := range ids {
		e, err := c.deleted(id, firstOfMany+i)
		if fault.Is(err, fault.ServiceResourceNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		gone = append(gone, e)
	}
	return c.reply(gone)
}

// asShown makes of entities what they are shown as, where that differs from what is
// stored.
func (c *call) asShown(typ *schema.Type, entities []entity.Entity) error {
	if typ.Collection != "notifications" {
		return nil
	}
	return c.expiredShown(entities)
}

// expiredShown gives notifications that have expired since they were written the state that
// they have now.
func (c *call) expiredShown(entities []entity.Entity) error {
	for i := range entities {
		e := &entities[i]
		f, err := entity.ReadNotificationFacts(e.JSON)
		if err != nil {
			return err
		}
		state := entity.NotificationState(f, c.now())
		if stored, ok := stringProperty(e.JSON, "state"); state != entity.NotificationExpired || ok && stored == state {
			continue
		}
		shown := &document{}
		err = eachMember(e.JSON, func(m member) error {
			if keys.SameFold(m.key, "state") {
				m.value = wire.AppendString(nil, state)
			}
			return shown.set(m.key, m.quote, m.value)
		})
		if err != nil {
			return err
		}
		if e.JSON, err = shown.json(forUpdate); err != nil {
			return err
		}
	}
	return nil
}
