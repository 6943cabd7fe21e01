package entity

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/fault"
)

// Blob is what is kept of the binary data of an entity, beside its bytes. Its id is
// nobody else's, and its bytes never change: an entity that gets other data gets
// another blob.
type Blob struct {
	State BlobState
	Size  uint64 // bytes
	// The bytes lie in chunks of Chunk bytes each, the last one of what is left;
	// Written of them are there.
	Chunk   uint64
	Written uint64
	// Owner is the entity that has the blob, once it is attached.
	Owner End
	// Object is the name of the object in the object store that holds the bytes. If
	// it is not empty, there are no chunks.
	Object string
}

// BlobState says what becomes of a blob.
type BlobState byte

// States of a blob. One that is not attached has a task that removes it.
const (
	BlobOpen     BlobState = 1 // it is being written, and can be attached
	BlobAttached BlobState = 2 // an entity has it
	BlobDoomed   BlobState = 3 // no entity has it, or ever will again; its object is being deleted
)

// Bounds of blobs. Apply decides by them, so they are no settings.
const (
	MaxBlobChunk  = 1 << 20 // bytes
	MaxBlobChunks = 1 << 20
	MaxBlobObject = 256 // bytes of the name of an object
)

// Chunks returns how many chunks hold all of the blob in the end.
func (b *Blob) Chunks() uint64 {
	if b.Object != "" || b.Size == 0 {
		return 0
	}
	return (b.Size-1)/b.Chunk + 1
}

// ChunkSize returns how many bytes a chunk has that the blob can have.
func (b *Blob) ChunkSize(number uint64) uint64 { return min(b.Chunk, b.Size-number*b.Chunk) }

const blobVersion = 1

// AppendBlob appends the stored form: version 1 · state 1 · size, chunk, written,
// collection and seq of the owner, each uvarint · object with its length as uvarint
// before it.
func AppendBlob(dst []byte, b *Blob) []byte {
	dst = append(dst, blobVersion, byte(b.State))
	for _, n := range []uint64{b.Size, b.Chunk, b.Written, uint64(b.Owner.Collection), uint64(b.Owner.Seq)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return append(binary.AppendUvarint(dst, uint64(len(b.Object))), b.Object...)
}

// DecodeBlob reads what AppendBlob wrote, or returns fault.Corrupt.
func DecodeBlob(raw []byte) (b Blob, err error) {
	bad := fault.New(fault.Corrupt, "blob record: damaged or of another version")
	if len(raw) < 2 || raw[0] != blobVersion || raw[1] < byte(BlobOpen) || raw[1] > byte(BlobDoomed) {
		return Blob{}, bad
	}
	b.State, raw = BlobState(raw[1]), raw[2:]
	var numbers [5]uint64
	ok := false
	for i := range numbers {
		if numbers[i], raw, ok = uvarint(raw); !ok {
			return Blob{}, bad
		}
	}
	if b.Object, raw, ok = text(raw); !ok || len(raw) != 0 || numbers[3] > 1<<32-1 {
		return Blob{}, bad
	}
	b.Size, b.Chunk, b.Written = numbers[0], numbers[1], numbers[2]
	b.Owner = End{Collection: CollectionID(numbers[3]), Seq: Seq(numbers[4])}
	if !b.Valid() || b.Written > b.Chunks() {
		return Blob{}, bad
	}
	return b, nil
}

// Valid reports whether a blob can have this size, these chunks and this object.
func (b *Blob) Valid() bool {
	if b.Object != "" {
		return len(b.Object) <= MaxBlobObject
	}
	return b.Chunk > 0 && b.Chunk <= MaxBlobChunk && b.Size <= b.Chunk*MaxBlobChunks
}
