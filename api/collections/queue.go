package collections

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/cursor"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	maxQueues     = 100 // notifications whose queues are read together
	maxQueueReads = 20  // pieces of a walk that one page of a queue takes
)

// What the first byte of a place in a queue says of the rest.
const (
	placeOnTheWay = 'd' // number 8 of the last device
	placeInWalk   = 'w' // position of Devices
)

// anotherState says that the notification was in another state when a cursor was made.
func anotherState() error {
	return fault.New(fault.IllegalArgument, "cursor belongs to another request")
}

// queueOf answers GET of the devices that notifications were not sent to yet (spec
// push-notifications section 7.2).
func (c *call) queueOf(p picked) (reply *wire.Reply, err error) {
	err = c.reading(c.req, func(v *storage.View) error {
		list, path, err := c.queued(v, &p)
		if err != nil {
			return err
		}
		reply, err = c.showQueue(v, list, path+"/queue")
		return err
	})
	return reply, err
}

// queued returns the notifications that a path selects, or of all those that are not sent
// yet, the newest.
func (c *call) queued(v *storage.View, p *picked) ([]entity.Entity, string, error) {
	ids, path, all, err := c.chosenOf(v, p)
	if err != nil {
		return nil, "", err
	}
	from, err := c.source(v, c.typ)
	if err != nil {
		return nil, "", err
	}
	var list []entity.Entity
	if all {
		var open []ql.Node
		for _, state := range []string{"created", "scheduled", "started"} {
			open = append(open, &ql.Compare{Property: "state", Op: ql.Equal, Value: entity.Value{Class: entity.StringClass, String: state}})
		}
		page, err := c.engine.Run(c.req.Context(), v, &query.Request{App: c.req.App.Number, From: from, Query: &ql.Query{Where: &ql.Or{List: open}}, Limit: maxQueues})
		if err != nil {
			return nil, "", err
		}
		for i := range page.Rows {
			list = append(list, page.Rows[i].Entity)
		}
		return list, path, nil
	}
	for _, id := range ids[:min(len(ids), maxQueues)] {
		e, found, err := storage.ReadEntityByID(v, c.req.App.Number, from.ID, id)
		if err != nil {
			return nil, "", err
		}
		if found {
			list = append(list, e)
		}
	}
	return list, path, nil
}

// showQueue shows a page of the queue of a notification, or the beginning of those of
// several, which has no cursor.
func (c *call) showQueue(v *storage.View, list []entity.Entity, path string) (*wire.Reply, error) {
	devices, err := c.types.of("devices")
	if err != nil {
		return nil, err
	}
	of := c.of(devices)
	ask, err := of.ask(&params{rest: c.req}, defaultLimit)
	if err != nil {
		return nil, err
	}
	limit := ask.Limit
	var position []byte
	binding := []byte(path)
	if ask.Cursor != "" {
		if position, err = c.engine.Place(binding, ask.Cursor); err != nil {
			return nil, err
		}
		if len(position) == 0 {
			return nil, anotherState()
		}
	}
	var waiting []entity.Entity
	var next []byte
	for i := range list {
		if len(waiting) == limit {
			break
		}
		some, rest, err := c.waiting(v, &list[i], position, limit-len(waiting))
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, some...)
		if len(list) == 1 {
			next = rest
		}
	}
	reply := c.req.Entities(path)
	rows, err := of.thoseOf(v, &ask, waiting)
	if err != nil {
		return nil, err
	}
	s := of.newShow(v, &ask, reply, func(*schema.Type) string { return of.path })
	if err := s.rows(rows); err != nil {
		return nil, err
	}
	page := &query.Page{}
	if len(next) > 0 && len(next) <= cursor.MaxPosition {
		page.Cursor = c.engine.Mark(binding, next)
	}
	s.finish(page)
	return reply, nil
}

// thoseOf returns which of some devices a query selects, each once.
func (c *call) thoseOf(v *storage.View, ask *query.Request, devices []entity.Entity) ([]query.Row, error) {
	from, err := c.source(v, c.typ)
	if err != nil {
		return nil, err
	}
	seen := map[entity.ID]bool{}
	var rows []query.Row
	for i := range devices {
		if !seen[devices[i].ID] {
			seen[devices[i].ID] = true
			rows = append(rows, query.Row{Collection: from.ID, Entity: devices[i], Distance: query.NoDistance})
		}
	}
	if len(rows) == 0 || ask.Query.Where == nil && ask.Query.Direct == nil {
		return rows, nil
	}
	if err := ask.Query.Restrict(anyOf("uuid", idsOf(rows))); err != nil {
		return nil, err
	}
	page, err := c.engine.Run(c.req.Context(), v, &query.Request{App: ask.App, From: from, Query: ask.Query, Limit: len(rows)})
	if err != nil {
		return nil, err
	}
	return page.Rows, nil
}

// waiting returns devices that a notification was not sent to yet: if its targets are not
// resolved yet, those that it would be sent to now; if it is being sent, those that it is on
// the way to.
func (c *call) waiting(v *storage.View, e *entity.Entity, position []byte, limit int) (devices []entity.Entity, next []byte, err error) {
	f, err := entity.ReadNotificationFacts(e.JSON)
	if err != nil {
		return nil, nil, err
	}
	switch entity.NotificationState(f, c.now()) {
	case entity.NotificationStarted:
		return c.onTheWay(v, e.Seq, position, limit)
	case entity.NotificationCreated, entity.NotificationScheduled:
		return c.wouldGet(v, e, position, limit)
	}
	return nil, nil, nil
}

// onTheWay returns devices with an open delivery, after the number in a position.
func (c *call) onTheWay(v *storage.View, notification entity.Seq, position []byte, limit int) (devices []entity.Entity, next []byte, err error) {
	var after entity.Seq
	switch {
	case len(position) == 9 && position[0] == placeOnTheWay:
		after = entity.Seq(binary.BigEndian.Uint64(position[1:]))
	case position != nil:
		return nil, nil, anotherState()
	}
	app := c.req.App.Number
	col, ok, err := storage.ReadCollectionID(v, app, "devices")
	if err != nil || !ok {
		return nil, nil, err
	}
	last := after
	err = storage.OpenDeliveries(v, app, notification, after, func(device entity.Seq, _ entity.Delivery) (bool, error) {
		if len(devices) == limit {
			next = binary.BigEndian.AppendUint64([]byte{placeOnTheWay}, uint64(last))
			return false, nil
		}
		e, found, err := storage.ReadEntity(v, app, col, device)
		if found {
			devices = append(devices, e)
		}
		last = device
		return true, err
	})
	return devices, next, err
}

// wouldGet returns devices that a notification would be sent to if it were sent now.
func (c *call) wouldGet(v *storage.View, e *entity.Entity, position []byte, limit int) (devices []entity.Entity, next []byte, err error) {
	if position != nil {
		if position[0] != placeInWalk {
			return nil, nil, anotherState()
		}
		position = position[1:]
	}
	notifiers, err := c.payloadsOf(v, e)
	if err != nil || len(notifiers) == 0 {
		return nil, nil, err
	}
	target, _ := lastMember(e.JSON, "pathQuery")
	filters, _ := lastMember(e.JSON, "filters")
	graph, _ := lastMember(e.JSON, "useGraph")
	next = position
	for range maxQueueReads {
		some, rest, err := c.Devices(c.req.Context(), v, c.req.App.Number, target, filters, string(graph) == "true", next, limit-len(devices))
		if err != nil {
			return nil, nil, err
		}
		for i := range some {
			if c.hasToken(some[i].JSON, notifiers) {
				devices = append(devices, some[i])
			}
		}
		if next = rest; next == nil || len(devices) == limit {
			break
		}
	}
	if next != nil {
		next = append([]byte{placeInWalk}, next...)
	}
	return devices, next, nil
}

// payloadsOf returns the notifiers that a notification has payloads for.
func (c *call) payloadsOf(v *storage.View, e *entity.Entity) (notifiers []entity.Entity, err error) {
	payloads, ok := lastMember(e.JSON, "payloads")
	if !ok || payloads[0] != '{' {
		return nil, nil
	}
	err = eachMember(payloads, func(m member) error {
		if m.value[0] == 'n' {
			return nil
		}
		n, found, err := c.notifier(v, m.key)
		if found {
			notifiers = append(notifiers, n)
		}
		return err
	})
	return notifiers, err
}
