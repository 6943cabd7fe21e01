// Package keys is the layout of the state DB: how tuples become bytes whose
// order is the order of the tuples.
//
// Every key begins with partition (4 bytes) and application (4 bytes), then a
// kind byte. All numbers are big-endian, so a partition, an application, a
// collection each is one contiguous range. docs/format/state.md draws every
// key; a change here is a change of format.
//
// The package is pure. Functions named Append… append one key to dst and
// return it; functions named …Range return the bounds [lower, upper) of all
// keys with a prefix.
package keys

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// Kind bytes: what a key of an application holds.
const (
	KindEntity     = 'E' // collection · ^seq → entity record
	KindID         = 'K' // collection · uuid → seq
	KindUnique     = 'U' // collection · property · value → seq, uuid
	KindCollection = 'M' // collection → next seq, number of entities
	KindName       = 'd' // owner · name → number: the dictionaries
	KindLink       = 'L' // relation · from · to → empty: memberships
	KindCredential = 'S' // owner · kind → credential record
	KindToken      = 'A' // SHA-256 of the token → token record
	KindGrant      = 'g' // owner · permission → empty: what users, groups and roles may do
	KindRoute      = 'R' // application number → partition, uuid (system partition)
	KindBlob       = 'b' // blob id → blob record
	KindChunk      = 'B' // blob id · number → bytes
)

// Kinds of partition meta, under entity.NoApp.
const (
	metaApplied = 'a' // → last applied log index, 8 bytes
	metaDedup   = 'D' // epoch · request id → recorded outcome
	metaCluster = 'c' // → cluster record (system partition)
	metaNextApp = 'n' // → next application number (system partition)
	metaMember  = 'm' // node id → member record (system partition)
	metaNode    = 'k' // name of a node → id of the member that has it, or had it last (system partition)
	metaPlace   = 'p' // partition → placement record (system partition)
	metaProto   = 'v' // → protocol version (system partition)
	metaTask    = 't' // task id → task record
	metaQueue   = 'q' // state · priority · application · not before · task id → kind of the task
	metaGone    = 'g' // application number → empty: what it had was purged
)

// Link relations.
const (
	LinkMember      byte = 1 // organisation → admin user
	LinkMemberOf    byte = 2 // admin user → organisation
	LinkApplication byte = 3 // organisation → application
	LinkDeletedApp  byte = 4 // organisation → deleted application
)

func appendApp(dst []byte, p entity.Partition, app entity.AppID, kind byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(p))
	dst = binary.BigEndian.AppendUint32(dst, uint32(app))
	return append(dst, kind)
}

func appendCollection(dst []byte, p entity.Partition, app entity.AppID, kind byte, c entity.CollectionID) []byte {
	return binary.BigEndian.AppendUint32(appendApp(dst, p, app, kind), uint32(c))
}

// Successor returns the smallest key greater than every key with the given
// prefix, or nil if there is none (a prefix of 0xff bytes only).
func Successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			upper := append([]byte(nil), prefix[:i+1]...)
			upper[i]++
			return upper
		}
	}
	return nil
}

func rangeOf(prefix []byte) (lower, upper []byte) { return prefix, Successor(prefix) }

// PartitionRange bounds everything a partition stores.
func PartitionRange(p entity.Partition) (lower, upper []byte) {
	return rangeOf(binary.BigEndian.AppendUint32(nil, uint32(p)))
}

// PartitionOf returns the partition a key belongs to; false if k is too short.
func PartitionOf(k []byte) (entity.Partition, bool) {
	if len(k) < 4 {
		return 0, false
	}
	return entity.Partition(binary.BigEndian.Uint32(k)), true
}

// AppRange bounds everything an application stores.
func AppRange(p entity.Partition, app entity.AppID) (lower, upper []byte) {
	k := binary.BigEndian.AppendUint32(nil, uint32(p))
	return rangeOf(binary.BigEndian.AppendUint32(k, uint32(app)))
}

// AppendApplied appends the key of a partition's last applied log index.
func AppendApplied(dst []byte, p entity.Partition) []byte {
	return appendApp(dst, p, entity.NoApp, metaApplied)
}

// AppendDedup appends the key of the outcome recorded for a request id in an epoch.
func AppendDedup(dst []byte, p entity.Partition, epoch uint64, request [16]byte) []byte {
	dst = binary.BigEndian.AppendUint64(appendApp(dst, p, entity.NoApp, metaDedup), epoch)
	return append(dst, request[:]...)
}

// DecodeDedup is the inverse of AppendDedup.
func DecodeDedup(k []byte) (epoch uint64, request [16]byte, ok bool) {
	if len(k) != 9+8+16 || k[8] != metaDedup {
		return 0, request, false
	}
	copy(request[:], k[17:])
	return binary.BigEndian.Uint64(k[9:]), request, true
}

// DedupRange bounds the recorded outcomes of the epochs [from, to).
func DedupRange(p entity.Partition, from, to uint64) (lower, upper []byte) {
	lower = binary.BigEndian.AppendUint64(appendApp(nil, p, entity.NoApp, metaDedup), from)
	upper = binary.BigEndian.AppendUint64(appendApp(nil, p, entity.NoApp, metaDedup), to)
	return lower, upper
}

// AppendCluster appends the key of the cluster record.
func AppendCluster(dst []byte) []byte {
	return appendApp(dst, entity.System, entity.NoApp, metaCluster)
}

// AppendNextApp appends the key of the counter that numbers applications.
func AppendNextApp(dst []byte) []byte {
	return appendApp(dst, entity.System, entity.NoApp, metaNextApp)
}

// AppendMember appends the key of a member's record.
func AppendMember(dst []byte, id entity.NodeID) []byte {
	return append(appendApp(dst, entity.System, entity.NoApp, metaMember), id...)
}

// MemberRange bounds the records of all members.
func MemberRange() (lower, upper []byte) {
	return rangeOf(appendApp(nil, entity.System, entity.NoApp, metaMember))
}

// DecodeMember is the inverse of AppendMember.
func DecodeMember(k []byte) (entity.NodeID, bool) {
	prefix := appendApp(nil, entity.System, entity.NoApp, metaMember)
	if len(k) <= len(prefix) || string(k[:len(prefix)]) != string(prefix) {
		return "", false
	}
	return entity.NodeID(k[len(prefix):]), true
}

// AppendNode appends the key that leads from the name of a node to its id.
func AppendNode(dst []byte, name string) []byte {
	return append(appendApp(dst, entity.System, entity.NoApp, metaNode), name...)
}

// NodeRange bounds the keys of AppendNode.
func NodeRange() (lower, upper []byte) {
	return rangeOf(appendApp(nil, entity.System, entity.NoApp, metaNode))
}

// IsNode reports whether a key is one of AppendNode.
func IsNode(k []byte) bool {
	prefix := appendApp(nil, entity.System, entity.NoApp, metaNode)
	return len(k) > len(prefix) && string(k[:len(prefix)]) == string(prefix)
}

// AppendPlacement appends the key of a partition's placement.
func AppendPlacement(dst []byte, p entity.Partition) []byte {
	return binary.BigEndian.AppendUint32(appendApp(dst, entity.System, entity.NoApp, metaPlace), uint32(p))
}

// PlacementRange bounds the placements of all partitions.
func PlacementRange() (lower, upper []byte) {
	return rangeOf(appendApp(nil, entity.System, entity.NoApp, metaPlace))
}

// DecodePlacement is the inverse of AppendPlacement.
func DecodePlacement(k []byte) (entity.Partition, bool) {
	prefix := appendApp(nil, entity.System, entity.NoApp, metaPlace)
	if len(k) != len(prefix)+4 || string(k[:len(prefix)]) != string(prefix) {
		return 0, false
	}
	return entity.Partition(binary.BigEndian.Uint32(k[len(prefix):])), true
}

// AppendProtocol appends the key of the cluster's protocol version.
func AppendProtocol(dst []byte) []byte {
	return appendApp(dst, entity.System, entity.NoApp, metaProto)
}

// AppendEntity appends the key under which an entity is stored.
//
//	partition 4 · application 4 · 'E' · collection 4 · ^seq 8
//
// The sequence number is inverted: a forward scan meets the newest entity first.
func AppendEntity(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, seq entity.Seq) []byte {
	return binary.BigEndian.AppendUint64(appendCollection(dst, p, app, KindEntity, c), ^uint64(seq))
}

// EntityRange bounds the entities of a collection, newest first.
func EntityRange(p entity.Partition, app entity.AppID, c entity.CollectionID) (lower, upper []byte) {
	return rangeOf(appendCollection(nil, p, app, KindEntity, c))
}

// DecodeEntity is the inverse of AppendEntity.
func DecodeEntity(k []byte) (c entity.CollectionID, seq entity.Seq, ok bool) {
	if len(k) != 9+4+8 || k[8] != KindEntity {
		return 0, 0, false
	}
	return entity.CollectionID(binary.BigEndian.Uint32(k[9:])), entity.Seq(^binary.BigEndian.Uint64(k[13:])), true
}

// AppendID appends the key that leads from an entity's UUID to its seq.
func AppendID(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, id entity.ID) []byte {
	return append(appendCollection(dst, p, app, KindID, c), id[:]...)
}

// IDRange bounds the UUID keys of a collection.
func IDRange(p entity.Partition, app entity.AppID, c entity.CollectionID) (lower, upper []byte) {
	return rangeOf(appendCollection(nil, p, app, KindID, c))
}

// DecodeID is the inverse of AppendID.
func DecodeID(k []byte) (c entity.CollectionID, id entity.ID, ok bool) {
	if len(k) != 9+4+16 || k[8] != KindID {
		return 0, id, false
	}
	copy(id[:], k[13:])
	return entity.CollectionID(binary.BigEndian.Uint32(k[9:])), id, true
}

// AppendUnique appends the key that holds a unique value. value is what
// AppendString made of it, so values that differ only in case are one key.
func AppendUnique(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID, prop entity.PropertyID, value string) []byte {
	dst = appendCollection(dst, p, app, KindUnique, c)
	dst = binary.BigEndian.AppendUint32(dst, uint32(prop))
	return AppendUniqueString(dst, value)
}

// UniqueRange bounds the unique values of a collection, property by property.
func UniqueRange(p entity.Partition, app entity.AppID, c entity.CollectionID) (lower, upper []byte) {
	return rangeOf(appendCollection(nil, p, app, KindUnique, c))
}

// DecodeUnique returns collection, property and the encoded value of a unique
// key. The value aliases k.
func DecodeUnique(k []byte) (c entity.CollectionID, prop entity.PropertyID, value []byte, ok bool) {
	if len(k) <= 9+8 || k[8] != KindUnique {
		return 0, 0, nil, false
	}
	return entity.CollectionID(binary.BigEndian.Uint32(k[9:])), entity.PropertyID(binary.BigEndian.Uint32(k[13:])), k[17:], true
}

// AppendUniqueValue appends what a unique key leads to: seq 8 · uuid 16.
func AppendUniqueValue(dst []byte, seq entity.Seq, id entity.ID) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(seq)), id[:]...)
}

// DecodeUniqueValue is the inverse of AppendUniqueValue.
func DecodeUniqueValue(v []byte) (seq entity.Seq, id entity.ID, ok bool) {
	if len(v) != 24 {
		return 0, id, false
	}
	copy(id[:], v[8:])
	return entity.Seq(binary.BigEndian.Uint64(v)), id, true
}

// AppendSeq appends the 8 bytes a UUID key leads to.
func AppendSeq(dst []byte, seq entity.Seq) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(seq))
}

// DecodeSeq is the inverse of AppendSeq.
func DecodeSeq(v []byte) (entity.Seq, bool) {
	if len(v) != 8 {
		return 0, false
	}
	return entity.Seq(binary.BigEndian.Uint64(v)), true
}

// AppendCollection appends the key of a collection's counters.
func AppendCollection(dst []byte, p entity.Partition, app entity.AppID, c entity.CollectionID) []byte {
	return appendCollection(dst, p, app, KindCollection, c)
}

// CollectionRange bounds the counters of all collections of an application.
func CollectionRange(p entity.Partition, app entity.AppID) (lower, upper []byte) {
	return rangeOf(appendApp(nil, p, app, KindCollection))
}

// AppendName appends the dictionary key of a name. Owner 0 is the dictionary
// of the application's collections, any other owner that of the properties of
// the collection with that number. Names compare byte by byte: callers fold
// them first.
func AppendName(dst []byte, p entity.Partition, app entity.AppID, owner entity.CollectionID, name string) []byte {
	return append(appendCollection(dst, p, app, KindName, owner), name...)
}

// NameRange bounds the dictionary of an owner, in order of the names.
func NameRange(p entity.Partition, app entity.AppID, owner entity.CollectionID) (lower, upper []byte) {
	return rangeOf(appendCollection(nil, p, app, KindName, owner))
}

// DecodeName is the inverse of AppendName.
func DecodeName(k []byte) (owner entity.CollectionID, name string, ok bool) {
	if len(k) < 9+4 || k[8] != KindName {
		return 0, "", false
	}
	return entity.CollectionID(binary.BigEndian.Uint32(k[9:])), string(k[13:]), true
}

// AppendLink appends the key that says from is related to to.
func AppendLink(dst []byte, p entity.Partition, app entity.AppID, relation byte, from, to entity.ID) []byte {
	dst = append(appendApp(dst, p, app, KindLink), relation)
	dst = append(dst, from[:]...)
	return append(dst, to[:]...)
}

// LinkRange bounds everything from is related to.
func LinkRange(p entity.Partition, app entity.AppID, relation byte, from entity.ID) (lower, upper []byte) {
	k := append(appendApp(nil, p, app, KindLink), relation)
	return rangeOf(append(k, from[:]...))
}

// DecodeLink is the inverse of AppendLink.
func DecodeLink(k []byte) (relation byte, from, to entity.ID, ok bool) {
	if len(k) != 9+1+32 || k[8] != KindLink {
		return 0, from, to, false
	}
	copy(from[:], k[10:])
	copy(to[:], k[26:])
	return k[9], from, to, true
}

// AppendCredential appends the key of one kind of credential of an owner: a
// password hash, a client secret.
func AppendCredential(dst []byte, p entity.Partition, app entity.AppID, owner entity.ID, kind byte) []byte {
	return append(append(appendApp(dst, p, app, KindCredential), owner[:]...), kind)
}

// DecodeCredential is the inverse of AppendCredential.
func DecodeCredential(k []byte) (app entity.AppID, owner entity.ID, kind byte, ok bool) {
	if len(k) != 9+16+1 || k[8] != KindCredential {
		return 0, owner, 0, false
	}
	copy(owner[:], k[9:])
	return entity.AppID(binary.BigEndian.Uint32(k[4:])), owner, k[25], true
}

// CredentialsRange bounds all credentials of an application.
func CredentialsRange(p entity.Partition, app entity.AppID) (lower, upper []byte) {
	return rangeOf(appendApp(nil, p, app, KindCredential))
}

// CredentialRange bounds all credentials of an owner.
func CredentialRange(p entity.Partition, app entity.AppID, owner entity.ID) (lower, upper []byte) {
	return rangeOf(append(appendApp(nil, p, app, KindCredential), owner[:]...))
}

// AppendToken appends the key of a token, which is known by the SHA-256 of its text.
func AppendToken(dst []byte, p entity.Partition, app entity.AppID, hash [32]byte) []byte {
	return append(appendApp(dst, p, app, KindToken), hash[:]...)
}

// TokenRange bounds all tokens of an application.
func TokenRange(p entity.Partition, app entity.AppID) (lower, upper []byte) {
	return rangeOf(appendApp(nil, p, app, KindToken))
}

// AppendGrant appends the key that says an owner, a user, group or role, has a
// permission. text is the permission as it is stored and compared.
func AppendGrant(dst []byte, p entity.Partition, app entity.AppID, owner entity.ID, text string) []byte {
	return append(append(appendApp(dst, p, app, KindGrant), owner[:]...), text...)
}

// GrantRange bounds all permissions of an owner.
func GrantRange(p entity.Partition, app entity.AppID, owner entity.ID) (lower, upper []byte) {
	return rangeOf(AppendGrant(nil, p, app, owner, ""))
}

// DecodeGrant is the inverse of AppendGrant.
func DecodeGrant(k []byte) (owner entity.ID, text string, ok bool) {
	if len(k) <= 9+16 || k[8] != KindGrant {
		return owner, "", false
	}
	copy(owner[:], k[9:])
	return owner, string(k[9+16:]), true
}

// AppendRoute appends the key that says where an application lives.
func AppendRoute(dst []byte, app entity.AppID) []byte {
	return binary.BigEndian.AppendUint32(appendApp(dst, entity.System, entity.Management, KindRoute), uint32(app))
}

// AppendRouteValue appends what a route leads to: partition 4 · uuid 16.
func AppendRouteValue(dst []byte, p entity.Partition, id entity.ID) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(p)), id[:]...)
}

// DecodeRouteValue is the inverse of AppendRouteValue.
func DecodeRouteValue(v []byte) (p entity.Partition, id entity.ID, ok bool) {
	if len(v) != 20 {
		return 0, id, false
	}
	copy(id[:], v[4:])
	return entity.Partition(binary.BigEndian.Uint32(v)), id, true
}

// RouteRange bounds the routes of all applications.
func RouteRange() (lower, upper []byte) {
	return rangeOf(appendApp(nil, entity.System, entity.Management, KindRoute))
}

// DecodeRoute is the inverse of AppendRoute.
func DecodeRoute(k []byte) (entity.AppID, bool) {
	if len(k) != 9+4 || k[8] != KindRoute {
		return 0, false
	}
	return entity.AppID(binary.BigEndian.Uint32(k[9:])), true
}
