package storage_test

import (
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// TestUnfinishedStoreIsRefused: from before the first step of some work to after
// its last nobody else opens the store, whenever the power is lost.
func TestUnfinishedStoreIsRefused(t *testing.T) {
	disk := storagetest.NewDisk()
	cfg, _ := storagetest.Config(disk)
	cfg.New = &storage.Work{Name: "restore", Cluster: entity.NewID()}
	s, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := apply(s.State(), 1, 1, 20); err != nil {
		t.Fatal(err)
	}
	other, _ := storagetest.Config(storagetest.CutPower(disk, 0, nil))
	for _, existing := range []bool{false, true} {
		other.Existing = existing
		if _, err := storage.Open(other); err == nil || !strings.Contains(err.Error(), "has not come to its end") {
			t.Errorf("unfinished, and opened: %v", err)
		}
	}
	other.New = cfg.New
	if _, err := storage.Open(other); err == nil {
		t.Error("a directory that exists was taken as a new one")
	}
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	cut := storagetest.CutPower(disk, 0, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storagetest.Open(t, cut)
	if applied, err := s.State().Applied(1); err != nil || applied == 0 || s.Identity().Cluster != cfg.New.Cluster {
		t.Errorf("finished, and then at %d in cluster %s: %v", applied, s.Identity().Cluster, err)
	}
}

func FuzzWork(f *testing.F) {
	f.Add(storage.AppendWork(nil, storage.Work{Name: "restore", Cluster: entity.ID{1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if w, err := storage.DecodeWork(b); err == nil && string(storage.AppendWork(nil, w)) != string(b) {
			t.Errorf("%q was read as %+v", b, w)
		}
	})
}
