package ql

import (
	"strings"
	"unicode/utf8"
)

// Pattern is a string to compare with, which may have wildcards: "*" stands
// for any run of characters, also an empty one, and "?" for exactly one, but
// only if there is a "*" as well.
type Pattern struct {
	head, tail string   // before the first and behind the last "*"
	middle     []string // between others; none is empty
	literal    bool     // without a wildcard: head is all
}

// HasWildcard reports whether text has wildcards.
func HasWildcard(text string) bool { return strings.IndexByte(text, '*') >= 0 }

// NewPattern returns the pattern of a folded text.
func NewPattern(text string) Pattern {
	head, rest, found := strings.Cut(text, "*")
	if !found {
		return Pattern{head: text, literal: true}
	}
	p := Pattern{head: head}
	for {
		part, after, found := strings.Cut(rest, "*")
		if !found {
			p.tail = part
			return p
		}
		if part != "" {
			p.middle = append(p.middle, part)
		}
		rest = after
	}
}

// Prefix returns what every match begins with: the text before the first wildcard.
func (p Pattern) Prefix() string {
	if p.literal {
		return p.head
	}
	prefix, _, _ := strings.Cut(p.head, "?")
	return prefix
}

// Match reports whether all of s, which is folded, matches. It looks at each
// place of s for one part of the pattern, the parts from left to right: what
// is found at the first possible place leaves most room for the others.
func (p Pattern) Match(s string) bool {
	if p.literal {
		return s == p.head
	}
	n := matchHead(p.head, s)
	if n < 0 {
		return false
	}
	s = s[n:]
	n = matchTail(p.tail, s)
	if n < 0 {
		return false
	}
	s = s[:len(s)-n]
	for _, part := range p.middle {
		if n = find(part, s); n < 0 {
			return false
		}
		s = s[n:]
	}
	return true
}

// find returns where the first match of part in s ends, or -1.
func find(part, s string) int {
	if strings.IndexByte(part, '?') < 0 {
		i := strings.Index(s, part)
		if i < 0 {
			return -1
		}
		return i + len(part)
	}
	for i := range s {
		if n := matchHead(part, s[i:]); n >= 0 {
			return i + n
		}
	}
	return -1
}

// matchHead returns how many bytes part takes of the beginning of s, or -1.
func matchHead(part, s string) int {
	n := 0
	for i := 0; i < len(part); i++ {
		switch {
		case n == len(s):
			return -1
		case part[i] == '?':
			_, size := utf8.DecodeRuneInString(s[n:])
			n += size
		case part[i] != s[n]:
			return -1
		default:
			n++
		}
	}
	return n
}

// matchTail returns how many bytes part takes of the end of s, or -1.
func matchTail(part, s string) int {
	n := len(s)
	for i := len(part) - 1; i >= 0; i-- {
		switch {
		case n == 0:
			return -1
		case part[i] == '?':
			_, size := utf8.DecodeLastRuneInString(s[:n])
			n -= size
		case part[i] != s[n-1]:
			return -1
		default:
			n--
		}
	}
	return len(s) - n
}
