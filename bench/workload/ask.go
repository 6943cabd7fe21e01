package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/data"
	"github.com/trellisdb/trellis/bench/load"
)

// Questioner asks queries of shapes. It counts the rows that come back.
type Questioner struct {
	Target  client.Target
	Seed    uint64
	Timeout time.Duration // of one request

	rows atomic.Uint64
}

// Rows is how many rows came back since the last call.
func (q *Questioner) Rows() uint64 { return q.rows.Swap(0) }

// Worker makes a worker that asks queries of a shape. Workers of one shape and
// connection ask the same in every run.
func (q *Questioner) Worker(s *Shape, connection int) load.Worker {
	return q.asker(s, uint64(connection))
}

func (q *Questioner) asker(s *Shape, number uint64) *asker {
	return &asker{of: q, shape: s, conn: client.NewConn(q.Target.Addr, q.Timeout), rng: rand.New(rand.NewPCG(q.Seed, number)),
		root: q.Target.Path(), tail: client.AppendRequest(nil, "", "", q.Target.Addr, q.Target.Token, nil)[1:]}
}

// asker asks queries of one shape.
type asker struct {
	of    *Questioner
	shape *Shape
	conn  *client.Conn
	rng   *rand.Rand
	root  string // path of the application
	tail  []byte // of a request: from the path to the end
	buf   []byte // the request

	asked  question
	path   string // of what is asked
	cursor []byte // of the next page
	rows   int    // of the last answer
	more   bool   // it has a cursor
}

// Do implements load.Worker.
func (a *asker) Do() load.Outcome {
	o, _ := a.ask("")
	a.of.rows.Add(uint64(a.rows))
	return o
}

// Close implements load.Worker.
func (a *asker) Close() error { return a.conn.Close() }

// ask asks for the next page if there is one, else a new question. extra is added
// to the parameters. The answer is lent.
func (a *asker) ask(extra string) (load.Outcome, []byte) {
	next := len(a.cursor) > 0
	if !next {
		a.asked = a.shape.draw(a.rng)
		a.path = a.shape.pathOf(a.asked)
	}
	a.buf = append(append(append(a.buf[:0], "GET "...), a.root...), a.path...)
	if next {
		a.buf = append(append(a.buf, "&cursor="...), a.cursor...)
	}
	a.buf = append(append(a.buf, extra...), a.tail...)
	status, answer, err := a.conn.Do(a.buf)
	a.rows, a.more, a.cursor = 0, false, a.cursor[:0]
	if err != nil || status != http.StatusOK {
		return load.Outcome{Status: status, Err: err}, answer
	}
	if a.shape.Collection == "" {
		return load.Outcome{Status: status}, answer
	}
	a.rows = countEntities(answer)
	cursor := findCursor(answer)
	a.more = len(cursor) > 0
	if a.shape.Pages {
		a.cursor = append(a.cursor, cursor...)
	}
	return load.Outcome{Status: status, Err: a.check(answer, next)}, answer
}

// check says what is wrong with a page: too many rows or too few, or rows that were not asked for.
func (a *asker) check(answer []byte, next bool) error {
	q := &a.asked
	switch {
	case a.shape.limit > 0 && a.rows > a.shape.limit, a.more && a.rows < a.shape.limit:
		return fmt.Errorf("%w: %d rows on a page of %d", errWrong, a.rows, a.shape.limit)
	case !next && a.rows < q.least:
		return fmt.Errorf("%w: %d rows for %s, want at least %d", errWrong, a.rows, a.path, q.least)
	case q.each != "" && bytes.Count(answer, []byte(q.each)) < a.rows:
		return fmt.Errorf("%w: not all of %d rows for %s hold %s", errWrong, a.rows, a.path, q.each)
	}
	return nil
}

// Explained is what the server says of how it answers a shape.
type Explained struct {
	Requests int    `json:"requests"` // that were answered
	Rows     int    `json:"rows"`     // that came back
	Keys     int    `json:"keys"`     // of indexes and of scans, examined for them
	Example  string `json:"example"`  // what one of them asked
	Plan     string `json:"plan"`     // of the first answer
	Refused  string `json:"refused,omitempty"`
}

// KeysPerRow is how many keys were examined for a row. Where no rows came back it is
// what was examined for a page of nothing.
func (e *Explained) KeysPerRow() float64 {
	if e.Rows == 0 {
		return e.KeysPerRequest()
	}
	return float64(e.Keys) / float64(e.Rows)
}

// KeysPerRequest is how many keys were examined for a page.
func (e *Explained) KeysPerRequest() float64 {
	return float64(e.Keys) / float64(max(e.Requests, 1))
}

// Explain asks so many requests of a shape and adds up what the plans of the
// answers say. It ends at the first answer that is refused.
func (q *Questioner) Explain(ctx context.Context, s *Shape, requests int) (Explained, error) {
	var e Explained
	if s.limit == 0 {
		return e, nil // it is no query
	}
	const number = 1 << 32 // of no connection
	a := q.asker(s, number)
	defer a.Close() //nolint:errcheck // nothing is pending on it
	for e.Requests < requests && ctx.Err() == nil {
		o, answer := a.ask("&explain=true")
		if e.Example == "" {
			e.Example = a.asked.ql
		}
		if o.Err != nil {
			return e, fmt.Errorf("explain %s: %w", s.Name, o.Err)
		}
		var reply struct {
			Plan  *Step  `json:"plan"`
			Error string `json:"error"`
		}
		if err := json.Unmarshal(answer, &reply); err != nil {
			return e, fmt.Errorf("explain %s: decode answer: %w", s.Name, err)
		}
		if o.Status != http.StatusOK {
			e.Refused = fmt.Sprintf("%d %s", o.Status, reply.Error)
			break
		}
		if e.Requests++; e.Requests == 1 {
			e.Plan = reply.Plan.String()
		}
		e.Rows += a.rows
		e.Keys += reply.Plan.Keys()
	}
	return e, ctx.Err()
}

// IDs returns the uuids of some records of a collection, drawn at random.
func (q *Questioner) IDs(ctx context.Context, r *data.Records, collection string, entities, n int) ([]string, error) {
	c := client.NewConn(q.Target.Addr, q.Timeout)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	rng := rand.New(rand.NewPCG(q.Seed, uint64(entities)))
	ids := make([]string, 0, n)
	for len(ids) < n && ctx.Err() == nil {
		var page struct {
			Entities []struct {
				UUID string `json:"uuid"`
			} `json:"entities"`
		}
		name := r.Name(rng.Uint64N(uint64(entities)))
		if err := q.Target.Call(c, http.MethodGet, q.Target.Path(collection, name), nil, &page); err != nil {
			return nil, err
		}
		if len(page.Entities) != 1 || len(page.Entities[0].UUID) != idBytes {
			return nil, fmt.Errorf("GET %s of %s: %d entities", name, collection, len(page.Entities))
		}
		ids = append(ids, page.Entities[0].UUID)
	}
	return ids, ctx.Err()
}
