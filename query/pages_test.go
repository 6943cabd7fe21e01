package query

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// TestPagesWhileThingsChange changes the collection between pages. Each page must be what
// matches now and sorts behind what the last row of the page before sorted by when it was
// returned: then what keeps its place is met exactly once.
func TestPagesWhileThingsChange(t *testing.T) {
	for seed := range uint64(rounds(8)) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { newMaker(1000 + seed).walkMany(newWorld(t)) })
	}
}

// walkMany walks over the pages of many queries of a world.
func (m maker) walkMany(w *world) {
	k := w.kind("things", "thing")
	m.settle(k)
	m.fill(k, 60)
	near := k.end(k.sorted()[0])
	for range 25 {
		m.tune(w)
		text := m.query(k)
		req := Request{From: k.source(), Query: must(w.t, text), OldestFirst: m.one(4)}
		if m.one(4) {
			req.Edges = &Edges{Near: near, Direction: keys.Outbound, Verbs: []entity.VerbID{1, 2}, Collection: w.collection}
		}
		m.walkWhileChanging(w, k, near, req, fmt.Sprintf("%s (%+v)", text, w.engine.tune))
	}
}

func (m maker) walkWhileChanging(w *world, k *kind, near entity.End, req Request, what string) {
	var last *candidate
	for page := 0; page < 40; page++ {
		req.Limit = 1 + m.IntN(6)
		got, err := w.page(&req)
		if err != nil {
			w.t.Fatalf("%s: page %d: %v", what, page, err)
		}
		var want []candidate
		order := naiveOrder(&req)
		for _, c := range w.naive(&req, planOf) {
			if last == nil || order(c, *last) > 0 {
				want = append(want, c)
			}
		}
		if more := len(want) > req.Limit; more != (got.Cursor != "") {
			w.t.Fatalf("%s: page %d: a cursor is %v, and %d more match", what, page, got.Cursor != "", len(want))
		}
		want = want[:min(len(want), req.Limit)]
		if d := difference(got.Rows, want); d != "" {
			w.t.Fatalf("%s: page %d: %s", what, page, d)
		}
		if req.Cursor = got.Cursor; req.Cursor == "" {
			return
		}
		last = &want[len(want)-1]
		copied := *last.doc
		last.doc = &copied
		w.commit(func(b *storage.Batch) { m.disturb(w, b, k, near) })
	}
}

// disturb makes some random changes.
func (m maker) disturb(w *world, b *storage.Batch, k *kind, near entity.End) {
	for range m.IntN(6) {
		list := k.sorted()
		switch m.IntN(4) {
		case 0:
			if len(list) > 20 {
				k.remove(b, pick(m, list[1:]...))
			}
		case 1:
			m.add(b, k)
		case 2:
			m.change(b, k, pick(m, list...))
		default:
			w.connect(b, near, entity.VerbID(1+m.IntN(2)), k.end(pick(m, list...)))
		}
	}
}

func TestCursorsAreBoundToTheirRequest(t *testing.T) {
	k := books(t)
	req, _ := k.request("order by year", 2)
	req.Binding = []byte("/books")
	page, err := k.w.page(req)
	if err != nil || page.Cursor == "" {
		t.Fatal(page, err)
	}
	for name, change := range map[string]func(r *Request){
		"another path":       func(r *Request) { r.Binding = []byte("/other") },
		"another query":      func(r *Request) { r.Query = must(t, "order by year desc") },
		"no query":           func(r *Request) { r.Query = nil },
		"reversed":           func(r *Request) { r.OldestFirst = true },
		"another collection": func(r *Request) { r.From.ID++ },
		"connections":        func(r *Request) { r.Edges = &Edges{Direction: keys.Outbound, Collection: k.w.collection} },
		"direct":             func(r *Request) { r.Query = must(t, "select * where direct b1") },
		"a piece":            func(r *Request) { r.Cursor = r.Cursor[1:] },
		"rubbish":            func(r *Request) { r.Cursor = "LTEyMzQ1Njc4OTA" },
	} {
		other := *req
		other.Cursor = page.Cursor
		change(&other)
		if _, err := k.w.page(&other); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	req.Cursor, req.Limit = page.Cursor, 100
	if page, err = k.w.page(req); err != nil || names(page.Rows) != "b7, b5, b2, b6, b3, b4, b10, b9" {
		t.Errorf("the next page is %v, %v", names(page.Rows), err)
	}
}

func TestCursorsOfManyLongKeysFit(t *testing.T) {
	w := newWorld(t)
	k := w.kind("things", "thing")
	var props, order []string
	for i := range maxSortKeys {
		props = append(props, fmt.Sprintf(`"p%d":"%s"`, i, strings.Repeat("x\\u0000", 200)))
		order = append(order, fmt.Sprintf("p%d desc", i))
	}
	w.commit(func(b *storage.Batch) {
		for i := range 10 {
			k.add(b, entity.ID{byte(i)}, 1, 1, "{"+strings.Join(props, ",")+"}")
		}
	})
	for n := 1; n <= maxSortKeys; n++ {
		req := Request{From: k.source(), Query: must(t, "order by "+strings.Join(order[:n], ","))}
		rows, err := w.walk(req, func() int { return 3 })
		if err != nil || len(rows) != 10 {
			t.Errorf("%d keys: %d rows, %v", n, len(rows), err)
		}
	}
	req := Request{From: k.source(), Query: &ql.Query{Order: make([]ql.SortKey, maxSortKeys+1)}, Limit: 1}
	if _, err := w.page(&req); !fault.Is(err, fault.IllegalArgument) {
		t.Errorf("too many keys: %v", err)
	}
}

func TestStart(t *testing.T) {
	k := books(t)
	for _, tc := range []struct {
		text   string
		oldest bool
		want   string
	}{
		{"", false, "b4, b3, b2, b1"},
		{"", true, "b4, b5, b6, b7, b8, b9, b10"},
		{"stock = true", false, "b3, b1"},
		{"order by year desc", false, "b4, b3, b6, b2, b5, b7, b1, b8, b10, b9"},
	} {
		req, _ := k.request(tc.text, 10)
		req.Start, req.OldestFirst = 4, tc.oldest
		page, err := k.w.page(req)
		if err != nil || names(page.Rows) != tc.want {
			t.Errorf("%q: %s, %v, want %s", tc.text, names(page.Rows), err, tc.want)
		}
	}
}

func TestDirect(t *testing.T) {
	k := books(t)
	w := k.w
	end := func(n entity.Seq) entity.End { return entity.End{Collection: k.id, Seq: n} }
	w.commit(func(b *storage.Batch) {
		for _, n := range []entity.Seq{3, 5, 2} {
			w.connect(b, end(1), 1, end(n))
		}
	})
	const text = "select * where direct B2, nosuch, b4, 0a050000-5e11-11e7-8000-0242ac110002, b5, 0a050000-5e11-11e7-8000-0242ac119999, b3"
	req, _ := k.request(text, 1)
	page, err := w.page(req)
	if err != nil || names(page.Rows) != "b2, b4, b5, b3" || page.Cursor != "" {
		t.Errorf("%v, %v", names(page.Rows), err)
	}
	req.Edges = &Edges{Near: end(1), Direction: keys.Outbound, Verbs: []entity.VerbID{1, 2}, Collection: w.collection}
	page, err = w.page(req)
	if err != nil || names(page.Rows) != "b2, b5, b3" || page.Cursor != "" {
		t.Errorf("connected: %v, %v", names(page.Rows), err)
	}
	req.Query = &ql.Query{Direct: make([]string, maxDirect+1)}
	if _, err := w.page(req); !fault.Is(err, fault.TooManyDirect) {
		t.Errorf("too many: %v", err)
	}
}

func TestNoCollection(t *testing.T) {
	w := newWorld(t)
	for _, text := range []string{"", "a = 1 order by b", "select * where direct a"} {
		page, err := w.page(&Request{Query: must(t, text), Limit: 10})
		if err != nil || len(page.Rows) != 0 || page.Cursor != "" {
			t.Errorf("%q: %v, %v", text, page, err)
		}
	}
}

func TestLargeEntitiesEndAPageEarly(t *testing.T) {
	w := newWorld(t)
	k := w.kind("things", "thing")
	large := strings.Repeat("x", 10_000)
	w.commit(func(b *storage.Batch) {
		for i := range 60 {
			k.add(b, entity.ID{byte(i)}, 1, 1, fmt.Sprintf(`{"n":%d,"m":1,"big":["%s"]}`, i, large))
		}
	})
	w.engine.cfg.PageBytes = 100_000
	for _, text := range []string{"", "m = 1", "order by n", "order by m, n", "big = 'x*' order by n"} {
		req := Request{From: k.source(), Query: must(t, text), Limit: 100}
		total := 0
		for pages := 1; ; pages++ {
			page, err := w.page(&req)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			if len(page.Rows) > 11 {
				t.Fatalf("%q: a page of %d rows", text, len(page.Rows))
			}
			total += len(page.Rows)
			if req.Cursor = page.Cursor; req.Cursor == "" {
				break
			}
		}
		if total != 60 {
			t.Errorf("%q: %d rows", text, total)
		}
	}
}

func TestCostIsBounded(t *testing.T) {
	k := thousand(t, 3000)
	k.w.engine.cfg.MaxKeys = 1500
	for _, tc := range []struct{ text, advice string }{
		{"title = '*nothing*'", "a condition that an index can narrow down"},
		{"status = 's3' and title = '*nothing*' order by half, score desc", `composite index ["status", "half", "score desc"]`},
		{"half = true and filler contains '*x*' and not filler contains 'text' order by score", `composite index ["half", "score"]`},
	} {
		req, _ := k.request(tc.text, 10)
		page, err := k.w.page(req)
		if !fault.Is(err, fault.QueryTooCostly) || !strings.Contains(err.Error(), tc.advice) {
			t.Errorf("%s: %v, %v", tc.text, page, err)
		}
	}
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	v := k.w.state.View(testPartition)
	defer v.Close()
	req, _ := k.request("title = '*nothing*'", 10)
	req.App = testApp
	if _, err := k.w.engine.Run(ctx, v, req); !fault.Is(err, fault.Timeout) {
		t.Errorf("after the deadline: %v", err)
	}
}

// TestDeletedKeysCount states that keys Pebble steps over inside are examined as well.
func TestDeletedKeysCount(t *testing.T) {
	w := newWorld(t)
	k := w.kind("things", "thing")
	w.commit(func(b *storage.Batch) {
		for i := range 5000 {
			k.add(b, entity.ID{byte(i), byte(i >> 8)}, 1, 1, `{}`)
		}
	})
	w.commit(func(b *storage.Batch) {
		for _, d := range k.sorted()[10:] {
			k.remove(b, d)
		}
	})
	page, err := w.page(&Request{From: k.source(), Limit: 10})
	if err != nil || len(page.Rows) != 10 || page.Examined < 4000 {
		t.Errorf("%d rows, %d keys examined, %v", len(page.Rows), page.Examined, err)
	}
}

// TestLargeConditions states that what a client can write has a bound.
func TestLargeConditions(t *testing.T) {
	k := thousand(t, 3000)
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("serial = %d", i))
	}
	var ranges []string
	for i := range 5000 {
		ranges = append(ranges, fmt.Sprintf("serial > %d and serial < %d", i*10, i*10+2))
	}
	for name, text := range map[string]string{
		"many values":         strings.Join(many, " or "),
		"many values ordered": strings.Join(many, " or ") + " order by score",
		"many ranges":         strings.Join(ranges, " or "),
		"many words":          "title contains '" + strings.Repeat("rare ", 5000) + "'",
		"any word":            "title contains '*'",
		"any text":            "title = '*'",
		"deep":                strings.Repeat("(", 200) + "serial = 1" + strings.Repeat(")", 200),
		"not deep":            strings.Repeat("not (half = true and ", 100) + "serial = 1" + strings.Repeat(")", 100),
		"many stars":          "filler = '" + strings.Repeat("*e", 200) + "'",
	} {
		req, err := k.request(text, 10)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		began := time.Now()
		page, err := k.w.page(req)
		if err != nil && !fault.Is(err, fault.QueryTooCostly) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %v", name, took)
		} else if page != nil {
			t.Logf("%s: %d rows, %d keys, %v", name, len(page.Rows), page.Examined, took)
		}
	}
}

func TestFilter(t *testing.T) {
	e := entity.Entity{ID: entity.ID{1}, Created: 5, Modified: 7, JSON: []byte(`{"A":[1,"Two"],"b":{"C":true}}`)}
	all, some := entity.Defaults().Plan, entity.IndexPlan{Generation: 1, Fields: []string{"a"}}
	none := entity.IndexPlan{Generation: 1, None: true}
	for _, tc := range []struct {
		text string
		plan *entity.IndexPlan
		want bool
	}{
		{"a = 1 and a = 'two' and b.c = true and created < modified2", &all, false},
		{"a = 1 and a = 'two' and b.c = true and created = 5 and modified > 6 and type = 'Thing'", &all, true},
		{"b.c = true", &some, false},
		{"not b.c = true", &some, true},
		{"not b.c = true", &none, false},
		{"uuid = 01000000-0000-0000-0000-000000000000 and uuid contains '01000000'", &all, true},
	} {
		q, err := ql.Parse(tc.text)
		if err != nil {
			continue
		}
		f := NewFilter(q.Where, tc.plan, "thing")
		for range 2 {
			if got, err := f.Match(&e); err != nil || got != tc.want {
				t.Errorf("%s: %v, %v", tc.text, got, err)
			}
		}
	}
	f := NewFilter(must(t, "a = 'two' or b.c = true and not a > 3").Where, &all, "thing")
	if n := testing.AllocsPerRun(100, func() { _, _ = f.Match(&e) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
