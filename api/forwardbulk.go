package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/api/wire"
)

const (
	// bulkBytes is from how many bytes on a body is passed on as an upload.
	bulkBytes = 64 << 10
	// bulkPace is how fast another node stores what it was sent, bytes a second: so much
	// longer than for other requests is waited for its answer.
	bulkPace = 1 << 20
	// bulkBuffer is how much of a body or a reply is passed on at a time.
	bulkBuffer = 64 << 10
)

// isBulk reports whether a request brings a body, or may get a reply, of any length: it
// takes as long as its bytes flow.
func isBulk(fh *fasthttp.RequestCtx) bool {
	if n := fh.Request.Header.ContentLength(); n > 0 || n == -1 {
		return n == -1 || n > bulkBytes || !wire.MustFit(fh.Request.Header.ContentType())
	}
	if !fh.IsGet() && !fh.IsHead() {
		return false
	}
	path, _, _ := strings.Cut(string(fh.Request.Header.RequestURI()), "?")
	return strings.HasSuffix(strings.TrimRight(path, "/"), "/data") || assets.WantsData(string(fh.Request.Header.Peek("Accept")))
}

// pacedConn is a connection to another node on which each piece has the time that other
// requests have for all of theirs.
type pacedConn struct {
	net.Conn

	pace   time.Duration
	client net.Conn // whose body is passed on; its next piece has the same time
	wrote  int64
	piece  int
	failed error // of a write
}

// Write implements io.Writer.
func (c *pacedConn) Write(p []byte) (int, error) {
	err := c.Conn.SetWriteDeadline(time.Now().Add(c.pace))
	n := 0
	if err == nil {
		n, err = c.Conn.Write(p)
	}
	c.wrote += int64(n)
	c.failed = err
	if c.piece += n; c.piece >= bulkBytes && err == nil {
		c.piece = 0
		err = c.client.SetReadDeadline(time.Now().Add(c.pace))
	}
	return n, err
}

// replied is a reply of another node on its way.
type replied struct {
	resp  *fasthttp.Response
	body  io.Reader
	conn  net.Conn
	pace  time.Duration
	ended bool
	stop  func() bool
}

// Read implements io.Reader.
func (r *replied) Read(p []byte) (int, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(r.pace)); err != nil {
		return 0, err
	}
	return r.body.Read(p)
}

// Close ends the connection.
func (r *replied) Close() error {
	if r.ended {
		return nil
	}
	r.ended = true
	r.stop()
	err := errors.Join(r.resp.CloseBodyStream(), r.conn.Close())
	fasthttp.ReleaseResponse(r.resp)
	return err
}

// forwardBulk passes a request on to another node, and its reply back, piece by piece,
// over a connection of its own.
func (s *Server) forwardBulk(fh *fasthttp.RequestCtx, req *wire.Request, node string, dial func(context.Context, string) (net.Conn, error)) (err error) {
	ctx, cancel := context.WithTimeout(s.ctx, forwardDialTimeout)
	conn, err := dial(ctx, node)
	cancel()
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	stop := context.AfterFunc(s.ctx, func() { _ = conn.Close() }) // whoever uses it hears of it
	defer func() {
		if err != nil {
			stop()
			_ = conn.Close() // the first error counts
		}
	}()
	paced := &pacedConn{Conn: conn, pace: s.cfg.BodyTimeout, client: fh.Conn()}
	writer := bufio.NewWriterSize(paced, bulkBuffer)
	sent := fh.Request.Write(writer)
	if sent == nil {
		sent = writer.Flush()
	}
	if sent != nil && paced.failed == nil {
		return fmt.Errorf("the client's body: %w", sent) // nobody waits for an answer
	}
	if sent != nil { // it may have answered before the end of the body
		wire.CloseUnread(fh)
	}
	wait := s.cfg.RequestTimeout + time.Duration(paced.wrote/bulkPace)*time.Second
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	resp := fasthttp.AcquireResponse()
	resp.StreamBody, resp.SkipBody = true, fh.IsHead()
	resp.Header.DisableNormalizing()
	if err := resp.Read(bufio.NewReaderSize(conn, bulkBuffer)); err != nil {
		fasthttp.ReleaseResponse(resp)
		return errors.Join(sent, err)
	}
	unread := fh.Response.Header.ConnectionClose()
	size := resp.Header.ContentLength()
	resp.Header.CopyTo(&fh.Response.Header)
	fh.Response.Header.Del("Connection")
	if unread {
		fh.Response.Header.SetConnectionClose()
	}
	reply := &replied{resp: resp, body: resp.BodyStream(), conn: conn, pace: s.cfg.WriteTimeout, stop: stop}
	if reply.body == nil || size == 0 {
		_ = reply.Close() // all of it was read
		return nil
	}
	return req.Relay(reply, max(size, -1))
}
