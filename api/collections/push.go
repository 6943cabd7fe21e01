package collections

import (
	"context"

	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Push is what the handlers need to know of push providers. It is safe for concurrent
// use.
type Push interface {
	// CheckNotifier makes a notifier of what a client sent and of what is stored:
	// the properties to store, a JSON object without secrets, and the secrets, a JSON
	// object by property. It may ask the provider about them. Faults are those a client
	// is shown: IllegalArgument, RequiredProperty, …
	CheckNotifier(ctx context.Context, in NotifierInput) (properties, secrets []byte, err error)
	// CheckPayload says with an IllegalArgument why a payload cannot be sent through a
	// notifier, of which the stored properties are given.
	CheckPayload(notifier, payload []byte) error
	// CheckToken says with an IllegalArgument why a device cannot be registered with a
	// value for a notifier.
	CheckToken(notifier, value []byte) error
	// HasToken reports whether a value registers a device for a notifier.
	HasToken(notifier, value []byte) bool
}

// NotifierInput is what a client sent to make or to change a notifier.
type NotifierInput struct {
	// Members of the JSON object, or the text parts of a form as JSON strings, in their
	// order. No two have the same name in any case.
	Members []NotifierMember
	Files   []NotifierFile
	Form    bool // it was a multipart form
	// Stored are the properties of the notifier that is changed, and StoredSecrets what
	// CheckNotifier made of its secrets; nil: it is made.
	Stored, StoredSecrets []byte
	Force                 bool // also what cuts off devices that are registered
}

// NotifierMember is a property as it was sent.
type NotifierMember struct {
	Name  string
	Value []byte // JSON
}

// NotifierFile is a file of a form.
type NotifierFile struct {
	Part, Name string // of the part, and of the file as the client calls it
	Content    []byte
}

// Pushing says how notifications are checked.
type Pushing struct {
	Push Push // nil: the collections of push are not offered
	// UniqueTokens says that a token registers one device only: the last one that came
	// with it.
	UniqueTokens bool
}

// WithPush offers notifiers, notifications and receipts. Call it before the handlers are
// used.
func (h *Handlers) WithPush(cfg Pushing) *Handlers {
	h.pushing = cfg
	return h
}

// ofPush reports whether a type is one whose entities push makes or goes by, which
// nothing but their own routes may create or change.
func ofPush(t *schema.Type) bool {
	switch t.Collection {
	case "notifiers", "notifications", "receipts":
		return true
	}
	return false
}

// offered reports whether a type is served here.
func (c *call) offered(t *schema.Type) bool {
	return t.Offered && (c.pushing.Push != nil || !ofPush(t))
}

// closed says why entities of a type are neither created nor changed by a way that all
// collections have; nil if they are.
func closed(t *schema.Type) error {
	switch {
	case isEvents(t): // what they bring would not be counted
		return fault.New(fault.UnsupportedAction, "events are created in their collection, and connected then")
	case ofPush(t):
		return fault.New(fault.UnsupportedAction, "%s are created and changed in their collection only", t.Collection)
	}
	return nil
}

// bareWords are what may follow the UUID of an entity in the place of its collection.
var bareWords = map[string][]string{
	"receipts":      {"notifications", "devices"},
	"queues":        {"notifications"},
	"notifications": {"receipts"},
}

// bare makes a path of one that begins with a UUID instead of a collection:
// /{uuid}/receipts, /{uuid}/*/queue (spec push-notifications section 7.2). Other paths
// stay as they are.
func (h *Handlers) bare(req *wire.Request) error {
	segments := req.Segments()
	if h.pushing.Push == nil || req.Method() != "GET" || len(segments) < 2 || len(segments) > 3 {
		return nil
	}
	id, isID := entity.ParseID(segments[0])
	last, own := cutMatrix(segments[len(segments)-1])
	among := bareWords[inflect.Collection(last)]
	if !isID || among == nil || own != nil || len(segments) == 3 && segments[1] != "*" && segments[1] != "all" {
		return nil
	}
	for _, name := range among {
		typ, err := h.types.of(name)
		if err != nil {
			return err
		}
		c := &call{Handlers: h, req: req, typ: typ, seg: []string{name, segments[0]}}
		t := command.Target{ID: id}
		if _, found, err := c.lookup(&t); err != nil {
			return err
		} else if found {
			req.SetSegments([]string{name, segments[0], last})
			return nil
		}
	}
	// Who may not ask does not learn that it is not there.
	c := &call{Handlers: h, req: req, typ: &schema.Type{Collection: among[0]}, seg: []string{among[0], segments[0], last}}
	if err := c.authorize(); err != nil {
		return err
	}
	return notFound()
}

// pushes answers what push knows of a path; done is false if it is nothing of this.
func (c *call) pushes() (reply *wire.Reply, done bool, err error) {
	switch c.typ.Collection {
	case "notifiers":
		return c.aboutNotifiers()
	case "notifications":
		return c.aboutNotifications()
	case "receipts":
		return c.aboutReceipts()
	case "devices", "users", "groups":
	default:
		return nil, false, nil
	}
	if len(c.seg) < 2 {
		return c.aboutDevices()
	}
	last, own := cutMatrix(c.seg[len(c.seg)-1])
	if own != nil {
		return nil, false, nil
	}
	switch inflect.Collection(last) {
	case "notifications":
		switch c.req.Method() {
		case "POST":
			return c.notifyPath()
		case "GET":
			if reply, done, err := c.notificationsOf(); done || err != nil {
				return reply, done, err
			}
			return c.belowOwners("notifications")
		}
	case "receipts", "notifiers":
		if c.typ.Collection == "devices" {
			return c.ofDevices(inflect.Collection(last))
		}
		return c.belowOwners(inflect.Collection(last))
	}
	return nil, false, nil
}

// picked is what a path selects of its first collection.
type picked struct {
	every  bool
	own    []param // that select, if every is set
	target command.Target
}

// pick reads what the path selects of its first collection, and what follows.
func (c *call) pick() (p picked, rest []string, err error) {
	if len(c.seg) < 2 {
		return picked{every: true, own: c.own}, nil, nil
	}
	every, own, err := c.selection(c.seg[1])
	switch {
	case err != nil:
		return p, nil, err
	case every:
		return picked{every: true, own: own}, c.seg[2:], nil
	case len(c.own) > 0:
		return picked{every: true, own: c.own}, c.seg[1:], nil
	}
	p.target, err = c.target(c.seg[1])
	return p, c.seg[2:], err
}
