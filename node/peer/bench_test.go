package peer

import (
	"net"
	"sync"
	"testing"
)

// BenchmarkDial is a connection, a handshake and the hand-over to the lane,
// both sides on this machine.
func BenchmarkDial(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkDial(b, config("a"), config("b")) })
	b.Run("tls", func(b *testing.B) {
		files := newAuthority(b).node(b)
		benchmarkDial(b, withTLS(config("a"), files), withTLS(config("b"), files))
	})
}

// BenchmarkBareDial is what of BenchmarkDial is TCP alone.
func BenchmarkBareDial(b *testing.B) {
	l, err := listenConfig().Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	dialer := dialConfig()
	benchmark(b, l, func() (net.Conn, error) {
		return dialer.DialContext(b.Context(), "tcp", l.Addr().String())
	})
}

func benchmarkDial(b *testing.B, from, to Config) {
	dialling, accepting := start(b, from), start(b, to)
	benchmark(b, register(b, accepting, LaneRPC), func() (net.Conn, error) {
		return dialling.Dial(b.Context(), accepting.Addr().String(), LaneRPC)
	})
}

func benchmark(b *testing.B, l net.Listener, dial func() (net.Conn, error)) {
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		c, err := dial()
		if err != nil {
			b.Fatal(err)
		}
		_, _ = c.Read(make([]byte, 1)) // until the other side has accepted and closed it
		_ = c.Close()
	}
	_ = l.Close()
	running.Wait()
}
