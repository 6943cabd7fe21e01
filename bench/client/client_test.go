package client

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve starts a server of net/http and counts its connections.
func serve(t *testing.T, h http.HandlerFunc) (addr string, opened *atomic.Int64) {
	t.Helper()
	opened = &atomic.Int64{}
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), opened
}

func open(t *testing.T, addr string) *Conn {
	t.Helper()
	c := NewConn(addr, 5*time.Second)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestRequestsShareAConnection(t *testing.T) {
	addr, opened := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Header.Get("Authorization") != "Bearer tok" {
			w.WriteHeader(401)
		}
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, body)
	})
	c := open(t, addr)
	for i := range 50 {
		body := strings.Repeat("x", i*1000)
		status, answer, err := c.Do(AppendRequest(nil, "POST", "/p?q=1", addr, "tok", []byte(body)))
		if err != nil || status != 200 || string(answer) != "POST /p?q=1 "+body {
			t.Fatalf("request %d: %d %.60q %v", i, status, answer, err)
		}
	}
	if status, _, err := c.Do(AppendRequest(nil, "GET", "/", addr, "", nil)); status != 401 || err != nil {
		t.Errorf("without a token: %d %v", status, err)
	}
	if opened.Load() != 1 {
		t.Errorf("%d connections were opened, want 1", opened.Load())
	}
}

func TestChunkedAnswersAndAnswersWithoutBody(t *testing.T) {
	addr, opened := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/empty" {
			w.WriteHeader(204)
			return
		}
		for i := range 5 {
			_, _ = fmt.Fprintf(w, "part %d %s;", i, strings.Repeat("y", 3000*i))
			w.(http.Flusher).Flush()
		}
	})
	c := open(t, addr)
	for range 3 {
		status, answer, err := c.Do(AppendRequest(nil, "GET", "/chunks", addr, "", nil))
		if err != nil || status != 200 || strings.Count(string(answer), "part") != 5 || len(answer) != 5*8+3000*10 {
			t.Fatalf("%d, %d bytes, %v", status, len(answer), err)
		}
		if status, answer, err := c.Do(AppendRequest(nil, "GET", "/empty", addr, "", nil)); err != nil || status != 204 || len(answer) != 0 {
			t.Fatalf("%d %q %v", status, answer, err)
		}
		if status, answer, err := c.Do(AppendRequest(nil, "HEAD", "/chunks", addr, "", nil)); err != nil || status != 200 || len(answer) != 0 {
			t.Fatalf("%d %q %v", status, answer, err)
		}
	}
	if opened.Load() != 1 {
		t.Errorf("%d connections were opened, want 1", opened.Load())
	}
}

func TestHeadersAreSentAndWatched(t *testing.T) {
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if k := r.Header.Get("Idempotency-Key"); k != "" {
			w.Header().Set("X-Trellis-Age", k)
		}
	})
	c, target := open(t, addr), Target{Addr: "elsewhere:1"}.At(addr)
	c.Watch("X-Trellis-Age")
	for _, want := range []string{"k1", ""} {
		var headers []string
		if want != "" {
			headers = []string{"Idempotency-Key: " + want, "X-Other: y"}
		}
		if status, _, err := c.Do(target.Request("POST", "/", []byte("{}"), headers...)); err != nil || status != 200 || c.Watched() != want {
			t.Errorf("%d %v, watched %q, want %q", status, err, c.Watched(), want)
		}
	}
}

func TestConnectionClosedByTheServerIsOpenedAgain(t *testing.T) {
	addr, opened := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	c := open(t, addr)
	for range 3 {
		if status, _, err := c.Do(AppendRequest(nil, "GET", "/", addr, "", nil)); err != nil || status != 200 {
			t.Fatalf("%d %v", status, err)
		}
	}
	if opened.Load() != 3 {
		t.Errorf("%d connections were opened, want 3", opened.Load())
	}
}

// raw answers each connection's first request with fixed bytes and closes it.
func raw(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(nc)); err == nil {
				_, _ = io.WriteString(nc, answer)
			}
			_ = nc.Close()
		}
	}()
	return l.Addr().String()
}

func TestBrokenAnswersAreErrorsAndNotTakenForUnsent(t *testing.T) {
	for _, answer := range []string{
		"",
		"garbage\r\n\r\n",
		"HTTP/1.1 abc OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\nno length",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n",
	} {
		c := open(t, raw(t, answer))
		status, _, err := c.Do(AppendRequest(nil, "GET", "/", "h", "", nil))
		if err == nil || errors.Is(err, ErrNotSent) {
			t.Errorf("%.60q: status %d, error %v", answer, status, err)
		}
	}
}

func TestUnreachableServerIsNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, addr).Do([]byte("GET / HTTP/1.1\r\n\r\n")); !errors.Is(err, ErrNotSent) {
		t.Errorf("error %v, want %v", err, ErrNotSent)
	}
}

func TestSlowAnswerTimesOut(t *testing.T) {
	release := make(chan struct{})
	addr, _ := serve(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c := NewConn(addr, 50*time.Millisecond)
	var timeout net.Error
	if _, _, err := c.Do(AppendRequest(nil, "GET", "/", addr, "", nil)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("error %v, want a time-out", err)
	}
}

func TestCallTellsStatusAndCode(t *testing.T) {
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/o/a/taken":
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"error":"duplicate_unique_property_exists","error_description":"taken"}`)
		case "/o/a/broken":
			w.WriteHeader(502)
			_, _ = io.WriteString(w, "<html>")
		default:
			_, _ = io.WriteString(w, "not json")
		}
	})
	c, target := open(t, addr), Target{Addr: addr, Org: "o", App: "a"}
	err := target.Call(c, "POST", target.Path("taken"), map[string]int{"n": 1}, nil)
	if StatusOf(err) != 400 || CodeOf(err) != "duplicate_unique_property_exists" {
		t.Errorf("%v", err)
	}
	if err := target.Call(c, "GET", target.Path("broken"), nil, nil); StatusOf(err) != 502 || CodeOf(err) != "" {
		t.Errorf("%v", err)
	}
	var out struct{}
	if err := target.Call(c, "GET", target.Path("x"), nil, &out); err == nil || StatusOf(err) != 0 {
		t.Errorf("%v", err)
	}
}

func TestWalkStopsAtACursorThatDoesNotMove(t *testing.T) {
	pages := 0
	addr, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		pages++
		_, _ = io.WriteString(w, `{"entities":[{}],"cursor":"same/+"}`)
		if got := r.URL.Query().Get("cursor"); pages > 1 && got != "same/+" {
			t.Errorf("cursor %q was sent", got)
		}
	})
	target := Target{Addr: addr, Org: "o", App: "a"}
	err := target.Walk(open(t, addr), "items", 10, func(json.RawMessage) error { return nil })
	if err == nil || pages != 2 {
		t.Errorf("error %v after %d pages", err, pages)
	}
}

func TestPathsAreEscaped(t *testing.T) {
	if got, want := (Target{Org: "a b", App: "c"}).Path("x/y", "z?"), "/a%20b/c/x%2Fy/z%3F"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
