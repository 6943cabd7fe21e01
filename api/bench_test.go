package api

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/trellisdb/trellis/api/tally"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

// loopConn feeds a server one request over and over, without a socket.
type loopConn struct {
	request []byte
	left    int
	at      int
}

func (c *loopConn) Read(p []byte) (int, error) {
	if c.at == len(c.request) {
		if c.left--; c.left <= 0 {
			return 0, io.EOF
		}
		c.at = 0
	}
	n := copy(p, c.request[c.at:])
	c.at += n
	return n, nil
}

func (c *loopConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *loopConn) Close() error                     { return nil }
func (c *loopConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *loopConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *loopConn) SetDeadline(time.Time) error      { return nil }
func (c *loopConn) SetReadDeadline(time.Time) error  { return nil }
func (c *loopConn) SetWriteDeadline(time.Time) error { return nil }

func serveLoop(b *testing.B, s *Server, request string) {
	b.ReportAllocs()
	b.ResetTimer()
	if err := s.http.ServeConn(&loopConn{request: []byte(request), left: b.N}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkBare is what fasthttp alone costs.
func BenchmarkBare(b *testing.B) {
	body := make([]byte, 600)
	bare := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBody(body) }}
	b.ReportAllocs()
	b.ResetTimer()
	if err := bare.ServeConn(&loopConn{request: []byte("GET /acme/shop/items/hammer HTTP/1.1\r\nHost: x\r\n\r\n"), left: b.N}); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkGet(b *testing.B) { benchmarkGet(b, func(h wire.Handler) wire.Handler { return h }) }

// BenchmarkGetCounted is BenchmarkGet with requests counted.
func BenchmarkGetCounted(b *testing.B) {
	requests, err := tally.Start(tally.DefaultConfig(), nowhere{}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	benchmarkGet(b, requests.Counting)
	b.StopTimer()
	if err := requests.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// nowhere is a cluster that takes everything.
type nowhere struct{}

func (nowhere) Propose(context.Context, entity.AppID, command.Command) (command.Outcome, error) {
	return command.Outcome{}, nil
}

func benchmarkGet(b *testing.B, wrap func(wire.Handler) wire.Handler) {
	parts := stubParts()
	e := entity.Entity{ID: shopID, Created: 1, Modified: 2, JSON: []byte(`{"name":"hammer","price":3.25,"description":"` + strings.Repeat("x", 200) + `"}`)}
	shape := wire.Shape{Type: "item", Path: "/items"}
	parts.Data = func(req *wire.Request) (*wire.Reply, error) {
		return req.Entities("/items").Append(&e, &shape, nil), nil
	}
	parts.Data = wrap(parts.Data)
	s, err := New(DefaultConfig(), parts, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	serveLoop(b, s, "GET /acme/shop/items/hammer HTTP/1.1\r\nHost: x\r\n\r\n")
}
