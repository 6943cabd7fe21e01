package transport

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// connections is the stream layer given to the library: it resolves ids when
// dialling, and remembers open connections, since the library leaves both its
// idle ones and those it serves open when it is closed.
type connections struct {
	raft.StreamLayer
	resolve     Resolver
	dialTimeout time.Duration

	serving sync.WaitGroup // accepted connections that their handlers have not closed
	mu      struct {
		sync.Mutex
		closed bool
		open   map[*connection]struct{}
	}
}

func newConnections(cfg Config) *connections {
	c := &connections{StreamLayer: cfg.Stream, resolve: cfg.Resolve, dialTimeout: cfg.DialTimeout}
	c.mu.open = make(map[*connection]struct{})
	return c
}

// Dial connects to the node whose id is the address.
func (c *connections) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	timeout = min(timeout, c.dialTimeout)
	address := string(id)
	if c.resolve != nil {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		resolved, err := c.resolve(ctx, raft.ServerID(id))
		if err != nil {
			return nil, fmt.Errorf("resolve address of node %s: %w", id, err)
		}
		address = resolved
	}
	conn, err := c.StreamLayer.Dial(raft.ServerAddress(address), timeout)
	if err != nil {
		return nil, fmt.Errorf("dial node %s at %s: %w", id, address, err)
	}
	return c.keep(conn, false)
}

// Accept waits for the next connection.
func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.StreamLayer.Accept()
	if err != nil {
		return nil, err
	}
	return c.keep(conn, true)
}

func (c *connections) keep(conn net.Conn, accepted bool) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		_ = conn.Close()
		return nil, ErrClosed
	}
	kept := &connection{Conn: conn, owner: c, accepted: accepted}
	c.mu.open[kept] = struct{}{}
	if accepted {
		c.serving.Add(1)
	}
	return kept, nil
}

// closeAll cuts every connection; those who read from one notice and end.
func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.closed = true
	for conn := range c.mu.open {
		_ = conn.Conn.Close()
	}
}

// connection is one that connections remembers until its user closes it.
type connection struct {
	net.Conn
	owner    *connections
	accepted bool
	once     sync.Once
}

// Close closes the connection and forgets it.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.owner.mu.Lock()
		delete(c.owner.mu.open, c)
		c.owner.mu.Unlock()
		if c.accepted {
			c.owner.serving.Done()
		}
	})
	return err
}
