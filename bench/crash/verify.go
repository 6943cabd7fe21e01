package crash

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/trellisdb/trellis/bench/client"
)

// Depth says how much a verification asks one by one, besides walking all.
type Depth struct {
	Everything bool // every name, by name and by uuid
	Sample     int  // else all touched since the last verification, at most so many
	Page       int  // limit of the walk; 0 is 1000, the most a server gives
}

// Findings is what a verification saw.
type Findings struct {
	Violations []string          // broken promises
	Entities   int               // entities in the collection
	Asked      int               // entities asked for one by one
	listed     map[string]stored // what the listing showed, by name
}

// Verify compares the server with the model. An error means that the server
// did not answer a request as it should, whatever is stored; what is stored
// and wrong is a violation. The model stays as it is: call Settle to take over
// which unanswered writes took effect.
func (m *Model) Verify(target client.Target, depth Depth) (*Findings, error) {
	conn := client.NewConn(target.Addr, writeTimeout)
	defer conn.Close() //nolint:errcheck // nothing is pending on it
	f := &Findings{Violations: m.takeViolations(), listed: make(map[string]stored)}
	if err := m.list(target, conn, cmp.Or(depth.Page, 1000), f); err != nil {
		return f, fmt.Errorf("walk %s: %w", m.Collection, err)
	}
	counts, err := target.Counts(conn)
	if err != nil {
		return f, err
	}
	if counts[m.Collection] != f.Entities {
		f.violate("the application counts %d entities in %s, a walk finds %d", counts[m.Collection], m.Collection, f.Entities)
	}
	m.compare(f)
	m.compareContests(f)
	for _, r := range m.chosen(depth) {
		if err := m.ask(target, conn, r, f); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *Findings) violate(format string, args ...any) {
	f.Violations = append(f.Violations, fmt.Sprintf(format, args...))
}

// list walks the collection.
func (m *Model) list(target client.Target, conn *client.Conn, page int, f *Findings) error {
	ids := make(map[string]string)
	return target.Walk(conn, m.Collection, page, func(raw json.RawMessage) error {
		f.Entities++
		e, err := parse(raw)
		if err != nil {
			f.violate("listing: %v", err)
			return nil
		}
		if other, taken := ids[e.UUID]; taken {
			f.violate("listing: uuid %s belongs to %s and %s", e.UUID, other, e.Name)
		}
		ids[e.UUID] = e.Name
		if _, taken := f.listed[e.Name]; taken {
			f.violate("listing: %s is there twice", e.Name)
		}
		f.listed[e.Name] = e
		return nil
	})
}

// compare checks every record against the listing, and the listing for
// entities that nobody wrote.
func (m *Model) compare(f *Findings) {
	strangers := maps.Clone(f.listed)
	for _, w := range m.writers {
		for _, r := range w.records {
			e := f.listed[r.name]
			delete(strangers, r.name)
			if !r.allowed(e.Version) {
				f.violate("%s has version %d (0 is absent), acknowledged is %d, unanswered %v", r.name, e.Version, r.version, r.maybe)
			}
			if e.Version != 0 && r.version != 0 && r.uuid != "" && e.UUID != r.uuid {
				f.violate("%s has uuid %s, acknowledged is %s", r.name, e.UUID, r.uuid)
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.mu.contests {
		delete(strangers, name)
	}
	for name := range strangers {
		f.violate("%s is there and nobody wrote it", name)
	}
}

// compareContests checks that each shared name was won at most once.
func (m *Model) compareContests(f *Findings) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.mu.contests)) {
		c := m.mu.contests[name]
		e, there := f.listed[name]
		switch {
		case len(c.winners) > 1:
			f.violate("%s was created %d times", name, len(c.winners))
		case len(c.winners) == 1 && (!there || e.UUID != c.winners[0]):
			f.violate("%s was created with uuid %s, there is %q", name, c.winners[0], e.UUID)
		case len(c.winners) == 0 && there && c.unknown == 0:
			f.violate("%s is there, and every creation was refused", name)
		case len(c.winners) == 0 && c.unknown == 0 && c.refused > 0:
			f.violate("%s is absent, and %d creations were refused as taken", name, c.refused)
		case c.settled && len(c.winners) == 0 && there:
			f.violate("%s appeared after a verification had not found it", name)
		}
	}
}

// chosen picks the records that are asked for one by one.
func (m *Model) chosen(depth Depth) []*record {
	var all []*record
	for _, w := range m.writers {
		for _, r := range w.records {
			if depth.Everything || r.touched {
				all = append(all, r)
			}
		}
	}
	if depth.Everything || len(all) <= depth.Sample {
		return all
	}
	rng := rand.New(rand.NewPCG(m.seed, uint64(len(all))))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(a, b *record) int { return len(b.maybe) - len(a.maybe) }) // what was not answered first
	return all[:depth.Sample]
}

// ask reads one record by name and by uuid; both must agree with the listing.
func (m *Model) ask(target client.Target, conn *client.Conn, r *record, f *Findings) error {
	f.Asked++
	want, there := f.listed[r.name]
	selectors := []string{r.name}
	if there {
		selectors = append(selectors, want.UUID)
	} else if r.uuid != "" {
		selectors = append(selectors, r.uuid)
	}
	for _, selector := range selectors {
		path := target.Path(m.Collection, selector)
		status, answer, err := conn.Do(target.Request(http.MethodGet, path, nil))
		switch {
		case err != nil:
			return fmt.Errorf("GET %s: %w", path, err)
		case status >= 500:
			return &client.StatusError{Method: http.MethodGet, Path: path, Status: status, Description: string(answer)}
		case status == http.StatusNotFound && there:
			f.violate("GET %s: not found, the listing has %s", path, r.name)
		case status == http.StatusNotFound:
		case status != http.StatusOK:
			f.violate("GET %s: status %d", path, status)
		default:
			if got, err := one(answer); err != nil || got != want {
				f.violate("GET %s: %+v (%v), the listing has %+v", path, got, err, want)
			}
		}
	}
	return nil
}

// Settle takes what a verification found as the state from which to go on: the
// unanswered writes it saw have happened, the others never will.
func (m *Model) Settle(f *Findings) {
	for _, w := range m.writers {
		for _, r := range w.records {
			e := f.listed[r.name]
			r.version, r.maybe, r.touched = e.Version, nil, false
			if e.Version != 0 {
				r.uuid = e.UUID
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, c := range m.mu.contests {
		if e, there := f.listed[name]; there {
			c.winners = []string{e.UUID}
		}
		c.unknown, c.refused, c.settled = 0, 0, true
	}
}
