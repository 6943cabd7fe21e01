package storage_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// openAs opens a store under a name and returns the id it has.
func openAs(disk *storagetest.Disk, name string) (entity.NodeID, error) {
	cfg, halts := storagetest.Config(disk)
	cfg.NodeName = name
	store, err := storage.Open(cfg)
	if err != nil {
		return "", err
	}
	id := store.Identity().NodeID
	return id, errors.Join(store.Close(), halts.Err())
}

// TestNodeID: a directory has one id for ever, and two directories of a node
// have two.
func TestNodeID(t *testing.T) {
	for _, name := range []string{"", "a", "eu-west.node_7", strings.Repeat("x", entity.MaxNodeName)} {
		disk := storagetest.NewDisk()
		id, err := openAs(disk, name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		form := regexp.QuoteMeta(name)
		if name == "" {
			form = "node-[0-9a-f]{6}"
		}
		if !regexp.MustCompile("^"+form+"~[0-9a-f]{8}$").MatchString(string(id)) || (name != "" && id.Name() != name) {
			t.Errorf("a node called %q has id %s", name, id)
		}
		for _, again := range []string{"", id.Name()} {
			if got, err := openAs(disk, again); got != id || err != nil {
				t.Errorf("opened again as %q: %s, %v; was %s", again, got, err, id)
			}
		}
		for _, other := range []string{"other", string(id)} {
			if _, err := openAs(disk, other); err == nil {
				t.Errorf("a store of %s opens as %q", id, other)
			}
		}
		if got, err := openAs(storagetest.NewDisk(), name); got == id || err != nil {
			t.Errorf("an empty disk makes %s of %q again: %v", got, name, err)
		}
	}
	for _, name := range []string{"a~b", "a b", "a#1", "\n", "ä", strings.Repeat("x", entity.MaxNodeName+1)} {
		disk := storagetest.NewDisk()
		if _, err := openAs(disk, name); err == nil || !strings.Contains(err.Error(), "cannot be called") {
			t.Errorf("a node is called %q: %v", name, err)
		}
		if names, err := disk.List(storagetest.Dir); err == nil && len(names) > 0 {
			t.Errorf("%q was refused and left %v", name, names)
		}
	}
}

func TestIdentityOfAnotherFormIsRefused(t *testing.T) {
	cluster := entity.NewID()
	for _, id := range []entity.NodeID{"", "n", "n~", "~0123abcd", "n~0123abc", "n~0123abcde", "n~0123ABCD", "n~0123abc~", "n#~0123abcd", "n~0123abcd\n"} {
		if got, err := storage.DecodeIdentity(storage.AppendIdentity(nil, storage.Identity{NodeID: id, Cluster: cluster})); err == nil {
			t.Errorf("%q: %+v", id, got)
		}
	}
	want := storage.Identity{NodeID: "n~0123abcd", Cluster: cluster}
	if got, err := storage.DecodeIdentity(storage.AppendIdentity(nil, want)); got != want || err != nil {
		t.Errorf("%+v, %v; want %s", got, err, fmt.Sprint(want))
	}
}
