package wire

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
)

// pausing yields pieces with a pause before each, then an error.
type pausing struct {
	pieces int
	pause  time.Duration
	end    error
	closed atomic.Bool
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.pieces == 0 {
		return 0, p.end
	}
	p.pieces--
	time.Sleep(p.pause)
	clear(b)
	return len(b), nil
}

func (p *pausing) Close() error { p.closed.Store(true); return nil }

// TestStreamOutlastsTheWriteTimeout: the time-out is for a piece, not for all of
// them; a client that stops taking pieces is given up, and a body that fails
// shows. The body is closed each time.
func TestStreamOutlastsTheWriteTimeout(t *testing.T) {
	const timeout = 200 * time.Millisecond
	for name, tc := range map[string]struct {
		body  *pausing
		reads bool
		fails bool
	}{
		"long":    {&pausing{pieces: 8, pause: timeout / 4, end: io.EOF}, true, false},
		"failing": {&pausing{pieces: 2, end: errors.New("broken")}, true, true},
		"stalled": {&pausing{pieces: 1000, end: io.EOF}, false, true},
	} {
		ln := fasthttputil.NewInmemoryListener()
		server := &fasthttp.Server{WriteTimeout: timeout, Handler: func(fh *fasthttp.RequestCtx) {
			r, err := NewRequest(t.Context(), fh, &Limits{Timeout: time.Second, PieceWrite: timeout, Reservation: NewBudget(1 << 20)})
			if err != nil {
				t.Error(err)
			}
			r.Finish(Stream("application/octet-stream", tc.body), nil)
		}}
		served := make(chan error, 1)
		go func() { served <- server.Serve(ln) }()
		conn, err := ln.Dial()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if tc.reads {
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if (err != nil) != tc.fails || n == 0 {
				t.Errorf("%s: %d bytes, %v", name, n, err)
			}
		}
		for !tc.body.closed.Load() { // the test's own time-out ends it
			time.Sleep(time.Millisecond)
		}
		if err := errors.Join(conn.Close(), ln.Close(), <-served); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
