package storage_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/storagetest"
)

func sumKey(counter entity.CounterID, at int64) []byte {
	return keys.AppendBucket(keys.AppendCounterSeries(nil, 2, 16, counter, &entity.Dimensions{}), entity.Minute, entity.Minute.Bucket(at))
}

// TestMergedSumsAreTheSame: in whatever order Pebble puts changes together, and however
// they were cut into batches, what is read is what was added since the last reset.
func TestMergedSumsAreTheSame(t *testing.T) {
	a, b := storagetest.Open(t, storagetest.NewDisk()), storagetest.Open(t, storagetest.NewDisk())
	model := map[entity.CounterID]storage.Sum{}
	rapid.Check(t, func(t *rapid.T) {
		batches := [2]*storage.Batch{a.State().NewBatch(2), b.State().NewBatch(2)}
		commit := func(i int) {
			if err := batches[i].Commit(); err != nil {
				t.Fatal(err)
			}
			batches[i].Reset()
		}
		for range rapid.IntRange(1, 100).Draw(t, "changes") {
			counter := entity.CounterID(rapid.Uint32Range(1, 3).Draw(t, "counter"))
			was, want := model[counter], model[counter]
			change := storage.Sum{Reset: was.Reset, Value: rapid.SampledFrom([]int64{1, -1, 0, 700, math.MaxInt64, math.MinInt64}).Draw(t, "value")}
			switch rapid.IntRange(0, 20).Draw(t, "reset") {
			case 0:
				change.Reset++
				want = change
			case 1:
				change.Reset -= min(1, change.Reset)
				if change.Reset < was.Reset {
					break // late: of before the reset
				}
				want.Value += change.Value
			default:
				want.Value += change.Value
			}
			model[counter] = want
			for i := range batches {
				batches[i].Merge(sumKey(counter, 0), storage.AppendSum(nil, change))
			}
			raw, ok, err := batches[1].Get(nil, sumKey(counter, 0))
			if got, valid := storage.DecodeSum(raw); err != nil || !ok || !valid || got != want {
				t.Fatalf("through the batch: %+v, want %+v; %v %v", got, want, ok, err)
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
		if first, second := digestOf(t, a.State()), digestOf(t, b.State()); first != second {
			t.Fatalf("digests %v and %v", first, second)
		}
		v := a.State().View(2)
		for counter, want := range model {
			raw, ok, err := v.Get(nil, sumKey(counter, 0))
			if got, valid := storage.DecodeSum(raw); err != nil || !ok || !valid || got != want {
				t.Fatalf("counter %d: %+v, want %+v; %v %v", counter, got, want, ok, err)
			}
		}
		if err := errors.Join(v.Close(), batches[0].Close(), batches[1].Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzSum: what is read is read again of what is written, which are the same bytes: a sum
// has one form.
func FuzzSum(f *testing.F) {
	f.Add(storage.AppendSum(nil, storage.Sum{}))
	f.Add(storage.AppendSum(nil, storage.Sum{Reset: 300, Value: math.MinInt64}))
	f.Add([]byte{0x80, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, ok := storage.DecodeSum(raw); ok && !bytes.Equal(storage.AppendSum(nil, s), raw) {
			t.Errorf("%x became %+v", raw, s)
		}
		if c, ok := storage.DecodeCounter(raw); ok && !bytes.Equal(storage.AppendCounter(nil, &c), raw) {
			t.Errorf("%x became %+v", raw, c)
		}
	})
}

func TestSumsRefuseWhatIsNoChange(t *testing.T) {
	s := storagetest.Open(t, storagetest.NewDisk())
	for name, change := range map[string][2][]byte{
		"nothing":           {sumKey(1, 0), nil},
		"half a sum":        {sumKey(1, 0), {0}},
		"a longer form":     {sumKey(1, 0), {0x80, 0, 0}},
		"more than a sum":   {sumKey(1, 0), {0, 2, 0}},
		"the key of resets": {keys.AppendBucket(keys.AppendCounterResets(nil, 2, 16, 1), entity.Minute, 0), {0, 2}},
	} {
		b := s.State().NewBatch(2)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is merged", name)
				}
			}()
			b.Merge(change[0], change[1])
		}()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestStateOfBitmapsAloneIsOpened: it was made when only bitmaps were merged, goes on
// under that name, and counts all the same.
func TestStateOfBitmapsAloneIsOpened(t *testing.T) {
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
	former := *pebble.DefaultMerger
	former.Name = "trellis.bitmap.1"
	old, err := pebble.Open(dir, &pebble.Options{FS: disk, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}, Merger: &former})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(old.Merge(presentKey(1, 0), storage.AppendPresence(nil, 5, true), nil), old.Flush(), old.Close()); err != nil {
		t.Fatal(err)
	}
	for want := int64(2); want <= 4; want += 2 {
		s := storagetest.Open(t, disk)
		b := s.State().NewBatch(2)
		b.Merge(presentKey(1, 0), storage.AppendPresence(nil, 6, true))
		b.Merge(sumKey(1, 0), storage.AppendSum(nil, storage.Sum{Value: 2}))
		if err := errors.Join(b.Commit(), b.Close(), s.State().Flush()); err != nil {
			t.Fatal(err)
		}
		v := s.State().View(2)
		bitmap, err := storage.ReadPresent(v, 16, 1, 1, 0)
		raw, _, also := v.Get(nil, sumKey(1, 0))
		sum, ok := storage.DecodeSum(raw)
		if err := errors.Join(err, also, v.Close(), s.Close()); err != nil || bitmap.Count() != 2 || !ok || sum.Value != want {
			t.Errorf("%d bits, sum %+v, want %d: %v", bitmap.Count(), sum, want, err)
		}
	}
}
