package management

import (
	"strings"

	"github.com/trellisdb/trellis/storage/fault"
)

// node is a place in the tree of patterns. A literal goes before a placeholder.
type node struct {
	literals map[string]*node
	any      *node
	routes   map[string]*Route // by method
}

// Areas: the first segment of a pattern, or what stands for an application.
const applicationArea = "{org}"

// plant makes a tree of the patterns of each area.
func plant(routes []Route) map[string]*node {
	areas := map[string]*node{}
	for i := range routes {
		r := &routes[i]
		segments := strings.Split(r.Pattern[1:], "/")
		area, segments := segments[0], segments[1:]
		if area == applicationArea {
			segments = segments[1:] // {app} is resolved, too
		}
		n := areas[area]
		if n == nil {
			n = &node{}
			areas[area] = n
		}
		for _, s := range segments {
			n = n.grow(s)
		}
		if n.routes == nil {
			n.routes = map[string]*Route{}
		}
		if n.routes[r.Method] != nil {
			panic("two routes: " + r.Method + " " + r.Pattern)
		}
		n.routes[r.Method] = r
		r.names = segments
	}
	return areas
}

func (n *node) grow(segment string) *node {
	if strings.HasPrefix(segment, "{") {
		if n.any == nil {
			n.any = &node{}
		}
		return n.any
	}
	segment = literal(segment)
	if n.literals == nil {
		n.literals = map[string]*node{}
	}
	if n.literals[segment] == nil {
		n.literals[segment] = &node{}
	}
	return n.literals[segment]
}

// find returns the route of a method and a path: NotFound (R6) or NotAllowed (R7) if
// there is none.
func (n *node) find(method string, segments []string) (*Route, error) {
	at := n
	for _, s := range segments {
		next := at.literals[literal(s)]
		if next == nil {
			next = at.any
		}
		if next == nil {
			return nil, noRoute()
		}
		at = next
	}
	switch r := at.routes[method]; {
	case r != nil:
		return r, nil
	case at.routes == nil:
		return nil, noRoute()
	}
	return nil, noMethod()
}

// literal is how a segment is compared: without case, and in one of two spellings.
func literal(segment string) string {
	switch s := strings.ToLower(segment); s {
	case "organizations":
		return "orgs"
	case "applications":
		return "apps"
	default:
		return s
	}
}

func noRoute() error    { return fault.New(fault.NotFound, "no such resource") }
func noMethod() error   { return fault.New(fault.NotAllowed, "the method is not offered here") }
func notOffered() error { return fault.New(fault.NotImplemented, "not offered by this version") }
