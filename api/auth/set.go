package auth

import (
	"math/bits"
	"strings"

	"github.com/trellisdb/trellis/api/inflect"
)

// Set is permissions prepared for questions: those that could grant an operation on a
// path are found by the operation and the first two segments of the path, however many
// others there are. It is immutable and safe for concurrent use.
type Set struct {
	everything Op         // operations granted on every path
	of         [4]opIndex // by number of the operation's bit
}

// opIndex holds the patterns of one operation.
type opIndex struct {
	first map[string]*bucket
	rest  []*pattern // whose first segment is more than a literal
}

// bucket holds the patterns that begin with one collection.
type bucket struct {
	second map[string][]*pattern // by the literal that follows; "": nothing does
	rest   []*pattern            // where more than a literal follows
}

// NewSet makes a set of permissions.
func NewSet(permissions []*Permission) *Set {
	s := new(Set)
	for _, p := range permissions {
		for i := range p.patterns {
			if pat := &p.patterns[i]; len(pat.segments) == 1 && pat.segments[0].deep {
				s.everything |= p.ops
			} else {
				for op := p.ops; op != 0; op &= op - 1 {
					s.of[bits.TrailingZeros8(byte(op))].add(pat)
				}
			}
		}
	}
	return s
}

// Everything reports whether every operation on every path is granted.
func (s *Set) Everything() bool { return s.everything == allOps }

func (o *opIndex) add(pat *pattern) {
	segments := pat.segments
	if len(segments) == 0 || segments[0].literal == "" {
		o.rest = append(o.rest, pat)
		return
	}
	if o.first == nil {
		o.first = make(map[string]*bucket)
	}
	b := o.first[segments[0].canonical]
	if b == nil {
		b = &bucket{second: make(map[string][]*pattern)}
		o.first[segments[0].canonical] = b
	}
	if len(segments) > 1 && segments[1].literal == "" {
		b.rest = append(b.rest, pat)
		return
	}
	second := ""
	if len(segments) > 1 {
		second = segments[1].literal
	}
	b.second[second] = append(b.second[second], pat)
}

// spelling is a path as it is looked up in sets.
type spelling struct {
	path          []string
	first, second string
}

func spell(path []string) spelling {
	s := spelling{path: path}
	if len(path) > 0 {
		s.first = inflect.Collection(path[0])
	}
	if len(path) > 1 {
		s.second = strings.ToLower(path[1])
	}
	return s
}

// grants reports whether a permission of the set covers an operation, which is one
// and not several, on a path.
func (s *Set) grants(op Op, p *spelling, caller Caller) bool {
	if s.everything&op != 0 {
		return true
	}
	o := &s.of[bits.TrailingZeros8(byte(op))]
	if b := o.first[p.first]; b != nil && (anyMatches(b.second[p.second], op, p, caller) || anyMatches(b.rest, op, p, caller)) {
		return true
	}
	return anyMatches(o.rest, op, p, caller)
}

func anyMatches(patterns []*pattern, op Op, p *spelling, caller Caller) bool {
	for _, pat := range patterns {
		if pat.matches(op, p.path, caller) {
			return true
		}
	}
	return false
}
