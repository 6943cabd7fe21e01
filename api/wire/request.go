package wire

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Handler answers a request. It must not keep the request: its goroutines end
// before it returns, or take copies.
type Handler func(*Request) (*Reply, error)

// Application is the application a request is about, as its path was resolved.
type Application struct {
	auth.Application
	Number           entity.AppID
	Name             string // without the organisation, lower case
	OrganizationName string

	// What the organisation has set for itself; empty: as the server does.
	BaseURL     string // public base URL, without a trailing slash
	Connections string // which connections entities show: none, in, out or all
}

// Limits bound what one request may cost.
type Limits struct {
	BodyBytes   int           // largest body, after decompression
	Timeout     time.Duration // from the first byte of the request to its reply
	BaseURL     string        // public base URL; empty: scheme and Host of the request
	GzipFrom    int           // replies of at least this many bytes are compressed if asked; 0: never
	PieceWrite  time.Duration // for the client to take a piece of a stream
	Reservation *Budget       // memory for bodies, of all connections together
}

// Request is one request of a client. Handlers use it from one goroutine.
type Request struct {
	// Principal is who calls; never nil once the request is authenticated.
	Principal *auth.Principal
	// App is the application of an application request, nil for others.
	App *Application
	// Access is what Principal may do in App.
	Access auth.Access

	fh       *fasthttp.RequestCtx
	limits   *Limits
	ctx      *deadlineContext
	id       string
	start    time.Time
	method   string // GET, POST, PUT, DELETE; HEAD counts as GET
	path     string // as sent, without query
	rawQuery string
	query    []param
	queried  bool
	echoed   []param  // further parameters that the answer repeats
	segments []string // decoded path; those of the application are cut off in place
	body     body
	callback string // JSONP function; empty: plain JSON
	stale    bool   // the client is content with a stale read
	reply    Reply
}

var requests = sync.Pool{New: func() any { return new(Request) }}

// NewRequest makes the request that fh holds. The caller answers it with
// Finish. An error refuses the request, which can still be answered with Fail.
func NewRequest(parent context.Context, fh *fasthttp.RequestCtx, limits *Limits) (*Request, error) {
	r := requests.Get().(*Request)
	r.fh, r.limits = fh, limits
	r.start = fh.Time()
	if r.start.IsZero() {
		r.start = time.Now()
	}
	r.ctx = newDeadlineContext(parent, r.start, r.start.Add(limits.Timeout))
	target := string(fh.Request.Header.RequestURI())
	if i := strings.IndexByte(target, '#'); i >= 0 {
		target = target[:i]
	}
	r.path, r.rawQuery, _ = strings.Cut(target, "?")
	if i := strings.Index(r.path, "://"); i > 0 && r.path[0] != '/' { // absolute form
		r.path = r.path[i+3:]
		_, r.path, _ = strings.Cut(r.path, "/")
	}
	r.method = methodOf(fh.Method())
	var err error
	if r.callback, err = r.findCallback(); err != nil {
		return r, err
	}
	if r.segments, err = splitPath(r.segments[:0], r.path); err != nil {
		return r, err
	}
	if r.method == "" {
		return r, fault.New(fault.NotAllowed, "method is not offered")
	}
	return r, r.findConsistency()
}

// release gives the request back. Nothing of it may be used afterwards.
func (r *Request) release() {
	r.ctx.end()
	r.body.release(r.limits.Reservation)
	segments, query, entities := r.segments, r.query, r.reply.entities
	clear(segments)
	clear(query)
	*r = Request{segments: segments[:0], query: query[:0]}
	if cap(entities) <= maxKeptReply {
		r.reply.entities = entities[:0]
	}
	requests.Put(r)
}

func methodOf(m []byte) string {
	switch string(m) {
	case "GET", "HEAD":
		return "GET"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	}
	return ""
}

// Context ends at the request's deadline, or when the server stops. It may
// outlive the request, and is over then.
func (r *Request) Context() context.Context { return r.ctx }

// Method is GET, POST, PUT or DELETE. HEAD requests count as GET.
func (r *Request) Method() string { return r.method }

// Action is the lower-case method, as envelopes show it.
func (r *Request) Action() string {
	switch r.method {
	case "GET":
		return "get"
	case "POST":
		return "post"
	case "PUT":
		return "put"
	}
	return "delete"
}

// Path is the path as the client sent it.
func (r *Request) Path() string { return r.path }

// Segments are the decoded segments of the path, for application requests
// without those that name the application.
func (r *Request) Segments() []string { return r.segments }

// SetSegments replaces the segments: dispatch cuts off what it has resolved.
func (r *Request) SetSegments(s []string) { r.segments = s }

// Time is when the request began.
func (r *Request) Time() time.Time { return r.start }

// ID names the request in the log: what the client sent as X-Request-Id, if
// that is a plain word, or a new UUID.
func (r *Request) ID() string {
	if r.id == "" {
		if r.id = string(r.fh.Request.Header.Peek("X-Request-Id")); !plainWord(r.id) {
			r.id = entity.NewID().String()
		}
	}
	return r.id
}

func plainWord(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// Idempotency returns the id under which the state machine remembers the
// request's step-th command, if the client sent an Idempotency-Key. It depends
// on who calls and what was asked, so one key never answers another request.
func (r *Request) Idempotency(step int) (id [16]byte, ok bool, err error) {
	key := r.fh.Request.Header.Peek("Idempotency-Key")
	if len(key) == 0 {
		return id, false, nil
	}
	if len(key) > 255 {
		return id, false, fault.New(fault.IllegalArgument, "Idempotency-Key is longer than 255 bytes")
	}
	content, err := r.Body()
	if err != nil {
		return id, false, err
	}
	h := sha256.New()
	part := func(b []byte) {
		n := len(b)
		_, _ = h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) // never fails
		_, _ = h.Write(b)
	}
	part(binary.AppendUvarint(nil, uint64(step)))
	if r.Principal != nil {
		part(append(r.Principal.ID[:], byte(r.Principal.Kind)))
	}
	part(key)
	part([]byte(r.method))
	part([]byte(r.path))
	part(content)
	copy(id[:], h.Sum(nil))
	return id, true, nil
}

// Headers of reads that need not be up to date.
const (
	// ConsistencyHeader of a request says what a read must show: "linearizable",
	// the default, every write acknowledged before it began; "stale" what the
	// node has at hand.
	ConsistencyHeader = "X-Trellis-Consistency"
	// StalenessHeader of the answer to a stale read says how many milliseconds
	// old it can be at most, or "unknown".
	StalenessHeader = "X-Trellis-Staleness-Ms"
)

// findConsistency reads what the client asks of a read.
func (r *Request) findConsistency() error {
	switch c := r.fh.Request.Header.Peek(ConsistencyHeader); {
	case len(c) == 0, strings.EqualFold(string(c), "linearizable"):
	case strings.EqualFold(string(c), "stale"):
		r.stale = true
		r.ctx.fresh.Stale = r.method == "GET"
	default:
		return fault.New(fault.IllegalArgument, "%s must be linearizable or stale", ConsistencyHeader)
	}
	return nil
}

// Stale reports whether the client is content with a local, possibly old
// answer. Writes never are.
func (r *Request) Stale() bool { return r.stale && r.method == "GET" }

// Freshen asks for up to date reads from now on, but for the one that answers
// the request.
func (r *Request) Freshen() { r.ctx.fresh.Stale = false }

// Aged notes how old the answer can be; less than 0 is unknown.
func (r *Request) Aged(age time.Duration) {
	text := "unknown"
	if age >= 0 {
		text = strconv.FormatInt((age + time.Millisecond - 1).Milliseconds(), 10)
	}
	r.fh.Response.Header.Set(StalenessHeader, text)
}

// Header returns a header's value, empty if it was not sent.
func (r *Request) Header(name string) string { return string(r.fh.Request.Header.Peek(name)) }

// From notes the address of the client.
func (r *Request) From(addr netip.Addr) { r.ctx.address = addr }

// Address is the address of the client, as far as it is known: behind proxies that are
// not trusted it is that of the nearest.
func (r *Request) Address() netip.Addr { return r.ctx.address }

// BaseURL is the public base URL without a trailing slash.
func (r *Request) BaseURL() string { return string(r.appendBaseURL(nil)) }

func (r *Request) appendBaseURL(dst []byte) []byte {
	if r.App != nil && r.App.BaseURL != "" {
		return append(dst, r.App.BaseURL...)
	}
	if r.limits.BaseURL != "" {
		return append(dst, r.limits.BaseURL...)
	}
	if r.fh.IsTLS() {
		dst = append(dst, "https://"...)
	} else {
		dst = append(dst, "http://"...)
	}
	return append(dst, r.fh.Host()...)
}

func (r *Request) params() []param {
	if !r.queried {
		r.query, r.queried = parseParams(r.query[:0], r.rawQuery), true
	}
	return r.query
}

// Query returns the first value of a query parameter; empty if it is absent.
func (r *Request) Query(name string) string {
	v, _ := first(r.params(), name)
	return v
}

// HasQuery reports whether a query parameter was sent, with or without a value.
func (r *Request) HasQuery(name string) bool {
	_, ok := first(r.params(), name)
	return ok
}

// QueryAll returns every value of a query parameter.
func (r *Request) QueryAll(name string) []string { return all(r.params(), name) }

// Param returns a parameter wherever it was sent; the later of query, form and
// JSON body wins. Numbers and booleans of a JSON body come in their JSON text form;
// objects and arrays are IllegalArgument. It fails if the body cannot be read.
func (r *Request) Param(name string) (string, error) {
	v, _, err := r.LookupParam(name)
	return v, err
}

// LookupParam is Param, and reports whether the parameter was sent at all.
func (r *Request) LookupParam(name string) (string, bool, error) {
	switch kind, err := r.Kind(); {
	case err != nil:
		return "", false, err
	case kind == JSONBody:
		if v, ok, err := r.field(name); err != nil || ok {
			return v, ok, err
		}
	case kind == FormBody:
		if v, ok := first(r.body.form, name); ok {
			return v, true, nil
		}
	}
	v, ok := first(r.params(), name)
	return v, ok, nil
}

// QueryOrForm returns a parameter from the query string or, failing that, a
// form body; never from JSON.
func (r *Request) QueryOrForm(name string) (string, error) {
	if v, ok := first(r.params(), name); ok {
		return v, nil
	}
	kind, err := r.Kind()
	if err != nil || kind != FormBody {
		return "", err
	}
	v, _ := first(r.body.form, name)
	return v, nil
}
