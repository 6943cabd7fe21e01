package collections_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// send makes a request with headers of the test's own.
func (r *rest) send(method, path, body string, headers ...string) (status int, header http.Header, text string) {
	r.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, r.URL+path, content)
	if err != nil {
		r.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	a, err := r.Send(req)
	if err != nil {
		r.Fatal(err)
	}
	return a.Status, a.Header, a.Body
}

// TestEnvelope is the checklist of spec envelope-and-errors section 9.
func TestEnvelope(t *testing.T) {
	r := newRest(t)
	for _, token := range []string{"", r.Admin} {
		a, err := r.Do("GET", "/acme/nope/items", token, "")
		if err != nil || a.Status != 404 || a.Code() != "organization_application_not_found" {
			t.Errorf("unknown application: %v %d %s", err, a.Status, a.Body)
		}
	}
	if a, err := r.Do("GET", "/acme/nope/items", "BADTOKEN", ""); err != nil || a.Status != 401 || a.Code() != "auth_bad_access_token" {
		t.Errorf("with a bad token: %v %d %s", err, a.Status, a.Body)
	}
	if status, _, text := r.send("POST", r.App+"/items", `{"name":"x"}`, "Content-Type", "application/x-www-form-urlencoded"); status != 200 || !strings.Contains(text, `"name":"x"`) {
		t.Errorf("form content type: %d %s", status, text)
	}
	status, header, text := r.send("POST", r.App+"/items", `{"name":"y"}`, "Content-Type", "text/plain")
	if status != 200 || len(header["Content-Type"]) != 1 || header.Get("Content-Type") != "application/json" {
		t.Errorf("text/plain: %d %v %s", status, header["Content-Type"], text)
	}
	status, header, text = r.send("OPTIONS", r.App+"/books", "", "Origin", "https://p.test", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "x-a")
	if status != 200 || text != "" || header.Get("Access-Control-Allow-Origin") != "https://p.test" || header.Get("Access-Control-Allow-Credentials") != "true" ||
		header.Get("Access-Control-Allow-Methods") != "PUT" || header.Get("Access-Control-Allow-Headers") != "x-a" {
		t.Errorf("OPTIONS: %d %v %s", status, header, text)
	}
	status, header, text = r.send("GET", r.App+"/items/nope?callback=f", "")
	if status != 200 || header.Get("Content-Type") != "application/javascript" || !strings.HasPrefix(text, `f({"error":"entity_not_found"`) || !strings.HasSuffix(text, "})") {
		t.Errorf("JSONP: %d %v %s", status, header, text)
	}
	if a := r.ok("GET", "/items?client_id=&token=t&username=u&a=b", ""); !strings.Contains(a.Body, `"params":{"a":["b"]}`) {
		t.Errorf("params: %s", a.Body)
	}
	for _, tc := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/acme", 405, "not_allowed"}, {"DELETE", "/acme/sandbox", 405, "unsupported_rest_operation"},
		{"DELETE", "/management/orgs", 405, "not_allowed"}, {"DELETE", "/management/orgs/acme", 501, "not_implemented"},
	} {
		if a, err := r.Do(tc.method, tc.path, r.Admin, ""); err != nil || a.Status != tc.status || a.Code() != tc.code {
			t.Errorf("%s %s: %v %d %s, want %d %s", tc.method, tc.path, err, a.Status, a.Body, tc.status, tc.code)
		}
	}
	if a, err := r.Do("POST", r.App+"/token", "", `{"grant_type":"password","username":"x","password":"y"}`); err != nil || a.Status != 400 || len(a.Fields) != 2 || a.Code() != "invalid_grant" {
		t.Errorf("token failure: %v %d %s", err, a.Status, a.Body)
	}
}

// TestOneNameWins creates one name many times at once.
func TestOneNameWins(t *testing.T) {
	r := newRest(t)
	for round := range 5 {
		var won, lost atomic.Int64
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				name := fmt.Sprintf("n%d", round)
				if i%2 == 1 {
					name = strings.ToUpper(name)
				}
				switch a := r.do("POST", "/items", fmt.Sprintf(`{"name":%q,"i":%d}`, name, i)); {
				case a.Status == 200:
					won.Add(1)
				case a.Status == 400 && a.Code() == "duplicate_unique_property_exists":
					lost.Add(1)
				default:
					t.Errorf("%d %s", a.Status, a.Body)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 15 {
			t.Errorf("round %d: %d created, %d refused", round, won.Load(), lost.Load())
		}
	}
	if n := number(r.ok("GET", "/items?limit=100", "").Fields["count"]); n != 5 {
		t.Errorf("%d entities, want 5", n)
	}
}

// TestNoUpdateIsLost changes different properties of one entity at once.
func TestNoUpdateIsLost(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/items", `{"name":"milk"}`)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 5 {
				if a := r.do("PUT", "/items/milk", fmt.Sprintf(`{"p%d":%d}`, i, j)); a.Status != 200 {
					t.Errorf("%d %s", a.Status, a.Body)
				}
			}
		})
	}
	wg.Wait()
	e := r.ok("GET", "/items/milk", "").Entity()
	for i := range 16 {
		if number(e[fmt.Sprintf("p%d", i)]) != 4 {
			t.Errorf("p%d is %v", i, e[fmt.Sprintf("p%d", i)])
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	r := newRest(t)
	post := func(key, path, body string) (int, string) {
		status, _, text := r.send("POST", r.App+path, body, "Idempotency-Key", key, "Content-Type", "application/json")
		return status, text
	}
	uuidOf := func(text string) string {
		_, after, _ := strings.Cut(text, `"uuid":"`)
		id, _, _ := strings.Cut(after, `"`)
		return id
	}
	_, first := post("k1", "/items", `{"a":1}`)
	if status, again := post("k1", "/items", `{"a":1}`); status != 200 || uuidOf(again) != uuidOf(first) || uuidOf(first) == "" {
		t.Errorf("a retry: %d %s, first %s", status, again, first)
	}
	for _, other := range [][3]string{{"k2", "/items", `{"a":1}`}, {"k1", "/others", `{"a":1}`}, {"k1", "/items", `{"a":2}`}} {
		if status, text := post(other[0], other[1], other[2]); status != 200 || uuidOf(text) == uuidOf(first) {
			t.Errorf("%v answered with another request's outcome: %d %s", other, status, text)
		}
	}
	if n := number(r.ok("GET", "/items", "").Fields["count"]); n != 3 {
		t.Errorf("%d entities, want 3", n)
	}
	if status, text := post(strings.Repeat("k", 300), "/items", `{}`); status != 400 {
		t.Errorf("long key: %d %s", status, text)
	}
}

func TestStaleReads(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/items", `{"name":"milk"}`)
	for _, tc := range []struct {
		method, path, consistency string
		status                    int
		age                       string
	}{
		{"GET", "/items/milk", "stale", 200, "0"}, // one node: nobody knows more
		{"GET", "/items", "Stale", 200, "0"},
		{"GET", "", "stale", 200, "0"},
		{"GET", "/items/none", "stale", 404, "0"},
		{"GET", "/items/milk", "linearizable", 200, ""},
		{"GET", "/items/milk", "", 200, ""},
		{"GET", "/items/milk", "eventual", 400, ""},
		{"PUT", "/items/milk", "stale", 200, ""},
		{"PUT", "/items/milk", "eventual", 400, ""},
	} {
		body := ""
		if tc.method == "PUT" {
			body = `{"a":1}`
		}
		status, header, text := r.send(tc.method, r.App+tc.path, body, "X-Trellis-Consistency", tc.consistency)
		if status != tc.status || header.Get("X-Trellis-Staleness-Ms") != tc.age || (status == 400 && !strings.Contains(text, `"illegal_argument"`)) {
			t.Errorf("%+v: %d %v %s", tc, status, header, text)
		}
	}
}

// TestBadInput sends what nobody should: always a 4xx in the envelope.
func TestBadInput(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/items", `{"name":"milk"}`)
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	bodies := map[string]string{
		"deep object": deep, "deep array": strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), "unclosed": strings.Repeat("[", 1<<20),
		"invalid UTF-8": "{\"a\":\"\xff\xfe\"}", "overlong UTF-8": "{\"a\":\"\xc0\xaf\"}", "surrogate bytes": "{\"a\":\"\xed\xa0\x80\"}", "control": "{\"a\":\"\x00\"}",
		"NaN": `{"a":NaN}`, "infinite": `{"a":1e999}`, "leading zero": `{"a":007}`, "trailing comma": `{"a":1,}`, "two texts": `{"a":1}{"b":2}`, "byte order mark": "\xef\xbb\xbf{\"a\":1}",
		"single quotes": `{'a':1}`, "bad escape": `{"a":"\x41"}`, "lone backslash": `{"a":"\`, "comment": `{"a":1/**/}`, "huge number": `{"a":` + strings.Repeat("9", 5000) + `}`,
		"name of wrong type": `{"name":[1]}`, "location of wrong type": `{"location":{"latitude":[],"longitude":{}}}`, "long name": `{"name":"` + strings.Repeat("n", 5000) + `"}`,
		"long key": `{"` + strings.Repeat("k", 5000) + `":1}`, "scalar": `true`, "string": `"x"`,
	}
	for name, body := range bodies {
		for _, target := range []string{"POST /items", "PUT /items/milk", "PUT /items/new", "POST /users", "PUT "} {
			if target == "PUT " && (strings.HasPrefix(name, "name") || strings.HasPrefix(name, "l")) {
				continue // the application's own properties are other ones
			}
			method, path, _ := strings.Cut(target, " ")
			if a := r.do(method, path, body); a.Status < 400 || a.Status > 499 || a.Code() == "" {
				t.Errorf("%s, %s: %d %.200s", name, target, a.Status, a.Body)
			}
		}
	}
	for _, path := range []string{"/" + strings.Repeat("x", 1<<20), "/%ff", "/%00", "/items/%", "/items/%e2%28", "/items/" + strings.Repeat("n", 5000), "/" + strings.Repeat("c", 300), "/items" + strings.Repeat("/x", 100)} {
		status, _, text := r.raw(t, "GET", r.App+path)
		if status < 400 || status > 499 || !strings.Contains(text, `"error":`) {
			t.Errorf("%.40s: %d %.200s", path, status, text)
		}
	}
	// Mutations of a good request.
	rng := rand.New(rand.NewPCG(3, 4))
	good := `{"name":"x","price":1.5,"tags":["a",{"b":null}],"location":{"latitude":1,"longitude":2},"s":"\u00fc\n"}`
	for range 300 {
		b := []byte(good)
		for range 1 + rng.IntN(4) {
			switch i := rng.IntN(len(b)); rng.IntN(3) {
			case 0:
				b[i] = byte(rng.IntN(256))
			case 1:
				b = append(b[:i], b[i+1:]...)
			default:
				b = append(b[:i], append([]byte{`{}[]",:0e-\`[rng.IntN(11)]}, b[i:]...)...)
			}
		}
		if a := r.do("PUT", "/mutants/m", string(b)); a.Status != 200 && (a.Status < 400 || a.Status > 499) {
			t.Errorf("%q: %d %s", b, a.Status, a.Body)
		}
	}
	if a := r.ok("GET", "/items/milk", ""); props(a.Entity()) != `{"name":"milk"}` {
		t.Errorf("after all that: %s", a.Body)
	}
}

// raw sends a path net/http would refuse or repair.
func (r *rest) raw(t *testing.T, method, path string) (status int, header http.Header, text string) {
	t.Helper()
	req, err := http.NewRequest(method, r.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = path
	a, err := r.Send(req)
	if err != nil {
		t.Fatal(err)
	}
	return a.Status, a.Header, a.Body
}

// TestRestart closes the server and opens it again: nothing answers otherwise.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := &rest{T: t, Server: open(t, dir)}
	for i := range 30 {
		r.ok("POST", "/items", fmt.Sprintf(`{"name":"n%d"}`, i))
	}
	r.ok("DELETE", "/items/n3", "")
	cursor := r.ok("GET", "/items?limit=5", "").Cursor()
	before := r.ok("GET", "/items?limit=5&cursor="+cursor, "")
	root := rootCollections(r)
	admin := r.Admin
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = &rest{T: t, Server: open(t, dir)}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	after := r.ok("GET", "/items?limit=5&cursor="+cursor, "")
	if fmt.Sprint(after.Entities()) != fmt.Sprint(before.Entities()) || len(after.Entities()) != 5 {
		t.Errorf("%s\nbefore %s", after.Body, before.Body)
	}
	if fmt.Sprint(rootCollections(r)) != fmt.Sprint(root) {
		t.Error("the collections changed")
	}
	r.as(admin).ok("GET", "/items/n5", "")
	r.fails("GET", "/items/n3", "", 404, "entity_not_found")
	r.fails("POST", "/items", `{"name":"N4"}`, 400, "duplicate_unique_property_exists")
}
