package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Kind is what an operation does to its key.
type Kind uint8

// The kinds.
const (
	Read   Kind = iota // GET by name, or seen in a listing
	Create             // POST: the first wins
	Update             // PUT: writes whether or not the key is there
	Delete
)

// String is the name of a kind.
func (k Kind) String() string { return [...]string{"read", "create", "update", "delete"}[k] }

// Outcome is what came of an operation.
type Outcome uint8

// The outcomes.
const (
	Done    Outcome = iota
	Refused         // a taken name, or one that is not there
	Unknown         // a write that may or may not happen, now or later
)

// Absent is the value of a key that is not there, Something that of a deleted
// one of which the answer does not tell.
const (
	Absent    uint64 = 0
	Something uint64 = 1<<64 - 1
)

// Op is one operation on one key.
type Op struct {
	Client   int
	Node     int // that answered last
	Key      string
	Kind     Kind
	Outcome  Outcome
	Value    uint64        // what a write writes; what a read or an acknowledged delete saw
	Call     time.Duration // since the history began
	Return   time.Duration // meaningless if the outcome is Unknown
	Attempts int           // requests sent
}

// String describes an operation.
func (o Op) String() string {
	text := o.Kind.String()
	switch {
	case o.Kind == Read:
		text += " → " + valueText(o.Value)
	case o.Kind == Delete && o.Outcome == Done:
		text += " of " + valueText(o.Value)
	case o.Kind != Delete:
		text += " " + valueText(o.Value)
	}
	switch o.Outcome {
	case Refused:
		text += " → refused"
	case Unknown:
		text += " → ?"
	}
	if o.Attempts > 1 {
		text += fmt.Sprintf(" (%d attempts)", o.Attempts)
	}
	return text
}

// valueText names a value by the client that wrote it and its number.
func valueText(v uint64) string {
	if v == Absent {
		return "absent"
	}
	if v == Something {
		return "something"
	}
	return fmt.Sprintf("%d.%d", v>>clientShift, v&(1<<clientShift-1))
}

// clientShift is where in a value the number of its writer begins. Values stay
// below 2^53: JSON numbers must hold them.
const clientShift = 28

// StaleRead is a read that need not be up to date.
type StaleRead struct {
	Op
	Age   time.Duration // the greatest age the answer admits
	Aged  bool          // the answer says its age
	Place string        // address of the node that answered
}

// Ack is an acknowledged write.
type Ack struct {
	At   time.Duration
	App  int
	Node int
}

// Counts are sums over a history.
type Counts struct {
	Operations int // recorded, without stale reads
	Unknown    int
	Refused    int
	Stale      int // stale reads
	Retried    int // operations of more than one attempt
	Uncaught   int // answers of 5xx that do not say "try again"
}

// Add adds the sums of another history.
func (c *Counts) Add(o Counts) {
	c.Operations += o.Operations
	c.Unknown += o.Unknown
	c.Refused += o.Refused
	c.Stale += o.Stale
	c.Retried += o.Retried
	c.Uncaught += o.Uncaught
}

// History is what was recorded.
type History struct {
	Ops    []Op
	Stale  []StaleRead
	Acks   []Ack    // in order of time
	Wrong  []string // answers that break a promise by themselves
	Counts Counts
	Odd    []string // some of the answers that were Uncaught
}

// merge adds what one session recorded.
func (h *History) merge(c *session) {
	h.Ops = append(h.Ops, c.ops...)
	h.Stale = append(h.Stale, c.stale...)
	h.Acks = append(h.Acks, c.acks...)
	h.Wrong = append(h.Wrong, c.wrong...)
	h.Counts.Uncaught += c.uncaught
	if len(h.Odd) < mostOdd {
		h.Odd = append(h.Odd, c.odd...)
	}
}

// mostOdd is how many odd answers are kept.
const mostOdd = 10

// count brings order and sums up to date.
func (h *History) count() {
	slices.SortStableFunc(h.Acks, func(a, b Ack) int { return cmp.Compare(a.At, b.At) })
	n := &h.Counts
	n.Operations, n.Stale, n.Unknown, n.Refused, n.Retried = len(h.Ops), len(h.Stale), 0, 0, 0
	for _, o := range h.Ops {
		switch o.Outcome {
		case Unknown:
			n.Unknown++
		case Refused:
			n.Refused++
		}
		if o.Attempts > 1 {
			n.Retried++
		}
	}
}

// Gap is the longest time within [from, to] without an acknowledged write of an
// application, through any node.
func (h *History) Gap(app int, from, to time.Duration) time.Duration {
	last, longest := from, time.Duration(0)
	for _, a := range h.Acks {
		if a.App != app || a.At <= from {
			continue
		}
		if a.At >= to {
			break
		}
		longest = max(longest, a.At-last)
		last = a.At
	}
	return max(longest, to-last)
}
