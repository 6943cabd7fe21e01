package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Join is how a node asks to become a member, or says that it is back.
type Join struct {
	Member   entity.Member
	Cluster  entity.ID // that it belongs to; zero: none yet
	Replaces bool      // take the place of a member that has its name and is not alive
}

// Joined is the answer to Join.
type Joined struct {
	Cluster entity.ID
	System  entity.Replica // the node's replica of the system partition; no number: none is due yet, ask again
}

// Adopt asks a node that belongs to no cluster to belong to one that is about to
// be formed by the nodes named. A node that says yes never says yes to another.
type Adopt struct {
	Cluster entity.ID
	Nodes   []entity.NodeID // sorted
}

// Digest asks for the state hash of a replica once it has come to a log index.
type Digest struct {
	Partition entity.Partition
	Least     uint64
}

// Services answer what other nodes ask. All of them are called concurrently, and
// must be quick to notice that ctx has ended.
type Services struct {
	Propose   func(ctx context.Context, list []Proposal) []Verdict
	ReadIndex func(ctx context.Context, list []entity.Partition) []Index
	Standings func(list []Replica) []Standing
	Join      func(ctx context.Context, from Join) (Joined, error)
	Adopt     func(ctx context.Context, a Adopt) error
	Placed    func(ctx context.Context, r Replica) (bool, error)
	Digest    func(ctx context.Context, q Digest) (any, error)
	Report    func() any          // the node's own view of itself, as JSON
	Tasks     func() (any, error) // background tasks of what the node leads, as JSON
	Spool     func(ctx context.Context, p entity.Partition) (Spooled, error)
}

// Paths of the calls.
const (
	pathPropose   = "/propose"
	pathReadIndex = "/read-index"
	pathStandings = "/standings"
	pathJoin      = "/join"
	pathAdopt     = "/adopt"
	pathPlaced    = "/placed"
	pathDigest    = "/digest"
	pathReport    = "/report"
	pathTasks     = "/tasks"
)

// callTimeout bounds a call on the side that answers it.
const callTimeout = 15 * time.Second

// DigestTimeout bounds Digest on that side: it reads the whole state of a partition.
const DigestTimeout = 15 * time.Minute

// Server answers calls.
type Server struct {
	services Services
	http     *fasthttp.Server
	ctx      context.Context
	stop     context.CancelFunc
}

// NewServer makes a server of services. It starts nothing.
func NewServer(services Services, log *slog.Logger) *Server {
	s := &Server{services: services}
	s.ctx, s.stop = context.WithCancel(context.Background())
	r := router.New()
	r.POST(pathPropose, s.propose)
	r.POST(pathReadIndex, s.readIndex)
	r.POST(pathStandings, s.standings)
	r.POST(pathJoin, answer(s, services.Join))
	r.POST(pathAdopt, answer(s, func(ctx context.Context, a Adopt) (struct{}, error) { return struct{}{}, services.Adopt(ctx, a) }))
	r.POST(pathPlaced, answer(s, services.Placed))
	r.POST(pathDigest, answerWithin(s, DigestTimeout, services.Digest))
	r.POST(pathSpool, s.spool)
	r.POST(pathReport, answer(s, func(context.Context, struct{}) (any, error) { return services.Report(), nil }))
	r.POST(pathTasks, answer(s, func(context.Context, struct{}) (any, error) { return services.Tasks() }))
	s.http = &fasthttp.Server{
		Handler:               r.Handler,
		MaxRequestBodySize:    MaxBytes + 16<<20,
		ReadTimeout:           0, // a connection waits for its next call as long as the other node lives
		WriteTimeout:          callTimeout,
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		NoDefaultDate:         true,
		SecureErrorLogMessage: true,
		CloseOnShutdown:       true,
		Logger:                quiet{log},
	}
	return s
}

// Serve answers the connections of ln until Close.
func (s *Server) Serve(ln net.Listener) error { return s.http.Serve(ln) }

// Close stops the server and cancels calls under way.
func (s *Server) Close(ctx context.Context) error {
	s.stop()
	err := s.http.ShutdownWithContext(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil // connections of others, which end with the listener's network
	}
	return err
}

// quiet takes what fasthttp says of connections: peers come and go.
type quiet struct{ log *slog.Logger }

// Printf logs one line.
func (q quiet) Printf(format string, args ...any) {
	if q.log.Enabled(context.Background(), slog.LevelDebug) {
		q.log.Debug("rpc connection", "event", fmt.Sprintf(format, args...))
	}
}

func (s *Server) propose(fh *fasthttp.RequestCtx) {
	list, err := DecodeProposals(append([]byte(nil), fh.PostBody()...)) // Raft keeps it
	if err != nil {
		fh.Error(err.Error(), fasthttp.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	fh.Response.SetBodyRaw(AppendVerdicts(nil, s.services.Propose(ctx, list)))
}

func (s *Server) readIndex(fh *fasthttp.RequestCtx) {
	list, err := DecodePartitions(fh.PostBody())
	if err != nil {
		fh.Error(err.Error(), fasthttp.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	fh.Response.SetBodyRaw(AppendIndexes(nil, s.services.ReadIndex(ctx, list)))
}

func (s *Server) standings(fh *fasthttp.RequestCtx) {
	list, err := DecodeReplicas(fh.PostBody())
	if err != nil {
		fh.Error(err.Error(), fasthttp.StatusBadRequest)
		return
	}
	fh.Response.SetBodyRaw(AppendStandings(nil, s.services.Standings(list)))
}

// wireFault is how a fault crosses.
type wireFault struct {
	Code    fault.Code
	Message string
}

// statusFault marks an answer that is a fault.
const statusFault = fasthttp.StatusConflict

// answer makes a handler of a service that speaks JSON.
func answer[Q, A any](s *Server, serve func(context.Context, Q) (A, error)) fasthttp.RequestHandler {
	return answerWithin(s, callTimeout, serve)
}

func answerWithin[Q, A any](s *Server, timeout time.Duration, serve func(context.Context, Q) (A, error)) fasthttp.RequestHandler {
	return func(fh *fasthttp.RequestCtx) {
		var q Q
		if err := json.Unmarshal(fh.PostBody(), &q); err != nil {
			fh.Error("damaged message", fasthttp.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, timeout)
		defer cancel()
		a, err := serve(ctx, q)
		if err != nil {
			refuse(fh, err)
			return
		}
		encode(fh, a)
	}
}

// refuse answers with a fault.
func refuse(fh *fasthttp.RequestCtx, err error) {
	var f *fault.Error
	if !errors.As(err, &f) {
		f = fault.New(fault.Uncaught, "%v", err)
	}
	fh.SetStatusCode(statusFault)
	encode(fh, wireFault{f.Code, f.Message})
}

func encode(fh *fasthttp.RequestCtx, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		fh.Error(err.Error(), fasthttp.StatusInternalServerError)
		return
	}
	fh.Response.SetBodyRaw(b)
}

// Client calls one other node. It is safe for concurrent use.
type Client struct {
	http *fasthttp.HostClient
	dial func() (net.Conn, error)
}

// NewClient makes a client of the node that dial connects to. Close ends its
// idle connections.
func NewClient(dial func(ctx context.Context) (net.Conn, error), dialTimeout time.Duration) *Client {
	connect := func() (net.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		defer cancel()
		return dial(ctx)
	}
	c := &Client{dial: connect, http: &fasthttp.HostClient{
		Addr:                      "peer",
		DialTimeout:               func(string, time.Duration) (net.Conn, error) { return connect() },
		MaxConns:                  256,
		MaxIdleConnDuration:       30 * time.Second,
		MaxIdemponentCallAttempts: 2,
		NoDefaultUserAgentHeader:  true,
		DisablePathNormalizing:    true,
		MaxResponseBodySize:       256 << 20,
	}}
	c.http.RetryIfErr = c.again
	return c
}

// again has a call repeated once whose connection the other side had closed before:
// its process has started anew, so the other idle connections are as dead. Every
// call may be repeated: proposals are known by their request ids.
func (c *Client) again(_ *fasthttp.Request, _ int, err error) (resetTimeout, retry bool) {
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		return false, false
	}
	c.http.CloseIdleConnections()
	return false, true
}

// Close ends idle connections. Calls under way end by their deadlines.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Propose sends proposals and returns their verdicts, in their order.
func (c *Client) Propose(ctx context.Context, list []Proposal) ([]Verdict, error) {
	body, err := c.call(ctx, pathPropose, AppendProposals(nil, list))
	if err != nil {
		return nil, err
	}
	verdicts, err := DecodeVerdicts(body)
	return counted(verdicts, len(list), err)
}

// ReadIndex asks for read indexes, in the order of the partitions.
func (c *Client) ReadIndex(ctx context.Context, list []entity.Partition) ([]Index, error) {
	body, err := c.call(ctx, pathReadIndex, AppendPartitions(nil, list))
	if err != nil {
		return nil, err
	}
	indexes, err := DecodeIndexes(body)
	return counted(indexes, len(list), err)
}

// Standings asks how far replicas are, in their order.
func (c *Client) Standings(ctx context.Context, list []Replica) ([]Standing, error) {
	body, err := c.call(ctx, pathStandings, AppendReplicas(nil, list))
	if err != nil {
		return nil, err
	}
	standings, err := DecodeStandings(body)
	return counted(standings, len(list), err)
}

// Join asks to become a member. A refusal is a fault.
func (c *Client) Join(ctx context.Context, j Join) (a Joined, err error) {
	return a, c.ask(ctx, pathJoin, j, &a)
}

// Adopt asks a node to belong to a new cluster. A refusal is a fault.
func (c *Client) Adopt(ctx context.Context, a Adopt) error {
	return c.ask(ctx, pathAdopt, a, &struct{}{})
}

// Placed asks whether a replica belongs to its group. NoQuorum if the node does
// not lead it.
func (c *Client) Placed(ctx context.Context, p Replica) (placed bool, err error) {
	return placed, c.ask(ctx, pathPlaced, p, &placed)
}

// Digest asks for a state hash, into a pointer.
func (c *Client) Digest(ctx context.Context, q Digest, into any) error {
	return c.ask(ctx, pathDigest, q, into)
}

// Tasks asks a node for the background tasks of what it leads, into a pointer.
func (c *Client) Tasks(ctx context.Context, into any) error {
	return c.ask(ctx, pathTasks, struct{}{}, into)
}

// Report asks a node how it is, into a pointer.
func (c *Client) Report(ctx context.Context, into any) error {
	return c.ask(ctx, pathReport, struct{}{}, into)
}

func (c *Client) ask(ctx context.Context, path string, q, a any) error {
	b, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("call %s: %w", path, err)
	}
	body, err := c.call(ctx, path, b)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, a); err != nil {
		return fmt.Errorf("call %s: answer: %w", path, err)
	}
	return nil
}

// call sends a message and returns a copy of the answer.
func (c *Client) call(ctx context.Context, path string, body []byte) ([]byte, error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI("http://peer" + path)
	req.SetBodyRaw(body)
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(callTimeout)
	}
	if err := c.http.DoDeadline(req, resp, deadline); err != nil {
		return nil, fmt.Errorf("call %s: %w", path, err)
	}
	switch status := resp.StatusCode(); status {
	case fasthttp.StatusOK:
		return append([]byte(nil), resp.Body()...), nil
	case statusFault:
		var f wireFault
		if err := json.Unmarshal(resp.Body(), &f); err != nil {
			return nil, fmt.Errorf("call %s: refusal: %w", path, err)
		}
		return nil, fault.New(f.Code, "%s", f.Message)
	default:
		return nil, fmt.Errorf("call %s: status %d: %.200q", path, status, resp.Body())
	}
}

// counted makes an error of an answer of another length than the question.
func counted[A any](answers []A, want int, err error) ([]A, error) {
	if err == nil && len(answers) != want {
		err = fault.New(fault.Corrupt, "message between nodes: %d answers to %d questions", len(answers), want)
	}
	if err != nil {
		return nil, err
	}
	return answers, nil
}
