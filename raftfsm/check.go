package raftfsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// maxProblems is how many problems a report lists; the rest is counted.
const maxProblems = 1000

// Report is what Check found in a partition.
type Report struct {
	Partition    entity.Partition
	Applied      uint64
	Keys         uint64
	Applications uint64
	Collections  uint64
	Entities     uint64
	Edges        uint64
	Listed       uint64 // activities in lists
	Tasks        uint64
	Found        uint64    // number of problems
	Problems     []Problem // the first of them
}

// Problem is something in a partition that contradicts something else in it.
type Problem struct {
	Key  []byte
	What string
}

// String names the key and what is wrong with it.
func (p Problem) String() string { return fmt.Sprintf("key %x: %s", p.Key, p.What) }

// Check reads a whole partition and verifies that its parts agree: every entity
// has exactly its index entries and every entry its entity, counters, statistics and
// bitmaps count what is there, credentials have owners, the buckets of a counter come to
// the same in every resolution, the registry's links and
// routes lead to records and back, edges are listed at both ends, counted and marked,
// and end where entities are or a task removes them, so do lists of activities, which
// say the same of an activity as is said with it, open deliveries have their place and
// are counted, and every task has its place in the queue and no other. An error says that
// reading was not possible; what is wrong with what was read is in the report.
func Check(ctx context.Context, v *storage.View) (Report, error) {
	c := checker{
		view: v, collections: make(map[collectionKey]*census), seed: maphash.MakeSeed(), gone: make(map[appEnd]struct{}),
	}
	c.report.Partition = v.Partition()
	if err := c.walk(ctx); err != nil {
		return Report{}, fmt.Errorf("partition %d: check: %w", v.Partition(), err)
	}
	return c.report, nil
}

type collectionKey struct {
	app entity.AppID
	id  entity.CollectionID
}

// census is what was met of a collection.
type census struct {
	*collection      // as its dictionary, settings and counters have it
	known, met  bool // in the dictionary; has counters
	entities    uint64
	generations map[uint32]uint64 // entities of them
	highest     entity.Seq        // the highest seq or rev
	uses        []uses            // by number of the property, less one
	sums        map[byte]*sum     // by kind of index
}

// uses counts the entities that have values of a property.
type uses struct{ with, several uint64 }

// Number implements index.Properties. It gives no number.
func (n *census) Number(path []byte) (entity.PropertyID, error) {
	if id, ok := n.Known(string(path)); ok {
		return id, nil
	}
	return 0, fault.New(fault.Corrupt, "property %s has no number", excerpt(string(path)))
}

type checker struct {
	view        *storage.View
	report      Report
	collections map[collectionKey]*census
	order       []collectionKey
	app         entity.AppID // of the last key
	entries     index.Set
	gone        map[appEnd]struct{} // entities whose edges a task removes
	run         edgeRun
	nextEdge    entity.Seq // of the application of the last key
	counted     counted
	lists       lists
	key, value  []byte
	seed        maphash.Seed
}

func (c *checker) problem(key []byte, format string, args ...any) {
	c.report.Found++
	if len(c.report.Problems) < maxProblems {
		c.report.Problems = append(c.report.Problems, Problem{Key: bytes.Clone(key), What: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) walk(ctx context.Context) error {
	it, err := c.view.Scan(keys.PartitionRange(c.view.Partition()))
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if c.report.Keys++; c.report.Keys%1024 == 0 {
			err = ctx.Err()
		}
		if err == nil {
			if err = c.visit(it.Key(), it.Value()); fault.Is(err, fault.Corrupt) {
				c.problem(it.Key(), "what it leads to cannot be read: %v", err)
				err = nil
			}
		}
	}
	if err == nil {
		err = it.Err()
	}
	if closed := it.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = c.endRun()
	}
	if err != nil {
		return err
	}
	c.endSeries()
	c.compareCounters()
	return c.compareIndexes(ctx)
}

// visit checks one key. An error is one of reading.
func (c *checker) visit(k, v []byte) error {
	if len(k) < 9 {
		c.problem(k, "too short to be a key")
		return nil
	}
	app := entity.AppID(binary.BigEndian.Uint32(k[4:]))
	if app == entity.NoApp {
		if known, err := c.taskKey(k, v); known || err != nil {
			return err
		}
		c.meta(k, v)
		return nil
	}
	if app != c.app {
		c.endSeries()
		c.app = app
		c.report.Applications++
		gone, err := storage.ReadGone(c.view, app)
		if err != nil {
			return err
		}
		if gone {
			c.problem(k, "application %d was purged, and has keys", app)
		}
		if err := c.edgeCounter(); err != nil {
			return err
		}
		if err := c.listsOf(app); err != nil {
			return err
		}
	}
	switch k[8] {
	case keys.KindEntity:
		return c.entity(k, v)
	case keys.KindID:
		return c.id(k, v)
	case keys.KindUnique:
		return c.unique(k, v)
	case keys.KindOrdered, keys.KindComposite, keys.KindWord, keys.KindGeo:
		return c.indexEntry(k, v)
	case keys.KindPresent:
		return c.present(k, v)
	case keys.KindProperty, keys.KindSettings:
		return c.described(k)
	case keys.KindCollection:
		return c.counters(k)
	case keys.KindName:
		return c.name(k, v)
	case keys.KindCredential:
		return c.credential(k, v)
	case keys.KindToken:
		if _, err := entity.DecodeToken(v); err != nil || len(k) != 9+32 {
			c.problem(k, "damaged token record")
		}
		return nil
	case keys.KindGrant:
		return c.grant(k, v)
	case keys.KindDelivery:
		return c.delivery(k, v)
	case keys.KindDue:
		return c.due(k, v)
	case keys.KindLink:
		return c.link(k)
	case keys.KindRoute:
		return c.route(k, v)
	case keys.KindEdgeOut, keys.KindEdgeIn:
		return c.edge(k, v)
	case keys.KindEdge:
		return c.connected(k, v)
	case keys.KindVerb:
		return c.verbCount(k, v)
	case keys.KindCounter:
		return c.sum(k, v)
	case keys.KindCounterName:
		return c.counterName(k, v)
	case keys.KindListed:
		return c.listed(k, v)
	case keys.KindListedIn:
		return c.listedIn(k, v)
	case keys.KindEdges:
		if c.isEdgeCounter(k) {
			return nil
		}
	}
	c.problem(k, "unknown kind %q", k[8])
	return nil
}

// meta checks what belongs to the partition itself.
func (c *checker) meta(k, v []byte) {
	p := c.view.Partition()
	if bytes.Equal(k, keys.AppendApplied(nil, p)) {
		if len(v) != 8 {
			c.problem(k, "damaged applied index")
			return
		}
		c.report.Applied = binary.BigEndian.Uint64(v)
		return
	}
	if _, _, ok := keys.DecodeDedup(k); ok {
		if _, err := command.DecodeRecord(v); err != nil {
			c.problem(k, "%v", err)
		}
		return
	}
	if p == entity.System && bytes.Equal(k, keys.AppendCluster(nil)) {
		if _, err := entity.DecodeCluster(v); err != nil {
			c.problem(k, "%v", err)
		}
		return
	}
	if p == entity.System && bytes.Equal(k, keys.AppendNextApp(nil)) {
		if n, size := binary.Uvarint(v); size != len(v) || n < uint64(entity.FirstApp) {
			c.problem(k, "damaged counter of applications")
		}
		return
	}
	if id, ok := keys.DecodeMember(k); ok && p == entity.System {
		if m, err := entity.DecodeMember(v); err != nil || m.ID != id {
			c.problem(k, "damaged member record of %s", id)
		}
		return
	}
	if p == entity.System && keys.IsNode(k) {
		return
	}
	if at, ok := keys.DecodePlacement(k); ok && p == entity.System {
		if place, err := entity.DecodePlacement(v); err != nil || place.Partition != at {
			c.problem(k, "damaged placement of partition %d", at)
		}
		return
	}
	if p == entity.System && bytes.Equal(k, keys.AppendProtocol(nil)) {
		if _, n := binary.Uvarint(v); n != len(v) {
			c.problem(k, "damaged protocol version")
		}
		return
	}
	c.problem(k, "unknown key of the partition")
}

// of returns the census of a collection.
func (c *checker) of(app entity.AppID, id entity.CollectionID) (*census, error) {
	at := collectionKey{app, id}
	if known := c.collections[at]; known != nil {
		return known, nil
	}
	p := c.view.Partition()
	n := &census{
		collection:  &collection{Collection: index.Collection{Partition: p, App: app, ID: id}, properties: make(map[string]*property)},
		generations: make(map[uint32]uint64), sums: make(map[byte]*sum),
	}
	n.Properties = n
	stored, _, err := storage.ReadCounters(c.view, app, id)
	if err != nil {
		return nil, err
	}
	n.next, n.count, n.older = stored.NextSeq, stored.Count, stored.Older
	if n.settings, err = storage.ReadSettings(c.view, app, id); err != nil {
		return nil, err
	}
	if err = n.readProperties(c.view); err != nil {
		return nil, err
	}
	n.uses = make([]uses, len(n.numbered))
	c.collections[at] = n
	c.order = append(c.order, at)
	return n, nil
}

func (c *checker) get(key []byte) ([]byte, bool, error) {
	v, ok, err := c.view.Get(c.value[:0], key)
	c.value = v
	return v, ok, err
}

func (c *checker) entity(k, v []byte) error {
	id, seq, ok := keys.DecodeEntity(k)
	e, err := entity.DecodeRecord(v)
	if !ok || err != nil {
		c.problem(k, "damaged entity")
		return nil
	}
	c.report.Entities++
	n, err := c.of(c.app, id)
	if err != nil {
		return err
	}
	n.entities++
	n.highest = max(n.highest, e.Seq, e.Rev)
	if e.Seq != seq || e.Rev < seq {
		c.problem(k, "entity %s says it is number %d, revision %d", e.ID, e.Seq, e.Rev)
		return nil
	}
	n.generations[e.Generation]++
	if err := c.build(n, &e); err != nil {
		c.problem(k, "entity %s: %v", e.ID, err)
	}
	entries := c.entries.Entries()
	for i := range entries {
		want := &entries[i]
		if !want.Claims() {
			n.sum(want.Key[8]).wanted += c.fingerprint(want.Key, want.Value)
			continue
		}
		got, ok, err := c.get(want.Key)
		if err != nil {
			return err
		}
		c.compare(k, &e, want, got, ok)
	}
	for _, u := range c.entries.Uses() {
		n.sum(keys.KindPresent).wanted += c.fingerprintOf(u.Property, seq)
		counted := &n.uses[u.Property-1]
		if counted.with++; u.Several {
			counted.several++
		}
	}
	return c.marks(k, id, &e)
}

// build makes c.entries those that an entity has.
func (c *checker) build(n *census, e *entity.Entity) error {
	c.entries.Reset()
	plan, err := n.planOf(e)
	if err == nil {
		err = c.entries.Build(&n.Collection, plan, e)
	}
	return err
}

// compare reports an index entry of an entity that is not there as it should be.
func (c *checker) compare(k []byte, e *entity.Entity, want *index.Entry, got []byte, ok bool) {
	if !ok {
		c.problem(want.Key, "missing: entity %s at %x has this index entry", e.ID, k)
	} else if !bytes.Equal(got, want.Value) {
		c.problem(want.Key, "leads to %x, and not to entity %s", got, e.ID)
	}
}

func (c *checker) id(k, v []byte) error {
	collection, id, ok := keys.DecodeID(k)
	seq, valid := keys.DecodeSeq(v)
	if !ok || !valid {
		c.problem(k, "damaged id key")
		return nil
	}
	_, err := c.leads(k, collection, seq, id)
	return err
}

// leads returns the entity that an index entry leads to; nil if it is not there,
// which is reported.
func (c *checker) leads(k []byte, collection entity.CollectionID, seq entity.Seq, id entity.ID) (*entity.Entity, error) {
	c.key = keys.AppendEntity(c.key[:0], c.view.Partition(), c.app, collection, seq)
	raw, ok, err := c.get(c.key)
	if err != nil {
		return nil, err
	}
	if !ok {
		c.problem(k, "leads to entity %s, number %d, which does not exist", id, seq)
		return nil, nil
	}
	e, err := entity.DecodeRecord(raw)
	if err != nil || e.ID != id {
		c.problem(k, "leads to number %d, which is not entity %s", seq, id)
		return nil, nil
	}
	return &e, nil
}

func (c *checker) unique(k, v []byte) error {
	collection, _, _, ok := keys.DecodeUnique(k)
	seq, id, valid := keys.DecodeUniqueValue(v)
	if !ok || !valid {
		c.problem(k, "damaged unique key")
		return nil
	}
	e, err := c.leads(k, collection, seq, id)
	if err != nil || e == nil {
		return err
	}
	n, err := c.of(c.app, collection)
	if err != nil {
		return err
	}
	_ = c.build(n, e) // reported with the entity
	if !c.entries.Has(k) {
		c.problem(k, "entity %s does not have this unique value", id)
	}
	return nil
}

// counters notes that a collection has counters; what they say is read when
// its name is met.
func (c *checker) counters(k []byte) error {
	if len(k) != 9+4 {
		c.problem(k, "damaged key of counters")
		return nil
	}
	n, err := c.of(c.app, entity.CollectionID(binary.BigEndian.Uint32(k[9:])))
	if err == nil {
		c.report.Collections++
		n.met = true
	}
	return err
}

// name checks a dictionary entry. The numbers of a dictionary are different
// and lie below its counter; there are few names, so the counter is read for
// each.
func (c *checker) name(k, v []byte) error {
	owner, name, ok := keys.DecodeName(k)
	if !ok {
		c.problem(k, "damaged name")
		return nil
	}
	number, err := decodeNumber(c.app, owner, name, v)
	if err != nil {
		c.problem(k, "%v", err)
		return nil
	}
	if name == "" {
		return nil
	}
	c.key = keys.AppendName(c.key[:0], c.view.Partition(), c.app, owner, "")
	raw, ok, err := c.get(c.key)
	if err != nil {
		return err
	}
	if next, err := decodeNumber(c.app, owner, "", raw); !ok || err != nil || number >= next {
		c.problem(k, "%q has number %d, which its dictionary has not given", name, number)
	}
	if owner != 0 {
		return nil
	}
	n, err := c.of(c.app, entity.CollectionID(number))
	if err != nil {
		return err
	}
	if n.known {
		c.problem(k, "%q has number %d, which is another's", name, number)
	}
	n.known = true
	return nil
}

// compareCounters checks what is known once everything was met.
func (c *checker) compareCounters() {
	for _, at := range c.order {
		n := c.collections[at]
		key := keys.AppendCollection(nil, c.view.Partition(), at.app, at.id)
		switch {
		case !n.met:
			c.problem(key, "collection %d of application %d has no counters", at.id, at.app)
			continue
		case !n.known:
			c.problem(key, "collection %d of application %d has no name", at.id, at.app)
			continue
		}
		if n.count != n.entities {
			c.problem(key, "counts %d entities; there are %d", n.count, n.entities)
		}
		if n.next <= n.highest {
			c.problem(key, "next number is %d, and %d was given", n.next, n.highest)
		}
	}
}
