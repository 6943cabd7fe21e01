package raftfsm

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

var thingRules = command.Rules{Collection: "things", Type: "thing", Unique: []string{"name"}}

// do applies one command of the application and fails the test unless its outcome has
// this code.
func (f *fixture) do(op command.Op, want fault.Code) command.Outcome {
	f.t.Helper()
	out := f.apply(command.Command{Time: int64(f.index) * 10, App: 16, Op: op})[0]
	var code fault.Code
	if out.Fault != nil {
		code = out.Fault.Code
	}
	if code != want {
		f.t.Fatalf("%T: %v, want %q", op, out.Fault, want)
	}
	return out
}

// clean fails the test if trellis check would find anything, and returns its report.
func (f *fixture) clean() Report {
	f.t.Helper()
	v := f.state.View(f.machine.cfg.Partition)
	rep, err := Check(context.Background(), v)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		f.t.Fatal(err)
	}
	for _, p := range rep.Problems {
		f.t.Errorf("%s", p)
	}
	return rep
}

// chunksOf returns the bytes of all chunks of a blob as they lie in the state.
func (f *fixture) chunksOf(id entity.ID) (all []byte) {
	f.t.Helper()
	v := f.state.View(f.machine.cfg.Partition)
	it, err := v.Scan(keys.ChunkRange(f.machine.cfg.Partition, 16, id))
	if err != nil {
		f.t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		all = append(all, it.Value()...)
	}
	if err := it.Close(); err != nil {
		f.t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		f.t.Fatal(err)
	}
	return all
}

func (f *fixture) blobs() map[entity.ID]entity.Blob {
	f.t.Helper()
	all := map[entity.ID]entity.Blob{}
	v := f.state.View(f.machine.cfg.Partition)
	it, err := v.Scan(keys.BlobsRange(f.machine.cfg.Partition, 16))
	if err != nil {
		f.t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		id, _ := keys.DecodeBlob(it.Key())
		b, err := entity.DecodeBlob(it.Value())
		if err != nil {
			f.t.Fatal(err)
		}
		all[id] = b
	}
	if err := it.Close(); err != nil {
		f.t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		f.t.Fatal(err)
	}
	return all
}

func newThing(n int, json string) *command.NewEntity {
	return &command.NewEntity{ID: idOf(n), Created: 1, Modified: 1, JSON: []byte(json)}
}

func patchThing(n int, patch string) command.UpdateEntity {
	return command.UpdateEntity{Rules: thingRules, Target: command.Target{ID: idOf(n)}, Patch: []byte(patch)}
}

// TestBlobIsWrittenAndAttached: nothing of the data shows before it is attached, and
// then it is the entity's, with what describes it, until other data takes its place.
func TestBlobIsWrittenAndAttached(t *testing.T) {
	f := newFixture(t, 3, 64)
	f.do(command.CreateEntities{Rules: thingRules, Items: []command.NewEntity{*newThing(1, `{"name":"a"}`)}}, "")
	data := bytes.Repeat([]byte("0123456789"), 25)
	f.do(command.BeginBlob{Blob: idOf(7), Size: 250, Chunk: 100, Expires: 5000}, "")
	f.do(command.BeginBlob{Blob: idOf(7), Size: 250, Chunk: 100, Expires: 5000}, fault.Conflict)
	f.do(command.PutChunk{Blob: idOf(7), Number: 2, Data: data[200:]}, "")
	f.clean()
	f.do(command.PutChunk{Blob: idOf(7), Number: 3, Data: data[:1]}, fault.IllegalArgument)
	f.do(command.PutChunk{Blob: idOf(7), Number: 1, Data: data[:99]}, fault.IllegalArgument)
	f.do(command.PutChunk{Blob: idOf(8), Number: 0, Data: data[:100]}, fault.EntityNotFound)
	f.do(command.PutChunk{Blob: idOf(7), Number: 0, Data: data[:100]}, "")
	f.do(command.AttachBlob{Blob: idOf(7), Change: patchThing(1, `{}`)}, fault.Conflict) // a chunk is missing
	f.do(command.PutChunk{Blob: idOf(7), Number: 1, Data: data[100:200]}, "")
	f.do(command.PutChunk{Blob: idOf(7), Number: 1, Data: data[100:200]}, "") // again: left as it is
	f.do(command.AttachBlob{Blob: idOf(7), Change: patchThing(2, `{}`)}, fault.ServiceResourceNotFound)
	if rep := f.clean(); rep.Tasks != 1 || rep.Blobs != 1 {
		t.Errorf("%d tasks, %d blobs", rep.Tasks, rep.Blobs)
	}
	out := f.do(command.AttachBlob{Blob: idOf(7), Change: patchThing(1, `{"n":1,"file-metadata":{"content-length":250}}`)}, "")
	if e := out.Entities[0]; e.Blob != idOf(7) || string(e.JSON) != `{"name":"a","n":1,"file-metadata":{"content-length":250}}` {
		t.Errorf("%+v %s", e, e.JSON)
	}
	if rep := f.clean(); rep.Tasks != 0 || rep.Blobs != 1 || !bytes.Equal(f.chunksOf(idOf(7)), data) {
		t.Errorf("%d tasks, %d blobs, %q", rep.Tasks, rep.Blobs, f.chunksOf(idOf(7)))
	}
	f.do(command.AttachBlob{Blob: idOf(7), Change: patchThing(1, `{}`)}, fault.Conflict)
	f.do(command.DropBlob{Blob: idOf(7)}, fault.Conflict)
	f.do(command.DoomBlob{Blob: idOf(7)}, fault.Conflict)
	// A change by JSON leaves it, an attempt that was too large too.
	out = f.do(patchThing(1, `{"n":2}`), "")
	if e := out.Entities[0]; e.Blob != idOf(7) {
		t.Errorf("%+v", e)
	}
	out = f.do(command.AttachBlob{Rejected: []byte(`{"error":"too large"}`), Change: patchThing(1, `{"n":3}`)}, "")
	if e := out.Entities[0]; e.Blob != idOf(7) || string(e.JSON) != `{"name":"a","n":3,"file-metadata":{"content-length":250,"error":"too large"}}` {
		t.Errorf("%+v %s", e, e.JSON)
	}
	f.clean()
	// Other data takes its place at once.
	f.do(command.AttachBlob{Blob: idOf(9), Whole: true, Data: []byte("small"), Change: patchThing(1, `{"file-metadata":{}}`)}, "")
	if rep := f.clean(); rep.Blobs != 1 || string(f.chunksOf(idOf(9))) != "small" || f.chunksOf(idOf(7)) != nil {
		t.Errorf("%d blobs", rep.Blobs)
	}
	f.do(command.DeleteEntity{Collection: "things", Target: command.Target{ID: idOf(1)}}, "")
	if rep := f.clean(); rep.Blobs != 0 || f.chunksOf(idOf(9)) != nil {
		t.Error("the data outlives its entity")
	}
}

// TestBlobGoesWithItsEntity: whatever deletes an entity deletes its data, however many
// chunks it has.
func TestBlobGoesWithItsEntity(t *testing.T) {
	for _, chunks := range []int{0, 1, fewChunks, fewChunks + 1, 100} {
		for name, remove := range map[string]func(f *fixture){
			"one": func(f *fixture) {
				f.do(command.DeleteEntity{Collection: "things", Target: command.Target{ID: idOf(1)}}, "")
			},
			"many": func(f *fixture) { f.do(command.DeleteEntities{Collection: "things", IDs: []entity.ID{idOf(1)}}, "") },
			"step": func(f *fixture) { f.do(command.ClearStep{Collection: "things", Seqs: []entity.Seq{1}}, "") },
			"app":  func(f *fixture) { f.do(command.PurgeApplication{}, "") },
		} {
			t.Run(fmt.Sprint(name, chunks), func(t *testing.T) {
				f := newFixture(t, 3, 64)
				f.do(command.BeginBlob{Blob: idOf(7), Size: uint64(chunks * 10), Chunk: 10}, "")
				for i := range chunks {
					f.do(command.PutChunk{Blob: idOf(7), Number: uint32(i), Data: []byte("0123456789")}, "")
				}
				f.do(command.AttachBlob{Blob: idOf(7), Change: command.UpdateEntity{Rules: thingRules, Create: newThing(1, `{"name":"a"}`)}}, "")
				f.clean()
				remove(f)
				if rep := f.clean(); rep.Blobs != 0 || f.chunksOf(idOf(7)) != nil {
					t.Errorf("%d blobs left, %d bytes", rep.Blobs, len(f.chunksOf(idOf(7))))
				}
			})
		}
	}
}

// TestObjectIsDoomedBeforeItIsDeleted: an object outlives its entity until a task has
// deleted it, and is nobody's meanwhile.
func TestObjectIsDoomedBeforeItIsDeleted(t *testing.T) {
	f := newFixture(t, 3, 64)
	f.do(command.BeginBlob{Blob: idOf(7), Size: 1 << 40, Object: "app/7", Expires: 5000}, "")
	f.do(command.AttachBlob{Blob: idOf(7), Change: command.UpdateEntity{Rules: thingRules, Create: newThing(1, `{"name":"a"}`)}}, "")
	f.clean()
	f.do(command.DeleteEntity{Collection: "things", Target: command.Target{ID: idOf(1)}}, "")
	if rep := f.clean(); rep.Tasks != 1 || f.blobs()[idOf(7)].State != entity.BlobDoomed {
		t.Errorf("%+v", f.blobs())
	}
	f.do(command.AttachBlob{Blob: idOf(7), Change: command.UpdateEntity{Rules: thingRules, Create: newThing(1, `{"name":"a"}`)}}, fault.Conflict)
	f.do(command.DropBlob{Blob: idOf(7)}, "")
	if rep := f.clean(); rep.Tasks != 0 || rep.Blobs != 0 {
		t.Errorf("%d tasks, %d blobs", rep.Tasks, rep.Blobs)
	}
	f.do(command.DropBlob{Blob: idOf(7)}, "") // no error
	f.do(command.DoomBlob{Blob: idOf(7)}, "")
}

// TestAttachIsRemembered: a retry gets the recorded outcome, and its own data stays for
// the task.
func TestAttachIsRemembered(t *testing.T) {
	f := newFixture(t, 3, 64)
	attach := func(blob int) command.Outcome {
		return f.apply(command.Command{Request: requestOf(1), Time: 1, App: 16, Op: command.AttachBlob{
			Blob: idOf(blob), Whole: true, Data: []byte("x"),
			Change: command.UpdateEntity{Rules: thingRules, Create: newThing(1, `{"name":"a"}`)},
		}})[0]
	}
	first := attach(7)
	again := attach(8)
	if again.Fault != nil || again.Entities[0].Blob != first.Entities[0].Blob || string(again.Entities[0].JSON) != `{"name":"a"}` {
		t.Errorf("%+v", again)
	}
	f.do(patchThing(1, `{"name":"b"}`), "")
	if later := attach(7); string(later.Entities[0].JSON) != `{"name":"a"}` {
		t.Errorf("%s", later.Entities[0].JSON)
	}
	if rep := f.clean(); rep.Blobs != 1 {
		t.Errorf("%d blobs", rep.Blobs)
	}
}

// TestCheckFindsLostData: what is missing of data, and data that is nobody's, is found.
func TestCheckFindsLostData(t *testing.T) {
	p := entity.Partition(3)
	for name, damage := range map[string]func(b *storage.Batch){
		"chunk missing": func(b *storage.Batch) { b.Delete(keys.AppendChunk(nil, p, 16, idOf(7), 1)) },
		"all chunks missing": func(b *storage.Batch) {
			b.Delete(keys.AppendChunk(nil, p, 16, idOf(7), 0))
			b.Delete(keys.AppendChunk(nil, p, 16, idOf(7), 1))
		},
		"chunk short":    func(b *storage.Batch) { b.Set(keys.AppendChunk(nil, p, 16, idOf(7), 1), []byte("x")) },
		"chunk too many": func(b *storage.Batch) { b.Set(keys.AppendChunk(nil, p, 16, idOf(7), 2), []byte("x")) },
		"record missing": func(b *storage.Batch) { b.Delete(keys.AppendBlob(nil, p, 16, idOf(7))) },
		"nobody's": func(b *storage.Batch) {
			b.Set(keys.AppendBlob(nil, p, 16, idOf(9)), entity.AppendBlob(nil, &entity.Blob{State: entity.BlobOpen, Chunk: 1}))
		},
		"another's": func(b *storage.Batch) {
			b.Set(keys.AppendBlob(nil, p, 16, idOf(9)), entity.AppendBlob(nil, &entity.Blob{State: entity.BlobAttached, Chunk: 1, Owner: entity.End{Collection: 1, Seq: 1}}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, p, 64)
			f.do(command.BeginBlob{Blob: idOf(7), Size: 20, Chunk: 10}, "")
			f.do(command.PutChunk{Blob: idOf(7), Number: 0, Data: []byte("0123456789")}, "")
			f.do(command.PutChunk{Blob: idOf(7), Number: 1, Data: []byte("0123456789")}, "")
			f.do(command.AttachBlob{Blob: idOf(7), Change: command.UpdateEntity{Rules: thingRules, Create: newThing(1, `{"name":"a"}`)}}, "")
			f.clean()
			b := f.state.NewBatch(p)
			damage(b)
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			v := f.state.View(p)
			rep, err := Check(context.Background(), v)
			if err != nil || rep.Found == 0 {
				t.Errorf("nothing found: %v", err)
			}
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestBlobsAgainstAModel runs random commands about a few entities and blobs and compares
// what every entity has with a map; check finds nothing wrong after each of them.
func TestBlobsAgainstAModel(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 50))
		f := newFixture(t, 3, 64)
		has := map[int]int{} // entity → blob
		for step := 0; step < 60 && !t.Failed(); step++ {
			e, b := 1+rng.IntN(3), 10+rng.IntN(5)
			text := strings.Repeat("x", rng.IntN(30))
			before := f.blobs()
			record, exists := before[idOf(b)]
			switch rng.IntN(7) {
			case 0:
				f.do(command.BeginBlob{Blob: idOf(b), Size: uint64(len(text)), Chunk: 10}, code(exists, fault.Conflict))
			case 1:
				n := uint32(rng.IntN(3))
				op := command.PutChunk{Blob: idOf(b), Number: n}
				want := fault.EntityNotFound
				switch {
				case exists && record.State != entity.BlobOpen:
					want = fault.Conflict
				case exists && uint64(n) >= record.Chunks():
					want = fault.IllegalArgument
				case exists:
					op.Data, want = bytes.Repeat([]byte{'a' + byte(b)}, int(record.ChunkSize(uint64(n)))), ""
				}
				f.do(op, want)
			case 2, 3:
				op := command.AttachBlob{Blob: idOf(b), Change: command.UpdateEntity{
					Rules: thingRules, Target: command.Target{ID: idOf(e)}, Patch: []byte(`{"n":1}`), Create: newThing(e, `{}`)}}
				if rng.IntN(2) == 0 {
					op.Whole, op.Data = true, []byte(text)
				}
				want := fault.Code("")
				switch {
				case op.Whole && exists, exists && (record.State != entity.BlobOpen || record.Written != record.Chunks()):
					want = fault.Conflict
				case !op.Whole && !exists:
					want = fault.EntityNotFound
				}
				if f.do(op, want); want == "" {
					has[e] = b
				}
			case 4:
				f.do(command.DropBlob{Blob: idOf(b)}, code(record.State == entity.BlobAttached, fault.Conflict))
			case 5:
				f.apply(command.Command{Time: 1, App: 16, Op: command.DeleteEntities{Collection: "things", IDs: []entity.ID{idOf(e)}}})
				delete(has, e)
			case 6:
				f.apply(command.Command{Time: 1, App: 16, Op: patchThing(e, `{"n":2}`)})
			}
			f.clean()
			after := f.blobs()
			attached := 0
			for _, b := range after {
				if b.State == entity.BlobAttached {
					attached++
				}
			}
			for _, b := range has {
				if after[idOf(b)].State != entity.BlobAttached {
					t.Errorf("blob %d is lost", b)
				}
			}
			if attached != len(has) {
				t.Errorf("%d blobs are attached, want %d", attached, len(has))
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func code(refused bool, c fault.Code) fault.Code {
	if refused {
		return c
	}
	return ""
}
