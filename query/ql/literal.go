package ql

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/keys"
)

// stringToken returns the string that text begins with. If it holds a bad
// escape, the token ends with that.
func stringToken(text string) (kind, int) {
	for n := 1; n < len(text); {
		switch text[n] {
		case '\'':
			return tokString, n + 1
		case '\\':
			_, size := escape(text[n:])
			if size == 0 && n+1 < len(text) {
				_, size = utf8.DecodeRuneInString(text[n+1:])
				return tokBadEscape, n + 1 + size
			}
			n += max(size, 1)
		default:
			n++
		}
	}
	return tokOpenString, len(text)
}

// literal returns what the token of a string or a UUID is compared as.
func literal(t token) string {
	text := t.text
	if t.kind == tokString {
		text = unquote(text)
	}
	return strings.TrimSpace(keys.Fold(text))
}

// unquote returns what stands between the quotes, escapes converted.
func unquote(quoted string) string {
	body := quoted[1 : len(quoted)-1]
	if strings.IndexByte(body, '\\') < 0 {
		return body
	}
	var b strings.Builder
	for body != "" {
		plain := strings.IndexByte(body, '\\')
		if plain < 0 {
			plain = len(body)
		}
		b.WriteString(body[:plain])
		body = body[plain:]
		if body != "" {
			r, size := escape(body)
			b.WriteRune(r)
			body = body[size:]
		}
	}
	return b.String()
}

// escape returns the character and the length of the escape that text, which
// begins with a backslash, begins with. The length is 0 if there is no such
// escape. Like the rest of a query, escapes have no case.
func escape(text string) (rune, int) {
	if len(text) < 2 {
		return 0, 0
	}
	switch c := text[1]; c {
	case '\'', '"', '\\':
		return rune(c), 2
	case 'b', 'B':
		return '\b', 2
	case 't', 'T':
		return '\t', 2
	case 'n', 'N':
		return '\n', 2
	case 'f', 'F':
		return '\f', 2
	case 'r', 'R':
		return '\r', 2
	case 'u', 'U':
		return unicodeEscape(text)
	}
	return octalEscape(text)
}

// unicodeEscape reads \uXXXX, or two of them if they are a surrogate pair. Half
// a pair stands for U+FFFD, as in JSON.
func unicodeEscape(text string) (rune, int) {
	const size = len(`\uXXXX`)
	r, ok := codeUnit(text)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, size
	}
	if low, ok := codeUnit(text[size:]); ok {
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 2 * size
		}
	}
	return utf8.RuneError, size
}

// codeUnit reads one \uXXXX.
func codeUnit(text string) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' && text[1] != 'U' {
		return 0, false
	}
	var r rune
	for i := 2; i < 6; i++ {
		d, ok := hexDigit(text[i])
		if !ok {
			return 0, false
		}
		r = r<<4 | d
	}
	return r, true
}

func hexDigit(c byte) (rune, bool) {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0'), true
	case c >= 'a' && c <= 'f':
		return rune(c - 'a' + 10), true
	case c >= 'A' && c <= 'F':
		return rune(c - 'A' + 10), true
	}
	return 0, false
}

// octalEscape reads \0 to \377: as many digits as fit.
func octalEscape(text string) (rune, int) {
	r, n := rune(0), 1
	for n < len(text) && n < 4 && text[n] >= '0' && text[n] <= '7' {
		next := r<<3 | rune(text[n]-'0')
		if next > 0o377 {
			break
		}
		r = next
		n++
	}
	if n == 1 {
		return 0, 0
	}
	return r, n
}
