package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// pairs writes down what Flatten shows.
type pairs []string

func (p *pairs) Scalar(path []byte, v *entity.Value) {
	switch v.Class {
	case entity.NumberClass:
		*p = append(*p, fmt.Sprintf("%s = %v", path, v.Number))
	case entity.StringClass:
		*p = append(*p, fmt.Sprintf("%s = %q", path, v.String))
	case entity.BoolClass:
		*p = append(*p, fmt.Sprintf("%s = %v", path, v.Bool))
	}
}

func (p *pairs) Point(path []byte, lat, lng float64) {
	*p = append(*p, fmt.Sprintf("%s @ %v %v", path, lat, lng))
}

func TestFlatten(t *testing.T) {
	long := strings.Repeat("k", MaxPath)
	for _, tc := range []struct {
		json string
		want pairs
	}{
		{`{}`, nil},
		{`{"a":1,"B":"Xy","c":true,"d":false}`, pairs{`a = {1 0}`, `b = "xy"`, `c = true`, `d = false`}},
		{`{"a":null,"b":"","c":{"d":null,"e":""},"f":[null,"",[]],"g":{},"h":[]}`, nil},
		{`{"pub":{"City":"London","in":{"x":1}}}`, pairs{`pub.city = "london"`, `pub.in.x = {1 0}`}},
		{`{"tags":["classic","London",7,[1,{"a":1}]],"n":[[1]]}`, pairs{`tags = "classic"`, `tags = "london"`, `tags = {7 0}`}},
		{`{"ch":[{"name":"Dune","p":[1,2]},{"name":"X"}]}`, pairs{`ch.name = "dune"`, `ch.p = {1 0}`, `ch.p = {2 0}`, `ch.name = "x"`}},
		{`{"location":{"latitude":1.5,"longitude":-2}}`, pairs{`location @ 1.5 -2`}},
		{`{"a":{"At":{"LON":"3","Lat":4}}}`, pairs{`a.at @ 4 3`}},
		{`{"at":[{"lat":1,"lon":2},{"lat":3,"longitude":4}]}`, pairs{`at @ 1 2`, `at @ 3 4`}},
		{`{"a":{"lat":1},"b":{"lat":1,"lon":2,"x":3},"c":{"lat":1,"latitude":2},"d":{"lat":"n","lon":2},"e":{"lat":{},"lon":2}}`,
			pairs{`a.lat = {1 0}`, `b.lat = {1 0}`, `b.lon = {2 0}`, `b.x = {3 0}`, `c.lat = {1 0}`, `c.latitude = {2 0}`, `d.lat = "n"`, `d.lon = {2 0}`, `e.lon = {2 0}`}},
		{`{"lat":1,"lon":2}`, pairs{`lat = {1 0}`, `lon = {2 0}`}},
		{`{"n":[-0,1e2,9223372036854775807,-9223372036854775808,12345678901234567890,1.5]}`,
			pairs{`n = {0 0}`, `n = {100 0}`, `n = {9.223372036854775e+18 1023}`, `n = {-9.223372036854776e+18 0}`, `n = {1.2345678901234567e+19 0}`, `n = {1.5 0}`}},
		{`{"a.b":1,"a":{"b":2},"ÄR\u0042":"\u00c9t\u0049\n"}`, pairs{`a.b = {1 0}`, `a.b = {2 0}`, `ärb = "éti\n"`}},
		{`{"a":" Not Trimmed "}`, pairs{`a = " not trimmed "`}},
		{`{"` + long + `":1,"` + long + `k":2,"` + long + `k":{"a":3},"` + long[1:] + `":{"":[4]}}`,
			pairs{long + ` = {1 0}`, long[1:] + `. = {4 0}`}},
	} {
		var got pairs
		if err := Flatten([]byte(tc.json), &got); err != nil {
			t.Errorf("%s: %v", tc.json, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", tc.json, diff)
		}
	}
}

func TestFlattenRefusesWhatIsNotCompact(t *testing.T) {
	for _, text := range []string{
		``, `{`, `}`, `[]`, `"x"`, `1`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,"a":1}`, `{"a":1"b":2}`, `{a:1}`, `{"a":1}}`,
		`{"a": 1}`, `{ "a":1}`, `{"a":1 ,"b":2}`, `{"a":[1}`, `{"a":"x}`, `{"a\":1}`, `{"a":1,"b"}`, `{"a":[1,]}`, `{"a":[[1]`,
		`{"a":{"lat":1,"lon":2}`, `{"a":{"lat":1,"lon":2`, `{"a":{"lat":1,"lon"`, `{"a":[`,
		strings.Repeat(`{"a":`, 2*maxDepth) + `1` + strings.Repeat(`}`, 2*maxDepth),
	} {
		if err := Flatten([]byte(text), new(pairs)); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%.40s: error is %v", text, err)
		}
	}
}

// naive is Flatten for the values that encoding/json makes.
func naive(path string, value any, element bool, p *pairs) {
	switch v := value.(type) {
	case json.Number:
		n, ok := entity.ParseNumber(v.String())
		if ok {
			p.Scalar([]byte(path), &entity.Value{Class: entity.NumberClass, Number: n})
		}
	case string:
		if v != "" {
			p.Scalar([]byte(path), &entity.Value{Class: entity.StringClass, String: keys.Fold(v)})
		}
	case bool:
		p.Scalar([]byte(path), &entity.Value{Class: entity.BoolClass, Bool: v})
	case []any:
		if !element {
			for _, e := range v {
				naive(path, e, true, p)
			}
		}
	}
}

// FuzzFlatten states that Flatten shows what a walk over the values of encoding/json
// shows, of objects with members that are no objects, and that no input makes it panic.
func FuzzFlatten(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[1,{"c":"}"}],"c":"\"\\"}`, `{"at":{"lat":1,"lon":"2"}}`, `{"a":[1.5e3,"X",[2],true,null]}`, `{"\ud800":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got pairs
		err := Flatten(text, &got)
		if !utf8.Valid(text) || !json.Valid(text) || len(text) == 0 || text[0] != '{' {
			return
		}
		var compact bytes.Buffer
		if json.Compact(&compact, text) != nil || !bytes.Equal(compact.Bytes(), text) {
			return
		}
		if err != nil {
			if strings.Count(string(text), "{") <= maxDepth {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if bytes.Count(text, []byte("{")) > 1 || len(text) > MaxPath {
			return
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		_, _ = d.Token()
		var want pairs
		for d.More() {
			name, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			var value any
			if err := d.Decode(&value); err != nil {
				t.Fatal(err)
			}
			naive(keys.Fold(name.(string)), value, false, &want)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s: -want +got\n%s", text, diff)
		}
	})
}

// nothing is a visitor that does not look.
type nothing struct{ seen int }

func (n *nothing) Scalar([]byte, *entity.Value)   { n.seen++ }
func (n *nothing) Point([]byte, float64, float64) { n.seen++ }

const sample = `{"name":"item-12345","price":3.25,"category":"Tools","stock":17,"tags":["a","b"],"location":{"latitude":37.77,"longitude":-122.41},"active":true,"description":"A hammer of good steel, hardly used, with a handle of ash wood"}`

func BenchmarkFlatten(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(sample)))
	text, visitor := []byte(sample), new(nothing)
	f := flattener{visitor: visitor}
	for b.Loop() {
		if err := f.run(text); err != nil {
			b.Fatal(err)
		}
	}
}
