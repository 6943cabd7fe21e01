package raftfsm

import (
	"bytes"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// edgeRun is a run of keys that list the edges of one verb at one end.
type edgeRun struct {
	direction byte
	app       entity.AppID
	near      entity.End
	verb      entity.VerbID
	edges     uint64
}

// appEnd is an entity of an application.
type appEnd struct {
	app entity.AppID
	end entity.End
}

// dropping notes which entities are gone and leave edges to a task.
func (c *checker) dropping(k []byte, t *entity.Task) {
	ends, err := command.DecodeEnds(t.Body)
	if err != nil {
		c.problem(k, "task %s: %v", t.ID, err)
	}
	for _, end := range ends {
		c.gone[appEnd{t.App, end}] = struct{}{}
	}
}

// edge checks a key that lists an edge at one of its ends. Tasks come before all
// applications, so it is known which entities may be gone.
func (c *checker) edge(k, v []byte) error {
	direction, near, verb, eseq, far, ok := keys.DecodeEdge(k)
	if !ok || len(v) != 0 {
		c.problem(k, "damaged edge")
		return nil
	}
	if err := c.countEdge(k, direction, near, verb); err != nil {
		return err
	}
	p, source, target, other := c.view.Partition(), near, far, keys.Inbound
	if direction == keys.Inbound {
		source, target, other = far, near, keys.Outbound
	}
	if direction == keys.Outbound {
		c.report.Edges++
		if eseq >= c.nextEdge {
			c.problem(k, "edge has number %d, which was not given", eseq)
		}
	}
	at, connected, err := storage.Connected(c.view, c.app, source, verb, target)
	if err != nil {
		return err
	}
	if !connected || at != eseq {
		c.problem(k, "lists edge %d, and the ends are connected by %d", eseq, at)
	}
	c.key = keys.AppendEdge(c.key[:0], p, c.app, other, far, verb, eseq, near)
	if _, ok, err := c.get(c.key); err != nil {
		return err
	} else if !ok {
		c.problem(c.key, "missing: an edge at %x is listed at its other end", k)
	}
	return nil
}

// countEdge takes an edge into the run it belongs to.
func (c *checker) countEdge(k []byte, direction byte, near entity.End, verb entity.VerbID) error {
	r := &c.run
	if r.edges > 0 && r.direction == direction && r.app == c.app && r.near == near && r.verb == verb {
		r.edges++
		return nil
	}
	if err := c.endRun(); err != nil {
		return err
	}
	newcomer := r.direction != direction || r.app != c.app || r.near != near
	*r = edgeRun{direction: direction, app: c.app, near: near, verb: verb, edges: 1}
	if !newcomer {
		return nil
	}
	e, ok, err := storage.ReadEntity(c.view, c.app, near.Collection, near.Seq)
	if err != nil {
		return err
	}
	_, dropping := c.gone[appEnd{c.app, near}]
	switch {
	case !ok && !dropping:
		c.problem(k, "an edge of entity %d of collection %d, which does not exist", near.Seq, near.Collection)
	case ok && dropping:
		c.problem(k, "a task removes the edges of entity %s, which exists", e.ID)
	case ok && direction == keys.Outbound && !e.HasOut, ok && direction == keys.Inbound && !e.HasIn:
		c.problem(k, "entity %s does not say that it has edges", e.ID)
	}
	return nil
}

// endRun compares the run that has ended with its count.
func (c *checker) endRun() error {
	r := c.run
	c.run.edges = 0
	if r.edges == 0 {
		return nil
	}
	n, err := storage.EdgeCount(c.view, r.app, r.near, r.direction, r.verb)
	if err == nil && n != r.edges {
		c.problem(keys.AppendVerb(nil, c.view.Partition(), r.app, r.near, r.direction, r.verb), "counts %d edges; there are %d", n, r.edges)
	}
	return err
}

// connected checks a key that says which edge connects two ends.
func (c *checker) connected(k, v []byte) error {
	source, verb, target, ok := keys.DecodeConnected(k)
	eseq, valid := keys.DecodeSeq(v)
	if !ok || !valid {
		c.problem(k, "damaged edge")
		return nil
	}
	c.key = keys.AppendEdge(c.key[:0], c.view.Partition(), c.app, keys.Outbound, source, verb, eseq, target)
	_, ok, err := c.get(c.key)
	if err == nil && !ok {
		c.problem(c.key, "missing: edge %d at %x is listed at its source", eseq, k)
	}
	return err
}

// verbCount checks that what is counted is there and bears its name; how many there
// are is compared where they are met.
func (c *checker) verbCount(k, v []byte) error {
	end, direction, verb, ok := keys.DecodeVerb(k)
	_, name, valid := storage.DecodeVerbCount(v)
	if !ok || !valid || direction != keys.Outbound && direction != keys.Inbound {
		c.problem(k, "damaged number of edges")
		return nil
	}
	number, known, err := storage.VerbID(c.view, c.app, string(name))
	if err != nil {
		return err
	}
	if !known || number != verb {
		c.problem(k, "verb %q has number %d, not %d", name, number, verb)
	}
	some, err := c.some(keys.EdgeRange(c.view.Partition(), c.app, direction, end, verb))
	if err == nil && !some {
		c.problem(k, "counts edges, and there are none")
	}
	return err
}

// marks checks what an entity says of its edges, as far as it says that it has some.
func (c *checker) marks(k []byte, collection entity.CollectionID, e *entity.Entity) error {
	end := entity.End{Collection: collection, Seq: e.Seq}
	for _, mark := range [...]struct {
		direction byte
		set       bool
	}{{keys.Outbound, e.HasOut}, {keys.Inbound, e.HasIn}} {
		if !mark.set {
			continue
		}
		some, err := c.some(keys.EdgesRange(c.view.Partition(), c.app, mark.direction, end))
		if err != nil {
			return err
		}
		if !some {
			c.problem(k, "entity %s says that it has edges, and has none in direction %q", e.ID, mark.direction)
		}
	}
	return nil
}

// some reports whether there is a key in [lower, upper).
func (c *checker) some(lower, upper []byte) (bool, error) {
	it, err := c.view.Scan(lower, upper)
	if err != nil {
		return false, err
	}
	some := it.First()
	return some, it.Close()
}

// edgeCounter reads the counter of edges of the application that begins.
func (c *checker) edgeCounter() error {
	c.nextEdge = 1
	c.key = keys.AppendEdges(c.key[:0], c.view.Partition(), c.app)
	raw, ok, err := c.get(c.key)
	if err != nil || !ok {
		return err
	}
	if c.nextEdge, ok = keys.DecodeSeq(raw); !ok {
		c.problem(c.key, "damaged counter of edges")
	}
	return nil
}

// isEdgeCounter reports whether k is the key that edgeCounter has read.
func (c *checker) isEdgeCounter(k []byte) bool {
	c.key = keys.AppendEdges(c.key[:0], c.view.Partition(), c.app)
	return bytes.Equal(k, c.key)
}
