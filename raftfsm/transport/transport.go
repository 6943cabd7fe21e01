package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// ErrClosed is what a closed transport answers.
var ErrClosed = errors.New("raft transport is closed")

// Resolver tells the network address at which a node can be dialled now. It is
// asked for every new connection and should answer from memory.
type Resolver func(ctx context.Context, id raft.ServerID) (string, error)

// Config says how a transport works.
type Config struct {
	ID      raft.ServerID    // of this node, which is also its Raft address
	Stream  raft.StreamLayer // makes and accepts connections; the transport closes it
	Resolve Resolver         // not needed by a stream layer that dials nobody

	DialTimeout time.Duration // for resolving and dialling
	RPCTimeout  time.Duration // for a whole exchange; a snapshot gets more by its size
	Hold        time.Duration // longest wait of a failed append for a heartbeat that succeeds
	MaxIdle     int           // idle connections kept to a peer

	Logger hclog.Logger
}

// DefaultConfig is a working configuration but for the stream layer and, where
// there are peers, the resolver.
func DefaultConfig(id raft.ServerID) Config {
	return Config{
		ID:          id,
		DialTimeout: time.Second,
		RPCTimeout:  5 * time.Second,
		Hold:        30 * time.Second,
		MaxIdle:     3,
		Logger:      hclog.NewNullLogger(),
	}
}

// Standing is what the transport asks of the Raft instance it serves;
// *raft.Raft has it.
type Standing interface {
	State() raft.RaftState
	CurrentTerm() uint64
}

// Transport is a raft.Transport that keeps the rules of the package.
type Transport struct {
	cfg     Config
	inner   *raft.NetworkTransport
	conns   *connections
	consume chan raft.RPC

	standing  atomic.Pointer[Standing]
	heartbeat atomic.Pointer[func(raft.RPC)]

	// gate guards the look at the standing together with the hand-over.
	gate struct {
		sync.RWMutex
		shut bool // a TimeoutNow is with Raft
	}

	contact contacts

	closing sync.Once
	closed  chan struct{}
	running sync.WaitGroup
}

var (
	_ raft.Transport   = (*Transport)(nil)
	_ raft.WithPreVote = (*Transport)(nil)
	_ raft.WithClose   = (*Transport)(nil)
)

// Start begins to accept connections. Until Attach, and always for what is not
// a heartbeat, every message goes to Consumer. Raft closes the transport when
// it shuts down; Close may be called again.
func Start(cfg Config) (*Transport, error) {
	switch {
	case cfg.ID == "":
		return nil, errors.New("raft transport: no node id")
	case cfg.Stream == nil:
		return nil, errors.New("raft transport: no stream layer")
	case cfg.DialTimeout <= 0 || cfg.RPCTimeout <= 0 || cfg.Hold <= 0:
		return nil, fmt.Errorf("raft transport: time-outs are %v, %v and %v, want more than nothing",
			cfg.DialTimeout, cfg.RPCTimeout, cfg.Hold)
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	t := &Transport{
		cfg:     cfg,
		conns:   newConnections(cfg),
		consume: make(chan raft.RPC),
		closed:  make(chan struct{}),
	}
	t.inner = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                  t.conns,
		MaxPool:                 cfg.MaxIdle,
		Timeout:                 cfg.RPCTimeout,
		Logger:                  cfg.Logger,
		MsgpackUseNewTimeFormat: true,
	})
	t.running.Go(t.forward)
	return t, nil
}

// Attach names the Raft instance that consumes from the transport. The fast
// path of heartbeats and the early end of held appends begin with it.
func (t *Transport) Attach(s Standing) { t.standing.Store(&s) }

// Consumer implements raft.Transport.
func (t *Transport) Consumer() <-chan raft.RPC { return t.consume }

// LocalAddr is the id of this node.
func (t *Transport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.cfg.ID) }

// EncodePeer implements raft.Transport.
func (t *Transport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer implements raft.Transport.
func (t *Transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler takes Raft's fast path, which is then used as the first
// rule of the package allows.
func (t *Transport) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle == nil {
		t.inner.SetHeartbeatHandler(nil)
		return
	}
	t.heartbeat.Store(&handle)
	t.inner.SetHeartbeatHandler(t.receiveHeartbeat)
}

// receiveHeartbeat runs on the goroutine of the connection.
func (t *Transport) receiveHeartbeat(rpc raft.RPC) {
	if t.handledFast(rpc) {
		return
	}
	select {
	case t.consume <- rpc:
	case <-t.closed: // the inner transport answers nothing more either
	}
}

func (t *Transport) handledFast(rpc raft.RPC) bool {
	req, ok := rpc.Command.(*raft.AppendEntriesRequest)
	standing := t.standing.Load()
	if !ok || standing == nil {
		return false
	}
	t.gate.RLock()
	defer t.gate.RUnlock()
	if t.gate.shut || (*standing).State() != raft.Follower || (*standing).CurrentTerm() != req.Term {
		return false
	}
	(*t.heartbeat.Load())(rpc)
	return true
}

// forward brings what arrives to Raft's main loop.
func (t *Transport) forward() {
	for {
		select {
		case rpc := <-t.inner.Consumer():
			if _, ok := rpc.Command.(*raft.TimeoutNowRequest); ok {
				t.forwardTimeoutNow(rpc)
				continue
			}
			select {
			case t.consume <- rpc:
			case <-t.closed:
				return
			}
		case <-t.closed:
			return
		}
	}
}

// forwardTimeoutNow keeps the gate shut until Raft has answered, and with that
// left the state Follower.
func (t *Transport) forwardTimeoutNow(rpc raft.RPC) {
	t.shutGate(true)
	defer t.shutGate(false)

	answer := make(chan raft.RPCResponse, 1)
	back := rpc.RespChan
	rpc.RespChan = answer
	select {
	case t.consume <- rpc:
	case <-t.closed:
		return
	}
	select {
	case a := <-answer:
		back <- a // has room for the one answer
	case <-t.closed:
	}
}

func (t *Transport) shutGate(shut bool) {
	t.gate.Lock()
	defer t.gate.Unlock()
	t.gate.shut = shut
}

// passGate returns once no heartbeat that began before is still on the fast
// path.
func (t *Transport) passGate() {
	t.gate.Lock()
	defer t.gate.Unlock()
}

// AppendEntries sends a heartbeat or entries. What fails and is no heartbeat
// is held, see the package.
func (t *Transport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	err := t.inner.AppendEntries(id, target, req, resp)
	switch {
	case isHeartbeat(req):
		if err == nil {
			t.contact.made(id)
		}
	case err != nil:
		t.hold(id, req.Term)
	}
	return err
}

// AppendEntriesPipeline implements raft.Transport. A failure is not held: the
// library does not count it and goes back to AppendEntries.
func (t *Transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.inner.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return startPipeline(inner), nil
}

// RequestVote implements raft.Transport.
func (t *Transport) RequestVote(
	id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse,
) error {
	return t.inner.RequestVote(id, target, req, resp)
}

// RequestPreVote implements raft.WithPreVote. It is called by a candidate that
// has not taken a new term yet, and will not before it has an answer.
func (t *Transport) RequestPreVote(
	id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse,
) error {
	t.passGate()
	return t.inner.RequestPreVote(id, target, req, resp)
}

// InstallSnapshot implements raft.Transport. A failure is held like that of an
// append: to try again costs a spool of the partition.
func (t *Transport) InstallSnapshot(
	id raft.ServerID, target raft.ServerAddress,
	req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader,
) error {
	err := t.inner.InstallSnapshot(id, target, req, resp, data)
	if err != nil {
		t.hold(id, req.Term)
	}
	return err
}

// TimeoutNow implements raft.Transport.
func (t *Transport) TimeoutNow(
	id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse,
) error {
	return t.inner.TimeoutNow(id, target, req, resp)
}

// Close ends the transport and returns when none of its connections is served
// any more. Held appends return at once.
func (t *Transport) Close() error {
	var err error
	t.closing.Do(func() {
		close(t.closed)
		err = t.inner.Close()
		t.conns.closeAll()
	})
	t.running.Wait()
	t.conns.serving.Wait()
	return err
}

// isHeartbeat tells a heartbeat as the receiving side of the library does.
func isHeartbeat(req *raft.AppendEntriesRequest) bool {
	return req.Term != 0 && req.PrevLogEntry == 0 && req.PrevLogTerm == 0 &&
		len(req.Entries) == 0 && req.LeaderCommitIndex == 0
}
