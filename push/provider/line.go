package provider

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxTries bounds how often a request is begun that a connection did not take.
const maxTries = 6

// line is a connection by HTTP/2 that is made anew when it is gone. All requests share
// it: those beyond the limit of the other side wait for their turn, and only one of the
// first ones dials. (http.Transport dials for each request beyond the limit, and for
// each of the first ones.)
type line struct {
	transport *http.Transport
	turn      chan struct{} // of size 1; who has put something in dials
	mu        struct {
		sync.Mutex
		current *http.ClientConn
		old     []*http.ClientConn // that finish what they have begun
	}
}

func newLine(t *http.Transport) *line {
	return &line{transport: t, turn: make(chan struct{}, 1)}
}

// roundTrip sends a request, and again over another connection if the other side has
// said that it has not looked at it.
func (l *line) roundTrip(req *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		conn, err := l.connection(req.Context(), req.URL)
		if err != nil {
			return nil, err
		}
		resp, err := conn.RoundTrip(req)
		if err == nil {
			return resp, nil
		}
		refused := notProcessed(err)
		if !refused.stream {
			l.drop(conn)
		}
		if !refused.any || try == maxTries || req.Context().Err() != nil {
			return nil, err
		}
		if refused.stream {
			if err := pause(req.Context(), time.Duration(5<<try)*time.Millisecond); err != nil {
				return nil, err
			}
		}
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
}

// refusal tells what of a request the other side has not looked at.
type refusal struct {
	any    bool
	stream bool // this one only; the connection is as good as before
}

// notProcessed reads the errors of net/http that say so; they have no names. One that
// it does not know is an error like any other.
func notProcessed(err error) refusal {
	text := err.Error()
	switch {
	case strings.Contains(text, "REFUSED_STREAM"):
		return refusal{any: true, stream: true}
	case strings.Contains(text, "PROTOCOL_ERROR; received from peer"):
		// Mostly more requests at a time than are taken (RFC 9113, 5.1.2), before net/http has
		// learned how many. It gives the connection up.
		return refusal{any: true}
	case strings.Contains(text, "graceful shutdown GOAWAY"), strings.Contains(text, "client conn not usable"),
		strings.Contains(text, "client conn could not be established"):
		return refusal{any: true}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "stream error"):
		return refusal{stream: true} // it says nothing about the connection
	}
	return refusal{}
}

func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connection returns the current one, or makes it.
func (l *line) connection(ctx context.Context, to *url.URL) (*http.ClientConn, error) {
	if conn := l.current(); conn != nil {
		return conn, nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if conn := l.current(); conn != nil { // whoever had the turn before has made one
		return conn, nil
	}
	port := to.Port()
	if port == "" {
		port = "443"
	}
	conn, err := l.transport.NewClientConn(ctx, "https", net.JoinHostPort(to.Hostname(), port))
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.current = conn
	return conn, nil
}

func (l *line) current() *http.ClientConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.current != nil && l.mu.current.Err() != nil {
		l.mu.current = nil
	}
	return l.mu.current
}

// drop lets a connection finish what it has begun, and begin nothing.
func (l *line) drop(conn *http.ClientConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.current != conn {
		return
	}
	l.mu.current = nil
	kept := l.mu.old[:0]
	for _, old := range append(l.mu.old, conn) {
		switch {
		case old.Err() != nil:
		case old.InFlight() == 0:
			_ = old.Close() // nothing is lost
		default:
			kept = append(kept, old)
		}
	}
	l.mu.old = kept
}

// dropCurrent makes the next request dial.
func (l *line) dropCurrent() {
	if conn := l.current(); conn != nil {
		l.drop(conn)
	}
}

// close closes all connections; nothing runs over them any more.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range append(l.mu.old, l.mu.current) {
		if conn != nil {
			_ = conn.Close() // nothing is lost
		}
	}
	l.mu.old, l.mu.current = nil, nil
}
