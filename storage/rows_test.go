package storage_test

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// Every commit gives all keys the same number. A view must show one number
// under every key, whether a row comes from memory or from Pebble; never one
// older than a commit that had returned before the view was opened; and a
// reader's views never go back.
func TestRowsAreExactWhileCommitsRun(t *testing.T) {
	const p, app, keysPerCommit, commits = 3, 16, 24, 1500
	store := storagetest.Open(t, storagetest.NewDisk())
	key := func(n int) []byte { return keys.AppendEntity(nil, p, app, 1, entity.Seq(n+1)) }
	var acknowledged atomic.Uint64
	batch := store.State().NewBatch(p)
	commit := func(number uint64) {
		batch.Reset()
		for n := range keysPerCommit {
			batch.Set(key(n), binary.BigEndian.AppendUint64(nil, number))
		}
		if err := batch.Commit(); err != nil {
			t.Errorf("commit: %v", err)
		}
		acknowledged.Store(number)
	}
	commit(1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for r := range 4 {
		rng := rand.New(rand.NewPCG(uint64(r), 1))
		wg.Go(func() { readNumbers(t, store, p, key, keysPerCommit, rng, &acknowledged, stop) })
	}
	for number := uint64(2); number <= commits && !t.Failed(); number++ {
		commit(number)
	}
	close(stop)
	wg.Wait()
}

func readNumbers(t *testing.T, store *storage.Store, p entity.Partition, key func(int) []byte, n int, rng *rand.Rand, acknowledged *atomic.Uint64, stop <-chan struct{}) {
	var before uint64
	for {
		select {
		case <-stop:
			return
		default:
		}
		floor := acknowledged.Load()
		view := store.State().View(p)
		var shown uint64
		for range 6 {
			value, ok, err := view.Get(nil, key(rng.IntN(n)))
			if err != nil || !ok {
				t.Errorf("get: %v %v", ok, err)
				break
			}
			number := binary.BigEndian.Uint64(value)
			if shown != 0 && number != shown {
				t.Errorf("one view shows %d and %d", shown, number)
			}
			shown = number
		}
		if err := view.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if shown < floor {
			t.Errorf("a view shows %d after %d was committed", shown, floor)
		}
		if shown < before {
			t.Errorf("a view shows %d after one that showed %d", shown, before)
		}
		if before = shown; t.Failed() {
			return
		}
	}
}

// A row that is deleted, or lies in a deleted range, is gone at once, and what
// is set in the same commit is there.
func TestRowsFollowDeletes(t *testing.T) {
	const p, app = 2, 16
	store := storagetest.Open(t, storagetest.NewDisk())
	key := func(n int) []byte { return keys.AppendEntity(nil, p, app, 1, entity.Seq(n)) }
	show := func() (found [4]bool) {
		for range 2 { // the second time from memory
			view := store.State().View(p)
			for n := range found {
				_, ok, err := view.Get(nil, key(n))
				if err != nil {
					t.Fatal(err)
				}
				found[n] = ok
			}
			if err := view.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return found
	}
	apply := func(fill func(*storage.Batch)) {
		t.Helper()
		b := store.State().NewBatch(p)
		fill(b)
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	apply(func(b *storage.Batch) {
		for n := range 4 {
			b.Set(key(n), []byte("value"))
		}
	})
	if got := show(); got != [4]bool{true, true, true, true} {
		t.Fatalf("after setting all: %v", got)
	}
	apply(func(b *storage.Batch) { b.Delete(key(2)) })
	if got := show(); got != [4]bool{true, true, false, true} {
		t.Fatalf("after deleting one: %v", got)
	}
	apply(func(b *storage.Batch) {
		lower, upper := keys.EntityRange(p, app, 1)
		b.DeleteRange(lower, upper)
		b.Set(key(1), []byte("again"))
	})
	if got := show(); got != [4]bool{false, true, false, false} {
		t.Fatalf("after deleting the range: %v", got)
	}
}

// That there is no row is remembered of settings only, and until there is one.
func TestAbsentRowsFollowCommits(t *testing.T) {
	const p, app = 2, 16
	store := storagetest.Open(t, storagetest.NewDisk())
	key := keys.AppendSettings(nil, p, app, 1)
	lower, upper := keys.IndexRange(p, app, 1, keys.KindSettings)
	show := func() (value string, found bool) {
		for range 2 { // the second time from memory
			view := store.State().View(p)
			raw, ok, err := view.Get([]byte("before "), key)
			if err != nil {
				t.Fatal(err)
			}
			if value, found = string(raw), ok; view.Close() != nil {
				t.Fatal("close")
			}
		}
		return value, found
	}
	for step, do := range []func(*storage.Batch){
		func(b *storage.Batch) { b.Set(keys.AppendSettings(nil, p, app, 2), []byte("other")) },
		func(b *storage.Batch) { b.Set(key, []byte("some")) },
		func(b *storage.Batch) { b.Set(key, nil) }, // there, and empty
		func(b *storage.Batch) { b.Delete(key) },
		func(b *storage.Batch) { b.Set(key, []byte("again")) },
		func(b *storage.Batch) { b.DeleteRange(lower, upper) },
	} {
		b := store.State().NewBatch(p)
		do(b)
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		want, there := "before ", step == 1 || step == 2 || step == 4
		if step == 1 {
			want += "some"
		} else if step == 4 {
			want += "again"
		}
		if value, found := show(); value != want || found != there {
			t.Errorf("step %d: %q, %t, want %q, %t", step, value, found, want, there)
		}
	}
}
