package inflect

import "strings"

// Rows of the singular table between those that need more than an ending.
// Numbers are the rows of the spec.
var (
	singularFirst = [...]rule{
		{"stadiums", 1, ""}, {"moves", 1, ""}, {"sexes", 2, ""}, {"children", 3, ""}, {"men", 2, "an"}, {"people", 4, "rson"}, // 1
		{"quizzes", 3, ""}, {"matrices", 4, "ix"}, {"vertices", 4, "ex"}, {"indices", 4, "ex"}, // 2
	}
	singularSecond = [...]rule{
		{"alias", 0, ""}, {"status", 0, ""}, {"aliases", 2, ""}, {"statuses", 2, ""}, // 3
		{"octopus", 0, ""}, {"virus", 0, ""}, {"octopi", 1, "us"}, {"viri", 1, "us"}, // 4
		{"crises", 2, "is"}, {"axes", 2, "is"}, {"testes", 2, "is"}, // 5
		{"crisis", 0, ""}, {"axis", 0, ""}, {"testis", 0, ""},
		{"shoes", 1, ""},                         // 6
		{"oes", 2, ""},                           // 7
		{"buses", 2, ""},                         // 8
		{"mice", 3, "ouse"}, {"lice", 3, "ouse"}, // 9
		{"xes", 2, ""}, {"ches", 2, ""}, {"sses", 2, ""}, {"shes", 2, ""}, // 10
		{"movies", 1, ""}, {"series", 0, ""}, // 11
	}
	singularThird = [...]rule{
		{"lves", 3, "f"}, {"rves", 3, "f"}, // 13
		{"tives", 1, ""}, {"hives", 1, ""}, // 14
	}
	singularFourth = [...]rule{
		{"bases", 2, "is"}, {"diagnoses", 2, "is"}, {"parentheses", 2, "is"}, {"prognoses", 2, "is"}, // 17
		{"synopses", 2, "is"}, {"theses", 2, "is"}, {"analyses", 2, "is"}, // 16 is the whole word of the last
		{"ta", 1, "um"}, {"ia", 1, "um"}, // 18
		{"news", 0, ""},                              // 19
		{"ss", 0, ""}, {"sis", 0, ""}, {"us", 0, ""}, // 20
		{"s", 1, ""}, // 21
	}
)

// singular returns the singular of a lower-case word.
func singular(w string) string {
	if w == "s" || uncountable(w) { // a collection of no name could not be addressed
		return w
	}
	if s, ok := apply(singularFirst[:], w); ok {
		return s
	}
	if rest, ok := strings.CutPrefix(w, "oxen"); ok { // 2
		return "ox" + rest
	}
	if s, ok := apply(singularSecond[:], w); ok {
		return s
	}
	if consonantBefore(w, "ies") { // 12
		return w[:len(w)-3] + "y"
	}
	if s, ok := apply(singularThird[:], w); ok {
		return s
	}
	if c, ok := beforeSuffix(w, "ves"); ok && c != 'f' { // 15
		return w[:len(w)-3] + "fe"
	}
	s, _ := apply(singularFourth[:], w) // 22: nothing matches, nothing changes
	return s
}
