package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/trellisdb/trellis/api/wire"
)

// TestClientAddress asks over TCP who the server takes its client for.
func TestClientAddress(t *testing.T) {
	seen := make(chan netip.Addr, 1)
	look := func(req *wire.Request) (*wire.Reply, error) {
		seen <- req.Address()
		return wire.Management("seen"), nil
	}
	for _, tc := range []struct {
		trusted   string
		forwarded []string
		want      string
	}{
		{"", nil, "127.0.0.1"},
		{"", []string{"198.51.100.1"}, "127.0.0.1"},
		{"10.0.0.0/8", []string{"198.51.100.1"}, "127.0.0.1"},
		{"127.0.0.0/8", nil, "127.0.0.1"},
		{"127.0.0.0/8", []string{"198.51.100.1"}, "198.51.100.1"},
		{"127.0.0.0/8", []string{"203.0.113.5, 198.51.100.1, 127.0.0.9"}, "198.51.100.1"},
		{"127.0.0.0/8", []string{"evil, 198.51.100.1"}, "198.51.100.1"},
		{"127.0.0.0/8", []string{"evil"}, "127.0.0.1"},
		{"127.0.0.0/8", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
	} {
		ts := start(t, func(c *Config, p *Parts) {
			p.Management = look
			if tc.trusted != "" {
				c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(tc.trusted)}
			}
		})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- ts.Serve(ln) }()
		req, err := http.NewRequest("GET", fmt.Sprintf("http://%s/management/x", ln.Addr()), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		req.Header["X-Forwarded-For"] = tc.forwarded
		req.Header.Set(clientHeader, "192.0.2.200") // counts between nodes alone
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := <-seen; got.String() != tc.want {
			t.Errorf("trusting %q, forwarded for %q: %s, want %s", tc.trusted, tc.forwarded, got, tc.want)
		}
		_ = ln.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
