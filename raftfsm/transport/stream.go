package transport

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

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
