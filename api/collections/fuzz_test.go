package collections

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
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

// FuzzPermissionsIn: whatever a body names, each of it is a string that stood in it.
func FuzzPermissionsIn(f *testing.F) {
	for _, s := range []string{`{"permission":"get:/x"}`, `{"permissions":["get:/x","put:/y"]}`, `{"data":[1]}`, `{"permission":null,"data":""}`, `[]`, `{"permission":{"a":1}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if wire.CheckJSON([]byte(body)) != nil {
			return
		}
		texts, err := permissionsIn([]byte(body))
		if err != nil && wire.Status(fault.CodeOf(err)) != 400 {
			t.Errorf("%q: %v", body, err)
		}
		size := 0
		for _, text := range texts {
			size += len(text)
		}
		if size > 3*len(body) { // an escape of one rune replaced by another of three bytes
			t.Errorf("%q names %q", body, texts)
		}
	})
}

// FuzzGroupPath: what is stored as the path of a group is found by it, and is stored
// the same when it is sent again.
func FuzzGroupPath(f *testing.F) {
	for _, s := range []string{"a/b", "//a//b/", "staff", "a b", "é/ß.-", "/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !utf8.ValidString(path) {
			return
		}
		groups, err := schema.Of("groups")
		if err != nil {
			t.Fatal(err)
		}
		sent, err := json.Marshal(map[string]string{"path": path})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := normalize(groups, sent, forCreate, 1)
		if err == nil {
			err = groupPath(doc)
		}
		stored, ok := "", false
		if err == nil {
			stored, ok = doc.text("path")
		}
		switch {
		case err != nil && wire.Status(fault.CodeOf(err)) != 400:
			t.Errorf("%q: %v", path, err)
		case !ok:
		case stored != cleanPath(stored) || stored != cleanPath("/"+path+"/") && stored != cleanPath(strings.TrimSpace(path)):
			t.Errorf("%q is stored as %q", path, stored)
		}
	})
}
