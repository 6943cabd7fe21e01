package raftfsm

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	// maxNames bounds how many collections are kept in memory.
	maxNames = 4096
	// maxName bounds the length of the name of a collection or property, in bytes.
	maxName = 1024
)

// names keeps collections in memory: their numbers and counters. Whatever is
// here is what the state DB holds, with the writes of the current batch;
// changed counters reach the batch in flush.
type names struct {
	known   map[nameKey]*collection
	changed []*collection
}

type nameKey struct {
	app  entity.AppID
	name string
}

// collection is a collection as commands see it.
type collection struct {
	// Collection.Unique are all properties that were ever declared unique: first
	// the named ones, which have a number in the dictionary, then those that the
	// command at hand adds.
	index.Collection

	name     string
	founded  bool // it exists; until then its number is 0
	next     entity.Seq
	count    uint64
	changed  bool // counters differ from what the state DB or batch holds
	named    int  // how many of Unique have a number in the dictionary
	nextProp entity.PropertyID
}

func (n *names) reset() {
	n.known = make(map[nameKey]*collection)
	n.changed = nil
}

// flush puts the counters that changed into the batch.
func (n *names) flush(b *storage.Batch) {
	var key, value []byte
	for _, c := range n.changed {
		key = keys.AppendCollection(key[:0], c.Partition, c.App, c.ID)
		value = storage.AppendCollection(value[:0], &storage.Collection{NextSeq: c.next, Count: c.count})
		b.Set(key, value)
		c.changed = false
	}
	n.changed = n.changed[:0]
	if len(n.known) > maxNames {
		n.reset()
	}
}

// change notes that the counters of c must be written.
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
	v, n := binary.Uvarint(raw)
	if n != len(raw) || v == 0 || v > 1<<32-1 {
		return 0, fault.New(fault.Corrupt, "dictionary %d of application %d: number of %q", owner, app, name)
	}
	return uint32(v), nil
}

func (m *Machine) setNumber(app entity.AppID, owner entity.CollectionID, name string, number uint32) {
	m.key = keys.AppendName(m.key[:0], m.cfg.Partition, app, owner, name)
	m.value = binary.AppendUvarint(m.value[:0], uint64(number))
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
	for _, name := range unique {
		if name == "" || len(name) > maxName {
			return nil, refuse(fault.IllegalArgument, "a unique property cannot have a name of %d bytes", len(name))
		}
		if _, ok := c.unique(name); !ok {
			id := c.nextProp + entity.PropertyID(len(c.Unique)-c.named)
			c.Unique = append(c.Unique, index.Unique{Name: name, ID: id})
		}
	}
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
		name:       name, next: 1, nextProp: 1,
	}
	stored, ok, err := storage.ReadCollection(view, app, name)
	if err != nil || !ok {
		return c, err
	}
	c.ID, c.founded, c.next, c.count = stored.ID, true, stored.NextSeq, stored.Count
	if c.Unique, c.nextProp, err = readProperties(view, app, c.ID); err != nil {
		return nil, err
	}
	c.named = len(c.Unique)
	m.names.known[nameKey{app, name}] = c
	return c, nil
}

// readProperties returns the dictionary of a collection, by name, and the
// number the next property gets.
func readProperties(view *storage.View, app entity.AppID, c entity.CollectionID) (list []index.Unique, next entity.PropertyID, err error) {
	it, err := view.Scan(keys.NameRange(view.Partition(), app, c))
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if closed := it.Close(); err == nil {
			err = closed
		}
	}()
	next = 1
	for ok := it.First(); ok; ok = it.Next() {
		_, name, ok := keys.DecodeName(it.Key())
		if !ok {
			return nil, 0, fault.New(fault.Corrupt, "dictionary %d of application %d: key %x", c, app, it.Key())
		}
		number, err := decodeNumber(app, c, name, it.Value())
		if err != nil {
			return nil, 0, err
		}
		if name == "" {
			next = entity.PropertyID(number)
			continue
		}
		list = append(list, index.Unique{Name: name, ID: entity.PropertyID(number)})
	}
	return list, next, it.Err()
}

// enroll makes c exist, and gives its unique properties the numbers that open
// foresaw. It is the first write of a command that is not refused.
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
		m.names.known[nameKey{c.App, c.name}] = c
	}
	if c.named == len(c.Unique) {
		return nil
	}
	for _, u := range c.Unique[c.named:] {
		m.setNumber(c.App, c.ID, u.Name, uint32(u.ID))
		c.nextProp = u.ID + 1
	}
	c.named = len(c.Unique)
	m.setNumber(c.App, c.ID, "", uint32(c.nextProp))
	return nil
}
