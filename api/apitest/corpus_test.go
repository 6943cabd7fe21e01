package apitest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/api/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, apitest.Leaks()...) }

var seedFlag = flag.Uint64("seed", 0, "seed of the bad input, 0 for a new one")

// input is one request, as it goes over the wire.
type input struct {
	method, target string
	headers        []string
	body           string
}

func (in *input) String() string {
	return fmt.Sprintf("%s %.300q %.300q %.300q", in.method, in.target, in.headers, in.body)
}

// wire sends inputs over one connection for as long as the server keeps it.
type wire struct {
	address string
	conn    net.Conn
	r       *bufio.Reader
}

func (w *wire) send(in *input) (status int, header http.Header, body []byte, err error) {
	if w.conn == nil {
		if w.conn, err = net.DialTimeout("tcp", w.address, 5*time.Second); err != nil {
			return 0, nil, nil, err
		}
		w.r = bufio.NewReader(w.conn)
	}
	if err := w.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, nil, nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: trellis.test\r\n", in.method, in.target)
	for _, h := range in.headers {
		b.WriteString(h + "\r\n")
	}
	if in.body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(in.body))
	}
	b.WriteString("\r\n" + in.body)
	if _, err := w.conn.Write(b.Bytes()); err != nil {
		return 0, nil, nil, err
	}
	resp, err := http.ReadResponse(w.r, &http.Request{Method: in.method})
	if err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(w.r, &http.Request{Method: in.method})
	}
	if err != nil {
		return 0, nil, nil, err
	}
	body, err = io.ReadAll(resp.Body)
	if resp.Close {
		w.close()
	}
	return resp.StatusCode, resp.Header, body, err
}

func (w *wire) close() {
	if w.conn != nil {
		_ = w.conn.Close() // the server may have been first
		w.conn = nil
	}
}

// Whatever is sent, the answer is one that was meant: no failure of the
// server's, nothing of its insides, an envelope around every error.
func TestBadInput(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	server, err := apitest.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	made, err := server.Do("POST", server.App+"/items", server.Admin, `[{"name":"hammer","price":12},{"name":"saw"},{"name":"nail"}]`)
	if err != nil || made.Status != 200 {
		t.Fatalf("%v %s", err, made.Body)
	}
	page, err := server.Do("GET", server.App+"/items?limit=1", server.Admin, "")
	if err != nil || page.Cursor() == "" {
		t.Fatalf("%v %s", err, page.Body)
	}
	c := corpus{rng: rng, app: server.App, token: server.Admin, cursor: page.Cursor(), id: fmt.Sprint(page.Entity()["uuid"])}
	inputs := c.all()
	t.Logf("seed %d: %d inputs", seed, len(inputs))
	if len(inputs) < 2300 {
		t.Errorf("%d inputs", len(inputs))
	}
	w := &wire{address: strings.TrimPrefix(server.URL, "http://")}
	defer w.close()
	for i := range inputs {
		in := &inputs[i]
		if fault := judge(w, in, dir); fault != "" {
			t.Errorf("seed %d, input %d: %s: %s", seed, i, fault, in)
			w.close()
		}
	}
	after, err := server.Do("GET", server.App+"/items/hammer", server.Admin, "")
	if err != nil || after.Status != 200 || after.Entity()["price"] != json.Number("12") {
		t.Errorf("seed %d: afterwards: %v %s", seed, err, after.Body)
	}
}

// judge sends an input and says what is wrong with the answer, if anything.
func judge(w *wire, in *input, dir string) string {
	status, header, body, err := w.send(in)
	switch {
	case err != nil:
		return err.Error()
	case status >= 500 && status != 501, status < 200:
		return fmt.Sprintf("status %d: %s", status, body)
	}
	for _, inside := range []string{dir, "goroutine ", "panic", "runtime error", ".go:", "api/wire", "hashicorp", "pebble", "0xc0"} {
		if bytes.Contains(body, []byte(inside)) && !strings.Contains(in.target+in.body, inside) {
			return fmt.Sprintf("%q is shown: %s", inside, body)
		}
	}
	if in.method == "HEAD" || in.method == "OPTIONS" || status == http.StatusTemporaryRedirect {
		return ""
	}
	if status == http.StatusOK && len(body) == 0 && header.Get("Content-Type") == "" && (in.method == "PUT" || in.method == "POST") {
		return "" // an entity has got the bytes as its data
	}
	if strings.HasPrefix(header.Get("Content-Type"), "application/javascript") {
		_, script, _ := bytes.Cut(body, []byte("("))
		body = bytes.TrimSuffix(script, []byte(")"))
	} else if status >= 400 && header.Get("Content-Type") != "application/json" {
		return fmt.Sprintf("content type %q", header.Get("Content-Type"))
	}
	var envelope map[string]any
	if err := json.Unmarshal(body, &envelope); err != nil {
		return fmt.Sprintf("no JSON object (%v): %.300q", err, body)
	}
	if code, _ := envelope["error"].(string); (status >= 400) && code == "" {
		return fmt.Sprintf("no error code: %s", body)
	}
	return ""
}

// corpus makes inputs out of tables of good ones and of ways to spoil them.
type corpus struct {
	rng                    *rand.Rand
	app, token, cursor, id string
}

func (c *corpus) all() []input {
	return slices.Concat(c.bodies(), c.paths(), c.queries(), c.headers(), c.tokens(), c.mutated(1200))
}

// expand puts the corpus's own words into a template.
func (c *corpus) expand(s string) string {
	return strings.NewReplacer("{app}", c.app, "{id}", c.id, "{cursor}", c.cursor, "{token}", c.token).Replace(s)
}

func (c *corpus) signed(more ...string) []string {
	return append([]string{"Authorization: Bearer " + c.token}, more...)
}

func (c *corpus) bodies() (out []input) {
	for _, body := range badBodies() {
		for _, target := range []string{
			"POST {app}/items", "PUT {app}/items/saw", "PUT {app}", "POST {app}/users", "PUT {app}/users/dana",
			"POST {app}/events", "PUT {app}/events/b11217fc-9d3a-11e7-b24e-699740088e05",
			"POST {app}/token", "POST /management/token", "POST /management/orgs", "POST /management/users",
			"POST /management/orgs/acme/apps", "PUT {app}/users/dana/password",
		} {
			method, target, _ := strings.Cut(c.expand(target), " ")
			out = append(out, input{method, target, c.signed("Content-Type: application/json"), body})
		}
		for _, kind := range contentTypes {
			out = append(out, input{"POST", c.app + "/items", c.signed("Content-Type: " + kind), body})
		}
	}
	return out
}

func (c *corpus) paths() (out []input) {
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"} {
		for _, segment := range badSegments {
			for _, at := range []string{"/%s", "/acme/%s", "{app}/%s", "{app}/items/%s", "{app}/users/%s/password", "{app}/events/%s", "{app}/counters?counter=%s", "/management/orgs/%s", "/management/%s"} {
				body := ""
				if method == "POST" || method == "PUT" {
					body = `{"a":1}`
				}
				if segment == "items" && method == "DELETE" {
					continue
				}
				out = append(out, input{method, strings.Replace(c.expand(at), "%s", c.expand(segment), 1), c.signed(), body})
			}
		}
	}
	return out
}

func (c *corpus) queries() (out []input) {
	for _, query := range badQueries {
		for _, target := range []string{"GET {app}/items", "GET {app}/items/hammer", "PUT {app}/items", "GET {app}/events", "GET {app}/counters", "GET /status", "GET {app}", "GET /management/orgs/acme/apps"} {
			method, target, _ := strings.Cut(c.expand(target), " ")
			out = append(out, input{method, target + "?" + c.expand(query), c.signed(), ""})
		}
	}
	return out
}

func (c *corpus) headers() (out []input) {
	for _, header := range badHeaders {
		for _, target := range []string{"GET {app}/items", "POST {app}/items", "GET /management/me"} {
			method, target, _ := strings.Cut(c.expand(target), " ")
			in := input{method, target, []string{c.expand(header)}, ""}
			if method == "POST" {
				in.body = `{"a":1}`
			}
			out = append(out, in)
		}
	}
	return out
}

func (c *corpus) tokens() (out []input) {
	for range 60 {
		token := c.spoil(c.token)
		out = append(out,
			input{"GET", c.app + "/items", []string{"Authorization: Bearer " + printable(token)}, ""},
			input{"GET", c.app + "/items?access_token=" + escape(token), nil, ""},
			input{"GET", c.app + "/items?cursor=" + escape(c.spoil(c.cursor)), c.signed(), ""},
			input{"POST", c.app + "/token", nil, fmt.Sprintf("{%q:%q,%q:%q}", "grant_type", "client_credentials", "client_id", printable(c.spoil("b3U6"+c.id)))})
	}
	return out
}

// mutated are good requests with some bytes spoilt.
func (c *corpus) mutated(n int) (out []input) {
	for range n {
		method, target, _ := strings.Cut(c.expand(goodTargets[c.rng.IntN(len(goodTargets))]), " ")
		in := input{method: method, target: target, headers: c.signed()}
		if method == "POST" || method == "PUT" {
			in.headers = append(in.headers, "Content-Type: "+contentTypes[c.rng.IntN(len(contentTypes))])
			in.body = c.spoil(goodBodies[c.rng.IntN(len(goodBodies))])
		}
		if c.rng.IntN(2) == 0 {
			in.target = "/" + strings.ReplaceAll(escape(c.spoil(target[1:])), "%2F", "/")
		}
		out = append(out, in)
	}
	return out
}

// spoil changes a text in one to four places.
func (c *corpus) spoil(s string) string {
	b := []byte(s)
	for range 1 + c.rng.IntN(4) {
		at := c.rng.IntN(len(b) + 1)
		switch c.rng.IntN(6) {
		case 0:
			b = slices.Insert(b, at, byte(c.rng.IntN(256)))
		case 1:
			b = b[:at]
		case 2:
			b = slices.Insert(b, at, b[:at]...)
		case 3:
			b = slices.Insert(b, at, []byte(spices[c.rng.IntN(len(spices))])...)
		default:
			if at < len(b) {
				b[at] ^= 1 << c.rng.IntN(8)
			}
		}
	}
	return string(b)
}

// printable makes a text fit for a header or a Go string.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, s)
}

// escape percent-encodes what is neither letter nor digit nor one of ".-_?=&%".
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".-_?=&%", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
