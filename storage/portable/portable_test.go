package portable_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/portable"
)

// ids is an id as a list of numbers, which is how JSON has it; of 0 the zero id.
func ids(n byte) string {
	one := id(n)
	if n == 0 {
		one = entity.ID{}
	}
	return strings.ReplaceAll(fmt.Sprint([16]byte(one)), " ", ",")
}

func id(n byte) entity.ID { return entity.ID{0: 1, 6: 0x70, 8: 0x80, 15: n} }

// file is a whole file with something of every kind.
func file() string {
	var b bytes.Buffer
	w := portable.NewWriter(&b)
	w.Header(portable.Header{Organization: "acme", Application: "shop", UUID: id(9).String(), Exported: 5})
	w.Collection(portable.Collection{Name: "items", Entities: 2, Settings: portable.SettingsOf(&entity.Settings{Plan: entity.IndexPlan{
		Fields: []string{"price"}, Composites: []entity.Composite{{Keys: []entity.CompositeKey{{Property: "a"}, {Property: "b", Desc: true}}}},
	}})})
	items := portable.Quoted("items")
	for n := byte(1); n < 3; n++ {
		w.Entity(items, &entity.Entity{ID: id(n), Created: int64(n), Modified: 9, JSON: []byte(`{"a":"}\"{"}`)}, []string{"get:/<b>"}[:n-1], nil)
	}
	w.Entity(portable.Quoted("users"), &entity.Entity{ID: id(3), JSON: []byte(`{}`)}, nil, []portable.Credential{{Kind: portable.Password, Value: "$2a$"}})
	w.Edge(false, items, id(1), portable.Quoted(`li"kes`), items, id(2))
	w.Data(items, &portable.Data{ID: id(1), Blob: id(7), Size: 5, Chunk: 3, Metadata: []byte(`{"etag":"\"x\""}`), Bytes: []byte("\x00ab")})
	w.Data(items, &portable.Data{ID: id(1), Blob: id(7), Size: 5, Chunk: 3, Offset: 3, Bytes: []byte("cd")})
	w.Data(items, &portable.Data{ID: id(2), Blob: id(8), Chunk: 3})
	w.Feed(portable.Quoted("users"), &portable.Feed{ID: id(3), List: portable.ListFeed, Activities: []entity.ID{id(5), id(6)}})
	w.Counter(&portable.Counter{Name: `a"b`, Named: true, Dimensions: entity.Dimensions{User: id(1), Category: "c"}, Cells: []entity.CounterCell{
		{Resolution: entity.Minute, Bucket: 86400000, Value: -5}, {Resolution: entity.Minute, Bucket: 2*86400000 - 60000, Value: 1 << 62}}})
	w.Counter(&portable.Counter{Name: "r", Resets: 2, Dimensions: entity.Dimensions{Group: id(2)}, Cells: []entity.CounterCell{
		{Resolution: entity.Week, Bucket: 604800000, Value: 7, Reset: 1}, {Value: -1}, {Resolution: entity.Whole, Reset: 2, Clears: true}}})
	w.Edge(true, portable.Quoted("users"), id(3), portable.Quoted("roles"), portable.Quoted("roles"), id(4))
	w.End()
	if w.Err() != nil {
		panic(w.Err())
	}
	return b.String()
}

// read returns what a reader says of a file, a line each.
func read(r *portable.Reader) (said []string) {
	for {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			return append(said, fmt.Sprint("end ", r.Whole()))
		}
		if err != nil {
			if said = append(said, err.Error()); r.Broken() {
				return append(said, "broken")
			}
			continue
		}
		text := fmt.Sprintf("%d %d", line.Number, line.Kind)
		switch line.Kind {
		case portable.KindEntity:
			e := line.Entity
			text += fmt.Sprintf(" %s %s %d %d %s %v %v", e.Collection, e.ID, e.Created, e.Modified, e.JSON, e.Permissions, e.Credentials)
		case portable.KindCollection:
			all, none, list, err := line.Collection.Settings.FieldList()
			composites, failed := line.Collection.Settings.Composites()
			text += fmt.Sprint(" "+line.Collection.Name+" ", all, none, list, err, composites, failed)
		}
		for _, one := range []any{line.Data, line.Feed, line.Counter} {
			if b, err := json.Marshal(one); err == nil && string(b) != "null" {
				text += " " + string(b)
			}
		}
		for _, e := range line.Edges {
			text += fmt.Sprintf(" %v", e)
		}
		said = append(said, text)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	whole := file()
	first, second, third := id(1).String(), id(2).String(), id(3).String()
	want := []string{
		"1 1",
		"2 2 items false false [price] <nil> [[{a false} {b true}]] <nil>",
		"3 3 items " + first + ` 1 9 {"a":"}\"{"} [] []`,
		"4 3 items " + second + ` 2 9 {"a":"}\"{"} [get:/<b>] []`,
		"5 3 users " + third + ` 0 0 {} [] [{password $2a$}]`,
		"6 4 {{items " + first + " } {items " + second + ` } li"kes false}`,
		`7 6 {"Collection":"items","ID":` + ids(1) + `,"Blob":` + ids(7) + `,"Size":5,"Chunk":3,"Offset":0,"Metadata":"eyJldGFnIjoiXCJ4XCIifQ==","Bytes":"AGFi"}`,
		`8 6 {"Collection":"items","ID":` + ids(1) + `,"Blob":` + ids(7) + `,"Size":5,"Chunk":3,"Offset":3,"Metadata":null,"Bytes":"Y2Q="}`,
		`9 6 {"Collection":"items","ID":` + ids(2) + `,"Blob":` + ids(8) + `,"Size":0,"Chunk":3,"Offset":0,"Metadata":null,"Bytes":""}`,
		`10 7 {"Collection":"users","ID":` + ids(3) + `,"List":"feed","Activities":[` + ids(5) + "," + ids(6) + `]}`,
		`11 8 {"Name":"a\"b","Named":true,"Resets":0,"Dimensions":{"User":` + ids(1) + `,"Group":` + ids(0) + `,"Category":"c"},"Cells":[` +
			`{"Resolution":1,"Bucket":86400000,"Value":-5,"Reset":0,"Clears":false},{"Resolution":1,"Bucket":172740000,"Value":4611686018427387904,"Reset":0,"Clears":false}]}`,
		`12 8 {"Name":"r","Named":false,"Resets":2,"Dimensions":{"User":` + ids(0) + `,"Group":` + ids(2) + `,"Category":""},"Cells":[` +
			`{"Resolution":8,"Bucket":604800000,"Value":7,"Reset":1,"Clears":false},{"Resolution":0,"Bucket":0,"Value":-1,"Reset":0,"Clears":false},` +
			`{"Resolution":0,"Bucket":0,"Value":0,"Reset":2,"Clears":true}]}`,
		"13 4 {{users " + third + " } {roles " + id(4).String() + " } roles true}",
		"14 5", "end <nil>",
	}
	for name, in := range map[string]io.Reader{
		"at once": strings.NewReader(whole), "byte by byte": iotest.OneByteReader(strings.NewReader(whole)),
	} {
		if d := cmp.Diff(want, read(portable.NewReader(in))); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if h, end, err := portable.Verify(strings.NewReader(whole)); err != nil || h.Application != "shop" || end.Entities != 3 || end.Edges != 2 || end.Collections != 1 {
		t.Errorf("Verify: %+v %+v %v", h, end, err)
	}
}

// TestDamageIsSeen wherever a file is cut, and whatever bit of it is another.
func TestDamageIsSeen(t *testing.T) {
	whole := file()
	for n := range len(whole) - 1 { // the last byte is a line feed
		if header, _, err := portable.Verify(strings.NewReader(whole[:n])); err == nil && header != nil {
			t.Errorf("the first %d of %d bytes are whole", n, len(whole))
		}
	}
	for i := range len(whole) - 1 {
		b := []byte(whole)
		b[i] ^= 4
		header, _, err := portable.Verify(bytes.NewReader(b))
		if err == nil && header != nil {
			// In the last line names of members may be spelled otherwise: what they say is the same.
			if got, _ := strings.CutPrefix(strings.ToLower(string(b)), strings.ToLower(whole[:strings.LastIndex(whole, "\n{")])); len(got) == len(b) {
				t.Errorf("byte %d of %d is another, and nobody sees it: %q", i, len(whole), b)
			}
		}
	}
	for name, text := range map[string]string{
		"two in one": whole + whole, "more after it": whole + `{"kind":"end"}`, "of the future": strings.Replace(whole, `"version":2`, `"version":3`, 1),
	} {
		if _, _, err := portable.Verify(strings.NewReader(text)); !fault.Is(err, fault.JSONParse) && !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := portable.Verify(strings.NewReader(" \n")); !fault.Is(err, fault.JSONParse) {
		t.Errorf("an empty file: %v", err)
	}
}

// TestReaderGoesOn: a reader that is saved after every line, and one that is resumed, say what
// one does that reads all.
func TestReaderGoesOn(t *testing.T) {
	whole := file()
	want := read(portable.NewReader(strings.NewReader(whole)))
	for n := range len(want) - 2 {
		r := portable.NewReader(strings.NewReader(whole))
		for range n {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
		place := r.Place()
		if d := cmp.Diff(want[n:], read(portable.Resume(strings.NewReader(whole[place.At:]), place))); d != "" {
			t.Errorf("resumed after %d lines (-want +got):\n%s", n, d)
		}
		state, err := r.Save()
		if err != nil {
			t.Fatal(err)
		}
		at, err := portable.PlaceOf(state)
		if err != nil || at != place {
			t.Fatalf("PlaceOf: %+v, %v, want %+v", at, err, place)
		}
		again, err := portable.Continue(strings.NewReader(whole[at.At:]), state)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want[n:], read(again)); d != "" {
			t.Errorf("continued after %d lines (-want +got):\n%s", n, d)
		}
		damaged, err := portable.Continue(strings.NewReader(strings.Replace(whole[at.At:], "2", "3", 1)), state)
		if err != nil {
			t.Fatal(err)
		}
		if said := read(damaged); said[len(said)-1] == "end <nil>" {
			t.Errorf("continued after %d lines, damage is not seen", n)
		}
	}
}

// TestUsergrid reads the forms of Usergrid's export.
func TestUsergrid(t *testing.T) {
	const ann, milk = "58606d0a-cfed-11e3-a694-dbf5228024a7", "83e9b7ea-e8f5-11e2-84df-e94123890c7a"
	text := `[ {
  "Metadata" : {"uuid":"` + ann + `","type":"user","created":5,"modified":6,"username":"ann"},
  "connections" : {"likes":["` + milk + `"],"owns":[]},
  "collections" : {"groups":["` + milk + `"],"activities":["` + milk + `"]},
  "dictionaries" : {"rolenames":{"admin":"Admin"},"permissions":{"get:/x":1},"connected_types":{"item":1}}
}, {"uuid":"` + milk + `","type":"item","name":"milk"},
{"sourceUuid":"` + ann + `","connectionType":"likes","targetUuid":"` + milk + `"},
{"Metadata":{"type":"item"}}, {"uuid":"` + ann + `"}, {"a" 1} ]`
	want := []string{
		"1 3 user " + ann + ` 5 6 {"uuid":"` + ann + `","type":"user","created":5,"modified":6,"username":"ann"} [get:/x] []` +
			" {{user " + ann + " } { " + milk + " } likes false} {{user " + ann + " } {groups " + milk + " } groups true}" +
			" {{user " + ann + " } {roles 00000000-0000-0000-0000-000000000000 admin} roles true}",
		"2 3 item " + milk + ` 0 0 {"uuid":"` + milk + `","type":"item","name":"milk"} [] []`,
		"3 4 {{ " + ann + " } { " + milk + " } likes false}",
		"illegal_argument: line 4: an entity has no valid uuid",
		"illegal_argument: line 5: entity " + ann + " has no type",
	}
	said := read(portable.NewReader(strings.NewReader(text)))
	if d := cmp.Diff(want, said[:5]); d != "" {
		t.Errorf("read (-want +got):\n%s", d)
	}
	if !strings.HasPrefix(said[5], "json_parse: line 6: ") || said[6] != "end <nil>" {
		t.Errorf("then: %q", said[5:])
	}
}

// FuzzReader reads whatever somebody sends as a file: never more than there is, never
// without end, and what it takes for a line is one.
func FuzzReader(f *testing.F) {
	f.Add([]byte(file()))
	f.Add([]byte(`[{"Metadata":{"uuid":"58606d0a-cfed-11e3-a694-dbf5228024a7","type":"user"},"connections":{"likes":["58606d0a-cfed-11e3-a694-dbf5228024a7"]}}]`))
	f.Add([]byte(`{"kind":"header","format":"trellis-export","version":1}` + "\n" + `{"kind":"connection","verb":"x","source":["a","b"]}`))
	f.Add([]byte(`{"a":"\"}{`))
	f.Add([]byte(`{"kind":"counter","name":"a","resets":1,"buckets":[["day",0,1,1]],"cleared":[["all",0,1]]}{}` + "\n" + `{"kind":"data","bytes":"AA=="}`))
	f.Add([]byte(`{"kind":"end","entities":[1],"credentials":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := portable.NewReader(bytes.NewReader(b))
		for lines := 0; ; lines++ {
			line, err := r.Next()
			if place := r.Place(); place.At > uint64(len(b)) || lines > len(b) {
				t.Fatalf("at %d of %d bytes after %d lines", place.At, len(b), lines)
			}
			if err != nil {
				if !errors.Is(err, io.EOF) && !fault.Is(err, fault.JSONParse) && !fault.Is(err, fault.IllegalArgument) {
					t.Fatalf("error: %v", err)
				}
				if r.Broken() {
					return
				}
				continue
			}
			switch {
			case line.Kind == portable.KindEntity && (line.Entity.ID.IsZero() || line.Entity.Collection == "" || line.Entity.JSON[0] != '{'):
				t.Fatalf("an entity: %+v", line.Entity)
			case line.Kind == portable.KindData && (line.Data.Offset+uint64(len(line.Data.Bytes)) > line.Data.Size || len(line.Data.Bytes) > portable.MaxPiece || line.Data.Chunk == 0):
				t.Fatalf("data: %+v", line.Data)
			case line.Kind == portable.KindCounter && len(line.Counter.Cells) > portable.MaxCells:
				t.Fatalf("a counter: %d cells", len(line.Counter.Cells))
			case line.Kind == portable.KindEdge && len(line.Edges) != 1:
				t.Fatalf("an edge: %+v", line)
			}
		}
	})
}

// TestOldFilesAreRead: what version 1 wrote has neither data nor feeds nor counters.
func TestOldFilesAreRead(t *testing.T) {
	whole := `{"kind":"header","format":"trellis-export","version":1,"organization":"acme","application":"shop","uuid":"x","exported":5,"credentials":false}
{"kind":"collection","name":"items","entities":1}
{"kind":"entity","collection":"items","uuid":"` + id(1).String() + `","created":1,"modified":2,"data":{"a":1}}
`
	sum := sha256.Sum256([]byte(whole))
	whole += fmt.Sprintf(`{"kind":"end","collections":1,"entities":1,"edges":0,"sha256":"%x"}`, sum) + "\n"
	if header, end, err := portable.Verify(strings.NewReader(whole)); err != nil || header.Version != 1 || end.Entities != 1 {
		t.Errorf("Verify: %+v %+v %v", header, end, err)
	}
}

// TestReadingIsAsLongAsTheFile: twice the bytes take no more than some times as long, of
// whatever is repeated. What is measured is memory, which does not depend on the machine.
func TestReadingIsAsLongAsTheFile(t *testing.T) {
	head := `{"kind":"header","format":"trellis-export","version":2}` + "\n"
	for _, unit := range []string{
		"{}", "{\"a\":1}\n", ",", "[", `{"kind":"x"}`, `{"kind":"entity","data":{"a":"\\u0000"}}`, `{"kind":"feed","activities":["x","y"]}`,
	} {
		work := func(n int) float64 {
			text := head + strings.Repeat(unit, n)
			return testing.AllocsPerRun(1, func() { read(portable.NewReader(strings.NewReader(text))) })
		}
		if small, large := work(2000), work(8000); large > 6*small+1000 {
			t.Errorf("%s: %v allocations for one length, %v for four times as much", unit, small, large)
		}
	}
	for _, unit := range []string{`"a":{},`, `"permissions":["x"],`, `"source":["a","b"],`, `"settings":{"indexes":[["a"]]},`, `"minutes":[[1,2]],`, `"data":{"a":1},`, `"a":[[[[`} {
		work := func(n int) float64 {
			text := head + "{" + strings.Repeat(unit, n) + `"kind":"end"}`
			return testing.AllocsPerRun(1, func() { read(portable.NewReader(strings.NewReader(text))) })
		}
		if small, large := work(2000), work(8000); large > 6*small+1000 {
			t.Errorf("%s: %v allocations for one length, %v for four times as much", unit, small, large)
		}
	}
}

func TestWrongTypesAreToldWithoutNamesOfThisProgram(t *testing.T) {
	for _, line := range []string{`{"kind":5}`, `{"kind":"counter","resets":1e400}`, `[]`} {
		_, err := portable.ParseLine([]byte(line))
		if !fault.Is(err, fault.JSONParse) {
			t.Errorf("%s: %v", line, err)
			continue
		}
		var f *fault.Error
		if errors.As(err, &f); strings.Contains(f.Message, "Go ") || strings.Contains(f.Message, "record") {
			t.Errorf("%s: %s", line, f.Message)
		}
	}
}
