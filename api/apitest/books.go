package apitest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// Do makes a request of an application: the path begins below it.
type Do func(method, path, body string) (Answer, error)

// books are the entities of the worked examples of the query language, in the order in
// which they are created.
var books = []string{
	`"title":"A Tale of Two Cities","author":"Dickens","year":1859,"price":12.5,"stock":true,"tags":["classic","London"],"pub":{"city":"London","house":"Chapman"},"location":{"latitude":51.5074,"longitude":-0.1278}`,
	`"title":"Tales of the City","author":"Maupin","year":1978,"price":9,"stock":false,"tags":["san francisco"],"pub":{"city":"San Francisco"},"location":{"latitude":37.7749,"longitude":-122.4194}`,
	`"title":"The Handmaid's Tale","author":"Atwood","year":1985,"price":10,"stock":true,"tags":["classic","dystopia"],"pub":{"city":"Toronto"},"location":{"latitude":43.6532,"longitude":-79.3832}`,
	`"title":"Cities of the Plain","author":"McCarthy","year":1998,"price":12.5,"stock":false,"isbn":"0679423907","location":{"latitude":37.779,"longitude":-122.419}`,
	`"title":"invisible cities","author":"Calvino","year":1972,"stock":true,"rating":"5"`,
	`"title":"Neuromancer","author":"Gibson","year":1984,"price":7.25,"rating":5`,
	`"title":"Dune","author":"Herbert","year":1965,"price":10.0,"stock":true,"chapters":[{"name":"Dune","pages":200},{"name":"Muad Dib","pages":150}],"sequelOf":"0a090000-5e11-11e7-8000-0242ac110002"`,
	`"title":"Émile","author":"Rousseau","year":1762,"price":-1`,
	`"author":"unknown"`,
	`"title":"50% off","author":"O'Brien","year":"1984","price":"10","stock":"true","location":{"latitude":37.7749,"longitude":-122.4194}`,
}

// PutBooks creates the entities of the worked examples of the query language.
func PutBooks(do Do) error {
	for i, properties := range books {
		n := i + 1
		created := 1500000000000 + 1000*n
		modified := created
		if n == 2 {
			modified = 1500000099000
		}
		body := fmt.Sprintf(`{"name":"b%d","created":%d,"modified":%d,%s}`, n, created, modified, properties)
		a, err := do("PUT", fmt.Sprintf("/books/0a0%x0000-5e11-11e7-8000-0242ac110002", n), body)
		if err != nil || a.Status != 200 {
			return fmt.Errorf("put book %d: %w: %d %s", n, err, a.Status, a.Body)
		}
	}
	return nil
}

// WorkedExamples asks for all worked examples of the query language, which are in a file.
func WorkedExamples(t *testing.T, file string, do Do) {
	t.Helper()
	count := 0
	datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
		count++
		a, err := do("GET", "/books?limit=100&ql="+url.QueryEscape(d.Input), "")
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != 200 {
			return a.Code() + "\n"
		}
		if a.Cursor() != "" {
			t.Errorf("%s: a cursor, and all is there", d.Input)
		}
		return bookNames(t, a) + "\n"
	})
	if count != 104 {
		t.Errorf("%d examples, want 104", count)
	}
}

// bookNames returns the names of the entities of an answer, by their UUIDs: a projection
// may leave the names out.
func bookNames(t *testing.T, a Answer) string {
	t.Helper()
	var body struct {
		Entities []struct{ UUID string } `json:"entities"`
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range body.Entities {
		var n int
		if _, err := fmt.Sscanf(e.UUID, "0a0%1x", &n); err != nil {
			t.Fatalf("%q: %v", e.UUID, err)
		}
		names = append(names, fmt.Sprintf("b%d", n))
	}
	if names == nil {
		return "(none)"
	}
	return strings.Join(names, ", ")
}
