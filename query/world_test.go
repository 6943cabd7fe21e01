package query

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/index"
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
	lists  map[List]map[entity.Seq]int64 // when what is in them was published
}

// kind is a collection of the world.
type kind struct {
	w    *world
	id   entity.CollectionID
	name string
	typ  string
	next entity.Seq
	docs map[entity.Seq]*doc

	settings      entity.Settings
	numbers       map[string]entity.PropertyID
	stats         map[entity.PropertyID]*[2]uint64
	before, after index.Set
	batch         *storage.Batch // of the change at hand
}

// doc is an entity of the world.
type doc struct {
	entity.Entity
	kind  *kind
	atoms []atom
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
	k := &kind{w: w, id: entity.CollectionID(len(w.kinds) + 1), name: name, typ: typ, next: 1, docs: map[entity.Seq]*doc{},
		settings: entity.Defaults(), numbers: map[string]entity.PropertyID{}, stats: map[entity.PropertyID]*[2]uint64{}}
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

// Number implements index.Properties.
func (k *kind) Number(path []byte) (entity.PropertyID, error) {
	if id, ok := k.numbers[string(path)]; ok {
		return id, nil
	}
	id := entity.PropertyID(len(k.numbers) + 1)
	k.numbers[string(path)] = id
	k.batch.Set(keys.AppendName(nil, testPartition, testApp, k.id, string(path)),
		storage.AppendNumbered(nil, storage.Numbered{Number: uint32(id), Unique: string(path) == "name"}))
	return id, nil
}

// Known implements index.Properties.
func (k *kind) Known(path string) (entity.PropertyID, bool) {
	id, ok := k.numbers[path]
	return id, ok
}

// build makes a set the entries of an entity; nil: of none.
func (k *kind) build(set *index.Set, d *doc) {
	if d == nil {
		set.Reset()
		return
	}
	c := index.Collection{Partition: testPartition, App: testApp, ID: k.id, Properties: k}
	if id, ok := k.numbers["name"]; ok {
		c.Unique = []index.Unique{{Name: "name", ID: id}}
	}
	plan, ok := k.settings.PlanOf(d.Generation)
	if !ok {
		k.w.t.Fatalf("no plan of generation %d", d.Generation)
	}
	if err := set.Build(&c, plan, &d.Entity); err != nil {
		k.w.t.Fatal(err)
	}
}

// put writes what becomes of an entity: nil, if it is deleted or was not there.
func (k *kind) put(b *storage.Batch, before, after *doc) {
	k.batch = b
	if len(k.numbers) == 0 {
		_, _ = k.Number([]byte("name"))
	}
	k.build(&k.before, before)
	k.build(&k.after, after)
	index.Difference(&k.before, &k.after, b.Delete, b.Set)
	if before != nil {
		k.count(before, k.before.Uses(), false)
	}
	if after != nil {
		k.count(after, k.after.Uses(), true)
		b.Set(keys.AppendEntity(nil, testPartition, testApp, k.id, after.Seq), entity.AppendRecord(nil, &after.Entity))
	} else {
		b.Delete(keys.AppendEntity(nil, testPartition, testApp, k.id, before.Seq))
	}
	k.putCounters(b)
}

// count notes which properties an entity has, or has no more.
func (k *kind) count(d *doc, uses []index.Use, has bool) {
	step := uint64(1)
	if !has {
		step = ^uint64(0)
	}
	for _, use := range uses {
		if k.stats[use.Property] == nil {
			k.stats[use.Property] = new([2]uint64)
		}
		st := k.stats[use.Property]
		st[0] += step
		if use.Several {
			st[1] += step
		}
		k.batch.Set(keys.AppendPropertyStats(nil, testPartition, testApp, k.id, use.Property), storage.AppendPropertyStats(nil, st[0], st[1]))
		k.batch.Merge(keys.AppendPresent(nil, testPartition, testApp, k.id, use.Property, d.Seq), storage.AppendPresence(nil, d.Seq, has))
	}
}

// add creates an entity.
func (k *kind) add(b *storage.Batch, id entity.ID, created, modified int64, text string) *doc {
	d := &doc{kind: k, Entity: entity.Entity{ID: id, Created: created, Modified: modified, Seq: k.next, Rev: k.next,
		Generation: k.settings.Plan.Generation, JSON: []byte(text)}}
	k.next++
	k.docs[d.Seq] = d
	k.put(b, nil, d)
	return d
}

// change gives an entity another content.
func (k *kind) change(b *storage.Batch, d *doc, modified int64, text string) {
	before := *d
	d.JSON, d.Modified, d.Rev, d.Generation, d.atoms = []byte(text), modified, k.next, k.settings.Plan.Generation, nil
	k.next++
	k.put(b, &before, d)
}

// reindex makes the entries of an entity those of the newest plan.
func (k *kind) reindex(b *storage.Batch, d *doc) {
	before := *d
	d.Generation = k.settings.Plan.Generation
	k.put(b, &before, d)
}

// remove deletes an entity. Edges to it are left to dangle.
func (k *kind) remove(b *storage.Batch, d *doc) {
	delete(k.docs, d.Seq)
	k.put(b, d, nil)
}

// set makes the settings of the collection those of a plan; entities keep the entries they
// have.
func (k *kind) set(b *storage.Batch, plan entity.IndexPlan) {
	plan.Generation = k.settings.Plan.Generation + 1
	k.settings.Older = append(k.settings.Older, k.settings.Plan)
	k.settings.Plan = plan
	k.putSettings(b)
}

func (k *kind) putSettings(b *storage.Batch) {
	b.Set(keys.AppendSettings(nil, testPartition, testApp, k.id), entity.AppendSettings(nil, &k.settings))
}

// settle indexes all entities anew, and forgets the older plans.
func (k *kind) settle() {
	k.w.commit(func(b *storage.Batch) {
		for _, d := range k.sorted() {
			k.reindex(b, d)
		}
	})
	k.w.commit(func(b *storage.Batch) {
		k.settings.Older = nil
		k.putSettings(b)
	})
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

// list puts an entity into a list, or takes it out.
func (w *world) list(b *storage.Batch, at List, seq entity.Seq, published int64, in bool) {
	if w.lists == nil {
		w.lists = map[List]map[entity.Seq]int64{}
	}
	if w.lists[at] == nil {
		w.lists[at] = map[entity.Seq]int64{}
	}
	if was, is := w.lists[at][seq]; is {
		published = was
	}
	key := keys.AppendListed(nil, testPartition, testApp, at.Owner, at.List, published, seq)
	back := keys.AppendListedIn(nil, testPartition, testApp, seq, at.Owner, at.List)
	if !in {
		delete(w.lists[at], seq)
		b.Delete(key)
		b.Delete(back)
		return
	}
	w.lists[at][seq] = published
	b.Set(key, nil)
	b.Set(back, keys.AppendPublished(nil, published))
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
				defer k.change(b, d, 1500000099000, string(d.JSON))
			}
		}
	})
	return k
}
