// Package nodetest helps tests that start nodes, or parts of one.
package nodetest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// Ports that tests are given: below those from which the system takes the near
// ends of connections, so that nobody takes one before a node listens on it.
const (
	firstPort = 12000
	lastPort  = 32000
)

var next atomic.Uint32 // how far a process has come in the range, from a random beginning

// FreeAddr returns a loopback address on which nobody listens now, by TCP or UDP,
// and which this process is given only once. Safe for concurrent use.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	next.CompareAndSwap(0, rand.Uint32N(lastPort-firstPort)+1)
	for range lastPort - firstPort {
		port := firstPort + int(next.Add(1))%(lastPort-firstPort)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if free(tb, addr) {
			return addr
		}
	}
	tb.Fatal("no free port")
	return ""
}

func free(tb testing.TB, addr string) bool {
	var listen net.ListenConfig
	tcp, err := listen.Listen(tb.Context(), "tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = tcp.Close() }() // nothing was sent
	udp, err := listen.ListenPacket(tb.Context(), "udp", addr)
	if err != nil {
		return false
	}
	_ = udp.Close() // likewise
	return true
}
