package ql

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/fault"
)

// String returns the form of a position in messages.
func (p Position) String() string { return fmt.Sprintf("column %d on line %d", p.Column, p.Line) }

// unexpected reports a token that cannot stand where it does.
func unexpected(t token) error {
	switch t.kind {
	case tokEnd:
		return fault.New(fault.QueryParse, "The query cannot be parsed. The text ends at %s, where more has to follow", t.at)
	case tokBadRune:
		return fault.New(fault.QueryToken, "The query cannot be parsed. The character '%s' at %s begins no token", t.text, t.at)
	case tokOpenString:
		return fault.New(fault.QueryToken, "The query cannot be parsed. The string %s at %s has no closing quote", shorten(t.text), t.at)
	case tokBadEscape:
		i := strings.LastIndexByte(t.text, '\\')
		return fault.New(fault.QueryToken, "The query cannot be parsed. The escape '%s' at %s does not exist", t.text[i:], t.at.after(t.text[:i]))
	}
	return refuse(t, fault.QueryParse, "cannot be parsed")
}

// refuse reports that what t says breaks a rule.
func refuse(t token, code fault.Code, why string) error {
	return fault.New(code, "The query cannot be parsed. The token '%s' at %s %s", shorten(t.text), t.at, why)
}

// notUTF8 reports the first byte of text that is not UTF-8.
func notUTF8(text string) error {
	n := 0
	for n < len(text) {
		r, size := utf8.DecodeRuneInString(text[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	at := start.after(text[:n])
	return fault.New(fault.QueryToken, "The query cannot be parsed. The byte 0x%02x at %s is not UTF-8", text[n], at)
}

// maxQuoted is how many runes of a token stand in a message.
const maxQuoted = 64

// shorten cuts what is too long for a message.
func shorten(text string) string {
	runes := 0
	for i := range text {
		if runes == maxQuoted {
			return text[:i] + "…"
		}
		runes++
	}
	return text
}
