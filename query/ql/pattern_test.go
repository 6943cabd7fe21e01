package ql

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestPattern(t *testing.T) {
	for _, tc := range []struct {
		pattern, prefix string
		yes, no         string // words with blanks between; _ stands for the empty one
	}{
		{"dune", "dune", "dune", "dun dunes _"},
		{"d?ne", "d?ne", "d?ne", "dune"},
		{"*", "", "_ x dune", ""},
		{"**", "", "_ x dune", ""},
		{"du*", "du", "du dune", "d odune"},
		{"*ne", "", "ne dune", "nes e"},
		{"d*e", "d", "de dune dee", "d e dunes"},
		{"d?ne*", "d", "dune dünes", "dne duune"},
		{"*d?ne", "", "dune xdüne", "dne dunes"},
		{"*a?b*c?*", "", "aübcx aabaxbcü", "abc aübc axxbcx"},
		{"?*", "", "x ü xy", "_"},
		{"*??", "", "xy üü xyz", "_ ü"},
		{"a*a", "a", "aa aba", "a"},
		{"ab*bc", "ab", "abbc abxbc", "abc"},
		{"*ab*ab*", "", "abab xabxabx", "aab aba"},
	} {
		p := NewPattern(tc.pattern)
		if got := p.Prefix(); got != tc.prefix {
			t.Errorf("%s begins with %q, want %q", tc.pattern, got, tc.prefix)
		}
		for want, words := range map[bool]string{true: tc.yes, false: tc.no} {
			for _, s := range strings.Fields(words) {
				s = strings.ReplaceAll(s, "_", "")
				if p.Match(s) != want {
					t.Errorf("%s matches %q: %v, want %v", tc.pattern, s, !want, want)
				}
			}
		}
		if got, want := HasWildcard(tc.pattern), strings.Contains(tc.pattern, "*"); got != want {
			t.Errorf("%s has a wildcard: %v", tc.pattern, got)
		}
	}
}

func TestPatternMatchesLikeItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.SampledFrom([]rune("abü?*")), 0, 10, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.SampledFrom([]rune("abü?")), 0, 12, -1).Draw(t, "s")
		want := s == pattern
		if HasWildcard(pattern) {
			want = defined(pattern, s)
		}
		p := NewPattern(pattern)
		if p.Match(s) != want {
			t.Fatalf("%q matches %q: %v", pattern, s, !want)
		}
		if want && !strings.HasPrefix(s, p.Prefix()) {
			t.Fatalf("%q matches %q, which does not begin with %q", pattern, s, p.Prefix())
		}
	})
}

// defined is what a pattern with "*" means, tried in every way.
func defined(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	_, size := utf8.DecodeRuneInString(s)
	c, rest := pattern[0], pattern[1:]
	switch {
	case c == '*':
		return defined(rest, s) || s != "" && defined(pattern, s[size:])
	case s == "":
		return false
	case c == '?':
		return defined(rest, s[size:])
	}
	return c == s[0] && defined(rest, s[1:])
}

// A matcher that tries every way does not come back from these.
func TestPatternDoesNotTryEveryWay(t *testing.T) {
	s := strings.Repeat("a", 10_000)
	for _, pattern := range []string{
		strings.Repeat("a*", 5_000) + "b",
		strings.Repeat("*a", 5_000) + "*b*",
		strings.Repeat("*?a", 5_000) + "*b*",
	} {
		if NewPattern(pattern).Match(s) {
			t.Errorf("%.20s… matches", pattern)
		}
	}
}
