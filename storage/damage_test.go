package storage_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// filled runs a script on a new disk and returns it with what was promised, as
// after kill -9 and, if closed is set, as after a clean stop.
func filled(t *testing.T, seed uint64, steps int, closed bool) (*storagetest.Disk, map[entity.Partition]partModel) {
	t.Helper()
	disk := storagetest.NewDisk()
	cfg, halts := storagetest.Config(disk)
	store, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(rand.New(rand.NewPCG(seed, 3)), nil)
	s.store = store
	for range steps {
		if err := s.step(); err != nil {
			t.Fatal(err)
		}
	}
	running := storagetest.CutPower(disk, 100, rand.New(rand.NewPCG(0, 0)))
	if err := errors.Join(store.Close(), halts.Err()); err != nil {
		t.Fatal(err)
	}
	if closed {
		return disk, s.before
	}
	return running, s.before
}

// TestFlippedBitIsNoticedOrHarmless flips bits all over the files of a store
// that was closed and of one that was killed: whoever opens and reads it gets
// an error or the right data, and never less of it.
func TestFlippedBitIsNoticedOrHarmless(t *testing.T) {
	for _, closed := range []bool{true, false} {
		disk, promised := filled(t, 11, 150, closed)
		rng := rand.New(rand.NewPCG(5, 5))
		noticed, harmless := 0, 0
		for _, file := range storagetest.Files(t, disk) {
			for _, at := range positions(file, rng) {
				bit := uint(rng.IntN(8))
				damaged := storagetest.CutPower(disk, 100, rng)
				storagetest.Flip(t, damaged, file.Path, at, bit)
				err, wrong := readAll(damaged, promised)
				switch {
				case wrong != nil:
					t.Errorf("closed %v: bit %d of byte %d of %s (%d bytes) flipped, and nobody noticed: %v",
						closed, bit, at, file.Path, file.Size, wrong)
				case err != nil:
					noticed++
				default:
					harmless++
				}
			}
		}
		t.Logf("closed %v: %d noticed, %d harmless", closed, noticed, harmless)
		if noticed == 0 {
			t.Errorf("closed %v: no flip was noticed", closed)
		}
	}
}

// positions chooses where to flip: more where files are small and matter.
func positions(f storagetest.File, rng *rand.Rand) []int64 {
	if f.Size == 0 {
		return nil
	}
	n := 25
	if strings.Contains(path.Base(f.Path), "MANIFEST") || strings.HasSuffix(f.Path, ".log") {
		n = 60
	}
	at := []int64{0, f.Size - 1, f.Size / 2}
	for range n {
		at = append(at, rng.Int64N(f.Size))
	}
	return at
}

// readAll opens a damaged store and reads everything. noticed is what it said;
// wrong is what it gave instead without a word.
func readAll(d *storagetest.Disk, promised map[entity.Partition]partModel) (noticed, wrong error) {
	cfg, halts := storagetest.Config(d)
	cfg.NodeName = ""
	type result struct{ noticed, wrong error }
	done := make(chan result, 1)
	go func() {
		store, err := storage.Open(cfg)
		if err != nil {
			done <- result{noticed: err}
			return
		}
		var r result
		found := make(map[entity.Partition]found)
		for _, p := range partitions {
			f, err := readPart(store, p)
			_, digest := store.State().Digest(context.Background(), p)
			r.noticed = errors.Join(r.noticed, err, digest)
			found[p] = f
		}
		if r.noticed == nil {
			for _, p := range partitions {
				m := promised[p]
				// A state DB that has lost the end of its list of tables stands at an
				// earlier moment. Back to the marker it is no loss, for the log is there,
				// nor is it one to bring back what a dropped replica had applied: entries
				// of the same partition, all of them committed.
				m.durable, m.applied = m.marker, max(m.applied, found[p].applied)
				r.wrong = errors.Join(r.wrong, m.check(p, found[p]))
			}
		}
		if err := store.Close(); err != nil && r.wrong == nil {
			r.noticed = errors.Join(r.noticed, err)
		}
		done <- r
	}()
	select {
	case r := <-done:
		if err := halts.Err(); err != nil && r.noticed == nil {
			return err, nil
		}
		return r.noticed, r.wrong
	case <-halts.Done(): // and the reader may be parked
		return halts.Err(), nil
	}
}

// TestTornTailOpens cuts the newest log file of a killed store at any length
// behind what was synced: that is no damage.
func TestTornTailOpens(t *testing.T) {
	for seed := range uint64(60) {
		disk, promised := filled(t, 100+seed, 40, false)
		rng := rand.New(rand.NewPCG(seed, 7))
		for _, percent := range []int{0, 30, 70} {
			after := storagetest.CutPower(disk, percent, rng)
			if err, wrong := readAll(after, promised); err != nil || wrong != nil {
				t.Fatalf("seed %d, %d %%: %v, %v", seed, percent, err, wrong)
			}
		}
	}
}

// TestMissingPartsAreRefused takes away what a store consists of.
func TestMissingPartsAreRefused(t *testing.T) {
	for _, name := range []string{"identity", "state", "log", "marks"} {
		disk, _ := filled(t, 3, 60, true)
		if err := disk.RemoveAll(disk.PathJoin(storagetest.Dir, name)); err != nil {
			t.Fatal(err)
		}
		cfg, _ := storagetest.Config(disk)
		if store, err := storage.Open(cfg); err == nil {
			t.Errorf("without %s the store opens", name)
			_ = store.Close()
		}
	}
}

// TestFailedDiskNeverAcknowledges fails every operation of the disk in turn,
// during a scripted run: once alone, and once with all writes after it. What was
// acknowledged until then is there after a power loss.
func TestFailedDiskNeverAcknowledges(t *testing.T) {
	streams := makeStreams(t)
	total := failOnce(t, -1, false, streams)
	t.Logf("the script has %d operations", total)
	if total < 200 {
		t.Fatalf("the script has only %d operations", total)
	}
	for index := range total {
		failOnce(t, index, index%2 == 0, streams)
		if t.Failed() {
			t.Fatalf("operation %d of %d failed", index, total)
		}
	}
}

func failOnce(t *testing.T, index int64, all bool, streams map[entity.Partition][]byte) int64 {
	disk := storagetest.NewDisk()
	cfg, halts := storagetest.Config(nil)
	fs, operations := storagetest.Failing(disk, index, all, halts)
	cfg.FS = fs
	s := newScript(rand.New(rand.NewPCG(21, 21)), streams)
	var promise atomic.Pointer[[2]map[entity.Partition]partModel]
	note := func() { promise.Store(&[2]map[entity.Partition]partModel{s.before, s.after}) }
	note()
	stopped := make(chan error, 1)
	go func() {
		store, err := storage.Open(cfg)
		if err != nil {
			stopped <- err
			return
		}
		s.store = store
		for range 45 {
			p, next := s.plan()
			s.begin(p, next.model)
			note()
			if err := next.do(); err != nil {
				stopped <- errors.Join(err, closeUnlessHalted(store, halts))
				return
			}
			s.before = s.after
			note()
		}
		stopped <- closeUnlessHalted(store, halts)
	}()
	select {
	case err := <-stopped:
		if index < 0 && err != nil {
			t.Fatal(err)
		}
	case <-halts.Done(): // what was under way never returns, or fails
		if index < 0 {
			t.Fatal(halts.Err())
		}
	}
	known := *promise.Load()
	after := storagetest.CutPower(disk, 0, nil)
	clean, again := storagetest.Config(after)
	store, err := storage.Open(clean)
	if err != nil {
		t.Errorf("open after the failure: %v", err)
		return operations.Load()
	}
	if err := verify(store, known[0], known[1]); err != nil {
		t.Error(err)
	}
	if err := errors.Join(store.Close(), again.Err()); err != nil {
		t.Error(fmt.Errorf("after the failure: %w", err))
	}
	return operations.Load()
}

// closeUnlessHalted ends the run as a process would: a halted store is left.
func closeUnlessHalted(store *storage.Store, halts *storagetest.Halts) error {
	if halts.Err() != nil {
		return nil
	}
	return store.Close()
}
