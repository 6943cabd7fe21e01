package query

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// published is a time of which there are few, and some that are extreme.
func (m maker) published() int64 {
	return pick(m, int64(m.IntN(10)), int64(m.IntN(10)), -3, math.MinInt64, math.MaxInt64)
}

// fillList puts some entities into lists, of which others are gone.
func (m maker) fillList(w *world, k *kind, at List) {
	w.commit(func(b *storage.Batch) {
		for _, d := range k.sorted() {
			if m.one(2) {
				w.list(b, at, d.Seq, m.published(), true)
			}
			w.list(b, List{Owner: at.Owner, List: 3 - at.List}, d.Seq, m.published(), true)
			w.list(b, List{Owner: entity.End{Collection: at.Owner.Collection, Seq: at.Owner.Seq + 1}, List: at.List}, d.Seq, m.published(), true)
		}
	})
	w.commit(func(b *storage.Batch) {
		for _, d := range k.sorted()[1:] {
			if m.one(8) {
				k.remove(b, d)
			}
		}
	})
}

// TestRandomQueriesOverLists compares the engine with the naive evaluation.
func TestRandomQueriesOverLists(t *testing.T) {
	for seed := range uint64(rounds(8)) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			m, w := newMaker(2000+seed), newWorld(t)
			k := w.kind("activities", "activity")
			m.settle(k)
			m.fill(k, 60)
			at := List{Owner: entity.End{Collection: 7, Seq: 4}, List: pick(m, keys.Outbox, keys.Feed)}
			m.fillList(w, k, at)
			for i := range 60 {
				text := m.query(k)
				if i%3 == 0 {
					text = ""
				}
				req := Request{From: k.source(), List: &at, Query: must(t, text), OldestFirst: m.one(3)}
				w.compare(m, req, fmt.Sprintf("%q, oldest %v", text, req.OldestFirst))
			}
		})
	}
}

// TestPagesOfListsWhileThingsChange changes the world between the pages of a list: then what
// keeps its place is met exactly once.
func TestPagesOfListsWhileThingsChange(t *testing.T) {
	for seed := range uint64(rounds(20)) {
		m, w := newMaker(3000+seed), newWorld(t)
		k := w.kind("activities", "activity")
		m.fill(k, 80)
		at := List{Owner: entity.End{Collection: 7, Seq: 4}, List: keys.Feed}
		m.fillList(w, k, at)
		req := Request{From: k.source(), List: &at, Query: must(t, ""), OldestFirst: m.one(2)}
		order := naiveOrder(&req)
		var last *candidate
		for {
			req.Limit = 1 + m.IntN(6)
			got, err := w.page(&req)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.DeleteFunc(w.naive(&req, planOf), func(c candidate) bool { return last != nil && order(c, *last) <= 0 })
			if more := len(want) > req.Limit; more != (got.Cursor != "") {
				t.Fatalf("seed %d: a cursor is %v, and %d more match", seed, got.Cursor != "", len(want))
			}
			want = want[:min(len(want), req.Limit)]
			if d := difference(got.Rows, want); d != "" {
				t.Fatalf("seed %d: %s", seed, d)
			}
			if req.Cursor = got.Cursor; req.Cursor == "" {
				break
			}
			last = &want[len(want)-1]
			w.commit(func(b *storage.Batch) {
				list := k.sorted()
				for range m.IntN(5) {
					d := pick(m, list...)
					switch m.IntN(3) {
					case 0:
						w.list(b, at, d.Seq, 0, false)
					case 1:
						if _, in := w.lists[at][d.Seq]; !in {
							w.list(b, at, d.Seq, m.published(), true)
						}
					default:
						w.list(b, at, m.add(b, k).Seq, m.published(), true)
					}
				}
			})
		}
	}
}

// TestCursorsOfRows: each row has one, by which the walk goes on after it, and which is of
// no other list.
func TestCursorsOfRows(t *testing.T) {
	m, w := newMaker(1), newWorld(t)
	k := w.kind("activities", "activity")
	m.fill(k, 40)
	at := List{Owner: entity.End{Collection: 7, Seq: 4}, List: keys.Feed}
	m.fillList(w, k, at)
	for _, text := range []string{"", "order by created", "order by rating desc, uuid"} {
		req := Request{From: k.source(), List: &at, Query: must(t, text), Limit: 100, Cursors: true}
		all, err := w.page(&req)
		if err != nil || len(all.Rows) < 10 || all.Cursor != "" {
			t.Fatalf("%q: %+v, %v", text, all, err)
		}
		req.Limit = 3
		for i := range all.Rows[:len(all.Rows)-1] {
			req.Cursor = all.Rows[i].Cursor
			rest, err := w.page(&req)
			if err != nil || rest.Rows[0].Entity.ID != all.Rows[i+1].Entity.ID {
				t.Fatalf("%q: after row %d: %v", text, i, err)
			}
		}
		for _, other := range []List{{Owner: at.Owner, List: keys.Outbox}, {Owner: entity.End{Collection: 7, Seq: 5}, List: keys.Feed}} {
			req.List = &other
			if _, err := w.page(&req); !fault.Is(err, fault.IllegalArgument) {
				t.Errorf("%q: a cursor of another list: %v", text, err)
			}
		}
		req.List = nil
		if _, err := w.page(&req); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%q: a cursor of a list over all: %v", text, err)
		}
	}
}

// TestStartAndDirectOfAList, as of other sources.
func TestStartAndDirectOfAList(t *testing.T) {
	m, w := newMaker(1), newWorld(t)
	k := w.kind("activities", "activity")
	m.fill(k, 20)
	at := List{Owner: entity.End{Collection: 7, Seq: 4}, List: keys.Outbox}
	w.commit(func(b *storage.Batch) {
		for _, d := range k.sorted() {
			if d.Seq%2 == 0 {
				w.list(b, at, d.Seq, int64(d.Seq/3), true)
			}
		}
	})
	all := w.naive(&Request{From: k.source(), List: &at, Query: must(t, "")}, planOf)
	for i, c := range all {
		for _, oldest := range []bool{false, true} {
			page, err := w.page(&Request{From: k.source(), List: &at, Query: must(t, ""), Limit: 1, Start: c.doc.Seq, OldestFirst: oldest})
			if err != nil || len(page.Rows) != 1 || page.Rows[0].Entity.ID != all[i].doc.ID {
				t.Fatalf("from %d, oldest %v: %+v, %v", c.doc.Seq, oldest, page, err)
			}
		}
	}
	var ids []string
	for _, d := range k.sorted() {
		ids = append(ids, d.ID.String())
	}
	page, err := w.page(&Request{From: k.source(), List: &at, Query: must(t, "select * where direct "+strings.Join(ids, ",")), Limit: 10})
	if err != nil || len(page.Rows) != len(all) {
		t.Errorf("direct: %d rows, want %d, %v", len(page.Rows), len(all), err)
	}
	if !slices.IsSortedFunc(page.Rows, func(a, b Row) int { return cmp.Compare(a.Entity.Seq, b.Entity.Seq) }) {
		t.Error("direct: not in the order that was asked for")
	}
}

// TestListsAreBounded: a filter that finds nothing ends with a word of advice.
func TestListsAreBounded(t *testing.T) {
	m, w := newMaker(1), newWorld(t)
	k := w.kind("activities", "activity")
	m.fill(k, 400)
	at := List{Owner: entity.End{Collection: 7, Seq: 4}, List: keys.Feed}
	w.commit(func(b *storage.Batch) {
		for _, d := range k.sorted() {
			w.list(b, at, d.Seq, 0, true)
		}
	})
	w.engine.cfg.MaxKeys = 300
	for _, text := range []string{"nosuch = 1", "order by rating"} {
		q, err := ql.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.page(&Request{From: k.source(), List: &at, Query: q, Limit: 10})
		if !fault.Is(err, fault.QueryTooCostly) || !strings.Contains(err.Error(), "without another order") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
