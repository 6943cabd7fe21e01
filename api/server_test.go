package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp/fasthttputil"
	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// fasthttp leaves a janitor that notices its pool's end up to ten seconds
// later, and keeps its clock and its compression workers for good.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1.1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp/stackless.funcWorker"))
}

var shopID, _ = entity.ParseID("2a7d31e4-5c31-41ee-8c99-0242ac120002")

// testServer is a server on an in-memory listener.
type testServer struct {
	*Server
	ln   *fasthttputil.InmemoryListener
	logs *bytes.Buffer
	done chan error
}

func start(t *testing.T, change func(*Config, *Parts)) *testServer {
	t.Helper()
	cfg, parts := DefaultConfig(), stubParts()
	if change != nil {
		change(&cfg, &parts)
	}
	ts := &testServer{ln: fasthttputil.NewInmemoryListener(), logs: &bytes.Buffer{}, done: make(chan error, 1)}
	var err error
	ts.Server, err = New(cfg, parts, slog.New(slog.NewTextHandler(&lockedWriter{w: ts.logs}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	go func() { ts.done <- ts.Serve(ts.ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := ts.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ts.done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ts
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// stubParts answer what the server itself does not.
func stubParts() Parts {
	app := &wire.Application{Application: auth.Application{ID: shopID, Open: true}, Number: 16, Name: "shop", OrganizationName: "acme"}
	unknown := fault.New(fault.OrganizationApplicationNotFound, "Could not find application")
	return Parts{
		Authenticate: func(req *wire.Request) error {
			req.Principal = auth.Nobody()
			if req.Header("Authorization") != "" {
				return fault.New(fault.BadAccessToken, "Unable to authenticate due to corrupt access token")
			}
			return nil
		},
		Resolve: func(_ context.Context, org, name string) (*wire.Application, error) {
			if strings.EqualFold(org, "acme") && (strings.EqualFold(name, "shop") || name == shopID.String()) {
				return app, nil
			}
			return nil, unknown
		},
		ResolveID: func(_ context.Context, id entity.ID) (*wire.Application, error) {
			if id == shopID {
				return app, nil
			}
			return nil, unknown
		},
		Access: func(_ context.Context, p *auth.Principal, _ *wire.Application) (auth.Access, error) {
			everything, err := auth.ParsePermission(auth.OpenEverything)
			if err != nil {
				return auth.Access{}, err
			}
			return p.Permissions([]*auth.Set{auth.NewSet([]*auth.Permission{everything})}), nil
		},
		Management:   echo("management"),
		Applications: echo("applications"),
		System:       echo("system"),
		Accounts:     echo("accounts"),
		Data:         data,
		Healthy:      func(context.Context) error { return nil },
	}
}

func echo(name string) wire.Handler {
	return func(req *wire.Request) (*wire.Reply, error) {
		return wire.Management(name).Field("segments", req.Segments()), nil
	}
}

// data answers application requests in ways tests ask for.
func data(req *wire.Request) (*wire.Reply, error) {
	switch s := req.Segments(); {
	case len(s) > 0 && s[0] == "panic":
		panic("of the test")
	case len(s) > 0 && s[0] == "broken":
		return nil, errors.New("the disk is at /secret/place")
	case len(s) > 0 && s[0] == "busy":
		return nil, fault.New(fault.Overloaded, "queue is full")
	case len(s) > 0 && s[0] == "slow":
		<-req.Context().Done()
		return nil, req.Context().Err()
	case len(s) > 0 && s[0] == "wait":
		close(waiting)
		<-release
		return req.Entities("/wait"), nil
	case len(s) > 0 && s[0] == "big":
		return req.Entities("/big").AppendRaw([]byte(`"` + strings.Repeat("x", 64<<10) + `"`)), nil
	}
	text, err := req.JSON()
	if err != nil {
		return nil, err
	}
	reply := req.Entities("/data").Field("segments", req.Segments())
	if text != nil {
		reply.Field("size", len(text))
		if len(text) < 1000 {
			reply.RawField("body", text)
		}
	}
	return reply, nil
}

var waiting, release chan struct{}

func (ts *testServer) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := ts.ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test may have closed it
	return conn
}

type answer struct {
	status int
	header http.Header
	body   string
	fields map[string]any
}

// raw sends bytes on a connection of their own and reads one response.
func (ts *testServer) raw(t *testing.T, request string) answer {
	t.Helper()
	conn := ts.dial(t)
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, request) }() // the server may answer before it has read all
	return read(t, bufio.NewReader(conn), strings.HasPrefix(request, "HEAD"))
}

func read(t *testing.T, r *bufio.Reader, head bool) answer {
	t.Helper()
	method := "GET"
	if head {
		method = "HEAD"
	}
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read body: %v", err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	_ = json.Unmarshal(body, &a.fields) // some bodies are no JSON, and then have no fields
	return a
}

// send makes one request; headers and body are optional.
func (ts *testServer) send(t *testing.T, method, target, headers, body string) answer {
	t.Helper()
	request := method + " " + target + " HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n" + headers
	if body != "" {
		request += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return ts.raw(t, request+"\r\n"+body)
}

func (a answer) want(t *testing.T, what string, status int, code string) {
	t.Helper()
	got, _ := a.fields["error"].(string)
	if a.status != status || got != code {
		t.Errorf("%s: %d %q, want %d %q; body %.200s", what, a.status, got, status, code, a.body)
		return
	}
	if code == "" {
		return
	}
	for _, field := range []string{"timestamp", "duration", "error_description"} {
		if _, ok := a.fields[field]; !ok {
			t.Errorf("%s: no %s in %s", what, field, a.body)
		}
	}
	if got := a.header["Content-Type"]; len(got) != 1 || got[0] != "application/json" {
		t.Errorf("%s: Content-Type %q", what, got)
	}
}

func TestDispatch(t *testing.T) {
	ts := start(t, nil)
	id := shopID.String()
	for _, tc := range []struct{ target, action, segments string }{
		{"/acme/shop/items", "get", "items"},
		{"/ACME/Shop/items/", "get", "items"},
		{"/acme/shop//items//x", "get", "items x"},
		{"/acme/shop", "get", ""},
		{"/acme/shop/", "get", ""},
		{"/acme/" + id + "/items", "get", "items"},
		{"/orgs/acme/shop/items", "get", "items"},
		{"/organizations/acme/apps/shop/items", "get", "items"},
		{"/o/acme/a/shop/items", "get", "items"},
		{"/acme/applications/shop", "get", ""},
		{"/" + id, "get", ""},
		{"/" + strings.ToUpper(id) + "/items", "get", "items"},
		{"/apps/" + id + "/items", "get", "items"},
		{"/applications/" + id, "get", ""},
		{"/acme/shop/items/config.json", "get", "items config.json"},
		{"/acme/shop/items/a%2Fb", "get", "items a/b"},
		{"/acme/shop/items/a%20b+c", "get", "items a b+c"},
		{"/acme/shop/items/..", "get", "items .."},
		{"/acme/shop/items/../../management", "get", "items .. .. management"},
		{"/acme/shop/items/%2e%2e/x", "get", "items .. x"},
		{"http://other.test/acme/shop/items", "get", "items"},
		{"/apps", "applications", "apps"},
		{"/management/orgs/acme", "management", "orgs acme"},
		{"/system/database", "system", "database"},
		{"/acme/shop/token", "accounts", "token"},
		{"/acme/shop/credentials", "accounts", "credentials"},
		{"/acme/shop/users/ana/revoketokens", "accounts", "users ana revoketokens"},
	} {
		a := ts.send(t, "GET", tc.target, "", "")
		a.want(t, tc.target, 200, "")
		var segments []string
		if list, ok := a.fields["segments"].([]any); ok {
			for _, s := range list {
				segments = append(segments, s.(string))
			}
		}
		if a.fields["action"] != tc.action || strings.Join(segments, " ") != tc.segments {
			t.Errorf("%s: action %v, segments %q, want %s, %q", tc.target, a.fields["action"], segments, tc.action, tc.segments)
		}
	}
	for _, tc := range []struct {
		method, target string
		status         int
		code           string
	}{
		{"GET", "/acme", 405, "not_allowed"},
		{"GET", "/orgs/acme", 405, "not_allowed"},
		{"GET", "/orgs", 404, "not_found"},
		{"GET", "/acme/nope/items", 404, "organization_application_not_found"},
		{"GET", "/nope/shop", 404, "organization_application_not_found"},
		{"GET", "/apps/shop/items", 404, "organization_application_not_found"},
		{"GET", "/00000000-0000-0000-0000-000000000009", 404, "organization_application_not_found"},
		{"PATCH", "/acme/shop/items", 405, "not_allowed"},
		{"TRACE", "/acme/shop/items", 405, "not_allowed"},
		{"BREW", "/acme/shop/items", 405, "not_allowed"},
		{"POST", "/status", 405, "not_allowed"},
		{"GET", "/status/nope", 404, "not_found"},
		{"GET", "/testproperties", 405, "not_allowed"},
		{"GET", "/acme/shop/%zz", 400, "illegal_argument"},
		{"GET", "/acme/shop/%ff", 400, "illegal_argument"},
		{"GET", "/acme/shop/%00", 400, "illegal_argument"},
		{"GET", "/acme/shop/" + strings.Repeat("a/", 200), 400, "illegal_argument"},
	} {
		ts.send(t, tc.method, tc.target, "", "").want(t, tc.method+" "+tc.target, tc.status, tc.code)
	}
	ts.send(t, "GET", "/acme/nope", "Authorization: Bearer BADTOKEN\r\n", "").want(t, "bad token, unknown application", 401, "auth_bad_access_token")
}

func TestRootEndpoints(t *testing.T) {
	ts := start(t, func(_ *Config, p *Parts) {
		p.Metrics = func() (string, []byte) { return "text/plain", []byte("up 1\n") }
	})
	if a := ts.send(t, "GET", "/", "", ""); a.status != 307 || a.header.Get("Location") != "/status" {
		t.Errorf("/: %d %s", a.status, a.header.Get("Location"))
	}
	a := ts.send(t, "GET", "/status", "Authorization: Bearer BADTOKEN\r\n", "")
	status, _ := a.fields["status"].(map[string]any)
	if a.status != 200 || status["cassandraStatus"] != "GREEN" || status["version"] != "dev" || a.fields["action"] != nil {
		t.Errorf("/status: %d %s", a.status, a.body)
	}
	for _, target := range []string{"/status/heap", "/status/queue", "/acme/shop/status"} {
		if a := ts.send(t, "GET", target, "", ""); a.status != 200 || a.fields["status"] == nil {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
	if a := ts.send(t, "GET", "/lb-status", "", ""); a.status != 200 || a.body != "" {
		t.Errorf("/lb-status: %d %q", a.status, a.body)
	}
	if a := ts.send(t, "GET", "/metrics", "", ""); a.body != "up 1\n" || a.header.Get("Content-Type") != "text/plain" {
		t.Errorf("/metrics: %q", a.body)
	}
	a = ts.send(t, "HEAD", "/acme/shop/items", "", "")
	if a.status != 200 || a.body != "" || a.header.Get("Content-Length") == "" {
		t.Errorf("HEAD: %d %q %v", a.status, a.body, a.header)
	}
}

func TestUnhealthy(t *testing.T) {
	ts := start(t, func(_ *Config, p *Parts) {
		p.Healthy = func(context.Context) error { return errors.New("store is gone") }
	})
	a := ts.send(t, "GET", "/status", "", "")
	if status, _ := a.fields["status"].(map[string]any); a.status != 200 || status["cassandraStatus"] != "RED" {
		t.Errorf("/status: %s", a.body)
	}
	ts.send(t, "GET", "/status?ignore_error=false", "", "").want(t, "/status", 500, "uncaught")
	if a := ts.send(t, "GET", "/lb-status", "", ""); a.status != 503 || a.body != "" {
		t.Errorf("/lb-status: %d %q", a.status, a.body)
	}
}

func TestCORS(t *testing.T) {
	ts := start(t, nil)
	a := ts.send(t, "OPTIONS", "/acme/shop/books", "Authorization: Bearer BAD\r\nOrigin: https://page.test\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a, x-b\r\n", "")
	if a.status != 200 || a.body != "" {
		t.Errorf("OPTIONS: %d %q", a.status, a.body)
	}
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://page.test", "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods": "PUT", "Access-Control-Allow-Headers": "x-a, x-b", "Vary": "Origin",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for headers, want := range map[string]string{
		"":                                     "*",
		"Origin: null\r\n":                     "*",
		"Referer: https://page.test/a/b?c\r\n": "https://page.test",
		"Referer: app://page.test/\r\n":        "*",
		"Origin: http://x\r\nReferer: http://y/\r\n": "http://x",
	} {
		for _, target := range []string{"/acme/shop/items", "/acme/nope/items"} {
			a := ts.send(t, "GET", target, headers, "")
			if got := a.header.Get("Access-Control-Allow-Origin"); got != want {
				t.Errorf("%s with %q: origin %q, want %q", target, headers, got, want)
			}
			if credentials := a.header.Get("Access-Control-Allow-Credentials"); (credentials == "true") != (want != "*") {
				t.Errorf("%s with %q: credentials %q", target, headers, credentials)
			}
		}
	}
}

func TestJSONP(t *testing.T) {
	ts := start(t, nil)
	for target, prefix := range map[string]string{
		"/acme/shop/items?callback=f":     `f({"action":"get"`,
		"/acme/nope/items?callback=a.b$c": `a.b$c({"error":"organization_application_not_found"`,
	} {
		a := ts.send(t, "GET", target, "", "")
		if a.status != 200 || a.header.Get("Content-Type") != "application/javascript" || !strings.HasPrefix(a.body, prefix) || !strings.HasSuffix(a.body, "})") {
			t.Errorf("%s: %d %s %s", target, a.status, a.header.Get("Content-Type"), a.body)
		}
	}
	if a := ts.send(t, "GET", "/acme/shop/items", "Accept: text/jscript\r\n", ""); !strings.HasPrefix(a.body, "callback({") {
		t.Errorf("by Accept: %s", a.body)
	}
	ts.send(t, "GET", "/acme/shop/items?callback=", "", "").want(t, "blank callback", 200, "")
	for _, bad := range []string{"1a", "a(b)", "alert(1)//", "a%20b", strings.Repeat("a", 129)} {
		ts.send(t, "GET", "/acme/shop/items?callback="+bad, "", "").want(t, "callback "+bad, 400, "illegal_argument")
	}
}

func TestParamsEcho(t *testing.T) {
	ts := start(t, nil)
	a := ts.send(t, "GET", "/acme/shop/items?limit=2&ql=select+*&limit=%33&Access_Token=x&client_id=x&client_secret=x&username=x&PASSWORD=x&token=x&client_credentials=x&fb_access_token=x&fq_access_token=x&ping_access_token=x&bad=%zz%ff&empty=", "", "")
	const want = `"params":{"limit":["2","3"],"ql":["select *"],"bad":["%zz%ff"],"empty":[""]}`
	if !strings.Contains(a.body, want) {
		t.Errorf("%s\nwant %s", a.body, want)
	}
	if !strings.Contains(ts.send(t, "GET", "/acme/shop/items", "", "").body, `"params":{}`) {
		t.Error("no params are not {}")
	}
}

func TestContentTypeRepair(t *testing.T) {
	ts := start(t, nil)
	const form = "application/x-www-form-urlencoded"
	for _, tc := range []struct {
		contentType, body string
		status            int
		code              string
	}{
		{form, `{"a":1}`, 200, ""},
		{form, " \n[1]", 200, ""},
		{"text/plain", `{"a":1}`, 200, ""},
		{"", `{"a":1}`, 200, ""},
		{"application/json; charset=utf-16", `"text"`, 200, ""},
		{"application/vnd.x+json", `7`, 200, ""},
		{"application/json", `{"a":1`, 400, "json_parse"},
		{form, `{"a":1`, 400, "json_parse"},
		{"text/plain", "hello", 415, "not_supported"},
		{"", "hello", 415, "not_supported"},
		{form, "a=b", 415, "not_supported"},
		{"application/octet-stream", `{"a":1}`, 415, "not_supported"},
		{"multipart/form-data; boundary=x", `{"a":1}`, 415, "not_supported"},
		{"application/json", "{\"a\":\"\xff\"}", 400, "json_parse"},
		{"application/json", `{"a":NaN}`, 400, "json_parse"},
		{"application/json", `{"a":01}`, 400, "json_parse"},
		{"application/json", "{\"a\":\"\x01\"}", 400, "json_parse"},
		{"application/json", `{"a":1e999}`, 400, "json_parse"},
		{"application/json", `{} {}`, 400, "json_parse"},
		{"application/json", strings.Repeat("[", 100) + strings.Repeat("]", 100), 200, ""},
		{"application/json", strings.Repeat("[", 101) + strings.Repeat("]", 101), 400, "json_parse"},
		{"application/json", strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), 400, "json_parse"},
		{"application/json", strings.Repeat("[", 1<<20), 400, "json_parse"},
	} {
		headers := ""
		if tc.contentType != "" {
			headers = "Content-Type: " + tc.contentType + "\r\n"
		}
		ts.send(t, "POST", "/acme/shop/items", headers, tc.body).want(t, fmt.Sprintf("%s %.30q", tc.contentType, tc.body), tc.status, tc.code)
	}
}
