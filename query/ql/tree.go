package ql

import "github.com/trellisdb/trellis/storage/fault"

// Restrict makes q ask for what n says as well. It is an error if q is
// "direct", which takes no condition. A nil n changes nothing.
func (q *Query) Restrict(n Node) error {
	switch {
	case n == nil:
	case q.Direct != nil:
		return fault.New(fault.IllegalArgument, "A query with direct cannot be restricted by a filter")
	case q.Where == nil:
		q.Where = n
	default:
		q.Where = &And{List: appendFactors(appendFactors(nil, q.Where), n), At: q.Where.Pos()}
	}
	return nil
}

// Near returns the points a result is near to: the Within that are under no
// Not, in the order of the text.
func (q *Query) Near() []*Within { return appendNear(nil, q.Where) }

func appendNear(dst []*Within, n Node) []*Within {
	switch n := n.(type) {
	case *Within:
		return append(dst, n)
	case *And:
		for _, n := range n.List {
			dst = appendNear(dst, n)
		}
	case *Or:
		for _, n := range n.List {
			dst = appendNear(dst, n)
		}
	}
	return dst
}

// appendFactors appends n to the list of an And: if it is one, its own list.
func appendFactors(list []Node, n Node) []Node {
	if and, ok := n.(*And); ok {
		return append(list, and.List...)
	}
	return append(list, n)
}

// appendTerms appends n to the list of an Or: if it is one, its own list.
func appendTerms(list []Node, n Node) []Node {
	if or, ok := n.(*Or); ok {
		return append(list, or.List...)
	}
	return append(list, n)
}

// negate returns the opposite of n.
func negate(n Node, at Position) Node {
	if not, ok := n.(*Not); ok {
		return not.Of
	}
	return &Not{Of: n, At: at}
}
