package raftfsm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// held is all that the partition holds of the application of imports.
func (f *fixture) held() map[string]string {
	f.t.Helper()
	v := f.state.View(f.machine.cfg.Partition)
	defer v.Close()
	all := map[string]string{}
	lower, upper := keys.AppRange(f.machine.cfg.Partition, importApp)
	if err := scan(v, lower, upper, func(key, value []byte) error {
		all[fmt.Sprintf("%x", key)] = fmt.Sprintf("%x", value)
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
	return all
}

const importDayMS = int64(86_400_000)

// randomContents is a command that imports contents, or changes what is there.
func randomContents(rng *rand.Rand) (op command.Op, repeatable bool) {
	end := func(collection string) command.Ref {
		return command.Ref{Collection: collection, Target: command.Target{ID: idOf(1 + rng.IntN(8))}}
	}
	switch rng.IntN(9) {
	case 0:
		name := []string{"users", "activities"}[rng.IntN(2)]
		o := command.ImportEntities{Rules: command.Rules{Collection: name, Type: name}, Replace: rng.IntN(2) == 0}
		for range 3 {
			id := 1 + rng.IntN(4)
			if name == "activities" {
				id += 4
			}
			o.Items = append(o.Items, command.ImportItem{NewEntity: command.NewEntity{
				ID: idOf(id), Created: 5, Modified: 6, JSON: fmt.Appendf(nil, `{"published":%d,"n":%d}`, rng.IntN(3), rng.IntN(3))}})
		}
		return o, true
	case 1, 2, 3:
		size := uint64(rng.IntN(4) * 10)
		o := command.ImportData{
			Owner: end("users"), Blob: idOf(100 + rng.IntN(3)*4 + int(size)/10), Size: size, Chunk: 10, Metadata: []byte(`{"content-length":7}`),
			Expires: 5000, Replace: rng.IntN(2) == 0,
		}
		o.Number = uint32(rng.IntN(4))
		if n := uint64(o.Number) * 10; n < size {
			o.Bytes = bytes.Repeat([]byte{'a' + byte(o.Number)}, 10)
		}
		return o, true
	case 4:
		o := command.ImportFeeds{}
		for range 2 {
			p := command.FeedPart{Owner: end("users"), List: []byte{keys.Outbox, keys.Feed}[rng.IntN(2)]}
			for range rng.IntN(4) {
				p.Activities = append(p.Activities, idOf(5+rng.IntN(4)))
			}
			o.Parts = append(o.Parts, p)
		}
		return o, true
	case 5, 6:
		o := command.ImportCounters{Replace: rng.IntN(2) == 0}
		for range 2 {
			o.Parts = append(o.Parts, randomPart(rng))
		}
		return o, true
	case 7:
		return command.Count{Tallies: []command.Tally{{
			Time: int64(rng.IntN(3))*importDayMS + int64(rng.IntN(3))*3_600_000, Dimensions: entity.Dimensions{Category: []string{"", "c"}[rng.IntN(2)]},
			Increments: []command.Increment{{Name: []string{"a", "a.b", "r"}[rng.IntN(3)], By: int64(rng.IntN(9)) - 4, Reset: rng.IntN(12) == 0}},
		}}}, false
	default:
		return command.DeleteEntities{Collection: []string{"users", "activities"}[rng.IntN(2)], IDs: []entity.ID{idOf(1 + rng.IntN(8))}}, false
	}
}

func randomPart(rng *rand.Rand) command.CounterPart {
	p := command.CounterPart{Name: []string{"a", "a.b", "r"}[rng.IntN(3)], Named: rng.IntN(2) == 0, Dimensions: entity.Dimensions{Category: []string{"", "c"}[rng.IntN(2)]}}
	day := int64(rng.IntN(3)) * importDayMS
	if p.Name == "r" {
		p.Resets = 2
		p.Cells = []entity.CounterCell{
			{Resolution: entity.Day, Bucket: day, Value: 7, Reset: 1}, {Value: int64(rng.IntN(9)), Reset: 2}, {Reset: 2, Clears: true}, {Resolution: entity.Day, Bucket: day, Reset: 1, Clears: true}}
		return p
	}
	for minute := int64(rng.IntN(30)); minute < 1440; minute += 1 + int64(rng.IntN(700)) {
		p.Cells = append(p.Cells, entity.CounterCell{Resolution: entity.Minute, Bucket: day + minute*60_000, Value: int64(rng.IntN(9)) - 4})
	}
	return p
}

// TestImportedContents: whatever is imported, counted and deleted between, the partition is
// sound after each command, an import that is sent again changes nothing, and replicas that
// got their entries in other pieces are the same.
func TestImportedContents(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 8))
		f, other := newFixture(t, 3, 4), newFixture(t, 3, 4)
		var cmds []command.Command
		for n := 0; n < 80 && !t.Failed(); n++ {
			op, repeatable := randomContents(rng)
			cmd := command.Command{App: importApp, Time: int64(1000 + n), Op: op}
			if out := f.apply(cmd)[0]; out.Fault != nil && !fault.Is(out.Fault, fault.ServiceResourceNotFound) {
				t.Fatalf("seed %d: %T: %v", seed, op, out.Fault)
			}
			cmds = append(cmds, cmd)
			f.checked()
			if !repeatable {
				continue
			}
			before := f.held()
			f.apply(cmd)
			cmds = append(cmds, cmd)
			if d := cmp.Diff(before, f.held()); d != "" && !renewed(op) {
				t.Errorf("seed %d: %+v once more (-first +second):\n%s", seed, op, d)
			}
		}
		for chunk := range slices.Chunk(cmds, 7) {
			other.apply(chunk...)
		}
		if d := cmp.Diff(f.held(), other.held()); d != "" {
			t.Errorf("seed %d: replicas differ:\n%s", seed, d)
		}
	}
}

// renewed reports whether a repetition may write: an entity that was replaced twice has
// another revision, and so may the items of one command that name one entity twice, and
// parts that say different things of one day.
func renewed(op command.Op) bool {
	switch o := op.(type) {
	case command.ImportEntities:
		return o.Replace
	case command.ImportCounters:
		return o.Replace
	case command.ImportData:
		return o.Replace
	}
	return false
}

// TestImportedData: the times of an entity stay, its other data goes with its task, and
// pieces without the first one are refused.
func TestImportedData(t *testing.T) {
	f := newFixture(t, 3, 4)
	f.try(command.ImportEntities{Rules: command.Rules{Collection: "things", Type: "thing"}, Items: []command.ImportItem{
		{NewEntity: command.NewEntity{ID: idOf(1), Created: 5, Modified: 7, JSON: []byte(`{"a":1}`)}}}})
	piece := func(blob, n int, bytes string, replace bool) command.Outcome {
		return f.try(command.ImportData{
			Owner: command.Ref{Collection: "things", Target: command.Target{ID: idOf(1)}}, Blob: idOf(blob), Size: 5, Chunk: 3, Number: uint32(n), Bytes: []byte(bytes),
			Metadata: []byte(`{"etag":"e"}`), Expires: 9000, Replace: replace,
		})
	}
	if out := piece(10, 1, "de", false); len(out.Errors) != 1 || out.Errors[0].Code != fault.EntityNotFound {
		t.Errorf("without the first piece: %+v", out)
	}
	for range 2 {
		if out := piece(10, 0, "abc", false); out.Handled != 1 {
			t.Errorf("the first piece: %+v", out)
		}
	}
	f.checked()
	if out := piece(10, 1, "de", false); out.Handled != 1 {
		t.Errorf("the last piece: %+v", out)
	}
	e := f.thing(1)
	if string(e.JSON) != `{"a":1,"file-metadata":{"etag":"e"}}` || e.Created != 5 || e.Modified != 7 || e.Blob != idOf(10) {
		t.Errorf("the entity: %+v %s", e, e.JSON)
	}
	f.try(command.ImportEntities{Rules: command.Rules{Collection: "things", Type: "thing"}, Replace: true, Items: []command.ImportItem{
		{NewEntity: command.NewEntity{ID: idOf(1), Created: 5, Modified: 8, JSON: []byte(`{"b":2}`)}}}})
	if e := f.thing(1); string(e.JSON) != `{"b":2,"file-metadata":{"etag":"e"}}` || e.Blob != idOf(10) {
		t.Errorf("the entity after it was replaced: %+v %s", e, e.JSON)
	}
	if out := piece(11, 0, "abc", false); out.Handled != 0 || len(out.Errors) != 0 {
		t.Errorf("other data: %+v", out)
	}
	piece(11, 0, "xyz", true)
	piece(11, 1, "zz", true)
	if e := f.thing(1); e.Blob != idOf(11) {
		t.Errorf("the entity with other data: %+v", e)
	}
	v := f.state.View(3)
	defer v.Close()
	if _, there, err := storage.ReadBlob(v, importApp, idOf(10)); there || err != nil {
		t.Errorf("its data of before: %v %v", there, err)
	}
	f.checked()
}

// thing reads an entity of the collection things.
func (f *fixture) thing(n int) entity.Entity {
	f.t.Helper()
	v := f.state.View(3)
	defer v.Close()
	c, _, err := storage.ReadCollectionID(v, importApp, "things")
	if err != nil {
		f.t.Fatal(err)
	}
	e, ok, err := storage.ReadEntityByID(v, importApp, c, idOf(n))
	if err != nil || !ok {
		f.t.Fatalf("thing %d: %v %v", n, ok, err)
	}
	return e
}
