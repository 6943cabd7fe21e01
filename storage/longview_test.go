package storage_test

import (
	"fmt"
	"testing"

	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// TestLongViewStands shows what was there when it was opened, whatever is written,
// deleted and flushed after that.
func TestLongViewStands(t *testing.T) {
	const p, n = 3, 500
	store := storagetest.Open(t, storagetest.NewDisk())
	key := func(i int) []byte { return keys.AppendName(nil, p, 16, 0, fmt.Sprintf("n%04d", i)) }
	batch := store.State().NewBatch(p)
	commit := func() {
		t.Helper()
		if err := batch.Commit(); err != nil {
			t.Fatal(err)
		}
		batch.Reset()
	}
	for i := range n {
		batch.Set(key(i), []byte("old"))
	}
	commit()
	view := store.State().LongView(p)
	for i := range n {
		if i%2 == 0 {
			batch.Delete(key(i))
		} else {
			batch.Set(key(i), []byte("new"))
		}
	}
	batch.Set(key(n), []byte("new"))
	commit()
	if err := store.State().Flush(); err != nil {
		t.Fatal(err)
	}
	met := 0
	it, err := view.Scan(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if string(it.Value()) != "old" {
			t.Fatalf("key %q has %q", it.Key(), it.Value())
		}
		met++
	}
	if err := it.Close(); err != nil || met != n {
		t.Errorf("%d keys, want %d; %v", met, n, err)
	}
	if v, ok, err := view.Get(nil, key(0)); err != nil || !ok || string(v) != "old" {
		t.Errorf("Get: %q, %v, %v", v, ok, err)
	}
	if _, ok, err := view.Get(nil, key(n)); err != nil || ok {
		t.Errorf("a later key is there: %v, %v", ok, err)
	}
	if err := view.Close(); err != nil {
		t.Error(err)
	}
}
