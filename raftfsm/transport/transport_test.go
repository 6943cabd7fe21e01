package transport

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// replaced makes a sole leader on the given kind of transport, sends it over
// TCP the heartbeat of a leader of the next term, and at once proposes to it.
// It tells whether the log then holds an entry of a term the node never won.
func replaced(t *testing.T, wrapped bool) bool {
	t.Helper()
	d := &directory{}
	layer := listen(t)
	d.set("old", layer.Addr().String())

	logs := raft.NewInmemStore()
	conf := raftConfig("old")
	conf.HeartbeatTimeout, conf.ElectionTimeout = 50*time.Millisecond, 50*time.Millisecond
	conf.LeaderLeaseTimeout = 50 * time.Millisecond
	var transport raft.Transport
	if wrapped {
		transport = startTransport(t, "old", layer, d)
	} else {
		transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: newConnections(Config{Stream: layer}), Timeout: time.Second, Logger: hclog.NewNullLogger(),
		})
	}
	alone := raft.Configuration{Servers: []raft.Server{{ID: "old", Address: transport.LocalAddr()}}}
	if err := raft.BootstrapCluster(conf, logs, logs, raft.NewDiscardSnapshotStore(), transport, alone); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(conf, newMachine(), logs, logs, raft.NewDiscardSnapshotStore(), transport)
	if err != nil {
		t.Fatal(err)
	}
	if w, ok := transport.(*Transport); ok {
		w.Attach(r)
	}
	awaitLeader(t, []*member{{raft: r}})

	peer := startTransport(t, "new", listen(t), d)
	won := r.CurrentTerm()
	heartbeat := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("new"), Addr: []byte("new")},
		Term:      won + 1,
	}
	var answer raft.AppendEntriesResponse
	if err := peer.AppendEntries("old", "old", heartbeat, &answer); err != nil {
		t.Fatal(err)
	}
	proposed := r.Apply([]byte("entry"), time.Second)
	_ = proposed.Error() // refused, or taken by a node that leads again by itself

	// Whoever leads a term begins it with an entry that no client proposed.
	began := map[uint64]bool{}
	violated := false
	last, err := logs.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := logs.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		if l.Type == raft.LogCommand && !began[l.Term] {
			violated = true
		}
		began[l.Term] = true
	}

	if err := r.Shutdown().Error(); err != nil {
		t.Error(err)
	}
	if n, ok := transport.(*raft.NetworkTransport); ok {
		// The library does not close what it serves.
		_ = peer.Close()
		n.CloseStreams()
	}
	if err := peer.Close(); err != nil {
		t.Error(err)
	}
	return violated
}

// TestReplacedLeaderTakesNothing is hashicorp/raft issue 695: an ex-leader
// whose main loop is idle learns of its successor by a heartbeat and must not
// take the next proposal under the successor's term.
func TestReplacedLeaderTakesNothing(t *testing.T) {
	for range 20 {
		if replaced(t, true) {
			t.Fatal("the replaced leader took an entry under a term it never won")
		}
	}
}

// TestLibraryAloneTakesIt shows that TestReplacedLeaderTakesNothing sees the
// defect where it is. If this fails after an upgrade of the library, the
// library may have learnt the first rule itself.
func TestLibraryAloneTakesIt(t *testing.T) {
	for range 20 {
		if replaced(t, false) {
			return
		}
	}
	t.Fatal("the library's own transport never let an ex-leader take an entry")
}

// stand is a Raft instance as the transport sees it.
type stand struct {
	state atomic.Uint32
	term  atomic.Uint64
}

func (s *stand) State() raft.RaftState { return raft.RaftState(s.state.Load()) }
func (s *stand) CurrentTerm() uint64   { return s.term.Load() }

// TestFastPath lists who may take a heartbeat of term 7 beside the main loop.
func TestFastPath(t *testing.T) {
	for _, tc := range []struct {
		name     string
		attached bool
		state    raft.RaftState
		term     uint64
		shut     bool
		fast     bool
	}{
		{name: "follower at the term", attached: true, state: raft.Follower, term: 7, fast: true},
		{name: "follower at an older term", attached: true, state: raft.Follower, term: 6},
		{name: "follower at a newer term", attached: true, state: raft.Follower, term: 8},
		{name: "candidate at the term", attached: true, state: raft.Candidate, term: 7},
		{name: "leader at an older term", attached: true, state: raft.Leader, term: 6},
		{name: "before Attach", state: raft.Follower, term: 7},
		{name: "while a TimeoutNow is with Raft", attached: true, state: raft.Follower, term: 7, shut: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr, err := Start(withStream(DefaultConfig("a"), NewAlone("a")))
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			fast := make(chan raft.RPC, 1)
			tr.SetHeartbeatHandler(func(rpc raft.RPC) { fast <- rpc })
			if tc.attached {
				s := &stand{}
				s.state.Store(uint32(tc.state))
				s.term.Store(tc.term)
				tr.Attach(s)
			}
			tr.shutGate(tc.shut)

			go tr.receiveHeartbeat(raft.RPC{Command: &raft.AppendEntriesRequest{Term: 7}})
			select {
			case <-fast:
				if !tc.fast {
					t.Error("took the fast path")
				}
			case <-tr.Consumer():
				if tc.fast {
					t.Error("went to the main loop")
				}
			}
		})
	}
}

func withStream(cfg Config, s raft.StreamLayer) Config {
	cfg.Stream = s
	return cfg
}

// TestCandidateWaitsForFastHeartbeats keeps a heartbeat on the fast path and
// sees that no request for a pre-vote leaves before it has ended.
func TestCandidateWaitsForFastHeartbeats(t *testing.T) {
	tr, err := Start(withStream(DefaultConfig("a"), NewAlone("a")))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	s := &stand{} // the zero state is a follower
	s.term.Store(7)
	tr.Attach(s)

	entered, leave := make(chan struct{}), make(chan struct{})
	var left atomic.Bool
	tr.SetHeartbeatHandler(func(raft.RPC) {
		close(entered)
		<-leave
		left.Store(true)
	})
	go tr.receiveHeartbeat(raft.RPC{Command: &raft.AppendEntriesRequest{Term: 7}})
	<-entered

	asked := make(chan bool)
	go func() {
		// Fails at once, since there is nobody to ask.
		err := tr.RequestPreVote("b", "b", &raft.RequestPreVoteRequest{}, &raft.RequestPreVoteResponse{})
		asked <- left.Load() && errors.Is(err, errAlone)
	}()
	select {
	case <-asked:
		t.Fatal("asked for a pre-vote while a heartbeat was on the fast path")
	case <-time.After(50 * time.Millisecond): // can only miss a defect, never report one
	}
	close(leave)
	if !<-asked {
		t.Fatal("the request did not come after the heartbeat, or did not fail as expected")
	}
}

// TestLeadershipTransfer sees a TimeoutNow through the gate and back.
func TestLeadershipTransfer(t *testing.T) {
	members, _ := startCluster(t, 3)
	propose(t, members, "before")
	to := members[1]
	if err := members[0].raft.LeadershipTransferToServer(to.id, raft.ServerAddress(to.id)).Error(); err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, members[1:])
	propose(t, members, "after")
	for _, m := range members {
		m.machine.await("after")
	}
}

// TestFollowerCatchesUpAfterCut pulls out a follower for three seconds; the
// library alone would let it wait for more than two once it is back.
func TestFollowerCatchesUpAfterCut(t *testing.T) {
	members, _ := startCluster(t, 3)
	follower := members[2]
	propose(t, members, "before")
	follower.machine.await("before")

	follower.cable.pull(true)
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for range 300 {
		propose(t, members[:2], "during")
		<-pace.C
	}
	propose(t, members[:2], "last")
	follower.cable.pull(false)

	back := time.Now()
	follower.machine.await("last")
	took := time.Since(back)
	t.Logf("first entries %v after the follower was back", took)
	if took > 1500*time.Millisecond {
		t.Errorf("the follower waited %v", took)
	}
}

// TestShutdownWhileHeld shuts a leader down while its appends to a peer are
// held: it must not wait for the hold to end.
func TestShutdownWhileHeld(t *testing.T) {
	members, _ := startCluster(t, 3)
	follower := members[2]
	follower.cable.pull(true)
	defer follower.cable.pull(false)
	propose(t, members[:2], "while the follower is away")
	leader := awaitLeader(t, members[:2])
	awaitHeld(t, leader.transport, follower.id)

	start := time.Now()
	leader.stop(t)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("shutting down took %v", took)
	}
}

// awaitHeld waits until an append to id is held.
func awaitHeld(t *testing.T, tr *Transport, id raft.ServerID) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for poll := time.NewTicker(time.Millisecond); ; <-poll.C {
		tr.contact.mu.Lock()
		_, held := tr.contact.mu.waiting[id]
		tr.contact.mu.Unlock()
		if held {
			poll.Stop()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no append is held")
		}
	}
}

// TestHoldEnds lists what ends the wait of a failed append.
func TestHoldEnds(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*Transport, *stand)
	}{
		{"a heartbeat succeeds", func(tr *Transport, _ *stand) { tr.contact.made("b") }},
		{"the lead is lost", func(_ *Transport, s *stand) { s.state.Store(uint32(raft.Follower)) }},
		{"another term is led", func(_ *Transport, s *stand) { s.term.Store(8) }},
		{"the transport is closed", func(tr *Transport, _ *stand) { _ = tr.Close() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := withStream(DefaultConfig("a"), NewAlone("a"))
			cfg.Hold = time.Hour
			tr, err := Start(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			s := &stand{}
			s.state.Store(uint32(raft.Leader))
			s.term.Store(7)
			tr.Attach(s)

			reported := make(chan error, 1)
			go func() {
				reported <- tr.AppendEntries("b", "b", &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 1, PrevLogTerm: 1},
					&raft.AppendEntriesResponse{})
			}()
			awaitHeld(t, tr, "b")
			select {
			case <-reported:
				t.Fatal("reported before anything happened")
			default:
			}
			tc.end(tr, s)
			if err := <-reported; err == nil {
				t.Error("the append succeeded")
			}
		})
	}
}

// TestHeartbeatIsNotHeld lets a heartbeat fail at once, since others wait for
// one to succeed.
func TestHeartbeatIsNotHeld(t *testing.T) {
	cfg := withStream(DefaultConfig("a"), NewAlone("a"))
	cfg.Hold = time.Hour
	tr, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	err = tr.AppendEntries("b", "b", &raft.AppendEntriesRequest{Term: 7}, &raft.AppendEntriesResponse{})
	if !errors.Is(err, errAlone) {
		t.Errorf("a heartbeat to nobody: %v", err)
	}
}

// TestPeerMoves restarts a follower under another port; the configuration
// names its id and stays as it is.
func TestPeerMoves(t *testing.T) {
	members, d := startCluster(t, 3)
	follower := members[1]
	propose(t, members, "before")
	follower.machine.await("before")
	old := follower.cable.Addr().String()

	follower.stop(t)
	other, err := ListenTCP(t.Context(), old) // the address belongs to somebody else now
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	follower.start(t, d)
	propose(t, members, "after the move")
	follower.machine.await("after the move")
}

// TestAloneElectsItself runs the transport of a cluster of one.
func TestAloneElectsItself(t *testing.T) {
	tr, err := Start(withStream(DefaultConfig("a"), NewAlone("a")))
	if err != nil {
		t.Fatal(err)
	}
	conf, logs, m := raftConfig("a"), raft.NewInmemStore(), newMachine()
	servers := raft.Configuration{Servers: []raft.Server{{ID: "a", Address: tr.LocalAddr()}}}
	if err := raft.BootstrapCluster(conf, logs, logs, raft.NewDiscardSnapshotStore(), tr, servers); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(conf, m, logs, logs, raft.NewDiscardSnapshotStore(), tr)
	if err != nil {
		t.Fatal(err)
	}
	tr.Attach(r)
	self := &member{id: "a", raft: r}
	propose(t, []*member{self}, "alone")
	m.await("alone")
	self.stop(t)
}

// TestStartRefuses names what a configuration lacks.
func TestStartRefuses(t *testing.T) {
	layer := NewAlone("a")
	for _, cfg := range []Config{
		withStream(DefaultConfig(""), layer),
		DefaultConfig("a"),
		withStream(Config{ID: "a"}, layer),
	} {
		if tr, err := Start(cfg); err == nil {
			_ = tr.Close()
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
