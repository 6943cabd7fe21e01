package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// allCodes reads the codes from the source of package fault, so that a new one
// cannot be forgotten here.
func allCodes(t *testing.T) []fault.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../storage/fault/fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []fault.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != "Code" {
			return true
		}
		for _, v := range spec.Values {
			if lit, ok := v.(*ast.BasicLit); ok {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					codes = append(codes, fault.Code(s))
				}
			}
		}
		return true
	})
	if len(codes) < 40 {
		t.Fatalf("found %d codes: this test no longer reads the source right", len(codes))
	}
	return codes
}

func TestErrorTable(t *testing.T) {
	for _, code := range allCodes(t) {
		r, ok := rowOf(code)
		if !ok {
			t.Errorf("%s has no row", code)
			continue
		}
		if r.status < 400 || r.status > 599 {
			t.Errorf("%s: status %d", code, r.status)
		}
		if (r.status == 503 || r.status == 429) != (r.retry > 0) {
			t.Errorf("%s: status %d, retry %d", code, r.status, r.retry)
		}
		if r.exception == "" && code != fault.PasswordPolicy {
			t.Errorf("%s has no exception", code)
		}
	}
	for code, want := range map[fault.Code]int{
		fault.OrganizationApplicationNotFound: 404, fault.Management: 400, fault.EntityNotFound: 404, fault.ServiceResourceNotFound: 404,
		fault.NotAllowed: 405, fault.Duplicate: 400, fault.ApplicationExists: 409, fault.Unauthorized: 401, fault.InvalidGrant: 400,
		fault.EntityTooLarge: 413, fault.NotImplemented: 501, fault.NoQuorum: 503, fault.Uncaught: 500, "new_and_unknown": 500,
	} {
		if got := Status(code); got != want {
			t.Errorf("Status(%s) = %d, want %d", code, got, want)
		}
	}
}

func TestProblems(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		status int
		code   fault.Code
		shown  string
	}{
		"fault":         {fault.New(fault.Duplicate, "taken"), 400, fault.Duplicate, "taken"},
		"wrapped fault": {fmt.Errorf("save: %w", fault.Wrap(errors.New("disk"), fault.Overloaded, "full")), 503, fault.Overloaded, "full"},
		"not a fault":   {errors.New("/secret/place"), 500, fault.Uncaught, "Internal error"},
		"corrupt":       {fault.New(fault.Corrupt, "key 0x12"), 500, fault.Uncaught, "Internal error"},
		"no row":        {fault.New("new_and_unknown", "hush"), 500, fault.Uncaught, "Internal error"},
		"deadline":      {fmt.Errorf("wait: %w", context.DeadlineExceeded), 503, fault.Timeout, "what became of a write"},
	} {
		p := problemOf(tc.err)
		text := string(appendProblem(nil, &p, 1500000000000, 7))
		if p.status != tc.status || p.code != tc.code || !strings.Contains(text, tc.shown) || p.id.IsZero() != (tc.status != 500) {
			t.Errorf("%s: %d %s", name, p.status, text)
		}
		if !json.Valid([]byte(text)) || strings.Contains(text, "secret") || strings.Contains(text, "0x12") || strings.Contains(text, "disk") || strings.Contains(text, "hush") {
			t.Errorf("%s: %s", name, text)
		}
	}
	p := problemOf(OAuth(fault.New(fault.InvalidGrant, "invalid username or password")))
	if text := string(appendProblem(nil, &p, 1, 1)); text != `{"error":"invalid_grant","error_description":"invalid username or password"}` || p.status != 400 {
		t.Errorf("%d %s", p.status, text)
	}
	if err := OAuth(fault.New(fault.Overloaded, "full")); !fault.Is(err, fault.Overloaded) {
		t.Errorf("a full queue became %v", err)
	}
	if p := problemOf(Challenge(fault.New(fault.Unauthorized, "no"))); !p.challenge || p.status != 401 {
		t.Errorf("%+v", p)
	}
}

func TestSplitPath(t *testing.T) {
	for path, want := range map[string]string{
		"": "", "/": "", "//": "", "/a/b": "a|b", "a//b/": "a|b", "/a%2Fb/c": "a/b|c", "/a+b": "a+b", "/%C3%BC": "ü", "/../.": "..|.", "/a;b=c": "a;b=c", "/%25": "%",
	} {
		got, err := splitPath(nil, path)
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("splitPath(%q) = %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"/%", "/%2", "/%zz", "/a%00", "/%ff", "/\xff", "/a\x00b", strings.Repeat("/a", maxSegments+1)} {
		if got, err := splitPath(nil, path); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("splitPath(%.20q) = %q, %v", path, got, err)
		}
	}
}

func FuzzSplitPath(f *testing.F) {
	for _, s := range []string{"/a/b", "/%2F%2f/%", "//a;b/%C3%BC", "/..//.", "/a%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		segments, err := splitPath(nil, path)
		if err != nil {
			if !fault.Is(err, fault.IllegalArgument) {
				t.Fatal(err)
			}
			return
		}
		var again strings.Builder
		for _, s := range segments {
			if s == "" || strings.ContainsRune(s, 0) || !json.Valid(AppendString(nil, s)) {
				t.Fatalf("segment %q of %q", s, path)
			}
			again.WriteByte('/')
			for i := 0; i < len(s); i++ {
				fmt.Fprintf(&again, "%%%02x", s[i])
			}
		}
		if twice, err := splitPath(nil, again.String()); err != nil || strings.Join(twice, "\x00") != strings.Join(segments, "\x00") {
			t.Fatalf("%q: %q, written again %q, %v", path, segments, twice, err)
		}
	})
}

func TestCheckJSON(t *testing.T) {
	for _, good := range []string{
		`{}`, ` [1] `, `"x"`, `-0.5e-3`, `{"a":"{[\"]}"}`, `[9223372036854775807,1e308]`, strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth),
		`"` + strings.Repeat("[", 1000) + `"`, `"\\"`, `["\\","["]`,
	} {
		if err := CheckJSON([]byte(good)); err != nil {
			t.Errorf("%.40s: %v", good, err)
		}
	}
	for _, bad := range []string{
		``, ` `, `{`, `"`, `"\`, `{"a"}`, `[1,]`, `01`, `+1`, `1.`, `.5`, `NaN`, `Infinity`, `1e999`, `-1e999`, `{'a':1}`, "\"\x01\"", "\"\xff\"", "\xef\xbb\xbf{}", `{}{}`,
		strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), strings.Repeat("9", 400), strings.Repeat("1", 2000) + "e-1999",
	} {
		if err := CheckJSON([]byte(bad)); !fault.Is(err, fault.JSONParse) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

// FuzzCheckJSON checks that what passes is what encoding/json takes.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{}`, `[1,"a"]`, `"\u0000"`, `1e400`, `[[[]]]`, `"\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := CheckJSON(text)
		if err != nil {
			if !fault.Is(err, fault.JSONParse) {
				t.Fatal(err)
			}
			return
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatalf("%q passes, but: %v", text, err)
		}
	})
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "plain", "a\"b\\c", "\x00\x1f\n\r\t", "ü日本😀", "</script>", "\u2028\u2029", "a\xffb", "\xed\xa0\x80", "\xff"} {
		quoted := AppendString(nil, s)
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil || back != string([]rune(s)) {
			t.Errorf("%q: %s, %v", s, quoted, err)
		}
		if strings.ContainsAny(string(quoted), "<\u2028\u2029\x00\n") {
			t.Errorf("%q: %s is not safe in a script", s, quoted)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\x00\xff\u2028<")
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(AppendString(nil, s), &back); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := string([]rune(s)); back != want {
			t.Fatalf("%q came back as %q", s, back)
		}
	})
}

func TestAppendEntity(t *testing.T) {
	id, _ := entity.ParseID("83e9b7ea-e8f5-11e2-84df-e94123890c7a")
	e := entity.Entity{ID: id, Created: 1, Modified: 2, JSON: []byte(`{"name":"milk"}`)}
	got := string(AppendEntity(nil, &e, &Shape{Type: "item", Path: "/items"}, nil))
	if want := `{"uuid":"` + id.String() + `","type":"item","created":1,"modified":2,"name":"milk","metadata":{"path":"/items/` + id.String() + `"}}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	e.JSON = []byte(`{}`)
	got = string(AppendEntity(nil, &e, &Shape{Type: `o"dd`, Path: `/o"dds`, Sets: []Set{{"a", "b"}}, Collections: []string{"c", "d"}}, nil))
	if !json.Valid([]byte(got)) || !strings.Contains(got, `"sets":{"a":"/o\"dds/`+id.String()+`/b"},"collections":{"c":`) {
		t.Errorf("%s", got)
	}
}

func TestKindOf(t *testing.T) {
	for _, tc := range []struct {
		contentType, body string
		want              BodyKind
	}{
		{"", "", NoBody}, {"application/json", "", NoBody}, {"application/json", "x", JSONBody}, {"Application/JSON;charset=x", "x", JSONBody},
		{"text/plain", " {", JSONBody}, {"application/x-www-form-urlencoded", "{", JSONBody}, {"application/x-www-form-urlencoded; charset=utf-8", "a=b", FormBody},
		{"multipart/form-data; boundary=x", "{", MultipartBody}, {"application/octet-stream", "[", OtherBody}, {"text/plain", "a", OtherBody}, {"", "a=b", OtherBody},
		{"application/hal+json", "x", JSONBody},
	} {
		if got := kindOf([]byte(tc.contentType), []byte(tc.body)); got != tc.want {
			t.Errorf("%q %q: %d, want %d", tc.contentType, tc.body, got, tc.want)
		}
	}
}

func TestDeadlineContext(t *testing.T) {
	c := newDeadlineContext(context.Background(), time.Now(), time.Now().Add(time.Hour))
	if err := c.Err(); err != nil {
		t.Errorf("fresh: %v", err)
	}
	c.end()
	if err := c.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
	<-c.Done() // whoever still holds it does not wait for ever
	c = newDeadlineContext(context.Background(), time.Now(), time.Now().Add(time.Millisecond))
	<-c.Done()
	if err := c.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late: %v", err)
	}
	c.end()
	if err := newDeadlineContext(context.Background(), time.Now(), time.Now()).Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late without a wait: %v", err)
	}
	parent, cancel := context.WithCancel(context.Background())
	c = newDeadlineContext(parent, time.Now(), time.Now().Add(time.Hour))
	cancel()
	<-c.Done()
	if err := c.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("server gone: %v", err)
	}
	c.end()
}

// TestAppendValue: what is parsed and written again means the same, and is JSON.
func TestAppendValue(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, `null`, `true`, `-1.50e+10`, `9223372036854775807`, `""`, `{"a":[1,{"b":[]},"x"],"a":2,"":null}`,
		`"\u0000\u0001\u001f\t\n\"\\\u007f\u2028"`, `{"\"\u0001\udb40\udc67":"\"\udb40\udc67 \ud83c\udff4"}`,
	} {
		v, err := fastjson.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got := AppendValue([]byte("x"), v)[1:]
		var had, has any
		if err := json.Unmarshal([]byte(text), &had); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &has); err != nil {
			t.Errorf("%s became %s: %v", text, got, err)
			continue
		}
		if !reflect.DeepEqual(had, has) {
			t.Errorf("%s became %s", text, got)
		}
	}
}
