package collections

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage/fault"
)

func typeNamed(t testing.TB, name string) *schema.Type {
	t.Helper()
	typ, err := schema.Of(name)
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

func TestNormalize(t *testing.T) {
	const now = 1500000000000
	const upper, lower = "83E9B7EA-E8F5-11E2-84DF-E94123890C7A", "83e9b7ea-e8f5-11e2-84df-e94123890c7a"
	for _, tc := range []struct {
		name, typ, body string
		create, update  string // "" in both: the fault below
		code            fault.Code
	}{
		{name: "empty", body: ` { } `, create: `{}`, update: `{}`},
		{name: "system properties go", body: `{"uuid":"x","TYPE":1,"created":2,"Modified":3,"metadata":{"a":1},"a":1}`, create: `{"a":1}`, update: `{"a":1}`},
		{name: "dropped from updates alone", body: `{"membership":1,"Connection":2}`, create: `{"membership":1,"Connection":2}`, update: `{}`},
		{name: "white space", body: "{ \"a\" : [ 1 ,\t2 ] ,\n\"b\":{ \"c\" : \" x \" } }", create: `{"a":[1,2],"b":{"c":" x "}}`, update: `{"a":[1,2],"b":{"c":" x "}}`},
		{name: "null and empty", body: `{"a":null,"b":"","c":[null,""],"d":{"e":null,"f":""}}`,
			create: `{"c":[null,""],"d":{"e":null,"f":""}}`, update: `{"a":null,"b":null,"c":[null,""],"d":{"e":null,"f":""}}`},
		{name: "last value, first spelling", body: `{"testProp":1,"TESTPROP":2}`, create: `{"testProp":2}`, update: `{"testProp":2}`},
		{name: "empty value last", body: `{"a":1,"A":null}`, create: `{}`, update: `{"a":null}`},
		{name: "repeated nested keys", body: `{"a":{"x":1,"X":2,"x":3}}`, create: `{"a":{"x":3,"X":2}}`, update: `{"a":{"x":3,"X":2}}`},
		{name: "escaped key is the same key", body: `{"\u0061":1,"a":2}`, create: `{"\u0061":2}`, update: `{"\u0061":2}`},
		{name: "numbers keep every digit", body: `{"a":9223372036854775807,"b":-0.10,"c":1e3,"d":123456789012345678901234567890}`,
			create: `{"a":9223372036854775807,"b":-0.10,"c":1e3,"d":123456789012345678901234567890}`, update: `{"a":9223372036854775807,"b":-0.10,"c":1e3,"d":123456789012345678901234567890}`},
		{name: "uuid-like", body: `{"ref":"` + upper + `","name":"` + upper + `","in":{"ref":"` + upper + `"}}`,
			create: `{"ref":"` + lower + `","name":"` + upper + `","in":{"ref":"` + upper + `"}}`, update: `{"ref":"` + lower + `","name":"` + upper + `","in":{"ref":"` + upper + `"}}`},
		{name: "name becomes a string", body: `{"name":7}`, create: `{"name":"7"}`, update: `{"name":"7"}`},
		{name: "name is trimmed", body: `{"name":" milk\t"}`, create: `{"name":"milk"}`, update: `{"name":"milk"}`},
		{name: "blank name", body: `{"name":"  "}`, create: `{}`, update: `{"name":null}`},
		{name: "name that is none", body: `{"name":{"a":1}}`, code: fault.PropertyTypeConversion},
		{name: "name too long", body: `{"name":"` + strings.Repeat("x", maxUniqueBytes+1) + `"}`, code: fault.IllegalArgument},
		{name: "timestamp", body: `{"timestamp":0,"published":0,"t":{"timestamp":0}}`,
			create: `{"timestamp":1500000000000,"published":0,"t":{"timestamp":0}}`, update: `{"timestamp":1500000000000,"published":0,"t":{"timestamp":0}}`},
		{name: "timestamp in the past", body: `{"timestamp":12}`, create: `{"timestamp":12}`, update: `{"timestamp":12}`},
		{name: "location", body: `{"location":{"Lat":"37.5","LON":-122,"more":1}}`, create: `{"location":{"latitude":37.5,"longitude":-122}}`, update: `{"location":{"latitude":37.5,"longitude":-122}}`},
		{name: "nested location", body: `{"actor":{"location":{"longitude":1,"latitude":2}}}`, create: `{"actor":{"location":{"latitude":2,"longitude":1}}}`, update: `{"actor":{"location":{"latitude":2,"longitude":1}}}`},
		{name: "location in an array", body: `{"a":[{"location":{"longitude":1,"latitude":2}}]}`, create: `{"a":[{"location":{"latitude":2,"longitude":1}}]}`, update: `{"a":[{"location":{"latitude":2,"longitude":1}}]}`},
		{name: "location out of range", body: `{"location":{"latitude":200,"longitude":-500}}`, create: `{"location":{"latitude":200,"longitude":-500}}`, update: `{"location":{"latitude":200,"longitude":-500}}`},
		{name: "location that is plain data", body: `{"location":{"city":"x"},"a":{"location":"here"}}`, create: `{"location":{"city":"x"},"a":{"location":"here"}}`, update: `{"location":{"city":"x"},"a":{"location":"here"}}`},
		{name: "location of one member", body: `{"location":{"latitude":1}}`, code: fault.IllegalArgument},
		{name: "location misspelled", body: `{"location":{"latitudee":1,"longitude":2}}`, code: fault.IllegalArgument},
		{name: "location not numeric", body: `{"location":{"latitude":"north","longitude":2}}`, code: fault.IllegalArgument},
		{name: "location of booleans", body: `{"location":{"latitude":true,"longitude":false}}`, code: fault.IllegalArgument},
		{name: "location in quotes", body: `{"location":{"latitude":"\"1\"","longitude":2}}`, code: fault.IllegalArgument},
		{name: "secrets of a user", typ: "users", body: `{"username":"ana","password":"p","PIN":"1","oldpassword":"o","newpassword":"n","credentials":{},"credentialsHistory":[]}`,
			create: `{"username":"ana"}`, update: `{"username":"ana"}`},
		{name: "password of an item", body: `{"password":"p"}`, create: `{"password":"p"}`, update: `{"password":"p"}`},
		{name: "types of a user", typ: "user", body: `{"username":7,"activated":"true","deactivated":"12"}`, create: `{"username":"7","activated":true,"deactivated":12}`, update: `{"username":"7","activated":true,"deactivated":12}`},
		{name: "type that cannot be", typ: "user", body: `{"activated":"maybe"}`, code: fault.PropertyTypeConversion},
		{name: "key too long", body: `{"` + strings.Repeat("k", maxPropertyLength+1) + `":1}`, code: fault.IllegalArgument},
		{name: "too large", body: `{"a":"` + strings.Repeat("x", maxEntityBytes) + `"}`, code: fault.EntityTooLarge},
		{name: "large through white space", body: `{"a":` + strings.Repeat(" ", maxEntityBytes) + `1}`, create: `{"a":1}`, update: `{"a":1}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := wire.CheckJSON([]byte(tc.body)); err != nil {
				t.Fatal(err)
			}
			if tc.typ == "" {
				tc.typ = "items"
			}
			typ := typeNamed(t, tc.typ)
			for p, want := range map[purpose]string{forCreate: tc.create, forUpdate: tc.update} {
				doc, err := normalize(typ, []byte(tc.body), p, now)
				if tc.code != "" {
					if !fault.Is(err, tc.code) {
						t.Errorf("purpose %d: %v, want %s", p, err, tc.code)
					}
					continue
				}
				if err != nil {
					t.Errorf("purpose %d: %v", p, err)
					continue
				}
				if got, err := doc.json(p); err != nil || string(got) != want {
					t.Errorf("purpose %d: %s, %v, want %s", p, got, err, want)
				}
			}
		})
	}
}

func TestNormalizeManyProperties(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`{"nest":{`)
	for i := range 2 * maxProperties {
		fmt.Fprintf(&b, `"k%d":%d,`, i%maxProperties, i)
	}
	b.WriteString(`"k0":"last"}`)
	for i := range maxProperties - 1 {
		fmt.Fprintf(&b, `,"k%d":%d,"K%d":null`, i, i, i)
	}
	b.WriteByte('}')
	began := time.Now()
	doc, err := normalize(typeNamed(t, "items"), b.Bytes(), forCreate, 0)
	if err != nil {
		t.Fatal(err)
	}
	text, err := doc.json(forCreate)
	if err != nil || !bytes.HasPrefix(text, []byte(`{"nest":{"k0":"last","k1":20001,`)) || !bytes.HasSuffix(text, []byte(`"k19999":39999}}`)) {
		t.Fatalf("%.60s … %s, %v", text, text[len(text)-40:], err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v: a body's cost must not grow with the square of its members", took)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString(`,"one":1}`)
	if _, err := normalize(typeNamed(t, "items"), b.Bytes(), forCreate, 0); !fault.Is(err, fault.EntityTooLarge) {
		t.Errorf("one property more: %v", err)
	}
}

func TestDocument(t *testing.T) {
	doc, err := normalize(typeNamed(t, "users"), []byte(`{"username":"ana","created":12,"modified":-1,"password":"p","password":7,"x":null}`), forCreate, 0)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := doc.text("USERNAME"); s != "ana" || !ok {
		t.Errorf("text %q, %v", s, ok)
	}
	if ms, ok := doc.time("created"); ms != 12 || !ok {
		t.Errorf("created %d, %v", ms, ok)
	}
	if ms, ok := doc.time("modified"); ok {
		t.Errorf("negative modified taken: %d", ms)
	}
	if s, ok := doc.secret("password"); s != "7" || !ok {
		t.Errorf("secret %q, %v", s, ok)
	}
	if doc.has("x") || doc.has("absent") || !doc.has("username") {
		t.Error("has")
	}
	doc.remove("Username")
	if doc.has("username") {
		t.Error("removed and still there")
	}
	if err := doc.requireAll(typeNamed(t, "users")); !fault.Is(err, fault.RequiredProperty) {
		t.Errorf("requireAll: %v", err)
	}
}

// FuzzNormalize checks that whatever a body holds, what comes out is JSON
// without the system's properties, and that a second pass changes nothing.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1}`, `{"location":{"lat":"1","lon":2}}`, `{"a":{"a":{"location":{"latitude":1,"longitude":2}}}}`,
		`{"\u0061":"\ud83d\ude00","a":[[],{},""," "]}`, "{ \"name\" :\t\" x \" , \"NAME\":null }", `{"timestamp":-1,"uuid":"x"}`,
	} {
		f.Add([]byte(s))
	}
	items, users := typeNamed(f, "items"), typeNamed(f, "users")
	f.Fuzz(func(t *testing.T, text []byte) {
		if wire.CheckJSON(text) != nil || text[skipSpace(text, 0)] != '{' {
			return
		}
		for _, typ := range []*schema.Type{items, users} {
			for _, p := range []purpose{forCreate, forUpdate} {
				doc, err := normalize(typ, text, p, 1)
				if err != nil {
					if wire.Status(fault.CodeOf(err)) >= 500 {
						t.Fatalf("%q: %v", text, err)
					}
					continue
				}
				out, err := doc.json(p)
				if err != nil {
					t.Fatalf("%q: %v", text, err)
				}
				if wire.CheckJSON(out) != nil {
					t.Fatalf("%q became %q, which is not JSON", text, out)
				}
				var m map[string]json.RawMessage
				if err := json.Unmarshal(out, &m); err != nil {
					t.Fatalf("%q became %q: %v", text, out, err)
				}
				for k, v := range m {
					if schema.Dropped(k) || typ.Secret(k) || (p == forCreate && isEmpty(v)) {
						t.Fatalf("%q left %s: %s in %q", text, k, v, out)
					}
				}
				again, err := normalize(typ, out, p, 1)
				if err != nil {
					t.Fatalf("%q, normalized %q: %v", text, out, err)
				}
				if twice, err := again.json(p); err != nil || !bytes.Equal(twice, out) {
					t.Fatalf("%q, once %q, twice %q, %v", text, out, twice, err)
				}
			}
		}
	})
}

func BenchmarkNormalize(b *testing.B) {
	body := []byte(`{"name":"item-12345","price":3.25,"category":"tools","stock":17,"tags":["a","b"],"location":{"latitude":37.77,"longitude":-122.41},"active":true,"description":"a hammer of good steel, hardly used, with a handle of ash wood"}`)
	typ := typeNamed(b, "items")
	b.ReportAllocs()
	for b.Loop() {
		doc, err := normalize(typ, body, forCreate, 1)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := doc.json(forCreate); err != nil {
			b.Fatal(err)
		}
	}
}
