package peer

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/valyala/fasthttp"

	"github.com/trellisdb/trellis/raftfsm/transport"
	"github.com/trellisdb/trellis/storage/entity"
)

// raftStream is a lane as Raft's transport wants it.
type raftStream struct {
	net.Listener
	network *Network
	lane    Lane
}

func (s raftStream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.network.Dial(ctx, string(address), s.lane)
}

// counter is a state machine that counts.
type counter struct {
	mu      sync.Mutex
	applied int
}

func (c *counter) Apply(*raft.Log) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.applied++
	return c.applied
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applied
}

func (c *counter) Snapshot() (raft.FSMSnapshot, error) { return nil, fmt.Errorf("no snapshots here") }
func (c *counter) Restore(r io.ReadCloser) error       { return r.Close() }

// group runs a Raft group of all networks on the lane of a partition.
func group(t *testing.T, networks []*Network, p entity.Partition) ([]*raft.Raft, []*counter) {
	t.Helper()
	addresses := make(map[raft.ServerID]string)
	var conf raft.Configuration
	for _, n := range networks {
		id := raft.ServerID(n.cfg.ID)
		addresses[id] = n.Addr().String()
		conf.Servers = append(conf.Servers, raft.Server{ID: id, Address: raft.ServerAddress(id)})
	}
	rafts, machines := make([]*raft.Raft, len(networks)), make([]*counter, len(networks))
	for i, n := range networks {
		cfg := transport.DefaultConfig(raft.ServerID(n.cfg.ID))
		cfg.Stream = raftStream{Listener: register(t, n, RaftLane(p, 1)), network: n, lane: RaftLane(p, 1)}
		cfg.Resolve = func(_ context.Context, id raft.ServerID) (string, error) { return addresses[id], nil }
		tr, err := transport.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		rc := raft.DefaultConfig()
		rc.LocalID = cfg.ID
		rc.NoLegacyTelemetry = true
		rc.Logger = hclog.NewNullLogger()
		logs := raft.NewInmemStore()
		if err := raft.BootstrapCluster(rc, logs, logs, raft.NewDiscardSnapshotStore(), tr, conf); err != nil {
			t.Fatal(err)
		}
		machines[i] = &counter{}
		rafts[i], err = raft.NewRaft(rc, machines[i], logs, logs, raft.NewDiscardSnapshotStore(), tr)
		if err != nil {
			t.Fatal(err)
		}
		tr.Attach(rafts[i])
		t.Cleanup(func() {
			if err := rafts[i].Shutdown().Error(); err != nil {
				t.Errorf("shut down: %v", err)
			}
		})
	}
	return rafts, machines
}

// TestRaft runs two partitions of three nodes over their three ports.
func TestRaft(t *testing.T) {
	networks := []*Network{start(t, config("a")), start(t, config("b")), start(t, config("c"))}
	const entries = 20
	for _, p := range []entity.Partition{entity.System, 1} {
		rafts, machines := group(t, networks, p)
		for done := 0; done < entries; {
			await(t, "a leader", func() bool {
				for _, r := range rafts {
					if r.State() == raft.Leader && r.Apply(nil, time.Second).Error() == nil {
						return true
					}
				}
				return false
			})
			done++
		}
		for _, m := range machines {
			await(t, "all entries everywhere", func() bool { return m.count() >= entries })
		}
	}
	if _, err := networks[0].Lane(RaftLane(1, 1)); err == nil {
		t.Error("the lane of a running partition is free")
	}
}

// TestRPC runs HTTP over the lane of RPC; the handler learns who asks.
func TestRPC(t *testing.T) {
	a, b := start(t, config("a")), start(t, config("b"))
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		id, ok := RemoteID(ctx.Conn())
		fmt.Fprintf(ctx, "%s %v", id, ok)
	}}
	listener := register(t, b, LaneRPC)
	served := make(chan error)
	go func() { served <- server.Serve(listener) }()

	client := &fasthttp.HostClient{Addr: b.Addr().String(), Dial: func(addr string) (net.Conn, error) {
		return a.Dial(t.Context(), addr, LaneRPC)
	}}
	for range 3 {
		_, body, err := client.Get(nil, "http://peer/")
		if err != nil || string(body) != "a true" {
			t.Errorf("got %q, %v", body, err)
		}
	}
	if got := b.Stats().Accepted; got != 1 {
		t.Errorf("%d connections, want one for all requests", got)
	}
	client.CloseIdleConnections()
	if err := server.Shutdown(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}
