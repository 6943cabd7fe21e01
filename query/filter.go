package query

import (
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
)

// Filter decides whether entities of one collection satisfy a condition (spec
// query-language sections 4 to 6). It is not safe for concurrent use.
type Filter struct{ lens lens }

// NewFilter returns the filter of a condition; nil holds of everything. Properties
// that the plan does not index are as if missing, and under one that indexes nothing no
// condition holds. Type is what the property "type" is.
func NewFilter(condition ql.Node, plan *entity.IndexPlan, typ string) *Filter {
	f := new(Filter)
	f.lens.init(condition, nil, plan, typ)
	return f
}

// Match reports whether an entity satisfies the condition. An error is damage.
func (f *Filter) Match(e *entity.Entity) (bool, error) { return f.lens.look(e) }
