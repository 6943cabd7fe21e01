package collections

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage/entity"
)

func TestLimitOf(t *testing.T) {
	for text, want := range map[string]int{
		"": 10, "0": 10, "-5": 10, "x": 10, "1.5": 10, "7": 7, " 7 ": 7, "1000": 1000, "1001": 1000,
		"99999999999999999999999": 1000, "-99999999999999999999999": 10,
	} {
		if got := limitOf(text, defaultLimit); got != want {
			t.Errorf("limitOf(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestParseQuery(t *testing.T) {
	for text, want := range map[string]string{
		"": "select *", "  ": "select *", "*": "select *", " * ": "select *", "SELECT  *": "select *", "a = 1": "select * where a = 1",
		"select%20*": "select *", "select+%2A": "select *", "%2A": "select *", "a%20%3D%201": "select * where a = 1",
		"a = '1%2B1'": "select * where a = '1+1'", "a = '100%'": "select * where a = '100%'", "a = '%20'": "select * where a = '%20'",
	} {
		q, err := parseQuery(text)
		if err != nil || q.String() != want {
			t.Errorf("%q: %v, %v, want %s", text, q, err, want)
		}
	}
	for _, text := range []string{"%", "%zz", "select%20", "a = %"} {
		if q, err := parseQuery(text); err == nil {
			t.Errorf("%q is %s", text, q)
		}
	}
}

func TestCutMatrix(t *testing.T) {
	for segment, want := range map[string]string{
		"likes": "likes []", "users;ql=age>20;limit=100": "users [{limit 100} {ql age>20}]", "a;b": "a;b []", "x;ql=n = 'a;b'": "x [{ql n = 'a;b'}]", ";limit=1": " [{limit 1}]",
	} {
		if name, own := cutMatrix(segment); fmt.Sprint(name, " ", own) != want {
			t.Errorf("%q: %s %v, want %s", segment, name, own, want)
		}
	}
}

func TestProjection(t *testing.T) {
	e := entity.Entity{Created: 5, Modified: 6, JSON: []byte(`{"title":"Dune","Pub":{"City":"X","house":"Y"},"chapters":[{"name":"a","n":1},{"n":2}],"a.b":1}`)}
	for text, want := range map[string][2]string{
		"select title, pub.city":          {`{"title":"Dune","Pub":{"City":"X"}}`, `["Dune","X"]`},
		"select chapters.name, nosuch":    {`{"chapters":[{"name":"a"}]}`, `[["a"],null]`},
		"select nosuch":                   {`{}`, ``},
		"select created, uuid, a.b":       {`{"created":5,"a.b":1}`, `[5,"00000000-0000-0000-0000-000000000000",1]`},
		"select {T: title, c: PUB.house}": {`{"T":"Dune","c":"Y"}`, `{"T":"Dune","c":"Y"}`},
		"select pub, pub.city":            {`{"Pub":{"City":"X","house":"Y"}}`, `[{"City":"X","house":"Y"},"X"]`},
	} {
		q, err := parseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		p := newProjection(q)
		if got := string(p.reduce(&e, "book")); got != want[0] || string(p.list) != want[1] {
			t.Errorf("%s: %s and %s, want %s and %s", text, got, p.list, want[0], want[1])
		}
	}
}

func TestIsEmail(t *testing.T) {
	for s, want := range map[string]bool{
		"ana@example.test": true, "a.b_c%d'e+f-g@x-y.example.org": true, "E@X.ORG": true,
		"ana": false, "@x.org": false, "a@": false, "a@b": false, "a@b.c": false, "a@.org": false, "a b@x.org": false, "a@x.o1": false,
		"a@b@x.org": false, "": false,
	} {
		if got := isEmail(s); got != want {
			t.Errorf("isEmail(%q) = %v", s, got)
		}
	}
}

func TestGravatar(t *testing.T) {
	// The address of Gravatar's own documentation.
	const want = "http://www.gravatar.com/avatar/0bc83cb571cd1c50ba6f3e8a78ef1346"
	if got := gravatar(" MyEmailAddress@example.com "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCollectionNames(t *testing.T) {
	got, err := collectionNames([]byte(`{"collections":{"Widget":{},"widgets":{},"applications":{},"box":1}}`))
	if err != nil || strings.Join(got, " ") != "widgets boxes" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := collectionNames([]byte(`[]`)); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := collectionNames([]byte(`{"collections":{"entities":{}}}`)); err == nil {
		t.Error("entities taken for a collection")
	}
}
