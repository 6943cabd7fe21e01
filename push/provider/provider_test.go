package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPublic lists addresses that may and may not be reached.
func TestPublic(t *testing.T) {
	for _, text := range []string{
		"127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
		"192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1",
		"64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001::1", "2001:db8::1", "100::1", "3fff::1",
	} {
		if public(netip.MustParseAddr(text)) {
			t.Errorf("%s is public", text)
		}
		if err := guard("tcp", netip.AddrPortFrom(netip.MustParseAddr(text), 443).String(), nil); !errors.Is(err, errForbidden) {
			t.Errorf("%s may be dialled: %v", text, err)
		}
	}
	for _, text := range []string{"8.8.8.8", "17.57.144.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "2a00:1450:4001::1", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"} {
		if !public(netip.MustParseAddr(text)) {
			t.Errorf("%s is not public", text)
		}
	}
	if guard("tcp", "nonsense", nil) == nil {
		t.Error("an address that cannot be read may be dialled")
	}
}

// serve starts a server with TLS, and a client that trusts it.
func serve(t *testing.T, h http.HandlerFunc, opt ClientOptions) (string, *Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	cfg := DefaultConfig()
	cfg.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	cfg.AllowPrivate = true
	if opt.Connections == 0 {
		opt.Connections = 2
	}
	c := NewClient(cfg, opt)
	t.Cleanup(c.Close)
	return s.URL, c
}

func TestClientFollowsNoRedirection(t *testing.T) {
	var asked atomic.Int32
	url, c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
	}, ClientOptions{Guarded: true})
	a, err := c.Post(t.Context(), Request{URL: url, Body: []byte("x")})
	if err != nil || a.Status != http.StatusTemporaryRedirect || asked.Load() != 1 {
		t.Errorf("it answers %d, %v, after %d requests", a.Status, err, asked.Load())
	}
}

func TestClientUsesNoProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	url, c := serve(t, func(http.ResponseWriter, *http.Request) {}, ClientOptions{})
	if a, err := c.Post(t.Context(), Request{URL: url}); err != nil || a.Status != http.StatusOK {
		t.Errorf("it answers %d, %v", a.Status, err)
	}
}

func TestClientBoundsAnswers(t *testing.T) {
	url, c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 1000))
		}
	}, ClientOptions{})
	for limit, want := range map[int]int{0: MaxAnswerBytes, 10: 10, 500_000: 500_000} {
		if a, err := c.Post(t.Context(), Request{URL: url, Limit: limit}); err != nil || len(a.Body) != want {
			t.Errorf("with limit %d: %d bytes, %v", limit, len(a.Body), err)
		}
	}
	url, c = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
	}, ClientOptions{})
	if _, err := c.Post(t.Context(), Request{URL: url}); err == nil {
		t.Error("a header of a megabyte is taken")
	}
}

// TestErrorsHoldNoURL: the path of one may be a token.
func TestErrorsHoldNoURL(t *testing.T) {
	url, c := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ClientOptions{})
	for _, to := range []string{
		url + "/the-token", "https://127.0.0.1:1/the-token", "https://the-token.invalid/the-token", "http://[::1]:namedport/the-token", "https://example.test:0/the-token\x7f",
	} {
		_, err := c.Post(t.Context(), Request{URL: to})
		if err == nil {
			t.Fatalf("%s answers", to)
		}
		got := NetResult(t.Context(), err)
		if got.Outcome != Retry || got.Code != CodeUnreachable || strings.Contains(fmt.Sprintf("%+v", got), "the-token") {
			t.Errorf("%s comes to %+v", to, got)
		}
	}
}

func TestUntrustedCertificate(t *testing.T) {
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) {}, ClientOptions{})
	c := NewClient(DefaultConfig(), ClientOptions{Connections: 1})
	defer c.Close()
	_, err := c.Post(t.Context(), Request{URL: url})
	if got := NetResult(t.Context(), err); got.Outcome != Retry || !strings.Contains(got.Message, "certificate") {
		t.Errorf("it comes to %+v", got)
	}
}

// TestHTTP2Only: a service that does not speak it is not spoken to.
func TestHTTP2Only(t *testing.T) {
	url, c := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }, ClientOptions{HTTP2: true})
	if a, err := c.Post(t.Context(), Request{URL: url}); err == nil {
		t.Errorf("it answers by %s", a.Body)
	}
}

// TestStreamsBeyondTheLimitWait on the one connection, and end with their callers.
func TestStreamsBeyondTheLimitWait(t *testing.T) {
	var most, now, total, connections atomic.Int32
	arrived, release := make(chan struct{}, 20), make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if total.Add(1) == 1 {
			return
		}
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		arrived <- struct{}{}
		<-release
		now.Add(-1)
	}))
	s.EnableHTTP2 = true
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 3}
	s.Config.ConnState = func(_ net.Conn, to http.ConnState) {
		if to == http.StateNew {
			connections.Add(1)
		}
	}
	s.StartTLS()
	defer s.Close()
	cfg := DefaultConfig()
	cfg.Timeout = time.Minute
	cfg.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c := NewClient(cfg, ClientOptions{HTTP2: true, Connections: 1})
	defer c.Close()
	if _, err := c.Post(t.Context(), Request{URL: s.URL}); err != nil { // the client has heard of the limit then
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var failed atomic.Int32
	for range 20 {
		all.Go(func() {
			if a, err := c.Post(t.Context(), Request{URL: s.URL, Body: []byte("x")}); err != nil || a.Status != http.StatusOK {
				failed.Add(1)
			}
		})
	}
	for range 3 { // the connection is full
		<-arrived
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Post(ctx, Request{URL: s.URL}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request that waits for its turn ends with %v", err)
	}
	close(release)
	all.Wait()
	if failed.Load() != 0 || most.Load() > 3 || connections.Load() != 1 {
		t.Errorf("%d of 20 requests failed, up to %d were under way over %d connections", failed.Load(), most.Load(), connections.Load())
	}
}

// TestBearersFetchOnce, and not again soon after a failure.
func TestBearersFetchOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetched := 0
		answer := func() (Grant, Result) { return Grant{}, Again(NotifierLevel, "x", "not now") }
		b := NewBearers(time.Now, func(context.Context) (Grant, Result) {
			fetched++
			time.Sleep(time.Second)
			return answer()
		})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if token, r := b.Get(t.Context()); token != "" || r.Code != "x" {
					t.Errorf("it is %q, %+v", token, r)
				}
			})
		}
		all.Wait()
		if fetched != 1 {
			t.Errorf("10 callers fetched %d times", fetched)
		}
		answer = func() (Grant, Result) { return Grant{Token: "t", Expires: time.Now().Add(time.Minute)}, Result{} }
		time.Sleep(grantPause)
		if token, _ := b.Get(t.Context()); token != "t" || fetched != 2 {
			t.Errorf("after the pause: %q, fetched %d times", token, fetched)
		}
		b.Refused("another")
		b.Get(t.Context())
		b.Refused("t")
		b.Get(t.Context())
		time.Sleep(time.Minute)
		b.Get(t.Context())
		if fetched != 4 {
			t.Errorf("after a refusal and a minute it was fetched %d times, want 4", fetched)
		}
	})
}

// TestBearersOfACallerThatLeaves do not stand for the service.
func TestBearersOfACallerThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBearers(time.Now, func(ctx context.Context) (Grant, Result) {
			select {
			case <-ctx.Done():
				return Grant{}, NetResult(ctx, ctx.Err())
			case <-time.After(time.Second):
				return Grant{Token: "t", Expires: time.Now().Add(time.Hour)}, Result{}
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan Result)
		go func() { _, r := b.Get(ctx); left <- r }()
		synctest.Wait()
		waits := make(chan string)
		go func() { token, _ := b.Get(t.Context()); waits <- token }()
		synctest.Wait()
		cancel()
		if r := <-left; r.Code != CodeCanceled {
			t.Errorf("who leaves gets %+v", r)
		}
		if token := <-waits; token != "t" {
			t.Errorf("who stays gets %q", token)
		}
	})
}

func TestExpiry(t *testing.T) {
	now := time.Now()
	for in, want := range map[any]time.Duration{
		3600.0: 59 * time.Minute, 100.0: 50 * time.Second, "3600": 59 * time.Minute, "x": 4 * time.Minute, nil: 4 * time.Minute, -5.0: 4 * time.Minute, 1e300: 7*24*time.Hour - time.Minute,
	} {
		if got := expiry(now, in).Sub(now); got != want {
			t.Errorf("%v serves for %s, want %s", in, got, want)
		}
	}
}

func TestLife(t *testing.T) {
	l := NewLife()
	ctx, done := l.Begin(t.Context())
	closed := make(chan struct{})
	go func() { l.Close(); close(closed) }()
	<-ctx.Done()
	select {
	case <-closed:
		t.Error("Close does not wait for what runs")
	default:
	}
	if got := NetResult(ctx, ctx.Err()); got.Code != CodeClosed {
		t.Errorf("what Close ends is %+v", got)
	}
	done()
	<-closed
	ctx, done = l.Begin(t.Context())
	defer done()
	if ctx.Err() == nil {
		t.Error("something begins after Close")
	}
	l.Close()
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a\nb\x00c\x7f": "a b c", "\xff\xfe x": "x", strings.Repeat("x", 5000): strings.Repeat("x", 1024), strings.Repeat("ü", 1000): strings.Repeat("ü", 512),
		"x" + strings.Repeat("ü", 1000): "x" + strings.Repeat("ü", 511),
	} {
		if got := Clip(in); got != want {
			t.Errorf("%.20q becomes %.20q (%d bytes)", in, got, len(got))
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("x\xff\n" + strings.Repeat("ü", 600))
	f.Fuzz(func(t *testing.T, in string) {
		got := Clip(in)
		if len(got) > MaxMessageBytes || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x00") || Clip(got) != got {
			t.Fatalf("%q becomes %q", in, got)
		}
	})
}

func TestSecretsAreNotPrinted(t *testing.T) {
	n := Notifier{Properties: map[string]json.RawMessage{}, Secrets: Secrets{"apiKey": "the-secret"}}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "n", n, "s", n.Secrets)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "n", n, "s", n.Secrets)
	raw, err := json.Marshal(n)
	text := fmt.Sprintf("%v %+v %#v %s %q %x", n, n, n, n.Secrets, n.Secrets, n.Secrets) + log.String() + string(raw)
	if strings.Contains(text, "the-secret") || strings.Contains(text, fmt.Sprintf("%x", "the-secret")) || !strings.Contains(text, "apiKey") {
		t.Errorf("printed it is %s", text)
	}
	if err == nil {
		t.Error("secrets are written as JSON")
	}
}

// TestLongTokens are none that a service knows, and are not carried about whole.
func TestLongTokens(t *testing.T) {
	raw := Marshal(strings.Repeat("x", 4095) + "\u00e9" + strings.Repeat("y", 1<<20))
	if token, ok := TextToken(raw); !ok || len(token.Text) > MaxTokenBytes || token.Shown != token.Text || !utf8.ValidString(token.Text) {
		t.Errorf("%d bytes, %v", len(token.Text), ok)
	}
	if token, ok := TextToken([]byte(`"short"`)); !ok || token.Text != "short" {
		t.Errorf("%+v, %v", token, ok)
	}
}

func TestDecodeBase64(t *testing.T) {
	for in, want := range map[string]string{"aGk=": "hi", "aGk": "hi", " a G\nk=": "hi", "-_8": "\xfb\xff", "+/8=": "\xfb\xff", "": ""} {
		if got, err := DecodeBase64(in); err != nil || string(got) != want {
			t.Errorf("%q is %q, %v", in, got, err)
		}
	}
	if _, err := DecodeBase64("a!"); err == nil {
		t.Error("what is no base64 is decoded")
	}
}

// FuzzMembers: what is read and written is the same to a reader of JSON.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{"a":1,"b":{"a":[1,2]},"a":"<&>"}`, ` {} `, `{"a":1}x`, `[]`, `{"a":9223372036854775807}`, `{"\u0061":1,"a":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		members, err := Members(raw)
		var want map[string]any
		if (json.Unmarshal(raw, &want) == nil && want != nil) != (err == nil) {
			t.Fatalf("%q: %v", raw, err)
		}
		if err != nil {
			return
		}
		var got map[string]any
		if err := json.Unmarshal(Object(members), &got); err != nil {
			t.Fatalf("%q becomes %q: %v", raw, Object(members), err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q becomes %q", raw, Object(members))
		}
	})
}

func TestJWTIsRefusedForOtherKeys(t *testing.T) {
	if _, err := SignJWT(nil, nil, nil); err == nil {
		t.Error("a token is signed without a key")
	}
}

// TestMoreStreamsThanAreTaken: the first requests of a connection are sent before the
// other side has said how many it takes at a time. What it refuses is sent again.
func TestMoreStreamsThanAreTaken(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.EnableHTTP2 = true
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1}
	s.StartTLS()
	defer s.Close()
	cfg := DefaultConfig()
	cfg.Timeout = time.Minute
	cfg.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c := NewClient(cfg, ClientOptions{HTTP2: true, Connections: 1})
	defer c.Close()
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			if a, err := c.Post(t.Context(), Request{URL: s.URL, Body: []byte("x")}); err != nil || a.Status != http.StatusOK {
				t.Errorf("status %d, error %v", a.Status, err)
			}
		})
	}
	all.Wait()
}
