package storage_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// TestCrashKeepsWhatWasAcknowledged cuts the power before a random operation
// of the disk, anywhere inside appends, commits, flushes, markers, truncations
// and restores, and finds all that was acknowledged, and nothing that was undone.
func TestCrashKeepsWhatWasAcknowledged(t *testing.T) {
	streams := makeStreams(t)
	for seed := range uint64(400) {
		crashOnce(t, seed, []int{0, 50, 100}[seed%3], streams)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func crashOnce(t *testing.T, seed uint64, percent int, streams map[entity.Partition][]byte) {
	rng := rand.New(rand.NewPCG(seed, 1))
	disk := storagetest.NewDisk()
	s := newScript(rng, streams)

	var mu sync.Mutex // guards what the watcher reads; the script runs alone
	countdown := -1
	var crashed *storagetest.Disk
	var before, after map[entity.Partition]partModel
	cut := rand.New(rand.NewPCG(seed, 2))
	fs := storagetest.Watched(disk, func() {
		mu.Lock()
		defer mu.Unlock()
		if countdown--; countdown == 0 {
			crashed = storagetest.CutPower(disk, percent, cut)
			before, after = s.before, s.after
		}
	})
	cfg, halts := storagetest.Config(fs)
	store, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.store = store
	mu.Lock()
	countdown = 1 + rng.IntN(600)
	mu.Unlock()
	for range 120 {
		p, next := s.plan()
		mu.Lock()
		s.begin(p, next.model)
		mu.Unlock()
		if err := next.do(); err != nil {
			t.Error(err)
			break
		}
		mu.Lock()
		s.before = s.after
		done := crashed != nil
		mu.Unlock()
		if done {
			break
		}
	}
	mu.Lock()
	if crashed == nil {
		crashed, before, after = storagetest.CutPower(disk, percent, cut), s.before, s.after
	}
	countdown = -1
	mu.Unlock()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if err := halts.Err(); err != nil {
		t.Errorf("halted: %v", err)
	}

	again, halts := storagetest.Config(crashed)
	store, err = storage.Open(again)
	if err != nil {
		t.Errorf("open after the crash: %v", err)
		return
	}
	if err := verify(store, before, after); err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if err := halts.Err(); err != nil {
		t.Errorf("halted after the crash: %v", err)
	}
}

// TestCrashOfFirstStart cuts the power before every operation of a first start:
// the next start completes it.
func TestCrashOfFirstStart(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		for at := 1; ; at++ {
			disk := storagetest.NewDisk()
			rng := rand.New(rand.NewPCG(uint64(at), uint64(percent)))
			var mu sync.Mutex
			var crashed *storagetest.Disk
			n := 0
			fs := storagetest.Watched(disk, func() {
				mu.Lock()
				defer mu.Unlock()
				if n++; n == at {
					crashed = storagetest.CutPower(disk, percent, rng)
				}
			})
			cfg, _ := storagetest.Config(fs)
			store, err := storage.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			after := crashed
			mu.Unlock()
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			if after == nil {
				break // the start has fewer operations
			}
			cfg, _ = storagetest.Config(after)
			store, err = storage.Open(cfg)
			if err != nil {
				t.Fatalf("%d %% unsynced, power cut before operation %d: %v", percent, at, err)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
