package api

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/wire"
)

// TestRefusedWhileSending sends more than the server will read, and reads the
// answer only when it has sent everything it can: a reset would take it away.
func TestRefusedWhileSending(t *testing.T) {
	ts := start(t, func(c *Config, _ *Parts) { c.BodyBytes = 1 << 20 })
	pair := httptest.NewUnstartedServer(nil)
	pair.StartTLS() // for its certificate
	cert := pair.TLS.Certificates[0]
	pair.Close()
	long := strings.Repeat("x", 4<<20)
	requests := map[string]struct {
		text string
		code string
	}{
		"long path":   {"GET /acme/shop/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n", "uri_too_long"},
		"long header": {"GET /acme/shop/x HTTP/1.1\r\nHost: x\r\nX: " + long + "\r\n\r\n", "uri_too_long"},
		"long body":   {fmt.Sprintf("POST /acme/shop/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(long), long), "request_too_large"},
		"two lengths": {"POST /acme/shop/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + long, "bad_request"},
		"preflight":   {fmt.Sprintf("OPTIONS /acme/shop/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(long), long), ""},
	}
	for _, secure := range []bool{false, true} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := wire.Linger(ln)
		if secure {
			served = tls.NewListener(served, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		}
		done := make(chan error, 1)
		go func() { done <- ts.Serve(served) }()
		for name, request := range requests {
			var conn net.Conn
			if conn, err = net.Dial("tcp", ln.Addr().String()); err != nil {
				t.Fatal(err)
			}
			if secure {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test's own server
			}
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := conn.Write([]byte(request.text)); err != nil {
				t.Errorf("TLS %v, %s: %v", secure, name, err)
			}
			a := read(t, bufio.NewReader(conn), false)
			if code, _ := a.fields["error"].(string); code != request.code {
				t.Errorf("TLS %v, %s: %d %.200s", secure, name, a.status, a.body)
			}
			_ = conn.Close()
		}
		_ = ln.Close()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
}
