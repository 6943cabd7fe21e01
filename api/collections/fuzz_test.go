package collections

import (
	"encoding/json"
	"testing"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
)

// FuzzParams: segments with parameters never panic, and what is cut off a segment is
// all of what was there.
func FuzzParams(f *testing.F) {
	for _, s := range []string{"likes", "users;ql=age>20;limit=100", `{"ql":"age > 20","limit":5}`, ";ql=;limit=", `{"limit":{}}`, "a%2Bb;ql=x='a;b'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, segment string) {
		name, own := cutMatrix(segment)
		size := len(name)
		for _, p := range own {
			size += len(p.name) + len(p.value) + 2
		}
		if size != len(segment) {
			t.Errorf("%q became %q and %v", segment, name, own)
		}
		list, err := jsonParams(segment)
		if err == nil && !json.Valid([]byte(segment)) {
			t.Errorf("%q is taken for JSON", segment)
		}
		for _, p := range []params{{own: own}, {own: list}} {
			if q, err := p.query(); err == nil {
				_ = warnings(q)
			}
			_ = limitOf(p.first("limit"), defaultLimit)
		}
	})
}

// FuzzProjection: what is shown of any entity by any projection is JSON.
func FuzzProjection(f *testing.F) {
	f.Add(`{"title":"Dune","Pub":{"City":"X"},"chapters":[{"name":"a"},[1]],"a.b":null}`, "select title, pub.city, chapters.name")
	f.Add(`{"a":{"b":{"c":[[],{}]}}}`, "select {x: a.b, y: a.b.c, x: a}")
	f.Fuzz(func(t *testing.T, object, text string) {
		q, err := ql.Parse(text)
		p := (*projection)(nil)
		if err == nil {
			p = newProjection(q)
		}
		if p == nil || object == "" || object[0] != '{' || wire.CheckJSON([]byte(object)) != nil {
			return
		}
		e := entity.Entity{JSON: []byte(object)}
		if got := p.reduce(&e, "book"); !json.Valid(got) {
			t.Errorf("%s of %s: %s", text, object, got)
		}
		if list := "[" + string(p.list) + "]"; !json.Valid([]byte(list)) {
			t.Errorf("%s of %s lists %s", text, object, list)
		}
	})
}
