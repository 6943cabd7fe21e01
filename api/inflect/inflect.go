// Package inflect turns the collection segment of a path into the one name the
// collection is stored under, and into the type of its entities.
//
// All spellings of a segment, singular or plural, in any case, reach the same
// collection, and a type sent back as a segment lands in the collection it came
// from:
//
//	Collection(Type(w)) == Collection(w) == Collection(Plural(w))
//
// The rules are the tables of spec data-model section 8.1, oddities included:
// stored data and the URLs of shipped clients depend on them, so they are part
// of the format. The package knows nothing of reserved names.
//
// The package is pure. Words are ASCII-folded and matched by their ending.
package inflect

import "strings"

// Collection returns the canonical, stored name of the collection a path
// segment names.
func Collection(segment string) string {
	name := plural(Type(segment))
	// One step is enough for English. Some words of no language need two, and
	// the path a client is shown must lead back to where it came from.
	for range 4 {
		next := plural(singular(plural(name)))
		if next == name {
			break
		}
		name = next
	}
	return name
}

// Type returns the type of the entities of the collection a path segment names.
func Type(segment string) string { return singular(plural(strings.ToLower(segment))) }

// Plural returns the plural of a word in lower case.
func Plural(word string) string { return plural(strings.ToLower(word)) }

// Singular returns the singular of a word in lower case.
func Singular(word string) string { return singular(strings.ToLower(word)) }

// uncountable words are their own plural.
func uncountable(w string) bool {
	switch w {
	case "equipment", "information", "rice", "money", "species", "series", "fish", "sheep", "data", "analytics":
		return true
	}
	return false
}

// rule replaces the last drop bytes of a word that has an ending by add.
type rule struct {
	ending string
	drop   int
	add    string
}

// apply returns what the first matching rule makes of w.
func apply(rules []rule, w string) (string, bool) {
	if w == "" {
		return w, false
	}
	last := w[len(w)-1]
	for i := range rules {
		r := &rules[i]
		// The last byte settles nearly all rules without a call.
		if r.ending[len(r.ending)-1] == last && strings.HasSuffix(w, r.ending) {
			if r.drop == 0 && r.add == "" {
				return w, true
			}
			return w[:len(w)-r.drop] + r.add, true
		}
	}
	return w, false
}

// beforeSuffix returns the byte before a suffix that w has.
func beforeSuffix(w, suffix string) (byte, bool) {
	if i := len(w) - len(suffix); i > 0 && w[i:] == suffix {
		return w[i-1], true
	}
	return 0, false
}

func consonant(c byte) bool { return strings.IndexByte("aeiouy", c) < 0 }

// consonantBefore reports whether w ends in suffix after a consonant or "qu".
func consonantBefore(w, suffix string) bool {
	c, ok := beforeSuffix(w, suffix)
	return ok && (consonant(c) || strings.HasSuffix(w[:len(w)-len(suffix)], "qu"))
}
