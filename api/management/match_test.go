package management

import (
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage/fault"
)

// naive finds a route by trying all of them: of those that fit, the one with the
// earliest literal.
func naive(routes []Route, area, method string, segments []string) string {
	best, fits, fitting := "", "", false
	for i := range routes {
		pattern := strings.Split(routes[i].Pattern[1:], "/")
		if pattern[0] == applicationArea {
			pattern = append([]string{applicationArea}, pattern[2:]...)
		}
		if pattern[0] != area || len(pattern) != len(segments)+1 {
			continue
		}
		fit := ""
		for j, p := range pattern[1:] {
			switch {
			case strings.HasPrefix(p, "{"):
				fit += "p"
			case literal(p) == literal(segments[j]):
				fit += "l"
			default:
				fit += "-"
			}
		}
		if strings.Contains(fit, "-") || (fitting && fit > fits) {
			continue
		}
		if fits != fit {
			best = ""
		}
		fitting = true
		if fits = fit; routes[i].Method == method {
			best = routes[i].Pattern
		}
	}
	if !fitting {
		return "404"
	}
	if best == "" {
		return "405"
	}
	return best
}

// FuzzRoutes compares the tree of patterns with trying each. A path that begins like a
// literal and goes on like nothing below it is no route, whatever a placeholder would
// lead to.
func FuzzRoutes(f *testing.F) {
	routes := Routes()
	areas := plant(routes)
	for i := range routes {
		f.Add(routes[i].Method, routes[i].Pattern[1:])
	}
	for _, path := range []string{"management/users/resetpw/feed", "management/ORGS/x/Applications/y", "system", "apps", "{org}/{app}/token", "management//", "management/users/ÿ"} {
		f.Add("GET", path)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		segments := strings.Split(path, "/")
		area, segments := segments[0], segments[1:]
		if areas[area] == nil {
			return
		}
		if area == applicationArea && len(segments) > 0 {
			segments = segments[1:]
		}
		r, err := areas[area].find(method, segments)
		got := ""
		switch {
		case fault.Is(err, fault.NotFound):
			got = "404"
		case fault.Is(err, fault.NotAllowed):
			got = "405"
		case err != nil:
			t.Fatal(err)
		default:
			got = r.Pattern
		}
		want := naive(routes, area, method, segments)
		if got != want && !shadowed(areas[area], segments) {
			t.Errorf("%s %s: %s, want %s", method, path, got, want)
		}
	})
}

// shadowed reports whether a literal of the path stands where a placeholder could.
func shadowed(n *node, segments []string) bool {
	for _, s := range segments {
		next := n.literals[literal(s)]
		if next != nil && n.any != nil {
			return true
		}
		if next == nil {
			next = n.any
		}
		if next == nil {
			return false
		}
		n = next
	}
	return false
}
