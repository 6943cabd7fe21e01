package storage

import (
	"encoding/binary"
	"errors"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Collection is what is kept of a collection beside its entities.
type Collection struct {
	ID      entity.CollectionID
	Name    string
	NextSeq entity.Seq // the number the next entity or revision gets
	Count   uint64     // number of entities
	// Older are the entities whose index entries were written under an older plan.
	Older []OlderEntities
}

// OlderEntities counts the entities of a generation of the index that is not the
// collection's newest.
type OlderEntities struct {
	Generation uint32
	Count      uint64
}

// countersVersion is the version that is written. Version 1, which is still read, is
// that of collections without any index: all their entities are of generation 0.
const countersVersion = 2

// AppendCollection appends the stored form of a collection's counters: version 1 ·
// next seq uvarint · number of entities uvarint · older generations: count uvarint,
// each generation uvarint · entities uvarint. Name and number are in its keys.
func AppendCollection(dst []byte, c *Collection) []byte {
	dst = append(dst, countersVersion)
	dst = binary.AppendUvarint(dst, uint64(c.NextSeq))
	dst = binary.AppendUvarint(dst, c.Count)
	dst = binary.AppendUvarint(dst, uint64(len(c.Older)))
	for _, o := range c.Older {
		dst = binary.AppendUvarint(dst, uint64(o.Generation))
		dst = binary.AppendUvarint(dst, o.Count)
	}
	return dst
}

// decodeCounters reads what AppendCollection wrote; ok is false for anything else.
func (c *Collection) decodeCounters(b []byte) (ok bool) {
	if len(b) == 0 || b[0] == 0 || b[0] > countersVersion {
		return false
	}
	version, b := b[0], b[1:]
	ok = true
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	c.NextSeq, c.Count = entity.Seq(next()), next()
	if version == 1 {
		if c.Count > 0 {
			c.Older = []OlderEntities{{Generation: 0, Count: c.Count}}
		}
		return ok && len(b) == 0
	}
	for range next() {
		generation := next()
		if !ok || generation > 1<<32-1 {
			return false
		}
		c.Older = append(c.Older, OlderEntities{Generation: uint32(generation), Count: next()})
	}
	return ok && len(b) == 0
}

// Numbered is what a dictionary says of a name.
type Numbered struct {
	Number uint32
	Unique bool // no two entities of the collection share a value of the property
}

const numberedUnique = 1

// AppendNumbered appends the stored form: number uvarint · flags 1.
func AppendNumbered(dst []byte, n Numbered) []byte {
	dst = binary.AppendUvarint(dst, uint64(n.Number))
	if n.Unique {
		return append(dst, numberedUnique)
	}
	return append(dst, 0)
}

// DecodeNumbered reads what AppendNumbered wrote. A number without flags, which
// collections, counters and verbs have, is that of a unique property where it is one
// of a property: there were no others once.
func DecodeNumbered(b []byte) (Numbered, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v == 0 || v > 1<<32-1 {
		return Numbered{}, false
	}
	switch flags := b[n:]; {
	case len(flags) == 0:
		return Numbered{uint32(v), true}, true
	case len(flags) == 1 && flags[0] <= numberedUnique:
		return Numbered{uint32(v), flags[0] == numberedUnique}, true
	}
	return Numbered{}, false
}

// readNumber reads the number a dictionary gives to a name.
func readNumber(r Reader, app entity.AppID, owner entity.CollectionID, text string) (uint32, bool, error) {
	view, remember := r.(*View) // a batch may yet be refused
	var known name
	if remember {
		known = name{p: view.p, epoch: view.picture.epoch, app: app, owner: owner, text: text}
		if number, ok := view.state.names.get(known); ok {
			return number, true, nil
		}
	}
	var buf [96]byte
	var val [binary.MaxVarintLen64]byte
	raw, ok, err := r.Get(val[:0], keys.AppendName(buf[:0], r.Partition(), app, owner, text))
	if err != nil || !ok {
		return 0, false, err
	}
	n, ok := DecodeNumbered(raw)
	if !ok {
		return 0, false, fault.New(fault.Corrupt, "partition %d: dictionary %d of application %d: number of %q", r.Partition(), owner, app, text)
	}
	if remember {
		view.state.names.put(known, n.Number)
	}
	return n.Number, true, nil
}

// ReadCollectionID returns the number of a collection by its folded name. It
// is not found before its first entity was added.
func ReadCollectionID(r Reader, app entity.AppID, name string) (entity.CollectionID, bool, error) {
	if name == "" { // keeps the next number
		return 0, false, nil
	}
	number, ok, err := readNumber(r, app, 0, name)
	return entity.CollectionID(number), ok, err
}

// ReadCollection returns a collection by its folded name. It is not found
// before its first entity was added.
func ReadCollection(r Reader, app entity.AppID, name string) (Collection, bool, error) {
	id, ok, err := ReadCollectionID(r, app, name)
	if err != nil || !ok {
		return Collection{}, false, err
	}
	c := Collection{ID: id, Name: name, NextSeq: 1}
	var buf [32]byte
	var val [2 * binary.MaxVarintLen64]byte
	raw, ok, err := r.Get(val[:0], keys.AppendCollection(buf[:0], r.Partition(), app, c.ID))
	if err != nil || !ok {
		return c, err == nil, err
	}
	if !c.decodeCounters(raw) {
		return Collection{}, false, fault.New(fault.Corrupt, "partition %d: counters of collection %d of application %d", r.Partition(), c.ID, app)
	}
	return c, true, nil
}

// Collections returns all collections of an application, in order of their names.
func Collections(v *View, app entity.AppID) (list []Collection, err error) {
	it, err := v.Scan(keys.NameRange(v.Partition(), app, 0))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, name, ok := keys.DecodeName(it.Key())
		if !ok {
			return nil, fault.New(fault.Corrupt, "partition %d: dictionary key %x", v.Partition(), it.Key())
		}
		if name == "" {
			continue
		}
		c, ok, err := ReadCollection(v, app, name)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, c)
		}
	}
	return list, it.Err()
}

// PropertyID returns the number of a property of a collection, by its folded name.
func PropertyID(r Reader, app entity.AppID, c entity.CollectionID, name string) (entity.PropertyID, bool, error) {
	if name == "" || c == 0 {
		return 0, false, nil
	}
	number, ok, err := readNumber(r, app, c, name)
	return entity.PropertyID(number), ok, err
}

// ReadEntity returns the entity with a number. Its JSON is the caller's own.
func ReadEntity(r Reader, app entity.AppID, c entity.CollectionID, seq entity.Seq) (entity.Entity, bool, error) {
	var buf [32]byte
	raw, ok, err := r.Get(nil, keys.AppendEntity(buf[:0], r.Partition(), app, c, seq))
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	e, err := entity.DecodeRecord(raw)
	if err == nil && e.Seq != seq {
		err = fault.New(fault.Corrupt, "entity %s stands at %d and says it is %d", e.ID, seq, e.Seq)
	}
	if err != nil {
		return entity.Entity{}, false, fault.Wrap(err, fault.Corrupt, "partition %d: entity %d of collection %d of application %d", r.Partition(), seq, c, app)
	}
	return e, true, nil
}

// referred returns the entity a key leads to; it must exist.
func referred(r Reader, app entity.AppID, c entity.CollectionID, seq entity.Seq, id entity.ID) (entity.Entity, bool, error) {
	e, ok, err := ReadEntity(r, app, c, seq)
	if err == nil && (!ok || e.ID != id) {
		err = fault.New(fault.Corrupt, "partition %d: collection %d of application %d: a key leads to entity %s at %d, which is not there", r.Partition(), c, app, id, seq)
	}
	return e, err == nil, err
}

// ReadEntityByID returns the entity with a UUID.
func ReadEntityByID(r Reader, app entity.AppID, c entity.CollectionID, id entity.ID) (entity.Entity, bool, error) {
	var buf [48]byte
	var val [8]byte
	raw, ok, err := r.Get(val[:0], keys.AppendID(buf[:0], r.Partition(), app, c, id))
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	seq, ok := keys.DecodeSeq(raw)
	if !ok {
		return entity.Entity{}, false, fault.New(fault.Corrupt, "partition %d: number of entity %s", r.Partition(), id)
	}
	return referred(r, app, c, seq, id)
}

// ReadEntityByAlias returns the entity that holds a unique value. The property
// is named in its folded form; the value may be in any case.
func ReadEntityByAlias(r Reader, app entity.AppID, c entity.CollectionID, property, value string) (entity.Entity, bool, error) {
	prop, ok, err := PropertyID(r, app, c, property)
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	var val [24]byte
	raw, ok, err := r.Get(val[:0], keys.AppendUnique(nil, r.Partition(), app, c, prop, value))
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	seq, id, ok := keys.DecodeUniqueValue(raw)
	if !ok {
		return entity.Entity{}, false, fault.New(fault.Corrupt, "partition %d: unique value of property %d of collection %d of application %d", r.Partition(), prop, c, app)
	}
	return referred(r, app, c, seq, id)
}

// ReadCredential returns one kind of credential of an owner.
func ReadCredential(r Reader, app entity.AppID, owner entity.ID, kind byte) (entity.Credential, bool, error) {
	var buf [48]byte
	raw, ok, err := r.Get(nil, keys.AppendCredential(buf[:0], r.Partition(), app, owner, kind))
	if err != nil || !ok {
		return entity.Credential{}, false, err
	}
	c, err := entity.DecodeCredential(raw)
	return c, err == nil, err
}

// ReadToken returns the record of the token whose text has a SHA-256.
func ReadToken(r Reader, app entity.AppID, hash [32]byte) (entity.Token, bool, error) {
	var buf, val [64]byte
	raw, ok, err := r.Get(val[:0], keys.AppendToken(buf[:0], r.Partition(), app, hash))
	if err != nil || !ok {
		return entity.Token{}, false, err
	}
	t, err := entity.DecodeToken(raw)
	return t, err == nil, err
}

// ReadCluster returns the cluster record, from the system partition.
func ReadCluster(r Reader) (entity.Cluster, bool, error) {
	raw, ok, err := r.Get(nil, keys.AppendCluster(nil))
	if err != nil || !ok {
		return entity.Cluster{}, false, err
	}
	c, err := entity.DecodeCluster(raw)
	return c, err == nil, err
}

// ReadRoute returns where an application lives, from the system partition.
func ReadRoute(r Reader, app entity.AppID) (p entity.Partition, id entity.ID, ok bool, err error) {
	var buf, val [32]byte
	raw, ok, err := r.Get(val[:0], keys.AppendRoute(buf[:0], app))
	if err != nil || !ok {
		return 0, id, false, err
	}
	if p, id, ok = keys.DecodeRouteValue(raw); !ok {
		return 0, id, false, fault.New(fault.Corrupt, "route of application %d", app)
	}
	return p, id, true, nil
}

// Routes returns where all applications live, from the system partition.
func Routes(v *View) (routes map[entity.AppID]entity.Partition, err error) {
	it, err := v.Scan(keys.RouteRange())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	routes = make(map[entity.AppID]entity.Partition)
	for ok := it.First(); ok; ok = it.Next() {
		app, ok := keys.DecodeRoute(it.Key())
		if !ok {
			return nil, fault.New(fault.Corrupt, "route key %x", it.Key())
		}
		p, _, ok := keys.DecodeRouteValue(it.Value())
		if !ok {
			return nil, fault.New(fault.Corrupt, "route of application %d", app)
		}
		routes[app] = p
	}
	return routes, it.Err()
}

// Links returns everything from is related to, in order of the ids.
func Links(v *View, app entity.AppID, relation byte, from entity.ID) (list []entity.ID, err error) {
	it, err := v.Scan(keys.LinkRange(v.Partition(), app, relation, from))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, _, to, ok := keys.DecodeLink(it.Key())
		if !ok {
			return nil, fault.New(fault.Corrupt, "partition %d: link key %x", v.Partition(), it.Key())
		}
		list = append(list, to)
	}
	return list, it.Err()
}
