package query

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/query/cursor"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/storagetest"
)

const (
	testPartition entity.Partition = 1
	testApp       entity.AppID     = 20
)

// world is a store with collections and connections, and what the tests know of it.
type world struct {
	t      testing.TB
	state  *storage.State
	engine *Engine
	kinds  map[entity.CollectionID]*kind
	eseq   entity.Seq
	links  []link
}

// kind is a collection of the world.
type kind struct {
	w    *world
	id   entity.CollectionID
	name string
	typ  string
	next entity.Seq
	docs map[entity.Seq]*doc
}

// doc is an entity of the world.
type doc struct {
	entity.Entity
	kind *kind
}

// link is a connection of the world.
type link struct {
	near entity.End
	verb entity.VerbID
	far  entity.End
	eseq entity.Seq
}

func newWorld(t testing.TB) *world {
	cfg := DefaultConfig()
	cfg.CursorKey = cursor.Key{7}
	return &world{t: t, state: storagetest.Open(t, storagetest.NewDisk()).State(), engine: New(cfg), kinds: map[entity.CollectionID]*kind{}}
}

// kind adds a collection.
func (w *world) kind(name, typ string) *kind {
	k := &kind{w: w, id: entity.CollectionID(len(w.kinds) + 1), name: name, typ: typ, next: 1, docs: map[entity.Seq]*doc{}}
	w.kinds[k.id] = k
	w.commit(func(b *storage.Batch) {
		b.Set(keys.AppendName(nil, testPartition, testApp, 0, name), binary.AppendUvarint(nil, uint64(k.id)))
		k.putCounters(b)
	})
	return k
}

func (w *world) commit(change func(b *storage.Batch)) {
	w.t.Helper()
	b := w.state.NewBatch(testPartition)
	change(b)
	if err := b.Commit(); err != nil {
		w.t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (k *kind) putCounters(b *storage.Batch) {
	b.Set(keys.AppendCollection(nil, testPartition, testApp, k.id),
		storage.AppendCollection(nil, &storage.Collection{NextSeq: k.next, Count: uint64(len(k.docs))}))
}

func (k *kind) end(d *doc) entity.End { return entity.End{Collection: k.id, Seq: d.Seq} }

// add creates an entity.
func (k *kind) add(b *storage.Batch, id entity.ID, created, modified int64, text string) *doc {
	d := &doc{kind: k, Entity: entity.Entity{ID: id, Created: created, Modified: modified, Seq: k.next, Rev: k.next, JSON: []byte(text)}}
	k.next++
	k.docs[d.Seq] = d
	k.write(b, d)
	b.Set(keys.AppendID(nil, testPartition, testApp, k.id, d.ID), keys.AppendSeq(nil, d.Seq))
	if name := nameOf(d); name != "" {
		b.Set(keys.AppendUnique(nil, testPartition, testApp, k.id, 1, name), keys.AppendUniqueValue(nil, d.Seq, d.ID))
		b.Set(keys.AppendName(nil, testPartition, testApp, k.id, "name"), binary.AppendUvarint(nil, 1))
	}
	k.putCounters(b)
	return d
}

// change gives an entity another content.
func (k *kind) change(b *storage.Batch, d *doc, modified int64, text string) {
	if was := nameOf(d); was != "" {
		b.Delete(keys.AppendUnique(nil, testPartition, testApp, k.id, 1, was))
	}
	d.JSON, d.Modified, d.Rev = []byte(text), modified, k.next
	k.next++
	k.write(b, d)
	k.putCounters(b)
}

// remove deletes an entity. Edges to it are left to dangle.
func (k *kind) remove(b *storage.Batch, d *doc) {
	delete(k.docs, d.Seq)
	b.Delete(keys.AppendEntity(nil, testPartition, testApp, k.id, d.Seq))
	b.Delete(keys.AppendID(nil, testPartition, testApp, k.id, d.ID))
	k.putCounters(b)
}

func (k *kind) write(b *storage.Batch, d *doc) {
	b.Set(keys.AppendEntity(nil, testPartition, testApp, k.id, d.Seq), entity.AppendRecord(nil, &d.Entity))
}

func nameOf(d *doc) string {
	var has struct{ Name string }
	_ = json.Unmarshal(d.JSON, &has)
	return has.Name
}

// connect adds an edge, or moves it to the front.
func (w *world) connect(b *storage.Batch, near entity.End, verb entity.VerbID, far entity.End) {
	for i, l := range w.links {
		if l.near == near && l.verb == verb && l.far == far {
			b.Delete(keys.AppendEdge(nil, testPartition, testApp, keys.Outbound, near, verb, l.eseq, far))
			b.Delete(keys.AppendEdge(nil, testPartition, testApp, keys.Inbound, far, verb, l.eseq, near))
			w.links = append(w.links[:i], w.links[i+1:]...)
			break
		}
	}
	w.eseq++
	w.links = append(w.links, link{near: near, verb: verb, far: far, eseq: w.eseq})
	b.Set(keys.AppendEdge(nil, testPartition, testApp, keys.Outbound, near, verb, w.eseq, far), nil)
	b.Set(keys.AppendEdge(nil, testPartition, testApp, keys.Inbound, far, verb, w.eseq, near), nil)
	b.Set(keys.AppendConnected(nil, testPartition, testApp, near, verb, far), keys.AppendSeq(nil, w.eseq))
}

func (w *world) collection(c entity.CollectionID) (Collection, bool) {
	k := w.kinds[c]
	if k == nil {
		return Collection{}, false
	}
	return k.source(), true
}

func (k *kind) source() Collection { return Collection{ID: k.id, Name: k.name, Type: k.typ} }

// page runs a request on the world as it is.
func (w *world) page(req *Request) (*Page, error) {
	w.t.Helper()
	req.App = testApp
	v := w.state.View(testPartition)
	page, err := w.engine.Run(context.Background(), v, req)
	if closed := v.Close(); closed != nil {
		w.t.Fatal(closed)
	}
	return page, err
}

func (k *kind) request(text string, limit int) (*Request, error) {
	q, err := ql.Parse(text)
	return &Request{From: k.source(), Query: q, Limit: limit}, err
}

// must parses a query that is right.
func must(t testing.TB, text string) *ql.Query {
	t.Helper()
	q, err := ql.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return q
}

func names(rows []Row) string {
	list := make([]string, 0, len(rows))
	for i := range rows {
		list = append(list, nameOf(&doc{Entity: rows[i].Entity}))
	}
	return strings.Join(list, ", ")
}

// books are those of the worked examples.
func books(t testing.TB) *kind {
	k := newWorld(t).kind("books", "book")
	id := func(n int) string { return fmt.Sprintf("0a%02x0000-5e11-11e7-8000-0242ac110002", n) }
	k.w.commit(func(b *storage.Batch) {
		for i, text := range []string{
			`"title":"A Tale of Two Cities","author":"Dickens","year":1859,"price":12.5,"stock":true,"tags":["classic","London"],"pub":{"city":"London","house":"Chapman"},"location":{"latitude":51.5074,"longitude":-0.1278}`,
			`"title":"Tales of the City","author":"Maupin","year":1978,"price":9,"stock":false,"tags":["san francisco"],"pub":{"city":"San Francisco"},"location":{"latitude":37.7749,"longitude":-122.4194}`,
			`"title":"The Handmaid's Tale","author":"Atwood","year":1985,"price":10,"stock":true,"tags":["classic","dystopia"],"pub":{"city":"Toronto"},"location":{"latitude":43.6532,"longitude":-79.3832}`,
			`"title":"Cities of the Plain","author":"McCarthy","year":1998,"price":12.5,"stock":false,"isbn":"0679423907","location":{"latitude":37.779,"longitude":-122.419}`,
			`"title":"invisible cities","author":"Calvino","year":1972,"stock":true,"rating":"5"`,
			`"title":"Neuromancer","author":"Gibson","year":1984,"price":7.25,"rating":5`,
			`"title":"Dune","author":"Herbert","year":1965,"price":10.0,"stock":true,"chapters":[{"name":"Dune","pages":200},{"name":"Muad Dib","pages":150}],"sequelOf":"` + id(9) + `"`,
			`"title":"Émile","author":"Rousseau","year":1762,"price":-1`,
			`"author":"unknown"`,
			`"title":"50% off","author":"O'Brien","year":"1984","price":"10","stock":"true","location":{"latitude":37.7749,"longitude":-122.4194}`,
		} {
			n := i + 1
			uuid, _ := entity.ParseID(id(n))
			created := int64(1500000000000 + 1000*n)
			d := k.add(b, uuid, created, created, fmt.Sprintf(`{"name":"b%d",%s}`, n, text))
			if n == 2 {
				d.Modified = 1500000099000
				k.write(b, d)
			}
		}
		b2 := k.docs[2]
		b2.Rev = k.next
		k.next++
		k.write(b, b2)
		k.putCounters(b)
	})
	return k
}
