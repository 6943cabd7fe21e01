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

func testQueue(t *testing.T, r *fakeRaft, change func(*Config), idle func()) *queue {
	t.Helper()
	cfg := DefaultConfig("unused")
	if change != nil {
		change(&cfg)
	}
	if idle == nil {
		idle = func() {}
	}
	q := startQueue(r, &cfg, idle)
	return q
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
	q := testQueue(t, r, nil, nil)
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

// While the log is being written, commands gather into one entry.
func TestCommandsGatherWhileTheLogIsWritten(t *testing.T) {
	r := &fakeRaft{gate: make(chan struct{})}
	close(r.gate)
	writing := make(chan struct{})
	q := testQueue(t, r, func(c *Config) { c.EntryCommands = 40 }, func() { <-writing })
	defer q.close()
	var wg sync.WaitGroup
	for i := range int64(50) {
		wg.Go(func() {
			if _, err := q.propose(t.Context(), encoded(i)); err != nil {
				t.Errorf("propose: %v", err)
			}
		})
	}
	waitFor(t, "all commands wait", func() bool { return q.accepted.Load() == 50 })
	close(writing)
	wg.Wait()
	if n := r.sizes(); len(n) != 2 || n[0] != 40 || n[1] != 10 {
		t.Errorf("entries of %v commands, want 40 and 10", n)
	}
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"commands": func(c *Config) { c.QueueCommands = 4 },
		"bytes":    func(c *Config) { c.QueueBytes = 4 * len(encoded(0)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := &fakeRaft{gate: make(chan struct{})}
			writing := make(chan struct{})
			q := testQueue(t, r, change, func() { <-writing })
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for i := range int64(4) {
				wg.Go(func() {
					if _, err := q.propose(ctx, encoded(i)); fault.CodeOf(err) != fault.Timeout {
						t.Errorf("waiting command: %v, want a timeout", err)
					}
				})
				waitFor(t, "the command waits", func() bool { return q.accepted.Load() == uint64(i+1) })
			}
			waitFor(t, "a further command is refused", func() bool {
				short, stop := context.WithTimeout(ctx, time.Millisecond)
				defer stop()
				_, err := q.propose(short, encoded(9))
				return fault.CodeOf(err) == fault.Overloaded
			})
			cancel()
			wg.Wait()
			close(writing)
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
		q := testQueue(t, r, nil, nil)
		_, err := q.propose(t.Context(), encoded(0))
		if fault.CodeOf(err) != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%v: got %v, want code %s", tc.err, err, tc.want)
		}
		q.close()
	}
}

func TestCloseRefusesWhatWaits(t *testing.T) {
	r := &fakeRaft{gate: make(chan struct{})}
	q := testQueue(t, r, func(c *Config) { c.EntryCommands = 1 }, nil)
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
