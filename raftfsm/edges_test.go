package raftfsm

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// parseEdgeOp is the part of parseOp for connections and commands that name many.
func parseEdgeOp(t *testing.T, d *datadriven.TestData, rules command.Rules, lines []string) command.Op {
	str := func(name string) (s string) { d.MaybeScanArgs(t, name, &s); return s }
	ids := func() (list []entity.ID) {
		for _, n := range argsOf(d, "ids") {
			i, err := strconv.Atoi(n)
			if err != nil {
				t.Fatalf("id %q: %v", n, err)
			}
			list = append(list, idOf(i))
		}
		return list
	}
	switch d.Cmd {
	case "connect":
		op := command.Connect{Source: parseRef(t, str("source")), Verb: str("verb"), Target: parseRef(t, str("target")), Keep: d.HasArg("keep"), Rules: rules}
		for _, line := range lines {
			if rest, ok := strings.CutPrefix(line, "patch "); ok {
				op.Patch = []byte(rest)
			} else if line != "" {
				item := parseItem(t, line)
				op.Create = &item
			}
		}
		return op
	case "disconnect":
		op := command.Disconnect{Source: parseRef(t, str("source")), Verb: str("verb"), Strict: d.HasArg("strict")}
		for _, target := range argsOf(d, "targets") {
			op.Targets = append(op.Targets, parseRef(t, target))
		}
		return op
	case "drop-edges":
		op := command.DropEdges{}
		var seq, limit int
		d.MaybeScanArgs(t, "seq", &seq)
		d.MaybeScanArgs(t, "limit", &limit)
		op.Limit = uint32(limit)
		op.Ends = []entity.End{{Collection: 1, Seq: entity.Seq(seq)}}
		return op
	case "delete-many":
		return command.DeleteEntities{Collection: rules.Collection, IDs: ids()}
	case "update-many":
		return command.UpdateEntities{Rules: rules, IDs: ids(), Patch: []byte(lines[0])}
	}
	return nil
}

func argsOf(d *datadriven.TestData, name string) []string {
	for _, arg := range d.CmdArgs {
		if arg.Key == name {
			return arg.Vals
		}
	}
	return nil
}

// parseRef reads "items:7", "items?:7" for one that may be anywhere, "?:7" for one
// of which nothing is known, and "items:name=milk".
func parseRef(t *testing.T, text string) (ref command.Ref) {
	if text == "" {
		return ref
	}
	name, rest, _ := strings.Cut(text, ":")
	ref.Collection, ref.Any = strings.CutSuffix(name, "?")
	if property, value, ok := strings.Cut(rest, "="); ok {
		ref.Target.Aliases = []command.Alias{{Property: property, Value: value}}
		return ref
	}
	n, err := strconv.Atoi(rest)
	if err != nil {
		t.Fatalf("reference %q: %v", text, err)
	}
	ref.Target.ID = idOf(n)
	return ref
}

// marksOf says what an entity says of its edges.
func marksOf(e *entity.Entity) (s string) {
	if e.HasOut {
		s += " out"
	}
	if e.HasIn {
		s += " in"
	}
	return s
}

func renderEdge(k, v []byte) (key, value string, ok bool) {
	at := func(end entity.End) string { return fmt.Sprintf("c%d s%d", end.Collection, end.Seq) }
	if direction, near, verb, eseq, far, ok := keys.DecodeEdge(k); ok {
		return fmt.Sprintf("%c %s v%d e%d %s", direction, at(near), verb, eseq, at(far)), string(v), true
	}
	if source, verb, target, ok := keys.DecodeConnected(k); ok {
		eseq, _ := keys.DecodeSeq(v)
		return fmt.Sprintf("D %s v%d %s", at(source), verb, at(target)), fmt.Sprintf("e%d", eseq), true
	}
	if end, direction, verb, ok := keys.DecodeVerb(k); ok {
		n, name, _ := storage.DecodeVerbCount(v)
		return fmt.Sprintf("V %s %c v%d", at(end), direction, verb), fmt.Sprintf("%d %s", n, name), true
	}
	if owner, name, ok := keys.DecodeName(k); ok && owner == keys.Verbs {
		return fmt.Sprintf("d verb %q", name), fmt.Sprint(v[0]), true
	}
	if len(k) == 9 && k[8] == keys.KindEdges {
		next, _ := keys.DecodeSeq(v)
		return "e", fmt.Sprintf("next %d", next), true
	}
	return "", "", false
}

var things = command.Rules{Collection: "things", Type: "thing", Unique: []string{"name"}}

// thingID is the id of the n-th thing, from 0 up.
func thingID(n int) entity.ID { return idOf(n + 1) }

// create makes things with the ids [from, to) and JSON of their own.
func (f *fixture) create(rules command.Rules, from, to int) {
	f.t.Helper()
	for from < to {
		op := command.CreateEntities{Rules: rules}
		for n := min(from+500, to); from < n; from++ {
			op.Items = append(op.Items, command.NewEntity{ID: thingID(from), JSON: fmt.Appendf(nil, `{"name":"n%d"}`, from)})
		}
		f.must(op)
	}
}

func thing(n int) command.Ref {
	return command.Ref{Collection: "things", Target: command.Target{ID: thingID(n)}}
}

func link(from int, verb string, to int) command.Connect {
	return command.Connect{Source: thing(from), Verb: verb, Target: thing(to)}
}

func (f *fixture) view() *storage.View {
	v := f.state.View(f.machine.cfg.Partition)
	f.t.Cleanup(func() {
		if err := v.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return v
}

// listed returns the numbers of the things that are listed at the end of one, newest
// first, without those that are gone.
func listed(t testing.TB, v *storage.View, n int, direction byte, verb string) (list []int) {
	t.Helper()
	end := endOf(t, v, n)
	id, ok, err := storage.VerbID(v, 16, verb)
	if err != nil || !ok {
		return nil
	}
	it, err := v.Scan(keys.EdgeRange(v.Partition(), 16, direction, end, id))
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		_, _, _, _, far, _ := keys.DecodeEdge(it.Key())
		e, ok, err := storage.ReadEntity(v, 16, far.Collection, far.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			list = append(list, number(e.ID)-1)
		}
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return list
}

func endOf(t testing.TB, v *storage.View, n int) entity.End {
	t.Helper()
	name, end, ok, err := storage.Locate(v, 16, thingID(n))
	if err != nil || !ok || name != "things" {
		t.Fatalf("thing %d: %q %v %v", n, name, ok, err)
	}
	return end
}

// TestEdgesAgreeWithAModel connects and disconnects and deletes at random, on a
// machine that applies entry by entry and on one that takes batches, and compares
// both with a list.
func TestEdgesAgreeWithAModel(t *testing.T) {
	verbs := []string{"likes", "Owns", "\x00members"}
	rapid.Check(t, func(rt *rapid.T) {
		one, many := newFixture(t, 3, 0), newFixture(t, 3, 0)
		one.create(things, 1, 9)
		alive := map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true}
		type pair struct {
			from int
			verb string
			to   int
		}
		var edges []pair // newest first
		entries := []*raft.Log{}
		drop := func(gone func(pair) bool) { edges = slices.DeleteFunc(edges, gone) }
		anyone := rapid.IntRange(1, 9) // 9 never exists
		for range rapid.IntRange(1, 40).Draw(rt, "commands") {
			var op command.Op
			want := fault.Code("")
			from, to := anyone.Draw(rt, "from"), anyone.Draw(rt, "to")
			verb := rapid.SampledFrom(verbs).Draw(rt, "verb")
			e := pair{from, strings.ToLower(verb), to}
			switch rapid.IntRange(0, 9).Draw(rt, "op") {
			case 0, 1, 2, 3, 4, 5:
				c := link(from, verb, to)
				c.Keep = rapid.IntRange(0, 4).Draw(rt, "keep") == 0
				op = c
				if !alive[from] || !alive[to] {
					want = fault.ServiceResourceNotFound
				} else if !c.Keep || !slices.Contains(edges, e) {
					drop(func(p pair) bool { return p == e })
					edges = slices.Insert(edges, 0, e)
				}
			case 6, 7:
				d := command.Disconnect{Source: thing(from), Verb: verb, Strict: rapid.Bool().Draw(rt, "strict")}
				some := false
				for _, n := range rapid.SliceOfN(anyone, 0, 3).Draw(rt, "targets") {
					d.Targets = append(d.Targets, thing(n))
					e := pair{from, strings.ToLower(verb), n}
					some = some || alive[from] && alive[n] && (!d.Strict || slices.Contains(edges, e))
					if alive[from] && alive[n] {
						drop(func(p pair) bool { return p == e })
					}
				}
				if op = d; !some {
					want = fault.ServiceResourceNotFound
				}
			case 8:
				op = command.DeleteEntity{Collection: "things", Target: command.Target{ID: thingID(from)}}
				if !alive[from] {
					want = fault.ServiceResourceNotFound
				}
				delete(alive, from)
			case 9:
				op = command.DeleteEntities{Collection: "things", IDs: []entity.ID{thingID(from), thingID(to)}}
				delete(alive, from)
				delete(alive, to)
			}
			drop(func(p pair) bool { return !alive[p.from] || !alive[p.to] })
			cmd := command.Command{Time: 2000, App: 16, Op: op}
			out := one.apply(cmd)[0]
			if code := fault.CodeOf(asError(out.Fault)); code != want {
				rt.Fatalf("%+v: %v, want %q", op, out.Fault, want)
			}
			entries = append(entries, entryOf(one.index, cmd))
		}
		many.create(things, 1, 9)
		for len(entries) > 0 {
			n := rapid.IntRange(1, len(entries)).Draw(rt, "batch")
			many.machine.ApplyBatch(entries[:n])
			if entries = entries[n:]; rapid.Bool().Draw(rt, "restart") {
				many.machine = many.open(3, 0)
			}
		}
		if one.digest() != many.digest() {
			rt.Fatal("the machines differ")
		}
		checkClean(t, one.state, 3)
		v := one.state.View(3)
		for n := range alive {
			for _, direction := range []byte{keys.Outbound, keys.Inbound} {
				want := map[string][]int{}
				for _, p := range edges {
					if direction == keys.Outbound && p.from == n {
						want[p.verb] = append(want[p.verb], p.to)
					}
					if direction == keys.Inbound && p.to == n {
						want[p.verb] = append(want[p.verb], p.from)
					}
				}
				counts, err := storage.Verbs(v, 16, endOf(t, v, n), direction)
				if err != nil {
					rt.Fatal(err)
				}
				for _, c := range counts {
					if got := listed(t, v, n, direction, c.Name); !slices.Equal(got, want[c.Name]) || c.Count != uint64(len(got)) {
						rt.Fatalf("%d %c %q: %v of %d, want %v", n, direction, c.Name, got, c.Count, want[c.Name])
					}
				}
				e, _, err := storage.ReadEntityByID(v, 16, 1, thingID(n))
				if err != nil || len(counts) != len(want) || direction == keys.Outbound && e.HasOut != (len(want) > 0) || direction == keys.Inbound && e.HasIn != (len(want) > 0) {
					rt.Fatalf("%d %c: %v of %v, %+v, %v", n, direction, counts, slices.Collect(maps.Keys(want)), e, err)
				}
				if e.Modified != e.Created || e.Rev != e.Seq {
					rt.Fatalf("%d was modified: %+v", n, e)
				}
			}
		}
		if err := v.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

func asError(f *fault.Error) error {
	if f == nil {
		return nil
	}
	return f
}

// TestManyEdgesGoInSteps: an entity with more edges than one command removes is gone
// at once, and a task of the same command names it until the last has gone.
func TestManyEdgesGoInSteps(t *testing.T) {
	const n = maxDropped + 700
	f := newFixture(t, 3, 0)
	f.create(things, 0, n+2)
	var ops []command.Command
	for i := 1; i <= n; i++ {
		c := link(0, "likes", i)
		if i%3 == 0 {
			c = link(i, "likes", 0)
		}
		ops = append(ops, command.Command{App: 16, Op: c})
	}
	f.apply(ops...)
	hub := endOf(t, f.view(), 0)
	before := f.view()
	f.must(command.DeleteEntity{Collection: "things", Target: command.Target{ID: thingID(0)}})
	id := endID(entity.TaskDropEdges, 16, hub, 0)
	task, ok, err := storage.ReadTask(f.view(), id)
	if err != nil || !ok || task.Kind != entity.TaskDropEdges || task.App != 16 {
		t.Fatalf("task: %+v, %v, %v", task, ok, err)
	}
	if ends, err := command.DecodeEnds(task.Body); err != nil || !slices.Equal(ends, []entity.End{hub}) {
		t.Fatalf("the task is about %v, %v", ends, err)
	}
	checkClean(t, f.state, 3)
	left := func() (n int) {
		v := f.view()
		for _, direction := range []byte{keys.Outbound, keys.Inbound} {
			it, err := v.Scan(keys.EdgesRange(3, 16, direction, hub))
			if err != nil {
				t.Fatal(err)
			}
			for ok := it.First(); ok; ok = it.Next() {
				n++
			}
			it.Close()
		}
		return n
	}
	if got := left(); got != 700 {
		t.Fatalf("%d edges are left", got)
	}
	// Nobody can be connected to it, and nobody sees it.
	if out := f.apply(command.Command{App: 16, Op: link(1, "likes", 0)})[0]; out.Fault == nil {
		t.Error("something was connected to what is gone")
	}
	for i := 1; i <= n; i += 500 {
		for _, direction := range []byte{keys.Outbound, keys.Inbound} {
			if list := listed(t, f.view(), i, direction, "likes"); len(list) != 0 {
				t.Errorf("%d still lists %v", i, list)
			}
		}
	}
	for turn := uint64(0); left() > 0; turn++ {
		was := left()
		f.must(command.StepTask{ID: id, Turn: turn, Body: task.Body, Effect: command.DropEdges{Ends: []entity.End{hub, {Collection: 1, Seq: 2}}, Limit: 300}})
		if now := left(); now != max(0, was-300) {
			t.Fatalf("a step left %d of %d", now, was)
		}
		checkClean(t, f.state, 3)
	}
	if n := len(listed(t, before, 0, keys.Outbound, "likes")); n != 1800 {
		t.Errorf("a view of before lists %d", n)
	}
}

// TestFarEndsCount: how much of other entities a command writes is bounded too.
func TestFarEndsCount(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.create(things, 0, 2)
	large := []byte(`{"text":"` + strings.Repeat("x", 4_000_000) + `"}`)
	for i := 10; i < 15; i++ {
		f.must(command.Connect{Source: thing(0), Verb: "likes", Rules: things, Create: &command.NewEntity{ID: thingID(i), JSON: large}})
	}
	f.must(command.DeleteEntity{Collection: "things", Target: command.Target{ID: thingID(0)}})
	left := 0
	for i := 10; i < 15; i++ {
		counts, err := storage.Verbs(f.view(), 16, endOf(t, f.view(), i), keys.Inbound)
		if err != nil {
			t.Fatal(err)
		}
		left += len(counts)
	}
	if left != 2 {
		t.Errorf("%d edges are left to the task, want 2", left)
	}
	checkClean(t, f.state, 3)
}

// TestManyAreBounded: what a command that names many deals with is bounded in bytes
// and goes on with the rest.
func TestManyAreBounded(t *testing.T) {
	f := newFixture(t, 3, 0)
	large := []byte(`{"text":"` + strings.Repeat("x", 400_000) + `"}`)
	ids := []entity.ID{thingID(99)}
	var targets []command.Ref
	f.create(things, 0, 1)
	for i := 10; i < 17; i++ {
		f.must(command.Connect{Source: thing(0), Verb: "likes", Rules: things, Create: &command.NewEntity{ID: thingID(i), JSON: large}})
		ids = append(ids, thingID(i))
		targets = append(targets, thing(i))
	}
	rest := func(list int, run func(from int) command.Outcome) (changed []int) {
		for from := 0; from < list; {
			out := run(from)
			if out.Handled < 1 {
				t.Fatalf("nothing of %d is dealt with", list-from)
			}
			from += out.Handled
			changed = append(changed, len(out.Entities))
		}
		return changed
	}
	for _, tc := range []struct {
		what string
		got  []int
	}{
		{"updated", rest(len(ids), func(from int) command.Outcome {
			return f.must(command.UpdateEntities{Rules: things, IDs: ids[from:], Patch: []byte(`{"n":1}`)})
		})},
		{"disconnected", rest(len(targets), func(from int) command.Outcome {
			return f.must(command.Disconnect{Source: thing(0), Verb: "likes", Targets: targets[from:]})
		})},
		{"deleted", rest(len(ids), func(from int) command.Outcome {
			return f.must(command.DeleteEntities{Collection: "things", IDs: ids[from:]})
		})},
	} {
		if !slices.Equal(tc.got, []int{2, 2, 2, 1}) {
			t.Errorf("%s: %v", tc.what, tc.got)
		}
	}
	checkClean(t, f.state, 3)
	tooMany := make([]entity.ID, command.MaxMany+1)
	for _, op := range []command.Op{
		command.DeleteEntities{Collection: "things", IDs: tooMany},
		command.UpdateEntities{Rules: things, IDs: tooMany, Patch: []byte(`{}`)},
		command.Disconnect{Source: thing(0), Verb: "likes", Targets: make([]command.Ref, command.MaxMany+1)},
		command.DropEdges{Limit: 1, Ends: make([]entity.End, command.MaxMany+1)},
		link(0, "", 0),
		link(0, strings.Repeat("v", maxVerb+1), 0),
	} {
		if out := f.apply(command.Command{App: 16, Op: op})[0]; out.Fault == nil || out.Fault.Code != fault.IllegalArgument {
			t.Errorf("%T: %v", op, out.Fault)
		}
	}
}

// TestVerbsAreBounded: the last verb fits, the next is refused and leaves nothing.
func TestVerbsAreBounded(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.create(things, 0, 2)
	b := f.state.NewBatch(3)
	b.Set(keys.AppendName(nil, 3, 16, keys.Verbs, ""), []byte{0x90, 0x4e}) // 10,000
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	f.must(link(0, "last", 1))
	f.must(link(1, "LAST", 0))
	before := f.digest().Keys
	if out := f.apply(command.Command{App: 16, Op: link(0, "more", 1)})[0]; out.Fault == nil || out.Fault.Code != fault.IllegalArgument {
		t.Errorf("%v", out.Fault)
	}
	if n := f.digest().Keys; n != before {
		t.Errorf("%d keys more", n-before)
	}
	if list, err := storage.Verbs(f.view(), 16, endOf(t, f.view(), 1), keys.Outbound); err != nil || len(list) != 1 || list[0] != (storage.VerbCount{Verb: 10_000, Name: "last", Count: 1}) {
		t.Errorf("%v %v", list, err)
	}
}

// TestConnectIsRepeatable: a request that is sent again has its effect once, and is
// answered as it was.
func TestConnectIsRepeatable(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.create(things, 0, 5)
	run := func(n int, op command.Op) command.Outcome {
		t.Helper()
		out := f.apply(command.Command{Request: requestOf(n), Time: 1000, App: 16, Op: op})[0]
		if out.Fault != nil {
			t.Fatal(out.Fault)
		}
		return out
	}
	item := command.NewEntity{ID: thingID(9), JSON: []byte(`{"name":"nine"}`)}
	ops := []command.Op{
		link(0, "likes", 1),
		command.Connect{Source: thing(0), Verb: "likes", Rules: things, Create: &item},
		command.Connect{Source: thing(0), Verb: "likes", Target: thing(2), Rules: things, Patch: []byte(`{"a":1}`)},
		command.Disconnect{Source: thing(0), Verb: "likes", Targets: []command.Ref{thing(1), thing(3)}},
		command.UpdateEntities{Rules: things, IDs: []entity.ID{thingID(1), thingID(2)}, Patch: []byte(`{"b":2}`)},
		command.DeleteEntities{Collection: "things", IDs: []entity.ID{thingID(4), thingID(7)}},
	}
	var first []command.Outcome
	for i, op := range ops {
		first = append(first, run(i, op))
	}
	f.must(link(0, "likes", 1))
	f.must(command.UpdateEntity{Rules: things, Target: command.Target{ID: thingID(2)}, Patch: []byte(`{"c":3}`)})
	want := listed(t, f.view(), 0, keys.Outbound, "likes")
	for i, op := range ops {
		again := run(i, op)
		if again.Source != first[i].Source || again.Created != first[i].Created || again.Handled != first[i].Handled ||
			!slices.Equal(again.Collections, first[i].Collections) || len(again.Entities) != len(first[i].Entities) {
			t.Errorf("%T: first %+v, then %+v", op, first[i], again)
			continue
		}
		for n, e := range again.Entities {
			if e.ID != first[i].Entities[n].ID || !bytes.Contains(e.JSON, []byte(`"name"`)) {
				t.Errorf("%T: entity %d is %s %s", op, n, e.ID, e.JSON)
			}
		}
	}
	if got := listed(t, f.view(), 0, keys.Outbound, "likes"); !slices.Equal(got, want) || !slices.Equal(got, []int{1, 2, 9}) {
		t.Errorf("lists %v, had %v", got, want)
	}
	checkClean(t, f.state, 3)
}

// TestEdgesOfAnyCollection: a UUID without its type is found wherever it is, of the
// collection that the command names first.
func TestEdgesOfAnyCollection(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.create(things, 0, 1)
	for i := range 20 {
		name := fmt.Sprintf("kind%02d", i)
		f.create(command.Rules{Collection: name, Type: name}, 100+i, 101+i)
	}
	for i := range 20 {
		name := fmt.Sprintf("kind%02d", i)
		for _, hint := range []string{"", name, "kind07", "nothing"} {
			out := f.must(command.Connect{Source: thing(0), Verb: "likes", Target: command.Ref{Collection: hint, Any: true, Target: command.Target{ID: thingID(100 + i)}}})
			if out.Collections[0] != name || out.Entities[0].ID != thingID(100+i) || out.Source != thingID(0) {
				t.Errorf("%s by %q: %+v", name, hint, out)
			}
		}
		strict := command.Connect{Source: thing(0), Verb: "likes", Target: command.Ref{Collection: "things", Target: command.Target{ID: thingID(100 + i)}}}
		if out := f.apply(command.Command{App: 16, Op: strict})[0]; out.Fault == nil || out.Fault.Code != fault.ServiceResourceNotFound {
			t.Errorf("%s as a thing: %v", name, out.Fault)
		}
	}
	v := f.view()
	for c, want := range map[entity.CollectionID]string{1: "things", 9: "kind07", 99: ""} {
		for range 2 {
			if got, ok, err := storage.CollectionName(v, 16, c); got != want || ok != (want != "") || err != nil {
				t.Errorf("collection %d is %q, %v, %v", c, got, ok, err)
			}
		}
	}
	if _, _, ok, err := storage.Locate(v, 16, thingID(999)); ok || err != nil {
		t.Errorf("what is nowhere: %v %v", ok, err)
	}
	checkClean(t, f.state, 3)
}

// TestPurgedVerbsAreForgotten: what the machine knew of an application's verbs does
// not outlive it, nor the management application get any.
func TestPurgedVerbsAreForgotten(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.create(things, 0, 2)
	f.must(link(0, "likes", 1))
	f.apply(command.Command{App: 16, Op: command.PurgeApplication{}}, command.Command{App: 16, Op: link(0, "likes", 1)})
	if len(f.machine.verbs) != 0 {
		t.Errorf("still knows %v", f.machine.verbs)
	}
	lower, upper := keys.AppRange(3, 16)
	it, err := f.view().Scan(lower, upper)
	if err != nil {
		t.Fatal(err)
	}
	if it.First() {
		t.Errorf("key %x is left", it.Key())
	}
	it.Close()
	system := newFixture(t, entity.System, 0)
	for _, op := range []command.Op{link(0, "a", 1), command.DeleteEntities{}, command.UpdateEntities{}, command.Disconnect{}, command.DropEdges{}} {
		if out := system.apply(command.Command{App: entity.Management, Op: op})[0]; out.Fault == nil || out.Fault.Code != fault.ForbiddenOperation {
			t.Errorf("%T: %v", op, out.Fault)
		}
	}
}

// TestCheckFindsDamagedEdges damages sound edges in one place each.
func TestCheckFindsDamagedEdges(t *testing.T) {
	const p, app = entity.Partition(3), entity.AppID(16)
	one, two := entity.End{Collection: 1, Seq: 1}, entity.End{Collection: 1, Seq: 2}
	nobody := entity.End{Collection: 1, Seq: 77}
	record := func(n int, seq entity.Seq, out, in bool) []byte {
		return entity.AppendRecord(nil, &entity.Entity{ID: thingID(n), Seq: seq, Rev: seq, HasOut: out, HasIn: in, JSON: fmt.Appendf(nil, `{"name":"n%d"}`, n)})
	}
	for _, tc := range []struct {
		what   string // part of the problem that is reported
		damage func(b *storage.Batch)
	}{
		{"is listed at its other end", func(b *storage.Batch) { b.Delete(keys.AppendEdge(nil, p, app, keys.Inbound, two, 1, 1, one)) }},
		{"is listed at its other end", func(b *storage.Batch) { b.Delete(keys.AppendEdge(nil, p, app, keys.Outbound, one, 1, 1, two)) }},
		{"is listed at its source", func(b *storage.Batch) { b.Delete(keys.AppendEdge(nil, p, app, keys.Outbound, one, 1, 1, two)) }},
		{"are connected by 0", func(b *storage.Batch) { b.Delete(keys.AppendConnected(nil, p, app, one, 1, two)) }},
		{"are connected by 9", func(b *storage.Batch) {
			b.Set(keys.AppendConnected(nil, p, app, one, 1, two), keys.AppendSeq(nil, 9))
		}},
		{"counts 5 edges; there are 1", func(b *storage.Batch) {
			b.Set(keys.AppendVerb(nil, p, app, one, keys.Outbound, 1), storage.AppendVerbCount(nil, 5, "likes"))
		}},
		{"counts 0 edges; there are 1", func(b *storage.Batch) { b.Delete(keys.AppendVerb(nil, p, app, two, keys.Inbound, 1)) }},
		{"there are none", func(b *storage.Batch) {
			b.Set(keys.AppendVerb(nil, p, app, two, keys.Outbound, 1), storage.AppendVerbCount(nil, 1, "likes"))
		}},
		{`verb "loves" has number`, func(b *storage.Batch) {
			b.Set(keys.AppendVerb(nil, p, app, one, keys.Outbound, 1), storage.AppendVerbCount(nil, 1, "loves"))
		}},
		{"does not say that it has edges", func(b *storage.Batch) { b.Set(keys.AppendEntity(nil, p, app, 1, 1), record(0, 1, false, false)) }},
		{"does not say that it has edges", func(b *storage.Batch) { b.Set(keys.AppendEntity(nil, p, app, 1, 2), record(1, 2, true, false)) }},
		{"has none in direction 'c'", func(b *storage.Batch) { b.Set(keys.AppendEntity(nil, p, app, 1, 1), record(0, 1, true, true)) }},
		{"has none in direction 'C'", func(b *storage.Batch) { b.Set(keys.AppendEntity(nil, p, app, 1, 2), record(1, 2, true, true)) }},
		{"which does not exist", func(b *storage.Batch) { b.Delete(keys.AppendEntity(nil, p, app, 1, 2)) }},
		{"which exists", func(b *storage.Batch) {
			b.Set(keys.AppendTask(nil, p, thingID(50)), entity.AppendTask(nil, &entity.Task{
				ID: thingID(50), Kind: entity.TaskDropEdges, App: app, State: entity.TaskReady, Body: command.AppendEnds(nil, []entity.End{two})}))
		}},
		{"list of ends", func(b *storage.Batch) {
			b.Set(keys.AppendTask(nil, p, thingID(50)), entity.AppendTask(nil, &entity.Task{
				ID: thingID(50), Kind: entity.TaskDropEdges, App: app, State: entity.TaskReady, Body: []byte("x")}))
		}},
		{"was not given", func(b *storage.Batch) { b.Delete(keys.AppendEdges(nil, p, app)) }},
		{"damaged counter of edges", func(b *storage.Batch) { b.Set(keys.AppendEdges(nil, p, app), []byte("x")) }},
		{"damaged edge", func(b *storage.Batch) {
			b.Set(keys.AppendEdge(nil, p, app, keys.Outbound, one, 1, 1, two), []byte("x"))
		}},
		{"damaged edge", func(b *storage.Batch) { b.Set(keys.AppendConnected(nil, p, app, one, 1, nobody), []byte("x")) }},
		{"damaged number of edges", func(b *storage.Batch) { b.Set(keys.AppendVerb(nil, p, app, one, keys.Outbound, 1), []byte{0}) }},
		{"unknown kind", func(b *storage.Batch) { b.Set(append(keys.AppendEdges(nil, p, app), 0), keys.AppendSeq(nil, 3)) }},
	} {
		f := newFixture(t, p, 0)
		f.create(things, 0, 2)
		f.must(link(0, "likes", 1))
		checkClean(t, f.state, p)
		b := f.state.NewBatch(p)
		tc.damage(b)
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		report, err := Check(context.Background(), f.view())
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, problem := range report.Problems {
			found = found || strings.Contains(problem.String(), tc.what)
		}
		if !found {
			t.Errorf("no problem says %q: %v", tc.what, report.Problems)
		}
	}
}

// hubOf has a thing that is connected to so many others.
func hubOf(b *testing.B, n int) *fixture {
	f := newFixture(b, 3, 0)
	f.create(things, 0, n+1)
	order := rand.New(rand.NewPCG(1, 1)).Perm(n)
	for len(order) > 0 {
		k := min(64, len(order))
		cmds := make([]command.Command, k)
		for i, to := range order[:k] {
			cmds[i] = command.Command{App: 16, Op: link(0, "likes", to+1)}
		}
		order = order[k:]
		f.apply(cmds...)
	}
	return f
}

// BenchmarkConnect is the cost of one connection of many in an entry.
func BenchmarkConnect(b *testing.B) {
	const n = 100_000
	f := newFixture(b, 3, 0)
	f.create(things, 0, n)
	rng := rand.New(rand.NewPCG(1, 1))
	for _, tc := range []struct {
		name string
		op   func() command.Op
	}{
		{"new", func() command.Op { return link(rng.IntN(n), "likes", rng.IntN(n)) }},
		{"again", func() command.Op { return link(rng.IntN(8), "owns", rng.IntN(8)) }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			cmds := make([]command.Command, 0, 64)
			for range b.N {
				if cmds = append(cmds, command.Command{App: 16, Op: tc.op()}); len(cmds) == cap(cmds) {
					f.apply(cmds...)
					cmds = cmds[:0]
				}
			}
			if len(cmds) > 0 {
				f.apply(cmds...)
			}
		})
	}
}

// BenchmarkDeleteHub is the cost of a command that removes as many edges as one may.
func BenchmarkDeleteHub(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		f := hubOf(b, maxDropped)
		b.StartTimer()
		f.must(command.DeleteEntity{Collection: "things", Target: command.Target{ID: thingID(0)}})
	}
}

// BenchmarkPage reads a page of 10 edges of a million, with and without the entities
// at their ends.
func BenchmarkPage(b *testing.B) {
	f := hubOf(b, 1_000_000)
	if err := f.state.Flush(); err != nil {
		b.Fatal(err)
	}
	v := f.view()
	hub := endOf(b, v, 0)
	_, upper := keys.EdgeRange(3, 16, keys.Outbound, hub, 1)
	for _, from := range []entity.Seq{1_000_000, 500_000, 100} {
		for _, read := range []bool{false, true} {
			b.Run(fmt.Sprintf("from %d read %v", from, read), func(b *testing.B) {
				for b.Loop() {
					it, err := v.Scan(keys.AppendEdgeFrom(nil, 3, 16, keys.Outbound, hub, 1, from), upper)
					if err != nil {
						b.Fatal(err)
					}
					n := 0
					for ok := it.First(); ok && n < 10; ok = it.Next() {
						_, _, _, _, far, _ := keys.DecodeEdge(it.Key())
						if read {
							if _, ok, err := storage.ReadEntity(v, 16, far.Collection, far.Seq); !ok || err != nil {
								b.Fatal(ok, err)
							}
						}
						n++
					}
					if n != 10 {
						b.Fatalf("%d edges", n)
					}
					it.Close()
				}
			})
		}
	}
}

// TestClearedEntitiesLoseTheirEdges: clearing a collection deletes as a deletion does.
func TestClearedEntitiesLoseTheirEdges(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.create(things, 0, 3)
	f.must(link(0, "likes", 1))
	f.must(link(1, "likes", 2))
	f.must(command.ClearStep{Collection: "things", Seqs: []entity.Seq{1, 3}})
	v := f.view()
	for _, direction := range []byte{keys.Outbound, keys.Inbound} {
		if list, err := storage.Verbs(v, 16, endOf(t, v, 1), direction); err != nil || len(list) != 0 {
			t.Errorf("%c: %v %v", direction, list, err)
		}
	}
	checkClean(t, f.state, 3)
}
