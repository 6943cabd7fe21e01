package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// writeBuffer is how many bytes of a reply are written at once: most replies, so that
// they take one system call and one packet or two.
const writeBuffer = 16 << 10

// Server answers HTTP requests. Make one with New; it is safe for concurrent
// use.
type Server struct {
	cfg    Config
	parts  atomic.Pointer[Parts] // nil until Install
	peers  peers
	log    *slog.Logger
	limits wire.Limits
	http   *fasthttp.Server
	ctx    context.Context // ends when the server does: parent of every request's
	stop   context.CancelFunc
	began  time.Time
	open   atomic.Int64
	counts [6]atomic.Uint64 // replies by hundreds of their status
	panics atomic.Uint64
}

// New checks cfg and builds a server of parts. It starts nothing.
func New(cfg Config, parts Parts, log *slog.Logger) (*Server, error) {
	s, err := NewStarting(cfg, log)
	if err != nil {
		return nil, err
	}
	return s, s.Install(parts)
}

// Install gives the server what it answers with.
func (s *Server) Install(parts Parts) error {
	if err := parts.check(); err != nil {
		return err
	}
	s.parts.Store(&parts)
	return nil
}

// NewStarting builds a server that answers everything with 503 until Install: its
// node is still on its way into a cluster.
func NewStarting(cfg Config, log *slog.Logger) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log.With("part", "api"), began: time.Now()}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.limits = wire.Limits{
		BodyBytes:   cfg.BodyBytes,
		Timeout:     cfg.RequestTimeout,
		BaseURL:     cfg.BaseURL,
		GzipFrom:    cfg.GzipFrom,
		PieceWrite:  cfg.WriteTimeout,
		PieceRead:   cfg.BodyTimeout,
		Downloads:   wire.NewBudget(cfg.DownloadsBytes),
		Reservation: wire.NewBudget(cfg.BodiesBytes),
	}
	s.http = &fasthttp.Server{
		Handler:                      s.serve,
		ErrorHandler:                 s.refuse,
		ExpectHandler:                s.expect,
		HeaderReceived:               s.headReceived,
		ConnState:                    s.connState,
		Concurrency:                  cfg.Connections + 64, // the listener counts first, and answers in JSON
		ReadBufferSize:               cfg.HeaderBytes,
		WriteBufferSize:              writeBuffer,
		ReadTimeout:                  cfg.HeadTimeout,
		WriteTimeout:                 cfg.WriteTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		MaxRequestBodySize:           cfg.BodyBytes,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,
		TCPKeepalive:                 true,
		Logger:                       connLogger{s.log},
	}
	return s, nil
}

// Serve answers the connections of ln until Shutdown, and closes ln.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(&listener{Listener: ln, server: s}); err != nil {
		return fmt.Errorf("api: serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting, lets requests finish until ctx ends, cancels those
// that are still running then, and waits for them a moment longer.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.ShutdownWithContext(ctx)
	s.stop()
	s.peers.close()
	if err != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.http.ShutdownWithContext(last) == nil {
			return nil
		}
		return fmt.Errorf("api: requests still running: %w", err)
	}
	return nil
}

// Stats are figures of a server for its metrics.
type Stats struct {
	Connections int64     // open
	BodyBytes   int64     // held for bodies
	Replies     [6]uint64 // by hundreds of their status
	Panics      uint64
}

// Stats returns the server's figures at this moment.
func (s *Server) Stats() Stats {
	st := Stats{Connections: s.open.Load(), BodyBytes: s.limits.Reservation.Used(), Panics: s.panics.Load()}
	for i := range st.Replies {
		st.Replies[i] = s.counts[i].Load()
	}
	return st
}

// serve is what fasthttp calls for each request.
func (s *Server) serve(fh *fasthttp.RequestCtx) {
	defer s.survive(fh)
	switch {
	case ambiguous(&fh.Request.Header):
		wire.Fail(fh, fault.New(fault.BadRequest, "headers leave it open where the request ends"))
	case len(fh.Request.Header.RequestURI()) > s.cfg.URIBytes:
		wire.Fail(fh, fault.New(fault.URITooLong, "path and query are longer than %d bytes", s.cfg.URIBytes))
	case fh.IsOptions():
		wire.Preflight(fh)
	default:
		s.answer(fh)
	}
	s.counts[min(fh.Response.StatusCode()/100, 5)].Add(1)
}

func (s *Server) answer(fh *fasthttp.RequestCtx) {
	req, err := wire.NewRequest(s.ctx, fh, &s.limits)
	req.From(s.clientAddress(fh))
	var reply *wire.Reply
	if err == nil {
		reply, err = s.try(req)
	}
	if err != nil && s.forwarded(fh, req, err) {
		return
	}
	s.finish(req, reply, err)
}

// try dispatches a request and makes an error of a panic.
func (s *Server) try(req *wire.Request) (reply *wire.Reply, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.panics.Add(1)
			reply, err = nil, fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return s.dispatch(req)
}

// finish writes the reply and logs what nobody classified, once.
func (s *Server) finish(req *wire.Request, reply *wire.Reply, err error) {
	method := req.Method()
	var request string
	if err != nil {
		request = req.ID()
	}
	if id := req.Finish(reply, err); !id.IsZero() {
		s.log.Error("request failed", "error_id", id.String(), "request", request, "method", method, "error", err)
	}
}

// survive turns a panic outside of a handler into an answer.
func (s *Server) survive(fh *fasthttp.RequestCtx) {
	if v := recover(); v != nil {
		s.panics.Add(1)
		id := entity.NewID()
		s.log.Error("request panicked", "error_id", id.String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		wire.FailUncaught(fh, id)
		s.counts[5].Add(1)
	}
}

// ambiguous reports whether somebody else could read another end of the
// request out of its headers, and a second request out of what follows (RFC 9112
// sections 5.2 and 6.3): a length beside chunked, a transfer coding that is not
// chunked, a header that goes on in the next line.
func ambiguous(h *fasthttp.RequestHeader) bool {
	raw, other := h.RawHeaders(), "Transfer-Encoding"
	if h.ContentLength() == -1 {
		other = "Content-Length"
	}
	for line := range bytes.Lines(raw) {
		if line[0] == ' ' || line[0] == '\t' {
			return true
		}
		if len(line) <= len(other) || line[0]|0x20 != other[0]|0x20 {
			continue
		}
		name, _, _ := bytes.Cut(line, []byte{':'})
		if bytes.EqualFold(bytes.TrimSpace(name), []byte(other)) {
			return true
		}
	}
	return false
}

// headReceived gives the body a time of its own.
func (s *Server) headReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if n := h.ContentLength(); n > 0 || n == -1 {
		return fasthttp.RequestConfig{ReadTimeout: s.cfg.BodyTimeout}
	}
	return fasthttp.RequestConfig{}
}

// expect answers Expect: 100-continue; a body that would be refused for its
// size is not asked for. An upload has a size of its own.
func (s *Server) expect(fh *fasthttp.RequestCtx) int {
	if ambiguous(&fh.Request.Header) || fh.Request.Header.ContentLength() <= s.cfg.BodyBytes || !wire.MustFit(fh.Request.Header.ContentType()) {
		return fasthttp.StatusContinue
	}
	wire.Fail(fh, fault.New(fault.RequestTooLarge, "body is larger than %d bytes", s.cfg.BodyBytes))
	return fasthttp.StatusRequestEntityTooLarge
}

// refuse answers what could not be read as a request.
func (s *Server) refuse(fh *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		err = fault.New(fault.URITooLong, "request line and headers are longer than %d bytes", s.cfg.HeaderBytes)
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		err = fault.New(fault.RequestTooLarge, "body is larger than %d bytes", s.cfg.BodyBytes)
	case errors.As(err, &timeout) && timeout.Timeout():
		err = fault.New(fault.BadRequest, "request did not arrive in time")
	default:
		err = fault.New(fault.BadRequest, "request cannot be read")
	}
	wire.Fail(fh, err)
	s.counts[4].Add(1)
}

func (s *Server) connState(_ net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		s.open.Add(1)
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		s.open.Add(-1)
	}
}

// listener refuses connections beyond the limit with an answer instead of
// letting them wait.
type listener struct {
	net.Listener
	server *Server
}

// Accept returns the next connection that is within the limit.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || l.server.open.Load() < int64(l.server.cfg.Connections) {
			return conn, err
		}
		l.turnAway(conn)
	}
}

// turnAway answers without reading. The few bytes fit any socket's buffer, and
// a deadline in the past the moment they do not.
func (l *listener) turnAway(conn net.Conn) {
	body := wire.ErrorBody(fault.New(fault.Overloaded, "too many connections"))
	_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"+
		"Access-Control-Allow-Origin: *\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	_ = conn.Close()
	l.server.counts[5].Add(1)
}

// connLogger takes what fasthttp says of single connections: clients' doing,
// of interest only when looking for it.
type connLogger struct{ log *slog.Logger }

// Printf logs one line of fasthttp's.
func (l connLogger) Printf(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("connection", "event", fmt.Sprintf(format, args...))
	}
}
