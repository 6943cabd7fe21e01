package raftfsm

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	// maxNames bounds how many collections are kept in memory, maxPaths how many
	// properties of all of them.
	maxNames = 4096
	maxPaths = 1 << 18
	// maxName bounds the length of the name of a collection or property, in bytes.
	maxName = 1024
	// maxProperties is how many property paths of a collection can be indexed.
	maxProperties = 20_000
)

// names keeps collections in memory: their numbers and counters, properties and
// settings. Whatever is here is what the state DB holds, with the writes of the
// current batch; what changed of it reaches the batch in flush.
type names struct {
	known   map[nameKey]*collection
	changed []*collection
	paths   int // properties of known
}

type nameKey struct {
	app  entity.AppID
	name string
}

// collection is a collection as commands see it.
type collection struct {
	// Collection.Unique are all properties that were ever declared unique: first
	// the named ones, which the dictionary says so of, then those that the command
	// at hand adds. Collection.Properties is the collection itself.
	index.Collection

	name    string
	founded bool // it exists; until then its number is 0
	next    entity.Seq
	count   uint64
	changed bool // something differs from what the state DB or batch holds
	named   int  // how many of Unique the dictionary knows as such

	properties map[string]*property
	numbered   []*property // by number, from 1 on; fresh ones are not among them
	fresh      []*property // that the command at hand adds: undone if it is refused
	kept       int         // of fresh: not undone with an item of the command
	counted    []*property // whose statistics changed

	settings  entity.Settings
	older     []storage.OlderEntities // of the generations of settings.Older
	resettled bool                    // settings changed
}

// property is a property path of a collection.
type property struct {
	name          string
	id            entity.PropertyID
	with, several uint64 // entities with a value in the ordered index, and with several
	counted       bool   // is in collection.counted
	// Entities that have got values or lost them, all of the block of an entity.
	present *storage.Presence // nil: none
	block   entity.Seq
}

// note says that an entity has values of the property, or has none any more.
func (p *property) note(b *storage.Batch, c *collection, seq entity.Seq, has bool) {
	if p.present != nil && p.block/keys.PresentBlock != seq/keys.PresentBlock {
		p.merge(b, c)
	}
	if p.present == nil {
		p.present, p.block = new(storage.Presence), seq
	}
	p.present.Note(seq, has)
}

// merge puts what was noted into the batch.
func (p *property) merge(b *storage.Batch, c *collection) {
	if p.present == nil {
		return
	}
	var key [32]byte
	var change [512]byte
	b.Merge(keys.AppendPresent(key[:0], c.Partition, c.App, c.ID, p.id, p.block), p.present.Append(change[:0]))
	p.present = nil
}

func (n *names) reset() { *n = names{known: make(map[nameKey]*collection)} }

// flush puts what changed into the batch.
func (n *names) flush(b *storage.Batch) {
	var key, value []byte
	for _, c := range n.changed {
		key = keys.AppendCollection(key[:0], c.Partition, c.App, c.ID)
		value = storage.AppendCollection(value[:0], &storage.Collection{NextSeq: c.next, Count: c.count, Older: c.older})
		b.Set(key, value)
		if c.resettled {
			key = keys.AppendSettings(key[:0], c.Partition, c.App, c.ID)
			value = entity.AppendSettings(value[:0], &c.settings)
			b.Set(key, value)
		}
		for _, p := range c.counted {
			p.merge(b, c)
			key = keys.AppendPropertyStats(key[:0], c.Partition, c.App, c.ID, p.id)
			if p.with == 0 {
				b.Delete(key)
			} else {
				value = storage.AppendPropertyStats(value[:0], p.with, p.several)
				b.Set(key, value)
			}
			p.counted = false
		}
		c.counted = c.counted[:0]
		c.changed, c.resettled = false, false
	}
	n.changed = n.changed[:0]
	if len(n.known) > maxNames || n.paths > maxPaths {
		n.reset()
	}
}

// change notes that something of c must be written.
func (n *names) change(c *collection) {
	if !c.changed {
		c.changed = true
		n.changed = append(n.changed, c)
	}
}

// nextNumber reads which number the next name of a dictionary gets.
func (m *Machine) nextNumber(r storage.Reader, app entity.AppID, owner entity.CollectionID) (uint32, error) {
	m.key = keys.AppendName(m.key[:0], m.cfg.Partition, app, owner, "")
	raw, ok, err := r.Get(m.value[:0], m.key)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 1, nil
	}
	m.value = raw
	return decodeNumber(app, owner, "", raw)
}

func decodeNumber(app entity.AppID, owner entity.CollectionID, name string, raw []byte) (uint32, error) {
	n, ok := storage.DecodeNumbered(raw)
	if !ok {
		return 0, fault.New(fault.Corrupt, "dictionary %d of application %d: number of %q", owner, app, name)
	}
	return n.Number, nil
}

func (m *Machine) setNumber(app entity.AppID, owner entity.CollectionID, name string, number uint32) {
	m.key = keys.AppendName(m.key[:0], m.cfg.Partition, app, owner, name)
	m.value = binary.AppendUvarint(m.value[:0], uint64(number))
	m.batch.Set(m.key, m.value)
}

// setProperty writes what the dictionary of a collection says of a property.
func (m *Machine) setProperty(c *collection, name string, id entity.PropertyID, unique bool) {
	m.key = keys.AppendName(m.key[:0], m.cfg.Partition, c.App, c.ID, name)
	m.value = storage.AppendNumbered(m.value[:0], storage.Numbered{Number: uint32(id), Unique: unique})
	m.batch.Set(m.key, m.value)
}

// open returns a collection, prepared for the unique properties of a command.
// One that does not exist is returned all the same, not founded; nothing is
// written. What an earlier open of the collection prepared is undone.
func (m *Machine) open(app entity.AppID, name string, unique []string) (*collection, error) {
	if name == "" || len(name) > maxName {
		return nil, refuse(fault.IllegalArgument, "a collection cannot have a name of %d bytes", len(name))
	}
	c := m.names.known[nameKey{app, name}]
	if c == nil {
		err := m.alive(app) // a purge has made its collections unknown
		if err == nil {
			c, err = m.read(app, name)
		}
		if err != nil {
			return nil, err
		}
	}
	c.Unique = c.Unique[:c.named]
	c.kept = 0
	c.retract()
	for _, name := range unique {
		if name == "" || len(name) > maxName {
			return nil, refuse(fault.IllegalArgument, "a unique property cannot have a name of %d bytes", len(name))
		}
		if _, ok := c.unique(name); !ok {
			c.Unique = append(c.Unique, index.Unique{Name: name, ID: c.property(name).id})
		}
	}
	c.kept = len(c.fresh)
	return c, nil
}

// unique returns the number of a unique property.
func (c *collection) unique(name string) (entity.PropertyID, bool) {
	for i := range c.Unique {
		if c.Unique[i].Name == name {
			return c.Unique[i].ID, true
		}
	}
	return 0, false
}

// retract takes back the numbers that were given since open.
func (c *collection) retract() {
	for _, p := range c.fresh[c.kept:] {
		delete(c.properties, p.name)
	}
	clear(c.fresh[c.kept:])
	c.fresh = c.fresh[:c.kept]
}

// property returns a property, which gets a number if it has none.
func (c *collection) property(name string) *property {
	p := c.properties[name]
	if p == nil {
		p = &property{name: name, id: entity.PropertyID(len(c.numbered) + len(c.fresh) + 1)}
		c.properties[name] = p
		c.fresh = append(c.fresh, p)
	}
	return p
}

// Number implements index.Properties. A number that it gives is one for good only
// after enroll.
func (c *collection) Number(path []byte) (entity.PropertyID, error) {
	if p := c.properties[string(path)]; p != nil {
		return p.id, nil
	}
	if len(c.properties) >= maxProperties {
		return 0, fault.New(fault.IllegalArgument, "collection %s has more than the %d different properties that can be indexed", c.name, maxProperties)
	}
	return c.property(string(path)).id, nil
}

// Known implements index.Properties.
func (c *collection) Known(path string) (entity.PropertyID, bool) {
	if p := c.properties[path]; p != nil {
		return p.id, true
	}
	return 0, false
}

// read makes a collection from the committed state. That suffices: what the
// current batch added to a collection is known, and is not read again.
func (m *Machine) read(app entity.AppID, name string) (*collection, error) {
	view := m.cfg.State.View(m.cfg.Partition)
	c, err := m.readFrom(view, app, name)
	if closed := view.Close(); err == nil {
		err = closed
	}
	return c, err
}

func (m *Machine) readFrom(view *storage.View, app entity.AppID, name string) (*collection, error) {
	c := &collection{
		Collection: index.Collection{Partition: m.cfg.Partition, App: app},
		name:       name, next: 1, properties: make(map[string]*property), settings: entity.Defaults(),
	}
	c.Properties = c
	stored, ok, err := storage.ReadCollection(view, app, name)
	if err != nil || !ok {
		return c, err
	}
	c.ID, c.founded, c.next, c.count, c.older = stored.ID, true, stored.NextSeq, stored.Count, stored.Older
	if c.settings, err = storage.ReadSettings(view, app, c.ID); err != nil {
		return nil, err
	}
	if err := c.readProperties(view); err != nil {
		return nil, err
	}
	m.names.add(c)
	return c, nil
}

// add makes a collection known.
func (n *names) add(c *collection) {
	n.known[nameKey{c.App, c.name}] = c
	n.paths += len(c.numbered)
}

// readProperties reads the dictionary of a collection and the statistics of its
// properties.
func (c *collection) readProperties(view *storage.View) error {
	counter := 0
	lower, upper := keys.NameRange(view.Partition(), c.App, c.ID)
	err := scan(view, lower, upper, func(key, value []byte) error {
		_, name, ok := keys.DecodeName(key)
		n, valid := storage.DecodeNumbered(value)
		if !ok || !valid {
			return fault.New(fault.Corrupt, "dictionary %d of application %d: key %x", c.ID, c.App, key)
		}
		if name == "" {
			counter = int(n.Number) - 1
			return nil
		}
		p := &property{name: name, id: entity.PropertyID(n.Number)}
		c.properties[name] = p
		c.numbered = append(c.numbered, p)
		if n.Unique {
			c.Unique = append(c.Unique, index.Unique{Name: name, ID: p.id})
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.named = len(c.Unique)
	slices.SortFunc(c.numbered, func(a, b *property) int { return cmp.Compare(a.id, b.id) })
	if n := len(c.numbered); n != counter || n > 0 && int(c.numbered[n-1].id) != n {
		return fault.New(fault.Corrupt, "dictionary %d of application %d: %d numbers were given to %d names", c.ID, c.App, counter, n)
	}
	lower, upper = keys.PropertyStatsRange(view.Partition(), c.App, c.ID)
	return scan(view, lower, upper, func(key, value []byte) error {
		_, _, id, _, _ := keys.DecodeIndex(key)
		with, several, ok := storage.DecodePropertyStats(value)
		if !ok || id == 0 || int(id) > len(c.numbered) {
			return fault.New(fault.Corrupt, "statistics of collection %d of application %d: key %x", c.ID, c.App, key)
		}
		p := c.numbered[id-1]
		p.with, p.several = with, several
		return nil
	})
}

// scan shows all keys of a range, and their values, to visit.
func scan(view *storage.View, lower, upper []byte, visit func(key, value []byte) error) (err error) {
	it, err := view.Scan(lower, upper)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if err := visit(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	return it.Err()
}

// enroll makes c exist, and makes the numbers that were given for good. It is the
// first write of a command that is not refused.
func (m *Machine) enroll(c *collection) error {
	if !c.founded {
		next, err := m.nextNumber(m.batch, c.App, 0)
		if err != nil {
			return err
		}
		c.ID, c.founded = entity.CollectionID(next), true
		m.setNumber(c.App, 0, c.name, next)
		m.setNumber(c.App, 0, "", next+1)
		m.names.change(c)
		m.names.add(c)
	}
	if len(c.fresh) > 0 {
		for _, p := range c.fresh {
			m.setProperty(c, p.name, p.id, false)
		}
		m.names.paths += len(c.fresh)
		c.numbered = append(c.numbered, c.fresh...)
		m.setNumber(c.App, c.ID, "", uint32(len(c.numbered)+1))
		c.fresh, c.kept = c.fresh[:0], 0
	}
	for _, u := range c.Unique[c.named:] {
		m.setProperty(c, u.Name, u.ID, true)
	}
	c.named = len(c.Unique)
	return nil
}
