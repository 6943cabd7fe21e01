package storage

import (
	"encoding/binary"
	"io"
	"math/bits"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Bitmap says which entities of a block of keys.PresentBlock have something.
type Bitmap [keys.PresentBlock / 64]uint64

// Has reports whether an entity of the block is among them.
func (b *Bitmap) Has(seq entity.Seq) bool {
	n := seq % keys.PresentBlock
	return b[n/64]>>(n%64)&1 != 0
}

// Count returns how many entities are among them.
func (b *Bitmap) Count() (n int) {
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}

// Forms of a bitmap on disk, and of a change of one. All numbers are big-endian.
//
//	1 · places, 2 bytes each            bits that are set, fewer than 64 of them
//	2 · words, 8 bytes each             the bitmap
//	3 · count 2 · places · places       a change: bits to set, so many, and bits to clear
//
// A bitmap has one form, whichever changes made it, in whatever order Pebble came to
// put them together: replicas hold the same bytes. A bitmap is also a change, of one
// without bits.
const (
	formSparse = 1
	formDense  = 2
	formChange = 3
)

// manyPlaces is from how many bits on a bitmap is dense.
const manyPlaces = 64

// AppendPresence appends the change of a bitmap by which an entity of its block has
// something or has it not, for Batch.Merge.
func AppendPresence(dst []byte, seq entity.Seq, has bool) []byte {
	place := uint16(seq % keys.PresentBlock)
	if has {
		return binary.BigEndian.AppendUint16(append(dst, formSparse), place)
	}
	return binary.BigEndian.AppendUint16(append(dst, formChange, 0, 0), place)
}

// Presence collects what AppendPresence says one by one, of entities of one block. Its
// zero value says nothing.
type Presence struct{ change change }

// Note says that an entity has something or has it not.
func (p *Presence) Note(seq entity.Seq, has bool) {
	n := seq % keys.PresentBlock
	bit := uint64(1) << (n % 64)
	p.change.set[n/64] &^= bit
	p.change.clear[n/64] &^= bit
	if has {
		p.change.set[n/64] |= bit
	} else {
		p.change.clear[n/64] |= bit
	}
}

// Append appends the change, for Batch.Merge, and forgets what was noted.
func (p *Presence) Append(dst []byte) []byte {
	dst = p.change.append(dst, false)
	*p = Presence{}
	return dst
}

// DecodeBitmap reads a stored bitmap.
func DecodeBitmap(v []byte) (Bitmap, bool) {
	var c change
	ok := c.older(v) && len(v) > 0 && v[0] != formChange
	return c.set, ok
}

// change is what was read of changes so far. No bit is in both.
type change struct{ set, clear Bitmap }

// older adds a change that came before those that are known.
func (c *change) older(form []byte) bool {
	var o change
	if !o.decode(form) {
		return false
	}
	for i := range c.set {
		c.set[i] |= o.set[i] &^ c.clear[i]
		c.clear[i] |= o.clear[i] &^ c.set[i]
	}
	return true
}

// newer adds a change that came after those that are known.
func (c *change) newer(form []byte) bool {
	var n change
	if !n.decode(form) {
		return false
	}
	for i := range c.set {
		c.set[i] = c.set[i]&^n.clear[i] | n.set[i]
		c.clear[i] = c.clear[i]&^n.set[i] | n.clear[i]
	}
	return true
}

func (c *change) decode(form []byte) bool {
	if len(form) == 0 {
		return false
	}
	body := form[1:]
	switch form[0] {
	case formSparse:
		return c.set.add(body)
	case formDense:
		if len(body) != keys.PresentBlock/8 {
			return false
		}
		for i := range c.set {
			c.set[i] = binary.BigEndian.Uint64(body[8*i:])
		}
		return true
	case formChange:
		if len(body) < 2 {
			return false
		}
		n := 2 * int(binary.BigEndian.Uint16(body))
		if body = body[2:]; n > len(body) {
			return false
		}
		return c.set.add(body[:n]) && c.clear.add(body[n:])
	}
	return false
}

// add sets the bits at places.
func (b *Bitmap) add(places []byte) bool {
	if len(places)%2 != 0 {
		return false
	}
	for ; len(places) > 0; places = places[2:] {
		n := binary.BigEndian.Uint16(places)
		if n >= keys.PresentBlock {
			return false
		}
		b[n/64] |= 1 << (n % 64)
	}
	return true
}

func (b *Bitmap) appendPlaces(dst []byte) []byte {
	for i, word := range b {
		for ; word != 0; word &= word - 1 {
			dst = binary.BigEndian.AppendUint16(dst, uint16(64*i+bits.TrailingZeros64(word)))
		}
	}
	return dst
}

// append appends the form of the changes. whole says that there are none before
// them: the result is a bitmap.
func (c *change) append(dst []byte, whole bool) []byte {
	switch {
	case !whole && c.clear != Bitmap{}:
		dst = append(dst, formChange)
		dst = binary.BigEndian.AppendUint16(dst, uint16(c.set.Count()))
		return c.clear.appendPlaces(c.set.appendPlaces(dst))
	case c.set.Count() < manyPlaces:
		return c.set.appendPlaces(append(dst, formSparse))
	}
	dst = append(dst, formDense)
	for _, word := range c.set {
		dst = binary.BigEndian.AppendUint64(dst, word)
	}
	return dst
}

// bitmapMerge implements pebble.ValueMerger.
type bitmapMerge struct{ change change }

func damagedBitmap() error { return fault.New(fault.Corrupt, "state DB: damaged bitmap") }

// MergeNewer implements pebble.ValueMerger.
func (m *bitmapMerge) MergeNewer(value []byte) error {
	if !m.change.newer(value) {
		return damagedBitmap()
	}
	return nil
}

// MergeOlder implements pebble.ValueMerger.
func (m *bitmapMerge) MergeOlder(value []byte) error {
	if !m.change.older(value) {
		return damagedBitmap()
	}
	return nil
}

// Finish implements pebble.ValueMerger. A bitmap without bits stays a value: whether
// there is one must not depend on what was compacted.
func (m *bitmapMerge) Finish(includesBase bool) ([]byte, io.Closer, error) {
	return m.change.append(nil, includesBase), nil, nil
}
