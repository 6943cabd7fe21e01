package storage

import (
	"encoding/binary"
	"errors"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// keyRoom is enough for most keys without another allocation.
const keyRoom = 64

// Collection is a collection's number and counters.
type Collection struct {
	ID      entity.CollectionID
	Name    string     // canonical plural, lower case
	NextSeq entity.Seq // next number to be given to an entity or a revision
	Count   uint64     // number of entities
}

const collectionVersion = 1

// AppendCollection appends the stored form of a collection's counters:
// version 1 · next seq uvarint · count uvarint.
func AppendCollection(dst []byte, c *Collection) []byte {
	dst = append(dst, collectionVersion)
	dst = binary.AppendUvarint(dst, uint64(c.NextSeq))
	return binary.AppendUvarint(dst, c.Count)
}

func decodeCollection(b []byte, c *Collection) error {
	if len(b) > 0 && b[0] == collectionVersion {
		next, n := binary.Uvarint(b[1:])
		if n > 0 {
			count, m := binary.Uvarint(b[1+n:])
			if m > 0 && 1+n+m == len(b) {
				c.NextSeq, c.Count = entity.Seq(next), count
				return nil
			}
		}
	}
	return fault.New(fault.Corrupt, "collection record of %d bytes", len(b))
}

func readNumber(r Reader, key []byte) (uint64, bool, error) {
	var room [10]byte
	v, ok, err := r.Get(room[:0], key)
	if err != nil || !ok {
		return 0, false, err
	}
	n, used := binary.Uvarint(v)
	if used != len(v) || used == 0 {
		return 0, false, fault.New(fault.Corrupt, "dictionary entry %x is no number", key)
	}
	return n, true, nil
}

// ReadCollection finds a collection by its canonical name.
func ReadCollection(r Reader, app entity.AppID, name string) (Collection, bool, error) {
	var room [keyRoom]byte
	n, ok, err := readNumber(r, keys.AppendName(room[:0], r.Partition(), app, 0, name))
	if err != nil || !ok {
		return Collection{}, false, err
	}
	c := Collection{ID: entity.CollectionID(n), Name: name}
	return c, true, readCounters(r, app, &c)
}

func readCounters(r Reader, app entity.AppID, c *Collection) error {
	var keyBuf, room [keyRoom]byte
	v, ok, err := r.Get(room[:0], keys.AppendCollection(keyBuf[:0], r.Partition(), app, c.ID))
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Corrupt, "partition %d: collection %q of application %d has no counters", r.Partition(), c.Name, app)
	}
	return decodeCollection(v, c)
}

// Collections returns all collections of an application, by name.
func Collections(v *View, app entity.AppID) (cs []Collection, err error) {
	lower, upper := keys.NameRange(v.Partition(), app, 0)
	it, err := v.Scan(lower, upper)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, name, ok := keys.DecodeName(it.Key())
		if !ok {
			return nil, fault.New(fault.Corrupt, "dictionary key %x", it.Key())
		}
		if name == "" {
			continue // the number the next name will have
		}
		n, used := binary.Uvarint(it.Value())
		if used <= 0 {
			return nil, fault.New(fault.Corrupt, "dictionary entry %q is no number", name)
		}
		c := Collection{ID: entity.CollectionID(n), Name: name}
		if err := readCounters(v, app, &c); err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	return cs, it.Err()
}

// PropertyID returns the number of a property that has unique values.
func PropertyID(r Reader, app entity.AppID, c entity.CollectionID, name string) (entity.PropertyID, bool, error) {
	var room [keyRoom]byte
	n, ok, err := readNumber(r, keys.AppendName(room[:0], r.Partition(), app, c, keys.Fold(name)))
	return entity.PropertyID(n), ok, err
}

// ReadEntity reads an entity by its number. Its JSON may be kept.
func ReadEntity(r Reader, app entity.AppID, c entity.CollectionID, seq entity.Seq) (entity.Entity, bool, error) {
	var room [keyRoom]byte
	v, ok, err := r.Get(nil, keys.AppendEntity(room[:0], r.Partition(), app, c, seq))
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	e, err := entity.DecodeRecord(v)
	return e, err == nil, err
}

// ReadEntityByID reads an entity by its UUID. Its JSON may be kept.
func ReadEntityByID(r Reader, app entity.AppID, c entity.CollectionID, id entity.ID) (entity.Entity, bool, error) {
	var keyBuf, room [keyRoom]byte
	v, ok, err := r.Get(room[:0], keys.AppendID(keyBuf[:0], r.Partition(), app, c, id))
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	seq, ok := keys.DecodeSeq(v)
	if !ok {
		return entity.Entity{}, false, fault.New(fault.Corrupt, "partition %d: id entry of %s", r.Partition(), id)
	}
	return readIndexed(r, app, c, seq, id)
}

// ReadEntityByAlias reads the entity that has a unique value, compared ignoring
// case. Its JSON may be kept.
func ReadEntityByAlias(r Reader, app entity.AppID, c entity.CollectionID, property, value string) (entity.Entity, bool, error) {
	prop, ok, err := PropertyID(r, app, c, property)
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	var keyBuf, room [keyRoom]byte
	v, ok, err := r.Get(room[:0], keys.AppendUnique(keyBuf[:0], r.Partition(), app, c, prop, value))
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	seq, id, ok := keys.DecodeUniqueValue(v)
	if !ok {
		return entity.Entity{}, false, fault.New(fault.Corrupt, "partition %d: unique entry of %s %q", r.Partition(), property, value)
	}
	return readIndexed(r, app, c, seq, id)
}

// readIndexed reads the entity an index entry leads to, which must be there.
func readIndexed(r Reader, app entity.AppID, c entity.CollectionID, seq entity.Seq, id entity.ID) (entity.Entity, bool, error) {
	e, ok, err := ReadEntity(r, app, c, seq)
	if err != nil {
		return entity.Entity{}, false, err
	}
	if !ok || e.ID != id {
		return entity.Entity{}, false, fault.New(fault.Corrupt, "partition %d: an index of application %d leads to entity %s, which is not there", r.Partition(), app, id)
	}
	return e, true, nil
}

// ReadCredential reads one kind of credential of an owner.
func ReadCredential(r Reader, app entity.AppID, owner entity.ID, kind byte) (entity.Credential, bool, error) {
	var room [keyRoom]byte
	v, ok, err := r.Get(nil, keys.AppendCredential(room[:0], r.Partition(), app, owner, kind))
	if err != nil || !ok {
		return entity.Credential{}, false, err
	}
	c, err := entity.DecodeCredential(v)
	return c, err == nil, err
}

// ReadToken reads a token's record by the SHA-256 of its text.
func ReadToken(r Reader, app entity.AppID, hash [32]byte) (entity.Token, bool, error) {
	var room [keyRoom]byte
	v, ok, err := r.Get(nil, keys.AppendToken(room[:0], r.Partition(), app, hash))
	if err != nil || !ok {
		return entity.Token{}, false, err
	}
	t, err := entity.DecodeToken(v)
	return t, err == nil, err
}

// ReadCluster reads the cluster record from the system partition.
func ReadCluster(r Reader) (entity.Cluster, bool, error) {
	v, ok, err := r.Get(nil, keys.AppendCluster(nil))
	if err != nil || !ok {
		return entity.Cluster{}, false, err
	}
	c, err := entity.DecodeCluster(v)
	return c, err == nil, err
}

// ReadRoute reads from the system partition where an application lives.
func ReadRoute(r Reader, app entity.AppID) (entity.Partition, entity.ID, bool, error) {
	v, ok, err := r.Get(nil, keys.AppendRoute(nil, app))
	if err != nil || !ok {
		return 0, entity.ID{}, false, err
	}
	p, id, ok := keys.DecodeRouteValue(v)
	if !ok {
		return 0, entity.ID{}, false, fault.New(fault.Corrupt, "route of application %d", app)
	}
	return p, id, true, nil
}

// Routes returns the partition of every application ever created, by number,
// from a view of the system partition.
func Routes(v *View) (routes []entity.Partition, err error) {
	lower, upper := keys.RouteRange()
	it, err := v.Scan(lower, upper)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		p, _, ok := keys.DecodeRouteValue(it.Value())
		if !ok {
			return nil, fault.New(fault.Corrupt, "route %x", it.Key())
		}
		routes = append(routes, p)
	}
	return routes, it.Err()
}

// Links returns what from is related to, by id.
func Links(v *View, app entity.AppID, relation byte, from entity.ID) (ids []entity.ID, err error) {
	lower, upper := keys.LinkRange(v.Partition(), app, relation, from)
	it, err := v.Scan(lower, upper)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, _, to, ok := keys.DecodeLink(it.Key())
		if !ok {
			return nil, fault.New(fault.Corrupt, "link %x", it.Key())
		}
		ids = append(ids, to)
	}
	return ids, it.Err()
}
