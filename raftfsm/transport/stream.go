package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// unacknowledged is how long sent bytes may stay unacknowledged before the
// connection counts as broken, where the system can be told.
const unacknowledged = 2 * time.Second

// TCP is a stream layer with a port of its own.
type TCP struct {
	net.Listener
	dialer net.Dialer
}

// ListenTCP opens a port. The caller owns the layer until a transport is
// started with it.
func ListenTCP(ctx context.Context, address string) (*TCP, error) {
	setup := net.ListenConfig{Control: limitUnacknowledged}
	l, err := setup.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for raft peers at %s: %w", address, err)
	}
	return &TCP{Listener: l, dialer: net.Dialer{Control: limitUnacknowledged}}, nil
}

// Dial implements raft.StreamLayer.
func (l *TCP) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return l.dialer.DialContext(ctx, "tcp", string(address))
}

// Alone is the stream layer of a cluster of one: nobody can connect, and there
// is nobody to dial.
type Alone struct {
	id     raft.ServerID
	close  sync.Once
	closed chan struct{}
}

// NewAlone makes the stream layer of the node id.
func NewAlone(id raft.ServerID) *Alone {
	return &Alone{id: id, closed: make(chan struct{})}
}

// Accept waits until the layer is closed.
func (l *Alone) Accept() (net.Conn, error) {
	<-l.closed
	return nil, net.ErrClosed
}

// Dial refuses.
func (l *Alone) Dial(address raft.ServerAddress, _ time.Duration) (net.Conn, error) {
	return nil, fmt.Errorf("dial %s: %w", address, errAlone)
}

// Close ends Accept.
func (l *Alone) Close() error {
	l.close.Do(func() { close(l.closed) })
	return nil
}

// Addr is the id of the node.
func (l *Alone) Addr() net.Addr { return aloneAddr(l.id) }

var errAlone = errors.New("this node has no peers")

type aloneAddr string

func (a aloneAddr) Network() string { return "none" }
func (a aloneAddr) String() string  { return string(a) }
