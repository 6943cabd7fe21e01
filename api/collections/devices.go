package collections

import (
	"cmp"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// checkTokens asks the providers whether a device can be registered with the tokens that a
// document has, and notes that it is. One for a notifier that nobody knows is kept as it
// is: it may come later.
func (c *call) checkTokens(doc *document) error {
	if c.pushing.Push == nil {
		return nil
	}
	if err := doc.noteRegistrations(c.now()); err != nil {
		return err
	}
	var tokens []*property
	for i := range doc.properties {
		p := &doc.properties[i]
		if _, ok := notifierOfToken(p.key); ok && p.value != nil && !p.empty {
			if len(p.value) > maxTokenBytes {
				return fault.New(fault.IllegalArgument, "a token is longer than %d bytes", maxTokenBytes)
			}
			tokens = append(tokens, p)
		}
	}
	if len(tokens) == 0 {
		return nil
	}
	if len(tokens) > maxTokens {
		return fault.New(fault.IllegalArgument, "a device is registered for %d notifiers at most", maxTokens)
	}
	if c.pushing.UniqueTokens {
		for _, p := range tokens {
			if token, ok := shownToken(p.value); ok && len(*c.tokens) < maxTokens {
				*c.tokens = append(*c.tokens, came{keys.Fold(p.key), token})
			}
		}
	}
	return c.upToDate(c.req, func(v *storage.View) error {
		for _, p := range tokens {
			name, _ := notifierOfToken(p.key)
			n, found, err := c.notifier(v, name)
			if err == nil && found {
				err = c.pushing.Push.CheckToken(n.JSON, p.value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Bounds of the tokens that one request gives a device.
const (
	maxTokens     = 100
	maxTokenBytes = 16 << 10 // as JSON; the largest are push subscriptions written as text
)

// othersOf are commands that end the links of a device to all users but one: they go with
// the command that makes that link. None for links that are not of devices.
func (c *call) othersOf(o *owner, r *relation, far entity.ID) (ends []command.Op, err error) {
	if r.verb != entity.VerbDevices || far.IsZero() {
		return nil, nil
	}
	user, device := o.id, far
	if r.direction == keys.Inbound {
		user, device = far, o.id
	}
	err = c.upToDate(c.req, func(v *storage.View) error {
		users, err := c.usersOf(v, device)
		for _, other := range users {
			if other != user && len(ends) < maxOthers {
				ends = append(ends, unlink(other, device))
			}
		}
		return err
	})
	return ends, err
}

// maxOthers bounds how many links one command ends.
const maxOthers = 32

// settle makes sure that a device has one user, also if two were given it at a time.
func (c *call) settle(o *owner, r *relation, far entity.ID) error {
	if r.verb != entity.VerbDevices {
		return nil
	}
	if r.direction == keys.Inbound {
		far = o.id
	}
	return c.soleUser(far, firstOfMany+1<<23)
}

// mostSettled is how often soleUser tries, while others link the device as well.
const mostSettled = 64

// soleUser ends the links of a device to all users but the newest: whoever linked it last
// has it, also of two who did so at the same time. Each command leaves the one user that
// it is for linked, and who proposed it looks again: so the last of several leaves one.
func (c *call) soleUser(device entity.ID, step int) error {
	for try := range mostSettled {
		var users []entity.ID
		err := c.upToDate(c.req, func(v *storage.View) (err error) {
			users, err = c.usersOf(v, device)
			return err
		})
		if err != nil || len(users) < 2 {
			return err
		}
		newest, ends := unlink(users[0], device), []command.Op(nil)
		for _, other := range users[1:min(len(users), 1+maxOthers)] {
			ends = append(ends, unlink(other, device))
		}
		keep := command.Connect{Source: newest.Source, Verb: newest.Verb, Target: newest.Targets[0], Keep: true}
		_, err = c.proposeStep(c.req, c.req.App.Number, command.Together{First: keep, Then: ends}, step+try)
		if err != nil && !fault.Is(err, fault.ServiceResourceNotFound) { // a user who was deleted meanwhile
			return err
		}
	}
	return fault.New(fault.Overloaded, "too many users link the device at the same time")
}

// usersOf returns the users that a device is linked to, the newest link first.
func (c *call) usersOf(v *storage.View, device entity.ID) ([]entity.ID, error) {
	app := c.req.App.Number
	col, ok, err := storage.ReadCollectionID(v, app, "devices")
	if err != nil || !ok {
		return nil, err
	}
	e, found, err := storage.ReadEntityByID(v, app, col, device)
	if err != nil || !found {
		return nil, err
	}
	users, err := c.types.of("users")
	if err != nil {
		return nil, err
	}
	from, err := c.source(v, users)
	if err != nil || from.ID == 0 {
		return nil, err
	}
	verb, ok, err := storage.VerbID(v, app, entity.VerbDevices)
	if err != nil || !ok {
		return nil, err
	}
	page, err := c.engine.Run(c.req.Context(), v, &query.Request{
		App: app, Query: &ql.Query{}, Limit: maxLimit,
		Edges: &query.Edges{
			Near: entity.End{Collection: col, Seq: e.Seq}, Direction: keys.Inbound, Verbs: []entity.VerbID{verb}, Only: from.ID,
			Collection: func(id entity.CollectionID) (query.Collection, bool) { return from, id == from.ID },
		},
	})
	if err != nil {
		return nil, err
	}
	return idsOf(page.Rows), nil
}

func unlink(user, device entity.ID) command.Disconnect {
	return command.Disconnect{
		Source: command.Ref{Collection: "users", Target: command.Target{ID: user}}, Verb: entity.VerbDevices,
		Targets: []command.Ref{{Collection: "devices", Target: command.Target{ID: device}}},
	}
}

// came is a token that a request gave a device: the property, and what it is known by.
type came struct{ property, token string }

// clearTokens takes the tokens that came with a request from all devices but the one that
// was written last.
func (c *call) clearTokens() error {
	if len(*c.tokens) == 0 {
		return nil
	}
	devices, err := c.types.of("devices")
	if err != nil {
		return err
	}
	step := firstOfMany + 1<<24
	for _, t := range *c.tokens {
		var held []entity.Entity
		err := c.upToDate(c.req, func(v *storage.View) (err error) {
			held, err = c.Holders(c.req.Context(), v, c.req.App.Number, t.property, t.token, maxLimit)
			return err
		})
		if err != nil {
			return err
		}
		slices.SortFunc(held, func(a, b entity.Entity) int { return cmp.Compare(b.Rev, a.Rev) })
		patch := append(wire.AppendString([]byte{'{'}, t.property), `:null,`...)
		patch = append(wire.AppendString(patch, registrationOf(t.property)), `:null}`...)
		for j := 1; j < len(held); j++ {
			step++
			_, err := c.proposeStep(c.req, c.req.App.Number, command.ReviseEntity{
				Rules: devices.Rules(), ID: held[j].ID, Rev: held[j].Rev, Patch: patch,
			}, step)
			if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.ServiceResourceNotFound) {
				return err
			}
		}
	}
	return nil
}

// aboutDevices answers POST of a notification to what a query selects of the devices: a
// body with payloads, and a query (spec push-notifications section 3.1). It needs the
// permission to broadcast, for guests may create devices.
func (c *call) aboutDevices() (*wire.Reply, bool, error) {
	if c.typ.Collection != "devices" || c.req.Method() != "POST" {
		return nil, false, nil
	}
	p := &params{own: c.own, rest: c.req}
	asks := false
	for _, name := range []string{"ql", "q", "query"} {
		asks = asks || len(p.all(name)) > 0
	}
	if !asks {
		return nil, false, nil
	}
	text, err := c.jsonBody()
	if err != nil || text == nil || text[skipSpace(text, 0)] != '{' {
		return nil, false, nil // what it is, is said where devices are created
	}
	if payloads, ok := lastMember(text, "payloads"); !ok || payloads[0] != '{' {
		return nil, false, nil
	}
	if err := c.mayBroadcast(); err != nil {
		return nil, true, err
	}
	token, err := selecting("devices", p)
	if err != nil {
		return nil, true, err
	}
	reply, err := c.notify([]pathToken{token}, "/devices/notifications")
	return reply, true, err
}

// lastMember returns the value of a member of a JSON object, whose name is compared without
// case; of several the last one counts.
func lastMember(object []byte, name string) (value []byte, found bool) {
	// The callback never fails, so neither does the walk.
	_ = eachMember(object, func(m member) error {
		if keys.SameFold(m.key, name) {
			value, found = m.value, true
		}
		return nil
	})
	return value, found
}

// ofDevices answers GET of the receipts of devices, and of the notifiers of one.
func (c *call) ofDevices(word string) (*wire.Reply, bool, error) {
	p, rest, err := c.pick()
	switch {
	case err != nil:
		return nil, true, err
	case len(rest) != 1:
		return nil, false, nil
	case c.req.Method() != "GET":
		return nil, true, fault.New(fault.UnsupportedAction, "%s of devices are read only", strings.ToLower(word))
	}
	var reply *wire.Reply
	if word == "notifiers" {
		reply, err = c.notifiersOf(p)
	} else {
		reply, err = c.receiptsOf(p, "deviceid")
	}
	return reply, true, err
}
