package raftlog_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/raftlog"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/storagetest"
)

const partition entity.Partition = 3

func open(t *testing.T, disk *storagetest.Disk) (*storage.Store, *raftlog.Store) {
	t.Helper()
	store := storagetest.Open(t, disk)
	log, err := raftlog.Open(store, partition)
	if err != nil {
		t.Fatal(err)
	}
	return store, log
}

func powerLoss(disk *storagetest.Disk) *storagetest.Disk {
	return storagetest.CutPower(disk, 0, nil)
}

func entries(from, to, term uint64) []*raft.Log {
	var list []*raft.Log
	for i := from; i <= to; i++ {
		list = append(list, &raft.Log{
			Index: i, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "command %d", i),
			AppendedAt: time.Unix(1700000000, int64(i)),
		})
	}
	return list
}

// applyTo brings the state to an index, with content that tells it.
func applyTo(t *testing.T, store *storage.Store, index uint64) {
	t.Helper()
	b := store.State().NewBatch(partition)
	b.Set(binary.BigEndian.AppendUint32(nil, uint32(partition)), fmt.Appendf(nil, "state %d", index))
	b.SetApplied(index)
	if err := errors.Join(b.Commit(), b.Close()); err != nil {
		t.Fatal(err)
	}
}

func applied(t *testing.T, store *storage.Store) uint64 {
	t.Helper()
	index, err := store.State().Applied(partition)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

var configuration = raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "a", Address: "a"}}}

func mark(t *testing.T, snaps *raftlog.Snapshots, index, term uint64) {
	t.Helper()
	sink, err := snaps.Create(raft.SnapshotVersionMax, index, term, configuration, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	sink.(*raftlog.Sink).MarkLocal()
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
}

// snapshotAt returns the stream of another node's partition.
func snapshotAt(t *testing.T, index, term uint64) []byte {
	t.Helper()
	store, log := open(t, storagetest.NewDisk())
	applyTo(t, store, index)
	snaps := log.Snapshots()
	mark(t, snaps, index, term)
	list, err := snaps.List()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	meta, r, err := snaps.Open(list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if snaps.Sending() != 1 {
		t.Errorf("%d snapshots are being sent", snaps.Sending())
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || int64(len(b)) != meta.Size {
		t.Fatalf("%d bytes, the library was told %d: %v", len(b), meta.Size, err)
	}
	if snaps.Sending() != 0 {
		t.Errorf("%d snapshots are being sent", snaps.Sending())
	}
	return b
}

// receive does what the library does with an InstallSnapshot, up to Restore.
func receive(t *testing.T, snaps *raftlog.Snapshots, stream []byte, index, term uint64) raft.SnapshotSink {
	t.Helper()
	sink, err := snaps.Create(raft.SnapshotVersionMax, index, term, configuration, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write(stream); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	return sink
}

func restore(t *testing.T, store *storage.Store, snaps *raftlog.Snapshots, id string) {
	t.Helper()
	_, r, err := snaps.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	err = store.State().Restore(context.Background(), partition, r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestLogKeepsEntries(t *testing.T) {
	disk := storagetest.NewDisk()
	_, log := open(t, disk)
	want := append(entries(1, 5, 1), entries(100, 103, 2)...) // with a gap
	want[2].Extensions = []byte("more")
	want[3].Type = raft.LogConfiguration
	want[4].AppendedAt = time.Time{}
	if err := log.StoreLogs(want); err != nil {
		t.Fatal(err)
	}
	_, log = open(t, powerLoss(disk))
	for _, w := range want {
		var got raft.Log
		if err := log.GetLog(w.Index, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*w, got); diff != "" {
			t.Error(diff)
		}
	}
	var e raft.Log
	if err := log.GetLog(50, &e); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("entry in the gap: %v", err)
	}
	first, err1 := log.FirstIndex()
	last, err2 := log.LastIndex()
	if first != 1 || last != 103 || err1 != nil || err2 != nil {
		t.Errorf("log from %d to %d, %v, %v", first, last, err1, err2)
	}
	if err := log.DeleteRange(102, 103); err != nil {
		t.Fatal(err)
	}
	if last, _ := log.LastIndex(); last != 101 {
		t.Errorf("last entry %d after a truncation to 101", last)
	}
	if err := log.DeleteRange(1, 3); err == nil {
		t.Error("the log was truncated without a marker")
	}
}

// TestVoteIsWhole: never a new term with the name of an older vote.
func TestVoteIsWhole(t *testing.T) {
	disk := storagetest.NewDisk()
	_, log := open(t, disk)
	vote := func(term uint64, name string) {
		if err := log.SetUint64([]byte("LastVoteTerm"), term); err != nil {
			t.Fatal(err)
		}
		if name == "" {
			return
		}
		if err := log.Set([]byte("LastVoteCand"), []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	vote(4, "anna")
	vote(5, "")
	if term, err := log.GetUint64([]byte("LastVoteTerm")); term != 5 || err != nil {
		t.Errorf("the half vote is not seen: %d, %v", term, err)
	}
	_, after := open(t, powerLoss(disk))
	term, err := after.GetUint64([]byte("LastVoteTerm"))
	name, err2 := after.Get([]byte("LastVoteCand"))
	if term != 4 || string(name) != "anna" || err != nil || err2 != nil {
		t.Errorf("vote in term %d for %q after a crash in the middle: %v, %v", term, name, err, err2)
	}
	if err := log.Set([]byte("LastVoteCand"), []byte("berta")); err != nil {
		t.Fatal(err)
	}
	_, after = open(t, powerLoss(disk))
	term, _ = after.GetUint64([]byte("LastVoteTerm"))
	if name, _ = after.Get([]byte("LastVoteCand")); term != 5 || string(name) != "berta" {
		t.Errorf("vote in term %d for %q", term, name)
	}
}

// TestBootstrapIsWhole: a node is empty, or has term and configuration.
func TestBootstrapIsWhole(t *testing.T) {
	disk := storagetest.NewDisk()
	_, log := open(t, disk)
	if err := log.SetUint64([]byte("CurrentTerm"), 1); err != nil {
		t.Fatal(err)
	}
	_, after := open(t, powerLoss(disk))
	if has, err := raft.HasExistingState(after, after, after.Snapshots()); has || err != nil {
		t.Errorf("half a bootstrap is existing state: %v, %v", has, err)
	}
	if err := log.StoreLog(entries(1, 1, 1)[0]); err != nil {
		t.Fatal(err)
	}
	_, after = open(t, powerLoss(disk))
	term, err := after.GetUint64([]byte("CurrentTerm"))
	if last, _ := after.LastIndex(); term != 1 || last != 1 || err != nil {
		t.Errorf("term %d, last entry %d, %v", term, last, err)
	}
}

// TestMarkerIsBackedByTheDisk: what a marker covers survives a power loss, and
// only then the log may go.
func TestMarkerIsBackedByTheDisk(t *testing.T) {
	disk := storagetest.NewDisk()
	store, log := open(t, disk)
	if err := log.StoreLogs(entries(1, 20, 1)); err != nil {
		t.Fatal(err)
	}
	applyTo(t, store, 15)
	snaps := log.Snapshots()
	mark(t, snaps, 15, 1)
	mark(t, snaps, 10, 1) // a late one does not go back
	if err := log.DeleteRange(1, 15); err != nil {
		t.Fatal(err)
	}
	if err := log.DeleteRange(16, 18); err == nil {
		t.Error("the log was truncated beyond the marker")
	}
	store, log = open(t, powerLoss(disk))
	list, err := log.Snapshots().List()
	if err != nil || len(list) != 1 || list[0].Index != 15 || list[0].Term != 1 || list[0].ConfigurationIndex != 1 {
		t.Fatalf("snapshots %+v, %v", list, err)
	}
	if diff := cmp.Diff(configuration, list[0].Configuration); diff != "" {
		t.Error(diff)
	}
	if got := applied(t, store); got != 15 {
		t.Errorf("state at %d", got)
	}
	if r, err := raftlog.Verify(store, partition, 15); err != nil || r.Last != 20 || r.Marker != 15 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := raftlog.Verify(store, partition, 0); err == nil && log != nil {
		if first, _ := log.FirstIndex(); first > 1 {
			t.Error("a hole between state and log was not noticed")
		}
	}
}

// TestReceivedSnapshotIsFinishedAtStart: the library will not call Restore for
// a snapshot it has listed before the crash.
func TestReceivedSnapshotIsFinishedAtStart(t *testing.T) {
	stream := snapshotAt(t, 500, 7)
	disk := storagetest.NewDisk()
	store, log := open(t, disk)
	if err := log.StoreLogs(entries(1, 9, 1)); err != nil {
		t.Fatal(err)
	}
	applyTo(t, store, 9)
	receive(t, log.Snapshots(), stream, 500, 7)
	for _, percent := range []int{0, 50, 100} {
		after := storagetest.CutPower(disk, percent, rand.New(rand.NewPCG(1, uint64(percent))))
		store, log := open(t, after)
		if got := applied(t, store); got != 500 {
			t.Errorf("%d %% unsynced: state at %d after the start", percent, got)
		}
		if list, err := log.Snapshots().List(); err != nil || list[0].Index != 500 {
			t.Errorf("snapshots %v, %v", list, err)
		}
		names, err := after.List(after.PathJoin(storagetest.Dir, "spool"))
		if err != nil || len(names) != 0 {
			t.Errorf("left in the spool: %v, %v", names, err)
		}
	}
}

// TestDamagedSnapshotIsRefused: every flipped byte, before anything changes.
func TestDamagedSnapshotIsRefused(t *testing.T) {
	stream := snapshotAt(t, 500, 7)
	store, log := open(t, storagetest.NewDisk())
	snaps := log.Snapshots()
	for at := range stream {
		stream[at] ^= 0x10
		sink, err := snaps.Create(raft.SnapshotVersionMax, 500, 7, configuration, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sink.Write(stream); err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); err == nil {
			t.Fatalf("byte %d flipped, and the snapshot was accepted", at)
		}
		stream[at] ^= 0x10
	}
	if list, err := snaps.List(); len(list) != 0 || err != nil || applied(t, store) != 0 {
		t.Errorf("snapshots %v, %v", list, err)
	}
}

// TestContradictingLogGivesWay: entries that a snapshot proves were never
// committed must not be sent to anyone, and the next append must fit.
func TestContradictingLogGivesWay(t *testing.T) {
	stream := snapshotAt(t, 90, 7)
	store, log := open(t, storagetest.NewDisk())
	if err := log.StoreLogs(entries(80, 100, 5)); err != nil {
		t.Fatal(err)
	}
	snaps := log.Snapshots()
	restore(t, store, snaps, receive(t, snaps, stream, 90, 7).ID())
	var e raft.Log
	if err := log.GetLog(90, &e); err != nil || e.Term != 7 || e.Type != raft.LogNoop {
		t.Errorf("entry at the snapshot: %+v, %v", e, err)
	}
	if err := log.GetLog(89, &e); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry that was never committed stays: %+v, %v", e, err)
	}
	if err := log.GetLog(91, &e); err != nil {
		t.Errorf("entry behind: %v", err)
	}

	// One that agrees stays as it is: it may be sent to others.
	store, log = open(t, storagetest.NewDisk())
	if err := log.StoreLogs(entries(80, 100, 7)); err != nil {
		t.Fatal(err)
	}
	snaps = log.Snapshots()
	restore(t, store, snaps, receive(t, snaps, stream, 90, 7).ID())
	if err := log.GetLog(90, &e); err != nil || e.Type != raft.LogCommand {
		t.Errorf("entry at the snapshot: %+v, %v", e, err)
	}
}

// TestNewerStateIsKept: a snapshot behind the state takes nothing back.
func TestNewerStateIsKept(t *testing.T) {
	stream := snapshotAt(t, 90, 7)
	store, log := open(t, storagetest.NewDisk())
	applyTo(t, store, 120)
	snaps := log.Snapshots()
	mark(t, snaps, 120, 7)
	restore(t, store, snaps, receive(t, snaps, stream, 90, 7).ID())
	if got := applied(t, store); got != 120 {
		t.Errorf("state went from 120 to %d", got)
	}
	if list, err := snaps.List(); err != nil || list[0].Index != 120 {
		t.Errorf("marker went back: %v, %v", list, err)
	}
}
