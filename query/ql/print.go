package ql

import (
	"math"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
)

// What stands around a condition as it is printed, by how tightly it binds.
const (
	inNothing = iota
	inOr
	inAnd
	inNot
)

// String returns the normal form of q: it begins with "select", has one blank
// where white space has to be, and parentheses only where they matter. It
// parses to what q is.
func (q *Query) String() string {
	dst := q.appendColumns([]byte("select "))
	switch {
	case q.Direct != nil:
		dst = append(dst, " where direct "...)
		dst = append(dst, strings.Join(q.Direct, ", ")...)
	case q.Where != nil:
		dst = append(dst, " where "...)
		dst = q.Where.appendTo(dst, inNothing)
	}
	return string(q.appendOrder(dst))
}

// Print returns the normal form of a condition.
func Print(n Node) string { return string(n.appendTo(nil, inNothing)) }

func (q *Query) appendColumns(dst []byte) []byte {
	if len(q.Columns) == 0 {
		return append(dst, '*')
	}
	if q.Labeled {
		dst = append(dst, '{')
	}
	for i, c := range q.Columns {
		dst = appendSeparator(dst, i, ", ")
		if q.Labeled {
			dst = append(dst, c.Label...)
			dst = append(dst, ": "...)
		}
		dst = append(dst, c.Property...)
	}
	if q.Labeled {
		dst = append(dst, '}')
	}
	return dst
}

func (q *Query) appendOrder(dst []byte) []byte {
	if len(q.Order) == 0 {
		return dst
	}
	dst = append(dst, " order by "...)
	for i, key := range q.Order {
		dst = appendSeparator(dst, i, ", ")
		dst = append(dst, key.Property...)
		if key.Desc {
			dst = append(dst, " desc"...)
		}
	}
	return dst
}

func appendSeparator(dst []byte, i int, separator string) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, separator...)
}

func (n *And) appendTo(dst []byte, within int) []byte {
	return appendList(dst, n.List, " and ", inAnd, within)
}

func (n *Or) appendTo(dst []byte, within int) []byte {
	return appendList(dst, n.List, " or ", inOr, within)
}

// appendList appends the list of an And or an Or, in parentheses if what
// stands around binds tighter.
func appendList(dst []byte, list []Node, separator string, self, within int) []byte {
	if within > self {
		dst = append(dst, '(')
	}
	for i, n := range list {
		dst = appendSeparator(dst, i, separator)
		dst = n.appendTo(dst, self)
	}
	if within > self {
		dst = append(dst, ')')
	}
	return dst
}

func (n *Not) appendTo(dst []byte, _ int) []byte {
	return n.Of.appendTo(append(dst, "not "...), inNot)
}

func (n *Compare) appendTo(dst []byte, _ int) []byte {
	dst = append(dst, n.Property...)
	dst = append(dst, ' ')
	dst = append(dst, n.Op.String()...)
	dst = append(dst, ' ')
	return appendValue(dst, n.Value)
}

func (n *Contains) appendTo(dst []byte, _ int) []byte {
	dst = append(dst, n.Property...)
	dst = append(dst, " contains "...)
	return appendString(dst, n.Text)
}

func (n *Within) appendTo(dst []byte, _ int) []byte {
	dst = append(dst, n.Property...)
	dst = append(dst, " within "...)
	dst = appendFloat(dst, n.Meters)
	dst = append(dst, " of "...)
	dst = appendFloat(dst, n.Lat)
	dst = append(dst, ", "...)
	return appendFloat(dst, n.Lng)
}

// String returns the operator as a symbol.
func (o Op) String() string {
	switch o {
	case Less:
		return "<"
	case LessEqual:
		return "<="
	case Greater:
		return ">"
	case GreaterEqual:
		return ">="
	}
	return "="
}

func appendValue(dst []byte, v entity.Value) []byte {
	switch v.Class {
	case entity.NumberClass:
		return appendNumber(dst, v.Number)
	case entity.BoolClass:
		return strconv.AppendBool(dst, v.Bool)
	}
	return appendString(dst, v.String)
}

// appendNumber appends an integer with all its digits, whatever else as a float.
func appendNumber(dst []byte, n entity.Number) []byte {
	if n.Rest != 0 {
		return strconv.AppendInt(dst, int64(n.Float)+int64(n.Rest), 10)
	}
	return appendFloat(dst, n.Float)
}

// appendFloat appends the shortest decimal that reads as f. What has an int64
// is written as one.
func appendFloat(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && f >= -1<<63 && f < 1<<63 {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// appendString appends a string in quotes. Only what has to be escaped is, and
// control characters.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '\'')
	for _, r := range s {
		switch {
		case r == '\'' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[r>>4], hexDigits[r&15])
		default:
			dst = append(dst, string(r)...)
		}
	}
	return append(dst, '\'')
}

const hexDigits = "0123456789abcdef"
