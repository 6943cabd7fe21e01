package crash

import (
	"fmt"
	"slices"
	"sync"
)

// record is what is known of one name.
type record struct {
	name    string
	version uint64   // of the last acknowledged state; 0 is absent
	uuid    string   // of the entity that has or last had the name; may be unknown
	maybe   []uint64 // states an unanswered write may have left; 0 is absent
	touched bool     // since the last verification
	last    uint64   // greatest version ever written: none is used twice
}

// allowed says whether a version may be found under the name.
func (r *record) allowed(v uint64) bool {
	return v == r.version || slices.Contains(r.maybe, v)
}

// Model is what must be on the server. Writers add to it while they run; a
// verification reads it when they do not.
type Model struct {
	Collection string

	seed    uint64
	writers []*writer
	mu      struct {
		sync.Mutex
		contests   map[string]*contest
		violations []string
	}
}

// contest is a name that many writers tried to create.
type contest struct {
	winners []string // uuids of creations that were acknowledged
	unknown int      // creations that were not answered
	refused int      // creations answered with "taken"
	settled bool     // seen by a verification: the outcome can no longer change
}

// NewModel returns an empty model for a number of writers.
func NewModel(collection string, seed uint64, writers int) *Model {
	m := &Model{Collection: collection, seed: seed}
	m.mu.contests = make(map[string]*contest)
	for i := range writers {
		m.writers = append(m.writers, newWriter(m, i))
	}
	return m
}

// violate notes a broken promise.
func (m *Model) violate(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.violations = append(m.mu.violations, fmt.Sprintf(format, args...))
}

// takeViolations gives what was noted since the last call.
func (m *Model) takeViolations() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.mu.violations
	m.mu.violations = nil
	return v
}

// contestFor gives the contest of a name. The caller holds the lock.
func (m *Model) contestFor(name string) *contest {
	c := m.mu.contests[name]
	if c == nil {
		c = &contest{}
		m.mu.contests[name] = c
	}
	return c
}

// Counts are the sums of what writers did.
type Counts struct {
	Acknowledged uint64 // requests answered with 200
	Unanswered   uint64 // requests whose outcome is unknown
	Refused      uint64 // requests refused for a reason that is no fault: taken names, 429
	Unavailable  uint64 // of the unanswered, those answered with 5xx
}

// Add adds the counts of another run.
func (c *Counts) Add(o Counts) {
	c.Acknowledged += o.Acknowledged
	c.Unanswered += o.Unanswered
	c.Refused += o.Refused
	c.Unavailable += o.Unavailable
}

// Live is how many entities are acknowledged and not deleted.
func (m *Model) Live() int {
	n := 0
	for _, w := range m.writers {
		for _, r := range w.records {
			if r.version != 0 {
				n++
			}
		}
	}
	return n
}
