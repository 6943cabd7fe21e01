package storage

import (
	"fmt"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// ReadBlob returns the record of a blob.
func ReadBlob(r Reader, app entity.AppID, blob entity.ID) (entity.Blob, bool, error) {
	var buf [32]byte
	raw, ok, err := r.Get(nil, keys.AppendBlob(buf[:0], r.Partition(), app, blob))
	if err != nil || !ok {
		return entity.Blob{}, false, err
	}
	b, err := entity.DecodeBlob(raw)
	if err != nil {
		return entity.Blob{}, false, fault.Wrap(err, fault.Corrupt, "partition %d: blob %s of application %d", r.Partition(), blob, app)
	}
	return b, true, nil
}

// CopyChunk copies bytes of a chunk of a blob, from an offset on, as many as there are
// and as dst has room for, and returns how many that were. found is false if there is no
// such chunk.
func (v *View) CopyChunk(dst []byte, app entity.AppID, blob entity.ID, number uint32, offset int) (n int, found bool, err error) {
	if offset == 0 {
		v.state.reads.begin()
	}
	var buf [32]byte
	key := keys.AppendChunk(buf[:0], v.p, app, blob, number)
	err = visit(v.picture.snap, key, func(value []byte) {
		found = true
		if offset < len(value) {
			n = copy(dst, value[offset:])
		}
	})
	if err == nil {
		err = v.stale()
	}
	if err != nil {
		return 0, false, fmt.Errorf("partition %d: chunk %d of blob %s: %w", v.p, number, blob, err)
	}
	return n, found, nil
}
