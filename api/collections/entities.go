package collections

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const maxBatch = 1000

// shape says how entities of the call's collection are shown.
func (c *call) shape() *wire.Shape { return shapeOf(c.typ, c.path) }

// shapeOf says how entities of a type are shown below a path.
func shapeOf(typ *schema.Type, path string) *wire.Shape {
	s := &wire.Shape{Type: typ.Name, Path: path}
	switch typ.Collection {
	case "users":
		s.Sets, s.Collections = holderSets, userCollections
	case "groups":
		s.Sets, s.Collections = holderSets, groupCollections
	case "roles":
		s.Sets, s.Collections = roleSets, roleCollections
	case "devices":
		s.Collections = deviceCollections
	case "notifications":
		s.Collections = notificationCollections
	}
	return s
}

// What metadata says of the default types this version serves (spec data-model
// section 3). Shared, never changed.
var (
	holderSets        = []wire.Set{{Name: "rolenames", Segment: "roles"}, {Name: "permissions", Segment: "permissions"}}
	roleSets          = []wire.Set{{Name: "permissions", Segment: "permissions"}}
	userCollections   = []string{"activities", "devices", "feed", "groups", "roles", "following", "followers"}
	groupCollections  = []string{"activities", "feed", "roles", "users"}
	roleCollections   = []string{"groups", "users"}
	deviceCollections = []string{"users", "receipts"}

	notificationCollections = []string{"receipts", "queue"}
)

// reply is the envelope of a command's outcome.
func (c *call) reply(entities []entity.Entity) (*wire.Reply, error) {
	reply := c.req.Entities(c.path)
	if err := c.asShown(c.typ, entities); err != nil {
		return nil, err
	}
	connected := func(e entity.Entity) bool { return e.HasOut || e.HasIn }
	if c.req.Method() == "DELETE" || !slices.ContainsFunc(entities, connected) {
		shape := c.shape()
		for i := range entities {
			reply.Append(&entities[i], shape, nil)
		}
		return reply, nil
	}
	err := c.reading(c.req, func(v *storage.View) error { return c.showAll(v, reply, entities) })
	return reply, err
}

// showAll puts entities of the call's collection into a reply, with their connections.
func (c *call) showAll(v *storage.View, reply *wire.Reply, entities []entity.Entity) error {
	id, _, err := storage.ReadCollectionID(v, c.req.App.Number, c.typ.Collection)
	if err != nil {
		return err
	}
	s := show{c: c, v: v}
	s.out, s.in = c.connectionsShown()
	shape := c.shape()
	for i := range entities {
		var d wire.Details
		if _, err := s.verbs(&d, id, &entities[i]); err != nil {
			return err
		}
		reply.Append(&entities[i], shape, &d)
	}
	return nil
}

// show answers GET of one entity.
func (c *call) show(t command.Target) (*wire.Reply, error) {
	reply := c.req.Entities(c.path)
	err := c.reading(c.req, func(v *storage.View) error {
		e, found, err := c.find(v, &t)
		if err != nil {
			return err
		}
		if !found {
			return c.missing()
		}
		shown := []entity.Entity{e}
		if err := c.asShown(c.typ, shown); err != nil {
			return err
		}
		if !e.HasOut && !e.HasIn {
			reply.Append(&shown[0], c.shape(), nil)
			return nil
		}
		return c.showAll(v, reply, shown)
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// touch answers POST to one entity, which changes nothing (spec
// collections-and-entities section 5).
func (c *call) touch(t command.Target) (*wire.Reply, error) {
	reply, err := c.show(t)
	if !t.ID.IsZero() && fault.Is(err, fault.ServiceResourceNotFound) {
		return nil, c.ofAnotherType(t.ID, err)
	}
	return reply, err
}

// ofAnotherType returns UnexpectedEntityType if a UUID that was not found here
// is that of an entity of another collection, else missing.
func (c *call) ofAnotherType(id entity.ID, missing error) error {
	return c.reading(c.req, func(v *storage.View) error {
		all, err := storage.Collections(v, c.req.App.Number)
		if err != nil {
			return err
		}
		for _, col := range all {
			switch _, found, err := storage.ReadEntityByID(v, c.req.App.Number, col.ID, id); {
			case err != nil:
				return err
			case found:
				return fault.New(fault.UnexpectedEntityType, "entity %s is not of type %s", id, c.typ.Name)
			}
		}
		return missing
	})
}

// remove answers DELETE of one entity.
func (c *call) remove(t command.Target) (*wire.Reply, error) {
	if c.typ.Collection == "groups" {
		gone, err := c.removeGroup(t, 0)
		if err != nil {
			return nil, err
		}
		return c.reply(gone)
	}
	out, err := c.propose(c.req, command.DeleteEntity{Collection: c.typ.Collection, Target: t})
	if fault.Is(err, fault.UnexpectedEntityType) {
		return nil, notFound() // of another type: not here
	}
	if err != nil {
		return nil, err
	}
	return c.reply(out.Entities)
}

// create answers POST to a collection, and PUT without id or query.
func (c *call) create(batch bool) (*wire.Reply, error) {
	return c.createFrom(batch, c.createOne, c.createMany)
}

// createFrom reads the body of a creation and hands it to one of two: an object, or if
// there may be a batch an array.
func (c *call) createFrom(batch bool, one, many func(text []byte) (*wire.Reply, error)) (*wire.Reply, error) {
	text, err := c.jsonBody()
	if err != nil {
		return nil, err
	}
	at := 0
	if text != nil {
		at = skipSpace(text, 0)
	}
	switch {
	case text == nil:
		return c.register()
	case text[at] == '{':
		return one(text)
	case text[at] == '[' && batch:
		return many(text)
	}
	return nil, fault.New(fault.JSONMapping, "body must be a JSON object")
}

// register creates the collection alone: what a body without members does.
func (c *call) register() (*wire.Reply, error) {
	if err := (&document{}).requireAll(c.typ); err != nil {
		return nil, err
	}
	if _, err := c.propose(c.req, command.CreateEntities{Rules: c.typ.Rules()}); err != nil {
		return nil, err
	}
	return c.reply(nil)
}

func (c *call) createOne(text []byte) (*wire.Reply, error) {
	id, created := newID()
	doc, err := normalize(c.typ, text, forCreate, created)
	if err != nil {
		return nil, err
	}
	if !doc.named {
		return c.register()
	}
	item, err := c.newEntity(doc, id)
	if err != nil {
		return nil, err
	}
	op, err := c.welcomed(c.typ, &item, command.CreateEntities{Rules: c.typ.Rules(), Items: []command.NewEntity{item}})
	if err != nil {
		return nil, err
	}
	out, err := c.propose(c.req, op)
	if err != nil {
		return nil, err
	}
	return c.reply(out.Entities)
}

// skipped is an element of a batch that was not created.
type skipped struct {
	Index       int    `json:"index"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// createMany creates the elements of an array one by one, in one step: those
// that fail are left out and reported.
func (c *call) createMany(text []byte) (*wire.Reply, error) {
	b, err := c.batchOf(text)
	if err != nil {
		return nil, err
	}
	out, err := c.createItems(&b.op)
	if err != nil {
		return nil, err
	}
	reply, err := c.reply(out.Entities)
	if err == nil {
		b.report(&out, reply)
	}
	return reply, err
}

// batch is an array of entities that are to be created.
type batch struct {
	op     command.CreateEntities
	errs   []*skipped // by index in the array
	places []int      // index of each item in the array
}

// batchOf makes a batch of an array, without the elements that can be none of its items.
func (c *call) batchOf(text []byte) (*batch, error) {
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
	b := &batch{
		op: command.CreateEntities{Rules: c.typ.Rules(), Partial: true}, errs: make([]*skipped, len(elements)), places: make([]int, 0, len(elements)),
	}
	for i, element := range elements {
		item, err := c.itemOf(element)
		var f *fault.Error
		switch {
		case errors.As(err, &f) && wire.Status(f.Code) < 500:
			b.errs[i] = &skipped{i, string(f.Code), f.Message}
		case err != nil:
			return nil, err
		default:
			b.op.Items, b.places = append(b.op.Items, item), append(b.places, i)
		}
	}
	return b, nil
}

// report says in a reply which elements were left out.
func (b *batch) report(out *command.Outcome, reply *wire.Reply) {
	for _, e := range out.Errors {
		if e.Index >= 0 && e.Index < len(b.places) {
			i := b.places[e.Index]
			b.errs[i] = &skipped{i, string(e.Code), e.Message}
		}
	}
	var shown []*skipped
	for _, s := range b.errs {
		if s != nil {
			shown = append(shown, s)
		}
	}
	if len(shown) > 0 {
		reply.Field("errors", shown)
	}
}

// itemOf makes an entity of a body.
func (c *call) itemOf(text []byte) (command.NewEntity, error) {
	id, created := newID()
	doc, err := normalize(c.typ, text, forCreate, created)
	if err != nil {
		return command.NewEntity{}, err
	}
	return c.newEntity(doc, id)
}

// createItems proposes the items of a batch in one step; users who need mails to sign in
// each in one of their own, with their mails.
func (c *call) createItems(op *command.CreateEntities) (all command.Outcome, err error) {
	open := true
	if c.typ.Collection == "users" && len(op.Items) > 0 {
		if open, err = c.activates(); err != nil {
			return all, err
		}
	}
	if open {
		return c.propose(c.req, *op)
	}
	for i := range op.Items {
		item := &op.Items[i]
		one, err := c.welcomed(c.typ, item, command.CreateEntities{Rules: op.Rules, Items: []command.NewEntity{*item}})
		if err != nil {
			return all, err
		}
		out, err := c.proposeStep(c.req, c.req.App.Number, one, firstOfMany+i)
		var f *fault.Error
		switch {
		case errors.As(err, &f) && wire.Status(f.Code) < 500:
			all.Errors = append(all.Errors, command.ItemError{Index: i, Code: f.Code, Message: f.Message})
		case err != nil:
			return all, err
		default:
			all.Entities = append(all.Entities, out.Entities...)
		}
	}
	return all, nil
}

func (c *call) now() int64 { return c.req.Time().UnixMilli() }

// newID returns the UUID of a new entity and the time in it, at which the entity
// is created.
func newID() (entity.ID, int64) {
	id := entity.NewID()
	created, _ := id.Time()
	return id, created
}

// newEntity makes an entity of a document that holds all its type requires.
func (c *call) newEntity(doc *document, id entity.ID) (command.NewEntity, error) {
	item := command.NewEntity{ID: id}
	var err error
	switch c.typ.Collection {
	case "users":
		err = c.newUser(doc, &item)
	case "groups":
		err = groupPath(doc)
	case "roles":
		err = newRole(doc, c.group)
	case "devices":
		err = c.checkTokens(doc)
	case "activities":
		created, ok := id.Time()
		if !ok {
			created = c.now()
		}
		err = c.newActivity(doc, created)
	case "assets", "folders":
		err = c.filed(doc, nil)
	}
	if err != nil {
		return item, err
	}
	if err := doc.requireAll(c.typ); err != nil {
		return item, err
	}
	item.Created, _ = id.Time()
	item.Modified = item.Created
	item.JSON, err = doc.json(forCreate)
	return item, err
}

// update answers PUT of one entity: a merge, or a creation if it is unknown.
func (c *call) update(t command.Target) (*wire.Reply, error) {
	text, err := c.jsonBody()
	if err != nil {
		return nil, err
	}
	if text == nil {
		return nil, fault.New(fault.JSONParse, "a body is required")
	}
	if text[skipSpace(text, 0)] != '{' {
		return nil, fault.New(fault.JSONMapping, "body must be a JSON object")
	}
	doc, err := normalize(c.typ, text, forUpdate, c.now())
	if err != nil {
		return nil, err
	}
	if err := c.changed(doc, &t); err != nil {
		return nil, err
	}
	op := command.UpdateEntity{Rules: c.typ.Rules(), Target: t}
	if op.Patch, err = doc.json(forUpdate); err != nil {
		return nil, err
	}
	create, unfit := c.upsert(t, text)
	op.Create = create
	all, err := c.welcomed(c.typ, create, op)
	if err != nil {
		return nil, err
	}
	out, err := c.propose(c.req, all)
	if unfit != nil && fault.Is(err, fault.ServiceResourceNotFound) {
		return nil, unfit
	}
	if err != nil {
		return nil, err
	}
	return c.reply(out.Entities)
}

// changed applies the rules of PUT to a document. t is what is changed, nil if that is not
// one entity.
func (c *call) changed(doc *document, t *command.Target) error {
	switch c.typ.Collection {
	case "users":
		return c.changedUser(doc)
	case "groups":
		return groupPath(doc)
	case "roles":
		return changedRole(doc)
	case "devices":
		return c.checkTokens(doc)
	case "activities":
		return changedActivity(doc)
	case "assets", "folders":
		return c.filed(doc, t)
	}
	return nil
}

// upsert makes the entity that a PUT creates if its target is unknown, or says
// why it cannot.
func (c *call) upsert(t command.Target, text []byte) (*command.NewEntity, error) {
	if c.me {
		return nil, notFound()
	}
	id, created := newID()
	doc, err := normalize(c.typ, text, forCreate, created)
	if err != nil {
		return nil, err
	}
	if t.ID.IsZero() {
		if err := c.nameAfterPath(doc, t); err != nil {
			return nil, err
		}
	}
	if c.typ.Collection == "users" {
		// A password is hashed only for a user who is not there yet: it costs
		// more than all the rest.
		if _, found, err := c.lookup(&t); err != nil || found {
			return nil, err
		}
	}
	if !t.ID.IsZero() {
		id = t.ID
	}
	item, err := c.newEntity(doc, id)
	if err != nil {
		return nil, err
	}
	if !t.ID.IsZero() {
		item.Created, item.Modified = c.times(doc, t.ID)
	}
	return &item, nil
}

// times are created and modified of an entity whose UUID the client chose (spec
// data-model section 9).
func (c *call) times(doc *document, id entity.ID) (created, modified int64) {
	now := time.Now().UnixMilli()
	if ms, ok := id.Time(); ok && ms >= 0 {
		now = ms
	}
	created, ok := doc.time("created")
	if !ok {
		created = now
	}
	if modified, ok = doc.time("modified"); !ok {
		modified = created
	}
	return created, max(created, modified)
}

// nameAfterPath gives a new entity the name by which it was asked for.
func (c *call) nameAfterPath(doc *document, t command.Target) error {
	alias := t.Aliases[len(t.Aliases)-1]
	sent, ok := doc.text(alias.Property)
	if c.typ.Collection == "users" && ok {
		return nil
	}
	if ok && (strings.EqualFold(strings.TrimSpace(sent), alias.Value) || samePath(c.typ, sent, alias.Value)) {
		return nil
	}
	return doc.setString(alias.Property, alias.Value)
}
