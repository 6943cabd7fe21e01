package history

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/trellisdb/trellis/bench/client"
)

// Listing is a collection as a walk over all its pages showed it, in order.
type Listing []stored

// page is one page of a walk.
type page struct {
	entities []stored
	cursor   string
}

// readPage decodes an answer.
func readPage(answer []byte) (page, error) {
	var envelope client.Page
	if err := json.Unmarshal(answer, &envelope); err != nil {
		return page{}, fmt.Errorf("decode answer: %w", err)
	}
	p := page{cursor: envelope.Cursor}
	for _, raw := range envelope.Entities {
		e, err := parse(raw)
		if err != nil {
			return page{}, err
		}
		p.entities = append(p.entities, e)
	}
	return p, nil
}

// pagePath is the path of a page of an application's collection.
func (r *Recorder) pagePath(app int, cursor string) string {
	path := r.cfg.Apps[app].Path(r.cfg.Collection) + "?limit=" + strconv.Itoa(r.cfg.Page)
	if cursor != "" {
		path += "&cursor=" + url.QueryEscape(cursor)
	}
	return path
}

// repeated lists names and uuids that a walk showed twice. A walk goes from new
// entities to old ones, so one that is made again while it lasts is not met a
// second time.
func (l Listing) repeated() []string {
	var wrong []string
	names, ids := make(map[string]bool), make(map[string]bool)
	for _, e := range l {
		if names[e.Name] {
			wrong = append(wrong, fmt.Sprintf("a walk shows the name %s twice", e.Name))
		} else if ids[e.UUID] {
			wrong = append(wrong, fmt.Sprintf("a walk shows the uuid %s of %s twice", e.UUID, e.Name))
		}
		names[e.Name], ids[e.UUID] = true, true
	}
	return wrong
}

// walk reads all pages. What they show are reads at the time of their page;
// that a key is not shown is a read of the time of the whole walk.
func (s *session) walk(ctx context.Context, app int) {
	names := s.r.keys.inUse(app)
	begin := s.r.Now()
	var all Listing
	for cursor := ""; ; {
		path := s.r.pagePath(app, cursor)
		op := Op{Client: s.id, Node: s.node, Kind: Read, Attempts: 1, Call: s.r.Now()}
		answer := s.ask(s.target(app).Request(http.MethodGet, path, nil))
		op.Return = s.r.Now()
		if answer.tryAgain() {
			s.sleep(ctx)
			return
		}
		if answer.status != http.StatusOK {
			if !(answer.absent() && cursor == "") { // a collection that nobody has written to yet
				s.violate("GET %s was refused with %d: %.200q", path, answer.status, answer.body)
			}
			return
		}
		p, err := readPage(answer.body)
		switch {
		case err != nil:
			s.violate("GET %s: %v", path, err)
			return
		case p.cursor != "" && p.cursor == cursor:
			s.violate("GET %s: the cursor does not move", path)
			return
		}
		for _, e := range p.entities {
			if slices.Contains(names, e.Name) {
				op.Key, op.Value = keyName(app, e.Name), e.Value
				s.ops = append(s.ops, op)
			}
		}
		all = append(all, p.entities...)
		if cursor = p.cursor; cursor == "" {
			break
		}
	}
	s.wrong = append(s.wrong, all.repeated()...)
	end := s.r.Now()
	for _, name := range names {
		if !slices.ContainsFunc(all, func(e stored) bool { return e.Name == name }) {
			s.ops = append(s.ops, Op{Client: s.id, Node: s.node, Key: keyName(app, name), Kind: Read, Value: Absent, Attempts: 1, Call: begin, Return: end})
		}
	}
}

// Verify walks an application's collection through a node, when no client
// works any more, and records what every key holds: an acknowledged write that
// is missing makes the history of its key impossible. The error says that the
// node did not answer; what is wrong goes into the history.
func (r *Recorder) Verify(app, node int) (Listing, error) {
	conn := client.NewConn(r.cfg.Nodes[node], 10*r.cfg.Attempt)
	defer conn.Close() //nolint:errcheck // nothing is pending on it
	target := r.cfg.Apps[app].At(r.cfg.Nodes[node])
	begin := r.Now()
	var all Listing
	err := target.Walk(conn, r.cfg.Collection, r.cfg.Page, func(raw json.RawMessage) error {
		e, err := parse(raw)
		if err != nil {
			r.violate("%s: %v", r.cfg.Nodes[node], err)
			return nil
		}
		all = append(all, e)
		return nil
	})
	if err != nil && client.StatusOf(err) != http.StatusNotFound {
		return nil, fmt.Errorf("walk %s through node %d: %w", r.cfg.Collection, node, err)
	}
	end := r.Now()
	for _, wrong := range all.repeated() {
		r.violate("%s: %s", r.cfg.Nodes[node], wrong)
	}
	counts, err := target.Counts(conn)
	if err != nil {
		return nil, fmt.Errorf("through node %d: %w", node, err)
	}
	if counts[r.cfg.Collection] != len(all) {
		r.violate("node %d counts %d entities in %s, a walk finds %d", node, counts[r.cfg.Collection], r.cfg.Collection, len(all))
	}
	r.record(app, node, all, begin, end)
	return all, nil
}

func (r *Recorder) violate(format string, args ...any) {
	r.history.Wrong = append(r.history.Wrong, fmt.Sprintf(format, args...))
}

// record adds what a walk showed as reads of every key of the application.
func (r *Recorder) record(app, node int, shown Listing, call, answer time.Duration) {
	found := make(map[string]uint64)
	for _, e := range shown {
		found[keyName(app, e.Name)] = e.Value
	}
	used := make(map[string]bool)
	prefix := keyName(app, "")
	for _, o := range r.history.Ops {
		if len(o.Key) > len(prefix) && o.Key[:len(prefix)] == prefix {
			used[o.Key] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		if !used[key] {
			r.violate("node %d shows %s, which nobody used", node, key)
		}
	}
	for key := range used {
		r.history.Ops = append(r.history.Ops, Op{Client: r.cfg.Clients, Node: node, Key: key, Kind: Read, Value: found[key], Attempts: 1, Call: call, Return: answer})
	}
}

// Differences compares what two nodes showed.
func Differences(a, b Listing) []string {
	var all []string
	if len(a) != len(b) {
		all = append(all, fmt.Sprintf("%d entities and %d", len(a), len(b)))
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			all = append(all, fmt.Sprintf("at position %d: %s %s (%s) and %s %s (%s)", i,
				a[i].Name, valueText(a[i].Value), a[i].UUID, b[i].Name, valueText(b[i].Value), b[i].UUID))
			break
		}
	}
	return all
}
