package keys

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// Kinds of the lists of activities of an application.
const (
	KindListed   = 'F' // owner · list · ^published · ^seq of the activity → empty
	KindListedIn = 'f' // seq of the activity · owner · list → published
)

// Which list of an owner an activity is in.
const (
	Outbox byte = 1 // what the owner published: "activities"
	Feed   byte = 2 // what it should see: "feed"
)

// signBit makes the order of signed numbers that of their bytes.
const signBit = 1 << 63

// AppendListed appends the key by which an activity stands in a list of a user or
// group: what was published last comes first, and of what was published at the same
// time what was added last.
//
//	partition 4 · application 4 · 'F' · owner 12 · list 1 · ^published 8 · ^seq 8
//
// Published is in milliseconds since the epoch, with its sign bit inverted before all
// bits are.
func AppendListed(dst []byte, p entity.Partition, app entity.AppID, owner entity.End, list byte, published int64, activity entity.Seq) []byte {
	dst = append(appendEnd(appendApp(dst, p, app, KindListed), owner), list)
	return AppendListedPlace(dst, published, activity)
}

// AppendListedPlace appends the place of an activity in any list: what AppendListed ends
// with, ^published 8 · ^seq 8.
func AppendListedPlace(dst []byte, published int64, activity entity.Seq) []byte {
	dst = binary.BigEndian.AppendUint64(dst, ^(uint64(published) ^ signBit))
	return binary.BigEndian.AppendUint64(dst, ^uint64(activity))
}

// ListedPlaceSize is how many bytes AppendListedPlace appends.
const ListedPlaceSize = 16

// DecodeListedPlace is the inverse of AppendListedPlace.
func DecodeListedPlace(b []byte) (published int64, activity entity.Seq, ok bool) {
	if len(b) != ListedPlaceSize {
		return 0, 0, false
	}
	return int64(^binary.BigEndian.Uint64(b) ^ signBit), entity.Seq(^binary.BigEndian.Uint64(b[8:])), true
}

// ListRange bounds a list of an owner.
func ListRange(p entity.Partition, app entity.AppID, owner entity.End, list byte) (lower, upper []byte) {
	return rangeOf(append(appendEnd(appendApp(nil, p, app, KindListed), owner), list))
}

// ListsRange bounds all lists of an owner.
func ListsRange(p entity.Partition, app entity.AppID, owner entity.End) (lower, upper []byte) {
	return rangeOf(appendEnd(appendApp(nil, p, app, KindListed), owner))
}

// ListsOfRange bounds all lists of the owners in a collection, in the order in which
// these were added.
func ListsOfRange(p entity.Partition, app entity.AppID, owners entity.CollectionID) (lower, upper []byte) {
	return rangeOf(binary.BigEndian.AppendUint32(appendApp(nil, p, app, KindListed), uint32(owners)))
}

// DecodeListed is the inverse of AppendListed.
func DecodeListed(k []byte) (owner entity.End, list byte, published int64, activity entity.Seq, ok bool) {
	if len(k) != 9+12+1+ListedPlaceSize || k[8] != KindListed {
		return owner, 0, 0, 0, false
	}
	published, activity, _ = DecodeListedPlace(k[22:])
	return decodeEnd(k[9:]), k[21], published, activity, true
}

// AppendListedIn appends the key that says that an activity is in a list of an owner. Its
// value is that of AppendPublished.
//
//	partition 4 · application 4 · 'f' · seq 8 · owner 12 · list 1
func AppendListedIn(dst []byte, p entity.Partition, app entity.AppID, activity entity.Seq, owner entity.End, list byte) []byte {
	dst = binary.BigEndian.AppendUint64(appendApp(dst, p, app, KindListedIn), uint64(activity))
	return append(appendEnd(dst, owner), list)
}

// ListedInRange bounds the lists that an activity is in.
func ListedInRange(p entity.Partition, app entity.AppID, activity entity.Seq) (lower, upper []byte) {
	return rangeOf(binary.BigEndian.AppendUint64(appendApp(nil, p, app, KindListedIn), uint64(activity)))
}

// DecodeListedIn is the inverse of AppendListedIn.
func DecodeListedIn(k []byte) (activity entity.Seq, owner entity.End, list byte, ok bool) {
	if len(k) != 9+8+12+1 || k[8] != KindListedIn {
		return 0, owner, 0, false
	}
	return entity.Seq(binary.BigEndian.Uint64(k[9:])), decodeEnd(k[17:]), k[29], true
}

// AppendPublished appends when an activity was published, 8 bytes: ms since the epoch.
func AppendPublished(dst []byte, published int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(published))
}

// DecodePublished is the inverse of AppendPublished.
func DecodePublished(v []byte) (int64, bool) {
	if len(v) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(v)), true
}
