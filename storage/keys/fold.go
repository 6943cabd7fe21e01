package keys

import (
	"sort"
	"unicode/utf8"
)

// foldRange says that the runes lo, lo+stride, … hi have their lower-case form
// delta further.
type foldRange struct{ lo, hi, stride, delta rune }

// Fold returns s with every rune replaced by its simple lower-case form, from
// a table pinned to one Unicode version. It returns s itself if nothing
// changes. Bytes that are not UTF-8 stay as they are.
func Fold(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= utf8.RuneSelf || (c >= 'A' && c <= 'Z') {
			return string(AppendFold(make([]byte, 0, len(s)+4), s))
		}
	}
	return s
}

// SameFold reports whether Fold makes a and b the same: whether they name the
// same property. Other ways to ignore case differ from it for some letters (ſ,
// İ, the Kelvin sign), and what is one property to one of them and two to
// another slips through a check of its name.
func SameFold(a, b string) bool {
	for i := 0; i < len(a) && i < len(b); i++ {
		c, d := a[i], b[i]
		if c >= utf8.RuneSelf || d >= utf8.RuneSelf {
			return Fold(a[i:]) == Fold(b[i:])
		}
		if c != d && lower(c) != lower(d) {
			return false
		}
	}
	return len(a) == len(b)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// AppendFold appends what Fold makes of s.
func AppendFold(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, c)
		} else {
			dst = utf8.AppendRune(dst, foldRune(r))
		}
		i += n
	}
	return dst
}

func foldRune(r rune) rune {
	i := sort.Search(len(foldTable), func(i int) bool { return foldTable[i].hi >= r })
	if i < len(foldTable) {
		if f := &foldTable[i]; r >= f.lo && (r-f.lo)%f.stride == 0 {
			return r + f.delta
		}
	}
	return r
}
