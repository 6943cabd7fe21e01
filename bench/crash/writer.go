package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/trellisdb/trellis/bench/client"
)

const writeTimeout = 10 * time.Second

// writer writes one request after the other and keeps what came of them.
type writer struct {
	model   *Model
	number  int
	rng     *rand.Rand
	records []*record
	next    int // number of the next new name

	// During a run:
	target client.Target
	conn   *client.Conn
	round  int
	frozen map[*record]bool // unanswered: left alone until verified
	counts Counts
}

func newWriter(m *Model, number int) *writer {
	return &writer{model: m, number: number, rng: rand.New(rand.NewPCG(m.seed, uint64(number)))}
}

// Write lets all writers run until ctx ends or the server is gone, and waits
// for them.
func (m *Model) Write(ctx context.Context, target client.Target, round int) Counts {
	var done sync.WaitGroup
	for _, w := range m.writers {
		w.target, w.round, w.frozen, w.counts = target, round, make(map[*record]bool), Counts{}
		w.conn = client.NewConn(target.Addr, writeTimeout)
		done.Go(func() {
			defer w.conn.Close() //nolint:errcheck // nothing is pending on it
			for ctx.Err() == nil && w.step() {
			}
		})
	}
	done.Wait()
	var total Counts
	for _, w := range m.writers {
		total.Add(w.counts)
	}
	return total
}

// verdict is what one request came to.
type verdict int

const (
	acknowledged verdict = iota
	refused              // answered with a 4xx: it has no effect
	unknown              // no answer, or a 5xx
	gone                 // never sent: the server is not there
)

// send sends one request.
func (w *writer) send(method, path string, body any) (verdict, int, []byte) {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			panic(fmt.Sprintf("marshal %T: %v", body, err)) // plain structs always marshal
		}
	}
	status, answer, err := w.conn.Do(w.target.Request(method, path, encoded))
	switch {
	case errors.Is(err, client.ErrNotSent):
		return gone, 0, nil
	case err != nil:
		w.counts.Unanswered++
		return unknown, 0, nil
	case status/100 == 2:
		w.counts.Acknowledged++
		return acknowledged, status, answer
	case status >= 500:
		w.counts.Unanswered++
		w.counts.Unavailable++
		return unknown, status, answer
	}
	return refused, status, answer
}

// step performs one random write; false means that the server is gone.
func (w *writer) step() bool {
	switch dice := w.rng.IntN(100); {
	case dice < 45:
		return w.create([]*record{w.fresh()})
	case dice < 55:
		batch := make([]*record, 2+w.rng.IntN(6))
		for i := range batch {
			batch[i] = w.fresh()
		}
		return w.create(batch)
	case dice < 75:
		return w.put(w.pick())
	case dice < 88:
		return w.remove(w.pick())
	case dice < 93:
		return w.revive(w.pick())
	default:
		return w.contend()
	}
}

// fresh makes a record of a name nobody has used.
func (w *writer) fresh() *record {
	w.next++
	r := &record{name: fmt.Sprintf("w%d-%d", w.number, w.next)}
	w.records = append(w.records, r)
	return r
}

// pick finds a record that is not frozen, new ones more often than old ones.
func (w *writer) pick() *record {
	for range 8 {
		n := len(w.records)
		if n == 0 {
			break
		}
		if recent := 200; n > recent && w.rng.IntN(2) == 0 {
			n = recent
		}
		if r := w.records[len(w.records)-1-w.rng.IntN(n)]; !w.frozen[r] {
			return r
		}
	}
	return w.fresh()
}

// settle takes over the verdict of a write that brings a record to a version.
func (w *writer) settle(r *record, v verdict, version uint64) {
	r.touched = true
	switch v {
	case acknowledged:
		r.version = version
	case unknown:
		r.maybe = append(r.maybe, version)
		w.frozen[r] = true
	}
}

// unexpected notes a refusal of a write that nothing speaks against.
func (w *writer) unexpected(what string, status int, answer []byte) {
	if status == http.StatusTooManyRequests {
		w.counts.Refused++
		return
	}
	w.model.violate("%s was refused with %d: %.200q", what, status, answer)
}

// create posts absent records, one as an object, several as an array.
func (w *writer) create(batch []*record) bool {
	bodies := make([]stored, len(batch))
	for i, r := range batch {
		bodies[i] = compose(r.name, w.version(r))
	}
	var body any = bodies
	if len(batch) == 1 {
		body = bodies[0]
	}
	v, status, answer := w.send(http.MethodPost, w.target.Path(w.model.Collection), body)
	for i, r := range batch {
		w.settle(r, v, bodies[i].Version)
	}
	switch v {
	case refused:
		w.unexpected("create "+batch[0].name, status, answer)
	case acknowledged:
		made, err := several(answer)
		if err == nil && len(made) != len(batch) {
			err = fmt.Errorf("%d entities made of %d: %.300q", len(made), len(batch), answer)
		}
		if err != nil {
			w.model.violate("create %s: %v", batch[0].name, err)
			return true
		}
		for i, e := range made {
			if e.Name != batch[i].name || e.Version != bodies[i].Version {
				w.model.violate("create %s: the answer is %s version %d", batch[i].name, e.Name, e.Version)
			}
			batch[i].uuid = e.UUID
		}
	}
	return v != gone
}

// version is the next version of a record: greater than any it had.
func (w *writer) version(r *record) uint64 {
	r.last += uint64(w.rng.IntN(3)) + 1
	return r.last
}

// address is the name of a record or, half of the time, its uuid if that is
// known and in use.
func (w *writer) address(r *record) string {
	if r.version != 0 && r.uuid != "" && w.rng.IntN(2) == 0 {
		return r.uuid
	}
	return r.name
}

// put updates a record, or creates it under its name if it is absent.
func (w *writer) put(r *record) bool {
	next := compose(r.name, w.version(r))
	v, status, answer := w.send(http.MethodPut, w.target.Path(w.model.Collection, w.address(r)), next)
	existed := r.version != 0
	w.settle(r, v, next.Version)
	switch v {
	case refused:
		w.unexpected("put "+r.name, status, answer)
	case acknowledged:
		e, err := one(answer)
		switch {
		case err != nil:
			w.model.violate("put %s: %v", r.name, err)
		case e.Name != r.name || e.Version != next.Version:
			w.model.violate("put %s version %d: the answer is %s version %d", r.name, next.Version, e.Name, e.Version)
		case existed && r.uuid != "" && e.UUID != r.uuid:
			w.model.violate("put %s: its uuid was %s and is %s", r.name, r.uuid, e.UUID)
		default:
			r.uuid = e.UUID
		}
	}
	return v != gone
}

// remove deletes a record. One that is absent must be refused with 404.
func (w *writer) remove(r *record) bool {
	v, status, answer := w.send(http.MethodDelete, w.target.Path(w.model.Collection, w.address(r)), nil)
	existed := r.version != 0
	w.settle(r, v, 0)
	switch {
	case v == refused && existed:
		w.unexpected("delete "+r.name, status, answer)
	case v == refused && status == http.StatusNotFound:
		w.counts.Refused++
	case v == refused:
		w.unexpected("delete of the absent "+r.name, status, answer)
	case v == acknowledged && !existed:
		w.model.violate("delete of the absent %s was acknowledged", r.name)
	}
	return v != gone
}

// revive creates a record again if it was deleted, and tries to create it a
// second time, which must be refused, if it was not.
func (w *writer) revive(r *record) bool {
	if r.version == 0 {
		return w.create([]*record{r})
	}
	twin := compose(r.name, w.version(r))
	v, status, answer := w.send(http.MethodPost, w.target.Path(w.model.Collection), twin)
	switch v {
	case acknowledged:
		w.model.violate("create of the taken name %s was acknowledged: %.200q", r.name, answer)
	case refused:
		if status != http.StatusBadRequest {
			w.unexpected("create of the taken "+r.name, status, answer)
		} else {
			w.counts.Refused++
		}
	}
	return v != gone
}

// contend races the other writers for a shared name.
func (w *writer) contend() bool {
	const names = 40
	name := fmt.Sprintf("shared-%d-%d", w.round, w.rng.IntN(names))
	v, status, answer := w.send(http.MethodPost, w.target.Path(w.model.Collection), compose(name, uint64(w.number)+1))
	m := w.model
	var winner string
	if v == acknowledged {
		e, err := one(answer)
		if err != nil || e.Name != name || e.Version != uint64(w.number)+1 {
			m.violate("create %s: the answer is %+v, %v", name, e, err)
		}
		winner = e.UUID
	}
	if v == refused && status != http.StatusBadRequest {
		w.unexpected("create "+name, status, answer)
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.contestFor(name)
	switch v {
	case acknowledged:
		c.winners = append(c.winners, winner)
	case unknown:
		c.unknown++
	case refused:
		c.refused++
		w.counts.Refused++
	}
	return v != gone
}
