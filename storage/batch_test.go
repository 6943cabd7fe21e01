package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// TestBatchIsAMap compares random batches with a map, read through the batch
// before the commit and from the state after it.
func TestBatchIsAMap(t *testing.T) {
	store := storagetest.Open(t, storagetest.NewDisk())
	model := make(map[string]string)
	b := store.State().NewBatch(2)
	rapid.Check(t, func(t *rapid.T) {
		b.Reset()
		for range rapid.IntRange(0, 400).Draw(t, "operations") {
			if rapid.IntRange(0, 99).Draw(t, "clear") == 0 {
				lower, upper := "\x00\x00\x00\x02k1", fmt.Sprintf("\x00\x00\x00\x02k%d", rapid.IntRange(0, 9).Draw(t, "upper"))
				b.DeleteRange([]byte(lower), []byte(upper))
				maps.DeleteFunc(model, func(key, _ string) bool { return key >= lower && key < upper })
			}
			key := fmt.Sprintf("\x00\x00\x00\x02k%d", rapid.IntRange(0, 300).Draw(t, "key"))
			if rapid.Bool().Draw(t, "set") {
				model[key] = rapid.StringN(0, 20, 40).Draw(t, "value")
				b.Set([]byte(key), []byte(model[key]))
			} else {
				delete(model, key)
				b.Delete([]byte(key))
			}
			other := fmt.Sprintf("\x00\x00\x00\x02k%d", rapid.IntRange(0, 300).Draw(t, "read"))
			got, ok, err := b.Get(nil, []byte(other))
			if want, exists := model[other]; err != nil || ok != exists || string(got) != want {
				t.Fatalf("read %q: %q, %v, %v; want %q, %v", other, got, ok, err, want, exists)
			}
			if rapid.IntRange(0, 9).Draw(t, "scan") == 0 {
				scanAgainst(t, b, model)
			}
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		v := store.State().View(2)
		it, err := v.Scan(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ok := it.First(); ok; ok = it.Next() {
			if model[string(it.Key())] != string(it.Value()) {
				t.Fatalf("key %q is %q, want %q", it.Key(), it.Value(), model[string(it.Key())])
			}
			n++
		}
		if err := errors.Join(it.Err(), it.Close(), v.Close()); err != nil || n != len(model) {
			t.Fatalf("%d keys, want %d; %v", n, len(model), err)
		}
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// scanAgainst compares a scan of a batch, of random bounds and length, with a map.
func scanAgainst(t *rapid.T, b *storage.Batch, model map[string]string) {
	bounds := []string{
		fmt.Sprintf("\x00\x00\x00\x02k%d", rapid.IntRange(0, 300).Draw(t, "lower")),
		fmt.Sprintf("\x00\x00\x00\x02k%d", rapid.IntRange(0, 300).Draw(t, "upper")),
	}
	slices.Sort(bounds)
	most := rapid.IntRange(1, 100).Draw(t, "most")
	var want, got []string
	for _, key := range slices.Sorted(maps.Keys(model)) {
		if key >= bounds[0] && key < bounds[1] && len(want) < most {
			want = append(want, key+"="+model[key])
		}
	}
	err := b.Scan([]byte(bounds[0]), []byte(bounds[1]), func(key, value []byte) bool {
		got = append(got, string(key)+"="+string(value))
		return len(got) < most
	})
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("scan of %q: %q, %v; want %q", bounds, got, err, want)
	}
}

// TestViewNoticesARestore: a view opened before its partition was replaced must
// not show half of it.
func TestViewNoticesARestore(t *testing.T) {
	streams := makeStreams(t)
	store := storagetest.Open(t, storagetest.NewDisk())
	if err := apply(store.State(), 1, 1, 5); err != nil {
		t.Fatal(err)
	}
	v, other := store.State().View(1), store.State().View(5)
	it, err := v.Scan(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.State().Restore(context.Background(), 1, bytes.NewReader(streams[1])); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if n != 6 { // five keys and the applied index
		t.Errorf("an iterator from before sees %d keys", n)
	}
	if _, _, err := v.Get(nil, stateKey(1, 3)); fault.CodeOf(err) != fault.NoQuorum {
		t.Errorf("get: %v", err)
	}
	if _, err := v.Applied(); err == nil {
		t.Error("applied index without an error")
	}
	if _, err := v.Scan(nil, nil); err == nil {
		t.Error("scan without an error")
	}
	if _, err := other.Applied(); err != nil {
		t.Errorf("view of another partition: %v", err)
	}
	if err := errors.Join(it.Close(), v.Close(), other.Close()); err != nil {
		t.Error(err)
	}
}

// TestKeysOfOthersAreRefused: nothing crosses partitions.
func TestKeysOfOthersAreRefused(t *testing.T) {
	store := storagetest.Open(t, storagetest.NewDisk())
	v := store.State().View(1)
	if _, _, err := v.Get(nil, stateKey(5, 1)); err == nil {
		t.Error("a view reads another partition")
	}
	if _, err := v.Scan(stateKey(1, 1), stateKey(5, 1)); err == nil {
		t.Error("a scan leaves its partition")
	}
	if err := store.State().NewBatch(1).Scan(stateKey(1, 1), stateKey(5, 1), nil); err == nil {
		t.Error("a scan of a batch leaves its partition")
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	b := store.State().NewBatch(1)
	defer func() {
		if recover() == nil {
			t.Error("a batch writes to another partition")
		}
	}()
	b.Set(stateKey(5, 1), nil)
}

// TestGetDoesNotAllocate holds the read paths to their budget.
func TestGetDoesNotAllocate(t *testing.T) {
	store := storagetest.Open(t, storagetest.NewDisk())
	if err := errors.Join(apply(store.State(), 1, 1, 30), store.State().Flush()); err != nil {
		t.Fatal(err)
	}
	v, b := store.State().View(1), store.State().NewBatch(1)
	b.Set(stateKey(1, 4), []byte("new"))
	dst, hit, own := make([]byte, 0, 1024), stateKey(1, 3), stateKey(1, 4)
	for _, tc := range []struct {
		name  string
		get   func() error
		limit float64
	}{
		{"view", func() error { _, _, err := v.Get(dst, hit); return err }, 1}, // Pebble's own, for a table
		{"batch", func() error { _, _, err := b.Get(dst, hit); return err }, 1},
		{"batch own", func() error { _, _, err := b.Get(dst, own); return err }, 0},
	} {
		var failed error
		n := testing.AllocsPerRun(200, func() {
			if err := tc.get(); err != nil {
				failed = err
			}
		})
		if raceDetector {
			n = 0 // it makes Pebble allocate on purpose
		}
		if n > tc.limit || failed != nil {
			t.Errorf("%s: %v allocations, %v", tc.name, n, failed)
		}
	}
	if err := errors.Join(v.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}
