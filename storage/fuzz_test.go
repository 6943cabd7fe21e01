package storage_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// FuzzSnapshotStream: a stream that is not what a node wrote is refused and
// changes nothing; only the stream itself is installed.
func FuzzSnapshotStream(f *testing.F) {
	source := storagetest.Open(f, storagetest.NewDisk())
	if err := apply(source.State(), 1, 1, 20); err != nil {
		f.Fatal(err)
	}
	whole := spoolOf(f, source, 1)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(bytes.Clone(whole), 0))
	f.Add(whole[:40])
	f.Add([]byte("TRLSNAP1\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"))
	store := storagetest.Open(f, storagetest.NewDisk())
	if err := apply(store.State(), 1, 1, 5); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		if bytes.Equal(stream, whole) {
			return
		}
		if err := store.State().Restore(context.Background(), 1, bytes.NewReader(stream)); err == nil {
			t.Fatal("a stream nobody wrote was installed")
		}
		if applied, err := store.State().Applied(1); err != nil || applied != 5 {
			t.Fatalf("state at %d (%v) after a refused stream", applied, err)
		}
	})
}

// FuzzDecoders: what a decoder of the store's own files accepts, its encoder
// writes again.
func FuzzDecoders(f *testing.F) {
	f.Add(storage.AppendMark(nil, storage.Mark{Partition: 3, Generation: 7, Last: 9}))
	f.Add(storage.AppendMarker(nil, &storage.Marker{Index: 1, Term: 2, ConfigurationIndex: 1, Configuration: []byte("c"), Spool: "s"}))
	f.Add(storage.AppendIdentity(nil, storage.Identity{NodeID: "n~0123abcd"}))
	f.Add(storage.AppendStreamHeader(nil, &storage.StreamHeader{Partition: 1, Applied: 2, Sizes: []uint64{3, 4}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := storage.DecodeMark(b); ok && !bytes.Equal(storage.AppendMark(nil, m), b) {
			t.Errorf("mark %+v", m)
		}
		if m, err := storage.DecodeMarker(b); err == nil {
			again, err := storage.DecodeMarker(storage.AppendMarker(nil, &m))
			if err != nil || again.Index != m.Index || again.Spool != m.Spool || !bytes.Equal(again.Configuration, m.Configuration) {
				t.Errorf("marker %+v became %+v, %v", m, again, err)
			}
		}
		if id, err := storage.DecodeIdentity(b); err == nil && !bytes.Equal(storage.AppendIdentity(nil, id), b) {
			t.Errorf("identity %+v", id)
		}
		r := bytes.NewReader(b)
		if h, err := storage.ReadStreamHeader(r); err == nil {
			rest, _ := io.ReadAll(r)
			if !bytes.Equal(append(storage.AppendStreamHeader(nil, &h), rest...), b) {
				t.Errorf("stream header %+v", h)
			}
		}
	})
}
