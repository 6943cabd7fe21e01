package portage_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/storage/portable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, apitest.Leaks()...) }

// world is a server with the organisation acme and an application shop.
type world struct {
	*apitest.Server
	*testing.T
	super string
}

func newWorld(t *testing.T) *world {
	w := &world{Server: apitest.Start(t), T: t}
	a := w.must("POST", "/management/token", "", `{"grant_type":"password","username":"`+apitest.SuperuserName+`","password":"`+apitest.SuperuserPassword+`"}`)
	w.super, _ = a.Fields["access_token"].(string)
	w.newApp("shop")
	return w
}

func (w *world) newApp(name string) {
	w.Helper()
	w.must("POST", "/management/orgs/acme/apps", w.Admin, `{"name":"`+name+`"}`)
}

// must makes a request that succeeds.
func (w *world) must(method, path, token, body string) apitest.Answer {
	w.Helper()
	a, err := w.Do(method, path, token, body)
	if err != nil || a.Status != 200 {
		w.Fatalf("%s %s: %v %d %.500s", method, path, err, a.Status, a.Body)
	}
	return a
}

// in makes a request of the owner in an application that succeeds, and returns the
// UUID of the first entity.
func (w *world) in(app, method, path, body string) string {
	w.Helper()
	id, _ := w.must(method, "/acme/"+app+path, w.Admin, body).Entity()["uuid"].(string)
	return id
}

// export returns the lines of an export, which is whole.
func (w *world) export(app, token, query string) string {
	w.Helper()
	a := w.must("GET", "/acme/"+app+"/export?format=ndjson"+query, token, "")
	if _, _, err := portable.Verify(strings.NewReader(a.Body)); err != nil {
		w.Fatalf("export of %s: %v\n%.2000s", app, err, a.Body)
	}
	return a.Body
}

// inner returns the lines of an export but the first and the last.
func inner(text string) string {
	_, rest, _ := strings.Cut(text, "\n")
	return rest[:strings.LastIndexByte(strings.TrimSuffix(rest, "\n"), '\n')+1]
}

type counted struct {
	Imported, Existing, Linked, Attached, Had, Listed, Counted, Failed int
	Errors                                                             []struct {
		Line  int
		Error string
	}
}

// load imports lines in two parts.
func (w *world) load(app, token, lines, query string) (sum counted) {
	w.Helper()
	for _, part := range []string{"entities", "edges"} {
		a := w.must("POST", "/management/orgs/acme/apps/"+app+"/import?part="+part+query, token, lines)
		var answer struct{ Data counted }
		if err := json.Unmarshal([]byte(a.Body), &answer); err != nil {
			w.Fatal(err)
		}
		sum.Imported += answer.Data.Imported
		sum.Existing += answer.Data.Existing
		sum.Linked += answer.Data.Linked
		sum.Attached += answer.Data.Attached
		sum.Had += answer.Data.Had
		sum.Listed += answer.Data.Listed
		sum.Counted += answer.Data.Counted
		sum.Failed += answer.Data.Failed
		sum.Errors = append(sum.Errors, answer.Data.Errors...)
	}
	return sum
}

func (c counted) String() string {
	return fmt.Sprintf("imported %d existing %d linked %d attached %d had %d listed %d counted %d failed %d %v",
		c.Imported, c.Existing, c.Linked, c.Attached, c.Had, c.Listed, c.Counted, c.Failed, c.Errors)
}

// unzip returns the one file in a zip file.
func unzip(t *testing.T, b []byte) string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(z.File) != 1 {
		t.Fatalf("zip: %v", err)
	}
	f, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// leave begins an export and goes away after some bytes of it.
func (w *world) leave(ctx context.Context, cancel func()) {
	w.Helper()
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/acme/shop/export?format=ndjson", nil)
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.Admin)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 100)); err != nil && resp.StatusCode == 200 {
		w.Error(err)
	}
	cancel()
	_ = resp.Body.Close() // it was broken off
}
