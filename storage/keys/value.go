package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/entity"
)

// Class bytes of encoded values. Their order is the order of the groups of a sort.
const (
	ClassNumber  byte = 0x20
	ClassString  byte = 0x30
	ClassBool    byte = 0x40
	ClassMissing byte = 0x50
)

// MaxValue is how many bytes of a string stand in a sortable value. It is the
// same everywhere, so that an index, a composite index, a sort in memory and a
// cursor order entities alike: strings that differ only further on tie.
const MaxValue = 128

// MaxWord is how many bytes of a word stand in the word index.
const MaxWord = 64

// maxString is how many bytes of a folded string stand in a key; what is
// longer is cut there, before an incomplete rune, and marked.
const maxString = 256

const (
	endMark = 0x01 // after the 0x00 that ends a whole string
	cutMark = 0x02 // after the 0x00 that ends a cut one; a hash follows in unique keys
	escaped = 0xff // after a 0x00 that is part of the string
)

// AppendValue appends the sortable form of a value, whose string is folded. No
// form is the beginning of another, and forms compare as the values do: by class,
// then within it.
//
//	0x20 · float64, sign bit flipped, all bits if negative · from ±2⁵³ on, 0x8000 + rest 2
//	0x30 · bytes, 00 written as 00 ff · 00 01, or 00 02 if cut at MaxValue bytes
//	0x40 · 0 or 1
//	0x50
func AppendValue(dst []byte, v *entity.Value) []byte {
	switch v.Class {
	case entity.NumberClass:
		return AppendNumber(dst, v.Number)
	case entity.StringClass:
		return appendCut(append(dst, ClassString), v.String, MaxValue)
	case entity.BoolClass:
		if v.Bool {
			return append(dst, ClassBool, 1)
		}
		return append(dst, ClassBool, 0)
	}
	return append(dst, ClassMissing)
}

// AppendDescending appends the form of a value that sorts the other way within its
// class, which itself keeps its place.
func AppendDescending(dst []byte, v *entity.Value) []byte {
	at := len(dst)
	dst = AppendValue(dst, v)
	for i := at + 1; i < len(dst); i++ {
		dst[i] = ^dst[i]
	}
	return dst
}

// AppendNumber appends the sortable form of a number.
func AppendNumber(dst []byte, n entity.Number) []byte {
	bits := math.Float64bits(n.Float)
	if bits>>63 != 0 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	dst = binary.BigEndian.AppendUint64(append(dst, ClassNumber), bits)
	if math.Abs(n.Float) >= 1<<53 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(n.Rest)^0x8000)
	}
	return dst
}

// AppendWord appends the sortable form of a word, cut at MaxWord bytes.
func AppendWord(dst []byte, word string) []byte { return appendCut(dst, word, MaxWord) }

// AppendPrefix appends what the forms of all strings begin with that begin with s,
// as far as they are not cut.
func AppendPrefix(dst []byte, s string) []byte {
	return appendHead(append(dst, ClassString), s, MaxValue)
}

// AppendWordPrefix is AppendPrefix for words.
func AppendWordPrefix(dst []byte, s string) []byte { return appendHead(dst, s, MaxWord) }

// appendHead appends at most limit bytes of the escaped form of s.
func appendHead(dst []byte, s string, limit int) []byte {
	for i, room := 0, limit; i < len(s); i++ {
		size := 1
		if s[i] == 0 {
			size = 2
		}
		if room -= size; room < 0 {
			break
		}
		dst = append(dst, s[i])
		if s[i] == 0 {
			dst = append(dst, escaped)
		}
	}
	return dst
}

func appendCut(dst []byte, s string, limit int) []byte {
	dst = appendHead(dst, s, limit)
	if len(s)+strings.Count(s, "\x00") > limit {
		return append(dst, 0, cutMark)
	}
	return append(dst, 0, endMark)
}

// ValueEnd returns the length of the form of a value that b begins with, or -1.
// descending says that AppendDescending made it.
func ValueEnd(b []byte, descending bool) int {
	var flip byte
	if descending {
		flip = 0xff
	}
	size := -1
	switch {
	case len(b) == 0:
	case b[0] == ClassNumber && len(b) >= 9:
		size = 9
		bits := binary.BigEndian.Uint64(b[1:])
		if descending {
			bits = ^bits
		}
		if bits>>63 == 0 {
			bits = ^bits
		}
		if math.Float64frombits(bits&^(1<<63)) >= 1<<53 {
			size = 11
		}
	case b[0] == ClassString:
		size = stringFormEnd(b, flip)
	case b[0] == ClassBool:
		size = 2
	case b[0] == ClassMissing:
		size = 1
	}
	if size > len(b) {
		return -1
	}
	return size
}

func stringFormEnd(b []byte, flip byte) int {
	for i := 1; i+1 < len(b); i++ {
		if b[i]^flip != 0 {
			continue
		}
		if i++; b[i]^flip != escaped {
			return i + 1
		}
	}
	return -1
}

// DecodeValue returns the value of a form that AppendValue made, and whether its
// string is cut. It allocates for strings. ok is false for anything else.
func DecodeValue(form []byte) (v entity.Value, cut, ok bool) {
	if end := ValueEnd(form, false); end < 0 || end != len(form) {
		return v, false, false
	}
	switch form[0] {
	case ClassNumber:
		bits := binary.BigEndian.Uint64(form[1:])
		if bits>>63 != 0 {
			bits &^= 1 << 63
		} else {
			bits = ^bits
		}
		v = entity.Value{Class: entity.NumberClass, Number: entity.Number{Float: math.Float64frombits(bits)}}
		if len(form) == 11 {
			v.Number.Rest = int16(binary.BigEndian.Uint16(form[9:]) ^ 0x8000)
		}
		return v, false, true
	case ClassString:
		head := form[1 : len(form)-2]
		v = entity.Value{Class: entity.StringClass, String: string(bytes.ReplaceAll(head, []byte{0, escaped}, []byte{0}))}
		return v, form[len(form)-1] == cutMark, true
	case ClassBool:
		return entity.Value{Class: entity.BoolClass, Bool: form[1] == 1}, false, true
	}
	return entity.Value{Class: entity.MissingClass}, false, true
}

// AppendUniqueString appends the form of a string in unique keys: class,
// folded bytes with 0x00 escaped as 00 ff, terminated by 00 01. Strings over
// 256 bytes are cut, terminated by 00 02 and told apart by the SHA-256 of the
// whole folded string. Two strings have one form exactly if they are equal
// after trimming white space and folding case.
func AppendUniqueString(dst []byte, s string) []byte {
	folded := Fold(strings.TrimSpace(s))
	dst = append(dst, ClassString)
	head, cut := folded, len(folded) > maxString
	if cut {
		n := maxString
		for n > maxString-utf8.UTFMax && !utf8.RuneStart(folded[n]) {
			n--
		}
		head = folded[:n]
	}
	for i := 0; i < len(head); i++ {
		dst = append(dst, head[i])
		if head[i] == 0 {
			dst = append(dst, escaped)
		}
	}
	if !cut {
		return append(dst, 0, endMark)
	}
	sum := sha256.Sum256([]byte(folded))
	return append(append(dst, 0, cutMark), sum[:]...)
}
