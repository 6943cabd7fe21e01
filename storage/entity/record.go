package entity

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/fault"
)

// recordVersion is the first byte of every entity that is written. Version 1, which
// is still read, says nothing of a generation.
const recordVersion = 2

const (
	flagHasOut = 1 << iota
	flagHasIn
	flagHasBlob
)

// AppendRecord appends the stored form of e.
//
//	version 1 · flags 1 · uuid 16 · [blob 16] · created varint · modified−created varint ·
//	seq uvarint · rev−seq uvarint · generation uvarint · length of JSON uvarint · JSON
//
// Rev is never below Seq: both come from one counter.
func AppendRecord(dst []byte, e *Entity) []byte {
	var flags byte
	if e.HasOut {
		flags |= flagHasOut
	}
	if e.HasIn {
		flags |= flagHasIn
	}
	if !e.Blob.IsZero() {
		flags |= flagHasBlob
	}
	dst = append(dst, recordVersion, flags)
	dst = append(dst, e.ID[:]...)
	if flags&flagHasBlob != 0 {
		dst = append(dst, e.Blob[:]...)
	}
	dst = binary.AppendVarint(dst, e.Created)
	dst = binary.AppendVarint(dst, e.Modified-e.Created)
	dst = binary.AppendUvarint(dst, uint64(e.Seq))
	dst = binary.AppendUvarint(dst, uint64(e.Rev-e.Seq))
	dst = binary.AppendUvarint(dst, uint64(e.Generation))
	dst = binary.AppendUvarint(dst, uint64(len(e.JSON)))
	return append(dst, e.JSON...)
}

// DecodeRecord reads what AppendRecord wrote, or what it wrote of version 1. The entity's JSON aliases b. It
// returns fault.Corrupt for anything else.
func DecodeRecord(b []byte) (Entity, error) {
	var e Entity
	if len(b) < 18 || b[0] == 0 || b[0] > recordVersion || b[1]&^(flagHasOut|flagHasIn|flagHasBlob) != 0 {
		return Entity{}, fault.New(fault.Corrupt, "entity record: bad header")
	}
	e.HasOut = b[1]&flagHasOut != 0
	e.HasIn = b[1]&flagHasIn != 0
	copy(e.ID[:], b[2:18])
	version, hasBlob, b := b[0], b[1]&flagHasBlob != 0, b[18:]
	if hasBlob {
		if len(b) < 16 || version < 2 {
			return Entity{}, fault.New(fault.Corrupt, "entity record %s: bad header", e.ID)
		}
		copy(e.Blob[:], b)
		if b = b[16:]; e.Blob.IsZero() {
			return Entity{}, fault.New(fault.Corrupt, "entity record %s: bad header", e.ID)
		}
	}
	var ok [6]bool
	var seq, delta, generation, size uint64
	var age int64
	e.Created, b, ok[0] = varint(b)
	age, b, ok[1] = varint(b)
	seq, b, ok[2] = uvarint(b)
	delta, b, ok[3] = uvarint(b)
	if ok[4] = true; version > 1 {
		generation, b, ok[4] = uvarint(b)
	}
	size, b, ok[5] = uvarint(b)
	if ok != [6]bool{true, true, true, true, true, true} || generation > 1<<32-1 || size != uint64(len(b)) {
		return Entity{}, fault.New(fault.Corrupt, "entity record %s: bad length", e.ID)
	}
	e.Modified = e.Created + age
	e.Seq, e.Rev, e.Generation = Seq(seq), Seq(seq+delta), uint32(generation)
	e.JSON = b
	return e, nil
}

func varint(b []byte) (int64, []byte, bool) {
	v, n := binary.Varint(b)
	if n <= 0 {
		return 0, b, false
	}
	return v, b[n:], true
}

func uvarint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, b, false
	}
	return v, b[n:], true
}
