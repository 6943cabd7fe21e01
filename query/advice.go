package query

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// tooCostly says that a query would examine more keys than it may, and what would help.
func (s *search) tooCostly() error {
	return fault.New(fault.QueryTooCostly, "the query would examine more than %d keys: %s", s.cfg.MaxKeys, s.advice())
}

func (s *search) advice() string {
	condition := conditionOf(s.req.Query)
	if s.req.Edges != nil {
		return "name the verb and the type of the connections, or ask without order and conditions"
	}
	if s.req.List != nil {
		return "ask without another order, or for the collection of activities, which has indexes"
	}
	if name := s.unfinished(condition); name != "" {
		return fmt.Sprintf("the index of %q is being built; try again when it is ready", name)
	}
	index := fixed(condition)
	for _, key := range s.order.keys {
		if key.kind == byDistance {
			return "a smaller radius would help"
		}
		if slices.Contains(index, key.property) {
			continue
		}
		name := key.property
		if key.desc {
			name += " desc"
		}
		index = append(index, name)
	}
	if len(index) < 2 || len(index) > entity.MaxCompositeKeys {
		return "a condition that an index can narrow down would help: a value, a range, a word, a place"
	}
	for i, name := range index {
		index[i] = fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("declare a composite index [%s] in the settings of the collection", strings.Join(index, ", "))
}

// unfinished returns a property of the condition or the order whose index is not complete.
func (s *search) unfinished(condition ql.Node) string {
	settings, err := storage.ReadSettings(s.view, s.req.App, s.req.From.ID)
	if err != nil {
		return ""
	}
	names := propertiesOf(nil, condition)
	for _, key := range s.order.keys {
		names = append(names, key.property)
	}
	for _, name := range names {
		if settings.Plan.Covers(name) && !settings.Usable(name) {
			return name
		}
	}
	return ""
}

// fixed returns the properties that a condition asks for one value of.
func fixed(n ql.Node) (names []string) {
	list := []ql.Node{n}
	if and, ok := n.(*ql.And); ok {
		list = and.List
	}
	for _, n := range list {
		if c, ok := n.(*ql.Compare); ok && c.Op == ql.Equal && !ql.HasWildcard(c.Value.String) && !slices.Contains(names, c.Property) {
			names = append(names, c.Property)
		}
	}
	return names
}

// propertiesOf appends the properties that a condition names.
func propertiesOf(dst []string, n ql.Node) []string {
	switch n := n.(type) {
	case *ql.And:
		for _, n := range n.List {
			dst = propertiesOf(dst, n)
		}
	case *ql.Or:
		for _, n := range n.List {
			dst = propertiesOf(dst, n)
		}
	case *ql.Not:
		dst = propertiesOf(dst, n.Of)
	case *ql.Compare:
		dst = append(dst, n.Property)
	case *ql.Contains:
		dst = append(dst, n.Property)
	case *ql.Within:
		dst = append(dst, n.Property)
	}
	return dst
}
