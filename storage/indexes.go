package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// ReadSettings returns the settings of a collection, those of entity.Defaults if it
// has none. Of one from before there were indexes, they say that its entities have
// none.
func ReadSettings(r Reader, app entity.AppID, c entity.CollectionID) (entity.Settings, error) {
	var buf, val [64]byte
	raw, ok, err := r.Get(val[:0], keys.AppendSettings(buf[:0], r.Partition(), app, c))
	if err != nil {
		return entity.Settings{}, err
	}
	if ok {
		s, err := entity.DecodeSettings(raw)
		if err != nil {
			err = fmt.Errorf("partition %d: collection %d of application %d: %w", r.Partition(), c, app, err)
		}
		return s, err
	}
	s := entity.Defaults()
	counters, _, err := ReadCounters(r, app, c)
	if len(counters.Older) > 0 {
		s.Older = []entity.IndexPlan{{}} // only generation 0 is without a record
	}
	return s, err
}

// ReadCounters returns a collection by its number, without its name; false if it has
// no counters.
func ReadCounters(r Reader, app entity.AppID, id entity.CollectionID) (Collection, bool, error) {
	c := Collection{ID: id, NextSeq: 1}
	var buf, val [32]byte
	raw, ok, err := r.Get(val[:0], keys.AppendCollection(buf[:0], r.Partition(), app, id))
	if err == nil && ok && !c.decodeCounters(raw) {
		err = fault.New(fault.Corrupt, "partition %d: counters of collection %d of application %d", r.Partition(), id, app)
	}
	return c, ok && err == nil, err
}

const statsVersion = 1

// AppendPropertyStats appends the stored form of what is counted of a property:
// version 1 · entities with a value uvarint · entities with several uvarint.
func AppendPropertyStats(dst []byte, with, several uint64) []byte {
	dst = binary.AppendUvarint(append(dst, statsVersion), with)
	return binary.AppendUvarint(dst, several)
}

// DecodePropertyStats is the inverse of AppendPropertyStats.
func DecodePropertyStats(b []byte) (with, several uint64, ok bool) {
	if len(b) == 0 || b[0] != statsVersion {
		return 0, 0, false
	}
	with, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return 0, 0, false
	}
	several, m := binary.Uvarint(b[1+n:])
	return with, several, m > 0 && 1+n+m == len(b)
}

// ReadPropertyStats returns how many entities have a value of a property in its
// ordered index, and how many have several.
func ReadPropertyStats(r Reader, app entity.AppID, c entity.CollectionID, prop entity.PropertyID) (with, several uint64, err error) {
	var buf, val [32]byte
	raw, ok, err := r.Get(val[:0], keys.AppendPropertyStats(buf[:0], r.Partition(), app, c, prop))
	if err != nil || !ok {
		return 0, 0, err
	}
	if with, several, ok = DecodePropertyStats(raw); !ok {
		err = fault.New(fault.Corrupt, "partition %d: statistics of property %d of collection %d of application %d", r.Partition(), prop, c, app)
	}
	return with, several, err
}

// ReadPresent returns which entities of the block of one have a value of a property in
// its ordered index.
func ReadPresent(r Reader, app entity.AppID, c entity.CollectionID, prop entity.PropertyID, seq entity.Seq) (Bitmap, error) {
	var buf [32]byte
	var val [1 + keys.PresentBlock/8]byte
	raw, ok, err := r.Get(val[:0], keys.AppendPresent(buf[:0], r.Partition(), app, c, prop, seq))
	if err != nil || !ok {
		return Bitmap{}, err
	}
	b, ok := DecodeBitmap(raw)
	if !ok {
		err = fault.New(fault.Corrupt, "partition %d: bitmap of property %d of collection %d of application %d at %d", r.Partition(), prop, c, app, seq)
	}
	return b, err
}

// IndexedProperties returns the names of the properties that some entity of a
// collection has in its indexes, in order. created, modified and uuid, which every
// entity has, are not among them.
func IndexedProperties(v *View, app entity.AppID, c entity.CollectionID) (names []string, err error) {
	it, err := v.Scan(keys.NameRange(v.Partition(), app, c))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, name, ok := keys.DecodeName(it.Key())
		if name == "" && ok { // keeps the next number
			continue
		}
		n, valid := DecodeNumbered(it.Value())
		if !ok || !valid {
			return nil, fault.New(fault.Corrupt, "partition %d: dictionary key %x", v.Partition(), it.Key())
		}
		with, _, err := ReadPropertyStats(v, app, c, entity.PropertyID(n.Number))
		if err != nil {
			return nil, err
		}
		if with > 0 {
			names = append(names, name)
		}
	}
	return names, it.Err()
}
