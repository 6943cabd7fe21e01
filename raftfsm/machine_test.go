package raftfsm

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// TestUnknownEntryHalts: whatever the machine cannot read ends the node, and
// nothing of its batch is acknowledged or seen.
func TestUnknownEntryHalts(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty entry":  nil,
		"later format": {2, 1},
		"later kind":   append([]byte{1, 1, 200}, make([]byte, 30)...),
	} {
		f := newFixture(t, 3, 0)
		before := f.digest()
		responses := f.machine.ApplyBatch([]*raft.Log{
			entryOf(1, createItem(1, 1, `{"name":"milk"}`)),
			{Index: 2, Type: raft.LogCommand, Data: data},
			entryOf(3, createItem(2, 2, `{"name":"bread"}`)),
		})
		if f.halted == nil || !strings.Contains(f.halted.Error(), "partition 3: apply log entry 2") {
			t.Errorf("%s: halted with %v", name, f.halted)
		}
		for i, r := range responses {
			if r != nil {
				t.Errorf("%s: entry %d was answered", name, i+1)
			}
		}
		if f.digest() != before || f.machine.Applied() != 0 {
			t.Errorf("%s: the state has changed", name)
		}
		if r := f.machine.Apply(entryOf(4, createItem(3, 3, `{}`))); r != nil {
			t.Errorf("%s: the machine goes on", name)
		}
		if _, err := f.machine.Snapshot(); err == nil {
			t.Errorf("%s: a halted machine takes snapshots", name)
		}
	}
}

func TestWaitAppliedWaitsForItsIndex(t *testing.T) {
	f := newFixture(t, 3, 0)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := make(chan uint64, 3)
	for _, index := range []uint64{1, 2, 2} {
		go func() {
			if err := f.machine.WaitApplied(ctx, index); err != nil {
				t.Error(err)
			}
			done <- f.machine.Applied() - min(f.machine.Applied(), index)
		}()
	}
	f.apply(createItem(1, 1, `{}`))
	// A configuration entry counts: a read may wait for its index.
	if r := f.machine.Apply(&raft.Log{Index: 2, Type: raft.LogConfiguration}); r != nil {
		t.Errorf("a configuration entry is answered with %v", r)
	}
	for range 3 {
		<-done
	}
	if got, err := f.state.Applied(3); err != nil || got != 2 {
		t.Errorf("the state is at %d (%v), want 2", got, err)
	}

	gone := errors.New("the client has gone")
	ended, stop := context.WithCancelCause(context.Background())
	stop(gone)
	if err := f.machine.WaitApplied(ended, 9); !errors.Is(err, gone) {
		t.Errorf("error is %v", err)
	}
	if n := len(f.machine.applied.mu.waiting); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
	if err := f.machine.WaitApplied(ended, 2); err != nil {
		t.Errorf("what is applied is not waited for: %v", err)
	}
}

func TestLargestEntity(t *testing.T) {
	f := newFixture(t, 3, 0)
	json := func(n int) string { return `{"a":"` + strings.Repeat("x", n-len(`{"a":""}`)) + `"}` }
	if out := f.apply(createItem(1, 1, json(command.MaxEntity)))[0]; out.Fault != nil {
		t.Fatal(out.Fault)
	}
	if out := f.apply(createItem(2, 2, json(command.MaxEntity+1)))[0]; out.Fault == nil || out.Fault.Code != fault.EntityTooLarge {
		t.Errorf("created: %v", out.Fault)
	}
	before := f.digest()
	grow := command.Command{App: 16, Op: command.UpdateEntity{
		Rules: command.Rules{Collection: "items", Type: "item"}, Target: command.Target{ID: idOf(1)}, Patch: []byte(`{"b":1}`),
	}}
	if out := f.apply(grow)[0]; out.Fault == nil || out.Fault.Code != fault.EntityTooLarge {
		t.Errorf("updated: %v", out.Fault)
	}
	if after := f.digest(); after.Keys != before.Keys {
		t.Errorf("the refused update wrote %d keys", after.Keys-before.Keys)
	}
}

// TestOutcomesOutliveTheBatch: memory that the machine reuses is in no outcome.
func TestOutcomesOutliveTheBatch(t *testing.T) {
	f := newFixture(t, 3, 0)
	update := func(patch string) command.Outcome {
		return f.apply(command.Command{App: 16, Op: command.UpdateEntity{
			Rules: command.Rules{Collection: "items", Type: "item"}, Target: command.Target{ID: idOf(1)}, Patch: []byte(patch),
		}})[0]
	}
	f.apply(createItem(1, 1, `{"name":"milk"}`))
	first := update(`{"n":1}`)
	removed := f.apply(command.Command{App: 16, Op: command.DeleteEntity{Collection: "items", Target: command.Target{ID: idOf(1)}}})[0]
	f.apply(createItem(2, 1, `{"name":"xxxxxxxxxxxx"}`))
	update(`{"n":"yyyyyyyy"}`)
	for _, out := range []command.Outcome{first, removed} {
		if got := string(out.Entities[0].JSON); got != `{"name":"milk","n":1}` {
			t.Errorf("an outcome has become %s", got)
		}
	}
}

func TestVersionsGrowWithPrincipals(t *testing.T) {
	f := newFixture(t, entity.System, 0)
	token := command.Command{App: entity.Management, Op: command.PutToken{Token: entity.Token{Kind: entity.PrincipalAdmin}}}
	before := f.machine.Version(entity.Management)
	f.apply(token)
	if f.machine.Version(entity.Management) != before {
		t.Error("a new token changes the version")
	}
	token.Op = command.RevokeToken{}
	f.apply(token)
	if f.machine.Version(entity.Management) == before {
		t.Error("a revoked token leaves the version")
	}
}

// sink is where a marker is persisted to.
type sink struct {
	raft.SnapshotSink
	local, closed, cancelled bool
}

func (s *sink) MarkLocal()    { s.local = true }
func (s *sink) Close() error  { s.closed = true; return nil }
func (s *sink) Cancel() error { s.cancelled = true; return nil }

func TestSnapshotIsAMarkerOfDurableState(t *testing.T) {
	r := newReplica(t)
	defer r.stop()
	r.machine.Apply(entryOf(1, createItem(1, 1, `{"name":"milk"}`)))
	snapshot, err := r.machine.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var s sink
	if err := snapshot.Persist(&s); err != nil || !s.local || !s.closed || s.cancelled {
		t.Fatalf("persisted to %+v: %v", s, err)
	}
	snapshot.Release()

	after := &replica{t: t, fs: crash(r.fs, 0)}
	after.start()
	defer after.stop()
	if after.machine.Applied() != 1 || after.digest() != r.digest() {
		t.Errorf("after a crash the state is at %d", after.machine.Applied())
	}

	var plain struct{ raft.SnapshotSink }
	plain.SnapshotSink = &discard{}
	if err := snapshot.Persist(plain); err == nil {
		t.Error("a store that cannot hold markers is given one")
	}
}

// discard is a sink that knows no markers.
type discard struct{ io.Writer }

func (discard) ID() string    { return "" }
func (discard) Close() error  { return nil }
func (discard) Cancel() error { return nil }
