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

// numbers gives numbers to paths as they come.
type numbers map[string]entity.PropertyID

func (n numbers) Number(path []byte) (entity.PropertyID, error) {
	if string(path) == "refused" {
		return 0, fault.New(fault.IllegalArgument, "no number for %s", path)
	}
	if _, ok := n[string(path)]; !ok {
		n[string(path)] = entity.PropertyID(len(n) + 1)
	}
	return n[string(path)], nil
}

func (n numbers) Known(path string) (entity.PropertyID, bool) {
	number, ok := n[path]
	return number, ok
}

func usersOf(n numbers) Collection {
	n["username"], n["email"] = 1, 2
	return Collection{Partition: 1, App: 16, ID: 2, Unique: []Unique{{"username", 1}, {"email", 2}}, Properties: n}
}

// planOf reads the arguments of a directive: none, fields=(a,b), composites=(a b-,c d).
func planOf(d *datadriven.TestData) entity.IndexPlan {
	plan := entity.IndexPlan{Generation: 1, All: !d.HasArg("fields"), None: d.HasArg("none")}
	for _, arg := range d.CmdArgs {
		if arg.Key == "fields" {
			plan.Fields = arg.Vals
		}
		if arg.Key != "composites" {
			continue
		}
		for i, val := range arg.Vals {
			c := entity.Composite{Number: uint32(i + 1)}
			for _, key := range strings.Split(val, "/") {
				name, desc := strings.CutSuffix(key, "-")
				c.Keys = append(c.Keys, entity.CompositeKey{Property: name, Desc: desc})
			}
			plan.Composites = append(plan.Composites, c)
		}
	}
	return plan
}

// TestEntries runs testdata/entries: "entity" makes an entity and shows what
// the indexes lose (-) and gain (+) when it takes the place of the last one, and which
// properties it has then, those with several values with a +.
func TestEntries(t *testing.T) {
	datadriven.Walk(t, "testdata/entries", func(t *testing.T, path string) {
		var before, after Set
		known := numbers{}
		users := usersOf(known)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			e := entity.Entity{ID: entity.ID{15: 1}, Created: 5, Modified: 6, Seq: 7, Rev: 8, JSON: []byte(d.Input)}
			plan := planOf(d)
			var b strings.Builder
			if err := after.Build(&users, &plan, &e); err != nil {
				fmt.Fprintln(&b, err)
			}
			show := func(key []byte) string { return show(key, known, &plan) }
			Difference(&before, &after,
				func(key []byte) { fmt.Fprintln(&b, "-", show(key)) },
				func(key, value []byte) { fmt.Fprintf(&b, "+ %s: %x\n", show(key), value) })
			b.WriteString("has")
			for _, u := range after.Uses() {
				fmt.Fprintf(&b, " %s", nameOf(known, u.Property))
				if u.Several {
					b.WriteString("+")
				}
			}
			b.WriteString("\n")
			before, after = after, before
			return b.String()
		})
	})
}

func nameOf(known numbers, property entity.PropertyID) string {
	switch property {
	case keys.PropCreated:
		return "created"
	case keys.PropModified:
		return "modified"
	}
	for name, number := range known {
		if number == property {
			return name
		}
	}
	return fmt.Sprint("unknown ", property)
}

func show(key []byte, known numbers, plan *entity.IndexPlan) string {
	if _, id, ok := keys.DecodeID(key); ok {
		return fmt.Sprintf("id %s", id)
	}
	if _, p, value, ok := keys.DecodeUnique(key); ok {
		return fmt.Sprintf("unique %s %q", nameOf(known, p), value)
	}
	kind, _, p, rest, _ := keys.DecodeIndex(key)
	if p == keys.PropCreated || p == keys.PropModified {
		return fmt.Sprintf("%s %x", nameOf(known, p), rest)
	}
	if keys.Tail(key) != 7 {
		return fmt.Sprintf("key %x", key)
	}
	rest = rest[:len(rest)-8]
	switch kind {
	case keys.KindOrdered:
		return fmt.Sprintf("ordered %s %s", nameOf(known, p), showForm(rest, false))
	case keys.KindWord:
		return fmt.Sprintf("word %s %q", nameOf(known, p), rest)
	case keys.KindGeo:
		return fmt.Sprintf("geo %s %x", nameOf(known, p), rest)
	case keys.KindComposite:
		text := fmt.Sprintf("composite %d", p)
		for _, c := range plan.Composites {
			for _, key := range c.Keys {
				if c.Number != uint32(p) {
					continue
				}
				end := keys.ValueEnd(rest, key.Desc)
				text += " " + showForm(rest[:end], key.Desc)
				rest = rest[end:]
			}
		}
		return text
	}
	return fmt.Sprintf("key %x", key)
}

func showForm(form []byte, desc bool) string {
	if desc {
		form = bytes.Clone(form)
		for i := 1; i < len(form); i++ {
			form[i] = ^form[i]
		}
	}
	v, cut, ok := keys.DecodeValue(form)
	text := "missing"
	switch v.Class {
	case entity.NumberClass:
		text = fmt.Sprint(v.Number.Float)
	case entity.StringClass:
		text = fmt.Sprintf("%q", v.String)
	case entity.BoolClass:
		text = fmt.Sprint(v.Bool)
	}
	if desc {
		text += "-"
	}
	if cut {
		text += "…"
	}
	if !ok {
		text = fmt.Sprintf("%x", form)
	}
	return text
}

// drawObject draws the JSON of an entity, of few names and values.
func drawObject(t *rapid.T) []byte {
	scalar := rapid.SampledFrom([]string{`""`, `"a"`, `"A"`, `"b c"`, `null`, `1`, `1.0`, `2`, `true`, `{"lat":1,"lon":2}`, `{"x":"a"}`, `"` + strings.Repeat("long ", 100) + `"`})
	text := []byte("{")
	for _, name := range []string{"n", "other", "tags"} {
		switch rapid.IntRange(0, 2).Draw(t, name) {
		case 1:
			text = fmt.Appendf(text, "%q:%s,", name, scalar.Draw(t, "value"))
		case 2:
			text = fmt.Appendf(text, "%q:[%s],", name, strings.Join(rapid.SliceOfN(scalar, 0, 4).Draw(t, "values"), ","))
		}
	}
	return fmt.Appendf(text, `"username":%q}`, rapid.SampledFrom([]string{"ada", " ADA", "eve"}).Draw(t, "username"))
}

// TestDifferenceTurnsOneSetIntoTheOther holds for any two entities and plans.
func TestDifferenceTurnsOneSetIntoTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		known := numbers{}
		users := usersOf(known)
		draw := func(label string) *Set {
			e := entity.Entity{ID: entity.ID{15: byte(rapid.IntRange(1, 2).Draw(t, label+" id"))}, Seq: 1, Rev: 1, JSON: drawObject(t)}
			plan := entity.IndexPlan{Generation: 1, All: rapid.Bool().Draw(t, "all"), None: rapid.IntRange(0, 5).Draw(t, "none") == 0, Fields: []string{"tags"}}
			if rapid.Bool().Draw(t, "composites") {
				plan.Composites = []entity.Composite{{Number: 1, Keys: []entity.CompositeKey{{Property: "n"}, {Property: "tags", Desc: true}}}}
			}
			var s Set
			if err := s.Build(&users, &plan, &e); err != nil {
				t.Fatal(err)
			}
			return &s
		}
		before, after := draw("before"), draw("after")
		got := map[string]string{}
		for i, e := range before.Entries() {
			if i > 0 && bytes.Compare(before.Entries()[i-1].Key, e.Key) >= 0 {
				t.Fatalf("key %x is not in order", e.Key)
			}
			got[string(e.Key)] = string(e.Value)
		}
		Difference(before, after,
			func(key []byte) {
				if _, ok := got[string(key)]; !ok || after.Has(key) {
					t.Fatalf("removes %x", key)
				}
				delete(got, string(key))
			},
			func(key, value []byte) {
				if old, ok := got[string(key)]; ok && old == string(value) {
					t.Fatalf("writes %x again", key)
				}
				got[string(key)] = string(value)
			})
		for _, e := range after.Entries() {
			if got[string(e.Key)] != string(e.Value) {
				t.Fatalf("%x is not as it should be", e.Key)
			}
		}
		if len(got) != len(after.Entries()) {
			t.Fatalf("%d entries, want %d", len(got), len(after.Entries()))
		}
	})
}

func TestTooManyEntriesAreRefused(t *testing.T) {
	array := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%d,", i)
		}
		return "[" + strings.TrimSuffix(b.String(), ",") + "]"
	}
	words := func(n, distinct int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "w%d ", i%distinct)
		}
		return `"` + b.String() + `"`
	}
	all := entity.IndexPlan{Generation: 1, All: true}
	pair := all
	pair.Composites = []entity.Composite{{Number: 1, Keys: []entity.CompositeKey{{Property: "a"}, {Property: "b"}}}}
	for _, tc := range []struct {
		name, json string
		plan       entity.IndexPlan
		code       fault.Code
	}{
		{"values to the limit", `{"a":` + array(MaxEntries-3) + `}`, all, ""},
		{"one value more", `{"a":` + array(MaxEntries-2) + `}`, all, fault.EntityTooLarge},
		{"many values more", `{"a":` + array(5*MaxEntries) + `}`, all, fault.EntityTooLarge},
		{"not those of a plan without", `{"a":` + array(5*MaxEntries) + `}`, entity.IndexPlan{Generation: 1, Fields: []string{"b"}}, ""},
		{"words that repeat", `{"a":` + words(300_000, 100) + `}`, all, ""},
		{"words that do not", `{"a":` + words(30_000, 30_000) + `}`, all, fault.EntityTooLarge},
		{"combinations to the limit", `{"a":` + array(20) + `,"b":` + array(50) + `}`, pair, ""},
		{"combinations", `{"a":` + array(20) + `,"b":` + array(51) + `}`, pair, fault.EntityTooLarge},
		{"a property without a number", `{"refused":1}`, all, fault.IllegalArgument},
	} {
		var s Set
		users := usersOf(numbers{})
		err := s.Build(&users, &tc.plan, &entity.Entity{JSON: []byte(tc.json)})
		if fault.CodeOf(err) != tc.code && (err != nil || tc.code != "") {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err == nil && len(s.Entries()) > MaxEntries {
			t.Errorf("%s: %d entries", tc.name, len(s.Entries()))
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	known := numbers{}
	users := usersOf(known)
	plan := entity.IndexPlan{Generation: 1, All: true}
	e := entity.Entity{ID: entity.ID{15: 1}, Seq: 7, Rev: 7, JSON: []byte(sample)}
	var s Set
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Build(&users, &plan, &e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(s.Entries())), "entries")
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
