package peer

import (
	"net"
	"sync"
)

// lane is the listener of a lane. A place in its queue is taken before the
// dialler is answered and kept until the connection is accepted, so that
// nothing ever waits for a slow user but the connections in the queue.
type lane struct {
	network *Network
	name    Lane
	queue   chan net.Conn // has room for every place that is taken

	mu struct {
		sync.Mutex
		taken  int // places: promised, or in the queue
		closed bool
	}
	closed chan struct{}
}

func newLane(n *Network, name Lane) *lane {
	return &lane{network: n, name: name, queue: make(chan net.Conn, laneQueue), closed: make(chan struct{})}
}

// take takes a place in the queue, or says why there is none. The nil lane is
// one nobody has registered.
func (l *lane) take() status {
	if l == nil {
		return statusNoLane
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.mu.closed:
		return statusNoLane
	case l.mu.taken == laneQueue:
		return statusBusy
	}
	l.mu.taken++
	return statusWelcome
}

// free gives a place back.
func (l *lane) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.taken--
}

// put puts a connection into the place taken for it, or closes it if the lane
// has been closed since.
func (l *lane) put(c net.Conn) {
	if !l.enqueue(c) {
		_ = c.Close()
	}
}

func (l *lane) enqueue(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mu.closed {
		l.queue <- c
	}
	return !l.mu.closed
}

// Accept waits for the next connection of the lane. Its error is net.ErrClosed
// once the lane or the network is closed.
func (l *lane) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		l.free()
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close unregisters the lane and closes the connections nobody has accepted.
// It may be called again.
func (l *lane) Close() error {
	l.network.unregister(l)
	l.shut() // from here on nothing comes into the queue
	for {
		select {
		case c := <-l.queue:
			_ = c.Close()
		default:
			return nil
		}
	}
}

func (l *lane) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mu.closed {
		l.mu.closed = true
		close(l.closed)
	}
}

// Addr is the address of the port.
func (l *lane) Addr() net.Addr { return l.network.Addr() }
