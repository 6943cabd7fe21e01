package entity

import "strings"

// Settings are what a collection was told about its indexes, and what its
// entities are indexed by: an entity's record names the plan of its entries, so
// a change of settings is complete once no entity names an older plan.
type Settings struct {
	Plan  IndexPlan   // of entities written from now on
	Older []IndexPlan // of entities not indexed anew yet, oldest first
	// Composites is the highest number that a composite index was ever given.
	Composites uint32

	// What is kept for clients to read again.
	Declared         bool   // settings were set, and not deleted since
	Updated          int64  // when, ms since the epoch
	UpdatedBy        string // e-mail of an admin, or the kind of credentials
	Reindexed        int64  // when indexing anew was last asked for, ms since the epoch; 0: never
	QueueIndex       string
	IndexConsistency string
	Region           string
	Job              ID // task that indexes anew, of the last time that one was recorded
}

// Limits of what a collection may declare.
const (
	MaxFields        = 1000 // listed properties
	MaxComposites    = 16
	MaxCompositeKeys = 4
	MinCompositeKeys = 2
)

// FirstPlan is the generation of the plan of a collection without settings: every
// property is indexed. Generation 0 is that of entities written before there were
// indexes: they have none.
const FirstPlan = 1

// MaxPlans is how many older plans a collection may have before its settings cannot
// be changed until a re-index has come further.
const MaxPlans = 16

// IndexPlan says which entries an entity has. Plans do not change: other settings
// are another plan.
type IndexPlan struct {
	Generation uint32
	None       bool     // nothing: a query with conditions or an order finds no entity of the collection
	All        bool     // every property
	Fields     []string // if not All: these, folded, and what lies below them
	Declared   []string // also these, which the type of the entities declares, and what lies below them
	Composites []Composite
}

// Composite is a declared composite index. Its number is never used again in the
// collection.
type Composite struct {
	Number uint32
	Keys   []CompositeKey // 2 to 4
}

// CompositeKey is a property of a composite index and its direction.
type CompositeKey struct {
	Property string // folded
	Desc     bool
}

// Indexes reports whether entities of the plan have entries besides those of their
// id and unique values.
func (p *IndexPlan) Indexes() bool { return !p.None && p.Generation != 0 }

// Covers reports whether the plan indexes the property at a folded path: uuid,
// type, name, created and modified always, unless nothing is, others as the
// settings say.
func (p *IndexPlan) Covers(path string) bool {
	if !p.Indexes() {
		return false
	}
	switch path {
	case "uuid", "type", "name", "created", "modified":
		return true
	}
	if p.All {
		return true
	}
	return among(p.Fields, path) || among(p.Declared, path)
}

// among reports whether a path is one of the fields, or lies below one.
func among(fields []string, path string) bool {
	for _, field := range fields {
		if rest, ok := strings.CutPrefix(path, field); ok && (rest == "" || rest[0] == '.') {
			return true
		}
	}
	return false
}

// Defaults returns the settings of a collection that has none.
func Defaults() Settings {
	return Settings{Plan: IndexPlan{Generation: FirstPlan, All: true}}
}

// PlanOf returns the plan of a generation; false if no entity can be of it.
func (s *Settings) PlanOf(generation uint32) (*IndexPlan, bool) {
	if s.Plan.Generation == generation {
		return &s.Plan, true
	}
	for i := range s.Older {
		if s.Older[i].Generation == generation {
			return &s.Older[i], true
		}
	}
	return nil, false
}

// Usable reports whether the index of the property at a folded path holds every
// entity of the collection, and so can answer a query.
func (s *Settings) Usable(path string) bool {
	for i := range s.Older {
		if !s.Older[i].Covers(path) {
			return false
		}
	}
	return s.Plan.Covers(path)
}

// Ready reports whether a composite index of the current plan holds every entity of
// the collection.
func (s *Settings) Ready(c *Composite) bool {
	for i := range s.Older {
		if s.Older[i].composite(c.Number) == nil {
			return false
		}
	}
	return s.Plan.composite(c.Number) != nil
}

func (p *IndexPlan) composite(number uint32) *Composite {
	if !p.Indexes() {
		return nil
	}
	for i := range p.Composites {
		if p.Composites[i].Number == number {
			return &p.Composites[i]
		}
	}
	return nil
}
