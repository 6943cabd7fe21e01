package query

import (
	"context"
	"runtime"
	"testing"

	"github.com/trellisdb/trellis/query/cursor"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// benchEntities is how many entities the benchmarks run over.
const benchEntities = 100_000

// benchKind is a large collection in a store that holds it in memory.
func benchKind(b *testing.B) *kind {
	cfg, _ := storagetest.Config(storagetest.NewDisk())
	cfg.CacheBytes = 512 << 20
	cfg.StateMemtableBytes = 64 << 20
	s, err := storage.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	engine := DefaultConfig()
	engine.CursorKey = cursor.Key{7}
	w := &world{t: b, state: s.State(), engine: New(engine), kinds: map[entity.CollectionID]*kind{}}
	k := w.kind("things", "thing")
	w.commit(func(b *storage.Batch) {
		k.set(b, entity.IndexPlan{All: true, Composites: []entity.Composite{
			{Number: 1, Keys: []entity.CompositeKey{{Property: "category"}, {Property: "score", Desc: true}}},
		}})
	})
	k.settle()
	fillThousand(k, benchEntities)
	if err := s.State().Flush(); err != nil {
		b.Fatal(err)
	}
	return k
}

func BenchmarkQueries(b *testing.B) {
	k := benchKind(b)
	v := k.w.state.View(testPartition)
	defer v.Close()
	for _, bc := range []struct {
		name  string
		text  string
		limit int
		page  int // pages before the one that is measured
	}{
		{"listing 10", "", 10, 0},
		{"listing 100", "", 100, 0},
		{"equality 2000 of 100000", "category = 'c7'", 10, 0},
		{"equality half", "half = true", 10, 0},
		{"equality none", "category = 'nothing'", 10, 0},
		{"unique name", "name = 'n777'", 10, 0},
		{"equality and order, composite", "category = 'c7' order by score desc", 10, 0},
		{"equality and order, composite reversed", "category = 'c7' order by score", 10, 0},
		{"equality 5000 and order, none", "status = 's3' order by score desc", 10, 0},
		{"equality half and order, none", "half = true order by score desc", 10, 0},
		{"range page 100", "price > 500 order by price", 100, 0},
		{"range page 100, tenth", "price > 500 order by price", 100, 9},
		{"order by desc", "order by serial desc", 10, 0},
		{"order by created desc", "order by created desc", 10, 0},
		{"contains rare", "title contains 'rare'", 10, 0},
		{"contains common", "title contains 'common'", 10, 0},
		{"words like", "title contains 'word49*'", 10, 0},
		{"within 100 km", "loc within 100000 of 10, 20", 10, 0},
		{"within 5000 km", "loc within 5000000 of 10, 20", 10, 0},
		{"and of three", "half = true and status = 's4' and category = 'c4'", 10, 0},
		{"or of two ranges", "price > 998 or serial < 50", 10, 0},
		{"and of range and equality", "status = 's3' and price > 990", 10, 0},
		{"unhelped filter, common", "title = '*word1*'", 10, 0},
		{"unhelped filter, rare", "title = '*word33 of things rare'", 10, 0},
		{"missing group", "order by rating", 100, 250},
	} {
		b.Run(bc.name, func(b *testing.B) {
			req := Request{App: testApp, From: k.source(), Query: must(b, bc.text), Limit: bc.limit}
			for range bc.page {
				page, err := k.w.engine.Run(context.Background(), v, &req)
				if err != nil {
					b.Fatal(err)
				}
				req.Cursor = page.Cursor
			}
			b.ReportAllocs()
			examined, rows := 0, 0
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			began := threadTime()
			for b.Loop() {
				page, err := k.w.engine.Run(context.Background(), v, &req)
				if err != nil {
					b.Fatal(err)
				}
				examined, rows = page.Examined, len(page.Rows)
			}
			b.ReportMetric(float64(threadTime()-began)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(examined), "keys")
			b.ReportMetric(float64(rows), "rows")
		})
	}
}

func BenchmarkFilter(b *testing.B) {
	e := entity.Entity{JSON: []byte(`{"name":"n1","serial":1,"half":false,"status":"s1","category":"c1","score":7919,"price":907.5,"title":"common word1 of things","loc":{"latitude":-10.8,"longitude":-100.9},"filler":"some text that makes it as long as usual"}`)}
	plan := entity.Defaults().Plan
	f := NewFilter(must(b, "category = 'c7' and price > 500 or title contains 'rare'").Where, &plan, "thing")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Match(&e); err != nil {
			b.Fatal(err)
		}
	}
}
