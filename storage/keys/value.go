package keys

import (
	"crypto/sha256"
	"strings"
	"unicode/utf8"
)

// Class bytes of encoded values. Their order is the order of the groups in an
// ascending sort.
const (
	ClassString byte = 0x30
)

// maxString is how many bytes of a folded string stand in a key; what is
// longer is cut there, before an incomplete rune, and marked.
const maxString = 256

const (
	endMark = 0x01 // after the 0x00 that ends a whole string
	cutMark = 0x02 // after the 0x00 that ends a cut one; a hash follows in unique keys
	escaped = 0xff // after a 0x00 that is part of the string
)

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
