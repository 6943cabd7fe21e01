package ql

import "github.com/trellisdb/trellis/storage/entity"

// Query is a parsed query. Names of properties are folded (keys.Fold) but for
// those of the projection, which keep the client's spelling.
type Query struct {
	Columns []Column // of the projection; none: *
	Labeled bool     // the projection renames: select {label: property}
	Where   Node     // nil: every entity
	Direct  []string // targets of "direct": names as written, UUIDs in lower case; then Where and Order are empty
	Order   []SortKey
}

// Column is a property of a projection, in the client's spelling.
type Column struct {
	Label    string // empty unless the projection renames
	Property string
}

// SortKey is a property to order by.
type SortKey struct {
	Property string // folded
	Desc     bool
}

// Node is a condition. Its types are And, Or, Not, Compare, Contains and Within.
type Node interface {
	// Pos returns where the condition begins in the text that was parsed,
	// inside of parentheses around all of it.
	Pos() Position
	appendTo(dst []byte, within int) []byte
}

// Position is a place in the text of a query. Both count from 1; columns count runes.
type Position struct{ Line, Column int }

// And holds if all of List do: two or more, none of them an And.
type And struct {
	List []Node
	At   Position
}

// Or holds if one of List does: two or more, none of them an Or.
type Or struct {
	List []Node
	At   Position
}

// Not holds if Of does not. Of is no Not: two of them cancel out.
type Not struct {
	Of Node
	At Position
}

// Op is a comparison operator.
type Op uint8

// The operators. Only Equal knows patterns.
const (
	Equal Op = 1 + iota
	Less
	LessEqual
	Greater
	GreaterEqual
)

// Compare compares a property with a value. Value.String is folded and trimmed.
// A string with * in it is a pattern if Op is Equal: see Pattern.
type Compare struct {
	Property string
	Op       Op
	Value    entity.Value
	At       Position
}

// Contains searches words. Text is folded and trimmed. With * in it, it is one
// pattern for a word.
type Contains struct {
	Property string
	Text     string
	At       Position
}

// Within holds if a geo value of the property is at most Meters away from a point.
type Within struct {
	Property string
	Meters   float64 // finite, not negative
	Lat, Lng float64 // degrees, in range
	At       Position
}

// Pos implements Node.
func (n *And) Pos() Position { return n.At }

// Pos implements Node.
func (n *Or) Pos() Position { return n.At }

// Pos implements Node.
func (n *Not) Pos() Position { return n.At }

// Pos implements Node.
func (n *Compare) Pos() Position { return n.At }

// Pos implements Node.
func (n *Contains) Pos() Position { return n.At }

// Pos implements Node.
func (n *Within) Pos() Position { return n.At }
