package collections_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

// books is a server with the books of the query language's examples.
func books(t *testing.T) *rest {
	r := newRest(t)
	if err := apitest.PutBooks(r.try); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rest) try(method, path, body string) (apitest.Answer, error) {
	return r.Do(method, r.App+path, r.token, body)
}

// query asks for what a query text selects.
func (r *rest) query(path, ql string) apitest.Answer {
	r.Helper()
	return r.ok("GET", path+"?limit=100&ql="+url.QueryEscape(ql), "")
}

func TestWorkedExamples(t *testing.T) {
	r := books(t)
	apitest.WorkedExamples(t, "../../query/testdata/examples", r.try)
}

// TestProjectionOverREST is the projection detail of the worked examples.
func TestProjectionOverREST(t *testing.T) {
	r := books(t)
	a := r.query("/books", "select title, author where year = 1984")
	if got, _ := json.Marshal(a.Fields["list"]); string(got) != `[["Neuromancer","Gibson"]]` || fmt.Sprint(a.Fields["count"]) != "1" {
		t.Errorf("list %s, count %v", got, a.Fields["count"])
	}
	const id = "0a060000-5e11-11e7-8000-0242ac110002"
	want := `"entities":[{"uuid":"` + id + `","type":"book","title":"Neuromancer","author":"Gibson","metadata":{"path":"/books/` + id + `"}}]`
	if !strings.Contains(a.Body, want) {
		t.Errorf("%s, want %s", a.Body, want)
	}
	a = r.query("/books", "select {t: title, c: pub.city} where author = 'dickens'")
	if got, _ := json.Marshal(a.Fields["list"]); string(got) != `[{"c":"London","t":"A Tale of Two Cities"}]` {
		t.Errorf("list %s", got)
	}
	if a = r.query("/books", "select isbn"); fmt.Sprint(a.Fields["count"]) != "1" || len(a.Entities()) != 10 {
		t.Errorf("count %v of %d entities", a.Fields["count"], len(a.Entities()))
	}
}

// TestPagingOfQueries walks in pages of every size, and after changes on the way.
func TestPagingOfQueries(t *testing.T) {
	r := books(t)
	for _, ql := range []string{"", "order by price, title", "stock = true or year > 1970 order by year desc", "title contains 'cities'",
		"location within 10000000 of 37.7749,-122.4194", "order by tags desc", "not rating = 5"} {
		whole := names(r.query("/books", ql))
		for limit := 1; limit <= 11; limit++ {
			var got []string
			for cursor := ""; ; {
				a := r.ok("GET", fmt.Sprintf("/books?limit=%d&ql=%s&cursor=%s", limit, url.QueryEscape(ql), cursor), "")
				if n := names(a); n != "" {
					got = append(got, n)
				}
				if cursor = a.Cursor(); cursor == "" {
					break
				}
				if len(a.Entities()) != limit {
					t.Fatalf("%q: a page of %d has %d and a cursor", ql, limit, len(a.Entities()))
				}
			}
			if joined := strings.Join(got, " "); joined != whole {
				t.Errorf("%q in pages of %d: %s, want %s", ql, limit, joined, whole)
			}
		}
	}
	first := r.ok("GET", "/books?limit=4", "")
	r.ok("POST", "/books", `{"name":"b11"}`)
	r.ok("DELETE", "/books/b6", "")
	second := r.ok("GET", "/books?limit=4&cursor="+first.Cursor(), "")
	third := r.ok("GET", "/books?limit=4&cursor="+second.Cursor(), "")
	if names(first) != "b10 b9 b8 b7" || names(second) != "b5 b4 b3 b2" || names(third) != "b1" || third.Cursor() != "" {
		t.Errorf("%s, %s, %s", names(first), names(second), names(third))
	}
}

// TestCursorsAreBound: a cursor serves the request it was made for, and no other.
func TestCursorsAreBound(t *testing.T) {
	r := books(t)
	r.ok("POST", "/items", `[{"name":"a"},{"name":"b"}]`)
	ql := "&ql=" + url.QueryEscape("year > 0 order by year")
	cursor := r.ok("GET", "/books?limit=2"+ql, "").Cursor()
	if got := names(r.ok("GET", "/books?limit=3"+strings.ToUpper(ql[:4])[:0]+ql+"&cursor="+cursor, "")); got != "b7 b5 b2" {
		t.Errorf("the next page is %s", got)
	}
	for _, path := range []string{
		"/books?cursor=" + cursor, "/books?ql=year>0&cursor=" + cursor, "/items?x=1" + ql + "&cursor=" + cursor, "/books?filter=a=1" + ql + "&cursor=" + cursor,
		"/books?x=1" + ql + "&cursor=x", "/books?x=1" + ql + "&cursor=" + cursor[:len(cursor)-4], "/books?x=1" + ql + "&cursor=" + cursor + "AAAA",
		"/books?x=1" + ql + "&cursor=" + strings.Repeat("A", 5000), "/books/b1/likes?cursor=" + cursor,
		"/books?ql=" + url.QueryEscape("select * where direct b1") + "&cursor=" + cursor,
	} {
		r.fails("GET", path, "", 400, "illegal_argument")
	}
}

// TestQueryParameters: synonyms, precedence, filters, and forms of old clients.
func TestQueryParameters(t *testing.T) {
	r := books(t)
	for path, want := range map[string]string{
		"/books?q=year=1984":                                  "b6",
		"/books?query=year=1984":                              "b6",
		"/books?query=year=1&ql=year=1984&q=year=2":           "b6",
		"/books?ql=year=1984&ql=year=1978":                    "b6",
		"/books?q=*&limit=2":                                  "b10 b9",
		"/books?filter=year>1970&filter=stock=true":           "b5 b3",
		"/books?filter=year>1970&ql=price<11":                 "b6 b3 b2",
		"/books?reversed=false&limit=3":                       "b1 b2 b3",
		"/books?reversed=true&limit=2":                        "b10 b9",
		"/books?reversed=false&ql=stock=true":                 "b1 b3 b5 b7",
		"/books?reversed=false&ql=order+by+year+desc&limit=2": "b4 b3",
		"/books?start=0a030000-5e11-11e7-8000-0242ac110002":   "b3 b2 b1",
		"/books?start=nonsense&limit=1":                       "b10",
		"/books?ql=author%2520%253D%2520'dickens'":            "b1",
		"/books;ql=year=1984;limit=5":                         "b6",
		"/books/all?ql=year=1984":                             "b6",
		"/books/%7B%22ql%22%3A%22year%20%3D%201984%22%7D":     "b6",
		"/books?ql=author='o%5C'brien'":                       "b10",
		"/books?ql=title='50%25%20off'":                       "b10",
	} {
		if got := names(r.ok("GET", path, "")); got != want {
			t.Errorf("GET %s: %s, want %s", path, got, want)
		}
	}
	r.fails("GET", "/books?filter=order+by+x", "", 400, "query_parse")
	r.fails("GET", "/books?filter="+url.QueryEscape("a = \"x\""), "", 400, "query_token")
	a := r.ok("GET", "/books?analyzeOnly=true&ql="+url.QueryEscape("a=1 or b=1 or c=1 or d=1 or e=1"), "")
	if !strings.Contains(a.Body, `"metadata":{"queryWarnings":[{"violation":"operand_count_exceeded","limit":8,"actual":9}]}`) || len(a.Entities()) != 0 {
		t.Errorf("analyzeOnly: %s", a.Body)
	}
	if a = r.ok("GET", "/books?explain=true&limit=0&ql=year=1984", ""); len(a.Entities()) != 0 || a.Fields["plan"] == nil {
		t.Errorf("explain: %s", a.Body)
	}
	if a = r.query("/books", "location within 1000 of 37.7749, -122.4194"); !strings.Contains(a.Body, `"distance":457.`) {
		t.Errorf("no distance of 457 m: %s", a.Body)
	}
	direct := make([]string, 1001)
	for i := range direct {
		direct[i] = fmt.Sprintf("n%d", i)
	}
	r.fails("POST", "/books?ql=x", `["a"]`, 400, "illegal_argument")
	if a := r.do("GET", "/books?ql="+url.QueryEscape("select * where direct "+strings.Join(direct, ",")), ""); a.Status != 400 || a.Code() != "too_many_direct_entities" {
		t.Errorf("1001 direct: %d %.200s", a.Status, a.Body)
	}
}

// TestChangesByQuery is spec collections-and-entities sections 8 and 9.
func TestChangesByQuery(t *testing.T) {
	r := books(t)
	a := r.ok("PUT", "/books?limit=1&ql="+url.QueryEscape("year > 1970 order by year"), `{"seen":true,"price":null}`)
	if names(a) != "b5 b2 b6 b3 b4" || strings.Contains(a.Body, `"price"`) || a.Fields["count"] != nil {
		t.Errorf("updated %s: %s", names(a), a.Body)
	}
	if got := names(r.query("/books", "seen = true")); got != "b6 b5 b4 b3 b2" {
		t.Errorf("seen: %s", got)
	}
	r.fails("PUT", "/books?ql=year=1", `{"a":1}`, 404, "service_resource_not_found")
	r.fails("PUT", "/books?ql=year>1970", `{"name":"same"}`, 400, "illegal_argument")
	r.fails("PUT", "/books?ql=year>1970", `[1]`, 400, "json_mapping")
	r.fails("PUT", "/books?ql=year>1970", ``, 400, "json_parse")
	if got := names(r.ok("PUT", "/books?ql=year=1998", `{"name":"renamed"}`)); got != "renamed" {
		t.Errorf("renamed %s", got)
	}
	r.fails("PUT", "/books?ql=year=1984", `{"name":"RENAMED"}`, 400, "duplicate_unique_property_exists")
	if got := len(r.ok("PUT", "/books?ql=", `{"all":1}`).Entities()); got != 10 {
		t.Errorf("an empty query changes %d", got)
	}
	r.fails("DELETE", "/books", "", 405, "unsupported_service_operation")
	if got := names(r.ok("DELETE", "/books?limit=2&ql="+url.QueryEscape("all = 1 order by year"), "")); got != "b8 b1" {
		t.Errorf("deleted %s", got)
	}
	if got := len(r.ok("DELETE", "/books?ql=nosuch=1", "").Entities()); got != 0 {
		t.Errorf("deleted %d", got)
	}
	if got := len(r.ok("DELETE", "/books?limit=1000", "").Entities()); got != 8 {
		t.Errorf("deleted %d, want the other 8", got)
	}
	if a := r.ok("GET", "", ""); !strings.Contains(a.Body, `"books":{"title":"Books","count":0`) {
		t.Errorf("after all that: %s", a.Body)
	}
}
