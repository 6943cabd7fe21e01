package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// bulkStore is a store with memtables of 8 MiB and a block cache of 32 MiB besides.
func bulkStore(t *testing.T) *storage.Store {
	cfg, halts := storagetest.Config(storagetest.NewDisk())
	cfg.CacheBytes, cfg.StateMemtableBytes, cfg.LogMemtableBytes = 32<<20, 8<<20, 8<<20
	s, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), halts.Err()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// chunkOf is what chunk n of the blob of these tests is.
func chunkOf(n uint32, size int) []byte {
	return bytes.Repeat([]byte{byte(n), byte(n >> 8), 3, byte(n) * 7}, size/4)
}

// setChunks commits count chunks of a blob, some at a time, and returns how many bytes
// the memtables held at most.
func setChunks(t *testing.T, s *storage.Store, blob entity.ID, count uint32, size int) (most uint64) {
	t.Helper()
	b := s.State().NewBatch(2)
	for n := range count {
		b.Set(keys.AppendChunk(nil, 2, 1, blob, n), chunkOf(n, size))
		if b.Size() < 64<<10 && n+1 < count {
			continue
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		b.Reset()
		most = max(most, s.Metrics().MemtableBytes)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return most
}

// TestBulkTakesLittleMemtable: what is large is flushed early, in both databases, where
// the same bytes in small values fill the memtables; all of it is there.
func TestBulkTakesLittleMemtable(t *testing.T) {
	const total = 24 << 20
	blob := entity.NewID()
	small := setChunks(t, bulkStore(t), blob, total/(8<<10), 8<<10)
	s := bulkStore(t)
	if large := setChunks(t, s, blob, total/(64<<10), 64<<10); large > small*2/3 {
		t.Errorf("large values took %d bytes of memtables, small ones %d", large, small)
	}
	for i := range uint64(total / (64 << 10)) {
		if err := s.Log().Append(2, []storage.LogEntry{{Index: i + 1, Data: chunkOf(uint32(i), 64<<10)}}); err != nil {
			t.Fatal(err)
		}
		if got := s.Metrics().MemtableBytes; got > small {
			t.Fatalf("after %d large entries the memtables take %d bytes", i, got)
		}
	}
	v := s.State().View(2)
	buf := make([]byte, 64<<10)
	for n := range uint32(total / (64 << 10)) {
		got, found, err := v.CopyChunk(buf, 1, blob, n, 0)
		if err != nil || !found || !bytes.Equal(buf[:got], chunkOf(n, 64<<10)) {
			t.Fatalf("chunk %d: %v %v", n, found, err)
		}
		entry, err := s.Log().Get(nil, 2, uint64(n)+1)
		if err != nil || !bytes.Equal(entry, chunkOf(n, 64<<10)) {
			t.Fatalf("entry %d: %v", n+1, err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestChunksDoNotFillTheCache: reading a large blob leaves the block cache about as it
// was; what else is read meanwhile finds its room, and so does all when it is over.
func TestChunksDoNotFillTheCache(t *testing.T) {
	s := bulkStore(t)
	blob := entity.NewID()
	const chunks, size = 384, 64 << 10 // 24 MiB
	setChunks(t, s, blob, chunks, size)
	b := s.State().NewBatch(2)
	small := func(i int) []byte { return fmt.Appendf(nil, "\x00\x00\x00\x02small %04d", i) }
	for i := range 4000 {
		b.Set(small(i), fmt.Appendf(bytes.Repeat([]byte{byte(i)}, 2000), "%d", i))
		if i%100 == 99 {
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			b.Reset()
		}
	}
	if err := errors.Join(b.Close(), s.State().Flush()); err != nil {
		t.Fatal(err)
	}
	v := s.State().View(2)
	defer func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}()
	buf := make([]byte, size)
	read := func() {
		for n := range uint32(chunks) {
			if _, found, err := v.CopyChunk(buf, 1, blob, n, 0); err != nil || !found {
				t.Fatal(found, err)
			}
		}
	}
	before := s.Metrics().CacheBytes
	read()
	if grown := s.Metrics().CacheBytes - before; grown > 4<<20 {
		t.Errorf("reading %d bytes of chunks made the cache %d bytes larger", chunks*size, grown)
	}
	scan := func() {
		for i := range 4000 {
			if _, found, err := v.Get(nil, small(i)); err != nil || !found {
				t.Fatal(found, err)
			}
		}
	}
	grows := func(what string, want int64, step func()) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); s.Metrics().CacheBytes < want; step() {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the cache has %d bytes, want %d", what, s.Metrics().CacheBytes, want)
			}
		}
	}
	grows("small values beside chunks", 6<<20, scan)
	grows("small values afterwards", 7<<20, scan)
}
