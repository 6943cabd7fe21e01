package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// MaxAnswerBytes bounds what is read of an answer; MaxBatchAnswerBytes that to a batch.
const (
	MaxAnswerBytes      = 64 << 10
	MaxBatchAnswerBytes = 1 << 20
)

// perConnection bounds the requests under way, by the number of connections. A request
// that finds all connections by HTTP/2 at their limit, of 100 mostly, is never woken by
// http.Transport when one of them has room again.
const perConnection = 64

// ClientOptions says how a Client differs from a plain one.
type ClientOptions struct {
	Guarded     bool             // addresses are clients': refuse private ones
	HTTP2       bool             // to one host, by nothing but HTTP/2, on one connection for as long as it lasts
	Certificate *tls.Certificate // of the client
	Connections int              // to a host at a time, at least 1; 64 times as many requests are under way at most
}

// Client speaks HTTPS to a service: no proxies, no redirections, bounded answers. It
// is safe for concurrent use.
type Client struct {
	transport *http.Transport
	line      *line         // nil: the transport's own pool
	slots     chan struct{} // who has put something in has a request under way
	timeout   time.Duration
}

// NewClient makes a client. The caller ends it with Close.
func NewClient(cfg Config, opt ClientOptions) *Client {
	dialer := &net.Dialer{Timeout: cfg.Timeout}
	if opt.Guarded && !cfg.AllowPrivate {
		dialer.Control = guard
	}
	tlsConfig := &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12}
	if opt.Certificate != nil {
		tlsConfig.Certificates = []tls.Certificate{*opt.Certificate}
	}
	t := &http.Transport{
		Proxy:                  nil, // an environment variable must not send credentials elsewhere
		DialContext:            dialer.DialContext,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    cfg.Timeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxConnsPerHost:        opt.Connections,
		MaxIdleConnsPerHost:    opt.Connections,
		MaxIdleConns:           4 * opt.Connections,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 32 << 10,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:             cfg.Timeout, // a connection on which nothing comes is asked,
			PingTimeout:                 cfg.Timeout, // and given up
			StrictMaxConcurrentRequests: opt.HTTP2,
		},
	}
	c := &Client{transport: t, timeout: cfg.Timeout, slots: make(chan struct{}, perConnection*opt.Connections)}
	if opt.HTTP2 {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP2(true)
		t.IdleConnTimeout = time.Hour
		c.line = newLine(t)
	}
	return c
}

// Close closes the connections. No request may be under way.
func (c *Client) Close() {
	if c.line != nil {
		c.line.close()
	}
	c.transport.CloseIdleConnections()
}

// Reconnect makes the next request begin another connection. Those under way end on
// the one they are on. It is for clients of HTTP/2.
func (c *Client) Reconnect() {
	if c.line != nil {
		c.line.dropCurrent()
	}
}

func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	if c.line != nil {
		return c.line.roundTrip(req)
	}
	// The bare transport follows no redirections: an answer of that kind is an answer.
	return c.transport.RoundTrip(req)
}

// Answer is what a service said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // up to the limit of the request
}

// Request is what a service is asked; by POST.
type Request struct {
	URL    string
	Header http.Header // the client may add to it
	Body   []byte
	Limit  int // of the answer's body in bytes; 0: MaxAnswerBytes
}

// Post asks, and reads the answer to its end or limit. NetResult tells what an error
// comes to.
func (c *Client) Post(ctx context.Context, r Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return Answer{}, errors.New("the request cannot be made")
	}
	if r.Header != nil {
		req.Header = r.Header
	}
	if c.line == nil {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		}
	}
	resp, err := c.roundTrip(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	limit := r.Limit
	if limit == 0 {
		limit = MaxAnswerBytes
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)))
	if err != nil {
		return Answer{}, fmt.Errorf("read the answer: %w", err)
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// NetResult is what an error of Client.Post comes to, where ctx is what Post was
// given: it tells whether the caller has left, or closed the sender.
func NetResult(ctx context.Context, err error) Result {
	var netErr net.Error
	switch {
	case errors.Is(context.Cause(ctx), errClosed):
		return Again(TokenLevel, CodeClosed, "the notifier was changed or the node is stopping")
	case errors.Is(ctx.Err(), context.Canceled):
		return Again(TokenLevel, CodeCanceled, "the delivery was interrupted")
	case errors.Is(err, errForbidden):
		return Fail(CodeForbidden, errForbidden.Error())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return Again(NotifierLevel, CodeTimeout, "the service did not answer in time")
	}
	return Again(NotifierLevel, CodeUnreachable, reason(err))
}

// reason names the kind of a failed exchange. The text of an error may hold a URL, and
// that a token.
func reason(err error) string {
	var (
		dns       *net.DNSError
		operation *net.OpError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		in        *url.Error
	)
	if errors.As(err, &in) {
		err = in.Err
	}
	switch {
	case errors.As(err, &dns):
		return "the name of the service cannot be resolved"
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid):
		return "the certificate of the service is not trusted"
	case errors.As(err, &operation) && operation.Op == "dial":
		return "the service cannot be connected to"
	case strings.Contains(err.Error(), "tls: "):
		return "no secure connection to the service comes about"
	}
	return "the connection to the service broke"
}
