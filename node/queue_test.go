package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// fakeRaft answers entries when the test lets it.
type fakeRaft struct {
	mu      sync.Mutex
	entries [][]command.Command
	gate    chan struct{} // an entry is answered for each receive
	err     error
}

type fakeFuture struct {
	raft.ApplyFuture
	wait     <-chan struct{}
	err      error
	outcomes []command.Outcome
}

func (f *fakeFuture) Error() error  { <-f.wait; return f.err }
func (f *fakeFuture) Response() any { return f.outcomes }
func (r *fakeRaft) Apply(entry []byte, _ time.Duration) raft.ApplyFuture {
	cmds, err := command.DecodeEntry(entry)
	if err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, cmds)
	outcomes := make([]command.Outcome, len(cmds))
	for i, c := range cmds {
		outcomes[i].Created = c.Time%2 == 1
	}
	return &fakeFuture{wait: r.gate, err: r.err, outcomes: outcomes}
}

func (r *fakeRaft) sizes() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var n []int
	for _, e := range r.entries {
		n = append(n, len(e))
	}
	return n
}

func encoded(time int64) []byte {
	return command.AppendCommand(nil, &command.Command{
		Request: command.RequestID(entity.NewID()), Time: time, App: 16,
		Op: command.CreateCollections{Names: []string{"things"}},
	})
}

func testQueue(r *fakeRaft, change func(*Config)) *queue {
	cfg := DefaultConfig("unused")
	if change != nil {
		change(&cfg)
	}
	return startQueue(r, &cfg)
}

// waitFor polls a condition that another goroutine makes true.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestEachCallerGetsTheOutcomeOfItsOwnCommand(t *testing.T) {
	r := &fakeRaft{gate: make(chan struct{})}
	close(r.gate)
	q := testQueue(r, nil)
	defer q.close()
	var wg sync.WaitGroup
	for i := range int64(500) {
		wg.Go(func() {
			out, err := q.propose(t.Context(), encoded(i))
			if err != nil || out.Created != (i%2 == 1) {
				t.Errorf("command %d: outcome %v, error %v", i, out.Created, err)
			}
		})
	}
	wg.Wait()
	if n := q.bytes.Load(); n != 0 {
		t.Errorf("%d bytes still counted as waiting", n)
	}
}

// While an entry is under way, commands gather for the next.
func TestCommandsGatherWhileAnEntryIsUnderWay(t *testing.T) {
	r := &fakeRaft{gate: make(chan struct{})}
	q := testQueue(r, func(c *Config) { c.EntryCommands = 40 })
	defer q.close()
	var wg sync.WaitGroup
	propose := func(n int) {
		for i := range int64(n) {
			wg.Go(func() {
				if _, err := q.propose(t.Context(), encoded(i)); err != nil {
					t.Errorf("propose: %v", err)
				}
			})
		}
	}
	propose(1)
	waitFor(t, "the first entry is sent", func() bool { return len(r.sizes()) == 1 })
	propose(50)
	waitFor(t, "all commands wait", func() bool { return q.accepted.Load() == 51 })
	close(r.gate)
	wg.Wait()
	if n := r.sizes(); len(n) != 3 || n[0] != 1 || n[1] != 40 || n[2] != 10 {
		t.Errorf("entries of %v commands, want 1, 40 and 10", n)
	}
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		most   uint64 // commands that may be waiting or under way
	}{
		// One is under way, one is the first of the next entry.
		"commands": {func(c *Config) { c.QueueCommands = 4 }, 6},
		"bytes":    {func(c *Config) { c.QueueBytes = 4 * len(encoded(0)) }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			r := &fakeRaft{gate: make(chan struct{})}
			q := testQueue(r, tc.change)
			ctx, cancel := context.WithCancel(t.Context())
			const sent = 20
			codes := make(chan fault.Code, sent)
			var wg sync.WaitGroup
			for i := range int64(sent) {
				wg.Go(func() {
					_, err := q.propose(ctx, encoded(i))
					codes <- fault.CodeOf(err)
				})
				waitFor(t, "the command is taken or refused", func() bool { return q.accepted.Load()+q.refused.Load() == uint64(i+1) })
				// The first goes alone: those after it would join an entry not yet sent.
				waitFor(t, "the first entry is sent", func() bool { return len(r.sizes()) == 1 })
			}
			taken := q.accepted.Load()
			cancel()
			wg.Wait()
			got := map[fault.Code]uint64{}
			for range sent {
				got[<-codes]++
			}
			if taken == 0 || taken > tc.most || got[fault.Timeout] != taken || got[fault.Overloaded] != sent-taken {
				t.Errorf("%d taken, answers %v; want at most %d taken and the others refused as overloaded", taken, got, tc.most)
			}
			close(r.gate)
			q.close()
		})
	}
}

func TestRaftErrorsSayRefusedOrUnknown(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want fault.Code
	}{
		{raft.ErrNotLeader, fault.NoQuorum},
		{raft.ErrEnqueueTimeout, fault.Overloaded},
		{raft.ErrLeadershipLost, fault.NoQuorum},
		{raft.ErrRaftShutdown, fault.NoQuorum},
		{errors.New("disk on fire"), fault.NoQuorum},
	} {
		r := &fakeRaft{gate: make(chan struct{}), err: tc.err}
		close(r.gate)
		q := testQueue(r, nil)
		_, err := q.propose(t.Context(), encoded(0))
		if fault.CodeOf(err) != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%v: got %v, want code %s", tc.err, err, tc.want)
		}
		q.close()
	}
}

func TestCloseRefusesWhatWaits(t *testing.T) {
	r := &fakeRaft{gate: make(chan struct{})}
	q := testQueue(r, func(c *Config) { c.EntryCommands = 1 })
	var wg sync.WaitGroup
	codes := make(chan fault.Code, 40)
	for i := range int64(40) {
		wg.Go(func() {
			_, err := q.propose(t.Context(), encoded(i))
			codes <- fault.CodeOf(err)
		})
	}
	waitFor(t, "as many entries are in flight as may be", func() bool {
		return len(r.sizes()) == maxEntriesInFlight && q.accepted.Load() == 40
	})
	q.close()
	close(r.gate)
	wg.Wait()
	count := map[fault.Code]int{}
	for range 40 {
		count[<-codes]++
	}
	if count[""] != maxEntriesInFlight || count[fault.Stopping] != 40-maxEntriesInFlight {
		t.Errorf("got %v, want %d answered and the rest told the node stops", count, maxEntriesInFlight)
	}
}
