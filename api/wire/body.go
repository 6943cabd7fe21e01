package wire

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/storage/fault"
)

// BodyKind is what a body is, after content-type repair.
type BodyKind byte

// Kinds of body.
const (
	NoBody BodyKind = iota
	JSONBody
	FormBody
	MultipartBody
	OtherBody
)

// Budget bounds the memory that bodies take, over all connections. Only bytes
// that have arrived count: announcing a body costs nothing.
type Budget struct {
	size int64
	used atomic.Int64
}

// NewBudget makes a budget of size bytes.
func NewBudget(size int64) *Budget { return &Budget{size: size} }

// Used returns the bytes taken at this moment.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) take(n int) bool {
	if b.used.Add(int64(n)) > b.size {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

func (b *Budget) give(n int) { b.used.Add(-int64(n)) }

// body is a request's body, read when it is first asked for.
type body struct {
	read     bool
	err      error
	content  []byte // the handler's own copy; may be kept
	kind     BodyKind
	form     []param
	checked  bool
	parseErr error
	value    *fastjson.Value
	parser   *fastjson.Parser
	taken    int    // bytes of the budget
	digest   []byte // stands for content that was read as an upload
	stream   stream
}

// stream is a body as it arrives. It stays broken once it is: what follows a
// mistake in its framing is never read as if it were more of it.
type stream struct {
	src   io.Reader // nil before the first read
	err   error
	ahead []byte // read already, and to be read once more
	left  int64  // bytes that were announced and have not arrived; less than 0: nobody knows
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.ahead) > 0 {
		n := copy(p, s.ahead)
		s.ahead = s.ahead[n:]
		return n, nil
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.src.Read(p)
	if s.left >= 0 {
		// A connection that ends is no end of the body.
		if s.left -= int64(n); s.left > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}
	s.err = err
	return n, err
}

// bodyStream returns the body as it arrives, nil if there is none.
func (r *Request) bodyStream() *stream {
	if r.body.stream.src == nil {
		if r.body.stream.src = r.fh.RequestBodyStream(); r.body.stream.src == nil {
			return nil
		}
		r.body.stream.left = int64(r.fh.Request.Header.ContentLength())
	}
	return &r.body.stream
}

// BodyTouched reports whether any of the body was read.
func (r *Request) BodyTouched() bool { return r.body.read || r.body.stream.src != nil }

var parsers fastjson.ParserPool

func (b *body) release(budget *Budget) {
	budget.give(b.taken)
	if b.parser != nil {
		parsers.Put(b.parser)
	}
}

// Body returns the body, decompressed; nil if there is none. The bytes are the
// caller's to keep, not to change.
func (r *Request) Body() ([]byte, error) {
	b := &r.body
	if !b.read {
		b.read = true
		b.content, b.err = r.readBody()
		if b.err == nil {
			b.kind = kindOf(r.fh.Request.Header.ContentType(), b.content)
			if b.kind == FormBody {
				b.form = parseParams(nil, string(b.content))
			}
		}
	}
	return b.content, b.err
}

// Kind returns what the body is.
func (r *Request) Kind() (BodyKind, error) {
	_, err := r.Body()
	return r.body.kind, err
}

// JSON returns the body as checked JSON text; nil if there is no body.
// NotSupported if the body is something else.
func (r *Request) JSON() ([]byte, error) {
	kind, err := r.Kind()
	if err != nil {
		return nil, err
	}
	b := &r.body
	switch kind {
	case NoBody:
		return nil, nil
	case JSONBody:
		if !b.checked {
			b.checked, b.parseErr = true, CheckJSON(b.content)
		}
		return b.content, b.parseErr
	case FormBody:
		if len(bytes.TrimSpace(b.content)) == 0 {
			return nil, nil
		}
	}
	return nil, fault.New(fault.NotSupported, "content type of the body is not supported here")
}

// Value returns the parsed JSON body; nil if there is no body. It lives as long
// as the request.
func (r *Request) Value() (*fastjson.Value, error) {
	text, err := r.JSON()
	if err != nil || text == nil {
		return nil, err
	}
	b := &r.body
	if b.value == nil {
		b.parser = parsers.Get()
		v, err := b.parser.ParseBytes(text)
		if err != nil {
			return nil, fault.Wrap(err, fault.JSONParse, "body is not valid JSON")
		}
		b.value = v
	}
	return b.value, nil
}

// field returns a member of a JSON object body as text.
func (r *Request) field(name string) (string, bool, error) {
	v, err := r.Value()
	if err != nil || v == nil || v.Type() != fastjson.TypeObject {
		return "", false, err
	}
	m := v.Get(name)
	if m == nil || m.Type() == fastjson.TypeNull {
		return "", false, nil
	}
	switch m.Type() {
	case fastjson.TypeString:
		return string(m.GetStringBytes()), true, nil
	case fastjson.TypeObject, fastjson.TypeArray: // would pass for a name or an address
		return "", false, fault.New(fault.IllegalArgument, "%s must be a text, a number or a boolean", name)
	}
	return string(m.MarshalTo(nil)), true, nil
}

// kindOf repairs the content type (spec envelope-and-errors section 7.1).
func kindOf(contentType, content []byte) BodyKind {
	declared := mediaType(contentType)
	if len(content) == 0 {
		return NoBody
	}
	switch {
	case strings.HasPrefix(declared, "multipart/"):
		return MultipartBody
	case declared == "application/octet-stream":
		return OtherBody
	case declared == "application/json" || strings.HasSuffix(declared, "+json"):
		return JSONBody
	}
	if trimmed := bytes.TrimLeft(content, " \t\r\n"); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		return JSONBody
	}
	if declared == "application/x-www-form-urlencoded" {
		return FormBody
	}
	return OtherBody
}

func mediaType(header []byte) string {
	if string(header) == "application/json" {
		return "application/json"
	}
	if i := bytes.IndexByte(header, ';'); i >= 0 {
		header = header[:i]
	}
	return strings.ToLower(string(bytes.TrimSpace(header)))
}

const (
	firstChunk = 4 << 10
	maxKept    = 64 << 10 // larger buffers are not kept for the next request
)

func tooLarge(limit int) error {
	return fault.New(fault.RequestTooLarge, "body is larger than %d bytes", limit)
}

// readBody reads and decompresses the body within the limits.
func (r *Request) readBody() ([]byte, error) {
	limit := r.limits.BodyBytes
	if n := r.fh.Request.Header.ContentLength(); n > limit {
		return nil, tooLarge(limit)
	}
	stream := r.bodyStream()
	if stream == nil {
		if raw := r.fh.Request.Body(); len(raw) > 0 {
			return r.readAll(bytes.NewReader(raw), len(raw), limit)
		}
		return nil, nil
	}
	expect := r.fh.Request.Header.ContentLength()
	switch encoding := string(r.fh.Request.Header.Peek("Content-Encoding")); strings.ToLower(encoding) {
	case "", "identity":
		return r.readAll(stream, expect, limit)
	case "gzip", "x-gzip":
		z, err := gzipReaders.Get(stream)
		if err != nil {
			return nil, bodyError(err)
		}
		defer gzipReaders.Put(z)
		return r.readAll(z, firstChunk, limit)
	default:
		return nil, fault.New(fault.NotSupported, "content encoding is not supported")
	}
}

// readAll reads to the end, in a buffer that grows with what has arrived.
func (r *Request) readAll(src io.Reader, expect, limit int) ([]byte, error) {
	size := firstChunk
	if expect >= 0 && expect <= 2*firstChunk {
		size = expect + 1 // room to see the end
	}
	if !r.reserve(size) {
		return nil, crowded()
	}
	buf := make([]byte, 0, size)
	for {
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > limit {
			return nil, tooLarge(limit)
		}
		if errors.Is(err, io.EOF) {
			if len(buf) == 0 {
				return nil, nil
			}
			return buf, nil
		}
		if err != nil {
			return nil, bodyError(err)
		}
		if len(buf) == cap(buf) {
			next := min(2*cap(buf), limit+1)
			if expect > len(buf) && next > expect {
				next = expect + 1
			}
			if !r.reserve(next - cap(buf)) {
				return nil, crowded()
			}
			grown := make([]byte, len(buf), next)
			copy(grown, buf)
			buf = grown
		}
	}
}

func (r *Request) reserve(n int) bool {
	if !r.limits.Reservation.take(n) {
		return false
	}
	r.body.taken += n
	return true
}

func crowded() error {
	return fault.New(fault.Overloaded, "too many large bodies at this moment")
}

func bodyError(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fault.Wrap(err, fault.BadRequest, "body did not arrive in time")
	}
	return fault.Wrap(err, fault.BadRequest, "body cannot be read")
}

// finishBody makes sure that nothing of the body is left where the next request
// of the connection would be read from. What is short is read and thrown away,
// so that the client sees the reply; else the connection closes, at once if more is
// announced than would be read.
func (r *Request) finishBody(discard int64) {
	stream := r.bodyStream()
	if stream == nil {
		return
	}
	if stream.left > discard {
		closeUnread(r.fh)
		return
	}
	n, err := io.Copy(io.Discard, io.LimitReader(stream, discard+1))
	if err != nil || stream.err != nil && !errors.Is(stream.err, io.EOF) || n > discard {
		closeUnread(r.fh)
	}
}

// readerPool keeps gzip readers, which cost 40 KB each.
type readerPool struct{ pool sync.Pool }

var gzipReaders readerPool

// Get returns a reader of the gzip stream src.
func (p *readerPool) Get(src io.Reader) (*gzip.Reader, error) {
	if z, ok := p.pool.Get().(*gzip.Reader); ok {
		if err := z.Reset(src); err != nil {
			return nil, err
		}
		return z, nil
	}
	return gzip.NewReader(src)
}

// Put gives a reader back.
func (p *readerPool) Put(z *gzip.Reader) { p.pool.Put(z) }
