package raftfsm

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

var manyLogs = flag.Int("logs", 200, "how many random logs the replicas are given")

const (
	testPartition = entity.Partition(3)
	testWindow    = 20
)

// replica is a machine with a disk, which can be restarted.
type replica struct {
	t       *testing.T
	fs      *vfs.MemFS
	store   *storage.Store
	machine *Machine
}

func newReplica(t *testing.T) *replica {
	r := &replica{t: t, fs: vfs.NewCrashableMem()}
	if err := r.fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := r.fs.OpenDir("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		t.Fatal(err)
	}
	r.start()
	return r
}

func (r *replica) start() {
	r.t.Helper()
	r.store = openStore(r.t, r.fs)
	var err error
	r.machine, err = Open(Config{
		Partition: testPartition, State: r.store.State(), DedupEntries: testWindow,
		Halt: func(err error) { r.t.Errorf("halted: %v", err) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) stop() {
	r.t.Helper()
	if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) digest() storage.Digest {
	r.t.Helper()
	return digestOf(r.t, r.store.State(), testPartition)
}

// crash returns what a power cut leaves of a disk, with so many percent of what
// was not synced.
func crash(fs *vfs.MemFS, percent int) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(1, 1))})
}

// clean fails the test if Check finds anything.
func (r *replica) clean() {
	r.t.Helper()
	checkClean(r.t, r.store.State(), testPartition)
}

func checkClean(t testing.TB, s *storage.State, p entity.Partition) {
	t.Helper()
	v := s.View(p)
	report, err := Check(context.Background(), v)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for _, problem := range report.Problems {
		t.Error(problem)
	}
}

// apply gives the log to the replica in batches of at most most entries, and
// adds what it answers to outcomes, by index.
func (r *replica) apply(log []*raft.Log, rng *rand.Rand, most int, outcomes map[uint64][]command.Outcome) {
	for len(log) > 0 {
		n := min(1+rng.IntN(most), len(log))
		for i, response := range r.machine.ApplyBatch(log[:n]) {
			if o, ok := response.([]command.Outcome); ok {
				outcomes[log[i].Index] = o
			}
		}
		log = log[n:]
	}
}

// TestReplicasAgreeWithTheModel gives random logs to a replica that applies them
// entry by entry, to one that takes batches and restarts, and to a model.
func TestReplicasAgreeWithTheModel(t *testing.T) {
	for seed := range uint64(*manyLogs) {
		rng := rand.New(rand.NewPCG(seed, 1))
		log := randomLog(rng, 20+rng.IntN(60), testWindow)

		plain, batched := newReplica(t), newReplica(t)
		first, second := map[uint64][]command.Outcome{}, map[uint64][]command.Outcome{}
		plain.apply(log, rng, 1, first)
		for rest := log; len(rest) > 0; {
			n := min(1+rng.IntN(40), len(rest))
			batched.apply(rest[:n], rng, 16, second)
			batched.stop()
			batched.start()
			back := rng.IntN(n) // Raft shows again what it does not know to be applied
			if responses := batched.machine.ApplyBatch(rest[back:n]); responses[0] != nil {
				t.Errorf("an entry was applied twice")
			}
			rest = rest[n:]
		}

		m := newModel(testWindow)
		for _, entry := range log {
			if entry.Type != raft.LogCommand {
				continue
			}
			cmds, err := command.DecodeEntry(entry.Data)
			if err != nil {
				t.Fatal(err)
			}
			for i := range cmds {
				want := m.apply(entry.Index, &cmds[i])
				got, err := outcomeOf(first[entry.Index][i])
				if err != nil {
					t.Fatalf("seed %d, entry %d: %v", seed, entry.Index, err)
				}
				if op, ok := cmds[i].Op.(command.CreateEntities); ok && len(op.Items) > 1 && !op.Partial {
					// Of several reasons to refuse a batch either may be named.
					if want.Code != "" && got.Code != "" {
						want.Code = got.Code
					}
				}
				switch cmds[i].Op.(type) {
				case command.PutSettings, command.ClearSettings, command.Reindex:
					// The model knows no plans: there may be too many, or no collection.
					if want.Code == "" && (got.Code == fault.Conflict || got.Code == fault.ServiceResourceNotFound) {
						want.Code = got.Code
					}
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("seed %d, entry %d, command %d (%T) (-model +machine):\n%s", seed, entry.Index, i, cmds[i].Op, d)
				}
			}
		}
		if d := cmp.Diff(first, second); d != "" {
			t.Errorf("outcomes (-entry by entry +in batches):\n%s", d)
		}
		if a, b := plain.digest(), batched.digest(); a != b {
			t.Errorf("digests differ: %v and %v", a, b)
		}
		plain.clean()
		rebuilt(t, plain.store.State())
		if last := log[len(log)-1].Index; plain.machine.Applied() != last || batched.digest().Applied != last {
			t.Errorf("applied %d, want %d", plain.machine.Applied(), last)
		}
		plain.stop()
		batched.stop()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// restoreFrom makes r what another replica is now, by way of a snapshot stream.
func (r *replica) restoreFrom(other *replica) {
	r.t.Helper()
	ctx := context.Background()
	spool, err := other.store.State().Spool(ctx, testPartition, other.store.SpoolDir()+"/test")
	if err != nil {
		r.t.Fatal(err)
	}
	stream, err := spool.Open()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.machine.Restore(stream); err != nil {
		r.t.Fatal(err)
	}
	if err := spool.Remove(); err != nil {
		r.t.Fatal(err)
	}
}

// TestRestoredReplicaAgrees gives a third replica a snapshot at a random point,
// over nothing or over what it has applied itself, then cuts its power, and
// goes on with the log: retries of requests from before the snapshot included.
func TestRestoredReplicaAgrees(t *testing.T) {
	for seed := range uint64(*manyLogs) / 2 {
		rng := rand.New(rand.NewPCG(seed, 3))
		log := randomLog(rng, 20+rng.IntN(60), testWindow)
		source, late := newReplica(t), newReplica(t)
		want, got := map[uint64][]command.Outcome{}, map[uint64][]command.Outcome{}
		at := rng.IntN(len(log))
		late.apply(log[:rng.IntN(at+1)], rng, 8, map[uint64][]command.Outcome{})
		source.apply(log[:at+1], rng, 8, want)
		versions := late.machine.Version(16)
		late.restoreFrom(source)
		if source.digest() != late.digest() || late.machine.Applied() != log[at].Index {
			t.Errorf("restored to index %d, want %d", late.machine.Applied(), log[at].Index)
		}
		if late.machine.Version(16) == versions {
			t.Error("a restore leaves versions as they were")
		}
		if rng.IntN(2) == 0 {
			fs := crash(late.fs, 0)
			late.stop()
			late.fs = fs
			late.start()
			if late.machine.Applied() != log[at].Index {
				t.Errorf("after a crash at index %d, want %d", late.machine.Applied(), log[at].Index)
			}
		}
		clear(want)
		source.apply(log[at+1:], rng, 8, want)
		from := rng.IntN(at + 2) // the snapshot may be newer than its marker
		late.apply(log[from:], rng, 8, got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("outcomes (-source +restored):\n%s", d)
		}
		if source.digest() != late.digest() {
			t.Error("digests differ")
		}
		late.clean()
		if rng.IntN(4) == 0 { // what is newer than the stream is kept
			older := newReplica(t)
			older.apply(log[:at+1], rng, 8, map[uint64][]command.Outcome{})
			late.restoreFrom(older)
			if source.digest() != late.digest() {
				t.Error("an older snapshot has taken the place of a newer state")
			}
			older.stop()
		}
		source.stop()
		late.stop()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestDamagedSnapshotChangesNothing flips one byte of a stream.
func TestDamagedSnapshotChangesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	source, late := newReplica(t), newReplica(t)
	source.apply(randomLog(rng, 50, testWindow), rng, 8, map[uint64][]command.Outcome{})
	late.apply(randomLog(rng, 5, testWindow), rng, 8, map[uint64][]command.Outcome{})
	before := late.digest()
	spool, err := source.store.State().Spool(context.Background(), testPartition, source.store.SpoolDir()+"/test")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := spool.Open()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(stream)
	if err := errors.Join(err, stream.Close(), spool.Remove()); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		damaged := bytes.Clone(whole)
		damaged[rng.IntN(len(damaged))] ^= 1 << rng.IntN(8)
		if err := late.machine.Restore(io.NopCloser(bytes.NewReader(damaged))); err == nil {
			t.Fatal("a damaged snapshot is restored")
		}
		if late.digest() != before {
			t.Fatal("a damaged snapshot has changed the state")
		}
	}
	source.stop()
	late.stop()
}

// TestCrashLeavesAPrefix cuts the power at a random point and keeps a part of
// what was not synced. The state is then that of some prefix of the log, whole,
// and replaying the log from there leads where it led before.
func TestCrashLeavesAPrefix(t *testing.T) {
	for seed := range uint64(*manyLogs) {
		rng := rand.New(rand.NewPCG(seed, 2))
		log := randomLog(rng, 20+rng.IntN(60), testWindow)
		r := newReplica(t)
		digests := map[uint64]storage.Digest{0: r.digest()}
		var durable uint64 // what a flush has promised
		crash := rng.IntN(len(log))
		for i, entry := range log[:crash+1] {
			r.machine.ApplyBatch([]*raft.Log{entry})
			digests[entry.Index] = r.digest()
			if rng.IntN(15) == 0 && i < crash {
				if err := r.store.State().Flush(); err != nil {
					t.Fatal(err)
				}
				durable = entry.Index
			}
		}
		after := r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[rng.IntN(3)], RNG: rng})
		r.stop()

		survivor := &replica{t: t, fs: after}
		survivor.start()
		at := survivor.machine.Applied()
		want, known := digests[at]
		if !known || at < durable {
			t.Errorf("state is at %d, flushed up to %d", at, durable)
		}
		if got := survivor.digest(); got != want {
			t.Errorf("state at %d is not what it was there", at)
		}
		survivor.clean()
		survivor.apply(log, rng, 8, map[uint64][]command.Outcome{})
		whole := newReplica(t)
		whole.apply(log, rng, 64, map[uint64][]command.Outcome{})
		if survivor.digest() != whole.digest() {
			t.Errorf("the replayed log leads elsewhere")
		}
		survivor.stop()
		whole.stop()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
