package collections_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

func TestList(t *testing.T) {
	r := newRest(t)
	var batch []string
	for i := range 25 {
		batch = append(batch, fmt.Sprintf(`{"name":"n%d"}`, i))
	}
	created := r.ok("POST", "/items", "["+strings.Join(batch, ",")+"]").Entities()
	for query, want := range map[string]string{
		"":                            "n24 n23 n22 n21 n20 n19 n18 n17 n16 n15",
		"?limit=2":                    "n24 n23",
		"?limit=0":                    "n24 n23 n22 n21 n20 n19 n18 n17 n16 n15",
		"?limit=-1":                   "n24 n23 n22 n21 n20 n19 n18 n17 n16 n15",
		"?limit=many":                 "n24 n23 n22 n21 n20 n19 n18 n17 n16 n15",
		"?limit=2&reversed=true":      "n24 n23",
		"?limit=2&reversed=false":     "n0 n1",
		"?limit=2&reversed=perhaps":   "n24 n23",
		"?limit=1&ql=":                "n24",
		"?limit=1&ql=*":               "n24",
		"?limit=1&q=*":                "n24",
		"?limit=1&query=select%20*":   "n24",
		"?limit=1&ql=select%2520*":    "n24",
		"?limit=1&ql=Select+*&q=a=1":  "n24",
		"?limit=1&ql=&q=&cursor=":     "n24",
		"?limit=1&start=rubbish":      "n24",
		"?limit=2&connections=none":   "n24 n23",
		"?limit=1&type=x&permission=": "n24",
		"?limit=2&start=" + fmt.Sprint(created[20]["uuid"]): "n20 n19",
	} {
		a := r.ok("GET", "/items"+query, "")
		if names(a) != want || int(number(a.Fields["count"])) != len(a.Entities()) || a.Cursor() == "" || a.Fields["path"] != "/items" {
			t.Errorf("%s: %s; %.200s", query, names(a), a.Body)
		}
	}
	for _, query := range []string{"?limit=25", "?limit=1000", "?limit=99999999999999999999"} {
		a := r.ok("GET", "/items"+query, "")
		if _, ok := a.Fields["cursor"]; ok || len(a.Entities()) != 25 {
			t.Errorf("%s: %d entities, cursor %v", query, len(a.Entities()), a.Fields["cursor"])
		}
	}
	if a := r.ok("GET", "/items/all?limit=1", ""); names(a) != "n24" {
		t.Errorf("all: %s", a.Body)
	}
	a := r.ok("GET", "/items?limit=2&ql=select+*&limit=7", "")
	if !strings.Contains(a.Body, `"params":{"limit":["2","7"],"ql":["select *"]}`) {
		t.Errorf("params of %s", a.Body)
	}
}

// TestListOtherTenants puts the same collection into two applications.
func TestListOtherTenants(t *testing.T) {
	r := newRest(t)
	if a, err := r.Do("POST", "/management/orgs/acme/apps", r.Admin, `{"name":"other"}`); err != nil || a.Status != 200 {
		t.Fatalf("%v %s", err, a.Body)
	}
	r.ok("POST", "/items", `[{"name":"mine"},{"name":"mine too"}]`)
	if a, err := r.Do("GET", "/acme/other/items", r.Admin, ""); err != nil || a.Status != 200 || len(a.Entities()) != 0 {
		t.Errorf("%v %s", err, a.Body)
	}
	if a, err := r.Do("POST", "/acme/other/items", r.Admin, `{"name":"mine"}`); err != nil || a.Status != 200 {
		t.Errorf("%v %s", err, a.Body)
	}
	cursor := r.ok("GET", "/items?limit=1", "").Cursor()
	if a, err := r.Do("GET", "/acme/other/items?cursor="+cursor, r.Admin, ""); err != nil || a.Code() != "illegal_argument" {
		t.Errorf("cursor of another application: %v %d %s", err, a.Status, a.Body)
	}
	if a, err := r.Do("GET", "/acme/other/items", "", ""); err != nil || a.Status != 401 || a.Code() != "unauthorized" {
		t.Errorf("guest of a closed application: %v %d %s", err, a.Status, a.Body)
	}
}

func TestCursors(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/items", `[{"name":"a"},{"name":"b"},{"name":"c"}]`)
	r.ok("POST", "/others", `[{"name":"a"},{"name":"b"},{"name":"c"}]`)
	cursor := r.ok("GET", "/items?limit=1", "").Cursor()
	if len(cursor) > 1024 || url.QueryEscape(cursor) != cursor {
		t.Errorf("cursor %q", cursor)
	}
	if got := names(r.ok("GET", "/items?limit=1&cursor="+cursor, "")); got != "b" {
		t.Errorf("second page: %s", got)
	}
	if got := names(r.ok("GET", "/items?limit=9&cursor="+cursor, "")); got != "b a" {
		t.Errorf("another limit: %s", got)
	}
	for path, code := range map[string]string{
		"/others?cursor=" + cursor:                       "illegal_argument",
		"/never?cursor=" + cursor:                        "illegal_argument",
		"/items?reversed=false&cursor=" + cursor:         "illegal_argument",
		"/items?cursor=rubbish":                          "illegal_argument",
		"/items?cursor=LTEyMzQ1Njc4OTA":                  "illegal_argument",
		"/items?cursor=" + cursor[:len(cursor)-2]:        "illegal_argument",
		"/items?cursor=" + cursor + "AA":                 "illegal_argument",
		"/items?cursor=%00":                              "illegal_argument",
		"/items?cursor=" + strings.Repeat("A", 4000):     "illegal_argument",
		"/items?cursor=" + strings.ToUpper(cursor) + "_": "illegal_argument",
	} {
		r.fails("GET", path, "", 400, code)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b := []byte(cursor)
		i := rng.IntN(len(b))
		for b[i] == cursor[i] {
			b[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[rng.IntN(64)]
		}
		r.fails("GET", "/items?cursor="+string(b), "", 400, "illegal_argument")
	}
	// The entity at the end of the page goes: the walk does not notice.
	r.ok("DELETE", "/items/c", "")
	r.ok("DELETE", "/items/b", "")
	if a := r.ok("GET", "/items?limit=1&cursor="+cursor, ""); names(a) != "a" || a.Cursor() != "" {
		t.Errorf("after deletions: %s", a.Body)
	}
}

// TestWalk pages through a collection while others insert, delete and update:
// everything that is there all the time is met exactly once.
func TestWalk(t *testing.T) {
	r := newRest(t)
	const lasting = 300
	var batch []string
	for i := range lasting {
		batch = append(batch, fmt.Sprintf(`{"name":"keep%d"},{"name":"drop%d"}`, i, i))
	}
	r.ok("POST", "/items", "["+strings.Join(batch, ",")+"]")
	for _, direction := range []string{"", "&reversed=false"} {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() { disturb(r, w, direction, stop) })
		}
		met := map[string]int{}
		pages := 0
		for cursor := ""; ; pages++ {
			a := r.ok("GET", "/items?limit=7"+direction+"&cursor="+cursor, "")
			for _, e := range a.Entities() {
				met[fmt.Sprint(e["name"])]++
			}
			if cursor = a.Cursor(); cursor == "" || pages > 2000 {
				break
			}
		}
		close(stop)
		wg.Wait()
		for i := range lasting {
			if n := met[fmt.Sprintf("keep%d", i)]; n != 1 {
				t.Errorf("direction %q: keep%d met %d times", direction, i, n)
			}
		}
		for name, n := range met {
			if n > 1 {
				t.Errorf("direction %q: %s met %d times", direction, name, n)
			}
		}
		if pages > 2000 {
			t.Error("the walk does not end")
		}
	}
}

// disturb changes what a walk does not count on. It ends by itself: an endless
// one would let a walk towards the newest never end.
func disturb(r *rest, w int, direction string, stop chan struct{}) {
	for i := range 200 {
		select {
		case <-stop:
			return
		default:
		}
		var a apitest.Answer
		switch i % 3 {
		case 0:
			a = r.do("POST", "/items", fmt.Sprintf(`{"name":"new%s%d-%d"}`, direction, w, i))
		case 1:
			a = r.do("DELETE", fmt.Sprintf("/items/drop%d", 100*w+i/3), "")
		default:
			a = r.do("PUT", fmt.Sprintf("/items/keep%d", 100*w+i/3), fmt.Sprintf(`{"n":%d}`, i))
		}
		if a.Status != 200 && a.Status != 404 {
			r.Errorf("disturb: %d %s", a.Status, a.Body)
		}
	}
}

// TestLargePage asks for more than fits into one answer.
func TestLargePage(t *testing.T) {
	r := newRest(t)
	body := strings.Repeat("x", 2_400_000)
	for i := range 9 {
		r.ok("POST", "/items", fmt.Sprintf(`{"n":%d,"a":"%s"}`, i, body))
	}
	first := r.ok("GET", "/items?limit=1000", "")
	if n := len(first.Entities()); n < 5 || n > 8 || first.Cursor() == "" {
		t.Fatalf("%d entities, cursor %q", n, first.Cursor())
	}
	rest := r.ok("GET", "/items?limit=1000&cursor="+first.Cursor(), "")
	if len(first.Entities())+len(rest.Entities()) != 9 || rest.Cursor() != "" {
		t.Errorf("%d and %d entities", len(first.Entities()), len(rest.Entities()))
	}
}

// TestNotOffered asks for what later versions answer: never a wrong result.
func TestNotOffered(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/items", `{"name":"milk"}`)
	r.ok("POST", "/users", `{"username":"ana"}`)
	for _, request := range []string{
		"GET /items/milk/likes?tree=true",
		"GET /queues/q", "GET /apm",
	} {
		method, path, _ := strings.Cut(request, " ")
		body := ""
		if method == "PUT" || method == "POST" {
			body = `{"a":1}`
		}
		r.fails(method, path, body, 501, "not_implemented")
		// Access comes first.
		if a, err := r.Do(method, "/acme/sandbox"+path, "BADTOKEN", body); err != nil || a.Status != 401 || a.Code() != "auth_bad_access_token" {
			t.Errorf("%s with a bad token: %v %d %s", request, err, a.Status, a.Body)
		}
	}
	if got := names(r.ok("GET", "/items", "")); got != "milk" {
		t.Errorf("after all that: %s", got)
	}
}
