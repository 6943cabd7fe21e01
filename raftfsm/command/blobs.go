package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// BeginBlob makes room for binary data: bytes that PutChunk brings, or those of an
// object in the object store. A task is recorded that removes the blob from Expires on
// unless it is attached. One that exists is refused. Faults: Conflict, IllegalArgument.
type BeginBlob struct {
	Blob    entity.ID
	Size    uint64 // bytes
	Chunk   uint64 // bytes of a chunk, the last one's apart
	Object  string // name in the object store, which holds the bytes then; empty: chunks do
	Expires int64  // ms since the epoch
}

// PutChunk brings a chunk of a blob, at any place in the order of chunks. One that is
// there already is left as it is. Faults: EntityNotFound (no such blob), Conflict (it is
// not being written any more), IllegalArgument (the blob has no such chunk).
type PutChunk struct {
	Blob   entity.ID
	Number uint32
	Data   []byte
}

// AttachBlob changes or creates an entity as UpdateEntity does, or creates one if
// Change.Target is zero, and gives it binary data in the same step. What it had before is
// removed.
//
// If Whole, Data is all the data and the blob comes to be by this command; otherwise it
// was begun, and all its chunks are there. If Blob is zero there is no data: the entity
// keeps what it has, and the members of Rejected, a JSON object unless it is empty, are
// put among those of its metadata.
//
// Faults: those of UpdateEntity; EntityNotFound (no such blob), Conflict (it is attached,
// or not whole).
type AttachBlob struct {
	Blob     entity.ID
	Whole    bool
	Data     []byte
	Rejected []byte
	Change   UpdateEntity
}

// DropBlob removes a blob that is not attached, with its chunks. One that does not exist
// is no error. Fault: Conflict (it is attached).
type DropBlob struct{ Blob entity.ID }

// DoomBlob says that a blob will never be attached, so that its object can be deleted.
// One that does not exist is no error. Fault: Conflict (it is attached).
type DoomBlob struct{ Blob entity.ID }

func (BeginBlob) kind() Kind  { return KindBeginBlob }
func (PutChunk) kind() Kind   { return KindPutChunk }
func (AttachBlob) kind() Kind { return KindAttachBlob }
func (DropBlob) kind() Kind   { return KindDropBlob }
func (DoomBlob) kind() Kind   { return KindDoomBlob }

// FileMetadata is the property that describes the binary data of an entity.
const FileMetadata = "file-metadata"

func (o BeginBlob) appendBody(dst []byte) []byte {
	dst = append(dst, o.Blob[:]...)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, o.Size), o.Chunk)
	return binary.AppendVarint(appendString(dst, o.Object), o.Expires)
}

func (r *reader) beginBlob() Op {
	return BeginBlob{Blob: r.id(), Size: r.uvarint(), Chunk: r.uvarint(), Object: r.string(), Expires: r.varint()}
}

func (o PutChunk) appendBody(dst []byte) []byte {
	return appendBytes(binary.AppendUvarint(append(dst, o.Blob[:]...), uint64(o.Number)), o.Data)
}

func (r *reader) putChunk() Op { return PutChunk{Blob: r.id(), Number: r.number(), Data: r.bytes()} }

func (o AttachBlob) appendBody(dst []byte) []byte {
	dst = appendBool(append(dst, o.Blob[:]...), o.Whole)
	dst = appendBytes(appendBytes(dst, o.Data), o.Rejected)
	return o.Change.appendBody(dst)
}

func (d *Decoder) attachBlob(r *reader) Op {
	return AttachBlob{Blob: r.id(), Whole: r.bool(), Data: r.bytes(), Rejected: r.bytes(), Change: d.updateEntity(r)}
}

func (o DropBlob) appendBody(dst []byte) []byte { return append(dst, o.Blob[:]...) }
func (o DoomBlob) appendBody(dst []byte) []byte { return append(dst, o.Blob[:]...) }
