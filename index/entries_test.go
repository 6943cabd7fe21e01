package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

var users = Collection{Partition: 1, App: 16, ID: 2, Unique: []Unique{{"username", 1}, {"email", 2}}}

// TestEntries runs testdata/entries: "entity" makes an entity and shows what
// the indexes lose (-) and gain (+) when it takes the place of the last one.
func TestEntries(t *testing.T) {
	var before, after Set
	datadriven.RunTest(t, "testdata/entries", func(t *testing.T, d *datadriven.TestData) string {
		e := entity.Entity{ID: entity.ID{15: 1}, Seq: 7, JSON: []byte(d.Input)}
		var b strings.Builder
		if err := after.Build(&users, &e); err != nil {
			fmt.Fprintln(&b, err)
		}
		Difference(&before, &after,
			func(key []byte) { fmt.Fprintln(&b, "-", show(key)) },
			func(key, value []byte) { fmt.Fprintf(&b, "+ %s: %x\n", show(key), value) })
		before, after = after, before
		return b.String()
	})
}

func show(key []byte) string {
	if c, id, ok := keys.DecodeID(key); ok {
		return fmt.Sprintf("id c%d %s", c, id)
	}
	c, p, value, _ := keys.DecodeUnique(key)
	return fmt.Sprintf("unique c%d p%d %q", c, p, value)
}

// TestDifferenceTurnsOneSetIntoTheOther holds for any two entities.
func TestDifferenceTurnsOneSetIntoTheOther(t *testing.T) {
	value := rapid.SampledFrom([]string{"", "a", "A", "b", "c", strings.Repeat("long", 100)})
	draw := func(t *rapid.T) *Set {
		props := map[string]string{"username": value.Draw(t, "username"), "Email": value.Draw(t, "email"), "other": "x"}
		raw, err := json.Marshal(props)
		if err != nil {
			t.Fatal(err)
		}
		e := entity.Entity{ID: entity.ID{15: byte(rapid.IntRange(1, 2).Draw(t, "id"))}, Seq: entity.Seq(rapid.IntRange(1, 2).Draw(t, "seq")), JSON: raw}
		var s Set
		if err := s.Build(&users, &e); err != nil {
			t.Fatal(err)
		}
		return &s
	}
	rapid.Check(t, func(t *rapid.T) {
		before, after := draw(t), draw(t)
		got := map[string]string{}
		for _, e := range before.Entries() {
			got[string(e.Key)] = string(e.Value)
		}
		Difference(before, after,
			func(key []byte) {
				if _, ok := got[string(key)]; !ok || after.Has(key) {
					t.Fatalf("removes %s", show(key))
				}
				delete(got, string(key))
			},
			func(key, value []byte) {
				if got[string(key)] == string(value) {
					t.Fatalf("writes %s again", show(key))
				}
				got[string(key)] = string(value)
			})
		for _, e := range after.Entries() {
			if got[string(e.Key)] != string(e.Value) {
				t.Fatalf("%s is not as it should be", show(e.Key))
			}
		}
		if len(got) != len(after.Entries()) {
			t.Fatalf("%d entries, want %d", len(got), len(after.Entries()))
		}
	})
}

func TestObjectRefusesWhatIsNotCompact(t *testing.T) {
	for _, text := range []string{
		``, `{`, `}`, `[]`, `"x"`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,"a":1}`, `{"a":1"b":2}`, `{a:1}`, `{"a":1}}`,
		`{"a": 1}`, `{ "a":1}`, `{"a":1 ,"b":2}`, `{"a":[1}`, `{"a":"x}`, `{"a\":1}`, `{"a":1,"b"}`,
	} {
		o := NewObject([]byte(text))
		for _, ok := o.Next(); ok; _, ok = o.Next() {
			continue
		}
		if !fault.Is(o.Err(), fault.IllegalArgument) {
			t.Errorf("%s: error is %v", text, o.Err())
		}
	}
}

func TestPropertyNamesIgnoreCase(t *testing.T) {
	for _, tc := range []struct {
		key, name string
		is        bool
	}{
		{`"name"`, "name", true}, {`"NaMe"`, "name", true}, {`"names"`, "name", false}, {`"nam"`, "name", false},
		{`"n\u0041me"`, "name", true}, {`"n\u0062me"`, "name", false}, {`"ÄRGER"`, "ärger", true}, {`"\u00c4rger"`, "ärger", true},
		{"\"\u212aey\"", "key", true}, {`""`, "", true}, {`"\""`, `"`, true},
	} {
		p := Property{Key: []byte(tc.key)}
		if got := p.Is(tc.name); got != tc.is {
			t.Errorf("%s is %s: %v, want %v", tc.key, tc.name, got, tc.is)
		}
		if got := p.Name() == tc.name; got != tc.is {
			t.Errorf("the name of %s is %q", tc.key, p.Name())
		}
	}
}

// FuzzObject states that a walk over any compact object sees what
// encoding/json sees, and that no input makes it panic.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[1,{"c":"}"}],"c":"\"\\"}`, `{"a":{"b":null},"A":""}`, `{"\ud800":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var names []string
		o := NewObject(text)
		for p, ok := o.Next(); ok; p, ok = o.Next() {
			if p.Is(p.Name()) != true {
				t.Fatalf("%s is not %s", p.Key, p.Name())
			}
			_, _ = p.Text()
			names = append(names, p.Name())
		}
		var want map[string]json.RawMessage
		if !utf8.Valid(text) || len(text) == 0 || text[0] != '{' || json.Unmarshal(text, &want) != nil {
			return
		}
		if err := o.Err(); err != nil {
			if !bytes.ContainsAny(text, " \t\r\n") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for name := range want {
			if !slices.Contains(names, keys.Fold(name)) {
				t.Fatalf("%q: %q was not met", text, name)
			}
		}
	})
}
