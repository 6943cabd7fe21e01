package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
)

// through makes requests of the sandbox through one node, again while it has no
// quorum.
func (c *trio) through(i int) apitest.Do {
	return func(method, path, body string) (apitest.Answer, error) {
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			req, err := http.NewRequest(method, "http://"+c.http[i]+"/acme/sandbox"+path, strings.NewReader(body))
			if err != nil {
				return apitest.Answer{}, err
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return apitest.Answer{}, err
			}
			text, err := io.ReadAll(res.Body)
			_ = res.Body.Close() // read whole
			if err != nil {
				return apitest.Answer{}, err
			}
			if res.StatusCode != http.StatusServiceUnavailable || time.Now().After(end) {
				return apitest.NewAnswer(res.StatusCode, res.Header, text), nil
			}
		}
	}
}

// Queries, pages and connections are the same through every node, and a cursor of
// one node is good on the next.
func TestQueriesThroughEveryNode(t *testing.T) {
	c := startTrio(t)
	c.organise(http.DefaultClient)
	if err := apitest.PutBooks(c.through(1)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		t.Run(fmt.Sprintf("node %d", i+1), func(t *testing.T) {
			apitest.WorkedExamples(t, "../../query/testdata/examples", c.through(i))
		})
	}
	ql := url.QueryEscape("year > 0 order by price desc, title")
	var got []string
	cursor := ""
	for i := 0; i == 0 || cursor != ""; i++ {
		a, err := c.through(i%3)("GET", "/books?limit=2&ql="+ql+"&cursor="+cursor, "")
		if err != nil || a.Status != 200 {
			t.Fatalf("page %d: %v %d %s", i, err, a.Status, a.Body)
		}
		for _, e := range a.Entities() {
			got = append(got, fmt.Sprint(e["name"]))
		}
		cursor = a.Cursor()
	}
	if walk := strings.Join(got, " "); walk != "b1 b4 b7 b3 b2 b6 b8 b5" {
		t.Errorf("from node to node: %s", walk)
	}
	for i := range 3 {
		target := fmt.Sprintf("/books/b1/likes/books/b%d", i+2)
		if a, err := c.through(i)("POST", target, ""); err != nil || a.Status != 200 {
			t.Fatalf("POST %s: %v %d %s", target, err, a.Status, a.Body)
		}
		a, err := c.through((i+1)%3)("GET", "/books/b1/likes", "")
		if err != nil || len(a.Entities()) != i+1 || a.Entities()[0]["name"] != fmt.Sprintf("b%d", i+2) {
			t.Errorf("right after POST %s: %v %s", target, err, a.Body)
		}
	}
}
