package management_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/directory"
)

// begin starts a server without organisations that ends with the test. What it
// logged as errors is shown if the test fails.
func begin(t *testing.T, dir string, configure func(*directory.Config)) *world {
	t.Helper()
	return beginWith(t, dir, apitest.Options{Directory: configure})
}

// beginWith is begin with options; the log and that nothing is there are its own.
func beginWith(t *testing.T, dir string, opts apitest.Options) *world {
	t.Helper()
	w := &world{t: t, log: new(logged)}
	opts.Log, opts.Empty = w.log, true
	s, err := apitest.OpenWith(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	w.Server = s
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close server: %v", err)
		}
		for line := range strings.Lines(w.log.String()) {
			if t.Failed() && strings.Contains(line, "level=ERROR") {
				t.Log(strings.TrimSpace(line))
			}
		}
	})
	return w
}

// logged collects what a server logs.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write adds to the log.
func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// String returns everything logged so far.
func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// call is a request. Method is GET if it is empty; a body that is no string is
// sent as JSON.
type call struct {
	Method, Path string
	Token        string // sent as Bearer
	Basic        string // name:secret, sent as Basic
	Type         string // content type; empty: application/json if there is a body
	Body         any
	Header       map[string]string
}

// answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Text   string
	JSON   map[string]any // nil if the text is no JSON object
}

// do makes a call. The test fails if nothing comes back.
func (w *world) do(c call) answer {
	w.t.Helper()
	a, err := w.try(c)
	if err != nil {
		w.t.Fatalf("%s %s: %v", c.Method, c.Path, err)
	}
	return a
}

// try is do for goroutines: it returns the error.
func (w *world) try(c call) (a answer, err error) {
	if c.Method == "" {
		c.Method = http.MethodGet
	}
	var body io.Reader
	switch b := c.Body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return a, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(c.Method, w.URL+c.Path, body)
	if err != nil {
		return a, err
	}
	if c.Type == "" && body != nil {
		c.Type = "application/json"
	}
	if c.Type != "" {
		req.Header.Set("Content-Type", c.Type)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.Basic != "" {
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.Basic)))
	}
	for k, v := range c.Header {
		req.Header.Set(k, v)
	}
	got, err := w.Send(req)
	a = answer{Status: got.Status, Header: got.Header, Text: got.Body}
	if json.Unmarshal([]byte(got.Body), &a.JSON) != nil {
		a.JSON = nil
	}
	return a, err
}

// encode encodes a form from names and values in turn.
func encode(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

// Get walks into the answer: Get("entities", 0, "uuid"). It is nil where there
// is nothing.
func (a answer) Get(path ...any) any {
	var v any = a.JSON
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[s]
		case int:
			l, _ := v.([]any)
			if s >= len(l) {
				return nil
			}
			v = l[s]
		}
	}
	return v
}

// Str is Get as text; empty for what is no string.
func (a answer) Str(path ...any) string {
	s, _ := a.Get(path...).(string)
	return s
}

// Error is status and error code, such as "401 unauthorized"; "200" if there
// is no error.
func (a answer) Error() string {
	if code := a.Str("error"); code != "" {
		return fmt.Sprintf("%d %s", a.Status, code)
	}
	return fmt.Sprint(a.Status)
}
