package ql

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/trellisdb/trellis/storage/keys"
)

// kind is a kind of token.
type kind uint8

const (
	tokEnd kind = iota // of the text

	// What no rule of the grammar takes.
	tokBadRune    // a character that begins no token
	tokBadEscape  // a string up to an escape that does not exist
	tokOpenString // a string without its closing quote

	tokName
	tokUUID
	tokNumber
	tokString

	tokSelect
	tokWhere
	tokAnd
	tokOr
	tokNot
	tokAsc
	tokDesc
	tokContains
	tokWithin
	tokOf
	tokDirect
	tokTrue
	tokFalse
	tokOrder // "order" alone, which is a name
	tokOrderBy

	tokLess
	tokLessEqual
	tokEqual
	tokGreaterEqual
	tokGreater

	tokStar
	tokOpenBrace
	tokCloseBrace
	tokOpen
	tokClose
	tokComma
	tokColon
)

// token is a token of the text of a query.
type token struct {
	kind kind
	text string // as the client wrote it
	at   Position
}

// lexer cuts a text, which is valid UTF-8, into tokens. A copy of it looks
// ahead.
type lexer struct {
	rest string   // not yet cut
	at   Position // where rest begins
}

// scan returns the next token. After the last it returns tokEnd, placed behind
// the last token, for ever.
func (l *lexer) scan() token {
	gap := spaceLen(l.rest)
	if gap == len(l.rest) {
		return token{kind: tokEnd, at: l.at}
	}
	at, text := l.at.after(l.rest[:gap]), l.rest[gap:]
	k, n := first(text)
	l.at, l.rest = at.after(text[:n]), text[n:]
	return token{kind: k, text: text[:n], at: at}
}

// after returns the position behind text, which begins at p.
func (p Position) after(text string) Position {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\n':
			p = Position{Line: p.Line + 1, Column: 1}
		case utf8.RuneStart(text[i]):
			p.Column++
		}
	}
	return p
}

// first returns the kind and the length of the token that text begins with:
// the longest one.
func first(text string) (kind, int) {
	word := wordLen(text)
	if word <= uuidLen && isUUID(text) {
		return tokUUID, uuidLen
	}
	if word > 0 {
		return wordToken(text, word)
	}
	if n := numberLen(text); n > 0 {
		return tokNumber, n
	}
	if text[0] == '\'' {
		return stringToken(text)
	}
	return symbol(text)
}

func spaceLen(text string) int {
	n := 0
	for n < len(text) && strings.IndexByte(" \t\r\n\f", text[n]) >= 0 {
		n++
	}
	return n
}

const uuidLen = 36

// isUUID reports whether text begins with 8-4-4-4-12 hex digits.
func isUUID(text string) bool {
	if len(text) < uuidLen {
		return false
	}
	for i := range uuidLen {
		switch i {
		case 8, 13, 18, 23:
			if text[i] != '-' {
				return false
			}
		default:
			if _, ok := hexDigit(text[i]); !ok {
				return false
			}
		}
	}
	return true
}

// wordLen returns the length of the identifier or keyword that text begins with.
func wordLen(text string) int {
	for i, r := range text {
		if !inWord(r, i == 0) {
			return i
		}
	}
	return len(text)
}

// inWord reports whether r may be part of an identifier, or its first letter.
func inWord(r rune, first bool) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_':
		return true
	case r >= '0' && r <= '9', r == '.', r == '-':
		return !first
	case r < utf8.RuneSelf:
		return false
	}
	return unicode.IsLetter(r) || !first && unicode.IsDigit(r)
}

// wordToken tells what the word of n bytes is that text begins with. "order"
// with "by" behind it is one token, any white space between.
func wordToken(text string, n int) (kind, int) {
	k := keyword(keys.Fold(text[:n]))
	if k != tokOrder {
		return k, n
	}
	if gap := spaceLen(text[n:]); gap > 0 {
		by := text[n+gap:]
		if m := wordLen(by); keys.SameFold(by[:m], "by") {
			return tokOrderBy, n + gap + m
		}
	}
	return tokName, n
}

// keyword returns the kind of a folded word.
func keyword(word string) kind {
	switch word {
	case "select":
		return tokSelect
	case "where":
		return tokWhere
	case "and":
		return tokAnd
	case "or":
		return tokOr
	case "not":
		return tokNot
	case "asc":
		return tokAsc
	case "desc":
		return tokDesc
	case "contains":
		return tokContains
	case "within":
		return tokWithin
	case "of":
		return tokOf
	case "direct":
		return tokDirect
	case "true":
		return tokTrue
	case "false":
		return tokFalse
	case "order":
		return tokOrder
	case "lt":
		return tokLess
	case "lte":
		return tokLessEqual
	case "eq":
		return tokEqual
	case "gte":
		return tokGreaterEqual
	case "gt":
		return tokGreater
	}
	return tokName
}

// numberLen returns the length of the integer or decimal that text begins with:
// a sign, digits, a point with digits on at least one side, an exponent.
func numberLen(text string) int {
	n := 0
	if text[0] == '-' {
		n++
	}
	digits := digitsLen(text[n:])
	n += digits
	if n < len(text) && text[n] == '.' {
		fraction := digitsLen(text[n+1:])
		n += 1 + fraction
		digits += fraction
	}
	if digits == 0 {
		return 0
	}
	return n + exponentLen(text[n:])
}

func exponentLen(text string) int {
	if text == "" || text[0] != 'e' && text[0] != 'E' {
		return 0
	}
	n := 1
	if len(text) > 1 && (text[1] == '-' || text[1] == '+') {
		n++
	}
	digits := digitsLen(text[n:])
	if digits == 0 {
		return 0
	}
	return n + digits
}

func digitsLen(text string) int {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	return n
}

// symbol returns the token that text begins with if that is none of letters,
// digits or quotes.
func symbol(text string) (kind, int) {
	if len(text) > 1 {
		switch text[:2] {
		case "<=":
			return tokLessEqual, 2
		case ">=":
			return tokGreaterEqual, 2
		case "&&":
			return tokAnd, 2
		case "||":
			return tokOr, 2
		}
	}
	switch text[0] {
	case '<':
		return tokLess, 1
	case '=':
		return tokEqual, 1
	case '>':
		return tokGreater, 1
	case '*':
		return tokStar, 1
	case '{':
		return tokOpenBrace, 1
	case '}':
		return tokCloseBrace, 1
	case '(':
		return tokOpen, 1
	case ')':
		return tokClose, 1
	case ',':
		return tokComma, 1
	case ':':
		return tokColon, 1
	}
	_, n := utf8.DecodeRuneInString(text)
	return tokBadRune, n
}
