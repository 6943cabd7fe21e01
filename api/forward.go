package api

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/fault"
)

// forwardDialTimeout bounds connecting to another node.
const forwardDialTimeout = time.Second

// peers are the ways to the APIs of other nodes.
type peers struct {
	mu      sync.Mutex
	clients map[string]*fasthttp.HostClient
}

func (p *peers) to(node string, dial func(context.Context, string) (net.Conn, error)) *fasthttp.HostClient {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.clients[node]; ok {
		return c
	}
	c := &fasthttp.HostClient{
		Addr: node,
		DialTimeout: func(string, time.Duration) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(context.Background(), forwardDialTimeout)
			defer cancel()
			return dial(ctx, node)
		},
		MaxConns:                      1024,
		MaxIdleConnDuration:           10 * time.Second, // less than the other side waits
		MaxIdemponentCallAttempts:     1,
		NoDefaultUserAgentHeader:      true,
		DisableHeaderNamesNormalizing: true,
		DisablePathNormalizing:        true,
		RetryIfErr:                    func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
	}
	if p.clients == nil {
		p.clients = make(map[string]*fasthttp.HostClient)
	}
	p.clients[node] = c
	return c
}

func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

// fromPeer is a connection over which another node forwards requests. They are
// not forwarded once more.
type fromPeer struct{ net.Conn }

type peerListener struct{ net.Listener }

// Accept marks the connection.
func (l peerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return fromPeer{conn}, nil
}

// ServePeers answers requests that other nodes forward, over the connections of
// ln, until Shutdown.
func (s *Server) ServePeers(ln net.Listener) error { return s.Serve(peerListener{ln}) }

// forwarded lets another node answer what this one cannot, and reports whether it
// did. A request whose body was read here already is not forwarded.
func (s *Server) forwarded(fh *fasthttp.RequestCtx, req *wire.Request, err error) bool {
	parts := s.parts.Load()
	if parts == nil || parts.Elsewhere == nil || !fault.Is(err, fault.NotHere) || req.BodyTouched() {
		return false
	}
	if _, again := fh.Conn().(fromPeer); again {
		return false
	}
	node, ok := parts.Elsewhere(err)
	if !ok {
		return false
	}
	deadline, _ := req.Context().Deadline()
	host := string(fh.Host())
	fh.Request.Header.SetHost(host)
	fh.Request.Header.Set(clientHeader, req.Address().String())
	body := fh.Request.Header.ContentLength() != 0 && fh.RequestBodyStream() != nil
	if isBulk(fh) {
		err = s.forwardBulk(fh, req, node, parts.Dial)
	} else {
		err = s.peers.to(node, parts.Dial).DoDeadline(&fh.Request, &fh.Response, deadline)
		fh.Response.Header.Del("Connection")
	}
	if err != nil {
		s.log.Debug("request not forwarded", "node", node, "error", err)
		fh.Response.Reset()
		if body { // how much of it was read nobody knows: what follows is no request
			wire.CloseUnread(fh)
		}
		return false
	}
	req.Abandon()
	return true
}
