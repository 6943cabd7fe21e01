package index

import (
	"sort"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/words"
)

// Words appends the words of a folded string, which are parts of it: the pieces
// between Unicode's word boundaries (UAX #29) that have a letter or a number in them.
// An apostrophe, a full stop or a colon between letters, a comma or a full stop
// between digits, and _ stay inside a word; hyphens, blanks and the rest separate.
// Ideographs are words by themselves.
//
// Where words begin and end is part of the format on disk. It goes by the tables of
// one release of the library, of Unicode 17: a release with others needs a new
// format version (TestWordBoundariesArePinned).
func Words(dst []string, folded string) []string {
	for i := 0; i < len(folded); i++ {
		if folded[i] >= utf8.RuneSelf {
			return appendWords(dst, folded)
		}
	}
	return appendASCIIWords(dst, folded)
}

func appendWords(dst []string, folded string) []string {
	for it := words.FromString(folded); it.Next(); {
		if piece := it.Value(); wordy(piece) {
			dst = append(dst, piece)
		}
	}
	return dst
}

// wordy reports whether a piece has a letter or a number in it.
func wordy(piece string) bool {
	for _, r := range piece {
		if r < utf8.RuneSelf {
			if c := classOf(byte(r)); c == letter || c == digit {
				return true
			}
			continue
		}
		i := sort.Search(len(wordRunes), func(i int) bool { return wordRunes[i][1] >= r })
		if i < len(wordRunes) && wordRunes[i][0] <= r {
			return true
		}
	}
	return false
}

// Classes of ASCII characters, as far as word boundaries go.
type class byte

const (
	other     class = iota
	letter          // joins letter, digit, joiner
	digit           // joins letter, digit, joiner
	joiner          // _: joins letter, digit, joiner
	midLetter       // : between two letters
	midNumber       // , and ; between two digits
	midEither       // . and ' between two letters or two digits
)

func classOf(c byte) class {
	switch {
	case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		return letter
	case c >= '0' && c <= '9':
		return digit
	}
	switch c {
	case '_':
		return joiner
	case ':':
		return midLetter
	case ',', ';':
		return midNumber
	case '.', '\'':
		return midEither
	}
	return other
}

// appendASCIIWords is appendWords for ASCII, which most text is, some five times as
// fast.
func appendASCIIWords(dst []string, s string) []string {
	for i := 0; i < len(s); {
		start, last, word := i, other, false
		for ; i < len(s); i++ {
			now := classOf(s[i])
			switch now {
			case letter, digit:
				word = true
			case joiner:
			case other:
				now = other
			default:
				if i == start || !holds(now, last) || i+1 == len(s) || classOf(s[i+1]) != last {
					now = other
				}
			}
			if now == other {
				break
			}
			last = now
		}
		if word {
			dst = append(dst, s[start:i])
		}
		if i == start {
			i++
		}
	}
	return dst
}

// holds reports whether a character of the class mid between two of the class side
// stays inside a word.
func holds(mid, side class) bool {
	switch side {
	case letter:
		return mid == midLetter || mid == midEither
	case digit:
		return mid == midNumber || mid == midEither
	}
	return false
}
