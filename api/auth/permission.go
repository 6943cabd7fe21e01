package auth

import (
	"strings"
	"unicode/utf8"

	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Op is an operation a permission can grant, or a set of them.
type Op byte

// Operations.
const (
	Get Op = 1 << iota
	Put
	Post
	Delete

	allOps = Get | Put | Post | Delete
)

// OpOf returns the operation of an HTTP method, in any case; HEAD counts as
// GET. Zero, which nothing grants, for any other.
func OpOf(method string) Op {
	switch strings.ToUpper(method) {
	case "GET", "HEAD":
		return Get
	case "PUT":
		return Put
	case "POST":
		return Post
	case "DELETE":
		return Delete
	}
	return 0
}

// Bounds of a permission string.
const (
	maxPermission = 1024 // bytes
	maxSegments   = 63   // of one pattern: see states
)

// Permission is a parsed permission string: operations and path patterns. It
// is immutable.
type Permission struct {
	text     string
	ops      Op
	patterns []pattern
}

// ParsePermission reads "operations:path" (spec auth-and-tokens section 9.1).
// It refuses operations it does not know, and strings out of bounds, with
// IllegalArgument.
func ParsePermission(s string) (*Permission, error) {
	if len(s) > maxPermission || !utf8.ValidString(s) {
		return nil, fault.New(fault.IllegalArgument, "a permission is at most %d bytes of UTF-8", maxPermission)
	}
	text := strings.ToLower(strings.TrimSpace(s))
	if text == "" {
		return nil, fault.New(fault.IllegalArgument, "permission is empty")
	}
	p := &Permission{text: text, ops: allOps}
	paths := text
	if ops, rest, ok := strings.Cut(text, ":"); ok && !strings.HasPrefix(text, "/") {
		var err error
		if p.ops, err = parseOps(ops); err != nil {
			return nil, err
		}
		paths = rest
	}
	for path := range strings.SplitSeq(paths, ",") {
		pat, err := compile(path)
		if err != nil {
			return nil, err
		}
		p.patterns = append(p.patterns, pat)
	}
	return p, nil
}

func parseOps(list string) (Op, error) {
	if list = strings.TrimSpace(list); list == "" || list == "*" {
		return allOps, nil
	}
	var ops Op
	for name := range strings.SplitSeq(list, ",") {
		switch name = strings.TrimSpace(name); name {
		case "*":
			ops = allOps
		case "get", "put", "post", "delete":
			ops |= OpOf(name)
		default:
			return 0, fault.New(fault.IllegalArgument, "unknown operation %q in permission", name)
		}
	}
	return ops, nil
}

// String returns the permission as it is stored and compared: in lower case,
// otherwise as it was given.
func (p *Permission) String() string { return p.text }

// Caller is who the variable ${user} stands for; the zero Caller, who is no
// user, is matched by no pattern that has it.
//
// An e-mail address is not one of his names here: users say what theirs is, and it may
// be what another user is called.
type Caller struct {
	Username string
	ID       entity.ID
}

// Grants reports whether p covers an operation on a path. The path is given
// in decoded segments, without the application.
func (p *Permission) Grants(op Op, path []string, caller Caller) bool {
	if op == 0 || p.ops&op != op {
		return false
	}
	for i := range p.patterns {
		if p.patterns[i].matches(op, path, caller) {
			return true
		}
	}
	return false
}

// SplitPath cuts a path into its segments, leaving out empty ones.
func SplitPath(path string) []string {
	var segments []string
	for s := range strings.SplitSeq(path, "/") {
		if s != "" {
			segments = append(segments, s)
		}
	}
	return segments
}

// pattern is one path pattern, compiled.
type pattern struct {
	segments []segment
	user     bool // some segment stands for the caller
	lastAny  bool // the last segment is exactly *
}

// segment is one segment of a pattern. deep stands alone; otherwise parts
// follow one another.
type segment struct {
	deep      bool   // **
	me        bool   // the word me, which the caller's own path may also spell
	literal   string // if there is but one part and it is literal
	canonical string // literal as the name of a collection
	parts     []part
}

type partKind byte

const (
	partLiteral partKind = iota
	partOne              // ?
	partRun              // *
	partUser             // ${user}
)

type part struct {
	kind partKind
	text string
}

const userVariable = "${user}"

func compile(path string) (pattern, error) {
	var pat pattern
	if path = strings.TrimSpace(path); path == "*" {
		path = "/**"
	}
	for _, text := range SplitPath(path) {
		if len(pat.segments) == maxSegments {
			return pattern{}, fault.New(fault.IllegalArgument, "a permission's path has at most %d segments", maxSegments)
		}
		seg := compileSegment(text)
		for _, p := range seg.parts {
			pat.user = pat.user || p.kind == partUser
		}
		pat.segments = append(pat.segments, seg)
		pat.lastAny = text == "*"
	}
	return pat, nil
}

func compileSegment(text string) segment {
	switch text {
	case "**":
		return segment{deep: true}
	case "me":
		return segment{me: true, parts: []part{{kind: partUser}}}
	}
	var parts []part
	start := 0
	flush := func(end int) {
		if end > start {
			parts = append(parts, part{kind: partLiteral, text: text[start:end]})
		}
	}
	for i := 0; i < len(text); {
		switch {
		case text[i] == '?':
			flush(i)
			parts = append(parts, part{kind: partOne})
			i++
		case text[i] == '*':
			flush(i)
			if n := len(parts); n == 0 || parts[n-1].kind != partRun {
				parts = append(parts, part{kind: partRun})
			}
			i++
		case strings.HasPrefix(text[i:], userVariable):
			flush(i)
			parts = append(parts, part{kind: partUser})
			i += len(userVariable)
		default:
			i++
			continue
		}
		start = i
	}
	flush(len(text))
	seg := segment{parts: parts}
	if len(parts) == 1 && parts[0].kind == partLiteral {
		seg.literal, seg.canonical = text, inflect.Collection(text)
	}
	return seg
}

// matches reports whether the pattern matches a path, the caller's name in
// place of the variable: in one match either the username or the UUID.
func (pat *pattern) matches(op Op, path []string, caller Caller) bool {
	if len(pat.segments) == 1 && pat.segments[0].deep {
		return true
	}
	if !pat.user {
		return pat.matchesAs(op, path, "")
	}
	if caller.ID.IsZero() {
		return false
	}
	for _, name := range [...]string{caller.Username, caller.ID.String()} {
		if name != "" && pat.matchesAs(op, path, strings.ToLower(name)) {
			return true
		}
	}
	return false
}

// matchesAs matches with user in place of the variable. A last segment * may
// be left out, except for operations that on a bare collection would change
// many entities at once.
func (pat *pattern) matchesAs(op Op, path []string, user string) bool {
	if matchPath(pat.segments, path, user) {
		return true
	}
	return pat.lastAny && op&(Put|Delete) == 0 && matchPath(pat.segments[:len(pat.segments)-1], path, user)
}

// matchPath walks pattern and path together; on a mismatch it lets the last
// ** that it passed take one segment more.
func matchPath(pat []segment, path []string, user string) bool {
	i, j := 0, 0
	deep, taken := -1, 0
	for j < len(path) {
		switch {
		case i < len(pat) && pat[i].deep:
			deep, taken = i, j
			i++
		case i < len(pat) && pat[i].matches(path[j], j == 0, user):
			i++
			j++
		case deep >= 0:
			taken++
			i, j = deep+1, taken
		default:
			return false
		}
	}
	for i < len(pat) && pat[i].deep {
		i++
	}
	return i == len(pat)
}

// matches reports whether one segment of a path matches. The first of a path
// is a collection, and compared by its canonical name.
func (s *segment) matches(text string, first bool, user string) bool {
	if first {
		text = inflect.Collection(text)
	} else {
		text = strings.ToLower(text)
	}
	switch {
	case s.literal != "" && first:
		return text == s.canonical
	case s.literal != "":
		return text == s.literal
	case s.me && text == "me":
		return true
	}
	return matchParts(s.parts, text, user)
}

func matchParts(parts []part, text, user string) bool {
	i, rest := 0, text
	run, from := -1, ""
	for {
		if i == len(parts) && rest == "" {
			return true
		}
		if i < len(parts) {
			if parts[i].kind == partRun {
				i++
				run, from = i, rest
				continue
			}
			if after, ok := parts[i].take(rest, user); ok {
				i, rest = i+1, after
				continue
			}
		}
		if run < 0 || from == "" {
			return false
		}
		_, n := utf8.DecodeRuneInString(from)
		from = from[n:]
		i, rest = run, from
	}
}

// take returns what is left of text behind the part.
func (p *part) take(text, user string) (string, bool) {
	switch p.kind {
	case partOne:
		if text == "" {
			return "", false
		}
		_, n := utf8.DecodeRuneInString(text)
		return text[n:], true
	case partUser:
		return strings.CutPrefix(text, user)
	}
	return strings.CutPrefix(text, p.text)
}
