package storage_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// dropped says what a store still knows of a partition that it must not know.
func dropped(store *storage.Store, p entity.Partition) error {
	f, err := readPart(store, p)
	if err != nil {
		return err
	}
	if err := nothing().check(p, f); err != nil {
		return err
	}
	digest, err := store.State().Digest(context.Background(), p)
	if err != nil || digest.Keys != 0 {
		return fmt.Errorf("partition %d: the state has %d keys, %w", p, digest.Keys, err)
	}
	log := store.Log()
	if _, ok, err := log.Marker(p); ok || err != nil {
		return fmt.Errorf("partition %d: there is a marker, %w", p, err)
	}
	if log.First(p) != 0 || log.Last(p) != 0 || log.BytesSinceMarker(p) != 0 {
		return fmt.Errorf("partition %d: log from %d to %d, %d bytes", p, log.First(p), log.Last(p), log.BytesSinceMarker(p))
	}
	held, err := store.Replicas()
	if err != nil || held[p] != 0 {
		return fmt.Errorf("partition %d: replica %d is listed, %w", p, held[p], err)
	}
	list, err := store.Partitions()
	if err != nil || slices.Contains(list, p) {
		return fmt.Errorf("partition %d: listed among %v, %w", p, list, err)
	}
	if err := store.State().FlushTo(p, 1); err == nil {
		return fmt.Errorf("partition %d: its state counts as durable", p)
	}
	names, err := store.FS().List(store.SpoolDir())
	if err != nil || len(names) > 0 {
		return fmt.Errorf("spool holds %v, %w", names, err)
	}
	return nil
}

// live begins a replica and brings it some way, so that a part of its state is
// on disk and a part is not. If installed is set it begins with a snapshot, and
// its log anywhere.
func live(store *storage.Store, p entity.Partition, number uint32, installed []byte) (partModel, error) {
	m := nothing()
	m.replica = number
	log, state := store.Log(), store.State()
	if err := store.Adopt(p, number); err != nil {
		return m, err
	}
	if installed != nil {
		s := &script{store: store, streams: map[entity.Partition][]byte{p: installed}}
		if err := s.install(p, &m)(); err != nil {
			return m, err
		}
	}
	for range 3 {
		first := max(m.last(), m.marker) + 1
		var entries []storage.LogEntry
		for n := first; n < first+8; n++ {
			m.log[n] = string(entryData(p, n, uint64(number)))
			entries = append(entries, storage.LogEntry{Index: n, Data: []byte(m.log[n])})
		}
		m.stable["term"] = fmt.Sprint(first)
		if err := log.Append(p, entries, storage.KV{Key: []byte("term"), Value: []byte(m.stable["term"])}); err != nil {
			return m, err
		}
		if err := apply(state, p, m.applied+1, first+5); err != nil {
			return m, err
		}
		m.applied = first + 5
		if first%3 == 0 {
			continue
		}
		if err := setMarker(log, p, m.applied, ""); err != nil {
			return m, err
		}
		m.marker, m.durable = m.applied, m.applied
	}
	return m, nil
}

// verifyPart compares one partition with what was promised of it.
func verifyPart(store *storage.Store, p entity.Partition, m partModel) error {
	f, err := readPart(store, p)
	if err != nil {
		return err
	}
	return m.check(p, f)
}

func TestDropLeavesNothing(t *testing.T) {
	streams := makeStreams(t)
	disk := storagetest.NewDisk()
	store := storagetest.Open(t, disk)
	models := make(map[entity.Partition]partModel)
	for i, p := range partitions {
		m, err := live(store, p, uint32(i+1), streams[p])
		if err != nil {
			t.Fatal(err)
		}
		models[p] = m
	}
	for _, name := range []string{"received-left", "received-begun"} {
		in, err := store.Receive(1, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write(streams[1]); err != nil {
			t.Fatal(err)
		}
		if name == "received-left" {
			if err := in.Commit(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range partitions { // what live received and installed is not closed
		if err := store.DropReceived(fmt.Sprintf("received-%d-1", p)); err != nil {
			t.Fatal(err)
		}
	}
	held, err := store.Replicas()
	if want := map[entity.Partition]uint32{0: 1, 1: 2, 5: 3}; err != nil || !maps.Equal(held, want) {
		t.Fatalf("replicas %v, %v; want %v", held, err, want)
	}

	for range 2 { // there is no harm in a second one
		if err := store.Drop(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := dropped(store, 1); err != nil {
			t.Error(err)
		}
		for _, p := range []entity.Partition{0, 5} {
			if err := verifyPart(store, p, models[p]); err != nil {
				t.Error(err)
			}
		}
		store = storagetest.Open(t, storagetest.CutPower(disk, 0, nil))
	}
}

// TestReplicaAfterDrop: whatever the old replica was, the next one begins from
// nothing, by its log or by a snapshot, and is kept.
func TestReplicaAfterDrop(t *testing.T) {
	streams := makeStreams(t)
	const p = 5
	for _, old := range [][]byte{nil, streams[p]} {
		for _, next := range [][]byte{nil, streams[p]} {
			disk := storagetest.NewDisk()
			store := storagetest.Open(t, disk)
			if _, err := live(store, p, 7, old); err != nil {
				t.Fatal(err)
			}
			if err := store.Drop(context.Background(), p); err != nil {
				t.Fatal(err)
			}
			m, err := live(store, p, 8, next)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := verifyPart(store, p, m); err != nil {
					t.Errorf("old installed %v, next installed %v: %v", old != nil, next != nil, err)
				}
				store = storagetest.Open(t, storagetest.CutPower(disk, 0, nil))
			}
		}
	}
}

func TestAdopt(t *testing.T) {
	disk := storagetest.NewDisk()
	store := storagetest.Open(t, disk)
	const p, other = 3, 4
	adopt := func(p entity.Partition, number uint32, want string) {
		t.Helper()
		err := store.Adopt(p, number)
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("adopt replica %d of partition %d: %v, want %q", number, p, err, want)
		}
	}
	adopt(p, 0, "begin at 1")
	adopt(p, 2, "")
	adopt(p, 2, "")
	adopt(p, 3, "holds replica 2")
	if err := apply(store.State(), other, 1, 3); err != nil {
		t.Fatal(err)
	}
	adopt(other, 1, "no known replica")
	if err := store.Drop(context.Background(), other); err != nil {
		t.Fatal(err)
	}
	if err := store.Log().SetStable(other, storage.KV{Key: []byte("term"), Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	adopt(other, 1, "no known replica")

	store = storagetest.Open(t, storagetest.CutPower(disk, 0, nil))
	adopt(p, 3, "holds replica 2")
	adopt(p, 2, "")
	for _, p := range []entity.Partition{p, other} {
		if err := store.Drop(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
	adopt(p, 3, "")
	adopt(other, 1, "")
	if number, err := store.Replica(p); number != 3 || err != nil {
		t.Errorf("replica %d, %v", number, err)
	}
}

// TestViewsNeverMixReplicas: a view opened before a drop fails or shows the old
// replica; one opened after it shows the new one, whatever was cached of the old.
func TestViewsNeverMixReplicas(t *testing.T) {
	const p, app = 2, 16
	store := storagetest.Open(t, storagetest.NewDisk())
	entityKey := keys.AppendEntity(nil, p, app, 1, 1)
	fill := func(value, collection string) {
		t.Helper()
		b := store.State().NewBatch(p)
		b.Set(entityKey, []byte(value))
		if collection != "" {
			b.Set(keys.AppendName(nil, p, app, 0, collection), binary.AppendUvarint(nil, 1))
			b.Set(keys.AppendCollection(nil, p, app, 1), storage.AppendCollection(nil, &storage.Collection{NextSeq: 1}))
		}
		b.SetApplied(9)
		if err := errors.Join(b.Commit(), b.Close()); err != nil {
			t.Fatal(err)
		}
	}
	fill("old", "things")
	before := store.State().View(p)
	for range 2 { // the second time from what is cached
		if _, found, err := storage.ReadCollectionID(before, app, "things"); !found || err != nil {
			t.Fatal(found, err)
		}
		if value, _, err := before.Get(nil, entityKey); string(value) != "old" || err != nil {
			t.Fatalf("%q, %v", value, err)
		}
	}
	it, err := before.Scan(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Drop(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	between := store.State().View(p)
	if value, found, err := between.Get(nil, entityKey); found || err != nil {
		t.Errorf("after the drop a view shows %q, %v", value, err)
	}
	fill("new", "")
	after := store.State().View(p)

	if value, found, err := before.Get(nil, entityKey); fault.CodeOf(err) != fault.NoQuorum || found || len(value) > 0 && string(value) != "old" {
		t.Errorf("the old view shows %q, %v, %v", value, found, err)
	}
	if _, err := before.Applied(); fault.CodeOf(err) != fault.NoQuorum {
		t.Errorf("applied index of the old view: %v", err)
	}
	if _, err := before.Scan(nil, nil); fault.CodeOf(err) != fault.NoQuorum {
		t.Errorf("scan of the old view: %v", err)
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; bytes.Equal(it.Value(), []byte("new")) {
			t.Error("an old iterator shows the new replica")
		}
	}
	if n != 4 && it.Err() == nil {
		t.Errorf("an old iterator shows %d keys", n)
	}
	for range 2 {
		for _, shown := range []struct {
			view *storage.View
			want string
		}{{between, ""}, {after, "new"}} {
			if value, _, err := shown.view.Get(nil, entityKey); string(value) != shown.want || err != nil {
				t.Errorf("a view shows %q, %v; want %q", value, err, shown.want)
			}
			if _, found, err := storage.ReadCollectionID(shown.view, app, "things"); found || err != nil {
				t.Errorf("a view knows a name of the old replica: %v, %v", found, err)
			}
		}
	}
	if err := errors.Join(it.Close(), before.Close(), between.Close(), after.Close()); err != nil {
		t.Error(err)
	}
}

// TestDropThatFailsIsTakenUpAgain: the log takes nothing while a drop stands
// half-way, by a second Drop it comes to its end, and by a restart as well.
func TestDropThatFailsIsTakenUpAgain(t *testing.T) {
	const p = 1
	streams := makeStreams(t)
	for _, restart := range []bool{false, true} {
		disk := storagetest.NewDisk()
		store := storagetest.Open(t, disk)
		m, err := live(store, p, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if err := store.Drop(ended, p); !errors.Is(err, context.Canceled) {
			t.Errorf("drop when its context has ended: %v", err)
		}
		if err := verifyPart(store, p, m); err != nil {
			t.Errorf("after a drop that did not begin: %v", err)
		}

		in, err := store.Receive(p, "received-1-9")
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Abort(); err != nil {
			t.Fatal(err)
		}
		if in, err = store.Receive(p, "received-1-10"); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write(streams[p]); err != nil {
			t.Fatal(err)
		}
		if err := in.Commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		// A directory in its place cannot be removed like a file.
		stuck := disk.PathJoin(store.SpoolDir(), "received-1-10")
		if err := errors.Join(disk.Remove(stuck), disk.MkdirAll(disk.PathJoin(stuck, "x"), 0o750)); err != nil {
			t.Fatal(err)
		}
		if err := store.Drop(context.Background(), p); err == nil {
			t.Fatal("the drop did not fail")
		}
		log := store.Log()
		for what, err := range map[string]error{
			"append":         log.Append(p, oneEntry(1, "entry")),
			"stable value":   log.SetStable(p, storage.KV{Key: []byte("term"), Value: []byte("2")}),
			"truncation":     log.DeleteSuffix(p, 1),
			"marker":         setMarker(log, p, 200, "received-1-11"),
			"the same again": store.Adopt(p, 1),
			"another":        store.Adopt(p, 2),
		} {
			if err == nil {
				t.Errorf("%s: taken in the middle of a drop", what)
			}
		}
		if restart {
			store = storagetest.Open(t, storagetest.CutPower(disk, 0, nil))
		} else {
			if err := disk.RemoveAll(stuck); err != nil {
				t.Fatal(err)
			}
			if err := store.Drop(context.Background(), p); err != nil {
				t.Fatal(err)
			}
		}
		if err := dropped(store, p); err != nil {
			t.Errorf("restart %v: %v", restart, err)
		}
		if err := store.Adopt(p, 2); err != nil {
			t.Error(err)
		}
	}
}

func oneEntry(index uint64, data string) []storage.LogEntry {
	return []storage.LogEntry{{Index: index, Data: []byte(data)}}
}

// crashes counts how drops that were cut short ended.
type crashes struct{ inside, whole, gone int }

// TestCrashInsideDrop cuts the power before a random operation of the disk
// inside a drop. The partition is whole or gone, the others are as they were,
// and the next replica is kept.
func TestCrashInsideDrop(t *testing.T) {
	streams := makeStreams(t)
	var seen crashes
	for seed := range uint64(400) {
		crashDrop(t, seed, []int{0, 50, 100}[seed%3], streams, &seen)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d crashes inside a drop: %d partitions whole, %d gone", seen.inside, seen.whole, seen.gone)
	if seen.inside < 200 || seen.whole < 40 || seen.gone < 100 {
		t.Error("the crashes do not meet what they are meant to")
	}
}

func crashDrop(t *testing.T, seed uint64, percent int, streams map[entity.Partition][]byte, seen *crashes) {
	rng := rand.New(rand.NewPCG(seed, 31))
	disk := storagetest.NewDisk()
	var mu sync.Mutex
	countdown := -1
	var crashed *storagetest.Disk
	cut := rand.New(rand.NewPCG(seed, 32))
	cfg, halts := storagetest.Config(storagetest.Watched(disk, func() {
		mu.Lock()
		defer mu.Unlock()
		if countdown--; countdown == 0 {
			crashed = storagetest.CutPower(disk, percent, cut)
		}
	}))
	store, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(rng, streams)
	s.store = store
	for range 10 + rng.IntN(50) {
		if err := s.step(); err != nil {
			t.Fatal(err)
		}
	}
	p := partitions[rng.IntN(len(partitions))]
	s.begin(p, nothing())
	mu.Lock()
	countdown = 1 + rng.IntN(8)
	if seed%2 == 0 {
		countdown = 1 + rng.IntN(30)
	}
	mu.Unlock()
	if err := store.Drop(context.Background(), p); err != nil {
		t.Error(err)
	}
	mu.Lock()
	countdown = -1
	if crashed != nil {
		seen.inside++
	} else {
		crashed, s.before = storagetest.CutPower(disk, percent, cut), s.after
	}
	mu.Unlock()
	if err := errors.Join(store.Close(), halts.Err()); err != nil {
		t.Error(err)
	}

	cfg, halts = storagetest.Config(crashed)
	if store, err = storage.Open(cfg); err != nil {
		t.Errorf("open after the crash: %v", err)
		return
	}
	defer func() {
		if err := errors.Join(store.Close(), halts.Err()); err != nil {
			t.Error(err)
		}
	}()
	if err := verify(store, s.before, s.after); err != nil {
		t.Error(err)
	}
	number, err := store.Replica(p)
	if err != nil {
		t.Error(err)
	}
	if number != 0 {
		seen.whole++
		err = store.Drop(context.Background(), p)
	} else {
		seen.gone++
		err = dropped(store, p)
	}
	if err != nil {
		t.Error(err)
	}
	var installed []byte
	if rng.IntN(2) == 0 {
		installed = streams[p]
	}
	m, err := live(store, p, 1000, installed)
	if err != nil {
		t.Error(err)
		return
	}
	again := storagetest.Open(t, storagetest.CutPower(crashed, percent, cut))
	s.before[p], s.after[p] = m, m
	if err := verify(again, s.before, s.after); err != nil {
		t.Errorf("the next replica: %v", err)
	}
}

// TestFailedDiskInsideDrop fails every operation of the disk during a drop in
// turn, once alone and once with all writes after it.
func TestFailedDiskInsideDrop(t *testing.T) {
	streams := makeStreams(t)
	total := failDrop(t, -1, false, streams)
	t.Logf("a drop has %d operations", total)
	if total < 10 {
		t.Fatalf("a drop has only %d operations", total)
	}
	for index := range total {
		for _, all := range []bool{false, true} {
			failDrop(t, index, all, streams)
			if t.Failed() {
				t.Fatalf("operation %d of %d failed, all %v", index, total, all)
			}
		}
	}
}

// failDrop returns how many operations of the disk the drop had.
func failDrop(t *testing.T, index int64, all bool, streams map[entity.Partition][]byte) int64 {
	const p = 1
	disk := storagetest.NewDisk()
	cfg, halts := storagetest.Config(nil)
	fs, operations := storagetest.Failing(disk, index, all, halts)
	operations.Store(-1 << 40) // what comes before the drop does not count
	cfg.FS = fs
	store, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(rand.New(rand.NewPCG(8, 8)), streams)
	s.store = store
	for n := 0; n < 40 || s.before[p].applied <= s.before[p].durable; n++ {
		if err := s.step(); err != nil {
			t.Fatal(err)
		}
	}
	s.begin(p, nothing())
	stopped, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		operations.Store(0)
		err := store.Drop(context.Background(), p)
		if err != nil && index >= 0 && !all && halts.Err() == nil { // the disk is well again
			err = store.Drop(context.Background(), p)
		}
		stopped <- err
		closed <- closeUnlessHalted(store, halts)
	}()
	var total int64
	select {
	case err := <-stopped:
		total = operations.Load() // and perhaps some of closing
		if err != nil && !all && halts.Err() == nil {
			t.Error(err)
		}
		if err == nil && halts.Err() == nil {
			s.before = s.after
		}
		// The operation may have been one of a reader in the background, whose
		// failure the next reader shares: closing has the right to fail.
		select {
		case err := <-closed:
			if err != nil && index < 0 {
				t.Error(err)
			}
		case <-halts.Done():
		}
	case <-halts.Done(): // the drop never returns, or fails
		if index < 0 {
			t.Fatal(halts.Err())
		}
	}

	clean, again := storagetest.Config(storagetest.CutPower(disk, 0, nil))
	after, err := storage.Open(clean) // a drop that was parked still has the old one
	if err != nil {
		t.Errorf("open after the failure: %v", err)
		return total
	}
	err = verify(after, s.before, s.after)
	if number, _ := after.Replica(p); number != 0 {
		err = errors.Join(err, after.Drop(context.Background(), p))
	}
	err = errors.Join(err, dropped(after, p))
	m, failed := live(after, p, 1000, nil)
	if err = errors.Join(err, failed, verifyPart(after, p, m), after.Close(), again.Err()); err != nil {
		t.Errorf("after the failure: %v", err)
	}
	return total
}

// TestDropWhileOthersCommit gives a partition up and takes it again, many times,
// while others append, apply and are read, and the state is flushed all the time.
// A power loss then finds everything that was promised.
func TestDropWhileOthersCommit(t *testing.T) {
	const given = 1
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	streams := makeStreams(t)
	disk := storagetest.NewDisk()
	store := storagetest.Open(t, disk)
	stop := make(chan struct{})
	running := func() bool {
		select {
		case <-stop:
			return false
		default:
			return !t.Failed()
		}
	}
	var mu sync.Mutex
	applied := make(map[entity.Partition]uint64)
	var wg sync.WaitGroup
	for _, p := range []entity.Partition{0, 5} {
		if err := store.Adopt(p, 1); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for n := uint64(1); running(); n++ {
				if err := errors.Join(store.Log().Append(p, oneEntry(n, "entry")), apply(store.State(), p, n, n)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				applied[p] = n
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		for running() {
			if err := store.State().Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() { readDropped(t, store, given, running) })
	var m partModel
	for round := range uint32(rounds) {
		var installed []byte
		if round%2 == 1 {
			installed = streams[given]
		}
		var err error
		if m, err = live(store, given, round+1, installed); err != nil {
			t.Error(err)
			break
		}
		if err := verifyPart(store, given, m); err != nil {
			t.Errorf("round %d: %v", round, err)
			break
		}
		if int(round) == rounds-1 {
			break
		}
		if err := store.Drop(context.Background(), given); err != nil {
			t.Error(err)
			break
		}
	}
	after := storagetest.CutPower(disk, 0, nil)
	close(stop)
	wg.Wait()

	store = storagetest.Open(t, after)
	if err := verifyPart(store, given, m); err != nil {
		t.Error(err)
	}
	for p, to := range applied {
		f, err := readPart(store, p)
		if err != nil {
			t.Fatal(err)
		}
		if f.replica != 1 || f.applied > to || f.applied > uint64(len(f.log)) || !maps.Equal(f.state, stateAt(p, f.applied)) {
			t.Errorf("partition %d: replica %d, state at %d with %d keys, %d log entries", p, f.replica, f.applied, len(f.state), len(f.log))
		}
	}
}

// readDropped reads a partition that comes and goes: what it is shown belongs
// together, or is an error that says to try again.
func readDropped(t *testing.T, store *storage.Store, p entity.Partition, running func() bool) {
	for running() {
		f, err := readPart(store, p)
		if fault.Is(err, fault.NoQuorum) {
			continue
		}
		if err != nil || !maps.Equal(f.state, stateAt(p, f.applied)) {
			t.Errorf("state at %d with %d keys, %v", f.applied, len(f.state), err)
		}
	}
}

// TestMarksNoticeDamageAfterDrop flips every bit position that a replica after
// a drop wrote to the newest log file: it is noticed, or nothing is lost.
func TestMarksNoticeDamageAfterDrop(t *testing.T) {
	const p = 1
	disk := storagetest.NewDisk()
	store := storagetest.Open(t, disk)
	promised := make(map[entity.Partition]partModel)
	for _, q := range partitions {
		m, err := live(store, q, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		promised[q] = m
	}
	size := newestLog(t, disk).Size
	if err := store.Drop(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	m, err := live(store, p, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	promised[p] = m
	killed := storagetest.CutPower(disk, 100, rand.New(rand.NewPCG(0, 0)))
	if err, wrong := readAll(storagetest.CutPower(killed, 100, rand.New(rand.NewPCG(0, 0))), promised); err != nil || wrong != nil {
		t.Fatal(err, wrong)
	}
	file := newestLog(t, killed)
	noticed := 0
	rng := rand.New(rand.NewPCG(3, 3))
	for at := size; at < file.Size; at += 1 + rng.Int64N(12) {
		damaged := storagetest.CutPower(killed, 100, rng)
		storagetest.Flip(t, damaged, file.Path, at, uint(rng.IntN(8)))
		err, wrong := readAll(damaged, promised)
		if wrong != nil {
			t.Errorf("byte %d of %d flipped, and nobody noticed: %v", at, file.Size, wrong)
		}
		if err != nil {
			noticed++
		}
	}
	t.Logf("bytes %d to %d: %d noticed", size, file.Size, noticed)
	if noticed < 20 {
		t.Error("next to nothing was noticed")
	}
}

// newestLog returns the write-ahead log that the log DB writes to.
func newestLog(t *testing.T, disk *storagetest.Disk) storagetest.File {
	t.Helper()
	var newest storagetest.File
	for _, f := range storagetest.Files(t, disk) {
		if strings.HasSuffix(f.Path, ".log") && path.Base(path.Dir(f.Path)) == "log" && f.Path > newest.Path {
			newest = f
		}
	}
	if newest.Size == 0 {
		t.Fatal("the log DB has no write-ahead log")
	}
	return newest
}
