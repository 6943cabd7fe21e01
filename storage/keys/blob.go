package keys

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// AppendBlob appends the key of the record of a blob.
func AppendBlob(dst []byte, p entity.Partition, app entity.AppID, blob entity.ID) []byte {
	return append(appendApp(dst, p, app, KindBlob), blob[:]...)
}

// DecodeBlob is the inverse of AppendBlob.
func DecodeBlob(k []byte) (blob entity.ID, ok bool) {
	if len(k) != 9+16 || k[8] != KindBlob {
		return blob, false
	}
	copy(blob[:], k[9:])
	return blob, true
}

// BlobsRange bounds the records of all blobs of an application.
func BlobsRange(p entity.Partition, app entity.AppID) (lower, upper []byte) {
	return rangeOf(appendApp(nil, p, app, KindBlob))
}

// AppendChunk appends the key of a chunk of a blob, the first of which has number 0.
//
//	partition 4 · application 4 · 'B' · blob 16 · number 4
func AppendChunk(dst []byte, p entity.Partition, app entity.AppID, blob entity.ID, number uint32) []byte {
	return binary.BigEndian.AppendUint32(append(appendApp(dst, p, app, KindChunk), blob[:]...), number)
}

// DecodeChunk is the inverse of AppendChunk.
func DecodeChunk(k []byte) (blob entity.ID, number uint32, ok bool) {
	if len(k) != 9+16+4 || k[8] != KindChunk {
		return blob, 0, false
	}
	copy(blob[:], k[9:])
	return blob, binary.BigEndian.Uint32(k[25:]), true
}

// ChunkRange bounds the chunks of a blob.
func ChunkRange(p entity.Partition, app entity.AppID, blob entity.ID) (lower, upper []byte) {
	return rangeOf(append(appendApp(nil, p, app, KindChunk), blob[:]...))
}
