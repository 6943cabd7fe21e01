package index

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// MaxPath is how many bytes the path of a property may have. One that is longer is
// not indexed, and to a query it is missing.
const MaxPath = 512

// maxDepth is how deep objects may lie in one another. Stored JSON is never so deep.
const maxDepth = 512

// Visitor gets what Flatten finds.
type Visitor interface {
	// Scalar gets a value: a folded string that is not empty, a number or a boolean.
	// Path and the value's string are lent until it returns.
	Scalar(path []byte, v *entity.Value)
	// Point gets a geo value, in range or not. Path is lent until it returns.
	Point(path []byte, lat, lng float64)
}

// Flatten shows every value of an entity's JSON by which it can be found, in the
// order they are written. A path is the folded names of members, joined by full
// stops; elements of an array have the path of the array. An object of latitude and
// longitude (or lat, lon; in any case) and nothing else is one geo value. Not shown
// are null, "", arrays in arrays, and what has a path of more than MaxPath bytes.
//
// The JSON is checked before it is stored and in the compact form. Of anything else
// Flatten says that it is damaged, having shown some of it.
func Flatten(json []byte, v Visitor) error {
	f := flattener{visitor: v}
	return f.run(json)
}

// flattener is a walk; its memory may be used for the next one.
type flattener struct {
	visitor Visitor
	path    []byte
	text    []byte // folded string
	value   entity.Value
	json    []byte
	at      int
}

func (f *flattener) run(json []byte) error {
	f.json, f.at, f.path = json, 0, f.path[:0]
	ok := len(json) > 0 && json[0] == '{' && f.object(0) && f.at == len(json)
	f.json = nil
	if !ok {
		return damaged()
	}
	return nil
}

// object walks the members of the object that begins here.
func (f *flattener) object(depth int) bool {
	if depth > maxDepth {
		return false
	}
	parent := len(f.path)
	f.at++
	for first := true; ; first = false {
		if f.at >= len(f.json) {
			return false
		}
		switch c := f.json[f.at]; {
		case c == '}':
			f.at++
			return true
		case first:
		case c == ',':
			f.at++
		default:
			return false
		}
		size := stringEnd(f.json[f.at:])
		if size < 0 {
			return false
		}
		key := f.json[f.at : f.at+size]
		if f.at += size; f.at >= len(f.json) || f.json[f.at] != ':' {
			return false
		}
		f.at++
		if len(f.path) <= MaxPath {
			if depth > 0 {
				f.path = append(f.path, '.')
			}
			f.path = appendFolded(f.path, key)
		}
		if !f.any(depth, false) {
			return false
		}
		f.path = f.path[:parent]
	}
}

// any walks the value that begins here. One that is an element is not walked if it is
// an array.
func (f *flattener) any(depth int, element bool) bool {
	if f.at >= len(f.json) {
		return false
	}
	switch f.json[f.at] {
	case '"':
		size := stringEnd(f.json[f.at:])
		if size < 0 {
			return false
		}
		f.string(f.json[f.at : f.at+size])
		f.at += size
		return true
	case '{':
		if lat, lng, size, ok := point(f.json[f.at:]); ok {
			f.at += size
			if len(f.path) <= MaxPath {
				f.visitor.Point(f.path, lat, lng)
			}
			return true
		}
		return f.object(depth + 1)
	case '[':
		if !element {
			return f.array(depth)
		}
		size := nestEnd(f.json[f.at:])
		f.at += max(size, 0)
		return size > 0
	}
	size := literalEnd(f.json[f.at:])
	if size <= 0 {
		return false
	}
	f.literal(f.json[f.at : f.at+size])
	f.at += size
	return true
}

func (f *flattener) array(depth int) bool {
	f.at++
	if f.at < len(f.json) && f.json[f.at] == ']' {
		f.at++
		return true
	}
	for f.any(depth, true) && f.at < len(f.json) {
		f.at++
		switch f.json[f.at-1] {
		case ']':
			return true
		case ',':
		default:
			return false
		}
	}
	return false
}

// string shows a string, as written with its quotes.
func (f *flattener) string(quoted []byte) {
	if len(quoted) == 2 || len(f.path) > MaxPath {
		return
	}
	if isFolded(quoted) {
		f.value = entity.Value{Class: entity.StringClass, String: lend(quoted[1 : len(quoted)-1])}
	} else {
		f.text = appendFolded(f.text[:0], quoted)
		f.value = entity.Value{Class: entity.StringClass, String: lend(f.text)}
	}
	f.visitor.Scalar(f.path, &f.value)
	f.value.String = ""
	if cap(f.text) > 64<<10 {
		f.text = nil // a long text must not be held for ever
	}
}

// literal shows a number or a boolean.
func (f *flattener) literal(b []byte) {
	if len(f.path) > MaxPath {
		return
	}
	switch b[0] {
	case 't', 'f':
		f.value = entity.Value{Class: entity.BoolClass, Bool: b[0] == 't'}
	case 'n':
		return
	default:
		number, ok := parseNumber(b)
		if !ok {
			return
		}
		f.value = entity.Value{Class: entity.NumberClass, Number: number}
	}
	f.visitor.Scalar(f.path, &f.value)
}

// lend returns a string that shares the bytes of b. It holds until they change.
func lend(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// isFolded reports whether a quoted string can be used as it stands.
func isFolded(quoted []byte) bool {
	for _, c := range quoted {
		if c == '\\' || c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return true
}

// appendFolded appends the folded form of what a JSON string says.
func appendFolded(dst, quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') >= 0 {
		var s string
		if json.Unmarshal(quoted, &s) == nil { // else not JSON: as it stands
			return keys.AppendFold(dst, s)
		}
	}
	return keys.AppendFold(dst, lend(quoted[1:len(quoted)-1]))
}

// parseNumber is entity.ParseNumber without its allocations.
func parseNumber(b []byte) (entity.Number, bool) {
	digits := b
	if digits[0] == '-' {
		digits = digits[1:]
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			if c == '.' || c == 'e' || c == 'E' {
				return parseFloat(b)
			}
			return entity.Number{}, false
		}
		n = n*10 + int64(c-'0')
	}
	switch {
	case len(digits) > 18:
		return entity.ParseNumber(lend(b))
	case len(digits) == 0:
		return entity.Number{}, false
	case b[0] == '-':
		n = -n
	}
	return entity.Int(n), true
}

func parseFloat(b []byte) (entity.Number, bool) {
	f, err := strconv.ParseFloat(lend(b), 64)
	if err != nil {
		return entity.Number{}, false
	}
	return entity.Float(f), true
}

// point reads a geo value that b begins with, and how long it is.
func point(b []byte) (lat, lng float64, size int, ok bool) {
	var seen byte
	at := 1
	for range 2 {
		n := stringEnd(b[at:])
		if n < 0 || at+n >= len(b) || b[at+n] != ':' {
			return 0, 0, 0, false
		}
		which := coordinateOf(b[at+1 : at+n-1])
		if which == 0 || seen&which != 0 {
			return 0, 0, 0, false
		}
		at += n + 1
		if n = scalarEnd(b[at:]); n <= 0 || at+n >= len(b) {
			return 0, 0, 0, false
		}
		f, ok := coordinate(b[at : at+n])
		if !ok {
			return 0, 0, 0, false
		}
		if which == latitude {
			lat = f
		} else {
			lng = f
		}
		at += n
		if seen == 0 && b[at] != ',' || seen != 0 && b[at] != '}' {
			return 0, 0, 0, false
		}
		seen |= which
		at++
	}
	return lat, lng, at, true
}

// Which coordinate a member is.
const (
	latitude byte = 1 << iota
	longitude
)

func coordinateOf(name []byte) byte {
	var folded [9]byte
	if len(name) > len(folded) {
		return 0
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		folded[i] = c
	}
	switch string(folded[:len(name)]) {
	case "latitude", "lat":
		return latitude
	case "longitude", "lon":
		return longitude
	}
	return 0
}

// coordinate reads a number, or a string that holds one.
func coordinate(b []byte) (float64, bool) {
	if b[0] == '"' {
		if b = b[1 : len(b)-1]; len(b) == 0 || len(b) > 64 {
			return 0, false
		}
	}
	number, ok := parseNumber(b)
	return number.Float, ok
}

// scalarEnd is valueEnd for what is neither object nor array, or 0.
func scalarEnd(b []byte) int {
	if len(b) == 0 || b[0] == '{' || b[0] == '[' {
		return 0
	}
	if b[0] == '"' {
		return stringEnd(b)
	}
	return literalEnd(b)
}

// literalEnd returns the length of the number or word b begins with.
func literalEnd(b []byte) int {
	for i, c := range b {
		switch c {
		case ',', '}', ']':
			return i
		case '"', ':', '{', '[', ' ', '\t', '\n', '\r':
			return -1
		}
	}
	return -1
}
