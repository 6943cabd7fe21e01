package transport

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Who is told to stand does not wait for a time-out: with one far away, nobody
// else could make it lead.
func TestStandNeedsNoTimeout(t *testing.T) {
	id := raft.ServerID("alone")
	layer := NewAlone(id)
	cfg := DefaultConfig(id)
	cfg.Stream = layer
	tr, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rc := raftConfig(id)
	rc.HeartbeatTimeout, rc.ElectionTimeout = time.Hour, time.Hour
	logs := raft.NewInmemStore()
	conf := raft.Configuration{Servers: []raft.Server{{ID: id, Address: raft.ServerAddress(id)}}}
	if err := raft.BootstrapCluster(rc, logs, logs, raft.NewDiscardSnapshotStore(), startlessTransport{id: id}, conf); err != nil {
		t.Fatal(err)
	}
	m := &member{id: id, transport: tr, machine: newMachine()}
	if m.raft, err = raft.NewRaft(rc, m.machine, logs, logs, raft.NewDiscardSnapshotStore(), tr); err != nil {
		t.Fatal(err)
	}
	defer m.stop(t)
	tr.Attach(m.raft)
	if err := tr.Stand(t.Context()); err != nil {
		t.Fatal(err)
	}
	propose(t, []*member{m}, "milk")
	m.machine.await("milk")
}

// What a follower is told is committed it applies at once, if its log holds it,
// and not if its log holds something else there.
func TestLearnCommitsWhatTheLogHolds(t *testing.T) {
	members, _ := startCluster(t, 3)
	propose(t, members, "milk")
	leader := awaitLeader(t, members)
	var follower *member
	for _, m := range members {
		m.machine.await("milk")
		if m != leader {
			follower = m
		}
	}
	term, last := leader.raft.CurrentTerm(), leader.raft.LastIndex()

	// An entry that the follower has and does not know to be committed.
	follower.cable.pull(true)
	entry := &raft.Log{Index: last + 1, Term: term, Type: raft.LogCommand, Data: []byte("bread")}
	answer := make(chan raft.RPCResponse, 1)
	follower.transport.consume <- raft.RPC{RespChan: answer, Command: &raft.AppendEntriesRequest{
		RPCHeader: leader.transport.header(leader.id), Term: term, PrevLogEntry: last, PrevLogTerm: term,
		Entries: []*raft.Log{entry}, LeaderCommitIndex: last,
	}}
	if a := <-answer; a.Error != nil {
		t.Fatal(a.Error)
	}
	learn := func(index, indexTerm uint64) {
		t.Helper()
		if err := follower.transport.Learn(t.Context(), Commit{Leader: leader.id, Term: term, Index: index, IndexTerm: indexTerm}); err != nil {
			t.Fatal(err)
		}
	}
	learn(last+1, term+7) // its entry there is another
	if got := follower.raft.CommitIndex(); got != last {
		t.Errorf("commit index %d, want %d: the log holds something else", got, last)
	}
	learn(last+2, term) // its log does not reach so far
	if got := follower.raft.CommitIndex(); got != last {
		t.Errorf("commit index %d, want %d: the log ends before", got, last)
	}
	learn(last+1, term)
	follower.machine.await("bread")
}

func TestInjectEndsWithTheTransport(t *testing.T) {
	cfg := DefaultConfig("nobody reads")
	cfg.Stream = NewAlone(cfg.ID)
	tr, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- tr.Stand(t.Context()) }()
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a message was taken that nobody reads")
	}
}
