package history

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/trellisdb/trellis/bench/client"
)

const (
	awayFor     = 3 * time.Second // after which a client tries the node it belongs to again
	shortestNap = 10 * time.Millisecond
	longestNap  = 40 * time.Millisecond // between attempts: a Retry-After of a second would hide how long an outage is
)

// session is one client: it belongs to a node, stays with it while that
// answers, and is with another after a failed connection until it tries again.
type session struct {
	r    *Recorder
	id   int
	rng  *rand.Rand
	next uint64 // number of its last write

	conn      *client.Conn
	node      int
	awaySince time.Time

	ops      []Op
	stale    []StaleRead
	acks     []Ack
	wrong    []string
	odd      []string
	uncaught int
}

func newSession(r *Recorder, id int) *session {
	s := &session{r: r, id: id, rng: rand.New(rand.NewPCG(r.cfg.Seed, uint64(id)))}
	s.attach(s.home())
	return s
}

// home is the node the client belongs to.
func (s *session) home() int { return s.id % len(s.r.cfg.Nodes) }

func (s *session) attach(node int) {
	if s.conn != nil {
		_ = s.conn.Close() // nothing is pending on it
	}
	s.node = node
	s.conn = client.NewConn(s.r.cfg.Nodes[node], s.r.cfg.Attempt)
	s.conn.Watch("X-Trellis-Staleness-Ms")
}

// move leaves a node that does not answer.
func (s *session) move() {
	if n := len(s.r.cfg.Nodes); n > 1 {
		s.attach((s.node + 1 + s.rng.IntN(n-1)) % n)
		s.awaySince = time.Now()
	}
}

func (s *session) run(ctx context.Context) {
	defer func() { _ = s.conn.Close() }() // nothing is pending on it
	for n := 0; ctx.Err() == nil && (s.r.cfg.Operations == 0 || n < s.r.cfg.Operations); n++ {
		if s.node != s.home() && time.Since(s.awaySince) > awayFor {
			s.attach(s.home())
		}
		s.operate(ctx)
		if s.r.cfg.Think > 0 {
			s.pause(ctx, time.Duration(s.rng.Int64N(int64(s.r.cfg.Think))))
		}
	}
}

// operate draws one operation and performs it.
func (s *session) operate(ctx context.Context) {
	m := s.r.cfg.Mix
	k := s.r.keys.pick(s.rng)
	dice := s.rng.IntN(m.Read + m.Create + m.Update + m.Delete + m.Walk + m.Stale)
	for _, choice := range []struct {
		weight int
		do     func()
	}{
		{m.Read, func() { s.read(ctx, k) }},
		{m.Create, func() { s.write(ctx, k, Create) }},
		{m.Update, func() { s.write(ctx, k, Update) }},
		{m.Delete, func() { s.write(ctx, k, Delete) }},
		{m.Walk, func() { s.walk(ctx, k.app) }},
		{m.Stale, func() { s.readStale(ctx, k) }},
	} {
		if dice < choice.weight {
			choice.do()
			return
		}
		dice -= choice.weight
	}
}

func (s *session) violate(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// target is an application at the node the client is with.
func (s *session) target(app int) client.Target {
	return s.r.cfg.Apps[app].At(s.r.cfg.Nodes[s.node])
}

func (s *session) path(k *key, addressed bool) string {
	t := s.r.cfg.Apps[k.app]
	if addressed {
		return t.Path(s.r.cfg.Collection, k.name)
	}
	return t.Path(s.r.cfg.Collection)
}

// sleep waits a little between attempts.
func (s *session) sleep(ctx context.Context) {
	s.pause(ctx, shortestNap+time.Duration(s.rng.Int64N(int64(longestNap-shortestNap))))
}

func (s *session) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// reply is what came of one request.
type reply struct {
	status int // 0 is no answer
	body   []byte
	sent   bool // a byte may have reached the server
}

// ask sends one request. After a failure the client is with another node.
func (s *session) ask(request []byte) reply {
	status, body, err := s.conn.Do(request)
	switch {
	case errors.Is(err, client.ErrNotSent):
		s.move()
		return reply{}
	case err != nil:
		s.move()
		return reply{sent: true}
	case status >= 500 && status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout:
		s.uncaught++
		if len(s.odd) < mostOdd {
			s.odd = append(s.odd, fmt.Sprintf("%.60q: status %d: %.200q", request, status, body))
		}
	}
	return reply{status: status, body: body, sent: true}
}

// tryAgain tells an answer after which the outcome is not known, or that asks
// to come back later.
func (r reply) tryAgain() bool {
	return r.status == 0 || r.status >= 500 || r.status == http.StatusTooManyRequests
}

// absent tells an answer that says that the entity is not there.
func (r reply) absent() bool {
	c := code(r.body)
	return r.status == http.StatusNotFound && !strings.HasPrefix(c, "organization") && !strings.HasPrefix(c, "application")
}

// taken tells an answer that says that the name is taken.
func (r reply) taken() bool {
	return r.status == http.StatusBadRequest && code(r.body) == "duplicate_unique_property_exists"
}

// write performs a write: it is sent again under its key until it is answered.
func (s *session) write(ctx context.Context, k *key, kind Kind) {
	s.next++
	op := Op{Client: s.id, Key: k.String(), Kind: kind, Outcome: Unknown, Call: s.r.Now()}
	method, addressed, body := http.MethodPost, kind != Create, []byte(nil)
	switch kind {
	case Update:
		method = http.MethodPut
	case Delete:
		method = http.MethodDelete
	}
	if kind != Delete {
		op.Value = uint64(s.id)<<clientShift | s.next
		body = compose(k.name, op.Value)
	}
	header := fmt.Sprintf("Idempotency-Key: %x-%d-%d", s.r.cfg.Seed, s.id, s.next)
	for deadline := op.Call + s.r.cfg.GiveUp; ; {
		op.Node = s.node
		answer := s.ask(s.target(k.app).Request(method, s.path(k, addressed), body, header))
		op.Return = s.r.Now()
		if answer.sent {
			op.Attempts++
		}
		if !answer.tryAgain() {
			s.settle(&op, k, answer)
			break
		}
		if ctx.Err() != nil || op.Return > deadline {
			break
		}
		s.sleep(ctx)
	}
	if op.Attempts == 0 {
		return // never sent: it has no effect
	}
	if op.Outcome == Unknown {
		s.r.keys.doubt(k)
	}
	s.ops = append(s.ops, op)
}

// settle takes over the answer to a write.
func (s *session) settle(op *Op, k *key, answer reply) {
	switch {
	case answer.status/100 == 2:
		s.acks = append(s.acks, Ack{At: op.Return, App: k.app, Node: op.Node})
		op.Outcome = Done
		e, err := one(answer.body, k.name)
		switch {
		case op.Attempts > 1:
			// The answer to a retry has the entity as it is by now, or next to nothing of one that is gone.
			if op.Kind == Delete {
				op.Value = Something
			}
		case err != nil:
			s.violate("%s of %s: %v", op.Kind, op.Key, err)
		case op.Kind == Delete:
			op.Value = e.Value
		case e.Value != op.Value:
			s.violate("%s of %s to %s: the answer has %s", op.Kind, op.Key, valueText(op.Value), valueText(e.Value))
		}
	case op.Kind == Create && answer.taken(), op.Kind == Delete && answer.absent():
		op.Outcome = Refused
	default:
		s.violate("%s of %s was refused with %d: %.200q", op.Kind, op.Key, answer.status, answer.body)
	}
}

// see reads what an answer to a GET by name shows. ok is false if it shows
// nothing.
func (s *session) see(k *key, answer reply) (value uint64, ok bool) {
	switch {
	case answer.tryAgain():
		return Absent, false
	case answer.absent():
		return Absent, true
	case answer.status != http.StatusOK:
		s.violate("read of %s was refused with %d: %.200q", k, answer.status, answer.body)
		return Absent, false
	}
	e, err := one(answer.body, k.name)
	if err != nil {
		s.violate("read of %s: %v", k, err)
		return Absent, false
	}
	return e.Value, true
}

// read performs one GET. A read without an answer says nothing.
func (s *session) read(ctx context.Context, k *key) {
	op := Op{Client: s.id, Node: s.node, Key: k.String(), Kind: Read, Attempts: 1, Call: s.r.Now()}
	answer := s.ask(s.target(k.app).Request(http.MethodGet, s.path(k, true), nil))
	op.Return = s.r.Now()
	var ok bool
	if op.Value, ok = s.see(k, answer); ok {
		s.ops = append(s.ops, op)
	} else {
		s.sleep(ctx)
	}
}

// readStale performs one GET that need not be up to date.
func (s *session) readStale(ctx context.Context, k *key) {
	r := StaleRead{Op: Op{Client: s.id, Node: s.node, Key: k.String(), Kind: Read, Attempts: 1, Call: s.r.Now()}, Place: s.r.cfg.Nodes[s.node]}
	conn := s.conn
	answer := s.ask(s.target(k.app).Request(http.MethodGet, s.path(k, true), nil, "X-Trellis-Consistency: stale"))
	r.Return = s.r.Now()
	var ok bool
	if r.Value, ok = s.see(k, answer); !ok {
		s.sleep(ctx)
		return
	}
	if ms, err := strconv.ParseInt(conn.Watched(), 10, 64); err == nil {
		r.Age, r.Aged = time.Duration(ms)*time.Millisecond, true
	}
	s.stale = append(s.stale, r)
}
