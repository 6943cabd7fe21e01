package storage

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trellisdb/trellis/storage/fault"
)

// A flush that began before a partition was dropped ends after it: what it
// learned must not count for the next replica, whose marker would then cover
// what is on no disk.
func TestDurableOfAnEarlierEpochCountsForNothing(t *testing.T) {
	var d durable
	d.raise(0, 100)
	d.raise(0, 90)
	if d.at(0) != 100 || d.at(2) != 0 {
		t.Errorf("on disk up to %d, and up to %d in a later epoch", d.at(0), d.at(2))
	}
	d.raise(2, 5)
	d.raise(0, 100)
	d.raise(1, 100)
	if d.at(2) != 5 || d.at(0) != 0 {
		t.Errorf("on disk up to %d, and up to %d in an earlier epoch", d.at(2), d.at(0))
	}
}

// A view that is opened while its partition is replaced could read the applied
// index of the old content and the keys of the new: it shows nothing at all.
func TestViewOpenedDuringAReplacementShowsNothing(t *testing.T) {
	const p = 1
	cfg := DefaultConfig("data")
	cfg.FS, cfg.Log = vfs.NewMem(), slog.New(slog.DiscardHandler)
	store, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := store.State().NewBatch(p)
	b.SetApplied(7)
	if err := errors.Join(b.Commit(), b.Close()); err != nil {
		t.Fatal(err)
	}
	var during *View
	look := func() {
		t.Helper()
		if applied, err := during.Applied(); fault.CodeOf(err) != fault.NoQuorum {
			t.Errorf("applied %d, %v", applied, err)
		}
		it, err := during.Scan(nil, nil)
		if fault.CodeOf(err) != fault.NoQuorum {
			t.Errorf("scan: %v", err)
		}
		if err == nil {
			_ = it.Close()
		}
	}
	err = store.State().replace(p, func(span pebble.KeyRange) error {
		during = store.State().View(p)
		look()
		err := store.State().db.Excise(context.Background(), span)
		look()
		return err
	})
	look()
	if err := errors.Join(err, during.Close(), store.Close()); err != nil {
		t.Error(err)
	}
}
