package raftfsm

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// draft is a new entity that was checked and not yet written.
type draft struct {
	entity      entity.Entity
	credentials []command.Credential
	entries     index.Set
	built       entity.CollectionID // entries are for this collection
}

// draftAt returns the i-th draft, whose memory is reused.
func (m *Machine) draftAt(i int) *draft {
	for len(m.drafts) <= i {
		m.drafts = append(m.drafts, draft{})
	}
	return &m.drafts[i]
}

// releaseDrafts forgets what the drafts of a command alias.
func (m *Machine) releaseDrafts() {
	if len(m.drafts) > 64 {
		m.drafts = nil // a large batch must not be held for ever
	}
}

func (m *Machine) createEntities(cmd *command.Command, op *command.CreateEntities) (result, error) {
	defer m.releaseDrafts()
	c, err := m.open(cmd.App, op.Rules.Collection, op.Rules.Unique)
	if err != nil {
		return result{}, err
	}
	if op.Partial {
		return m.createEach(c, op)
	}
	var claimed map[string]struct{} // keys of the drafts so far
	if len(op.Items) > 1 {
		claimed = make(map[string]struct{})
	}
	for i := range op.Items {
		d := m.draftAt(i)
		if err := m.check(d, c, &op.Rules, &op.Items[i], c.next+entity.Seq(i)); err != nil {
			return result{}, err
		}
		if claimed == nil {
			continue
		}
		for _, e := range d.entries.Entries() {
			if !e.Claims() {
				continue
			}
			if _, claims := claimed[string(e.Key)]; claims {
				return result{}, refusal{taken(&op.Rules, &e, d.entity.ID)}
			}
			claimed[string(e.Key)] = struct{}{}
		}
	}
	if err := m.enroll(c); err != nil {
		return result{}, err
	}
	res := m.newResult(len(op.Items))
	for i := range op.Items {
		d := m.draftAt(i)
		if err := m.write(d, c); err != nil {
			return result{}, err
		}
		res.add(c, d.entity)
	}
	m.touch(cmd.App, c.name)
	return res, nil
}

// createEach creates the items that can be, each by itself.
func (m *Machine) createEach(c *collection, op *command.CreateEntities) (result, error) {
	if len(op.Items) == 0 {
		return result{}, m.enroll(c)
	}
	res := m.newResult(len(op.Items))
	for i := range op.Items {
		d := m.draftAt(0)
		c.retract()
		err := m.check(d, c, &op.Rules, &op.Items[i], c.next)
		if f := refusedBy(err); f != nil {
			res.Errors = append(res.Errors, command.ItemError{Index: i, Code: f.Code, Message: f.Message})
			continue
		}
		if err == nil {
			err = m.enroll(c)
		}
		if err == nil {
			err = m.write(d, c)
		}
		if err != nil {
			return result{}, err
		}
		res.add(c, d.entity)
	}
	if len(res.Entities) > 0 {
		m.touch(c.App, c.name)
	}
	return res, nil
}

// newResult returns an empty result with room for n entities.
func (m *Machine) newResult(n int) result {
	if n == 0 {
		return result{}
	}
	return result{Outcome: command.Outcome{Entities: make([]entity.Entity, 0, n)}, where: m.where[:0]}
}

func (r *result) add(c *collection, e entity.Entity) {
	r.Entities = append(r.Entities, e)
	r.where = append(r.where, c.ID)
}

// check makes d the entity that item would become, or refuses it.
func (m *Machine) check(d *draft, c *collection, rules *command.Rules, item *command.NewEntity, seq entity.Seq) error {
	if item.ID.IsZero() {
		return refuse(fault.IllegalArgument, "an entity needs an id")
	}
	if err := tooLarge(item.JSON); err != nil {
		return err
	}
	for _, cr := range item.Credentials {
		if err := credentialKind(cr.Kind); err != nil {
			return err
		}
	}
	d.entity = entity.Entity{
		ID: item.ID, Created: item.Created, Modified: max(item.Created, item.Modified),
		Seq: seq, Rev: seq, Generation: c.settings.Plan.Generation, JSON: item.JSON,
	}
	d.credentials = item.Credentials
	if o := index.NewObject(item.JSON); o.Err() != nil {
		return refuseAs(o.Err())
	}
	d.built = c.ID
	if err := d.entries.Build(&c.Collection, &c.settings.Plan, &d.entity); err != nil {
		return refuseAs(err)
	}
	if !c.founded {
		return nil // nobody to meet
	}
	return m.free(rules, &d.entries, nil, d.entity.ID)
}

// free refuses if a key of the set that must have one owner has another one.
// Keys that are also in except, which may be nil, are the entity's own.
func (m *Machine) free(rules *command.Rules, set, except *index.Set, id entity.ID) error {
	entries := set.Entries()
	for i := range entries {
		e := &entries[i]
		if !e.Claims() || except != nil && (e.Unique == "" || except.Has(e.Key)) {
			continue
		}
		_, owned, err := m.get(e.Key)
		if err != nil {
			return err
		}
		if owned {
			return refusal{taken(rules, e, id)}
		}
	}
	return nil
}

// get reads a small value, which lives until the next.
func (m *Machine) get(key []byte) ([]byte, bool, error) {
	raw, ok, err := m.batch.Get(m.value[:0], key)
	if raw != nil {
		m.value = raw
	}
	return raw, ok, err
}

// taken says that the one place of an entry is taken.
func taken(rules *command.Rules, e *index.Entry, id entity.ID) *fault.Error {
	if e.Unique == "" {
		return fault.New(fault.Conflict, "an entity with id %s exists in collection %s", id, rules.Collection)
	}
	return fault.New(fault.Duplicate, "Entity %q requires that property named %q be unique, value of %s exists",
		rules.Type, e.Unique, excerpt(strings.TrimSpace(e.Text)))
}

// excerpt cuts a client's value for a message.
func excerpt(s string) string {
	const most = 256
	if len(s) <= most {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	n := most
	for n > most-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.ToValidUTF8(s[:n], "\ufffd") + "…"
}

func tooLarge(json []byte) error {
	if len(json) > command.MaxEntity {
		return refuse(fault.EntityTooLarge, "entity of %d bytes, more than the %d allowed", len(json), command.MaxEntity)
	}
	return nil
}

// write puts a checked entity into the batch. The collection is enrolled.
func (m *Machine) write(d *draft, c *collection) error {
	if d.built != c.ID {
		// The collection was founded by this command: its number was not known to check.
		if err := d.entries.Build(&c.Collection, &c.settings.Plan, &d.entity); err != nil {
			return err
		}
	}
	if err := m.populate(c, 1); err != nil {
		return err
	}
	c.next++
	c.count++
	m.names.change(c)
	m.putEntity(c, &d.entity)
	for _, e := range d.entries.Entries() {
		m.batch.Set(e.Key, e.Value)
	}
	m.use(c, d.entity.Seq, nil, d.entries.Uses())
	for i := range d.credentials {
		m.putCredential(c.App, d.entity.ID, d.credentials[i].Kind, &entity.Credential{
			Changed: d.entity.Modified, Value: d.credentials[i].Value,
		})
	}
	return nil
}

func (m *Machine) putEntity(c *collection, e *entity.Entity) {
	m.key = keys.AppendEntity(m.key[:0], c.Partition, c.App, c.ID, e.Seq)
	m.value = entity.AppendRecord(m.value[:0], e)
	m.batch.Set(m.key, m.value)
	if cap(m.value) > maxArena {
		m.value = nil
	}
}

// find returns the entity a target names. Its JSON lives until the next find.
func (m *Machine) find(c *collection, t *command.Target) (entity.Entity, bool, error) {
	if !c.founded {
		return entity.Entity{}, false, nil
	}
	if !t.ID.IsZero() {
		return m.findID(c, t.ID)
	}
	for _, alias := range t.Aliases {
		number, ok := c.unique(keys.Fold(alias.Property))
		if !ok {
			continue
		}
		m.key = keys.AppendUnique(m.key[:0], c.Partition, c.App, c.ID, number, alias.Value)
		raw, ok, err := m.get(m.key)
		if err != nil {
			return entity.Entity{}, false, err
		}
		if !ok {
			continue
		}
		seq, id, ok := keys.DecodeUniqueValue(raw)
		if !ok {
			return entity.Entity{}, false, fault.New(fault.Corrupt, "unique key %x", m.key)
		}
		return m.existing(c, seq, id)
	}
	return entity.Entity{}, false, nil
}

func (m *Machine) findID(c *collection, id entity.ID) (entity.Entity, bool, error) {
	m.key = keys.AppendID(m.key[:0], c.Partition, c.App, c.ID, id)
	raw, ok, err := m.get(m.key)
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	seq, ok := keys.DecodeSeq(raw)
	if !ok {
		return entity.Entity{}, false, fault.New(fault.Corrupt, "id key %x", m.key)
	}
	return m.existing(c, seq, id)
}

// existing reads an entity that an index says is there.
func (m *Machine) existing(c *collection, seq entity.Seq, id entity.ID) (entity.Entity, bool, error) {
	if cap(m.stored) > maxArena {
		m.stored = nil
	}
	m.key = keys.AppendEntity(m.key[:0], c.Partition, c.App, c.ID, seq)
	raw, ok, err := m.batch.Get(m.stored[:0], m.key)
	if err != nil {
		return entity.Entity{}, false, err
	}
	if ok {
		m.stored = raw
		e, err := entity.DecodeRecord(raw)
		if err == nil && e.ID == id {
			return e, true, nil
		}
	}
	return entity.Entity{}, false, fault.New(fault.Corrupt, "an index leads to entity %s, which is not at key %x", id, m.key)
}

// elsewhere refuses if id is an entity of another collection of the application.
func (m *Machine) elsewhere(c *collection, rules *command.Rules, id entity.ID) error {
	next, err := m.nextNumber(m.batch, c.App, 0)
	if err != nil {
		return err
	}
	for number := entity.CollectionID(1); number < entity.CollectionID(next); number++ {
		if number == c.ID {
			continue
		}
		m.key = keys.AppendID(m.key[:0], c.Partition, c.App, number, id)
		if _, ok, err := m.get(m.key); err != nil {
			return err
		} else if ok {
			return refuse(fault.UnexpectedEntityType, "entity %s is not of type %s", id, rules.Type)
		}
	}
	return nil
}

func (m *Machine) updateEntity(cmd *command.Command, op *command.UpdateEntity) (result, error) {
	c, err := m.open(cmd.App, op.Rules.Collection, op.Rules.Unique)
	if err != nil {
		return result{}, err
	}
	old, found, err := m.find(c, &op.Target)
	if err != nil {
		return result{}, err
	}
	if !found {
		return m.upsert(cmd, op, c)
	}
	d := m.draftAt(0)
	if err := m.revise(cmd, d, c, &op.Rules, &old, op.Patch); err != nil {
		return result{}, err
	}
	e := d.entity
	if err := m.enroll(c); err != nil {
		return result{}, err
	}
	c.next++
	m.names.change(c)
	m.replace(c, &old, d)
	m.touch(cmd.App, c.name)
	res := m.newResult(1)
	res.add(c, e)
	return res, nil
}

// revise makes d what a patch makes of an entity, and m.before what the entity was, or
// refuses.
func (m *Machine) revise(cmd *command.Command, d *draft, c *collection, rules *command.Rules, old *entity.Entity, patch []byte) error {
	json, err := m.merger.merge(old.JSON, patch, rules.Required)
	if err != nil {
		return refuseAs(err)
	}
	if err := tooLarge(json); err != nil {
		return err
	}
	d.entity = *old
	d.entity.JSON, d.entity.Modified, d.entity.Rev = json, max(cmd.Time, old.Modified+1), c.next
	if err := m.rebuild(d, c, old); err != nil {
		return err
	}
	return m.free(rules, &d.entries, &m.before, old.ID)
}

// rebuild makes the entries of d those of the current plan, and m.before those that
// the entity has, or refuses.
func (m *Machine) rebuild(d *draft, c *collection, old *entity.Entity) error {
	d.built = c.ID
	d.entity.Generation = c.settings.Plan.Generation
	if err := d.entries.Build(&c.Collection, &c.settings.Plan, &d.entity); err != nil {
		return refuseAs(err)
	}
	return m.recallEntries(c, old)
}

// replace writes d in the place of an entity, whose entries are m.before.
func (m *Machine) replace(c *collection, old *entity.Entity, d *draft) {
	m.putEntity(c, &d.entity)
	index.Difference(&m.before, &d.entries, m.batch.Delete, m.batch.Set)
	m.use(c, old.Seq, m.before.Uses(), d.entries.Uses())
	m.leave(c, old.Generation)
}

// upsert creates what an update did not find.
func (m *Machine) upsert(cmd *command.Command, op *command.UpdateEntity, c *collection) (result, error) {
	if !op.Target.ID.IsZero() {
		if err := m.elsewhere(c, &op.Rules, op.Target.ID); err != nil {
			return result{}, err
		}
	}
	if op.Create == nil {
		return result{}, refuse(fault.ServiceResourceNotFound, "no such entity in collection %s", op.Rules.Collection)
	}
	d := m.draftAt(0)
	if err := m.check(d, c, &op.Rules, op.Create, c.next); err != nil {
		return result{}, err
	}
	if err := m.enroll(c); err != nil {
		return result{}, err
	}
	if err := m.write(d, c); err != nil {
		return result{}, err
	}
	m.touch(cmd.App, c.name)
	res := m.newResult(1)
	res.Created = true
	res.add(c, d.entity)
	return res, nil
}

func (m *Machine) deleteEntity(cmd *command.Command, op *command.DeleteEntity) (result, error) {
	if cmd.App == entity.Management {
		return result{}, refuse(fault.ForbiddenOperation, "entities of the management application are not deleted one by one")
	}
	c, err := m.open(cmd.App, op.Collection, nil)
	if err != nil {
		return result{}, err
	}
	e, found, err := m.find(c, &op.Target)
	if err != nil {
		return result{}, err
	}
	if !found {
		if !op.Target.ID.IsZero() {
			if err := m.elsewhere(c, &command.Rules{Type: op.Collection}, op.Target.ID); err != nil {
				return result{}, err
			}
		}
		return result{}, refuse(fault.ServiceResourceNotFound, "no such entity in collection %s", op.Collection)
	}
	e.JSON = bytes.Clone(e.JSON)
	if err := m.remove(c, &e); err != nil {
		return result{}, err
	}
	if err := m.removeHeld(c, e.ID); err != nil {
		return result{}, err
	}
	if c.severed(&e) {
		if err := m.sever(cmd, []entity.End{{Collection: c.ID, Seq: e.Seq}}); err != nil {
			return result{}, err
		}
	}
	m.touch(cmd.App, c.name)
	return result{
		Outcome: command.Outcome{Entities: []entity.Entity{e}},
		where:   []entity.CollectionID{0}, // recorded whole: it can't be read again
	}, nil
}

// remove takes an entity and its index entries out of a collection.
func (m *Machine) remove(c *collection, e *entity.Entity) error {
	if err := m.recallEntries(c, e); err != nil {
		return err
	}
	if err := m.populate(c, -1); err != nil {
		return err
	}
	m.key = keys.AppendEntity(m.key[:0], c.Partition, c.App, c.ID, e.Seq)
	m.batch.Delete(m.key)
	for _, entry := range m.before.Entries() {
		m.batch.Delete(entry.Key)
	}
	m.use(c, e.Seq, m.before.Uses(), nil)
	m.leave(c, e.Generation)
	c.count--
	m.names.change(c)
	return nil
}

func (m *Machine) createCollections(cmd *command.Command, op *command.CreateCollections) (result, error) {
	for _, name := range op.Names {
		if _, err := m.open(cmd.App, name, nil); err != nil {
			return result{}, err
		}
	}
	for _, name := range op.Names {
		c, err := m.open(cmd.App, name, nil)
		if err != nil {
			return result{}, err
		}
		if err := m.enroll(c); err != nil {
			return result{}, err
		}
	}
	return result{}, nil
}
