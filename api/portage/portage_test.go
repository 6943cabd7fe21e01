package portage_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/storage/portable"
)

// populate gives an application something of every kind.
func (w *world) populate(app string) {
	w.Helper()
	ann := w.in(app, "POST", "/users", `{"username":"ann","email":"ann@example.test","password":"ann-secret","city":"Oslo","age":9223372036854775807}`)
	bob := w.in(app, "POST", "/users", `{"username":"bob","name":"Bob \u2028 <b>","tags":["a",{"b":1.50}]}`)
	w.in(app, "POST", "/items/_settings", `{"fields":["price","one.key"],"indexes":[["price","created desc"]],"queueIndex":"direct"}`)
	milk := w.in(app, "POST", "/items", `{"name":"milk","price":3.25,"location":{"latitude":1.5,"longitude":-2}}`)
	bread := w.in(app, "POST", "/items", `{"name":"bread","price":2}`)
	w.in(app, "POST", "/empties", `{}`)
	w.in(app, "POST", "/groups", `{"path":"staff/oslo","title":"Staff"}`)
	w.in(app, "POST", "/roles", `{"name":"manager","title":"Manager"}`)
	w.must("POST", "/acme/"+app+"/roles/manager/permissions", w.Admin, `{"permission":"get,put:/items/**"}`)
	w.must("DELETE", "/acme/"+app+"/roles/default/permissions?permission=get,put,post,delete:/**", w.Admin, "")
	w.must("POST", "/acme/"+app+"/users/ann/permissions", w.Admin, `{"permission":"delete:/items/*"}`)
	w.in(app, "POST", "/users/ann/roles/manager", "")
	w.in(app, "POST", "/groups/staff/oslo/users/"+bob, "")
	w.in(app, "POST", "/groups/staff/oslo/roles/manager", "")
	w.in(app, "POST", "/users/bob/devices", `{"name":"phone"}`)
	w.in(app, "POST", "/users/ann/likes/"+milk, "")
	w.in(app, "POST", "/users/bob/likes/"+bread, "")
	w.in(app, "POST", "/users/ann/likes/"+bread, "")
	w.in(app, "POST", "/items/"+milk+"/madeby/"+milk, "")
	w.in(app, "POST", "/users/ann/likes/"+milk, "") // moves to the front
	w.in(app, "POST", "/users/"+ann+"/following/users/"+bob, "")
	w.in(app, "DELETE", "/users/bob/likes/"+bread, "")
	w.in(app, "POST", "/events", `{"timestamp":1500000000000,"category":"c","counters":{"a.b":2}}`)
}

// TestRoundTrip: an application that is exported and imported into a new one is the
// same, in every line, and doing it again changes nothing.
func TestRoundTrip(t *testing.T) {
	w := newWorld(t)
	w.populate("shop")
	out := w.export("shop", w.Admin, "")
	for _, secret := range []string{"credentials\":[", "$2a$", "client_secret"} {
		if strings.Contains(out, secret) {
			t.Errorf("an export has %s in it", secret)
		}
	}
	w.newApp("copy")
	first := w.load("copy", w.Admin, out, "")
	if first.Failed != 0 || first.Existing != 0 {
		t.Errorf("first: %s", first)
	}
	back := w.export("copy", w.Admin, "")
	if d := cmp.Diff(strings.Split(inner(out), "\n"), strings.Split(inner(back), "\n")); d != "" {
		t.Errorf("export of the copy (-want +got):\n%s", d)
	}
	again := w.load("copy", w.Admin, out, "")
	if again.Failed != 0 || again.Imported != 0 || again.Existing != first.Imported || again.Linked != first.Linked {
		t.Errorf("again: %s, first %s", again, first)
	}
	if d := cmp.Diff(inner(back), inner(w.export("copy", w.Admin, ""))); d != "" {
		t.Errorf("after the second import:\n%s", d)
	}
	for path, want := range map[string]int{
		"/items?ql=price > 2": 1, "/users/ann/likes": 2, "/users/ann/roles": 1, "/groups/staff/oslo/users": 1, "/users/bob/devices": 1,
		"/users/bob/likes": 0, "/users/bob/followers": 1, "/roles": 4,
	} {
		if got := len(w.must("GET", "/acme/copy"+strings.ReplaceAll(path, " ", "%20"), w.Admin, "").Entities()); got != want {
			t.Errorf("GET %s: %d entities, want %d", path, got, want)
		}
	}
}

// TestZipStream is the form of spec management section 9.
func TestZipStream(t *testing.T) {
	w := newWorld(t)
	w.populate("shop")
	a := w.must("GET", "/acme/shop/export", w.Admin, "")
	named := regexp.MustCompile(`^attachment; filename="acme_shop_\d+\.zip"$`)
	if !named.MatchString(a.Header.Get("Content-Disposition")) || a.Header.Get("Content-Type") != "application/zip" {
		t.Errorf("headers: %v", a.Header)
	}
	if inside := unzip(t, []byte(a.Body)); inner(inside) != inner(w.export("shop", w.Admin, "")) {
		t.Errorf("in the zip file:\n%s", inside)
	}
	only := w.export("shop", w.Admin, "&collection=Item")
	if _, end, err := portable.Verify(strings.NewReader(only)); err != nil || end.Collections != 1 || end.Entities != 2 || end.Edges != 0 {
		t.Errorf("one collection: %+v, %v\n%s", end, err, only)
	}
	for i := range 10 { // none is left open
		if a := w.must("GET", "/acme/shop/export", w.Admin, ""); len(a.Body) == 0 {
			t.Fatalf("export %d is empty", i)
		}
	}
}

// TestCredentials travel only if the superuser says so.
func TestCredentials(t *testing.T) {
	w := newWorld(t)
	w.populate("shop")
	w.newApp("copy")
	for _, path := range []string{"/acme/shop/export?credentials=true", "/management/orgs/acme/apps/copy/import?part=entities&credentials=true"} {
		method := "GET"
		if strings.Contains(path, "import") {
			method = "POST"
		}
		if a, err := w.Do(method, path, w.Admin, ""); err != nil || a.Status != 401 {
			t.Errorf("%s %s: %v %d %.200s", method, path, err, a.Status, a.Body)
		}
	}
	out := w.export("shop", w.super, "&credentials=true")
	if !strings.Contains(out, `"credentials":[{"kind":"password","value":"$2a$`) {
		t.Fatalf("no hash:\n%s", out)
	}
	signsIn := func(want int) {
		t.Helper()
		a, err := w.Do("POST", "/acme/copy/token", "", `{"grant_type":"password","username":"ann","password":"ann-secret"}`)
		if err != nil || a.Status != want {
			t.Errorf("sign in: %v %d %s, want %d", err, a.Status, a.Body, want)
		}
	}
	w.load("copy", w.Admin, out, "") // the owner may have the file: he sets no hashes with it
	signsIn(400)
	if sum := w.load("copy", w.super, out, "&credentials=true&replace=true"); sum.Failed != 0 {
		t.Errorf("with credentials: %s", sum)
	}
	signsIn(200)
}

// TestImportRefuses says for each line why nothing came of it, and imports the others.
func TestImportRefuses(t *testing.T) {
	w := newWorld(t)
	const (
		a, b, c = "10000000-0000-4000-8000-000000000001", "10000000-0000-4000-8000-000000000002", "10000000-0000-4000-8000-000000000003"
		good    = `{"kind":"entity","collection":"items","uuid":"` + a + `","created":1000,"modified":2000,"data":{"name":"milk"}}`
	)
	for _, tc := range []struct{ line, code string }{
		{`{"kind":"entity","collection":"items","uuid":"` + b + `","created":1000,"data":{"name":"MILK"}}`, "duplicate_unique_property_exists"},
		{`{"kind":"entity","collection":"users","uuid":"` + b + `","created":1000,"data":{"name":"x"}}`, "required_property_not_found"},
		{`{"kind":"entity","collection":"users","uuid":"` + a + `","created":1000,"data":{"username":"x"}}`, "unexpected_entity_type"},
		{`{"kind":"entity","collection":"entities","uuid":"` + b + `","data":{}}`, "illegal_argument"},
		{`{"kind":"entity","collection":"items","uuid":"` + b + `","created":99999999999999,"data":{}}`, "illegal_argument"},
		{`{"kind":"entity","collection":"items","uuid":"` + b + `","data":[]}`, "illegal_argument"},
		{`{"kind":"entity","collection":"items","uuid":"x","data":{}}`, "illegal_argument"},
		{`{"kind":"entity","collection":"users","uuid":"` + b + `","data":{"username":"x"},"permissions":["fly:/x"]}`, "illegal_argument"},
		{`{"kind":"entity","collection":"items","uuid":"` + b + `","data":{"a":1,}}`, "json_parse"},
		{`{"kind":"other"}`, "illegal_argument"},
		{`{"kind":"connection","verb":"likes","source":["items","` + a + `"],"target":["items","` + c + `"]}`, "service_resource_not_found"},
		{`{"kind":"connection","verb":"\u0000roles","source":["items","` + a + `"],"target":["items","` + a + `"]}`, "illegal_argument"},
		{`{"kind":"membership","verb":"roles","source":["items","` + a + `"],"target":["items","` + a + `"]}`, "illegal_argument"},
		{`{"kind":"membership","verb":"friends","source":["users","` + a + `"],"target":["users","` + a + `"]}`, "illegal_argument"},
	} {
		sum := w.load("shop", w.Admin, good+"\n"+tc.line+"\n"+good, "&line=40")
		var codes []string
		for _, e := range sum.Errors {
			codes = append(codes, fmt.Sprintf("%d %s", e.Line, e.Error))
		}
		got := strings.Join(codes, ", ")
		if want := "41 " + tc.code; got != want {
			t.Errorf("%s\n%s, want %s", tc.line, sum, want)
		}
	}
	e := w.must("GET", "/acme/shop/items/milk", w.Admin, "").Entity()
	if e["uuid"] != a || fmt.Sprintf("%s %s", e["created"], e["modified"]) != "1000 2000" {
		t.Errorf("the entity: %v", e)
	}
	if n := len(w.must("GET", "/acme/shop/items", w.Admin, "").Entities()); n != 1 {
		t.Errorf("%d entities", n)
	}
	w.load("shop", w.Admin, strings.Replace(good, "milk", "oat milk", 1), "")
	if e := w.must("GET", "/acme/shop/items/milk", w.Admin, "").Entity(); e["name"] != "milk" {
		t.Errorf("an import without replace changed %v", e)
	}
	w.load("shop", w.Admin, strings.Replace(strings.Replace(good, "milk", "oat milk", 1), `"created":1000`, `"created":500`, 1), "&replace=true")
	e = w.must("GET", "/acme/shop/items/oat%20milk", w.Admin, "").Entity()
	if e["uuid"] != a || fmt.Sprintf("%s %s", e["created"], e["modified"]) != "500 2000" {
		t.Errorf("after replacing: %v", e)
	}
	if a, err := w.Do("GET", "/acme/shop/items/milk", w.Admin, ""); err != nil || a.Status != 404 {
		t.Errorf("the old name: %v %d", err, a.Status)
	}
	for _, query := range []string{"", "?part=x", "?part=edges&line=0"} {
		if a, err := w.Do("POST", "/management/orgs/acme/apps/shop/import"+query, w.Admin, good); err != nil || a.Status != 400 {
			t.Errorf("import%s: %v %d %s", query, err, a.Status, a.Body)
		}
	}
}

// TestTakenRoleStays if somebody has it: the imported one is an error then.
func TestTakenRoleStays(t *testing.T) {
	w := newWorld(t)
	w.in("shop", "POST", "/users", `{"username":"ann"}`)
	w.in("shop", "POST", "/users/ann/roles/admin", "")
	const line = `{"kind":"entity","collection":"roles","uuid":"10000000-0000-4000-8000-000000000001","created":1,"data":{"name":"admin"}}`
	if sum := w.load("shop", w.Admin, line, ""); sum.Failed != 1 || sum.Errors[0].Error != "duplicate_unique_property_exists" {
		t.Errorf("a role that is taken: %s", sum)
	}
	if sum := w.load("shop", w.Admin, strings.Replace(line, "admin", "guest", 1), ""); sum.Imported != 1 {
		t.Errorf("a role that is not: %s", sum)
	}
}

// TestRandomApplications are the same after a round trip, whatever is in them.
func TestRandomApplications(t *testing.T) {
	w := newWorld(t)
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 7))
		from, to := fmt.Sprintf("from%d", seed), fmt.Sprintf("to%d", seed)
		w.newApp(from)
		w.newApp(to)
		var ids []string
		for range 20 + rng.IntN(60) {
			switch k := rng.IntN(10); {
			case k < 5 || len(ids) < 2:
				ids = append(ids, w.in(from, "POST", "/"+[]string{"items", "things", "cats"}[rng.IntN(3)], randomObject(rng, 3)))
			case k < 8:
				s, o := ids[rng.IntN(len(ids))], ids[rng.IntN(len(ids))]
				w.try("POST", "/acme/"+from+"/items/"+s+"/"+[]string{"likes", "Owns", "knows of"}[rng.IntN(2)]+"/"+o, "")
			case k == 8:
				w.try("PUT", "/acme/"+from+"/items/"+ids[rng.IntN(len(ids))], randomObject(rng, 2))
			default:
				w.try("DELETE", "/acme/"+from+"/items/"+ids[rng.IntN(len(ids))], "")
			}
		}
		out := w.export(from, w.Admin, "")
		if sum := w.load(to, w.Admin, out, ""); sum.Failed != 0 {
			t.Errorf("seed %d: %s", seed, sum)
		}
		if d := cmp.Diff(strings.Split(inner(out), "\n"), strings.Split(inner(w.export(to, w.Admin, "")), "\n")); d != "" {
			t.Errorf("seed %d: export of the copy (-want +got):\n%s", seed, d)
		}
	}
}

// try makes a request that may fail.
func (w *world) try(method, path, body string) {
	w.Helper()
	if _, err := w.Do(method, path, w.Admin, body); err != nil {
		w.Fatal(err)
	}
}

func randomObject(rng *rand.Rand, depth int) string {
	values := []string{"1", "-2.50e3", "true", `"x y"`, `"é\u0000\n"`, `"00000000-0000-4000-8000-00000000ABCD"`, "[]", "{}", `["a",1,null]`, "9007199254740993"}
	var members []string
	for i := range 1 + rng.IntN(5) {
		v := values[rng.IntN(len(values))]
		if depth > 0 && rng.IntN(3) == 0 {
			v = randomObject(rng, depth-1)
		}
		members = append(members, fmt.Sprintf("%q:%s", string(rune('a'+i))+strings.Repeat("É", rng.IntN(2)), v))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// TestSecretsOfNotifiersAreNotImported: what a file says of them is seen by nobody.
func TestSecretsOfNotifiersAreNotImported(t *testing.T) {
	w := newWorld(t)
	w.in("shop", "POST", "/notifiers", `{"name":"fake","provider":"noop","note":"kept"}`)
	out := strings.Replace(w.export("shop", w.Admin, ""), `"note":"kept"`, `"note":"kept","ApiKey":"hush","p12Certificate":"hush"`, 1)
	w.newApp("copy")
	if sum := w.load("copy", w.Admin, out, ""); sum.Failed != 0 || !strings.Contains(out, "hush") {
		t.Fatalf("%s", sum)
	}
	a := w.must("GET", "/acme/copy/notifiers", w.Admin, "")
	if strings.Contains(a.Body, "hush") || !strings.Contains(a.Body, `"note":"kept"`) {
		t.Errorf("imported %s", a.Body)
	}
}
