package workload

import (
	"fmt"
	"strings"
)

// Step is a step of the plan by which the server says it has answered a query.
// What it yields comes from its parts.
type Step struct {
	Kind      string  `json:"kind"`
	Index     string  `json:"index"`
	Detail    string  `json:"detail"`
	Estimated int     `json:"estimated"`
	Examined  int     `json:"examined"` // by the step itself, without its parts
	Parts     []*Step `json:"parts"`
}

// Keys is how many keys the step and its parts have examined. Nil is a plan of
// nothing.
func (s *Step) Keys() int {
	if s == nil {
		return 0
	}
	n := s.Examined
	for _, part := range s.Parts {
		n += part.Keys()
	}
	return n
}

// String prints the step on one line: kind, index and keys examined, with its
// parts in brackets.
func (s *Step) String() string {
	if s == nil {
		return "none"
	}
	var b strings.Builder
	b.WriteString(s.Kind)
	if s.Index != "" {
		b.WriteString(" " + s.Index)
	}
	if s.Detail != "" {
		b.WriteString(" (" + s.Detail + ")")
	}
	if s.Examined > 0 {
		fmt.Fprintf(&b, " %d", s.Examined)
	}
	if len(s.Parts) > 0 {
		b.WriteString(" ⟨")
		for i, part := range s.Parts {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(part.String())
		}
		b.WriteString("⟩")
	}
	return b.String()
}
