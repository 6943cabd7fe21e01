package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// far are two servers, of which here forwards everything to there.
type far struct {
	here, there *testServer
	client      *http.Client
	url         string
}

// forwarding starts two servers; data answers at the second one.
func forwarding(t *testing.T, change func(*Config), data wire.Handler) *far {
	t.Helper()
	f := &far{}
	f.there = start(t, func(c *Config, p *Parts) {
		change(c)
		p.Data = data
	})
	peers, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.there.ServePeers(peers) }()
	t.Cleanup(func() {
		if err := peers.Close(); err != nil {
			t.Error(err)
		}
		<-served // it ends with its listener
	})
	elsewhere := fault.New(fault.NotHere, "not on this node")
	f.here = start(t, func(c *Config, p *Parts) {
		change(c)
		p.Here = func(entity.AppID) error { return elsewhere }
		p.Elsewhere = func(err error) (string, bool) { return "other", fault.Is(err, fault.NotHere) }
		p.Dial = func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", peers.Addr().String())
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.here.Serve(wire.Linger(ln)) }()
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	f.url, f.client = "http://"+ln.Addr().String()+"/acme/shop/", &http.Client{Transport: transport}
	return f
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// TestBulkIsForwarded: an upload and a download of any length, with and without an
// announced length, pass through a node that has nothing of them.
func TestBulkIsForwarded(t *testing.T) {
	content := randomBytes(20 << 20) // more than any body may have that is held in memory
	f := forwarding(t, func(c *Config) {}, func(req *wire.Request) (*wire.Reply, error) {
		if req.Method() == "GET" {
			reply, err := req.Download(206, "image/jpeg", io.NopCloser(bytes.NewReader(content)), int64(len(content)))
			if err == nil {
				reply.Header("ETag", `"x"`)
			}
			return reply, err
		}
		up, err := req.Upload(wire.RawToo)
		if err != nil || up == nil {
			return nil, errors.Join(err, errors.New("no upload"))
		}
		defer up.Close()
		h := sha256.New()
		n, err := io.Copy(h, up)
		if err != nil {
			return nil, err
		}
		return wire.Management("there").Field("saw", fmt.Sprintf("%d %x", n, h.Sum(nil))), nil
	})
	for _, chunked := range []bool{false, true} {
		var body io.Reader = bytes.NewReader(content)
		if chunked {
			body = struct{ io.Reader }{body}
		}
		res, err := f.client.Post(f.url+"items/a", "image/jpeg", body)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		if want := fmt.Sprintf("%d %x", len(content), sha256.Sum256(content)); err != nil || res.StatusCode != 200 || !bytes.Contains(answer, []byte(want)) {
			t.Errorf("chunked %v: %v %d %.300s", chunked, err, res.StatusCode, answer)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, method := range []string{"GET", "HEAD", "GET"} {
		req, err := http.NewRequest(method, f.url+"assets/x/data", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := f.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 206 || res.ContentLength != int64(len(content)) || res.Header.Get("ETag") != `"x"` || method == "GET" && !bytes.Equal(got, content) {
			t.Errorf("%s: %v %d %v, %d bytes", method, err, res.StatusCode, res.Header, len(got))
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if used := f.here.limits.Downloads.Used() + f.there.limits.Downloads.Used(); used != 0 {
		t.Errorf("%d bytes of downloads are never given back", used)
	}
}

// TestSlowBulkTakesItsTime: what a body as a whole must not take, each piece of an upload
// may, also on its way through another node; a client that sends nothing is not waited for.
func TestSlowBulkTakesItsTime(t *testing.T) {
	const pieces, pause = 6, 300 * time.Millisecond
	var got atomic.Int64
	f := forwarding(t, func(c *Config) { c.BodyTimeout, c.RequestTimeout = 2*pause, 2*pause }, func(req *wire.Request) (*wire.Reply, error) {
		up, err := req.Upload(wire.RawToo)
		if err != nil || up == nil {
			return nil, errors.Join(err, errors.New("no upload"))
		}
		defer up.Close()
		n, err := io.Copy(io.Discard, up)
		got.Store(n)
		if err != nil {
			return nil, err
		}
		req.Renew()
		return wire.Management("there"), req.Context().Err()
	})
	for _, stalls := range []bool{false, true} {
		r, w := io.Pipe()
		go func() {
			for i := range pieces {
				if _, err := w.Write(randomBytes(80 << 10)); err != nil {
					return
				}
				if stalls && i > 0 {
					return
				}
				time.Sleep(pause) // a slow client
			}
			_ = w.Close() // never fails
		}()
		begun := time.Now()
		res, err := f.client.Post(f.url+"items/a", "image/jpeg", r)
		switch {
		case err == nil:
			_ = res.Body.Close() // only the status matters
		case !stalls:
			t.Fatal(err)
		}
		if !stalls && (res.StatusCode != 200 || got.Load() != pieces*80<<10) {
			t.Errorf("%d after %s, %d bytes", res.StatusCode, time.Since(begun), got.Load())
		}
		if stalls && err == nil && res.StatusCode == 200 {
			t.Errorf("a body that does not end was taken")
		}
		_ = r.Close() // never fails
	}
}
