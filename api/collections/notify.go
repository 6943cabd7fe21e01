package collections

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	secondsBelow = 100_000_000_000 // a time below it is in seconds
	lateBy       = 500             // ms that a notification may be late, and be sent now
	soonBy       = 250             // ms ahead that are now
	notifyAtOnce = 50              // notifications of one command
	maxPayloads  = 1000            // notifiers of one notification
)

// serversOfNotification are the properties of a notification that the server sets: what
// clients say of them is left out.
var serversOfNotification = []string{
	"queued", "started", "finished", "state", "statistics", "errorMessage", "processingFinished", "deviceProcessedCount",
	"expectedCount", "scheduled", "pathQuery", "restart", "priorityGiven",
}

// asked is what a client says of a notification.
type asked struct {
	doc      *document // to store; times in ms
	payloads []byte    // nil: not said
	canceled []byte    // likewise
	restart  bool
	deliver  *int64 // nil: not said; 0: now
	expire   *int64 // nil: not said; 0: never
}

// askedOf reads what a client says of a notification (spec push-notifications section 3.2).
func (c *call) askedOf(text []byte, p purpose) (*asked, error) {
	a := &asked{}
	rest := []byte{'{'}
	err := eachMember(text, func(m member) (err error) {
		switch name := keys.Fold(m.key); {
		case name == "payloads":
			a.payloads = m.value
		case name == "canceled" || name == "cancelled":
			a.canceled = m.value
		case name == "restart":
			a.restart = m.value[0] == 't' || m.value[0] == '"' && strings.EqualFold(decodeString(m.value), "restart")
		case contains(serversOfNotification, m.key):
		case name == "deliver":
			a.deliver, err = moment("deliver", m.value)
		case name == "expire" || name == "expired":
			a.expire, err = moment("expire", m.value)
		default:
			if len(rest) > 1 {
				rest = append(rest, ',')
			}
			rest = append(append(append(rest, m.quote...), ':'), m.value...)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if a.doc, err = normalize(c.typ, append(rest, '}'), p, c.now()); err != nil {
		return nil, err
	}
	return a, a.tidy(p)
}

// tidy gives what the client says its stored form.
func (a *asked) tidy(p purpose) error {
	if i := a.doc.find("priority"); i >= 0 && (p == forCreate || a.doc.properties[i].value != nil) {
		if err := a.prioritize(); err != nil {
			return err
		}
	}
	if i := a.doc.find("filters"); i >= 0 && !a.doc.properties[i].empty && a.doc.properties[i].value[0] != '{' {
		return fault.New(fault.IllegalArgument, "filters must be an object")
	}
	for _, p := range []struct{ name, usual string }{{"debug", "false"}, {"saveReceipts", "true"}, {"useGraph", "false"}, {"filters", "{}"}, {"priority", `"normal"`}} {
		if i := a.doc.find(p.name); i >= 0 && a.doc.properties[i].empty {
			if err := a.doc.setAs(p.name, []byte(p.usual)); err != nil {
				return err
			}
		}
	}
	if a.expire == nil {
		return nil
	}
	return a.doc.setAs("expire", orNull(*a.expire))
}

// prioritize gives the priority that the client says its stored form. Normal is what is
// stored if he says nothing or what is no priority, too; to a service it can be something
// else, so that it was said is kept beside it.
func (a *asked) prioritize() error {
	text, _ := a.doc.text("priority")
	text = strings.ToLower(strings.TrimSpace(text))
	given := "null"
	switch text {
	case "normal":
		given = "true"
	case "high":
	default:
		text = "normal"
	}
	err := a.doc.setAs("priority", wire.AppendString(nil, text))
	if err == nil {
		err = a.doc.setAs("priorityGiven", []byte(given))
	}
	return err
}

func orNull(ms int64) []byte {
	if ms == 0 {
		return []byte("null")
	}
	return strconv.AppendInt(nil, ms, 10)
}

// moment reads a time in seconds or milliseconds as ms; 0 for null.
func moment(name string, value []byte) (*int64, error) {
	ms := int64(0)
	if value[0] != 'n' {
		f, err := strconv.ParseFloat(string(value), 64)
		if err != nil || f >= 1<<53 || f <= -1<<53 {
			return nil, fault.New(fault.IllegalArgument, "Property '%s' must be a number", name)
		}
		if f < secondsBelow {
			f *= 1000
		}
		if ms = int64(f); ms == 0 {
			ms = 1 // 0 stands for null
		}
	}
	return &ms, nil
}

// due checks when a notification is to be delivered: 0 stands for now.
func due(deliver *int64, now int64) (int64, error) {
	switch {
	case deliver == nil || *deliver == 0:
		return 0, nil
	case *deliver < now-lateBy:
		return 0, fault.New(fault.IllegalArgument, "Property 'deliver' cannot have a value in the past")
	case *deliver < now+soonBy:
		return 0, nil
	}
	return *deliver, nil
}

// checkPayloads checks the payloads of a notification, and returns their stored form: in
// the order of the client, each notifier once.
func (c *call) checkPayloads(v *storage.View, payloads []byte) ([]byte, error) {
	switch {
	case payloads == nil || payloads[0] == 'n':
		return nil, fault.New(fault.RequiredProperty, "Entity %q requires a property named %q", c.typ.Name, "payloads")
	case payloads[0] != '{':
		return nil, fault.New(fault.IllegalArgument, "payloads must be an object")
	}
	var list []member
	places := map[string]int{}
	err := eachMember(payloads, func(m member) error {
		if i, again := places[m.key]; again {
			list[i].value = m.value
			return nil
		}
		if len(list) == maxPayloads {
			return fault.New(fault.IllegalArgument, "a notification has payloads for %d notifiers at most", maxPayloads)
		}
		places[m.key] = len(list)
		list = append(list, m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	stored := bytes.NewBuffer([]byte{'{'})
	for i, m := range list {
		n, found, err := c.notifier(v, m.key)
		if err == nil && !found {
			err = fault.New(fault.IllegalArgument, "there is no notifier %q", clip(m.key))
		}
		if err == nil && m.value[0] != 'n' {
			err = c.pushing.Push.CheckPayload(n.JSON, m.value)
		}
		if err != nil {
			return nil, err
		}
		if i > 0 {
			stored.WriteByte(',')
		}
		stored.Write(m.quote)
		stored.WriteByte(':')
		if err := json.Compact(stored, m.value); err != nil {
			return nil, fault.Wrap(err, fault.JSONParse, "a payload is not valid JSON")
		}
	}
	stored.WriteByte('}')
	return stored.Bytes(), nil
}

// clip shortens a text of a client's for a message.
func clip(s string) string {
	if len(s) <= 128 {
		return s
	}
	return strings.ToValidUTF8(s[:128], "") + "…"
}

// notify creates notifications of the body, for a target that a path names.
func (c *call) notify(target []pathToken, path string) (*wire.Reply, error) {
	typ, err := c.types.of("notifications")
	if err != nil {
		return nil, err
	}
	of := c.of(typ)
	bodies, err := of.notificationBodies()
	if err != nil {
		return nil, err
	}
	var items []newNotification
	err = c.upToDate(c.req, func(v *storage.View) error {
		for _, text := range bodies {
			id, _ := newID()
			n, err := of.newNotification(v, text, id, target)
			if err != nil {
				return err
			}
			items = append(items, n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return of.store(items, path)
}

// notificationBodies are the objects of a body: one, or those of an array.
func (c *call) notificationBodies() ([][]byte, error) {
	text, err := c.jsonBody()
	if err != nil {
		return nil, err
	}
	if text == nil {
		text = []byte("{}")
	}
	switch text[skipSpace(text, 0)] {
	case '{':
		return [][]byte{text}, nil
	case '[':
	default:
		return nil, fault.New(fault.JSONMapping, "body must be a JSON object")
	}
	var bodies [][]byte
	err = eachElement(text, func(value []byte) error {
		switch {
		case len(bodies) == maxBatch:
			return fault.New(fault.IllegalArgument, "a batch has at most %d elements", maxBatch)
		case value[0] != '{':
			return fault.New(fault.IllegalArgument, "element %d of the batch is not an object", len(bodies))
		}
		bodies = append(bodies, value)
		return nil
	})
	return bodies, err
}

// newNotification is a notification to be stored, and when its task is due, ms since the
// epoch.
type newNotification struct {
	item command.NewEntity
	due  int64
}

// newNotification makes a notification of a body, and checks all that can be checked.
func (c *call) newNotification(v *storage.View, text []byte, id entity.ID, target []pathToken) (newNotification, error) {
	var n newNotification
	a, err := c.askedOf(text, forCreate)
	if err != nil {
		return n, err
	}
	now := c.now()
	payloads, err := c.checkPayloads(v, a.payloads)
	if err != nil {
		return n, err
	}
	deliver, err := due(a.deliver, now)
	if err != nil {
		return n, err
	}
	graph := a.doc.find("useGraph")
	if graph >= 0 && string(a.doc.properties[graph].value) == "true" && asksIn(target) {
		return n, fault.New(fault.IllegalArgument, "useGraph cannot be combined with a query")
	}
	facts := entity.NotificationFacts{Deliver: deliver}
	if a.expire != nil {
		facts.Expire = *a.expire
	}
	if a.canceled != nil {
		if facts.Canceled, err = canceledOf(a.canceled); err != nil {
			return n, err
		}
	}
	err = a.doc.defaults(payloads, deliver, facts.Canceled)
	if err == nil {
		err = a.doc.setAs("state", wire.AppendString(nil, entity.NotificationState(facts, now)))
	}
	if err == nil && target != nil {
		err = a.doc.setAs("pathQuery", appendPathQuery(nil, target))
	}
	if err != nil {
		return n, err
	}
	n.item = command.NewEntity{ID: id}
	n.item.Created, n.item.Modified = c.times(a.doc, id)
	n.due = dueOf(facts, now)
	n.item.JSON, err = a.doc.json(forCreate)
	return n, err
}

// defaults sets what a new notification says of itself.
func (d *document) defaults(payloads []byte, deliver int64, canceled bool) error {
	type value struct{ name, text string }
	values := []value{{"payloads", string(payloads)}, {"scheduled", strconv.FormatBool(deliver != 0)}, {"deviceProcessedCount", "0"}, {"processingFinished", "0"}}
	if deliver != 0 {
		values = append(values, value{"deliver", strconv.FormatInt(deliver, 10)})
	}
	if canceled {
		values = append(values, value{"canceled", "true"})
	}
	for _, p := range []value{{"debug", "false"}, {"saveReceipts", "true"}, {"priority", `"normal"`}, {"useGraph", "false"}, {"filters", "{}"}} {
		if !d.has(p.name) {
			values = append(values, p)
		}
	}
	for _, p := range values {
		if err := d.setAs(p.name, []byte(p.text)); err != nil {
			return err
		}
	}
	return nil
}

// canceledOf reads the property canceled, which is a boolean.
func canceledOf(value []byte) (bool, error) {
	switch value[0] {
	case 't':
		return true, nil
	case 'f', 'n':
		return false, nil
	}
	return false, fault.New(fault.IllegalArgument, "canceled must be a boolean")
}

// dueOf is when the task of a notification is due: when it is to be delivered, or before
// that expires.
func dueOf(f entity.NotificationFacts, now int64) int64 {
	switch {
	case f.Deliver == 0 || f.Canceled:
		return now
	case f.Expire != 0:
		return min(f.Deliver, f.Expire)
	}
	return f.Deliver
}

// pushTask is the command that has a notification sent.
func (c *call) pushTask(id entity.ID, due int64) command.PutTask {
	return command.PutTask{Task: command.NewTask{
		ID: entity.PushTask(c.req.App.Number, id), Kind: entity.TaskPush, Priority: entity.Normal, NotBefore: max(due, 0), Body: id[:],
	}}
}

// store records notifications, each with its task, and answers with them.
func (c *call) store(items []newNotification, path string) (*wire.Reply, error) {
	var created []entity.Entity
	for step := 0; len(items) > 0; step++ {
		some := items[:min(notifyAtOnce, len(items))]
		items = items[len(some):]
		create := command.CreateEntities{Rules: c.typ.Rules()}
		var tasks []command.Op
		for i := range some {
			create.Items = append(create.Items, some[i].item)
			tasks = append(tasks, c.pushTask(some[i].item.ID, some[i].due))
		}
		number := 0
		if step > 0 {
			number = firstOfMany + step
		}
		out, err := c.proposeStep(c.req, c.req.App.Number, command.Together{First: create, Then: tasks}, number)
		if err != nil {
			return nil, err
		}
		created = append(created, out.Entities...)
	}
	return c.shownAt(path, created), nil
}

// shownAt answers with notifications under a path of its own.
func (c *call) shownAt(path string, entities []entity.Entity) *wire.Reply {
	reply := c.req.Entities(path)
	shape := c.shape()
	for i := range entities {
		reply.Append(&entities[i], shape, nil)
	}
	return reply
}
