package inflect

import "strings"

// Rows of the plural table before the one that needs more than an ending, and
// after it. Numbers are the rows of the spec.
var (
	pluralFirst = [...]rule{
		{"stadium", 0, "s"}, {"move", 0, "s"}, {"sex", 0, "es"}, // 1
		{"child", 0, "ren"}, {"man", 2, "en"}, {"person", 4, "ople"}, // 2
		{"oxen", 0, ""}, {"octopi", 0, ""}, {"viri", 0, ""}, {"aliases", 0, ""}, {"quizzes", 0, ""}, // 3
		{"people", 0, ""}, {"men", 0, ""}, {"children", 0, ""}, {"sexes", 0, ""}, {"moves", 0, ""}, {"stadiums", 0, ""},
		{"quiz", 0, "zes"}, // 4
	}
	pluralSecond = [...]rule{
		{"mouse", 4, "ice"}, {"louse", 4, "ice"}, {"mice", 0, ""}, {"lice", 0, ""}, // 6
		{"matrix", 2, "ices"}, {"vertix", 2, "ices"}, {"indix", 2, "ices"}, {"ex", 2, "ices"}, // 7
		{"x", 0, "es"}, {"ch", 0, "es"}, {"ss", 0, "es"}, {"sh", 0, "es"}, // 8
	}
	pluralThird = [...]rule{
		{"sis", 2, "es"},             // 12
		{"ta", 0, ""}, {"ia", 0, ""}, // 13
		{"tum", 2, "a"}, {"ium", 2, "a"}, // 14
		{"buffalo", 0, "es"}, {"tomato", 0, "es"}, // 15
		{"bus", 0, "es"},                        // 16
		{"alias", 0, "es"}, {"status", 0, "es"}, // 17
		{"octopus", 2, "i"}, {"virus", 2, "i"}, // 18
		{"axis", 2, "es"}, {"testis", 2, "es"}, // 19
		{"s", 0, ""}, // 20
	}
)

// plural returns the plural of a lower-case word.
func plural(w string) string {
	if w == "" || uncountable(w) {
		return w
	}
	if p, ok := apply(pluralFirst[:], w); ok {
		return p
	}
	if w == "ox" { // 5
		return "oxen"
	}
	if p, ok := apply(pluralSecond[:], w); ok {
		return p
	}
	switch {
	case consonantBefore(w, "y"): // 9
		return w[:len(w)-1] + "ies"
	case strings.HasSuffix(w, "hive"): // 10
		return w + "s"
	case strings.HasSuffix(w, "lf"), strings.HasSuffix(w, "rf"): // 11
		return w[:len(w)-1] + "ves"
	}
	if c, ok := beforeSuffix(w, "fe"); ok && c != 'f' { // 11
		return w[:len(w)-2] + "ves"
	}
	if p, ok := apply(pluralThird[:], w); ok {
		return p
	}
	return w + "s" // 21
}
