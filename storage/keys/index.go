package keys

import (
	"encoding/binary"
	"math"

	"github.com/trellisdb/trellis/storage/entity"
)

// Kinds of the indexes of a collection.
const (
	KindOrdered   = 'I' // collection · property · value · ^seq → flags
	KindComposite = 'X' // collection · composite · values · ^seq → flags
	KindWord      = 'T' // collection · property · word · ^seq → empty
	KindGeo       = 'G' // collection · property · cell · ^seq → latitude, longitude
	KindPresent   = 'P' // collection · property · ^(seq / PresentBlock) → bitmap
	KindProperty  = 'p' // collection · property → numbers of entities
	KindSettings  = 's' // collection → settings record
)

// Properties whose ordered index every entity has, under numbers no dictionary gives.
const (
	PropCreated  entity.PropertyID = math.MaxUint32 - 1
	PropModified entity.PropertyID = math.MaxUint32
)

// PresentBlock is how many entities share a bitmap of KindPresent.
const PresentBlock = 1024

// Flags of an entry of an ordered index, which say what an entity sorts as: of
// its values of the first class it has, the smallest when ascending, the largest
// when descending. An only value has both. Entries of composite indexes have two
// bits for each of their properties, the first property's lowest.
const (
	FlagSmallest byte = 1 << iota
	FlagLargest
)

func appendProperty(dst []byte, p entity.Partition, app entity.AppID, kind byte, c entity.CollectionID, prop entity.PropertyID) []byte {
	return binary.BigEndian.AppendUint32(appendCollection(dst, p, app, kind, c), uint32(prop))
}

// AppendOrdered appends the prefix of the ordered index of a property. An entry
// goes on with a value (AppendValue) and AppendTail.
func AppendOrdered(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, prop entity.PropertyID) []byte {
	return appendProperty(dst, p, app, KindOrdered, c, prop)
}

// AppendTail appends what ends the key of an index entry: the number of its
// entity, inverted, so that a run of equal values is newest first.
func AppendTail(dst []byte, seq entity.Seq) []byte {
	return binary.BigEndian.AppendUint64(dst, ^uint64(seq))
}

// Tail returns the number that AppendTail put at the end of a key.
func Tail(k []byte) entity.Seq {
	return entity.Seq(^binary.BigEndian.Uint64(k[len(k)-8:]))
}

// AppendCreated appends the key by which an entity is found in order of creation.
// Unlike other entries its number is not inverted: both directions are plain scans.
func AppendCreated(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, ms int64, seq entity.Seq) []byte {
	dst = AppendNumber(AppendOrdered(dst, p, app, c, PropCreated), entity.Int(ms))
	return binary.BigEndian.AppendUint64(dst, uint64(seq))
}

// AppendModified appends the key by which an entity is found in order of its last
// change: time, then rev, then seq, none of them inverted.
func AppendModified(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, ms int64, rev, seq entity.Seq) []byte {
	dst = AppendNumber(AppendOrdered(dst, p, app, c, PropModified), entity.Int(ms))
	dst = binary.BigEndian.AppendUint64(dst, uint64(rev))
	return binary.BigEndian.AppendUint64(dst, uint64(seq))
}

// TimeTail returns the seq at the end of a key of AppendCreated or AppendModified.
func TimeTail(k []byte) entity.Seq { return entity.Seq(binary.BigEndian.Uint64(k[len(k)-8:])) }

// AppendComposite appends the prefix of a declared composite index. An entry goes
// on with one value for each property, of AppendValue or AppendDescending as
// declared, and AppendTail.
func AppendComposite(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, number uint32) []byte {
	return appendProperty(dst, p, app, KindComposite, c, entity.PropertyID(number))
}

// AppendWords appends the prefix of the word index of a property. An entry goes on
// with AppendWord and AppendTail.
func AppendWords(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, prop entity.PropertyID) []byte {
	return appendProperty(dst, p, app, KindWord, c, prop)
}

// AppendGeo appends the prefix of the geo index of a property. An entry goes on
// with the 8 bytes of an S2 leaf cell and AppendTail.
func AppendGeo(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, prop entity.PropertyID) []byte {
	return appendProperty(dst, p, app, KindGeo, c, prop)
}

// AppendCell appends the number of an S2 cell. Leaf cells of one place in the
// hierarchy are one range of them.
func AppendCell(dst []byte, cell uint64) []byte { return binary.BigEndian.AppendUint64(dst, cell) }

// AppendPoint appends the value of a geo entry: latitude and longitude in degrees.
func AppendPoint(dst []byte, lat, lng float64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(lat))
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(lng))
}

// DecodePoint is the inverse of AppendPoint.
func DecodePoint(v []byte) (lat, lng float64, ok bool) {
	if len(v) != 16 {
		return 0, 0, false
	}
	return math.Float64frombits(binary.BigEndian.Uint64(v)), math.Float64frombits(binary.BigEndian.Uint64(v[8:])), true
}

// AppendPresent appends the key of the bitmap that says which entities of a block
// have a value of a property: newest block first.
func AppendPresent(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, prop entity.PropertyID, seq entity.Seq) []byte {
	dst = appendProperty(dst, p, app, KindPresent, c, prop)
	return binary.BigEndian.AppendUint64(dst, ^(uint64(seq) / PresentBlock))
}

// AppendPropertyStats appends the key of what is counted of a property.
func AppendPropertyStats(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, prop entity.PropertyID) []byte {
	return appendProperty(dst, p, app, KindProperty, c, prop)
}

// PropertyStatsRange bounds what is counted of all properties of a collection.
func PropertyStatsRange(p entity.Partition, app entity.AppID, c entity.CollectionID) (lower, upper []byte) {
	return rangeOf(appendCollection(nil, p, app, KindProperty, c))
}

// AppendSettings appends the key of a collection's settings.
func AppendSettings(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID) []byte {
	return appendCollection(dst, p, app, KindSettings, c)
}

// IndexRange bounds one kind of index of a collection, of all its properties.
func IndexRange(p entity.Partition, app entity.AppID, c entity.CollectionID, kind byte) (lower, upper []byte) {
	return rangeOf(appendCollection(nil, p, app, kind, c))
}

// DecodeIndex returns the kind of an index key, its collection, and its property or
// the number of its composite index. The rest aliases k.
func DecodeIndex(k []byte) (kind byte, c entity.CollectionID, prop entity.PropertyID, rest []byte, ok bool) {
	if len(k) < 9+8 {
		return 0, 0, 0, nil, false
	}
	switch k[8] {
	case KindOrdered, KindComposite, KindWord, KindGeo, KindPresent, KindProperty:
	default:
		return 0, 0, 0, nil, false
	}
	return k[8], entity.CollectionID(binary.BigEndian.Uint32(k[9:])), entity.PropertyID(binary.BigEndian.Uint32(k[13:])), k[17:], true
}
