package collections

import (
	"strings"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// notifierSecrets are the properties of a notifier that are stored sealed, beside it. They
// are taken out of what is stored of it, whatever came with them.
var notifierSecrets = []string{"p12Certificate", "certificatePassword", "authKey", "apiKey", "serviceAccount", "clientSecret", "vapidPrivateKey"}

// maxRevisions is how often a change is worked out anew because what it was made of has
// changed meanwhile.
const maxRevisions = 8

// aboutNotifiers answers what creates and changes notifiers; the rest is as in all
// collections.
func (c *call) aboutNotifiers() (*wire.Reply, bool, error) {
	method := c.req.Method()
	if len(c.seg) > 2 || len(c.own) > 0 || method != "POST" && method != "PUT" {
		return nil, false, nil
	}
	p := &params{rest: c.req}
	if len(c.seg) == 1 {
		if method == "PUT" && p.selects() {
			return nil, true, fault.New(fault.UnsupportedAction, "notifiers are changed one by one")
		}
		reply, err := c.putNotifier(command.Target{})
		return reply, true, err
	}
	every, _, err := c.selection(c.seg[1])
	switch {
	case err != nil:
		return nil, true, err
	case every && method == "POST":
		reply, err := c.putNotifier(command.Target{})
		return reply, true, err
	case every:
		return nil, true, fault.New(fault.UnsupportedAction, "notifiers are changed one by one")
	case method == "POST" || strings.HasPrefix(c.seg[1], "_"):
		return nil, false, nil
	}
	t, err := c.target(c.seg[1])
	if err != nil {
		return nil, true, err
	}
	reply, err := c.putNotifier(t)
	return reply, true, err
}

// putNotifier creates a notifier, or changes the one that a target names; without a
// target it creates.
func (c *call) putNotifier(t command.Target) (*wire.Reply, error) {
	in, err := c.notifierInput()
	if err != nil {
		return nil, err
	}
	in.Force = strings.EqualFold(c.req.Query("force"), "true")
	for range maxRevisions {
		e, found, err := c.storedNotifier(&t, &in)
		if err != nil {
			return nil, err
		}
		properties, secrets, err := c.pushing.Push.CheckNotifier(c.req.Context(), in)
		if err != nil {
			return nil, err
		}
		var reply *wire.Reply
		if found {
			reply, err = c.reviseNotifier(&e, properties, secrets)
		} else {
			reply, err = c.createNotifier(t, properties, secrets)
		}
		if !found || !fault.Is(err, fault.Conflict) {
			return reply, err
		}
	}
	return nil, fault.New(fault.Conflict, "the notifier is being changed by others")
}

// storedNotifier reads the notifier that is changed into what it is checked with.
func (c *call) storedNotifier(t *command.Target, in *NotifierInput) (e entity.Entity, found bool, err error) {
	in.Stored, in.StoredSecrets = nil, nil
	if t.ID.IsZero() && len(t.Aliases) == 0 {
		return e, false, nil
	}
	var sealed entity.Credential
	err = c.upToDate(c.req, func(v *storage.View) error {
		if e, found, err = c.find(v, t); err != nil || !found {
			return err
		}
		sealed, _, err = storage.ReadCredential(v, c.req.App.Number, e.ID, entity.CredentialNotifier)
		return err
	})
	if err != nil || !found {
		return e, false, err
	}
	in.Stored, in.StoredSecrets = e.JSON, []byte("{}")
	if len(sealed.Value) > 0 {
		in.StoredSecrets, err = c.accounts.Open(e.ID, entity.CredentialNotifier, sealed.Value)
	}
	return e, true, err
}

// notifierDocument is what is stored of the properties of a notifier.
func (c *call) notifierDocument(properties []byte, now int64) (*document, error) {
	if err := wire.CheckJSON(properties); err != nil {
		return nil, err
	}
	doc, err := normalize(c.typ, properties, forCreate, now)
	if err != nil {
		return nil, err
	}
	for _, name := range notifierSecrets {
		doc.remove(name)
	}
	return doc, nil
}

func (c *call) createNotifier(t command.Target, properties, secrets []byte) (*wire.Reply, error) {
	id, now := newID()
	doc, err := c.notifierDocument(properties, now)
	if err != nil {
		return nil, err
	}
	switch {
	case !t.ID.IsZero():
		id = t.ID
	case len(t.Aliases) > 0:
		if err := c.nameAfterPath(doc, t); err != nil {
			return nil, err
		}
	}
	item := command.NewEntity{ID: id, Created: now, Modified: now}
	if !t.ID.IsZero() {
		item.Created, item.Modified = c.times(doc, id)
	}
	if item.JSON, err = doc.json(forCreate); err != nil {
		return nil, err
	}
	sealed, err := c.sealNotifier(id, secrets)
	if err != nil {
		return nil, err
	}
	item.Credentials = []command.Credential{sealed}
	out, err := c.propose(c.req, command.CreateEntities{Rules: c.typ.Rules(), Items: []command.NewEntity{item}})
	if err != nil {
		return nil, err
	}
	return c.reply(out.Entities)
}

func (c *call) sealNotifier(id entity.ID, secrets []byte) (command.Credential, error) {
	if len(secrets) == 0 {
		secrets = []byte("{}")
	}
	sealed, err := c.accounts.Seal(id, entity.CredentialNotifier, secrets)
	return command.Credential{Kind: entity.CredentialNotifier, Value: sealed}, err
}

// reviseNotifier makes a notifier what was worked out of it, unless it has changed since.
func (c *call) reviseNotifier(e *entity.Entity, properties, secrets []byte) (*wire.Reply, error) {
	doc, err := c.notifierDocument(properties, c.now())
	if err != nil {
		return nil, err
	}
	gone := []string{}
	err = eachMember(e.JSON, func(m member) error {
		if !doc.has(m.key) {
			gone = append(gone, m.key)
		}
		return nil
	})
	for _, key := range gone {
		if err == nil {
			err = doc.set(key, wire.AppendString(nil, key), []byte("null"))
		}
	}
	if err != nil {
		return nil, err
	}
	patch, err := doc.json(forUpdate)
	if err != nil {
		return nil, err
	}
	sealed, err := c.sealNotifier(e.ID, secrets)
	if err != nil {
		return nil, err
	}
	out, err := c.propose(c.req, command.Together{
		First: command.ReviseEntity{Rules: c.typ.Rules(), ID: e.ID, Rev: e.Rev, Patch: patch},
		Then:  []command.Op{command.SetCredential{Collection: c.typ.Collection, Owner: e.ID, Credential: sealed}},
	})
	if err != nil {
		return nil, err
	}
	return c.reply(out.Entities)
}

// notifier finds a notifier by its UUID or its name.
func (c *call) notifier(v *storage.View, name string) (entity.Entity, bool, error) {
	col, ok, err := storage.ReadCollectionID(v, c.req.App.Number, "notifiers")
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	if id, isID := entity.ParseID(name); isID {
		if e, found, err := storage.ReadEntityByID(v, c.req.App.Number, col, id); err != nil || found {
			return e, found, err
		}
	}
	if name = strings.TrimSpace(name); name == "" || len(name) > maxUniqueBytes {
		return entity.Entity{}, false, nil
	}
	return storage.ReadEntityByAlias(v, c.req.App.Number, col, "name", name)
}

// tokenSuffix ends the names of the properties that register a device for a notifier.
const tokenSuffix = ".notifier.id"

// notifierOfToken returns the name or the UUID of the notifier that a property of a device
// registers it for; false if it is no such property.
func notifierOfToken(property string) (string, bool) {
	name, ok := strings.CutSuffix(keys.Fold(property), tokenSuffix)
	return name, ok && name != ""
}

// notifiersOf answers GET of the notifiers that a device is registered for.
func (c *call) notifiersOf(p picked) (reply *wire.Reply, err error) {
	if p.every {
		return nil, fault.New(fault.UnsupportedAction, "notifiers are asked for of one device")
	}
	err = c.reading(c.req, func(v *storage.View) error {
		e, found, err := c.find(v, &p.target)
		if err != nil {
			return err
		}
		if !found {
			return c.missing()
		}
		ids, err := c.registeredFor(v, &command.Target{ID: e.ID})
		if err != nil {
			return err
		}
		reply, err = c.listWhere(v, "notifiers", c.path+"/"+e.ID.String()+"/notifiers", anyOf("uuid", ids), len(ids) == 0)
		return err
	})
	return reply, err
}

// registeredFor returns the notifiers that a device is registered for; none if it is gone.
func (c *call) registeredFor(v *storage.View, t *command.Target) (ids []entity.ID, err error) {
	typ, err := c.types.of("devices")
	if err != nil {
		return nil, err
	}
	e, found, err := c.of(typ).find(v, t)
	if err != nil || !found {
		return nil, err
	}
	err = eachMember(e.JSON, func(m member) error {
		name, ok := notifierOfToken(m.key)
		if !ok || len(ids) == maxLimit {
			return nil
		}
		n, found, err := c.notifier(v, name)
		if err == nil && found && c.pushing.Push.HasToken(n.JSON, m.value) {
			ids = append(ids, n.ID)
		}
		return err
	})
	return ids, err
}

// anyOf is the condition that a property is one of some UUIDs; nil of none.
func anyOf(property string, ids []entity.ID) ql.Node {
	var list []ql.Node
	for _, id := range ids {
		list = append(list, &ql.Compare{Property: property, Op: ql.Equal, Value: entity.Value{Class: entity.StringClass, String: id.String()}})
	}
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return &ql.Or{List: list}
}

// listWhere answers GET of the entities of a type that satisfy a condition beside what the
// request asks for, under a path of their own; none says that none can.
func (c *call) listWhere(v *storage.View, name, path string, cond ql.Node, none bool) (*wire.Reply, error) {
	typ, err := c.types.of(name)
	if err != nil {
		return nil, err
	}
	of := c.of(typ)
	ask, err := of.ask(&params{rest: c.req}, defaultLimit)
	if err != nil {
		return nil, err
	}
	reply := c.req.Entities(path)
	if none {
		return reply, nil
	}
	if err := ask.Query.Restrict(cond); err != nil {
		return nil, err
	}
	if ask.From, err = of.source(v, typ); err != nil {
		return nil, err
	}
	ask.Binding = []byte(path)
	page, err := c.engine.Run(c.req.Context(), v, &ask)
	if err != nil {
		return nil, err
	}
	s := of.newShow(v, &ask, reply, func(*schema.Type) string { return of.path })
	if err := s.rows(page.Rows); err != nil {
		return nil, err
	}
	s.finish(page)
	return reply, nil
}
