package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/trellisdb/trellis/storage/entity"
)

// Errors of Dial beside those of the network and of the context.
var (
	// ErrSecret: who answered does not know the cluster secret.
	ErrSecret = errors.New("the peer's proof is wrong: it has another cluster secret")
	// ErrRefused: the peer hung up on our proof, as one with another cluster
	// secret does; it may also have stopped at that moment.
	ErrRefused = errors.New("the peer hung up during the handshake: it may have another cluster secret")
	// ErrOtherCluster: the peer belongs to another cluster under the same secret.
	ErrOtherCluster = errors.New("the peer belongs to another cluster")
	// ErrNoLane: nobody listens on the lane there, now.
	ErrNoLane = errors.New("the peer does not serve this lane")
	// ErrBusy: too many connections wait to be accepted on the lane there.
	ErrBusy = errors.New("too many connections wait on this lane of the peer")
	// ErrVersion: the peer speaks another version of the handshake.
	ErrVersion = errors.New("the peer speaks another version of the handshake")
)

// Lane says what a connection carries.
type Lane uint64

// Lanes that are not of a replica.
const (
	LaneRPC Lane = 1<<64 - 1 // calls between nodes
	LaneAPI Lane = 1<<64 - 2 // requests of clients that another node can answer
)

// RaftLane carries the Raft messages of a replica: of a partition, and with a
// number. Two replicas of a partition never share a lane, though a node has
// them one after the other: what is meant for the first must not reach the second.
func RaftLane(p entity.Partition, number uint32) Lane { return Lane(p)<<32 | Lane(number) }

// String returns the lane for logs: "rpc", "api", "raft 3#1".
func (l Lane) String() string {
	switch l {
	case LaneRPC:
		return "rpc"
	case LaneAPI:
		return "api"
	}
	return "raft " + strconv.FormatUint(uint64(l>>32), 10) + "#" + strconv.FormatUint(uint64(l&(1<<32-1)), 10)
}

const (
	// defaultHandshake is long for one round trip and a half between nodes.
	defaultHandshake = 2 * time.Second
	// maxHandshakes is how many accepted connections may be in their handshake.
	maxHandshakes = 256
	// laneQueue is how many connections may wait to be accepted on a lane.
	laneQueue = 64
)

// Config says who a node is and how it proves that it belongs to the cluster.
type Config struct {
	ID entity.NodeID // of this node; 1 to 255 bytes

	// Cluster returns the id of the cluster this node belongs to, zero while it
	// belongs to none. Two nodes whose ids are both non-zero and differ refuse
	// each other. It is called during each handshake, from several goroutines;
	// nil stands for no cluster.
	Cluster func() entity.ID

	Secret []byte    // of the cluster; at least 1 byte, and it should be 32 random ones
	TLS    *TLSFiles // mutual TLS under the handshake; nil: plain TCP

	// HandshakeTimeout is how long a handshake may take, TLS included, on either
	// side; 0 stands for two seconds.
	HandshakeTimeout time.Duration

	Log *slog.Logger // nil: no log
}

// Network is a node's port for other nodes. Its methods are safe for
// concurrent use.
type Network struct {
	cfg      Config
	key      []byte
	tls      *tlsConfigs // nil: plain TCP
	listener net.Listener
	dialer   net.Dialer

	slots   chan struct{} // one a handshake of an accepted connection
	counts  counts
	running sync.WaitGroup // the accept loop and its handshakes
	closing sync.Once
	closed  chan struct{}

	mu struct {
		sync.Mutex
		closed   bool
		lanes    map[Lane]*lane
		underway map[*handshake]struct{}
	}
}

// handshake is one under way, either side's.
type handshake struct {
	cut func() // makes it fail soon; called at most once, with the lock held
}

// Listen opens the port at addr, HOST:PORT, and begins to accept connections;
// they are refused as long as their lane is not registered. ctx bounds only the
// opening. The caller owns the network and ends it with Close.
func Listen(ctx context.Context, addr string, cfg Config) (*Network, error) {
	n, err := newNetwork(cfg)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	l, err := listenConfig().Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for peers at %s: %w", addr, err)
	}
	n.serve(l)
	return n, nil
}

func newNetwork(cfg Config) (*Network, error) {
	switch {
	case cfg.ID == "" || len(cfg.ID) > maxID:
		return nil, errIDLength
	case len(cfg.Secret) == 0:
		return nil, errors.New("no cluster secret")
	case cfg.HandshakeTimeout < 0:
		return nil, fmt.Errorf("handshake time-out is %v", cfg.HandshakeTimeout)
	}
	if cfg.Cluster == nil {
		cfg.Cluster = func() entity.ID { return entity.ID{} }
	}
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = defaultHandshake
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	key, err := deriveKey(cfg.Secret)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	cfg.Secret = nil // the key is all that is needed
	n := &Network{
		cfg:    cfg,
		key:    key,
		dialer: dialConfig(),
		slots:  make(chan struct{}, maxHandshakes),
		closed: make(chan struct{}),
	}
	if cfg.TLS != nil {
		if n.tls, err = loadTLS(*cfg.TLS); err != nil {
			return nil, err
		}
	}
	n.mu.lanes = make(map[Lane]*lane)
	n.mu.underway = make(map[*handshake]struct{})
	return n, nil
}

// claim is what this node says of itself now.
func (n *Network) claim() claim { return claim{cluster: n.cfg.Cluster(), id: n.cfg.ID} }

// serve begins to accept from l.
func (n *Network) serve(l net.Listener) {
	n.listener = l
	n.running.Go(n.acceptAll)
}

// Addr is the address of the port.
func (n *Network) Addr() net.Addr { return n.listener.Addr() }

// Lane registers a lane and returns the listener of its connections. A lane
// can be registered again once its listener is closed. Closing the listener
// also closes the connections that wait there; those accepted belong to the
// caller. The error is net.ErrClosed if the network is closed.
func (n *Network) Lane(l Lane) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.mu.closed:
		return nil, fmt.Errorf("peer: lane %s: %w", l, net.ErrClosed)
	case n.mu.lanes[l] != nil:
		return nil, fmt.Errorf("peer: lane %s is registered already", l)
	}
	n.mu.lanes[l] = newLane(n, l)
	return n.mu.lanes[l], nil
}

// lane returns the registered lane, or nil.
func (n *Network) lane(l Lane) *lane {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.lanes[l]
}

// unregister forgets l if it is the one registered under its name.
func (n *Network) unregister(l *lane) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.lanes[l.name] == l {
		delete(n.mu.lanes, l.name)
	}
}

// begin notes a handshake that cut makes fail, until end is called. It returns
// net.ErrClosed once the network is closed.
func (n *Network) begin(cut func()) (end func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.closed {
		return nil, net.ErrClosed
	}
	h := &handshake{cut: cut}
	n.mu.underway[h] = struct{}{}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.mu.underway, h)
	}, nil
}

// Close closes the port, the listener of every lane, and every connection that
// is still in its handshake, dialled ones included; it returns when nothing of
// the network runs any more. Connections that were accepted or dialled belong
// to their users and stay open. Close may be called again.
func (n *Network) Close() error {
	var err error
	n.closing.Do(func() {
		close(n.closed)
		err = n.listener.Close()
		for _, l := range n.shut() {
			_ = l.Close()
		}
	})
	n.running.Wait()
	return err
}

// shut lets nothing begin any more, cuts what is under way, and returns the
// lanes that are registered.
func (n *Network) shut() []*lane {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.closed = true
	for h := range n.mu.underway {
		h.cut()
	}
	lanes := make([]*lane, 0, len(n.mu.lanes))
	for _, l := range n.mu.lanes {
		lanes = append(lanes, l)
	}
	return lanes
}
