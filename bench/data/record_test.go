package data

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

type record struct {
	Name, Status, Category, Title, Text string
	Score                               *float64
	Rank, Added                         *int64
	Tags                                []string
	Location                            *Location
	Active                              *bool
	Nested                              *struct{ City string }
}

func records(t *testing.T, seed uint64) *Records {
	t.Helper()
	r, err := NewRecords(seed)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecordsFollowFromSeedAndNumber(t *testing.T) {
	a, same, other := records(t, 7), records(t, 7), records(t, 8)
	for _, n := range []uint64{0, 1, 999_999} {
		want := a.Append(nil, n)
		if got := same.Append([]byte("x"), n)[1:]; !bytes.Equal(got, want) {
			t.Errorf("record %d of one seed:\n%s\n%s", n, got, want)
		}
		if bytes.Equal(other.Append(nil, n), want) || bytes.Equal(a.Append(nil, n+1), want) {
			t.Errorf("record %d is also that of another seed or number", n)
		}
	}
	const golden = `{"name":"record-7-0","status":"`
	if got := a.Append(nil, 0); !bytes.HasPrefix(got, []byte(golden)) {
		t.Errorf("%s does not begin with %s", got, golden)
	}
}

func TestRecordsHaveTwelveProperties(t *testing.T) {
	r := records(t, 3)
	ranks := make(map[int64]bool)
	var last int64
	common, rare := 0, 0
	const n = 5000
	for i := range uint64(n) {
		raw := r.Append(nil, i)
		var all map[string]json.RawMessage
		var e record
		if err := json.Unmarshal(raw, &all); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if len(all) != 12 || e.Name != r.Name(i) || e.Status == "" || e.Category == "" || e.Score == nil || e.Rank == nil || len(e.Tags) != 2 ||
			e.Tags[0] == e.Tags[1] || e.Location == nil || e.Active == nil || e.Nested == nil || !strings.HasSuffix(e.Nested.City, " city") {
			t.Fatalf("record %d: %s", i, raw)
		}
		if *e.Rank < 0 || *e.Rank >= RankBound || *e.Score < 0 || *e.Score > ScoreBound || *e.Added <= last {
			t.Fatalf("record %d: %s", i, raw)
		}
		ranks[*e.Rank], last = true, *e.Added
		if strings.Contains(e.Title, Word(0)) {
			common++
		}
		if strings.Contains(e.Title, Word(Vocabulary-1)) {
			rare++
		}
	}
	if len(ranks) < n-5 {
		t.Errorf("%d ranks of %d records", len(ranks), n)
	}
	if common < n/4 || rare > n/200 {
		t.Errorf("of %d titles %d hold the common word and %d the rare one", n, common, rare)
	}
}

func TestWordsDiffer(t *testing.T) {
	seen := make(map[string]int)
	for i := range Vocabulary + Towns {
		w := Word(i)
		if was, twice := seen[w]; twice || len(w) != 6 || strings.ContainsAny(w, "cjqwxyz") {
			t.Errorf("word %d is %q, as word %d", i, w, was)
		}
		seen[w] = i
	}
}
