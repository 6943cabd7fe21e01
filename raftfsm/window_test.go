package raftfsm

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func createItem(request, id int, json string) command.Command {
	return command.Command{
		Request: requestOf(request), Time: 1000, App: 16,
		Op: command.CreateEntities{
			Rules: command.Rules{Collection: "items", Type: "item", Unique: []string{"name"}},
			Items: []command.NewEntity{{ID: idOf(id), Created: 1, Modified: 1, JSON: []byte(json)}},
		},
	}
}

func TestRetryGetsTheRecordedOutcome(t *testing.T) {
	const dedup = 32
	f := newFixture(t, 3, dedup)
	milk := createItem(1, 1, `{"name":"milk"}`)
	first := f.apply(milk)[0]
	taken := createItem(2, 2, `{"name":"MILK"}`)
	refused := f.apply(taken)[0]
	remove := command.Command{Request: requestOf(3), App: 16, Op: command.DeleteEntity{Collection: "items", Target: command.Target{ID: idOf(9)}}}
	f.apply(createItem(4, 9, `{"name":"salt"}`))
	removed := f.apply(remove)[0]

	again := func(when string) {
		t.Helper()
		if d := cmp.Diff(first, f.apply(milk)[0]); d != "" {
			t.Errorf("%s: created (-first +retry):\n%s", when, d)
		}
		if d := cmp.Diff(refused, f.apply(taken)[0]); d != "" {
			t.Errorf("%s: refused (-first +retry):\n%s", when, d)
		}
		if d := cmp.Diff(removed, f.apply(remove)[0]); d != "" {
			t.Errorf("%s: deleted (-first +retry):\n%s", when, d)
		}
	}
	again("at once")
	twice := createItem(5, 5, `{"name":"bread"}`)
	if out := f.apply(twice, twice); out[1].Fault != nil || !cmp.Equal(out[0], out[1]) {
		t.Errorf("in one entry: %+v, then %+v", out[0], out[1])
	}
	f.machine = f.open(3, dedup)
	again("after a restart")

	// A request id belongs to one command of one application.
	other := milk
	other.App = 17
	if out := f.apply(other)[0]; out.Fault == nil || out.Fault.Code != fault.Conflict || len(out.Entities) > 0 {
		t.Errorf("another application gets %+v", out)
	}
	kind := milk
	kind.Op = command.CreateCollections{Names: []string{"x"}}
	if out := f.apply(kind)[0]; out.Fault == nil || out.Fault.Code != fault.Conflict {
		t.Errorf("another command gets %+v", out)
	}

	// Of an entity that was deleted since, the answer shows what the request brought.
	f.apply(command.Command{App: 16, Op: command.DeleteEntity{Collection: "items", Target: command.Target{ID: idOf(1)}}})
	out := f.apply(milk)[0]
	if out.Fault != nil || out.Entities[0].ID != idOf(1) || string(out.Entities[0].JSON) != `{"name":"milk"}` {
		t.Errorf("after its deletion: %+v", out)
	}

	// Beyond the window it is a new request.
	f.index += 2 * dedup
	if out := f.apply(milk)[0]; out.Fault != nil || out.Entities[0].Seq == first.Entities[0].Seq {
		t.Errorf("beyond the window: %+v", out)
	}
}

// TestCrowdedWindowStaysBounded gives more requests than a window holds: how
// many are forgotten depends on nothing but the log.
func TestCrowdedWindowStaysBounded(t *testing.T) {
	const most, dedup = 50, 64
	rng := rand.New(rand.NewPCG(1, 1))
	f, g := newFixture(t, 3, dedup), newFixture(t, 3, dedup)
	f.machine.window.most, g.machine.window.most = most, most
	for i := range 300 {
		cmds := make([]command.Command, 1+rng.IntN(8))
		for k := range cmds {
			cmds[k] = command.Command{Request: requestOf(rng.IntN(600)), App: 16, Op: command.PutToken{Hash: [32]byte{byte(k)}, Token: entity.Token{Created: int64(i)}}}
		}
		f.apply(cmds...)
		g.apply(cmds...)
		if rng.IntN(10) == 0 {
			g.machine = g.open(3, dedup)
			g.machine.window.most = most
		}
		if n, inOneEpoch := len(f.machine.window.seen), 4*8; n > most+inOneEpoch+8 {
			t.Fatalf("the window holds %d requests", n)
		}
		if f.digest() != g.digest() {
			t.Fatalf("digests differ after entry %d", i+1)
		}
	}
	if v := f.dump(); len(v) > most+100 {
		t.Errorf("the state holds %d keys", len(v))
	}
}
