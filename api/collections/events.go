package collections

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// queueLimit is how many events one read of the queue returns where the client does
// not say: whoever goes on from messages[0] misses none.
const queueLimit = 1

// isEvents reports whether a type is that of events, which are created and counted in
// one step, and never changed.
func isEvents(t *schema.Type) bool { return t.Collection == "events" }

func eventsStay() error {
	return fault.New(fault.UnsupportedAction, "events are created, and neither changed nor deleted")
}

// events answers a request about the collection of events as a whole.
func (c *call) events(p *params) (*wire.Reply, error) {
	switch method := c.req.Method(); {
	case method == "GET" && p.lists():
		return c.list(p)
	case method == "GET":
		return c.queue(p)
	case method == "POST":
		return c.createEvents(true)
	case method == "PUT" && !p.selects():
		return c.createEvents(false)
	}
	return nil, eventsStay()
}

// lists reports whether parameters ask for a listing of events rather than a read of
// their queue.
func (p *params) lists() bool {
	if p.every {
		return true
	}
	for _, name := range []string{"ql", "q", "query", "filter", "cursor", "start", "reversed", "explain", "analyzeOnly"} {
		if len(p.all(name)) > 0 {
			return true
		}
	}
	return false
}

// event answers a request about one event.
func (c *call) event(segment string) (*wire.Reply, error) {
	t, err := c.target(segment)
	if err != nil {
		return nil, err
	}
	switch c.req.Method() {
	case "GET":
		return c.show(t)
	case "PUT":
		return c.countAgain(t)
	case "POST":
		return c.touch(t)
	}
	return nil, eventsStay()
}

// createEvents answers POST to events, and PUT without id or query.
func (c *call) createEvents(batch bool) (*wire.Reply, error) {
	return c.createFrom(batch, c.createEvent, c.createManyEvents)
}

func (c *call) createEvent(text []byte) (*wire.Reply, error) {
	item, tally, err := c.newEvent(text)
	if err != nil {
		return nil, err
	}
	out, err := c.propose(c.req, command.CreateEvents{
		Create: command.CreateEntities{Rules: c.typ.Rules(), Items: []command.NewEntity{item}}, Tallies: []command.Tally{tally},
	})
	if err != nil {
		return nil, err
	}
	return c.showEvents(out.Entities)
}

// newEvent makes an event of a body, and what it counts.
func (c *call) newEvent(text []byte) (command.NewEntity, command.Tally, error) {
	id, created := newID()
	doc, err := normalize(c.typ, text, forCreate, created)
	if err == nil {
		err = doc.requireAll(c.typ)
	}
	var tally command.Tally
	if err == nil {
		tally, err = c.tally(doc, created)
	}
	if err != nil {
		return command.NewEntity{}, tally, err
	}
	item, err := c.newEntity(doc, id)
	return item, tally, err
}

// createManyEvents creates the elements of an array in order, in as few commands as their
// bounds allow: those that fail are left out and reported.
func (c *call) createManyEvents(text []byte) (*wire.Reply, error) {
	var elements [][]byte
	err := eachElement(text, func(value []byte) error {
		switch {
		case len(elements) == maxBatch:
			return fault.New(fault.IllegalArgument, "a batch has at most %d elements", maxBatch)
		case value[0] != '{':
			return fault.New(fault.IllegalArgument, "element %d of the batch is not an object", len(elements))
		}
		elements = append(elements, value)
		return nil
	})
	if err != nil {
		return nil, err
	}
	b := eventBatch{call: c, step: firstOfMany}
	b.reset()
	for i, element := range elements {
		item, tally, err := c.newEvent(element)
		var f *fault.Error
		switch {
		case errors.As(err, &f) && wire.Status(f.Code) < 500:
			b.errs = append(b.errs, skipped{i, string(f.Code), f.Message})
			continue
		case err != nil:
			return nil, err
		}
		if err := b.add(i, item, tally); err != nil {
			return nil, err
		}
	}
	if err := b.send(); err != nil {
		return nil, err
	}
	reply, err := c.showEvents(b.created)
	if err == nil && len(b.errs) > 0 {
		slices.SortFunc(b.errs, func(x, y skipped) int { return cmp.Compare(x.Index, y.Index) })
		reply.Field("errors", b.errs)
	}
	return reply, err
}

// eventBatch collects events for one command after the other.
type eventBatch struct {
	*call
	op      command.CreateEvents
	places  []int // of its items in the body
	work    int
	step    int
	created []entity.Entity
	errs    []skipped
}

func (b *eventBatch) reset() {
	b.op = command.CreateEvents{Create: command.CreateEntities{Rules: b.typ.Rules(), Partial: true}}
	b.places, b.work = nil, 0
}

func (b *eventBatch) add(place int, item command.NewEntity, tally command.Tally) error {
	if work := tally.Work(); b.work+work > command.MaxCounted {
		if err := b.send(); err != nil {
			return err
		}
		b.work = work
	} else {
		b.work += work
	}
	b.op.Create.Items, b.op.Tallies = append(b.op.Create.Items, item), append(b.op.Tallies, tally)
	b.places = append(b.places, place)
	return nil
}

// send creates what was added, and the collection, unless there are only elements that
// were left out.
func (b *eventBatch) send() error {
	if len(b.places) == 0 && len(b.errs) > 0 {
		return nil
	}
	out, err := b.proposeStep(b.req, b.req.App.Number, b.op, b.step)
	if err != nil {
		return err
	}
	b.step++
	b.created = append(b.created, out.Entities...)
	for _, e := range out.Errors {
		if e.Index >= 0 && e.Index < len(b.places) {
			b.errs = append(b.errs, skipped{b.places[e.Index], string(e.Code), e.Message})
		}
	}
	b.reset()
	return nil
}

// countAgain answers PUT of one event: what the body counts is counted, and the event
// stays as it is. One that does not exist is created.
func (c *call) countAgain(t command.Target) (*wire.Reply, error) {
	if t.ID.IsZero() {
		return nil, notFound()
	}
	text, err := c.jsonBody()
	switch {
	case err != nil:
		return nil, err
	case text == nil:
		return nil, fault.New(fault.JSONParse, "a body is required")
	case text[skipSpace(text, 0)] != '{':
		return nil, fault.New(fault.JSONMapping, "body must be a JSON object")
	}
	doc, err := normalize(c.typ, text, forCreate, c.now())
	if err != nil {
		return nil, err
	}
	op := command.CountEvent{Rules: c.typ.Rules(), ID: t.ID}
	if op.Tally, err = c.tally(doc, c.now()); err != nil {
		return nil, err
	}
	unfit := doc.requireAll(c.typ)
	if unfit == nil {
		item, err := c.newEntity(doc, t.ID)
		if err != nil {
			return nil, err
		}
		item.ID = t.ID
		item.Created, item.Modified = c.times(doc, t.ID)
		op.Create = &item
	}
	out, err := c.propose(c.req, op)
	if unfit != nil && fault.Is(err, fault.ServiceResourceNotFound) {
		return nil, unfit
	}
	if err != nil {
		return nil, err
	}
	return c.showEvents(out.Entities)
}

// tally reads what an event counts, with its time, or now if it has none, and its
// dimensions. Counters in the document become integers.
func (c *call) tally(doc *document, now int64) (t command.Tally, err error) {
	t.Time = now
	if i := doc.find("timestamp"); doc.has("timestamp") {
		if t.Time, err = strconv.ParseInt(string(doc.properties[i].value), 10, 64); err != nil {
			return t, fault.New(fault.PropertyTypeConversion, "the timestamp of an event must be an integer")
		}
	}
	if text, ok := doc.text("category"); ok {
		if len(text) > command.MaxCategory {
			return t, fault.New(fault.IllegalArgument, "the category of an event is longer than %d bytes", command.MaxCategory)
		}
		t.Dimensions.Category = text
	}
	if t.Dimensions.User, err = doc.id("user"); err != nil {
		return t, err
	}
	if t.Dimensions.Group, err = doc.id("group"); err != nil {
		return t, err
	}
	if doc.has("counters") {
		p := &doc.properties[doc.find("counters")]
		p.value, t.Increments, err = increments(p.value, !c.zeroAdds)
	}
	return t, err
}

// id reads a property that must be a UUID, if it is there.
func (d *document) id(key string) (entity.ID, error) {
	if !d.has(key) {
		return entity.ID{}, nil
	}
	if id, ok := uuidOf(d.properties[d.find(key)].value); ok {
		return id, nil
	}
	return entity.ID{}, fault.New(fault.PropertyTypeConversion, "the value of property %q of an event must be a UUID", key)
}

// increments reads the counters of an event: an object of integers, or of texts that
// are integers. It returns it with integers. zeroResets says what 0 means.
func increments(value []byte, zeroResets bool) (object []byte, list []command.Increment, err error) {
	if value[0] != '{' {
		return nil, nil, fault.New(fault.PropertyTypeConversion, "counters must be an object of integers")
	}
	object = append(object, '{')
	err = eachMember(value, func(m member) error {
		if len(list) == command.MaxIncrements {
			return fault.New(fault.IllegalArgument, "an event has more than %d counters", command.MaxIncrements)
		}
		name, err := counterName(m.key)
		if err != nil {
			return err
		}
		text, err := schema.Convert("counters."+m.key, schema.Integer, m.value)
		if err != nil {
			return err
		}
		by, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil { // null, or ""
			return fault.New(fault.PropertyTypeConversion, "the value of counter %q must be an integer", m.key)
		}
		if len(object) > 1 {
			object = append(object, ',')
		}
		object = strconv.AppendInt(append(append(object, m.quote...), ':'), by, 10)
		list = append(list, command.Increment{Name: name, By: by, Reset: by == 0 && zeroResets})
		return nil
	})
	return append(object, '}'), list, err
}

// counterName is the name that is counted under, in which case makes no difference.
func counterName(text string) (string, error) {
	name := keys.Fold(text)
	switch {
	case strings.Contains(name, ":"):
		return "", fault.New(fault.IllegalArgument, "the name of a counter cannot have a colon: nobody could ask for it")
	case !command.ValidCounterName(name):
		return "", fault.New(fault.IllegalArgument, "the name of a counter has 1 to %d bytes, and up to %d parts between dots, none of them empty",
			command.MaxCounterName, command.MaxCounterLevels)
	}
	return name, nil
}

// showEvents answers with events, which have a message, if only null.
func (c *call) showEvents(events []entity.Entity) (*wire.Reply, error) {
	for i := range events {
		events[i].JSON = withMessage(events[i].JSON)
	}
	return c.reply(events)
}

// withMessage returns the JSON of an event with its message, or null for it.
func withMessage(object []byte) []byte {
	found := false
	// The callback never fails, so neither does the walk.
	_ = eachMember(object, func(m member) error {
		found = found || keys.SameFold(m.key, "message")
		return nil
	})
	if found || len(object) < 2 {
		return object
	}
	object = bytes.Clone(object[:len(object)-1])
	if len(object) > 1 {
		object = append(object, ',')
	}
	return append(object, `"message":null}`...)
}

// queue answers GET of events without a query: those after the one that last names,
// oldest first.
func (c *call) queue(p *params) (*wire.Reply, error) {
	reply := c.req.Entities(c.path).Counted()
	last := p.first("last")
	var after entity.ID
	if last != "" {
		var ok bool
		if after, ok = entity.ParseID(last); !ok {
			return nil, fault.New(fault.IllegalArgument, "last must be the UUID of an event")
		}
		last = after.String()
	}
	ask := query.Request{App: c.req.App.Number, Query: &ql.Query{}, OldestFirst: true, Limit: limitOf(p.first("limit"), queueLimit)}
	messages := []byte{'['}
	err := c.reading(c.req, func(v *storage.View) (err error) {
		if ask.From, err = c.source(v, c.typ); err != nil {
			return err
		}
		if ask.Start, err = c.position(v, &ask, after); err != nil {
			return err
		}
		page, err := c.engine.Run(c.req.Context(), v, &ask)
		if err != nil {
			return err
		}
		s := c.newShow(v, &ask, reply, func(*schema.Type) string { return c.path })
		for i := range page.Rows {
			e := &page.Rows[i].Entity
			if i > 0 {
				messages = append(messages, ',')
			}
			messages = appendMessage(messages, e)
			last = e.ID.String()
			e.JSON = withMessage(e.JSON)
			if err := s.row(&page.Rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	reply.RawField("messages", append(messages, ']'))
	if last != "" {
		reply.Field("last", last)
	}
	return reply, nil
}

// position returns the number from which on the queue goes on after an event; 0 of none.
// After one that is not there any more it goes on with those created at its time.
func (c *call) position(v *storage.View, ask *query.Request, after entity.ID) (entity.Seq, error) {
	if after.IsZero() {
		return 0, nil
	}
	e, found, err := storage.ReadEntityByID(v, ask.App, ask.From.ID, after)
	if err != nil || found {
		return e.Seq + 1, err
	}
	ms, ok := after.Time()
	if !ok {
		return 0, fault.New(fault.EntityNotFound, "there is no event %s to go on after", after)
	}
	q, err := ql.Parse("select * where created >= " + strconv.FormatInt(ms, 10) + " order by created asc")
	if err != nil {
		return 0, err
	}
	page, err := c.engine.Run(c.req.Context(), v, &query.Request{App: ask.App, From: ask.From, Query: q, Limit: 1})
	if err != nil {
		return 0, err
	}
	if len(page.Rows) == 0 {
		return 1<<63 - 1, nil
	}
	return page.Rows[0].Entity.Seq, nil
}

// appendMessage appends the short form of an event.
func appendMessage(dst []byte, e *entity.Entity) []byte {
	dst = e.ID.AppendText(append(dst, `{"uuid":"`...))
	dst = append(dst, `","type":"event"`...)
	message := []byte("null")
	// The callback never fails, so neither does the walk.
	_ = eachMember(e.JSON, func(m member) error {
		switch {
		case keys.SameFold(m.key, "message"):
			message = m.value
		case keys.SameFold(m.key, "category"):
			dst = append(append(dst, `,"category":`...), m.value...)
		case keys.SameFold(m.key, "timestamp"):
			dst = append(append(dst, `,"timestamp":`...), m.value...)
		}
		return nil
	})
	return append(append(append(dst, `,"message":`...), message...), '}')
}
