package api

import (
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// clientHeader tells a node that answers a forwarded request where that comes from. It
// counts only on connections between nodes.
const clientHeader = "X-Trellis-Client"

// clientAddress is the address of the client of a request: the peer's, or what the
// proxies and nodes that are trusted say of it.
func (s *Server) clientAddress(fh *fasthttp.RequestCtx) netip.Addr {
	if _, peer := fh.Conn().(fromPeer); peer {
		addr, err := netip.ParseAddr(string(fh.Request.Header.Peek(clientHeader)))
		if err != nil {
			return netip.Addr{}
		}
		return addr.Unmap()
	}
	remote, ok := fh.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{} // not of the network: a listener of a test
	}
	addr := remote.AddrPort().Addr().Unmap()
	if len(s.cfg.TrustedProxies) == 0 || !s.trusted(addr) {
		return addr
	}
	// Each proxy adds whom it was asked by at the end: the last one that is not a
	// trusted proxy is as far as the chain can be believed.
	hops := strings.Split(string(fh.Request.Header.Peek("X-Forwarded-For")), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		if addr = hop.Unmap(); !s.trusted(addr) {
			break
		}
	}
	return addr
}

func (s *Server) trusted(addr netip.Addr) bool {
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
