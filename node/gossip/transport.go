package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// What streams may cost. memberlist itself reads up to 20 MB from any number
// of streams before it finds out that the other end lacks the key.
const (
	// maxStreams is how many may be open at once, maxStreamsOfHost how many of
	// them with one host: nodes exchange states for milliseconds, every few
	// seconds.
	maxStreams       = 64
	maxStreamsOfHost = 16
	// maxStreamBytes is what is read of one; it holds the state of more than
	// a thousand nodes at 512 bytes of metadata each.
	maxStreamBytes = 1 << 20
)

var errStreamTooLong = errors.New("gossip: stream is too long")

// transport is memberlist's own, with bounds on its streams, and with an end:
// streams and calls under way do not outlive it.
type transport struct {
	*memberlist.NetTransport
	listens netip.Addr // the zero one: at every address of the machine
	streams chan net.Conn
	stop    chan struct{}
	pump    sync.WaitGroup
	once    sync.Once
	mu      struct {
		sync.Mutex
		ended  bool
		next   uint64
		open   map[uint64]func() // ends the stream or the call
		ofHost map[netip.Addr]int
		taken  int // streams that others have opened
	}
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// listen opens the ports, UDP and TCP under one number.
func listen(ip netip.Addr, port uint16, logger *log.Logger) (*transport, error) {
	cfg := &memberlist.NetTransportConfig{BindAddrs: []string{""}, BindPort: int(port), Logger: logger}
	if ip.IsValid() {
		cfg.BindAddrs[0] = ip.String()
	}
	inner, err := memberlist.NewNetTransport(cfg)
	// A port that the system chose for TCP may be taken for UDP.
	for tries := 1; err != nil && port == 0 && tries < 10; tries++ {
		inner, err = memberlist.NewNetTransport(cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("gossip: listen: %w", err)
	}
	t := &transport{NetTransport: inner, listens: ip, streams: make(chan net.Conn), stop: make(chan struct{})}
	t.mu.open = make(map[uint64]func())
	t.mu.ofHost = make(map[netip.Addr]int)
	t.pump.Go(t.accept)
	return t, nil
}

// StreamCh is where memberlist finds the streams that others open.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

func (t *transport) accept() {
	for {
		select {
		case <-t.stop:
			return
		case conn := <-t.NetTransport.StreamCh():
			s, ok := t.take(conn)
			if !ok {
				_ = conn.Close()
				continue
			}
			select {
			case t.streams <- s:
			case <-t.stop:
				_ = s.Close()
				return
			}
		}
	}
}

// take counts a stream of another host, unless there are too many.
func (t *transport) take(conn net.Conn) (*stream, bool) {
	from, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	host := from.Addr().Unmap()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.ended || t.mu.taken >= maxStreams || t.mu.ofHost[host] >= maxStreamsOfHost {
		return nil, false
	}
	t.mu.taken++
	t.mu.ofHost[host]++
	id := t.add(func() { _ = conn.Close() })
	return &stream{Conn: conn, left: maxStreamBytes, release: func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.mu.open, id)
		t.mu.taken--
		if t.mu.ofHost[host]--; t.mu.ofHost[host] == 0 {
			delete(t.mu.ofHost, host)
		}
	}}, true
}

// add notes how to end what is open. Call it with t.mu held.
func (t *transport) add(end func()) uint64 {
	t.mu.next++
	t.mu.open[t.mu.next] = end
	return t.mu.next
}

// DialTimeout opens a stream.
func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: address}, timeout)
}

// DialAddressTimeout opens a stream, which endStreams ends, the call included.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()

	t.mu.Lock()
	if t.mu.ended {
		t.mu.Unlock()
		return nil, net.ErrClosed
	}
	id := t.add(cancel)
	t.mu.Unlock()

	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", a.Addr)

	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil && t.mu.ended {
		_ = conn.Close()
		err = net.ErrClosed
	}
	if err != nil {
		delete(t.mu.open, id)
		return nil, err
	}
	t.mu.open[id] = func() { _ = conn.Close() }
	return &stream{Conn: conn, left: maxStreamBytes, release: func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.mu.open, id)
	}}, nil
}

// endStreams breaks off all streams and opens no more. Packets still pass.
func (t *transport) endStreams() {
	t.mu.Lock()
	t.mu.ended = true
	ends := make([]func(), 0, len(t.mu.open))
	for _, end := range t.mu.open {
		ends = append(ends, end)
	}
	t.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

// Shutdown ends everything and returns when nothing listens any more.
func (t *transport) Shutdown() error {
	t.endStreams()
	var err error
	t.once.Do(func() {
		err = t.NetTransport.Shutdown() // hands its last stream to accept
		close(t.stop)
		t.pump.Wait()
	})
	return err
}

// stream is a connection of which a bounded number of bytes is read.
type stream struct {
	net.Conn
	left    int // bytes that may still be read; reads are not concurrent
	once    sync.Once
	release func()
}

func (s *stream) Read(b []byte) (int, error) {
	if s.left <= 0 {
		return 0, errStreamTooLong
	}
	n, err := s.Conn.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}

func (s *stream) Close() error {
	s.once.Do(s.release)
	return s.Conn.Close()
}

// address is where the transport listens.
func (t *transport) address() netip.AddrPort {
	return netip.AddrPortFrom(t.listens, uint16(t.GetAutoBindPort()))
}
