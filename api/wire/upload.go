package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"strings"
	"time"

	"github.com/trellisdb/trellis/storage/fault"
)

const (
	// uploadPiece is how much of an upload must arrive in the time that other bodies
	// have for all of theirs.
	uploadPiece = 64 << 10
	// maxAhead is how much of a body is looked at to tell what it is.
	maxAhead = 4 << 10
)

// Upload is a body of any length, which is read as it arrives and never held in memory.
// Close ends it; the rest of the body is thrown away.
type Upload struct {
	Multipart bool   // a form, with this boundary
	Boundary  string // of a form
	Type      string // the declared media type, with its parameters
	Size      int64  // bytes that are announced, before decompression if the body is compressed; -1: not known

	req    *Request
	src    io.Reader
	conn   net.Conn
	pace   time.Duration
	piece  int // bytes since the deadline was set
	unhook func() bool
	unzip  func()
}

// Expected says which bodies are uploads where a request is sent.
type Expected byte

// What can be expected.
const (
	Forms    Expected = iota // forms with files
	RawToo                   // and what neither looks like JSON nor is a form of parameters
	Anything                 // everything, nothing at all included
)

// Upload returns the body if it is an upload (spec assets-events-counters section 2), and
// nil if Body, Kind and JSON have to say what it is.
func (r *Request) Upload(e Expected) (*Upload, error) {
	if r.body.read && e != Anything {
		return nil, nil
	}
	h := &r.fh.Request.Header
	full := string(h.ContentType())
	declared := mediaType([]byte(full))
	u := &Upload{Type: full, Multipart: declared == "multipart/form-data", Size: int64(h.ContentLength()), req: r}
	u.Size = max(u.Size, -1)
	binary := declared == "application/octet-stream" || e == Anything
	switch {
	case u.Multipart:
		if _, params, err := mime.ParseMediaType(full); err == nil {
			u.Boundary = params["boundary"]
		}
	case e == Anything:
	case e == Forms, strings.HasPrefix(declared, "multipart/"), MustFit([]byte(full)):
		return nil, nil
	}
	encoding := strings.ToLower(string(h.Peek("Content-Encoding")))
	zipped := encoding != "" && encoding != "identity"
	if !u.Multipart && !binary {
		// What it is must be looked at, and behind a compression it cannot be.
		if zipped && (declared == "" || declared == "*/*" || declared == "text/plain") {
			return nil, nil
		}
		if !zipped {
			if is, err := r.looksRaw(); err != nil || !is {
				return nil, err
			}
		}
	}
	return u, u.open(encoding)
}

// looksRaw looks at the first bytes of a body, which stay to be read.
func (r *Request) looksRaw() (bool, error) {
	stream := r.bodyStream()
	if stream == nil {
		return false, nil
	}
	ahead := make([]byte, 0, maxAhead)
	for len(ahead) < maxAhead {
		n, err := stream.Read(ahead[len(ahead):maxAhead])
		ahead = ahead[:len(ahead)+n]
		if err != nil && !errors.Is(err, io.EOF) {
			return false, bodyError(err)
		}
		if err != nil || len(bytes.TrimLeft(ahead, " \t\r\n")) > 0 {
			break
		}
	}
	stream.ahead = ahead
	text := bytes.TrimLeft(ahead, " \t\r\n")
	return len(text) > 0 && text[0] != '{' && text[0] != '[', nil
}

// open makes the body readable.
func (u *Upload) open(encoding string) error {
	r := u.req
	u.src = bytes.NewReader(r.body.content) // a form of parameters is looked at for credentials before
	if stream := r.bodyStream(); stream != nil && !r.body.read {
		u.src = stream
	}
	switch encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		if r.body.read {
			break // it was decompressed then
		}
		z, err := gzipReaders.Get(u.src)
		if err != nil {
			return bodyError(err)
		}
		u.src, u.Size, u.unzip = z, -1, func() { gzipReaders.Put(z) }
	default:
		return fault.New(fault.NotSupported, "content encoding is not supported")
	}
	u.conn, u.pace = r.fh.Conn(), r.limits.PieceRead
	u.unhook = context.AfterFunc(r.ctx.Context, func() { // a stop does not wait for who sends slowly
		_ = u.conn.SetReadDeadline(time.Unix(1, 0))
	})
	return u.extend()
}

// extend gives the next piece its time.
func (u *Upload) extend() error {
	u.piece = 0
	if u.pace <= 0 || u.req.ctx.Context.Err() != nil {
		return nil
	}
	err := u.conn.SetReadDeadline(time.Now().Add(u.pace))
	if err == nil && u.req.ctx.Context.Err() != nil { // the stop came between
		err = u.conn.SetReadDeadline(time.Unix(1, 0))
	}
	return err
}

// Read implements io.Reader.
func (u *Upload) Read(p []byte) (int, error) {
	n, err := u.src.Read(p)
	if u.piece += n; u.piece >= uploadPiece && err == nil {
		err = u.extend()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = bodyError(err)
	}
	return n, err
}

// Close ends the upload.
func (u *Upload) Close() {
	u.unhook()
	if u.unzip != nil {
		u.unzip()
		u.unzip = nil
	}
}

// MustFit reports whether a body of a content type is held in memory, wherever it is sent.
func MustFit(contentType []byte) bool {
	t := mediaType(contentType)
	return t == "application/json" || strings.HasSuffix(t, "+json") || t == "application/x-www-form-urlencoded"
}

// Digest says what stands for the body where two requests are compared that have the same
// Idempotency-Key: it was read as an upload.
func (r *Request) Digest(sum []byte) { r.body.read, r.body.digest = true, sum }

// Wrote says that the request has changed something: what it reads from now on, through
// whichever node, shows that. Nothing else reads for it at that moment.
func (r *Request) Wrote() { r.ctx.wrote(time.Now()) }

// Renew gives the request its time anew: what it waited for so far was its client. What
// waits by its context ends.
func (r *Request) Renew() { r.ctx.renew(time.Now(), r.limits.Timeout) }
