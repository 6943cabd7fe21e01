package ql

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// printed returns what text prints as, or the message it is refused with.
func printed(text string) string {
	q, err := Parse(text)
	if err != nil {
		return message(err)
	}
	return q.String()
}

func message(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		return "no fault: " + err.Error()
	}
	return string(f.Code) + ": " + strings.TrimPrefix(f.Message, "The query cannot be parsed. ")
}

func TestExamples(t *testing.T) {
	if len(examples) != 104 {
		t.Fatalf("%d examples, want 104", len(examples))
	}
	for i, tc := range examples {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			q, err := Parse(tc.text)
			if fault.CodeOf(err) != tc.code {
				t.Fatalf("%s: %v, want code %q", tc.text, err, tc.code)
			}
			if err == nil {
				checkLaw(t, q)
				if got := q.String(); got != tc.want {
					t.Errorf("%s prints as\n%s, want\n%s", tc.text, got, tc.want)
				}
			}
		})
	}
}

// checkLaw checks that what q prints parses to q again.
func checkLaw(t *testing.T, q *Query) {
	t.Helper()
	text := q.String()
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if diff := cmp.Diff(outline(q), outline(again)); diff != "" {
		t.Fatalf("%s parses to something else (-want +got):\n%s", text, diff)
	}
	if second := again.String(); second != text {
		t.Fatalf("%s prints as %s", text, second)
	}
}

// outline writes out everything about q but its positions. (cmp takes time
// exponential in the depth of nested slices.)
func outline(q *Query) string {
	flat := *q
	flat.Where = nil
	return string(appendOutline(fmt.Appendf(nil, "%#v\n", flat), q.Where))
}

func appendOutline(dst []byte, n Node) []byte {
	list := func(name string, nodes ...Node) []byte {
		dst = append(dst, name...)
		for _, n := range nodes {
			dst = append(appendOutline(append(dst, '('), n), ")\n"...)
		}
		return dst
	}
	switch n := n.(type) {
	case nil:
		return dst
	case *And:
		return list("and", n.List...)
	case *Or:
		return list("or", n.List...)
	case *Not:
		return list("not", n.Of)
	case *Compare:
		return fmt.Appendf(dst, "%q %d %#v", n.Property, n.Op, n.Value)
	case *Contains:
		return fmt.Appendf(dst, "%q contains %q", n.Property, n.Text)
	case *Within:
		return fmt.Appendf(dst, "%q within %v of %v, %v", n.Property, n.Meters, n.Lat, n.Lng)
	}
	panic(fmt.Sprintf("%T", n))
}

// TestForms has what a text means that the examples leave open. The wants lack
// the beginning "select * where ".
func TestForms(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		// Where a condition may begin.
		{`select * name = 'x'`, `name = 'x'`},
		{`SELECT * WHERE a = 1 ORDER BY b DESC`, `a = 1 order by b desc`},
		{`where a = 1`, `a = 1`},
		{"  \t\r\n\f a=1  ", `a = 1`},
		{`select * (a = 1)`, `a = 1`},
		{`select * not a = 1`, `not a = 1`},
		{`selected = 1`, `selected = 1`},
		{`whereabouts = 1`, `whereabouts = 1`},
		{`order = 1 order by order, by`, `order = 1 order by order, by`},
		{"a = 1 order \t\n by b", `a = 1 order by b`},

		// Names.
		{`file-metadata.content-type = 'image/png'`, `file-metadata.content-type = 'image/png'`},
		{`_x = 1`, `_x = 1`},
		{`GRÖSSE = 1`, `grösse = 1`},
		{`asc = 1 and desc = 2 and contains = 3 and within = 4 and direct = 5`, `asc = 1 and desc = 2 and contains = 3 and within = 4 and direct = 5`},
		{`contains contains 'x' or within within 1 of 2, 3`, `contains contains 'x' or within within 1 of 2, 3`},
		{`direct contains 'x'`, `direct contains 'x'`},
		{`DIRECT lt 5`, `direct < 5`},
		{`a = 1 order by desc desc, asc asc, direct`, `a = 1 order by desc desc, asc, direct`},

		// Operators.
		{`a lt 1 and b LTE 2 and c eq 3 and d gte 4 and e gt 5`, `a < 1 and b <= 2 and c = 3 and d >= 4 and e > 5`},
		{`a<1&&b<=2||c=3`, `a < 1 and b <= 2 or c = 3`},
		{`a = 1984and b = 1`, `a = 1984 and b = 1`},

		// Values.
		{`a = 12.`, `a = 12`},
		{`a = .5`, `a = 0.5`},
		{`a = -.5e1`, `a = -5`},
		{`a = 10e-3`, `a = 0.01`},
		{`a = 1E3`, `a = 1000`},
		{`a = 1e+3`, `a = 1000`},
		{`a = -0.0`, `a = 0`},
		{`a = 1e-7`, `a = 1e-07`},
		{`a = 1e-999`, `a = 0`},
		{`a = 1e300`, `a = 1e+300`},
		{`a = 9223372036854775807`, `a = 9223372036854775807`},
		{`a = -9223372036854775808`, `a = -9223372036854775808`},
		{`a = 9223372036854775808`, `a = 9.223372036854776e+18`},
		{`a = 9007199254740993`, `a = 9007199254740993`},
		{`a = 9007199254740993.0`, `a = 9007199254740992`},
		{`a = 1e`, `a = 1`},
		{`a = TRUE`, `a = true`},
		{`a = 0A070000-5E11-11E7-8000-0242AC110002`, `a = '0a070000-5e11-11e7-8000-0242ac110002'`},
		{`a = ABCDEF01-5E11-11E7-8000-0242AC110002`, `a = 'abcdef01-5e11-11e7-8000-0242ac110002'`},
		{`a = 0a070000-5e11-11e7-8000-0242ac110002ff`, `a = '0a070000-5e11-11e7-8000-0242ac110002'`},
		{`abcdef01-5e11-11e7-8000-0242ac110002x = 1`, `abcdef01-5e11-11e7-8000-0242ac110002x = 1`},
		{`a within 1.5 of 90, -180`, `a within 1.5 of 90, -180`},
		{`a within 0 of -90.0, 180`, `a within 0 of -90, 180`},

		// Precedence.
		{`a=1 or b=2 and c=3 or d=4`, `a = 1 or b = 2 and c = 3 or d = 4`},
		{`a=1 or (b=2 and c=3)`, `a = 1 or b = 2 and c = 3`},
		{`(a=1 or b=2) and (c=3 or d=4)`, `(a = 1 or b = 2) and (c = 3 or d = 4)`},
		{`((a=1 or b=2) or c=3) or (d=4 or e=5)`, `a = 1 or b = 2 or c = 3 or d = 4 or e = 5`},
		{`a=1 and ((b=2 and c=3) and d=4)`, `a = 1 and b = 2 and c = 3 and d = 4`},
		{`not a=1 and b=2`, `not a = 1 and b = 2`},
		{`not (a=1 and b=2)`, `not (a = 1 and b = 2)`},
		{`not (a=1) or not ((b=2))`, `not a = 1 or not b = 2`},
		{`not not a=1`, `a = 1`},
		{`not (not (not a=1))`, `not a = 1`},
		{`a=1 and not not (b=2 and c=3)`, `a = 1 and b = 2 and c = 3`},
		{`a=1 or not (not (b=2 or c=3))`, `a = 1 or b = 2 or c = 3`},

		// What is left over.
		{`a = 1 limit 5`, `a = 1`},
		{`a = 1 sort by x`, `a = 1`},
		{`a = 1 from y where b = 2`, `a = 1`},
		{`a = 1) or b = 2`, `a = 1`},
		{`a = 1 order by b desc asc`, `a = 1 order by b desc`},
		{`a = 1 order by b c`, `a = 1 order by b`},
		{`a = 1 1e999 'x' {:`, `a = 1`},

		// Direct.
		{`direct b3, B1,0A090000-5E11-11E7-8000-0242AC110002`, `direct b3, B1, 0a090000-5e11-11e7-8000-0242ac110002`},
		{`where direct b3 order by name`, `direct b3`},
		{`direct b3 limit 5`, `direct b3`},
		{`direct order, by`, `direct order, by`},
	} {
		t.Run(tc.text, func(t *testing.T) {
			if got, want := printed(tc.text), "select * where "+tc.want; got != want {
				t.Errorf("prints as\n%s, want\n%s", got, want)
			}
		})
	}
}

func TestProjection(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"SELECT Title,pub.City ,\nx", `select Title, pub.City, x`},
		{`select {T : Title,c:Pub.City}order by x`, `select {T: Title, c: Pub.City} order by x`},
		{`select a b = 1`, `select a where b = 1`},
		{`select order, by order by by`, `select order, by order by by`},
		{`select * 5`, `select *`},
		{`select order by x`, `query_parse: The token 'order by' at column 8 on line 1 cannot be parsed`},
		{`select`, `query_parse: The text ends at column 7 on line 1, where more has to follow`},
		{`select a,`, `query_parse: The text ends at column 10 on line 1, where more has to follow`},
		{`select a, *`, `query_parse: The token '*' at column 11 on line 1 cannot be parsed`},
		{`select desc`, `query_parse: The token 'desc' at column 8 on line 1 cannot be parsed`},
		{`select {}`, `query_parse: The token '}' at column 9 on line 1 cannot be parsed`},
		{`select {a}`, `query_parse: The token '}' at column 10 on line 1 cannot be parsed`},
		{`select {a: b`, `query_parse: The text ends at column 13 on line 1, where more has to follow`},
		{`select {a: b, }`, `query_parse: The token '}' at column 15 on line 1 cannot be parsed`},
		{`select distinct a`, `query_parse: The text ends at column 18 on line 1, where more has to follow`},
	} {
		if got := printed(tc.text); got != tc.want {
			t.Errorf("%s prints as\n%s, want\n%s", tc.text, got, tc.want)
		}
	}
	q, err := Parse(`select {T: Pub.City}`)
	if err != nil {
		t.Fatal(err)
	}
	want := &Query{Columns: []Column{{Label: "T", Property: "Pub.City"}}, Labeled: true}
	if diff := cmp.Diff(want, q); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	long := strings.Repeat("ö", 100)
	for _, tc := range []struct{ text, want string }{
		{`title like 'Dune'`, `query_parse: The token 'like' at column 7 on line 1 cannot be parsed`},
		{`  title like 'Dune'`, `query_parse: The token 'like' at column 9 on line 1 cannot be parsed`},
		{"a = 1\n  and\r\n\tb is null", `query_parse: The token 'is' at column 4 on line 3 cannot be parsed`},
		{"a = 'ü\nö' and ä b", `query_parse: The token 'b' at column 10 on line 2 cannot be parsed`},
		{`a = ` + long, `query_parse: The token '` + long[:128] + `…' at column 5 on line 1 cannot be parsed`},
		{`a == 1`, `query_parse: The token '=' at column 4 on line 1 cannot be parsed`},
		{`a <> 1`, `query_parse: The token '>' at column 4 on line 1 cannot be parsed`},
		{`a = 1 and`, `query_parse: The text ends at column 10 on line 1, where more has to follow`},
		{"a = 1 and \n ", `query_parse: The text ends at column 10 on line 1, where more has to follow`},
		{`(a = 1`, `query_parse: The text ends at column 7 on line 1, where more has to follow`},
		{`(a = 1 b`, `query_parse: The token 'b' at column 8 on line 1 cannot be parsed`},
		{`()`, `query_parse: The token ')' at column 2 on line 1 cannot be parsed`},
		{`not`, `query_parse: The text ends at column 4 on line 1, where more has to follow`},
		{`where where a = 1`, `query_parse: The token 'where' at column 7 on line 1 cannot be parsed`},
		{`where order by a`, `query_parse: The token 'order by' at column 7 on line 1 cannot be parsed`},
		{`order by`, `query_parse: The text ends at column 9 on line 1, where more has to follow`},
		{`order by a,`, `query_parse: The text ends at column 12 on line 1, where more has to follow`},
		{`order by of`, `query_parse: The token 'of' at column 10 on line 1 cannot be parsed`},
		{`order by a, b, A`, `query_parse: The token 'A' at column 16 on line 1 is already a sort key`},
		{`limit 5`, `query_parse: The token '5' at column 7 on line 1 cannot be parsed`},
		{`select * limit 5`, `query_parse: The token '5' at column 16 on line 1 cannot be parsed`},
		{`* where a = 1`, `query_parse: The token '*' at column 1 on line 1 cannot be parsed`},
		{`true = 1`, `query_parse: The token 'true' at column 1 on line 1 cannot be parsed`},
		{`of = 1`, `query_parse: The token 'of' at column 1 on line 1 cannot be parsed`},
		{`(select * where a = 1)`, `query_parse: The token 'select' at column 2 on line 1 cannot be parsed`},
		{`a = 'x' = 1 and "`, `query_token: The character '"' at column 17 on line 1 begins no token`},
		{`a = 1e999`, `query_parse: The token '1e999' at column 5 on line 1 is too large a number`},
		{`a = ` + strings.Repeat("9", 400), `query_parse: The token '` + strings.Repeat("9", 64) + `…' at column 5 on line 1 is too large a number`},
		{`a contains 5`, `query_parse: The token '5' at column 12 on line 1 cannot be parsed`},
		{`a contains 0a090000-5e11-11e7-8000-0242ac110002`, `query_parse: The token '0a090000-5e11-11e7-8000-0242ac110002' at column 12 on line 1 cannot be parsed`},

		{`a within 1 of 2`, `query_parse: The text ends at column 16 on line 1, where more has to follow`},
		{`a within 1 from 2, 3`, `query_parse: The token 'from' at column 12 on line 1 cannot be parsed`},
		{`a within 'x' of 2, 3`, `query_parse: The token ''x'' at column 10 on line 1 cannot be parsed`},
		{`a within -1 of 2, 3`, `illegal_argument: The token '-1' at column 10 on line 1 is no distance in metres`},
		{`a within 1e999 of 2, 3`, `illegal_argument: The token '1e999' at column 10 on line 1 is no distance in metres`},
		{`a within 1 of 90.01, 3`, `illegal_argument: The token '90.01' at column 15 on line 1 is no latitude from -90 to 90 degrees`},
		{`a within 1 of -91, 3`, `illegal_argument: The token '-91' at column 15 on line 1 is no latitude from -90 to 90 degrees`},
		{`a within 1 of 2, 180.5`, `illegal_argument: The token '180.5' at column 18 on line 1 is no longitude from -180 to 180 degrees`},
		{`a within 1 of 2, -1e999`, `illegal_argument: The token '-1e999' at column 18 on line 1 is no longitude from -180 to 180 degrees`},

		{`direct`, `query_parse: The text ends at column 7 on line 1, where more has to follow`},
		{`direct 5`, `query_parse: The token '5' at column 8 on line 1 cannot be parsed`},
		{`direct a,`, `query_parse: The text ends at column 10 on line 1, where more has to follow`},
		{`direct a, 'b'`, `query_parse: The token ''b'' at column 11 on line 1 cannot be parsed`},
		{`direct a and b = 1`, `query_parse: The token 'and' at column 10 on line 1 cannot be parsed`},
		{`direct a || b = 1`, `query_parse: The token '||' at column 10 on line 1 cannot be parsed`},
		{`b = 1 and direct a`, `query_parse: The token 'a' at column 18 on line 1 cannot be parsed`},
		{`not direct a`, `query_parse: The token 'a' at column 12 on line 1 cannot be parsed`},
		{`(direct a)`, `query_parse: The token 'a' at column 9 on line 1 cannot be parsed`},

		{`a != 1`, `query_token: The character '!' at column 3 on line 1 begins no token`},
		{`a = 1; b = 2`, `query_token: The character ';' at column 6 on line 1 begins no token`},
		{`a = 1 limit ?`, `query_token: The character '?' at column 13 on line 1 begins no token`},
		{`a & b`, `query_token: The character '&' at column 3 on line 1 begins no token`},
		{`a = - 1`, `query_token: The character '-' at column 5 on line 1 begins no token`},
		{`a = .`, `query_token: The character '.' at column 5 on line 1 begins no token`},
		{`a = €`, `query_token: The character '€' at column 5 on line 1 begins no token`},
		{"a\u00a0= 1", "query_token: The character '\u00a0' at column 2 on line 1 begins no token"},
		{"\ufeffa = 1", "query_token: The character '\ufeff' at column 1 on line 1 begins no token"},
		{`a = 'x`, `query_token: The string 'x at column 5 on line 1 has no closing quote`},
		{`a = 'x\'`, `query_token: The string 'x\' at column 5 on line 1 has no closing quote`},
		{`a = 'x\`, `query_token: The string 'x\ at column 5 on line 1 has no closing quote`},
		{`a = '` + long, `query_token: The string '` + long[:126] + `… at column 5 on line 1 has no closing quote`},
		{"a = 'ä\n\\\\ \\q'", `query_token: The escape '\q' at column 4 on line 2 does not exist`},
		{`a = '\*'`, `query_token: The escape '\*' at column 6 on line 1 does not exist`},
		{`a = '\ö'`, `query_token: The escape '\ö' at column 6 on line 1 does not exist`},
		{`a = '\u12g4'`, `query_token: The escape '\u' at column 6 on line 1 does not exist`},
		{`a = '\8'`, `query_token: The escape '\8' at column 6 on line 1 does not exist`},
		{`a = 1 '\q'`, `query_token: The escape '\q' at column 8 on line 1 does not exist`},
		{"a = 'ä\xff'", `query_token: The byte 0xff at column 7 on line 1 is not UTF-8`},
		{"\xed\xa0\x80", `query_token: The byte 0xed at column 1 on line 1 is not UTF-8`},
	} {
		t.Run(tc.text, func(t *testing.T) {
			if got := printed(tc.text); got != tc.want {
				t.Errorf("got\n%s, want\n%s", got, tc.want)
			}
		})
	}
}

func TestErrorForm(t *testing.T) {
	_, err := Parse(`select * where tit x = 1`)
	var f *fault.Error
	const want = "The query cannot be parsed. The token 'x' at column 20 on line 1 cannot be parsed"
	if !errors.As(err, &f) || f.Message != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestStrings(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`''`, ""},
		{`'  Ab\tC  '`, "ab\tc"},
		{`'\u0020a\n'`, "a"},
		{`'\'\\\"'`, `'\"`},
		{`'a\b\t\n\f\r.'`, "a\b\t\n\f\r."},
		{`'a\B\T\N\F\R.'`, "a\b\t\n\f\r."},
		{"'a\nb'", "a\nb"},
		{`'\u00C9mile'`, "émile"},
		{`'\U00c9MILE'`, "émile"},
		{`'\ud83d\uDE00'`, "😀"},
		{`'\ud83d'`, "\ufffd"},
		{`'\ud83d\u0041'`, "\ufffda"},
		{`'\ude00\ud83d'`, "\ufffd\ufffd"},
		{`'.\0.'`, ".\x00."},
		{`'\101\1012\60\400'`, "aa20 0"},
		{`'.\377'`, ".ÿ"},
		{`'.\08'`, ".\x008"},
		{`'\52'`, "*"},
		{`'\u212A'`, "k"},
		{`'İ'`, "i"},
		{`'""'`, `""`},
		{`'a!%;?"b'`, `a!%;?"b`},
	} {
		t.Run(tc.text, func(t *testing.T) {
			for _, text := range []string{"a = " + tc.text, "a contains " + tc.text} {
				q, err := Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				if got := stringOf(q.Where); got != tc.want {
					t.Errorf("%s means %q, want %q", text, got, tc.want)
				}
				checkLaw(t, q)
			}
		})
	}
}

func stringOf(n Node) string {
	if c, ok := n.(*Contains); ok {
		return c.Text
	}
	return n.(*Compare).Value.String
}

func TestPositions(t *testing.T) {
	q, err := Parse("select *\nwhere not a = 'ü'  and\n(B within 1 of 2, 3 or c contains 'x')")
	if err != nil {
		t.Fatal(err)
	}
	want := &And{At: Position{2, 7}, List: []Node{
		&Not{At: Position{2, 7}, Of: &Compare{
			Property: "a", Op: Equal, Value: entity.Value{Class: entity.StringClass, String: "ü"}, At: Position{2, 11},
		}},
		&Or{At: Position{3, 2}, List: []Node{
			&Within{Property: "b", Meters: 1, Lat: 2, Lng: 3, At: Position{3, 2}},
			&Contains{Property: "c", Text: "x", At: Position{3, 24}},
		}},
	}}
	if diff := cmp.Diff(want, q.Where); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDepth(t *testing.T) {
	wrap := func(open, shut string, levels int) string {
		return strings.Repeat(open, levels) + "a = 1" + strings.Repeat(shut, levels)
	}
	for name, form := range map[string]struct {
		open, shut string
		levels     int // that one open makes
	}{
		"parentheses": {"(", ")", 1},
		"not":         {"not ", "", 1},
		"both":        {"not (", ")", 2},
		"nests":       {"(b = 1 or not (c = 1 and ", "))", 3},
	} {
		fits := maxDepth / form.levels
		q, err := Parse(wrap(form.open, form.shut, fits))
		if err != nil {
			t.Errorf("%s: %d levels: %v", name, maxDepth, err)
			continue
		}
		checkLaw(t, q)
		if _, err := Parse(wrap(form.open, form.shut, fits+1)); !fault.Is(err, fault.QueryParse) {
			t.Errorf("%s: over %d levels: %v", name, maxDepth, err)
		}
		if _, err := Parse(wrap(form.open, form.shut, 100_000)); !fault.Is(err, fault.QueryParse) {
			t.Errorf("%s: many levels: %v", name, err)
		}
	}
	if _, err := Parse(strings.Repeat("not (not a = 1) and ", 2*maxDepth) + "b = 1"); err != nil {
		t.Errorf("levels side by side count as one below the other: %v", err)
	}
}

func TestLongLists(t *testing.T) {
	const n = 10_000
	q, err := Parse(terms(n))
	if err != nil {
		t.Fatal(err)
	}
	if or := q.Where.(*Or); len(or.List) != n {
		t.Errorf("%d terms, want %d", len(or.List), n)
	}
	checkLaw(t, q)
}

// terms returns n comparisons with "or" between them.
func terms(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(" or ")
		}
		fmt.Fprintf(&b, "name = 'item %d'", i)
	}
	return b.String()
}

func TestDirectIsBounded(t *testing.T) {
	list := strings.Repeat("a, ", maxDirect-1) + "a"
	q, err := Parse("direct " + list)
	if err != nil || len(q.Direct) != maxDirect {
		t.Fatalf("%d targets: %v", maxDirect, err)
	}
	if _, err := Parse("direct " + list + ", a"); !fault.Is(err, fault.TooManyDirect) {
		t.Errorf("%d targets: %v", maxDirect+1, err)
	}
}

func TestParseCondition(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`A = 1 or b = 2 and not (c = 3)`, `a = 1 or b = 2 and not c = 3`},
		{`direct = 1`, `direct = 1`},
		{` `, ``},
		{`select * where a = 1`, `query_parse: The token 'select' at column 1 on line 1 cannot be parsed`},
		{`where a = 1`, `query_parse: The token 'where' at column 1 on line 1 cannot be parsed`},
		{`a = 1 order by b`, `query_parse: The token 'order by' at column 7 on line 1 cannot be parsed`},
		{`a = 1 limit 5`, `query_parse: The token 'limit' at column 7 on line 1 cannot be parsed`},
		{`a = 1)`, `query_parse: The token ')' at column 6 on line 1 cannot be parsed`},
		{`a = 1 "`, `query_token: The character '"' at column 7 on line 1 begins no token`},
		{`direct a`, `query_parse: The token 'a' at column 8 on line 1 cannot be parsed`},
		{"\xff", `query_token: The byte 0xff at column 1 on line 1 is not UTF-8`},
	} {
		n, err := ParseCondition(tc.text)
		got := ""
		switch {
		case err != nil:
			got = message(err)
		case n != nil:
			got = Print(n)
		}
		if got != tc.want {
			t.Errorf("%q: %s, want %s", tc.text, got, tc.want)
		}
	}
}

func TestRestrict(t *testing.T) {
	for _, tc := range []struct{ text, filter, want string }{
		{``, `a = 1`, `select * where a = 1`},
		{`a = 1`, ``, `select * where a = 1`},
		{`a = 1`, `b = 2`, `select * where a = 1 and b = 2`},
		{`a = 1 and b = 2 order by c`, `d = 3 and e = 4`, `select * where a = 1 and b = 2 and d = 3 and e = 4 order by c`},
		{`a = 1 or b = 2`, `c = 3 or d = 4`, `select * where (a = 1 or b = 2) and (c = 3 or d = 4)`},
		{`direct a`, ``, `select * where direct a`},
		{`direct a`, `b = 1`, `illegal_argument: A query with direct cannot be restricted by a filter`},
	} {
		q, err := Parse(tc.text)
		if err != nil {
			t.Fatal(err)
		}
		n, err := ParseCondition(tc.filter)
		if err != nil {
			t.Fatal(err)
		}
		before := q.Where
		shape := ""
		if before != nil {
			shape = Print(before)
		}
		got := ""
		if err := q.Restrict(n); err != nil {
			got = message(err)
		} else {
			got = q.String()
			checkLaw(t, q)
		}
		if got != tc.want {
			t.Errorf("%s restricted by %s: %s, want %s", tc.text, tc.filter, got, tc.want)
		}
		if before != nil && Print(before) != shape {
			t.Errorf("%s restricted by %s changed what was there: %s", tc.text, tc.filter, Print(before))
		}
	}
}

func TestNear(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{``, ``},
		{`x = 1`, ``},
		{`a within 1 of 2, 3`, `a`},
		{`not a within 1 of 2, 3`, ``},
		{`not not a within 1 of 2, 3`, `a`},
		{`b within 1 of 2, 3 or x = 1 and (a within 1 of 2, 3 or c within 1 of 2, 3)`, `b a c`},
		{`not (x = 1 and not a within 1 of 2, 3) and b within 1 of 2, 3`, `b`},
	} {
		q, err := Parse(tc.text)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, n := range q.Near() {
			names = append(names, n.Property)
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%s: near %q, want %q", tc.text, got, tc.want)
		}
	}
}

func ExampleParse() {
	q, err := Parse(`status EQ 'Open' && not (due < 10.0 || tags contains 'Later') order by created desc limit 5`)
	fmt.Println(q, err)
	_, err = Parse(`status is null`)
	fmt.Println(err)
	// Output:
	// select * where status = 'open' and not (due < 10 or tags contains 'later') order by created desc <nil>
	// query_parse: The query cannot be parsed. The token 'is' at column 8 on line 1 cannot be parsed
}

func FuzzParse(f *testing.F) {
	for _, tc := range examples {
		f.Add(tc.text)
	}
	for _, text := range []string{
		`direct b3, B1, 0A090000-5E11-11E7-8000-0242AC110002 order by x`,
		`not not (a = 1 or (b = -.5e-7 or c = 9223372036854775807)) and direct <= 9007199254740993`,
		`select {A: b, c-.D: order} contains contains '\'\\\"\b\t\n\f\r\u00e9\ud83d\ude00\377\0 ' order  by by, order desc, asc asc`,
		`a = '\u212a\ud83d*?' && İ gte 1e300 || wİthin within 1e3 of -90, 180.0`,
		"a = 'x\ny' /* limit", "\xff", "'\\", "((((not not", "a = 1e999", "{:,*}", "order\fby",
		terms(3), strings.Repeat("(", maxDepth+1), strings.Repeat("not ", maxDepth) + "a = 1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err == nil {
			checkLaw(t, q)
			checkCondition(t, q.Where)
			return
		}
		var e *fault.Error
		if !errors.As(err, &e) || !knownCodes[e.Code] || len(e.Message) > 512 || strings.ToValidUTF8(e.Message, "") != e.Message {
			t.Fatalf("%q is refused with %q", text, err)
		}
	})
}

var knownCodes = map[fault.Code]bool{
	fault.QueryParse: true, fault.QueryToken: true, fault.IllegalArgument: true, fault.TooManyDirect: true,
}

// checkCondition checks that a condition prints to itself without a query
// around it.
func checkCondition(t *testing.T, n Node) {
	if n == nil {
		return
	}
	again, err := ParseCondition(Print(n))
	if err != nil {
		t.Fatalf("%s: %v", Print(n), err)
	}
	if Print(again) != Print(n) {
		t.Fatalf("%s prints as %s", Print(n), Print(again))
	}
}

func BenchmarkParse(b *testing.B) {
	for name, text := range map[string]string{
		"short":     `select * where status = 'open' order by created desc`,
		"terms=10⁴": terms(10_000),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPrint(b *testing.B) {
	q, err := Parse(`select * where status = 'open' order by created desc`)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = q.String()
	}
}
