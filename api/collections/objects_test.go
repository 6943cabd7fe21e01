package collections_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/storage/objects"
	"github.com/trellisdb/trellis/storage/objects/objectstest"
)

// TestDataInAnObjectStore: by configuration data lies in a bucket. It is read from there,
// ranges included; objects of data that was replaced or deleted go; and while the store does
// not answer, an entity keeps what it has.
func TestDataInAnObjectStore(t *testing.T) {
	store := objectstest.Start(t, "data")
	bucket, err := objects.Open(store.Config("data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bucket.Close)
	s, err := apitest.OpenWith(t.TempDir(), apitest.Options{Objects: assets.Bucket{Client: bucket}, FileBytes: 20 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rest{T: t, Server: s}
	// holds waits until the bucket has exactly so many objects.
	holds := func(n int) []string {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			keys := store.Keys(t, "data")
			if len(keys) == n {
				return keys
			}
			if time.Now().After(end) {
				t.Fatalf("the bucket has %d objects, want %d: %v", len(keys), n, keys)
			}
		}
	}
	app := fmt.Sprint(r.ok("POST", "/items", `{"name":"a"}`).Fields["application"])
	for _, size := range []int{100, 0, 700 << 10, 17 << 20} {
		data := jpeg(max(size, 20))[:size]
		a := r.upload("PUT", "/items/a", part{"file", "a.jpg", "image/jpeg", data})
		if a.Status != 200 {
			t.Fatalf("%d bytes: %d %s", size, a.Status, a.Body)
		}
		r.wantMeta(a.Entity(), "image/jpeg", data)
		key := holds(1)[0]
		if !strings.HasPrefix(key, app+"/") || !bytes.Equal(store.Object(t, "data", key), data) {
			t.Errorf("object %s is not the data", key)
		}
		r.wantBytes(r.get("/items/a", "image/jpeg"), data, "image/jpeg")
		if size > 1000 {
			if a := r.get("/items/a", "image/jpeg", "Range", "bytes=990-1009"); a.Status != 206 || a.Body != string(data[990:1010]) {
				t.Errorf("range: %d, %d bytes", a.Status, len(a.Body))
			}
		}
	}
	r.settled(1, 0)

	store.SetDown(true)
	if a := r.bytes("PUT", "/items/a", jpeg(10), "Content-Type", "image/jpeg"); a.Status < 500 {
		t.Errorf("a store that does not answer: %d %s", a.Status, a.Body)
	}
	if a := r.get("/items/a", "image/jpeg"); a.Status < 500 {
		t.Errorf("a store that does not answer: %d", a.Status)
	}
	store.SetDown(false)
	r.wantBytes(r.get("/items/a", "image/jpeg"), jpeg(17<<20), "image/jpeg")
	r.ok("DELETE", "/items/a", "")
	holds(0)
	// What was begun while the store was down waits for its time.
	r.settled(1, 1)
}

// settled waits until so much data and so many tasks for it are left, and checks that all
// is sound then.
func (r *rest) settled(blobs, tasks uint64) {
	r.Helper()
	for end := time.Now().Add(time.Minute); r.report().Blobs != blobs && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	r.sound(blobs)
	if got := r.report().Tasks; got < tasks {
		r.Errorf("%d tasks, want %d at least", got, tasks)
	}
}
