package mail

import (
	"fmt"
	"strings"
)

// template is a text with placeholders: literal texts and names in turn, and a
// text first. ${name} is a placeholder; any other "$" is itself.
type template []string

// parse takes a text apart. It refuses a placeholder without end or name.
func parse(text string) (template, error) {
	var t template
	for {
		literal, rest, found := strings.Cut(text, "${")
		t = append(t, literal)
		if !found {
			return t, nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, fmt.Errorf("a placeholder has no end: ${%.20s", rest)
		}
		if !isName(name) {
			return nil, fmt.Errorf("%.40q is no name of a placeholder", name)
		}
		t = append(t, name)
		text = after
	}
}

// isName tells whether s could name a variable.
func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
}

// names returns the placeholders in their order.
func (t template) names() []string {
	var names []string
	for i := 1; i < len(t); i += 2 {
		names = append(names, t[i])
	}
	return names
}

// fill puts a value in the place of each placeholder. What the value holds is not
// looked at again.
func (t template) fill(value func(name string) string) string {
	var b strings.Builder
	for i, part := range t {
		if i%2 == 1 {
			part = value(part)
		}
		b.WriteString(part)
	}
	return b.String()
}
