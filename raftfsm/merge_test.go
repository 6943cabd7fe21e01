package raftfsm

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/trellisdb/trellis/index"
)

func TestMerge(t *testing.T) {
	var m merger
	for _, tc := range []struct{ stored, patch, want string }{
		{`{}`, `{}`, `{}`},
		{`{"a":1,"b":2}`, `{"b":3}`, `{"a":1,"b":3}`},
		{`{"a":1,"b":2}`, `{"A":null}`, `{"b":2}`},
		{`{"a":1}`, `{"a":"","c":"","d":null}`, `{}`},
		{`{"Price":1}`, `{"PRICE":[1,{"x":null}]}`, `{"Price":[1,{"x":null}]}`},
		{`{"a":{"b":1,"c":2}}`, `{"a":{"b":""}}`, `{"a":{"b":""}}`},
		{`{"r":"x"}`, `{"R":null,"s":1}`, `{"r":"x","s":1}`},
		{`{"r":"x"}`, `{"R":"y"}`, `{"r":"y"}`},
		{`{}`, `{"a":1,"A":2}`, `{"a":2}`},
		{`{}`, `{"a":1,"A":null}`, `{}`},
		{`{"n":9223372036854775807}`, `{"s":"\u0000\ud83d\ude00"}`, `{"n":9223372036854775807,"s":"\u0000\ud83d\ude00"}`},
		{`{"\u0061":1}`, `{"A":2}`, `{"\u0061":2}`},
		{`{"a":1}`, `{"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"A":2,"J":3}`,
			`{"a":2,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":3}`},
	} {
		got, err := m.merge([]byte(tc.stored), []byte(tc.patch), []string{"r"})
		if err != nil || string(got) != tc.want {
			t.Errorf("%s with %s is %s (%v), want %s", tc.stored, tc.patch, got, err, tc.want)
		}
	}
}

// FuzzMerge states that a merge of any two compact objects is what replacing
// members one by one makes of them.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":[]}}`), []byte(`{"A":null,"c":"","d":2}`))
	f.Add([]byte(`{"R":1}`), []byte(`{"r":null,"\u0052":3}`))
	f.Fuzz(func(t *testing.T, stored, patch []byte) {
		var m merger
		got, err := m.merge(stored, patch, []string{"r"})
		if !utf8.Valid(stored) || !utf8.Valid(patch) || !json.Valid(stored) || !json.Valid(patch) || err != nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("%s with %s is %s", stored, patch, got)
		}
		want := map[string]string{}
		read := func(text []byte, each func(name string, p index.Property)) {
			o := index.NewObject(text)
			for p, ok := o.Next(); ok; p, ok = o.Next() {
				each(p.Name(), p)
			}
		}
		twice := false
		read(stored, func(name string, p index.Property) {
			_, has := want[name]
			twice = twice || has
			want[name] = string(p.Value)
		})
		if twice {
			return // never stored
		}
		changes := map[string]string{}
		read(patch, func(name string, p index.Property) { changes[name] = string(p.Value) })
		for name, v := range changes {
			if v != "null" && v != `""` {
				want[name] = v
			} else if name != "r" {
				delete(want, name)
			}
		}
		n := 0
		read(got, func(name string, p index.Property) {
			n++
			if want[name] != string(p.Value) {
				t.Fatalf("%s with %s has %s: %s", stored, patch, p.Key, p.Value)
			}
		})
		if n != len(want) {
			t.Fatalf("%s with %s is %s", stored, patch, got)
		}
	})
}
