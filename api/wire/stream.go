package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/trellisdb/trellis/storage/fault"
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

// downloadPiece is how much of a download is held in memory and written at a time.
const downloadPiece = 64 << 10

// Download is a Stream of so many bytes, with a status, which a client may keep if it asks
// before it uses it again. Fault: Overloaded, if there are too many; the body is closed
// then.
func (r *Request) Download(status int, contentType string, body io.ReadCloser, size int64) (*Reply, error) {
	if !r.limits.Downloads.take(downloadPiece) {
		return nil, errors.Join(fault.New(fault.Overloaded, "too many downloads at this moment, try again"), body.Close())
	}
	return &Reply{kind: streamReply, status: status, content: contentType, stream: body, size: size, sized: true}, nil
}

// Relay makes the body of the response one of so many bytes, -1 of as many as there are,
// that is passed on as it comes. Fault: Overloaded, if there are too many; the body is
// closed then.
func (r *Request) Relay(body io.ReadCloser, size int) error {
	if !r.limits.Downloads.take(downloadPiece) {
		return errors.Join(fault.New(fault.Overloaded, "too many downloads at this moment, try again"), body.Close())
	}
	r.fh.Response.SetBodyStream(&pieces{body: body, conn: r.fh.Conn(), timeout: r.limits.PieceWrite, downloads: r.limits.Downloads}, size)
	return nil
}

// StreamContext ends when the server stops, for what goes on after the request.
func (r *Request) StreamContext() context.Context { return r.ctx.Context }

func (r *Request) sendStream(p *Reply) {
	h := &r.fh.Response.Header
	h.SetContentType(p.content)
	body := &pieces{body: p.stream, conn: r.fh.Conn(), timeout: r.limits.PieceWrite}
	if p.sized {
		body.downloads = r.limits.Downloads
		h.Set("Cache-Control", "private, no-cache")
		r.fh.Response.SetStatusCode(p.status)
		r.fh.Response.SetBodyStream(body, int(p.size))
		return
	}
	h.Set("Cache-Control", "no-store")
	r.fh.Response.ImmediateHeaderFlush = true
	r.fh.Response.SetBodyStream(body, -1)
}

// pieces gives each piece of a stream the time that other replies have for all
// of theirs.
type pieces struct {
	body      io.ReadCloser
	conn      net.Conn
	timeout   time.Duration
	downloads *Budget // of a download: what a piece was taken from
}

var downloadBuffers = sync.Pool{New: func() any { return new([downloadPiece]byte) }}

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
	if p.downloads == nil {
		return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{p}, make([]byte, pieceBytes))
	}
	buf := downloadBuffers.Get().(*[downloadPiece]byte)
	defer downloadBuffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{p}, buf[:])
}

// Close closes the body.
func (p *pieces) Close() error {
	if p.downloads != nil {
		p.downloads.give(downloadPiece)
		p.downloads = nil
	}
	return p.body.Close()
}
