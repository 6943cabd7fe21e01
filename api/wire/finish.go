package wire

import (
	"bytes"
	"mime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	jsonType   = "application/json"
	scriptType = "application/javascript"

	// maxDiscard is how much of a body that nobody read is thrown away so that
	// the client comes to read its reply; beyond it the connection just closes.
	maxDiscard = 256 << 20
)

var buffers = sync.Pool{New: func() any { return new(buffer) }}

type buffer struct{ b []byte }

// Finish writes the reply, or the error, and ends the request: neither may be
// used afterwards. If the error was nobody's to show, Finish returns the
// error_id under which it should be logged.
func (r *Request) Finish(p *Reply, err error) (errorID entity.ID) {
	defer r.release()
	r.finishBody(maxDiscard)
	if err == nil && p == nil {
		err = fault.New(fault.Uncaught, "handler gave no reply")
	}
	if err == nil && p.err != nil {
		err = p.err
	}
	cors(r.fh)
	buf := buffers.Get().(*buffer)
	defer func() {
		if cap(buf.b) <= 1<<20 {
			buffers.Put(buf)
		}
	}()
	if err != nil {
		return r.fail(buf, err)
	}
	for i := range p.headers {
		r.fh.Response.Header.Add(p.headers[i].name, p.headers[i].value)
	}
	switch p.kind {
	case rawReply:
		r.fh.Response.SetStatusCode(p.status)
		r.fh.Response.Header.SetContentType(p.content)
		if p.content == "" {
			r.fh.Response.Header.SetNoDefaultContentType(true)
		}
		r.fh.Response.SetBody(p.raw)
	case streamReply:
		r.sendStream(p)
	case redirectReply:
		r.fh.Response.SetStatusCode(p.status)
		r.fh.Response.Header.Set("Location", p.content)
	default:
		if p.status != 0 {
			r.fh.Response.SetStatusCode(p.status)
		}
		if p.status == fasthttp.StatusServiceUnavailable {
			r.fh.Response.Header.Set("Retry-After", "1")
		}
		b := r.openScript(buf.b[:0])
		b = r.appendReply(b, p, r.elapsed())
		r.send(buf, r.closeScript(b))
	}
	return entity.ID{}
}

// Abandon ends a request that is answered in another way.
func (r *Request) Abandon() { r.release() }

func (r *Request) elapsed() int64 { return time.Since(r.start).Milliseconds() }

func (r *Request) fail(buf *buffer, err error) entity.ID {
	p := problemOf(err)
	h := &r.fh.Response.Header
	if r.callback == "" || p.oauth {
		r.fh.Response.SetStatusCode(p.status)
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	if p.challenge {
		h.Set("WWW-Authenticate", `Basic realm="Usergrid Authentication"`)
	}
	if p.code == fault.NotAllowed {
		h.Set("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS")
	}
	b := r.openScript(buf.b[:0])
	b = appendProblem(b, &p, r.start.UnixMilli(), r.elapsed())
	r.send(buf, r.closeScript(b))
	return p.id
}

func (r *Request) openScript(dst []byte) []byte {
	if r.callback == "" {
		return dst
	}
	dst = append(dst, r.callback...)
	return append(dst, '(')
}

func (r *Request) closeScript(dst []byte) []byte {
	if r.callback == "" {
		return dst
	}
	return append(dst, ')')
}

// send hands the body, which was built in buf, over to fasthttp. It is not copied: buf
// gets the memory of an earlier body for it.
func (r *Request) send(buf *buffer, b []byte) {
	buf.b = b
	h := &r.fh.Response.Header
	h.SetNoDefaultContentType(true)
	if r.callback != "" {
		h.SetContentType(scriptType)
		h.Set("X-Content-Type-Options", "nosniff")
	} else {
		h.SetContentType(jsonType)
	}
	if from := r.limits.GzipFrom; from > 0 && len(b) >= from {
		h.Add("Vary", "Accept-Encoding")
		if r.fh.Request.Header.HasAcceptEncoding("gzip") {
			h.SetContentEncoding("gzip")
			r.fh.Response.SetBodyRaw(fasthttp.AppendGzipBytesLevel(nil, b, fasthttp.CompressBestSpeed))
			return
		}
	}
	buf.b = r.fh.Response.SwapBody(b)
}

// findCallback detects JSONP (spec envelope-and-errors section 7.3).
func (r *Request) findCallback() (string, error) {
	if strings.Contains(r.rawQuery, "callback") {
		if name, ok := first(r.params(), "callback"); ok && strings.TrimSpace(name) != "" {
			if !validCallback(name) {
				return "", fault.New(fault.IllegalArgument, "callback is not a function name")
			}
			return name, nil
		}
	}
	accept := r.fh.Request.Header.Peek("Accept")
	if len(accept) == 0 || !bytes.Contains(accept, []byte("script")) {
		return "", nil
	}
	for part := range strings.SplitSeq(string(accept), ",") {
		media, _, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		switch media {
		case "application/javascript", "application/x-javascript", "application/ecmascript", "text/ecmascript", "text/jscript":
			return "callback", nil
		case "application/json", "*/*", "text/html":
			return "", nil
		}
	}
	return "", nil
}

// validCallback matches ^[A-Za-z_$][\w$.\[\]]{0,127}$.
func validCallback(s string) bool {
	if len(s) > 128 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$'
		later := c >= '0' && c <= '9' || c == '.' || c == '[' || c == ']'
		if !letter && (i == 0 || !later) {
			return false
		}
	}
	return s != ""
}

// cors sets the headers that let any page call (spec envelope-and-errors
// section 6).
func cors(fh *fasthttp.RequestCtx) {
	h := &fh.Response.Header
	origin := fh.Request.Header.Peek("Origin")
	if len(origin) == 0 {
		origin = originOf(fh.Request.Header.Referer())
	}
	if len(origin) == 0 || string(origin) == "null" {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.SetBytesV("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	h.Set("Vary", "Origin")
	if v := fh.Request.Header.Peek("Access-Control-Request-Method"); len(v) > 0 {
		h.SetBytesV("Access-Control-Allow-Methods", v)
	}
	if v := fh.Request.Header.Peek("Access-Control-Request-Headers"); len(v) > 0 {
		h.SetBytesV("Access-Control-Allow-Headers", v)
	}
}

// originOf returns the origin part of an http URL.
func originOf(referer []byte) []byte {
	if !bytes.HasPrefix(referer, []byte("http://")) && !bytes.HasPrefix(referer, []byte("https://")) {
		return nil
	}
	start := bytes.Index(referer, []byte("://")) + 3
	if end := bytes.IndexAny(referer[start:], "/?#"); end >= 0 {
		return referer[:start+end]
	}
	return referer
}

// Preflight answers an OPTIONS request: nothing but the CORS headers. A body is
// not read, and the connection closes after it.
func Preflight(fh *fasthttp.RequestCtx) {
	cors(fh)
	if fh.Request.Header.ContentLength() != 0 && fh.RequestBodyStream() != nil {
		closeUnread(fh)
	}
	fh.Response.Header.Set("Access-Control-Max-Age", "86400")
	fh.Response.Header.SetNoDefaultContentType(true)
}

// Fail answers what never became a request: an error envelope, after which the
// connection closes.
func Fail(fh *fasthttp.RequestCtx, err error) {
	p := problemOf(err)
	fh.Response.Reset()
	cors(fh)
	fh.Response.SetStatusCode(p.status)
	if p.retry > 0 {
		fh.Response.Header.Set("Retry-After", strconv.Itoa(p.retry))
	}
	fh.Response.Header.SetContentType(jsonType)
	fh.Response.SetBody(appendProblem(nil, &p, time.Now().UnixMilli(), 0))
	closeUnread(fh)
}

// FailUncaught answers a request whose handler panicked.
func FailUncaught(fh *fasthttp.RequestCtx, id entity.ID) {
	Fail(fh, fault.New(fault.Uncaught, "Internal error"))
	p := problemOf(fault.New(fault.Uncaught, ""))
	p.id = id
	fh.Response.SetBody(appendProblem(nil, &p, time.Now().UnixMilli(), 0))
}

// ErrorBody is the error envelope alone, for where there is no request.
func ErrorBody(err error) []byte {
	p := problemOf(err)
	return appendProblem(nil, &p, time.Now().UnixMilli(), 0)
}
