package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/raftlog"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// replica gives a store a replica with a log and a state at applied; the log
// has a gap before its last entry if gap is set, as after a snapshot.
func replica(t *testing.T, store *storage.Store, p entity.Partition, number uint32, applied uint64, gap bool) {
	t.Helper()
	if err := store.Adopt(p, number); err != nil {
		t.Fatal(err)
	}
	log, err := raftlog.Open(store, p)
	if err != nil {
		t.Fatal(err)
	}
	indexes := []uint64{1, 2, applied + 1}
	if !gap {
		indexes = nil
		for i := range applied + 1 {
			indexes = append(indexes, i+1)
		}
	}
	for _, i := range indexes {
		if err := log.StoreLog(&raft.Log{Index: i, Term: 1}); err != nil {
			t.Fatal(err)
		}
	}
	b := store.State().NewBatch(p)
	b.SetApplied(applied)
	if err := errors.Join(b.Commit(), b.Close()); err != nil {
		t.Fatal(err)
	}
	if !gap {
		return
	}
	if _, err := store.Log().SetMarker(p, storage.Marker{Index: applied, Term: 1}, nil); err != nil {
		t.Fatal(err)
	}
}

// TestCheckOfSomePartitions: a node holds some partitions of a cluster, whose
// number it may not know yet, and may have been stopped while it gave one up.
func TestCheckOfSomePartitions(t *testing.T) {
	dir := t.TempDir()
	cfg := storage.DefaultConfig(dir)
	cfg.Log = slog.New(slog.DiscardHandler)
	store, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	replica(t, store, 0, 1, 4, false)
	replica(t, store, 3, 2, 5, false)
	replica(t, store, 4, 3, 6, false)
	replica(t, store, 70, 4, 5000, true)
	in, err := store.Receive(3, "received-3")
	if err != nil {
		t.Fatal(err)
	}
	// A drop that cannot remove this stops half-way.
	if err := os.MkdirAll(filepath.Join(dir, "spool", "received-3", "x"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := store.Drop(context.Background(), 3); err == nil {
		t.Fatal("the drop did not stop")
	}
	if err := store.Drop(context.Background(), 4); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(in.Abort(), store.Close()); err != nil {
		t.Fatal(err)
	}

	for range 2 {
		var out bytes.Buffer
		if err := check(context.Background(), dir, &out); err != nil {
			t.Errorf("%v\n%s", err, &out)
		}
		for _, want := range []string{
			"partition 0: replica 1, applied 4, log 1 to 5,",
			"partition 70: replica 4, applied 5000, log 1 to 5001,",
			"\nclean\n",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the report misses %q:\n%s", want, &out)
			}
		}
		if n := strings.Count(out.String(), ": replica"); n != 2 {
			t.Errorf("the report lists %d partitions:\n%s", n, &out)
		}
	}
}
