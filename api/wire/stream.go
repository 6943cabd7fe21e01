package wire

import (
	"context"
	"io"
	"net"
	"time"
)

// pieceBytes is how much of a stream is held in memory and written at a time.
const pieceBytes = 256 << 10

// Stream is a reply of some other content type and of any length, which is made
// while it is written: neither held in memory nor compressed, and as slow as
// the client takes it, piece by piece. The body is closed in any case. A body
// whose Read fails leaves the client with a reply that does not end properly.
//
// The request has ended by the time the body is read; StreamContext has not.
func Stream(contentType string, body io.ReadCloser) *Reply {
	return &Reply{kind: streamReply, content: contentType, stream: body}
}

// StreamContext ends when the server stops, for what goes on after the request.
func (r *Request) StreamContext() context.Context { return r.ctx.Context }

func (r *Request) sendStream(p *Reply) {
	h := &r.fh.Response.Header
	h.SetContentType(p.content)
	h.Set("Cache-Control", "no-store")
	r.fh.Response.ImmediateHeaderFlush = true
	r.fh.Response.SetBodyStream(&pieces{body: p.stream, conn: r.fh.Conn(), timeout: r.limits.PieceWrite}, -1)
}

// pieces gives each piece of a stream the time that other replies have for all
// of theirs.
type pieces struct {
	body    io.ReadCloser
	conn    net.Conn
	timeout time.Duration
}

// SupportsBodyWriteTo tells fasthttp that WriteTo does all that Read does.
func (p *pieces) SupportsBodyWriteTo() bool { return true }

// Read implements io.Reader.
func (p *pieces) Read(b []byte) (int, error) {
	n, err := p.body.Read(b)
	if n > 0 && p.timeout > 0 {
		if late := p.conn.SetWriteDeadline(time.Now().Add(p.timeout)); late != nil {
			return 0, late
		}
	}
	return n, err
}

// WriteTo implements io.WriterTo, in larger pieces than fasthttp's.
func (p *pieces) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{p}, make([]byte, pieceBytes))
}

// Close closes the body.
func (p *pieces) Close() error { return p.body.Close() }
