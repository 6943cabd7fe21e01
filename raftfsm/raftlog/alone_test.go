package raftlog_test

import (
	"slices"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/raftlog"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// TestEndLeavesOutWhatASnapshotContradicts: such a tail was never committed, and
// must not be counted as if it were.
func TestEndLeavesOutWhatASnapshotContradicts(t *testing.T) {
	stream := snapshotAt(t, 90, 7)
	for _, tc := range []struct{ term, want uint64 }{{5, 90}, {7, 100}} {
		store, log := open(t, storagetest.NewDisk())
		if err := log.StoreLogs(entries(80, 100, tc.term)); err != nil {
			t.Fatal(err)
		}
		snaps := log.Snapshots()
		restore(t, store, snaps, receive(t, snaps, stream, 90, 7).ID())
		last, servers, err := raftlog.End(store, partition)
		if err != nil || last != tc.want || !slices.Equal(servers, []string{"a"}) {
			t.Errorf("a tail of term %d behind a snapshot of term 7 ends at %d with servers %v: %v", tc.term, last, servers, err)
		}
	}
}

// TestStandAlone: Raft finds a snapshot with one server where the state is, in no
// older term than before, and no log; after a power loss too.
func TestStandAlone(t *testing.T) {
	disk := storagetest.NewDisk()
	store, log := open(t, disk)
	if err := log.SetUint64([]byte("CurrentTerm"), 4); err != nil {
		t.Fatal(err)
	}
	if err := log.StoreLogs(entries(1, 20, 4)); err != nil {
		t.Fatal(err)
	}
	applyTo(t, store, 15)
	if err := raftlog.StandAlone(store, partition, "n~01234567#3"); err == nil {
		t.Fatal("entries that were not applied were dropped")
	}
	applyTo(t, store, 20)
	for range 2 {
		if err := raftlog.StandAlone(store, partition, "n~01234567#3"); err != nil {
			t.Fatal(err)
		}
		after, log := open(t, powerLoss(disk))
		list, err := log.Snapshots().List()
		if err != nil || len(list) != 1 || list[0].Index != 20 || list[0].Term != 4 || list[0].ConfigurationIndex != 20 {
			t.Fatalf("snapshots %+v, %v", list, err)
		}
		want := raft.Server{Suffrage: raft.Voter, ID: "n~01234567#3", Address: "n~01234567#3"}
		if got := list[0].Configuration.Servers; len(got) != 1 || got[0] != want {
			t.Errorf("configuration %+v", got)
		}
		if r, err := raftlog.Verify(after, partition, 20); err != nil || r.Last > 20 {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
