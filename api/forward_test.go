package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// elsewhere is what a node says of an application that only another node has.
var elsewhere = fault.New(fault.NotHere, "not on this node")

// A request for what another node has is answered by that one, whole: method,
// path, query, headers and body go there, status, headers and body come back.
// What that one does not have either is not sent on once more.
func TestRequestsAreForwardedOnce(t *testing.T) {
	has := true
	there := start(t, func(_ *Config, p *Parts) {
		p.Here = func(entity.AppID) error {
			if !has {
				return elsewhere
			}
			return nil
		}
		p.Elsewhere = func(error) (string, bool) { return "a third", true }
		p.Dial = func(context.Context, string) (net.Conn, error) {
			t.Error("a forwarded request is forwarded again")
			return nil, errors.New("no")
		}
		p.Data = func(req *wire.Request) (*wire.Reply, error) {
			body, err := req.Body()
			if err != nil {
				return nil, err
			}
			return wire.Management("there").Field("saw", fmt.Sprint(req.Method(), " ", req.Segments(), " ", req.Query("q"), " ", req.Header("X-Test"), " ", string(body))), nil
		}
	})
	peers, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- there.ServePeers(peers) }()
	t.Cleanup(func() {
		if err := peers.Close(); err != nil {
			t.Error(err)
		}
		<-served // it ends with its listener
	})
	here := start(t, func(_ *Config, p *Parts) {
		p.Here = func(entity.AppID) error { return elsewhere }
		p.Elsewhere = func(err error) (string, bool) { return "other", fault.Is(err, fault.NotHere) }
		p.Dial = func(ctx context.Context, node string) (net.Conn, error) {
			if node != "other" {
				t.Errorf("%s is dialled", node)
			}
			return new(net.Dialer).DialContext(ctx, "tcp", peers.Addr().String())
		}
		p.Data = func(*wire.Request) (*wire.Reply, error) {
			t.Error("answered here")
			return nil, elsewhere
		}
	})
	client := &http.Client{Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return here.ln.Dial() },
		DisableKeepAlives: true,
	}}
	ask := func(method, body string) (int, string) {
		req, err := http.NewRequest(method, "http://localhost/acme/shop/items/milk?q=1", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Test", "yes")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(answer)
	}
	for _, tc := range []struct{ method, body string }{{"GET", ""}, {"POST", `{"a":1}`}, {"PUT", strings.Repeat("x", 1<<20)}, {"DELETE", ""}} {
		want := fmt.Sprint(tc.method, " [items milk] 1 yes ", tc.body)
		if status, answer := ask(tc.method, tc.body); status != 200 || !strings.Contains(answer, strings.ReplaceAll(want, `"`, `\"`)) {
			t.Errorf("%s: %d %.300s", tc.method, status, answer)
		}
	}
	has = false
	if status, answer := ask("GET", ""); status != http.StatusServiceUnavailable || !strings.Contains(answer, "not_here") {
		t.Errorf("what no node has: %d %s", status, answer)
	}
}
