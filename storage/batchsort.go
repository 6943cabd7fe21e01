package storage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// sortable is an operation on its way into order.
type sortable struct {
	head uint64 // of its key
	op   uint32 // position in ops
}

// arrange makes b.order the operations in order of their keys. Keys of one collection
// share their first 13 bytes and more, so most comparisons would read far into both: they
// are settled by heads instead.
func (b *Batch) arrange() {
	b.order = slices.Grow(b.order[:0], len(b.ops))
	base := ^uint32(0)
	for n := range b.ops {
		base = min(base, fourBytes(b.keyOf(&b.ops[n]), 4))
	}
	for n := range b.ops {
		b.order = append(b.order, sortable{headOf(b.keyOf(&b.ops[n]), base), uint32(n)})
	}
	slices.SortFunc(b.order, func(x, y sortable) int {
		if x.head != y.head {
			return cmp.Compare(x.head, y.head)
		}
		return bytes.Compare(b.keyOf(&b.ops[x.op]), b.keyOf(&b.ops[y.op]))
	})
}

// headOf returns a number that does not fall as keys of one partition rise:
//
//	application - base 6 bits · kind 8 · collection 10 · property 9 · what follows 31
//
// A part that does not fit is as large as it can be, and what follows it counts as
// nothing; so do bytes that a key has not. What they mean to a kind of key is of no
// importance, only that they are compared in this order.
func headOf(key []byte, base uint32) uint64 {
	var head uint64
	if !appendPart(&head, fourBytes(key, 4)-base, 6) {
		return head << (64 - 6)
	}
	appendPart(&head, fourBytes(key, 8)>>24, 8)
	if !appendPart(&head, fourBytes(key, 9), 10) {
		return head << (64 - 24)
	}
	if !appendPart(&head, fourBytes(key, 13), 9) {
		return head << (64 - 33)
	}
	return head<<31 | uint64(fourBytes(key, 17)>>1)
}

// appendPart appends so many bits to a head, and reports whether the part fits.
func appendPart(head *uint64, part uint32, bits int) bool {
	most := uint32(1)<<bits - 1
	*head = *head<<bits | uint64(min(part, most))
	return part < most
}

// fourBytes returns four bytes of a key as a number; those it has not are zero.
func fourBytes(key []byte, at int) uint32 {
	if len(key) >= at+4 {
		return binary.BigEndian.Uint32(key[at:])
	}
	var padded [4]byte
	if len(key) > at {
		copy(padded[:], key[at:])
	}
	return binary.BigEndian.Uint32(padded[:])
}
