package storage

import (
	"encoding/binary"
	"errors"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// VerbCount is a verb that an entity has edges of, and how many.
type VerbCount struct {
	Verb  entity.VerbID
	Name  string // folded
	Count uint64
}

// AppendVerbCount appends the value of a key of keys.AppendVerb: number of edges
// uvarint · name of the verb.
func AppendVerbCount(dst []byte, count uint64, name string) []byte {
	return append(binary.AppendUvarint(dst, count), name...)
}

// DecodeVerbCount is the inverse of AppendVerbCount. The name aliases b.
func DecodeVerbCount(b []byte) (count uint64, name []byte, ok bool) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count == 0 || n == len(b) {
		return 0, nil, false
	}
	return count, b[n:], true
}

// VerbID returns the number of a verb of an application, by its folded name. It is
// not found before its first edge was made.
func VerbID(r Reader, app entity.AppID, name string) (entity.VerbID, bool, error) {
	if name == "" { // keeps the next number
		return 0, false, nil
	}
	number, ok, err := readNumber(r, app, keys.Verbs, name)
	return entity.VerbID(number), ok, err
}

// VerbNames returns the dictionary of the verbs of an application.
func VerbNames(v *View, app entity.AppID) (list map[entity.VerbID]string, err error) {
	it, err := v.Scan(keys.NameRange(v.Partition(), app, keys.Verbs))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	list = make(map[entity.VerbID]string)
	for ok := it.First(); ok; ok = it.Next() {
		_, text, ok := keys.DecodeName(it.Key())
		n, size := binary.Uvarint(it.Value())
		if !ok || size != len(it.Value()) || n == 0 || n > 1<<32-1 {
			return nil, fault.New(fault.Corrupt, "partition %d: dictionary key %x", v.Partition(), it.Key())
		}
		if text != "" {
			list[entity.VerbID(n)] = text
		}
	}
	return list, it.Err()
}

// Verbs returns the verbs that an entity has edges of in a direction
// (keys.Outbound, keys.Inbound), in order of their first use in the application.
// Edges whose other end is gone count until they have been removed.
func Verbs(v *View, app entity.AppID, end entity.End, direction byte) (list []VerbCount, err error) {
	it, err := v.Scan(keys.VerbRange(v.Partition(), app, end, direction))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, _, verb, ok := keys.DecodeVerb(it.Key())
		count, name, valid := DecodeVerbCount(it.Value())
		if !ok || !valid {
			return nil, fault.New(fault.Corrupt, "partition %d: number of edges at key %x", v.Partition(), it.Key())
		}
		list = append(list, VerbCount{Verb: verb, Name: string(name), Count: count})
	}
	return list, it.Err()
}

// Edges returns the far ends of the edges of a verb that an entity has in a direction,
// the newest first. It reads them all: it is for memberships, which are few.
func Edges(v *View, app entity.AppID, end entity.End, direction byte, verb entity.VerbID) (list []entity.End, err error) {
	it, err := v.Scan(keys.EdgeRange(v.Partition(), app, direction, end, verb))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, _, _, _, far, ok := keys.DecodeEdge(it.Key())
		if !ok {
			return nil, fault.New(fault.Corrupt, "partition %d: edge at key %x", v.Partition(), it.Key())
		}
		list = append(list, far)
	}
	return list, it.Err()
}

// EdgeCount returns how many edges of a verb an entity has in a direction.
func EdgeCount(r Reader, app entity.AppID, end entity.End, direction byte, verb entity.VerbID) (uint64, error) {
	var buf, val [64]byte
	raw, ok, err := r.Get(val[:0], keys.AppendVerb(buf[:0], r.Partition(), app, end, direction, verb))
	if err != nil || !ok {
		return 0, err
	}
	count, _, ok := DecodeVerbCount(raw)
	if !ok {
		return 0, fault.New(fault.Corrupt, "partition %d: number of edges of entity %d of collection %d of application %d", r.Partition(), end.Seq, end.Collection, app)
	}
	return count, nil
}

// Connected returns the number of the edge that leads from source to target by a
// verb, if there is one.
func Connected(r Reader, app entity.AppID, source entity.End, verb entity.VerbID, target entity.End) (entity.Seq, bool, error) {
	var buf [64]byte
	var val [8]byte
	raw, ok, err := r.Get(val[:0], keys.AppendConnected(buf[:0], r.Partition(), app, source, verb, target))
	if err != nil || !ok {
		return 0, false, err
	}
	eseq, ok := keys.DecodeSeq(raw)
	if !ok {
		return 0, false, fault.New(fault.Corrupt, "partition %d: edge from entity %d of collection %d of application %d", r.Partition(), source.Seq, source.Collection, app)
	}
	return eseq, true, nil
}

// CollectionName returns the folded name of a collection by its number.
func CollectionName(v *View, app entity.AppID, c entity.CollectionID) (string, bool, error) {
	at := number{p: v.p, epoch: v.picture.epoch, app: app, id: c}
	if text, ok := v.state.names.name(at); ok {
		return text, true, nil
	}
	list, err := collectionNames(v, app)
	if err != nil {
		return "", false, err
	}
	found := ""
	for text, id := range list {
		at.id = id
		v.state.names.putName(at, text)
		if id == c {
			found = text
		}
	}
	return found, found != "", nil
}

// Locate returns the collection of an application that has an entity with an id. It
// looks into one after the other.
func Locate(v *View, app entity.AppID, id entity.ID) (name string, end entity.End, found bool, err error) {
	list, err := collectionNames(v, app)
	if err != nil {
		return "", end, false, err
	}
	var buf [48]byte
	var val [8]byte
	for text, c := range list {
		raw, ok, err := v.Get(val[:0], keys.AppendID(buf[:0], v.Partition(), app, c, id))
		if err != nil {
			return "", end, false, err
		}
		if !ok {
			continue
		}
		seq, ok := keys.DecodeSeq(raw)
		if !ok {
			return "", end, false, fault.New(fault.Corrupt, "partition %d: number of entity %s", v.Partition(), id)
		}
		return text, entity.End{Collection: c, Seq: seq}, true, nil
	}
	return "", end, false, nil
}

// collectionNames returns the dictionary of the collections of an application.
func collectionNames(v *View, app entity.AppID) (list map[string]entity.CollectionID, err error) {
	it, err := v.Scan(keys.NameRange(v.Partition(), app, 0))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	list = make(map[string]entity.CollectionID)
	for ok := it.First(); ok; ok = it.Next() {
		_, text, ok := keys.DecodeName(it.Key())
		n, size := binary.Uvarint(it.Value())
		if !ok || size != len(it.Value()) || n == 0 || n > 1<<32-1 {
			return nil, fault.New(fault.Corrupt, "partition %d: dictionary key %x", v.Partition(), it.Key())
		}
		if text != "" {
			list[text] = entity.CollectionID(n)
		}
	}
	return list, it.Err()
}
