package query

import (
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
)

// Request is a query over one source: a collection, the connections of an entity, or a list
// of activities.
type Request struct {
	App   entity.AppID
	From  Collection // unless Edges is set
	Edges *Edges
	// List narrows From, which is then the collection of activities. Without another order,
	// the newest published come first.
	List *List

	Query       *ql.Query // nil: everything
	OldestFirst bool      // the default order reversed; no effect on a query that has another order
	// Start is the seq of the entity to begin with (of its edge, if Edges is set); 0:
	// the first. It has no effect with a cursor or with another order than the default.
	Start entity.Seq
	Limit int // of entities; 0: only plan

	Cursor  string // of the page before; empty: the first page
	Binding []byte // what else a cursor is bound to: the path

	Explain bool // say how it was answered
	Cursors bool // each row gets a cursor of its own
}

// Collection is a collection as a query needs to know it. One whose ID is 0 has no
// entities.
type Collection struct {
	ID    entity.CollectionID
	Name  string // folded
	Type  string // what "type" says of its entities
	Alias string // property that "direct" finds entities by beside their UUID, folded; empty: name
}

// List is a list of activities of a user or group.
type List struct {
	Owner entity.End
	List  byte // keys.Outbox or keys.Feed
}

// Edges are the connections of an entity.
type Edges struct {
	Near      entity.End
	Direction byte            // keys.Outbound or keys.Inbound
	Verbs     []entity.VerbID // one or several
	Only      entity.CollectionID
	// Collection says what a collection is that edges lead to. Edges to one it does not
	// know are passed over.
	Collection func(entity.CollectionID) (Collection, bool)
}

// Page is what a query returned.
type Page struct {
	Rows     []Row
	Cursor   string // empty: nothing more matches
	Plan     *Plan  // if it was asked for
	Examined int    // keys
}

// Row is one entity of a page. Its memory is the caller's.
type Row struct {
	Collection entity.CollectionID
	Entity     entity.Entity
	Distance   int64      // millimetres from the point of the first within that is not negated; NoDistance
	Eseq       entity.Seq // of the edge that led to it, or 0
	Published  int64      // of an activity in a list that is in the order of the list, ms since the epoch
	Cursor     string     // for what follows this row, if it was asked for
}

// NoDistance is the distance of what has no place, or was not asked for one.
const NoDistance = -1

// Plan is a step of a plan: what it yields comes from its parts.
type Plan struct {
	Kind      string  `json:"kind"`
	Index     string  `json:"index,omitempty"`
	Detail    string  `json:"detail,omitempty"`
	Estimated int     `json:"estimated"`
	Examined  int     `json:"examined"`
	Parts     []*Plan `json:"parts,omitempty"`
}
