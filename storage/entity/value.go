package entity

import (
	"cmp"
	"math"
	"strconv"
)

// Class is the class of a value that can be compared and sorted by. Values of
// different classes are never equal. The order of the classes is that of the
// groups of a sort, in either direction (spec query-language section 7).
type Class uint8

// The classes, in the order of the groups of a sort.
const (
	NumberClass Class = 1 + iota
	StringClass
	BoolClass
	MissingClass // no value: sorts last, compares with nothing
)

// Number is a number of a JSON document: every int64 and every finite float64
// is one, and they compare as the numbers they are.
type Number struct {
	Float float64 // the number, rounded towards zero
	Rest  int16   // the number minus Float: not 0 only for integers from 2⁵³ on
}

// maxExact is 2⁵³: integers up to it are exact as float64.
const maxExact = 1 << 53

// Int returns the number of an integer.
func Int(i int64) Number {
	f := float64(i)
	if i >= -maxExact && i <= maxExact {
		return Number{Float: f}
	}
	if i > 0 && (f >= 1<<63 || int64(f) > i) || i < 0 && int64(f) < i {
		f = math.Nextafter(f, 0)
	}
	return Number{Float: f, Rest: int16(i - int64(f))}
}

// Float returns the number of a float64. It must be finite. Negative zero is zero.
func Float(f float64) Number { return Number{Float: f + 0} }

// ParseNumber reads a number as JSON or the query language write it: an integer
// that fits in int64 exactly, anything else as the nearest float64. It returns
// false for what is no number or is not finite.
func ParseNumber(text string) (Number, bool) {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return Int(i), true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return Number{}, false
	}
	return Float(f), true
}

// Compare returns -1, 0 or 1 as n is less than, equal to or greater than o.
func (n Number) Compare(o Number) int {
	if c := cmp.Compare(n.Float, o.Float); c != 0 {
		return c
	}
	return cmp.Compare(n.Rest, o.Rest)
}

// Value is a value to compare with: of the class it says.
type Value struct {
	Class  Class
	Number Number
	String string
	Bool   bool
}
