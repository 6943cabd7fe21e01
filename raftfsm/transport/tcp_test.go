package transport

import (
	"context"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// TCP is a stream layer with a port of its own.
type TCP struct {
	net.Listener
	dialer net.Dialer
}

// ListenTCP opens a port.
func ListenTCP(ctx context.Context, address string) (*TCP, error) {
	var setup net.ListenConfig
	l, err := setup.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &TCP{Listener: l}, nil
}

// Dial implements raft.StreamLayer.
func (l *TCP) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return l.dialer.DialContext(ctx, "tcp", string(address))
}
