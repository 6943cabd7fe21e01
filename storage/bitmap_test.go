package storage_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/storagetest"
)

func presentKey(prop entity.PropertyID, seq entity.Seq) []byte {
	return keys.AppendPresent(nil, 2, 16, 1, prop, seq)
}

// TestMergedBitmapsAreTheSame: whatever is in one batch and what in the next, what
// was flushed and compacted meanwhile, what is read is what was written, and has the
// same bytes.
func TestMergedBitmapsAreTheSame(t *testing.T) {
	a, b := storagetest.Open(t, storagetest.NewDisk()), storagetest.Open(t, storagetest.NewDisk())
	model := map[entity.PropertyID]map[entity.Seq]bool{}
	rapid.Check(t, func(t *rapid.T) {
		var batches [2]*storage.Batch
		for i, s := range []*storage.Store{a, b} {
			batches[i] = s.State().NewBatch(2)
		}
		commit := func(i int) {
			if err := batches[i].Commit(); err != nil {
				t.Fatal(err)
			}
			batches[i].Reset()
		}
		for range rapid.IntRange(1, 200).Draw(t, "changes") {
			prop, seq := entity.PropertyID(rapid.IntRange(1, 3).Draw(t, "property")), entity.Seq(rapid.IntRange(2000, 2100).Draw(t, "seq"))
			has := rapid.IntRange(0, 2).Draw(t, "has") > 0
			if model[prop] == nil {
				model[prop] = map[entity.Seq]bool{}
			}
			clear := rapid.IntRange(0, 60).Draw(t, "clear")
			for i := range batches {
				switch key := presentKey(prop, seq); clear {
				case 0:
					batches[i].Delete(key)
				case 1:
					_, upper := keys.IndexRange(2, 16, 1, keys.KindPresent)
					batches[i].DeleteRange(key, upper)
				}
				batches[i].Merge(presentKey(prop, seq), storage.AppendPresence(nil, seq, has))
			}
			if clear < 2 {
				last := prop
				if clear == 1 {
					last = 3
				}
				for p := prop; p <= last; p++ {
					for other := range model[p] {
						if p == prop && clear == 0 && other/keys.PresentBlock == seq/keys.PresentBlock || clear == 1 && (p > prop || other/keys.PresentBlock <= seq/keys.PresentBlock) {
							delete(model[p], other)
						}
					}
				}
			}
			model[prop][seq] = has
			raw, ok, err := batches[1].Get(nil, presentKey(prop, seq))
			bitmap, valid := storage.DecodeBitmap(raw)
			if err != nil || !ok || !valid || bitmap.Has(seq) != has {
				t.Fatalf("through the batch: %x %v %v", raw, ok, err)
			}
			if rapid.IntRange(0, 3).Draw(t, "commit") == 0 {
				commit(0)
			}
			if rapid.IntRange(0, 20).Draw(t, "flush") == 0 {
				if err := a.State().Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		commit(0)
		commit(1)
		first, second := digestOf(t, a.State()), digestOf(t, b.State())
		if first != second {
			t.Fatalf("digests %v and %v", first, second)
		}
		v := a.State().View(2)
		forwards, backwards := valuesOf(t, v, true), valuesOf(t, v, false)
		slices.Reverse(backwards)
		if !slices.Equal(forwards, backwards) {
			t.Fatalf("forwards %x, backwards %x", forwards, backwards)
		}
		for prop, seqs := range model {
			for seq, has := range seqs {
				bitmap, err := storage.ReadPresent(v, 16, 1, prop, seq)
				if err != nil || bitmap.Has(seq) != has {
					t.Fatalf("entity %d has property %d: %v, want %v; %v", seq, prop, bitmap.Has(seq), has, err)
				}
			}
		}
		if err := errors.Join(v.Close(), batches[0].Close(), batches[1].Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// valuesOf are the values of a partition, in the order of a scan.
func valuesOf(t *rapid.T, v *storage.View, forwards bool) (values []string) {
	it, err := v.Scan(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	start, next := it.Last, it.Prev
	if forwards {
		start, next = it.First, it.Next
	}
	for ok := start(); ok; ok = next() {
		values = append(values, string(it.Value()))
	}
	if err := errors.Join(it.Err(), it.Close()); err != nil {
		t.Fatal(err)
	}
	return values
}

func digestOf(t *rapid.T, s *storage.State) storage.Digest {
	d, err := s.Digest(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestBitmapsAreWholeInASpool: another node receives what the changes have come to.
func TestBitmapsAreWholeInASpool(t *testing.T) {
	disk := storagetest.NewDisk()
	s := storagetest.Open(t, disk)
	b := s.State().NewBatch(2)
	rng := rand.New(rand.NewPCG(1, 1))
	var want storage.Bitmap
	for range 300 {
		seq := entity.Seq(rng.IntN(keys.PresentBlock))
		has := rng.IntN(3) > 0
		b.Merge(presentKey(1, 0), storage.AppendPresence(nil, seq, has))
		if want[seq/64] &^= 1 << (seq % 64); has {
			want[seq/64] |= 1 << (seq % 64)
		}
		if rng.IntN(5) == 0 {
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			b.Reset()
		}
		if rng.IntN(50) == 0 {
			if err := s.State().Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.SetApplied(9)
	if err := errors.Join(b.Commit(), b.Close(), s.State().Flush()); err != nil {
		t.Fatal(err)
	}
	check := func(s *storage.Store) {
		t.Helper()
		v := s.State().View(2)
		got, err := storage.ReadPresent(v, 16, 1, 1, 5)
		if err := errors.Join(err, v.Close()); err != nil || got != want {
			t.Errorf("bitmap %x, want %x; %v", got, want, err)
		}
	}
	check(s)
	spool, err := s.State().Spool(t.Context(), 2, "spool")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := spool.Open()
	if err != nil {
		t.Fatal(err)
	}
	other := storagetest.Open(t, storagetest.NewDisk())
	if err := other.State().Restore(t.Context(), 2, stream); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stream.Close(), spool.Remove()); err != nil {
		t.Fatal(err)
	}
	check(other)
}

func TestMergeRefusesWhatIsNoChange(t *testing.T) {
	s := storagetest.Open(t, storagetest.NewDisk())
	for name, change := range map[string]func(b *storage.Batch){
		"another kind of key":  func(b *storage.Batch) { b.Merge(stateKey(2, 1), storage.AppendPresence(nil, 1, true)) },
		"no change":            func(b *storage.Batch) { b.Merge(presentKey(1, 1), nil) },
		"a place out of range": func(b *storage.Batch) { b.Merge(presentKey(1, 1), []byte{1, 4, 0}) },
		"half a place":         func(b *storage.Batch) { b.Merge(presentKey(1, 1), []byte{1, 0}) },
		"too short":            func(b *storage.Batch) { b.Merge(presentKey(1, 1), []byte{2, 0}) },
		"too few places":       func(b *storage.Batch) { b.Merge(presentKey(1, 1), []byte{3, 0, 2, 0, 0}) },
	} {
		b := s.State().NewBatch(2)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is merged", name)
				}
			}()
			change(b)
		}()
		if b.Len() != 0 {
			t.Errorf("%s is in the batch", name)
		}
	}
}

// FuzzBitmap states that what is read of a bitmap is read again of what is written.
func FuzzBitmap(f *testing.F) {
	f.Add([]byte{1, 0, 1, 3, 255})
	f.Add(append([]byte{2}, bytes.Repeat([]byte{0xa5}, 128)...))
	f.Add([]byte{3, 0, 1, 0, 1, 0, 2})
	f.Fuzz(func(t *testing.T, raw []byte) {
		bitmap, ok := storage.DecodeBitmap(raw)
		if !ok {
			return
		}
		n := 0
		for seq := range entity.Seq(keys.PresentBlock) {
			if bitmap.Has(seq) {
				n++
			}
		}
		if n != bitmap.Count() {
			t.Fatalf("%d bits, counts %d", n, bitmap.Count())
		}
	})
}

// TestStateOfBeforeMergesIsOpened: it was made under the name of Pebble's default
// operator, and merges all the same.
func TestStateOfBeforeMergesIsOpened(t *testing.T) {
	disk := storagetest.NewDisk()
	cfg, _ := storagetest.Config(disk)
	s, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	dir := disk.PathJoin(cfg.Dir, "state")
	if err := errors.Join(s.Close(), disk.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
	old, err := pebble.Open(dir, &pebble.Options{FS: disk, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(old.Set(stateKey(2, 1), []byte("old"), nil), old.Flush(), old.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := storagetest.Open(t, disk)
		b := s.State().NewBatch(2)
		for seq := range entity.Seq(2) {
			b.Merge(presentKey(1, seq), storage.AppendPresence(nil, seq, true))
		}
		if err := errors.Join(b.Commit(), b.Close(), s.State().Flush()); err != nil {
			t.Fatal(err)
		}
		v := s.State().View(2)
		bitmap, err := storage.ReadPresent(v, 16, 1, 1, 0)
		if err := errors.Join(err, v.Close(), s.Close()); err != nil || bitmap.Count() != 2 {
			t.Errorf("%d bits: %v", bitmap.Count(), err)
		}
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}
