package workload

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/bench/data"
)

func TestPlansAreReadAndAddedUp(t *testing.T) {
	for _, tc := range []struct {
		plan, text string
		keys       int
	}{
		{`null`, "none", 0},
		{`{"kind":"scan","estimated":20,"examined":11}`, "scan 11", 11},
		{`{"kind":"filter","estimated":0,"examined":0,"parts":[{"kind":"walk","index":"score descending","detail":"then those without a value","examined":42}]}`,
			"filter ⟨walk score descending (then those without a value) 42⟩", 42},
		{`{"kind":"and","parts":[{"kind":"run","index":"a","examined":3},{"kind":"not","parts":[{"kind":"run","index":"b","examined":4}]}]}`,
			"and ⟨run a 3, not ⟨run b 4⟩⟩", 7},
	} {
		var s *Step
		if err := json.Unmarshal([]byte(tc.plan), &s); err != nil {
			t.Fatal(err)
		}
		if s.Keys() != tc.keys || s.String() != tc.text {
			t.Errorf("%s: %d keys, %q; want %d, %q", tc.plan, s.Keys(), s.String(), tc.keys, tc.text)
		}
	}
}

func someShapes(t *testing.T) []Shape {
	t.Helper()
	r, err := data.NewRecords(1)
	if err != nil {
		t.Fatal(err)
	}
	places := []data.Place{{Title: "L'Aquila", Country: "IT", Admin1: "01", Location: data.Location{Latitude: 42.35, Longitude: 13.4}}, {Title: `a\b`, Country: "XX"}}
	all := RecordShapes(r, "records", 2000, []string{strings.Repeat("a", idBytes), strings.Repeat("b", idBytes)})
	all = append(all, Unordered("records", 2000)...)
	return append(append(all, PlaceShapes(places, "places")...), Hello())
}

func TestQuestionsFollowFromTheSeedAndVary(t *testing.T) {
	names := make(map[string]bool)
	for _, s := range someShapes(t) {
		if names[s.Name] {
			t.Errorf("two shapes are called %q", s.Name)
		}
		names[s.Name] = true
		ask := func(seed uint64) (all []string) {
			rng := rand.New(rand.NewPCG(seed, 0))
			for range 20 {
				all = append(all, s.pathOf(s.draw(rng)))
			}
			return all
		}
		first := ask(1)
		if again := ask(1); fmt.Sprint(first) != fmt.Sprint(again) {
			t.Errorf("%s: one seed asked %q and %q", s.Name, first, again)
		}
		distinct := make(map[string]bool)
		for _, path := range first {
			distinct[path] = true
			if strings.ContainsAny(path, " '") {
				t.Errorf("%s: %q is not escaped", s.Name, path)
			}
		}
		constant := s.Collection == "" || strings.Contains(s.Name, "page of") || s.Name == EveryHundred
		if constant != (len(distinct) == 1) {
			t.Errorf("%s: %d different questions of 20", s.Name, len(distinct))
		}
	}
}

func TestStringsAreQuoted(t *testing.T) {
	if got, want := quote(`L'A\q`), `'L\'A\\q'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAnswersThatWereNotAskedForAreNoticed(t *testing.T) {
	s := Shape{Collection: "records", limit: 10}
	for _, tc := range []struct {
		rows  int
		more  bool
		next  bool
		q     question
		body  string
		wrong bool
	}{
		{rows: 10, more: true},
		{rows: 11, wrong: true},
		{rows: 9, more: true, wrong: true},
		{rows: 9, q: question{least: 10}, wrong: true},
		{rows: 0, next: true, q: question{least: 10}},
		{rows: 2, q: question{each: "x"}, body: "x", wrong: true},
		{rows: 2, q: question{each: "x"}, body: "x x"},
	} {
		a := &asker{shape: &s, asked: tc.q, rows: tc.rows, more: tc.more}
		if err := a.check([]byte(tc.body), tc.next); (err != nil) != tc.wrong {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}
