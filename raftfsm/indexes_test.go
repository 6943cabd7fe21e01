package raftfsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// isIndex reports whether a key is one of an index that can be made again from the
// entities.
func isIndex(k []byte) bool {
	if app := k[4] | k[5] | k[6] | k[7]; app == 0 {
		return false
	}
	_, _, _, _, ok := keys.DecodeIndex(k)
	return ok
}

// indexesOf returns all keys of indexes, but bitmaps without bits, which are left of
// entities that are no more.
func indexesOf(t *testing.T, s *storage.State) map[string]string {
	t.Helper()
	all := map[string]string{}
	v := s.View(testPartition)
	err := scan(v, nil, nil, func(k, value []byte) error {
		if isIndex(k) && !(k[8] == keys.KindPresent && bytes.Equal(value, []byte{1})) {
			all[string(k)] = string(value)
		}
		return nil
	})
	if err := errors.Join(err, v.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}

// rebuilt fails the test unless the indexes are what is made of the entities, from
// nothing.
func rebuilt(t *testing.T, s *storage.State) {
	t.Helper()
	want := indexesOf(t, s)
	b := s.NewBatch(testPartition)
	v := s.View(testPartition)
	stats := map[string]*[2]uint64{}
	for k := range want {
		b.Delete([]byte(k))
	}
	err := scan(v, nil, nil, func(k, value []byte) error {
		id, seq, ok := keys.DecodeEntity(k)
		if !ok || k[4]|k[5]|k[6]|k[7] == 0 {
			return nil
		}
		app := entity.AppID(uint32(k[4])<<24 | uint32(k[5])<<16 | uint32(k[6])<<8 | uint32(k[7]))
		e, err := entity.DecodeRecord(value)
		if err != nil {
			return err
		}
		settings, err := storage.ReadSettings(v, app, id)
		if err != nil {
			return err
		}
		plan, ok := settings.PlanOf(e.Generation)
		if !ok {
			return fmt.Errorf("no plan of generation %d", e.Generation)
		}
		c := index.Collection{Partition: testPartition, App: app, ID: id, Properties: dictionary{v, app, id}}
		var set index.Set
		if err := set.Build(&c, plan, &e); err != nil {
			return err
		}
		for _, entry := range set.Entries() {
			if !entry.Claims() {
				b.Set(entry.Key, entry.Value)
			}
		}
		for _, u := range set.Uses() {
			b.Merge(keys.AppendPresent(nil, testPartition, app, id, u.Property, seq), storage.AppendPresence(nil, seq, true))
			key := string(keys.AppendPropertyStats(nil, testPartition, app, id, u.Property))
			if stats[key] == nil {
				stats[key] = new([2]uint64)
			}
			if stats[key][0]++; u.Several {
				stats[key][1]++
			}
		}
		return nil
	})
	for key, n := range stats {
		b.Set([]byte(key), storage.AppendPropertyStats(nil, n[0], n[1]))
	}
	if err := errors.Join(err, b.Commit(), b.Close(), v.Close()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, indexesOf(t, s)); d != "" {
		t.Errorf("indexes (-kept in step +rebuilt):\n%s", d)
	}
}

// dictionary is index.Properties of what is stored.
type dictionary struct {
	r   storage.Reader
	app entity.AppID
	c   entity.CollectionID
}

func (d dictionary) Number(path []byte) (entity.PropertyID, error) {
	id, ok, err := storage.PropertyID(d.r, d.app, d.c, string(path))
	if err == nil && !ok {
		err = fmt.Errorf("no number of %s", path)
	}
	return id, err
}

func (d dictionary) Known(path string) (entity.PropertyID, bool) {
	id, ok, _ := storage.PropertyID(d.r, d.app, d.c, path)
	return id, ok
}

var itemRules = command.Rules{Collection: "items", Type: "item", Unique: []string{"name"}}

// must runs a command of application 16 that is not refused.
func (f *fixture) must(op command.Op) command.Outcome {
	f.t.Helper()
	out := f.apply(command.Command{Time: 1000 + int64(f.index), App: 16, Op: op})[0]
	if out.Fault != nil {
		f.t.Fatalf("%T: %v", op, out.Fault)
	}
	return out
}

func (f *fixture) createItem(n int, json string) {
	f.t.Helper()
	f.must(command.CreateEntities{Rules: itemRules, Items: []command.NewEntity{{ID: idOf(n), Created: int64(n), JSON: []byte(json)}}})
}

func (f *fixture) check(what string) {
	f.t.Helper()
	v := f.state.View(testPartition)
	report, err := Check(context.Background(), v)
	if err := errors.Join(err, v.Close()); err != nil {
		f.t.Fatal(err)
	}
	if what == "" && report.Found > 0 {
		f.t.Errorf("problems: %v", report.Problems)
	}
	for _, p := range report.Problems {
		if strings.Contains(p.String(), what) {
			return
		}
	}
	if what != "" {
		f.t.Errorf("no problem says %q: %v", what, report.Problems)
	}
}

// indexFixture has entities of two plans, and every kind of index.
func indexFixture(t *testing.T) *fixture {
	f := newFixture(t, testPartition, 0)
	f.createItem(1, `{"name":"a","n":[1,2],"text":"two words","at":{"lat":1,"lon":2}}`)
	f.createItem(2, `{"name":"b","n":3}`)
	composites := [][]entity.CompositeKey{{{Property: "name"}, {Property: "n"}}}
	f.must(command.PutSettings{Collection: "items", Task: idOf(90), Composites: &composites})
	f.createItem(3, `{"name":"c","n":3}`)
	return f
}

// TestCheckFindsDamagedIndexes damages sound indexes in one place each.
func TestCheckFindsDamagedIndexes(t *testing.T) {
	const p, app, c = testPartition, entity.AppID(16), entity.CollectionID(1)
	const name, n, text, at = 1, 2, 3, 4
	str := func(s string) *entity.Value { return &entity.Value{Class: entity.StringClass, String: s} }
	num := func(i int64) *entity.Value {
		return &entity.Value{Class: entity.NumberClass, Number: entity.Int(i)}
	}
	ordered := func(prop entity.PropertyID, v *entity.Value, seq entity.Seq) []byte {
		return keys.AppendTail(keys.AppendValue(keys.AppendOrdered(nil, p, app, c, prop), v), seq)
	}
	word := func(prop entity.PropertyID, w string, seq entity.Seq) []byte {
		return keys.AppendTail(keys.AppendWord(keys.AppendWords(nil, p, app, c, prop), w), seq)
	}
	cell, _ := index.Cell(1, 2)
	geo := keys.AppendTail(keys.AppendCell(keys.AppendGeo(nil, p, app, c, at), cell), 1)
	composite := keys.AppendTail(keys.AppendValue(keys.AppendValue(keys.AppendComposite(nil, p, app, c, 1), str("c")), num(3)), 3)
	for name, tc := range map[string]struct {
		what   string
		damage func(b *storage.Batch)
	}{
		"missing value":        {"this index entry", func(b *storage.Batch) { b.Delete(ordered(n, num(3), 2)) }},
		"other flags":          {"and not to entity", func(b *storage.Batch) { b.Set(ordered(n, num(3), 2), []byte{1}) }},
		"superfluous value":    {"superfluous", func(b *storage.Batch) { b.Set(ordered(name, str("z"), 2), []byte{3}) }},
		"value of no entity":   {"superfluous", func(b *storage.Batch) { b.Set(ordered(name, str("z"), 99), []byte{3}) }},
		"value of no property": {"superfluous", func(b *storage.Batch) { b.Set(ordered(77, str("z"), 1), []byte{3}) }},
		"missing created":      {"this index entry", func(b *storage.Batch) { b.Delete(keys.AppendCreated(nil, p, app, c, 2, 2)) }},
		"superfluous modified": {"superfluous", func(b *storage.Batch) { b.Set(keys.AppendModified(nil, p, app, c, 7, 7, 2), nil) }},
		"missing word":         {"this index entry", func(b *storage.Batch) { b.Delete(word(text, "two", 1)) }},
		"superfluous word":     {"superfluous", func(b *storage.Batch) { b.Set(word(text, "three", 1), nil) }},
		"word with a value":    {"and not to entity", func(b *storage.Batch) { b.Set(word(text, "two", 1), []byte{1}) }},
		"missing point":        {"this index entry", func(b *storage.Batch) { b.Delete(geo) }},
		"another point":        {"and not to entity", func(b *storage.Batch) { b.Set(geo, keys.AppendPoint(nil, 1, 1)) }},
		"missing combination":  {"this index entry", func(b *storage.Batch) { b.Delete(composite) }},
		"one of an older plan": {"superfluous", func(b *storage.Batch) { b.Set(append(composite[:len(composite)-1:len(composite)-1], 0xfd), []byte{15}) }},
		"missing bit": {"has property", func(b *storage.Batch) {
			b.Merge(keys.AppendPresent(nil, p, app, c, n, 2), storage.AppendPresence(nil, 2, false))
		}},
		"superfluous bit": {"does not have property", func(b *storage.Batch) {
			b.Merge(keys.AppendPresent(nil, p, app, c, text, 2), storage.AppendPresence(nil, 2, true))
		}},
		"damaged bitmap": {"damaged bitmap", func(b *storage.Batch) { b.Set(keys.AppendPresent(nil, p, app, c, n, 2), []byte("x")) }},
		"missing bitmap": {"has property", func(b *storage.Batch) { b.Delete(keys.AppendPresent(nil, p, app, c, n, 2)) }},
		"wrong statistics": {"counts 9 entities", func(b *storage.Batch) {
			b.Set(keys.AppendPropertyStats(nil, p, app, c, n), storage.AppendPropertyStats(nil, 9, 1))
		}},
		"missing statistics":     {"counts 0 entities", func(b *storage.Batch) { b.Delete(keys.AppendPropertyStats(nil, p, app, c, n)) }},
		"damaged statistics":     {"statistics of", func(b *storage.Batch) { b.Set(keys.AppendPropertyStats(nil, p, app, c, n), []byte("x")) }},
		"damaged settings":       {"settings record", func(b *storage.Batch) { b.Set(keys.AppendSettings(nil, p, app, c), []byte("x")) }},
		"settings without plans": {"which is not known", func(b *storage.Batch) { b.Delete(keys.AppendSettings(nil, p, app, c)) }},
		"wrong generations": {"counts 1 entities of generation 1; there are 2", func(b *storage.Batch) {
			b.Set(keys.AppendCollection(nil, p, app, c), storage.AppendCollection(nil, &storage.Collection{NextSeq: 4, Count: 3, Older: []storage.OlderEntities{{Generation: 1, Count: 1}}}))
		}},
		"no generations": {"does not count", func(b *storage.Batch) {
			b.Set(keys.AppendCollection(nil, p, app, c), storage.AppendCollection(nil, &storage.Collection{NextSeq: 4, Count: 3}))
		}},
		"a name without number": {"numbers were given", func(b *storage.Batch) { b.Delete(keys.AppendName(nil, p, app, c, "n")) }},
		"a key cut short":       {"damaged key", func(b *storage.Batch) { b.Set(keys.AppendOrdered(nil, p, app, c, 1), nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			f := indexFixture(t)
			f.check("")
			b := f.state.NewBatch(p)
			tc.damage(b)
			if err := errors.Join(b.Commit(), b.Close()); err != nil {
				t.Fatal(err)
			}
			f.check(tc.what)
		})
	}
}

// TestTooManyPropertiesAreRefused, and the refused ones take no numbers.
func TestTooManyPropertiesAreRefused(t *testing.T) {
	f := newFixture(t, testPartition, 0)
	object := func(prefix string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ",%q:true", fmt.Sprint(prefix, i))
		}
		return `{"name":"` + prefix + `"` + b.String() + `}`
	}
	for i, prefix := range []string{"a", "b"} {
		f.createItem(i+1, object(prefix, maxProperties/2-1))
	}
	f.createItem(3, `{"name":"c"}`)
	refused := f.apply(command.Command{App: 16, Op: command.CreateEntities{Rules: itemRules, Items: []command.NewEntity{{ID: idOf(4), JSON: []byte(`{"name":"d","x":1,"y":2}`)}}}})[0]
	if refused.Fault == nil || refused.Fault.Code != fault.IllegalArgument {
		t.Errorf("outcome %+v", refused)
	}
	f.createItem(4, `{"name":"d","x":1}`)
	refused = f.apply(command.Command{App: 16, Op: command.UpdateEntity{Rules: itemRules, Target: command.Target{ID: idOf(4)}, Patch: []byte(`{"y":1}`)}})[0]
	if refused.Fault == nil || refused.Fault.Code != fault.IllegalArgument {
		t.Errorf("outcome %+v", refused)
	}
	f.check("")
}

// TestOldCollectionsAreReadAndIndexedAnew: one written before there were indexes has
// none until then, and its entities can be changed and removed meanwhile.
func TestOldCollectionsAreReadAndIndexedAnew(t *testing.T) {
	f := newFixture(t, testPartition, 0)
	const p, app = testPartition, entity.AppID(16)
	b := f.state.NewBatch(p)
	set := func(key []byte, value ...byte) { b.Set(key, value) }
	set(keys.AppendName(nil, p, app, 0, ""), 2)
	set(keys.AppendName(nil, p, app, 0, "items"), 1)
	set(keys.AppendName(nil, p, app, 1, ""), 2)
	set(keys.AppendName(nil, p, app, 1, "name"), 1)
	set(keys.AppendCollection(nil, p, app, 1), 1, 5, 4) // version 1 · next 5 · count 4
	for n := range 4 {
		json := fmt.Sprintf(`{"name":"n%d","n":%d}`, n+1, n)
		record := append([]byte{1, 0}, make([]byte, 16)...)
		record[17] = byte(n + 1)
		record = append(record, 2, 0, byte(n+1), 0, byte(len(json)))
		b.Set(keys.AppendEntity(nil, p, app, 1, entity.Seq(n+1)), append(record, json...))
		b.Set(keys.AppendID(nil, p, app, 1, idOf(n+1)), keys.AppendSeq(nil, entity.Seq(n+1)))
		b.Set(keys.AppendUnique(nil, p, app, 1, 1, fmt.Sprintf("n%d", n+1)), keys.AppendUniqueValue(nil, entity.Seq(n+1), idOf(n+1)))
	}
	if err := errors.Join(b.Commit(), b.Close()); err != nil {
		t.Fatal(err)
	}
	f.check("")
	settings := func() entity.Settings {
		v := f.state.View(p)
		s, err := storage.ReadSettings(v, app, 1)
		if err := errors.Join(err, v.Close()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := settings(); s.Usable("n") || len(s.Older) != 1 {
		t.Errorf("settings of an old collection: %+v", s)
	}
	f.createItem(5, `{"name":"n5","n":5}`)
	f.must(command.UpdateEntity{Rules: itemRules, Target: command.Target{ID: idOf(1)}, Patch: []byte(`{"n":9}`)})
	f.must(command.DeleteEntity{Collection: "items", Target: command.Target{ID: idOf(2)}})
	f.check("")
	f.machine = f.open(p, 0)
	if s := settings(); s.Usable("n") || len(s.Older) != 1 {
		t.Errorf("settings while there are old entities: %+v", s)
	}
	f.must(command.Reindex{Collection: "items", Task: idOf(90)})
	f.must(command.ReindexStep{Collection: "items", Seqs: []entity.Seq{1, 2, 3, 4, 5, 6}})
	if s := settings(); !s.Usable("n") || len(s.Older) != 0 {
		t.Errorf("settings after indexing anew: %+v", s)
	}
	f.check("")
	rebuilt(t, f.state)
}

// TestEntitiesThatCannotBeIndexedAnewStayAsTheyAre.
func TestEntitiesThatCannotBeIndexedAnewStayAsTheyAre(t *testing.T) {
	f := newFixture(t, testPartition, 0)
	none := command.Fields{None: true}
	f.must(command.PutSettings{Collection: "items", Task: idOf(90), Fields: &none})
	f.createItem(1, `{"name":"a","n":[`+strings.Repeat("1,", index.MaxEntries)+`2]}`)
	many := make([]string, index.MaxEntries)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	f.createItem(2, `{"name":"b","n":[`+strings.Join(many, ",")+`],"new":1}`)
	f.must(command.ClearSettings{Collection: "items", Task: idOf(91)})
	f.must(command.ReindexStep{Collection: "items", Seqs: []entity.Seq{1, 2}})
	v := f.state.View(testPartition)
	c, _, err := storage.ReadCollection(v, 16, "items")
	if err := errors.Join(err, v.Close()); err != nil {
		t.Fatal(err)
	}
	if len(c.Older) != 1 || c.Older[0].Count != 1 {
		t.Errorf("older entities: %+v", c.Older)
	}
	f.check("")
}

// TestSettingsChangeOnlySoOften before a re-index has come further.
func TestSettingsChangeOnlySoOften(t *testing.T) {
	f := newFixture(t, testPartition, 0)
	for i := range entity.MaxPlans + 1 {
		f.createItem(i+1, fmt.Sprintf(`{"name":"n%d"}`, i))
		put := command.PutSettings{Collection: "items", Task: idOf(100 + i), Fields: &command.Fields{List: []string{fmt.Sprint("f", i)}}}
		out := f.apply(command.Command{App: 16, Op: put})[0]
		if refused := out.Fault != nil; refused != (i == entity.MaxPlans) {
			t.Fatalf("change %d: %v", i+1, out.Fault)
		}
	}
	f.must(command.ReindexStep{Collection: "items", Seqs: []entity.Seq{1}})
	f.must(command.PutSettings{Collection: "items", Task: idOf(99), Fields: &command.Fields{List: []string{"g"}}})
	f.check("")
}

// TestLargeBatchesAreCommittedInParts: what it leads to is the same.
func TestLargeBatchesAreCommittedInParts(t *testing.T) {
	one, many := newFixture(t, testPartition, 0), newFixture(t, testPartition, 0)
	many.machine.maxApply = 10_000
	var log []*raft.Log
	for n := range 50 {
		item := command.NewEntity{ID: idOf(n + 1), JSON: fmt.Appendf(nil, `{"n":[%d,%[1]d5,%[1]d6]}`, n)}
		log = append(log, entryOf(uint64(n+1), command.Command{App: 16, Op: command.CreateEntities{Rules: itemRules, Items: []command.NewEntity{item}}}))
	}
	for _, entry := range log {
		one.machine.Apply(entry)
	}
	for _, response := range many.machine.ApplyBatch(log) {
		if response == nil {
			t.Error("an entry has no outcome")
		}
	}
	if one.digest() != many.digest() {
		t.Error("the digests differ")
	}
}

// TestBitmapsOfSeveralBlocksInOneBatch: entities of two blocks get and lose a property.
func TestBitmapsOfSeveralBlocksInOneBatch(t *testing.T) {
	f := newFixture(t, testPartition, 0)
	const last = keys.PresentBlock + 50
	var log []*raft.Log
	add := func(op command.Op) {
		log = append(log, entryOf(uint64(len(log)+1), command.Command{App: 16, Op: op}))
	}
	for n := range last {
		add(command.CreateEntities{Rules: itemRules, Items: []command.NewEntity{{ID: idOf(n + 1), JSON: fmt.Appendf(nil, `{"name":"n%d","n":%d}`, n, n%2)}}})
	}
	for n := 0; n < last; n += 100 { // to and fro
		for _, id := range []int{n + 1, last - n} {
			add(command.UpdateEntity{Rules: itemRules, Target: command.Target{ID: idOf(id)}, Patch: []byte(`{"n":null}`)})
		}
	}
	f.machine.ApplyBatch(log)
	f.check("")
	rebuilt(t, f.state)
}
