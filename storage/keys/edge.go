package keys

import (
	"encoding/binary"
	"math"

	"github.com/trellisdb/trellis/storage/entity"
)

// Kinds of the connections of an application.
const (
	KindEdgeOut = 'C' // source · verb · ^eseq · target → empty
	KindEdgeIn  = 'c' // target · verb · ^eseq · source → empty
	KindEdge    = 'D' // source · verb · target → eseq
	KindVerb    = 'V' // end · direction · verb → number of edges, name of the verb
	KindEdges   = 'e' // → next eseq
)

// Verbs is the owner of the dictionary of verbs (AppendName).
const Verbs entity.CollectionID = math.MaxUint32

// Directions of edges as an end sees them.
const (
	Outbound byte = KindEdgeOut
	Inbound  byte = KindEdgeIn
)

func appendEnd(dst []byte, end entity.End) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(end.Collection))
	return binary.BigEndian.AppendUint64(dst, uint64(end.Seq))
}

func decodeEnd(b []byte) entity.End {
	return entity.End{Collection: entity.CollectionID(binary.BigEndian.Uint32(b)), Seq: entity.Seq(binary.BigEndian.Uint64(b[4:]))}
}

// AppendEdge appends the key by which an edge is listed at one of its ends, newest first.
//
//	partition 4 · application 4 · 'C' or 'c' · near end 12 · verb 4 · ^eseq 8 · far end 12
func AppendEdge(dst []byte, p entity.Partition, app entity.AppID, direction byte, near entity.End, verb entity.VerbID, eseq entity.Seq, far entity.End) []byte {
	dst = AppendEdgeFrom(dst, p, app, direction, near, verb, eseq)
	return appendEnd(dst, far)
}

// AppendEdgeFrom appends the place before all edges of a verb that are numbered eseq or lower.
func AppendEdgeFrom(dst []byte, p entity.Partition, app entity.AppID, direction byte, near entity.End, verb entity.VerbID, eseq entity.Seq) []byte {
	dst = appendEnd(appendApp(dst, p, app, direction), near)
	dst = binary.BigEndian.AppendUint32(dst, uint32(verb))
	return binary.BigEndian.AppendUint64(dst, ^uint64(eseq))
}

// EdgeRange bounds the edges of a verb at an end.
func EdgeRange(p entity.Partition, app entity.AppID, direction byte, near entity.End, verb entity.VerbID) (lower, upper []byte) {
	k := appendEnd(appendApp(nil, p, app, direction), near)
	return rangeOf(binary.BigEndian.AppendUint32(k, uint32(verb)))
}

// EdgesRange bounds all edges at an end, verb by verb.
func EdgesRange(p entity.Partition, app entity.AppID, direction byte, near entity.End) (lower, upper []byte) {
	return rangeOf(appendEnd(appendApp(nil, p, app, direction), near))
}

// DecodeEdge is the inverse of AppendEdge.
func DecodeEdge(k []byte) (direction byte, near entity.End, verb entity.VerbID, eseq entity.Seq, far entity.End, ok bool) {
	if len(k) != 9+12+4+8+12 || k[8] != Outbound && k[8] != Inbound {
		return 0, near, 0, 0, far, false
	}
	return k[8], decodeEnd(k[9:]), entity.VerbID(binary.BigEndian.Uint32(k[21:])),
		entity.Seq(^binary.BigEndian.Uint64(k[25:])), decodeEnd(k[33:]), true
}

// AppendConnected appends the key that says which edge, if any, leads from source
// to target by a verb. Its value is that of AppendSeq.
func AppendConnected(dst []byte, p entity.Partition, app entity.AppID, source entity.End, verb entity.VerbID, target entity.End) []byte {
	dst = appendEnd(appendApp(dst, p, app, KindEdge), source)
	dst = binary.BigEndian.AppendUint32(dst, uint32(verb))
	return appendEnd(dst, target)
}

// ConnectedRange bounds the keys that AppendConnected makes for an application.
func ConnectedRange(p entity.Partition, app entity.AppID) (lower, upper []byte) {
	return rangeOf(appendApp(nil, p, app, KindEdge))
}

// DecodeConnected is the inverse of AppendConnected.
func DecodeConnected(k []byte) (source entity.End, verb entity.VerbID, target entity.End, ok bool) {
	if len(k) != 9+12+4+12 || k[8] != KindEdge {
		return source, 0, target, false
	}
	return decodeEnd(k[9:]), entity.VerbID(binary.BigEndian.Uint32(k[21:])), decodeEnd(k[25:]), true
}

// AppendVerb appends the key that counts the edges of a verb at an end.
func AppendVerb(dst []byte, p entity.Partition, app entity.AppID, end entity.End, direction byte, verb entity.VerbID) []byte {
	dst = append(appendEnd(appendApp(dst, p, app, KindVerb), end), direction)
	return binary.BigEndian.AppendUint32(dst, uint32(verb))
}

// VerbRange bounds the verbs of an end in one direction.
func VerbRange(p entity.Partition, app entity.AppID, end entity.End, direction byte) (lower, upper []byte) {
	return rangeOf(append(appendEnd(appendApp(nil, p, app, KindVerb), end), direction))
}

// DecodeVerb is the inverse of AppendVerb.
func DecodeVerb(k []byte) (end entity.End, direction byte, verb entity.VerbID, ok bool) {
	if len(k) != 9+12+1+4 || k[8] != KindVerb {
		return end, 0, 0, false
	}
	return decodeEnd(k[9:]), k[21], entity.VerbID(binary.BigEndian.Uint32(k[22:])), true
}

// AppendEdges appends the key of the counter that numbers the edges of an application.
func AppendEdges(dst []byte, p entity.Partition, app entity.AppID) []byte {
	return appendApp(dst, p, app, KindEdges)
}
