package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestMessagesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string) string { return rapid.String().Draw(t, label) }
		partition := func() entity.Partition { return entity.Partition(rapid.Uint32().Draw(t, "partition")) }
		count := func(label string) int { return rapid.IntRange(0, 5).Draw(t, label) }

		proposals := make([]Proposal, count("proposals"))
		for i := range proposals {
			proposals[i] = Proposal{Partition: partition(), Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data")}
		}
		same(t, proposals, AppendProposals(nil, proposals), DecodeProposals)

		verdicts := make([]Verdict, count("verdicts"))
		for i := range verdicts {
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				verdicts[i] = Verdict{NotLeader: true, Leader: entity.NodeID(text("leader"))}
			case 1:
				verdicts[i] = Verdict{Fault: fault.New(fault.Code(text("code")), "%s", text("message"))}
			default:
				verdicts[i].Outcome = command.Outcome{Created: rapid.Bool().Draw(t, "created")}
				for range count("entities") {
					verdicts[i].Outcome.Entities = append(verdicts[i].Outcome.Entities, entity.Entity{
						Created: 5, Modified: 7, Seq: 3, Rev: 9, JSON: []byte(`{"name":"milk"}`),
					})
				}
			}
		}
		same(t, verdicts, AppendVerdicts(nil, verdicts), DecodeVerdicts)

		partitions := make([]entity.Partition, count("partitions"))
		for i := range partitions {
			partitions[i] = partition()
		}
		same(t, partitions, AppendPartitions(nil, partitions), DecodePartitions)

		indexes := make([]Index, count("indexes"))
		for i := range indexes {
			if indexes[i] = (Index{Leader: entity.NodeID(text("leader"))}); rapid.Bool().Draw(t, "ok") {
				indexes[i] = Index{OK: true, Server: text("server"), Term: rapid.Uint64().Draw(t, "term"), Index: rapid.Uint64().Draw(t, "index"), IndexTerm: 3}
			}
		}
		same(t, indexes, AppendIndexes(nil, indexes), DecodeIndexes)

		replicas := make([]Replica, count("replicas"))
		standings := make([]Standing, len(replicas))
		for i := range replicas {
			replicas[i] = Replica{Partition: partition(), Server: text("server")}
			standings[i] = Standing{Term: rapid.Uint64().Draw(t, "term"), Applied: rapid.Uint64().Draw(t, "applied")}
		}
		same(t, replicas, AppendReplicas(nil, replicas), DecodeReplicas)
		same(t, standings, AppendStandings(nil, standings), DecodeStandings)
	})
}

// same makes sure that decode undoes append, and that nothing shorter is taken.
func same[M any](t *rapid.T, want []M, encoded []byte, decode func([]byte) ([]M, error)) {
	got, err := decode(encoded)
	if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if len(encoded) > 1 {
		if _, err := decode(encoded[:len(encoded)-1]); err == nil {
			t.Errorf("%T is taken without its end", want)
		}
	}
}

// FuzzMessages: what another node sends never makes this one panic, or allocate
// for more than has arrived.
func FuzzMessages(f *testing.F) {
	f.Add(AppendProposals(nil, []Proposal{{Partition: 3, Data: []byte("data")}}))
	f.Add(AppendVerdicts(nil, []Verdict{{NotLeader: true, Leader: "n1~0a1b2c3d"}, {Fault: fault.New(fault.Overloaded, "full")}, {}}))
	f.Add(AppendIndexes(nil, []Index{{OK: true, Server: "n1~0a1b2c3d#1", Term: 2, Index: 9, IndexTerm: 2}, {}}))
	f.Add(AppendReplicas(nil, []Replica{{Partition: 1, Server: "n1~0a1b2c3d#1"}}))
	f.Add(AppendStandings(nil, []Standing{{Term: 1, Applied: 2}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		again(t, b, DecodeProposals, AppendProposals)
		again(t, b, DecodePartitions, AppendPartitions)
		again(t, b, DecodeIndexes, AppendIndexes)
		again(t, b, DecodeReplicas, AppendReplicas)
		again(t, b, DecodeStandings, AppendStandings)
		if v, err := DecodeVerdicts(b); err == nil {
			_ = AppendVerdicts(nil, v)
		}
	})
}

func again[M any](t *testing.T, b []byte, decode func([]byte) ([]M, error), encode func([]byte, []M) []byte) {
	m, err := decode(b)
	if err != nil {
		return
	}
	n, err := decode(encode(nil, m))
	if diff := cmp.Diff(m, n); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// connect serves services on loopback and returns a client of them.
func connect(t *testing.T, services Services) *Client {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(services, slog.New(slog.NewTextHandler(io.Discard, nil)))
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	c := NewClient(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}, time.Second)
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		<-served
	})
	return c
}

func TestCalls(t *testing.T) {
	c := connect(t, Services{
		Propose: func(_ context.Context, list []Proposal) []Verdict {
			v := make([]Verdict, len(list))
			for i, p := range list {
				v[i].Outcome.Created = string(p.Data) == "yes"
			}
			return v
		},
		Standings: func([]Replica) []Standing { return nil }, // too few
		Join: func(_ context.Context, j Join) (Joined, error) {
			if j.Member.ID == "" {
				return Joined{}, fault.New(fault.Conflict, "no name")
			}
			return Joined{System: entity.Replica{Node: j.Member.ID, Number: 4}}, nil
		},
		Placed: func(context.Context, Replica) (bool, error) { return false, errors.New("a secret of the disk") },
	})
	v, err := c.Propose(t.Context(), []Proposal{{1, []byte("yes")}, {2, []byte("no")}})
	if err != nil || len(v) != 2 || !v[0].Outcome.Created || v[1].Outcome.Created {
		t.Errorf("propose: %+v %v", v, err)
	}
	if _, err := c.Standings(t.Context(), []Replica{{1, "n#1"}}); fault.CodeOf(err) != fault.Corrupt {
		t.Errorf("an answer too short: %v", err)
	}
	if j, err := c.Join(t.Context(), Join{Member: entity.Member{ID: "n1~0a1b2c3d"}}); err != nil || j.System.Number != 4 {
		t.Errorf("join: %+v %v", j, err)
	}
	if _, err := c.Join(t.Context(), Join{}); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("a refusal arrives as %v", err)
	}
	if _, err := c.Placed(t.Context(), Replica{}); fault.CodeOf(err) != fault.Uncaught {
		t.Errorf("an error arrives as %v", err)
	}
}

// A call ends at its deadline, whatever the other side does, and a server that is
// closed cancels what it is at.
func TestCallsEnd(t *testing.T) {
	var cancelled atomic.Bool
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); !cancelled.Load(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Error("the call goes on after its server")
				return
			}
		}
	})
	c := connect(t, Services{ReadIndex: func(ctx context.Context, _ []entity.Partition) []Index {
		<-ctx.Done()
		cancelled.Store(true)
		return nil
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := c.ReadIndex(ctx, []entity.Partition{1}); err == nil {
		t.Error("an answer came from nowhere")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the call took %v", took)
	}
}

// The other process may have started anew since the last call: a call on a
// connection that it does not know any more is made again on another.
func TestCallsOutliveARestart(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	services := Services{ReadIndex: func(_ context.Context, list []entity.Partition) []Index { return make([]Index, len(list)) }}
	var addr atomic.Value
	serve := func() func() {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr.Store(ln.Addr().String())
		s, served := NewServer(services, log), make(chan error, 1)
		go func() { served <- s.Serve(ln) }()
		return func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := s.Close(ctx); err != nil {
				t.Error(err)
			}
			<-served
		}
	}
	c := NewClient(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr.Load().(string))
	}, time.Second)
	defer c.Close()
	for range 10 {
		stop := serve()
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				if _, err := c.ReadIndex(t.Context(), []entity.Partition{1}); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		stop()
	}
}
