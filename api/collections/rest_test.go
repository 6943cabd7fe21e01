package collections_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

// rest speaks to the sandbox of a server in the words of the specification.
type rest struct {
	*testing.T
	*apitest.Server
	token string
}

func newRest(t *testing.T) *rest {
	t.Parallel()
	return &rest{T: t, Server: apitest.Start(t)}
}

// as is the same with another caller.
func (r *rest) as(token string) *rest { return &rest{T: r.T, Server: r.Server, token: token} }

// do makes a request below the sandbox, whatever comes of it.
func (r *rest) do(method, path, body string) apitest.Answer {
	r.Helper()
	a, err := r.Do(method, r.App+path, r.token, body)
	if err != nil {
		r.Fatal(err)
	}
	return a
}

// ok makes a request that must succeed.
func (r *rest) ok(method, path, body string) apitest.Answer {
	r.Helper()
	a := r.do(method, path, body)
	if a.Status != 200 || a.Code() != "" {
		r.Fatalf("%s %s %s: %d %s", method, path, body, a.Status, a.Body)
	}
	if a.Fields["action"] != strings.ToLower(method) {
		r.Errorf("%s %s: action %v", method, path, a.Fields["action"])
	}
	return a
}

// fails makes a request that must be refused like this.
func (r *rest) fails(method, path, body string, status int, code string) apitest.Answer {
	r.Helper()
	a := r.do(method, path, body)
	if a.Status != status || a.Code() != code {
		r.Errorf("%s %s %.80s: %d %s, want %d %s; %.300s", method, path, body, a.Status, a.Code(), status, code, a.Body)
	}
	for _, field := range []string{"timestamp", "duration", "exception", "error_description"} {
		if _, ok := a.Fields[field]; !ok && a.Status >= 400 {
			r.Errorf("%s %s: no %s in %s", method, path, field, a.Body)
		}
	}
	return a
}

// props are an entity's properties without those of the system, as JSON.
func props(e map[string]any) string {
	rest := map[string]any{}
	for k, v := range e {
		switch {
		case k == "uuid", k == "type", k == "created", k == "modified", k == "metadata", strings.HasSuffix(k, ".notifier.registration"):
		default:
			rest[k] = v
		}
	}
	text, err := json.Marshal(rest)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (r *rest) wantProps(e map[string]any, want string) {
	r.Helper()
	if got := props(e); got != want {
		r.Errorf("properties %s, want %s", got, want)
	}
}

func names(a apitest.Answer) string {
	var list []string
	for _, e := range a.Entities() {
		list = append(list, fmt.Sprint(e["name"]))
	}
	return strings.Join(list, " ")
}

// number reads an integer of an answer.
func number(v any) int64 {
	n, ok := v.(json.Number)
	if !ok {
		return -1
	}
	i, err := n.Int64()
	if err != nil {
		return -1
	}
	return i
}

func TestCreateOne(t *testing.T) {
	r := newRest(t)
	a := r.ok("POST", "/item", `{"name":"milk","price":"3.25","uuid":"x","type":"y","created":1,"modified":2,"metadata":{"a":1},"gone":null,"blank":""}`)
	e := a.Entity()
	r.wantProps(e, `{"name":"milk","price":"3.25"}`)
	id := fmt.Sprint(e["uuid"])
	if len(id) != 36 || id[14] != '7' || e["type"] != "item" || number(e["created"]) < 1e12 || e["created"] != e["modified"] {
		t.Errorf("system properties of %v", e)
	}
	if fmt.Sprint(e["metadata"]) != "map[path:/items/"+id+"]" {
		t.Errorf("metadata %v", e["metadata"])
	}
	if a.Fields["path"] != "/items" || a.Fields["uri"] != r.URL+"/acme/sandbox/items" || a.Fields["organization"] != "acme" || a.Fields["applicationName"] != "sandbox" {
		t.Errorf("envelope %s", a.Body)
	}
	for _, absent := range []string{"count", "cursor", "data", "list", "errors"} {
		if _, ok := a.Fields[absent]; ok {
			t.Errorf("%s in %s", absent, a.Body)
		}
	}
	r.fails("POST", "/items", `{"name":"MILK"}`, 400, "duplicate_unique_property_exists")
	d := r.fails("POST", "/items", `{"name":" milk "}`, 400, "duplicate_unique_property_exists")
	for _, part := range []string{"item", "name", "milk"} {
		if !strings.Contains(fmt.Sprint(d.Fields["error_description"]), part) {
			t.Errorf("%q does not say %s", d.Fields["error_description"], part)
		}
	}
	if !strings.Contains(fmt.Sprint(d.Fields["exception"]), "DuplicateUniquePropertyExistsException") {
		t.Errorf("exception %v", d.Fields["exception"])
	}
	r.ok("POST", "/others", `{"name":"milk"}`) // another type
	if got := r.ok("GET", "/items", ""); number(got.Fields["count"]) != 1 {
		t.Errorf("after refusals: %s", got.Body)
	}
	r.fails("POST", "/items", `{"name":`, 400, "json_parse")
	r.fails("POST", "/items", `"milk"`, 400, "json_mapping")
	r.fails("POST", "/items", `7`, 400, "json_mapping")
	r.fails("POST", "/items", `null`, 400, "json_mapping")
	r.fails("POST", "/entities", `{"a":1}`, 400, "illegal_argument")
	r.fails("POST", "/Entity", `{"a":1}`, 400, "illegal_argument")
	r.fails("POST", "/items", `{"location":{"latitude":1}}`, 400, "illegal_argument")
	r.fails("POST", "/items", `{"name":{}}`, 400, "property_type_conversion")
	r.fails("POST", "/items", `{"a":"`+strings.Repeat("x", 5_000_000)+`"}`, 413, "entity_too_large")
	if got := r.ok("POST", "/items?ql=name='milk'", `{"name":"from a query string"}`); names(got) != "from a query string" {
		t.Errorf("query string on POST: %s", got.Body)
	}
	if got := r.ok("POST", "/items", `{"a":null}`); len(got.Entities()) != 1 || props(got.Entity()) != "{}" {
		t.Errorf("empty values only: %s", got.Body)
	}
	if got := r.ok("PUT", "/items", `{"name":"by put"}`); names(got) != "by put" {
		t.Errorf("PUT without id: %s", got.Body)
	}
	r.fails("PUT", "/items", `[{"a":1}]`, 400, "json_mapping")
}

// TestTimestamp: one that is not positive becomes the time of creation.
func TestTimestamp(t *testing.T) {
	r := newRest(t)
	for _, sent := range []string{"0", "-1", "-0.5"} {
		for _, e := range []map[string]any{
			r.ok("POST", "/items", `{"timestamp":`+sent+`}`).Entity(),
			r.ok("POST", "/items", `[{"timestamp":`+sent+`}]`).Entity(),
			r.ok("PUT", "/items/at"+sent, `{"timestamp":`+sent+`}`).Entity(),
		} {
			if e["timestamp"] != e["created"] {
				t.Errorf("%s: %v", sent, e)
			}
		}
	}
	r.wantProps(r.ok("POST", "/items", `{"timestamp":5}`).Entity(), `{"timestamp":5}`)
}

func TestCreateNothing(t *testing.T) {
	r := newRest(t)
	for i, body := range []string{"", "{}", " { } "} {
		path := fmt.Sprintf("/empty%d", i)
		if a := r.ok("POST", path, body); len(a.Entities()) != 0 || !strings.Contains(a.Body, `"entities":[]`) {
			t.Errorf("body %q: %s", body, a.Body)
		}
	}
	r.ok("POST", "/nothings", "[]")
	collections := rootCollections(r)
	for _, name := range []string{"empty0s", "empty1s", "empty2s", "nothings"} {
		if collections[name] == nil {
			t.Errorf("%s is not listed in %v", name, collections)
		}
	}
	r.fails("POST", "/users", "{}", 400, "required_property_not_found")
	r.fails("POST", "/users", "", 400, "required_property_not_found")
}

func TestBatch(t *testing.T) {
	r := newRest(t)
	a := r.ok("POST", "/items", `[{"name":"a"},{"name":"b"},{"name":"A"},{"location":{"latitude":1}},{},{"name":"c"}]`)
	if got := names(a); got != "a b <nil> c" {
		t.Errorf("created %q", got)
	}
	list, _ := a.Fields["errors"].([]any)
	var got []string
	for _, e := range list {
		m := e.(map[string]any)
		got = append(got, fmt.Sprint(m["index"], " ", m["error"]))
		if m["error_description"] == "" {
			t.Errorf("no description in %v", m)
		}
	}
	if strings.Join(got, ", ") != "2 duplicate_unique_property_exists, 3 illegal_argument" {
		t.Errorf("errors %v", got)
	}
	if a := r.ok("POST", "/items", `[]`); len(a.Entities()) != 0 {
		t.Errorf("empty batch: %s", a.Body)
	}
	r.fails("POST", "/items", `["a"]`, 400, "illegal_argument")
	r.fails("POST", "/items", `[{"name":"x"},7]`, 400, "illegal_argument")
	many := "[" + strings.Repeat(`{"a":1},`, 1000)
	r.fails("POST", "/items", many+`{"a":1}]`, 400, "illegal_argument")
	if a := r.ok("POST", "/many", many[:len(many)-1]+"]"); len(a.Entities()) != 1000 {
		t.Errorf("%d of a batch of 1000", len(a.Entities()))
	}
	if a := r.ok("GET", "/items?limit=1000", ""); number(a.Fields["count"]) != 4 {
		t.Errorf("count %v, want 4", a.Fields["count"])
	}
}

func TestReadOne(t *testing.T) {
	r := newRest(t)
	e := r.ok("POST", "/items", `{"name":"Fresh Milk","n":9223372036854775807,"f":0.10}`).Entity()
	id := fmt.Sprint(e["uuid"])
	for _, path := range []string{
		"/items/" + id, "/item/" + strings.ToUpper(id), "/ITEMS/fresh%20milk", "/items/FRESH%20MILK/", "/items//fresh%20milk",
		"/items/fresh%20milk?limit=0&cursor=&connections=none&unknown=1",
	} {
		a := r.ok("GET", path, "")
		if len(a.Entities()) != 1 || a.Entity()["uuid"] != id || a.Fields["path"] != "/items" || a.Fields["count"] != nil || a.Fields["cursor"] != nil {
			t.Errorf("%s: %s", path, a.Body)
		}
		if !strings.Contains(a.Body, `"n":9223372036854775807,"f":0.10`) {
			t.Errorf("%s: numbers changed: %s", path, a.Body)
		}
	}
	head, err := http.NewRequest("HEAD", r.URL+r.App+"/items/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := r.Send(head); err != nil || a.Status != 200 || a.Body != "" {
		t.Errorf("HEAD: %v %d %q", err, a.Status, a.Body)
	}
	r.ok("POST", "/others", `{"name":"other"}`)
	r.fails("GET", "/items/nothing", "", 404, "entity_not_found")
	r.fails("GET", "/items/00000000-0000-0000-0000-000000000001", "", 404, "entity_not_found")
	r.fails("GET", "/others/"+id, "", 404, "entity_not_found")
	r.fails("POST", "/others/"+id, `{}`, 400, "unexpected_entity_type")
	r.fails("POST", "/never/"+id, `{}`, 400, "unexpected_entity_type")
	r.fails("POST", "/others/00000000-0000-0000-0000-000000000001", `{}`, 404, "service_resource_not_found")
	if a := r.ok("GET", "/items/all", ""); len(a.Entities()) != 1 || a.Fields["count"] != nil {
		t.Errorf("count is of a collection alone: %s", a.Body)
	}
	r.fails("GET", "/never/"+id, "", 404, "entity_not_found")
	r.fails("GET", "/never/x", "", 404, "entity_not_found")
	r.fails("GET", "/users/x", "", 404, "service_resource_not_found")
	if a := r.ok("GET", "/never", ""); len(a.Entities()) != 0 || number(a.Fields["count"]) != 0 || a.Fields["path"] != "/nevers" {
		t.Errorf("collection never used: %s", a.Body)
	}
	if rootCollections(r)["nevers"] != nil {
		t.Error("reading created a collection")
	}
	// Names that are hard to write.
	for _, name := range []string{"a/b", "it's", "50%", "a+b", "ü", "x;y", "a.json", "..", "日本"} {
		text, err := json.Marshal(map[string]string{"name": name})
		if err != nil {
			t.Fatal(err)
		}
		r.ok("POST", "/names", string(text))
		if a := r.do("GET", "/names/"+escaped(name), ""); a.Entity()["name"] != name {
			t.Errorf("%q: %d %s", name, a.Status, a.Body)
		}
	}
}

// escaped percent-encodes every byte.
func escaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

func TestUpdate(t *testing.T) {
	r := newRest(t)
	e := r.ok("POST", "/items", `{"name":"milk","price":1,"Tag":{"a":1,"b":2},"keep":true}`).Entity()
	id := fmt.Sprint(e["uuid"])
	a := r.ok("PUT", "/items/milk", `{"PRICE":2,"tag":{"c":3},"uuid":"x","type":"y","created":5,"modified":5,"metadata":{},"membership":1,"connection":2,"new":"n"}`)
	r.wantProps(a.Entity(), `{"Tag":{"c":3},"keep":true,"name":"milk","new":"n","price":2}`)
	if a.Entity()["uuid"] != id || a.Entity()["created"] != e["created"] || number(a.Entity()["modified"]) <= number(e["modified"]) {
		t.Errorf("system properties: %v, before %v", a.Entity(), e)
	}
	last := a.Entity()
	a = r.ok("PUT", "/items/"+id, `{"keep":null,"new":"","absent":null}`)
	r.wantProps(a.Entity(), `{"Tag":{"c":3},"name":"milk","price":2}`)
	a = r.ok("PUT", "/items/"+id, `{}`)
	r.wantProps(a.Entity(), `{"Tag":{"c":3},"name":"milk","price":2}`)
	if number(a.Entity()["modified"]) <= number(last["modified"]) {
		t.Error("an empty PUT left modified")
	}
	r.fails("PUT", "/items/"+id, "", 400, "json_parse")
	r.fails("PUT", "/items/"+id, "[]", 400, "json_mapping")
	r.fails("PUT", "/items/"+id, "7", 400, "json_mapping")
	r.ok("POST", "/items", `{"name":"bread"}`)
	r.fails("PUT", "/items/milk", `{"name":"Bread"}`, 400, "duplicate_unique_property_exists")
	r.ok("PUT", "/items/milk", `{"name":"MILK"}`) // its own value in another case
	r.ok("PUT", "/items/milk", `{"name":"cream"}`)
	r.fails("GET", "/items/milk", "", 404, "entity_not_found")
	r.ok("POST", "/items", `{"name":"milk"}`) // released at once
	r.fails("PUT", "/others/"+id, `{"a":1}`, 400, "unexpected_entity_type")
	if a := r.ok("POST", "/items/"+id, `{"price":99}`); a.Entity()["uuid"] != id || number(a.Entity()["price"]) != 2 {
		t.Errorf("POST on an entity: %s", a.Body)
	}
	r.fails("POST", "/items/nothing", `{}`, 404, "service_resource_not_found")
	r.fails("PUT", "/items/"+id, `{"a":"`+strings.Repeat("x", 5_000_000)+`"}`, 413, "entity_too_large")
	half := `{"%s":"` + strings.Repeat("x", 3_000_000) + `"}`
	r.ok("PUT", "/items/"+id, fmt.Sprintf(half, "a"))
	r.fails("PUT", "/items/"+id, fmt.Sprintf(half, "b"), 413, "entity_too_large") // together too large
}

func TestUpsert(t *testing.T) {
	r := newRest(t)
	r.wantProps(r.ok("PUT", "/items/milk", `{"price":1}`).Entity(), `{"name":"milk","price":1}`)
	r.wantProps(r.ok("PUT", "/items/Tea", `{"name":" tea ","price":1}`).Entity(), `{"name":"tea","price":1}`)
	r.wantProps(r.ok("PUT", "/items/salt", `{"name":"pepper"}`).Entity(), `{"name":"salt"}`)
	const v1, v4 = "83e9b7ea-e8f5-11e2-84df-e94123890c7a", "9b2f9a53-5f4e-4f0e-9d6e-2f1f5e1c8f10"
	e := r.ok("PUT", "/items/"+strings.ToUpper(v1), `{"a":1}`).Entity()
	if created := number(e["created"]); e["uuid"] != v1 || created < 1373000000000 || created > 1374000000000 || e["modified"] != e["created"] {
		t.Errorf("version 1: %v", e)
	}
	e = r.ok("PUT", "/items/"+v4, `{"created":1000,"modified":2000}`).Entity()
	if e["uuid"] != v4 || number(e["created"]) != 1000 || number(e["modified"]) != 2000 {
		t.Errorf("times of the body: %v", e)
	}
	e = r.ok("PUT", "/items/9b2f9a53-5f4e-4f0e-9d6e-2f1f5e1c8f11", `{}`).Entity()
	if props(e) != "{}" || number(e["created"]) < 1e12 {
		t.Errorf("empty body: %v", e)
	}
	e = r.ok("PUT", "/items/9b2f9a53-5f4e-4f0e-9d6e-2f1f5e1c8f12", `{"created":"no","modified":-5}`).Entity()
	if number(e["created"]) < 1e12 || e["created"] != e["modified"] {
		t.Errorf("times that are none: %v", e)
	}
	if got := number(r.ok("GET", "/items?limit=100", "").Fields["count"]); got != 7 {
		t.Errorf("%d entities, want 7", got)
	}
}

func TestDelete(t *testing.T) {
	r := newRest(t)
	e := r.ok("POST", "/items", `{"name":"milk","price":1}`).Entity()
	other := r.ok("POST", "/others", `{"name":"milk"}`).Entity()
	r.fails("DELETE", fmt.Sprint("/items/", other["uuid"]), "", 404, "service_resource_not_found")
	a := r.ok("DELETE", "/items/Milk", "")
	if a.Entity()["uuid"] != e["uuid"] || props(a.Entity()) != `{"name":"milk","price":1}` || a.Fields["path"] != "/items" {
		t.Errorf("deleted: %s", a.Body)
	}
	r.fails("DELETE", "/items/milk", "", 404, "service_resource_not_found")
	r.fails("GET", "/items/milk", "", 404, "entity_not_found")
	r.fails("GET", fmt.Sprint("/items/", e["uuid"]), "", 404, "entity_not_found")
	r.ok("POST", "/items", `{"name":"milk"}`)
	r.fails("DELETE", "/items", "", 405, "unsupported_service_operation")
	r.fails("DELETE", "/never", "", 405, "unsupported_service_operation")
	r.fails("DELETE", "", "", 405, "unsupported_rest_operation")
	a = r.ok("DELETE", "/items/milk", "{}") // a body is ignored
	if c := rootCollections(r)["items"]; c == nil || number(c["count"]) != 0 || len(a.Entities()) != 1 {
		t.Errorf("emptied collection: %v", c)
	}
}

// rootCollections is metadata.collections of the application.
func rootCollections(r *rest) map[string]map[string]any {
	r.Helper()
	metadata, _ := r.ok("GET", "", "").Entity()["metadata"].(map[string]any)
	collections, _ := metadata["collections"].(map[string]any)
	m := map[string]map[string]any{}
	for name, c := range collections {
		m[name], _ = c.(map[string]any)
	}
	return m
}

func TestRoot(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/boxes", `{"name":"a"}`)
	r.ok("POST", "/box", `{"name":"b"}`)
	a := r.ok("GET", "/", "")
	e := a.Entity()
	if a.Fields["path"] != "/applications" || a.Fields["uri"] != r.URL+"/acme/sandbox" || len(a.Entities()) != 1 ||
		e["type"] != "application" || e["name"] != "acme/sandbox" || e["organizationName"] != "acme" || e["applicationName"] != "sandbox" ||
		e["uuid"] != a.Fields["application"] || number(e["created"]) < 1e12 {
		t.Errorf("root: %s", a.Body)
	}
	for _, ours := range []string{"number", "partition", "open", "organization"} {
		if _, ok := e[ours]; ok {
			t.Errorf("root shows %s", ours)
		}
	}
	collections := rootCollections(r)
	if fmt.Sprint(collections["boxes"]) != "map[count:2 name:boxes title:Boxes type:box]" {
		t.Errorf("boxes: %v", collections["boxes"])
	}
	for _, name := range strings.Fields("activities assets devices events folders groups notifications roles users") {
		count := int64(0)
		if name == "roles" {
			count = 3 // every application begins with them
		}
		if c := collections[name]; c == nil || c["name"] != name || number(c["count"]) != count {
			t.Errorf("%s: %v", name, c)
		}
	}
	a = r.ok("PUT", "", `{"accesstokenttl":3600000,"name":"x","number":1,"partition":9,"open":false,"uuid":"x","metadata":{"collections":{"Widget":{},"application":{}}},"color":"red"}`)
	e = a.Entity()
	if number(e["accesstokenttl"]) != 3600000 || e["color"] != "red" || e["name"] != "acme/sandbox" {
		t.Errorf("after PUT: %s", a.Body)
	}
	if c := rootCollections(r); fmt.Sprint(c["widgets"]) != "map[count:0 name:widgets title:Widgets type:widget]" || c["applications"] != nil {
		t.Errorf("collections after PUT: %v", c)
	}
	const odd = `"\" \u0001 \udb40\udc67"`
	if e := r.ok("PUT", "", `{"odd":[`+odd+`]}`).Entity(); fmt.Sprint(e["odd"]) != "[\" \x01 \U000e0067]" {
		t.Errorf("%q", e["odd"])
	}
	r.ok("PUT", "", `{"odd":null}`)
	r.fails("PUT", "", `{"accesstokenttl":"soon"}`, 400, "illegal_argument")
	r.fails("PUT", "", `[]`, 400, "json_mapping")
	r.fails("PUT", "", `{"a":"`+strings.Repeat("x", 70_000)+`"}`, 413, "entity_too_large")
	r.ok("GET", "?ql=nonsense", "")
	r.ok("POST", "", `{"ignored":1}`)
	if e := r.ok("PUT", "", `{"color":""}`).Entity(); e["color"] != nil || number(e["accesstokenttl"]) != 3600000 {
		t.Errorf("color not removed: %v", e)
	}
	if a := r.ok("GET", "/hello", ""); fmt.Sprint(a.Fields["data"]) != "map[say:Hello!]" {
		t.Errorf("hello: %s", a.Body)
	}
}

// TestOneRoot asks for the same application by every prefix.
func TestOneRoot(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/items", `{"name":"milk"}`)
	id := fmt.Sprint(r.ok("GET", "", "").Fields["application"])
	for _, prefix := range []string{
		"/ACME/Sandbox", "/orgs/acme/sandbox", "/organizations/acme/apps/sandbox", "/o/acme/a/sandbox", "/acme/applications/" + id,
		"/acme/" + id, "/" + id, "/apps/" + id, "/applications/" + strings.ToUpper(id), "//acme//sandbox",
	} {
		a, err := r.Do("GET", prefix+"/items/milk", "", "")
		if err != nil || a.Status != 200 || a.Fields["application"] != id || a.Fields["uri"] != r.URL+"/acme/sandbox/items" {
			t.Errorf("%s: %v %d %s", prefix, err, a.Status, a.Body)
		}
	}
	for _, prefix := range []string{"/acme/nope", "/nope/sandbox", "/apps/sandbox"} {
		for _, token := range []string{"", r.Admin} {
			a, err := r.Do("GET", prefix+"/items", token, "")
			if err != nil || a.Status != 404 || a.Code() != "organization_application_not_found" {
				t.Errorf("%s: %v %d %s", prefix, err, a.Status, a.Body)
			}
		}
	}
}
