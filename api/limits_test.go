package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestErrors(t *testing.T) {
	ts := start(t, func(c *Config, _ *Parts) { c.RequestTimeout = 50 * time.Millisecond })
	a := ts.send(t, "GET", "/acme/shop/busy", "", "")
	a.want(t, "busy", 503, "overloaded")
	if a.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	a = ts.send(t, "GET", "/acme/shop/slow", "", "")
	a.want(t, "slow", 503, "timeout")
	for _, target := range []string{"/acme/shop/broken", "/acme/shop/panic"} {
		a = ts.send(t, "GET", target+"?access_token=hushhush", "", "")
		a.want(t, target, 500, "uncaught")
		id, _ := a.fields["error_id"].(string)
		if strings.Contains(a.body, "secret") || strings.Contains(a.body, "of the test") || strings.Contains(a.body, ".go") {
			t.Errorf("%s shows too much: %s", target, a.body)
		}
		if n := strings.Count(ts.logs.String(), id); id == "" || n != 1 {
			t.Errorf("%s: error_id %q stands %d times in the log", target, id, n)
		}
	}
	if strings.Contains(ts.logs.String(), "hushhush") {
		t.Error("a token is in the log")
	}
	if s := ts.Stats(); s.Panics != 1 || s.Replies[5] != 4 {
		t.Errorf("stats %+v", s)
	}
}

func TestFraming(t *testing.T) {
	ts := start(t, nil)
	const head = "POST /acme/shop/items HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for name, request := range map[string]string{
		"both lengths":          head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"both, other order":     head + "Transfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
		"both, expecting":       head + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
		"two lengths":           head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n[1,2]",
		"negative length":       head + "Content-Length: -5\r\n\r\n",
		"length with a sign":    head + "Content-Length: +5\r\n\r\n[1,2]",
		"unknown encoding":      head + "Transfer-Encoding: gzip, chunked\r\n\r\n",
		"two encodings":         head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"bad chunk":             head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"chunk with a sign":     head + "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
		"chunk like C":          head + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
		"chunk after a space":   head + "Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n",
		"chunk too long":        head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{}}0\r\n\r\n",
		"identity":              head + "Transfer-Encoding: identity\r\n\r\n",
		"identity and length":   head + "transfer-encoding: identity\r\nContent-Length: 5\r\n\r\n[1,2]",
		"folded encoding":       head + " Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n[1,2]",
		"folded length":         head + "Content-Length:\r\n\t5\r\n\r\n[1,2]",
		"bare line feed header": head + "X-A: a\nb\r\n\r\n",
		"space before colon":    head + "Content-Length : 5\r\n\r\n[1,2]",
		"two hosts":             head + "Host: y\r\n\r\n",
		"rubbish":               "rubbish\r\n\r\n",
		"no version":            "GET /acme/shop/items\r\n\r\n",
	} {
		conn := ts.dial(t)
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.WriteString(conn, request+"GET /acme/shop/smuggled HTTP/1.1\r\nHost: x\r\n\r\n") // may be cut short
		}()
		r := bufio.NewReader(conn)
		a := read(t, r, false)
		if a.status == 100 {
			a = read(t, r, false)
		}
		if a.status < 400 || a.status > 499 || a.fields["error"] == nil {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if rest, _ := io.ReadAll(r); strings.Contains(string(rest), "HTTP/1.1") {
			t.Errorf("%s: a second response: %s", name, rest)
		}
	}
	// A preflight has no use for a body, and leaves none behind.
	for _, body := range []string{"Content-Length: 9000\r\n\r\n" + strings.Repeat("\r\n", 4479) + "GET /acme/shop/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"} {
		conn := ts.dial(t)
		if _, err := io.WriteString(conn, "OPTIONS /acme/shop/items HTTP/1.1\r\nHost: x\r\n"+body); err != nil {
			t.Fatal(err)
		}
		if all, _ := io.ReadAll(conn); strings.Count(string(all), "HTTP/1.1 ") != 1 {
			t.Errorf("preflight with a body: %s", all)
		}
	}
	// What is framed well stays on its connection, also when nobody reads it.
	conn := ts.dial(t)
	r := bufio.NewReader(conn)
	for range 3 {
		go func() {
			_, _ = io.WriteString(conn, "GET /acme/shop/busy HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n"+strings.Repeat("GET /x HTTP/1.1\r\n\r\n ", 1000)+
				"POST /acme/shop/items HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n0\r\n\r\n")
		}()
		read(t, r, false).want(t, "unread body", 503, "overloaded")
		a := read(t, r, false)
		a.want(t, "after an unread body", 200, "")
		if a.fields["body"].(map[string]any)["a"] != 1.0 {
			t.Errorf("chunked body: %s", a.body)
		}
	}
}

func TestLimits(t *testing.T) {
	ts := start(t, func(c *Config, _ *Parts) { c.BodyBytes = 100 << 10 })
	ts.send(t, "GET", "/acme/shop/"+strings.Repeat("x", 1<<20), "", "").want(t, "1 MB URL", 414, "uri_too_long")
	ts.send(t, "GET", "/acme/shop/"+strings.Repeat("x", 13<<10), "", "").want(t, "13 KB URL", 414, "uri_too_long")
	ts.send(t, "GET", "/acme/shop/x", "X-A: "+strings.Repeat("x", 20<<10)+"\r\n", "").want(t, "20 KB header", 414, "uri_too_long")
	big := `"` + strings.Repeat("x", 100<<10) + `"`
	ts.send(t, "POST", "/acme/shop/x", "", big).want(t, "body over the limit", 413, "request_too_large")
	ts.send(t, "POST", "/acme/shop/x", "", "["+big[:(100<<10)-4]+`"]`).want(t, "body at the limit", 200, "")
	ts.raw(t, fmt.Sprintf("POST /acme/shop/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(big), big)).
		want(t, "chunked over the limit", 413, "request_too_large")
	ts.raw(t, "POST /acme/shop/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n").
		want(t, "expecting over the limit", 413, "request_too_large")
	if used := ts.Stats().BodyBytes; used != 0 {
		t.Errorf("%d bytes of bodies are never given back", used)
	}
}

// TestHugeBody sends 100 MB, announced and chunked: the client gets its answer
// although nobody keeps what it sends.
func TestHugeBody(t *testing.T) {
	ts := start(t, nil)
	chunk := strings.Repeat("x", 1<<20)
	for _, chunked := range []bool{false, true} {
		conn := ts.dial(t)
		go func() {
			header := "Content-Length: 104857600\r\n\r\n"
			if chunked {
				header = "Transfer-Encoding: chunked\r\n\r\n"
			}
			w := bufio.NewWriter(conn)
			_, _ = w.WriteString("POST /acme/shop/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + header)
			for range 100 {
				if chunked {
					_, _ = w.WriteString("100000\r\n")
					_, _ = w.WriteString(chunk)
					_, _ = w.WriteString("\r\n")
				} else {
					_, _ = w.WriteString(chunk)
				}
			}
			if chunked {
				_, _ = w.WriteString("0\r\n\r\n")
			}
			_ = w.Flush() // the test looks at the answer
		}()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		read(t, bufio.NewReader(conn), false).want(t, "100 MB", 413, "request_too_large")
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 {
			t.Errorf("chunked %v: the heap grew by %d bytes", chunked, grown)
		}
	}
}

func TestGzip(t *testing.T) {
	ts := start(t, func(c *Config, _ *Parts) { c.BodyBytes = 1 << 20 })
	zip := func(s string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := io.WriteString(w, s); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for range 3 { // also with a reader used before
		a := ts.send(t, "POST", "/acme/shop/x", "Content-Encoding: gzip\r\n", zip(`{"a":"zipped"}`))
		if a.status != 200 || a.fields["body"].(map[string]any)["a"] != "zipped" {
			t.Errorf("%d %s", a.status, a.body)
		}
		ts.send(t, "POST", "/acme/shop/x", "Content-Encoding: gzip\r\n", zip(strings.Repeat(" ", 256<<20>>3))).want(t, "bomb", 413, "request_too_large")
		ts.send(t, "POST", "/acme/shop/x", "Content-Encoding: gzip\r\n", "not gzip at all").want(t, "rubbish", 400, "bad_request")
	}
	ts.send(t, "POST", "/acme/shop/x", "Content-Encoding: br\r\n", "x").want(t, "brotli", 415, "not_supported")
	a := ts.send(t, "GET", "/acme/shop/big", "Accept-Encoding: gzip, br\r\n", "")
	if a.header.Get("Content-Encoding") != "gzip" || len(a.body) > 8<<10 {
		t.Fatalf("not compressed: %d bytes", len(a.body))
	}
	z, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || !json.Valid(text) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if a := ts.send(t, "GET", "/acme/shop/big", "", ""); a.header.Get("Content-Encoding") != "" || !json.Valid([]byte(a.body)) {
		t.Error("compressed without being asked")
	}
}

// TestAnnouncedBodies keeps 300 connections that announce 1 MB and send one
// byte: they may not cost what they announce.
func TestAnnouncedBodies(t *testing.T) {
	ts := start(t, nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 300 {
		conn := ts.dial(t)
		if _, err := io.WriteString(conn, "POST /acme/shop/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
	}
	ts.send(t, "GET", "/acme/shop/x", "", "").want(t, "beside them", 200, "")
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 50<<20 {
		t.Errorf("300 announced bodies cost %d bytes", grown)
	}
}

func TestBodyBudget(t *testing.T) {
	ts := start(t, func(c *Config, _ *Parts) { c.BodyBytes, c.BodiesBytes = 1<<20, 1<<20+8<<10 })
	conn := ts.dial(t)
	if _, err := io.WriteString(conn, "POST /acme/shop/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", 900_000)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return ts.Stats().BodyBytes > 900_000 })
	a := ts.send(t, "POST", "/acme/shop/x", "", `["`+strings.Repeat("x", 500_000)+`"]`)
	a.want(t, "while another body is held", 503, "overloaded")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return ts.Stats().BodyBytes == 0 })
	ts.send(t, "POST", "/acme/shop/x", "", `["`+strings.Repeat("x", 500_000)+`"]`).want(t, "afterwards", 200, "")
}

// eventually waits for a fact that another goroutine brings about.
func eventually(t *testing.T, fact func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for !fact() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("did not come true in time")
		}
	}
}

func TestConnectionLimit(t *testing.T) {
	ts := start(t, func(c *Config, _ *Parts) { c.Connections = 3 })
	for range 3 {
		conn := ts.dial(t)
		if _, err := io.WriteString(conn, "GET /acme/shop/x HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		read(t, bufio.NewReader(conn), false).want(t, "within the limit", 200, "")
	}
	conn := ts.dial(t)
	a := read(t, bufio.NewReader(conn), false)
	a.want(t, "beyond the limit", 503, "overloaded")
	if a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("no page can read why it was turned away")
	}
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestSlowClients(t *testing.T) {
	ts := start(t, func(c *Config, _ *Parts) {
		c.HeadTimeout, c.BodyTimeout = 50*time.Millisecond, 100*time.Millisecond
	})
	ts.raw(t, "GET /acme/shop/x HT").want(t, "head that never ends", 400, "bad_request")
	ts.raw(t, "POST /acme/shop/x HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n{").want(t, "body that never ends", 400, "bad_request")
	ts.raw(t, "POST /acme/shop/x HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n{"+strings.Repeat(" ", 10_000)).want(t, "longer body that never ends", 400, "bad_request")
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	waiting, release = make(chan struct{}), make(chan struct{})
	ts := start(t, nil)
	conn := ts.dial(t)
	if _, err := io.WriteString(conn, "GET /acme/shop/wait HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-waiting
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		down <- ts.Shutdown(ctx)
	}()
	eventually(t, func() bool {
		late, err := ts.ln.Dial()
		return err != nil || late.Close() != nil
	})
	close(release)
	a := read(t, bufio.NewReader(conn), false)
	a.want(t, "request during shutdown", 200, "")
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no body":        func(c *Config) { c.BodyBytes = 0 },
		"small budget":   func(c *Config) { c.BodiesBytes = 1 },
		"no timeout":     func(c *Config) { c.HeadTimeout = 0 },
		"no connections": func(c *Config) { c.Connections = 0 },
		"slash":          func(c *Config) { c.BaseURL = "http://x/" },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if _, err := New(cfg, stubParts(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := New(DefaultConfig(), Parts{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no parts: taken")
	}
}
