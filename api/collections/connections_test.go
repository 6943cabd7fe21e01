package collections_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

// uuidOf returns the UUID of the only entity of an answer.
func uuidOf(t *testing.T, a apitest.Answer) string {
	t.Helper()
	var body struct {
		Entities []struct{ UUID string } `json:"entities"`
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil || len(body.Entities) != 1 {
		t.Fatalf("%d entities, %v: %s", len(body.Entities), err, a.Body)
	}
	return body.Entities[0].UUID
}

// make creates an entity and returns its UUID.
func (r *rest) make(collection, name string) string {
	r.Helper()
	key := "name"
	if collection == "users" {
		key = "username"
	}
	return uuidOf(r.T, r.ok("POST", "/"+collection, fmt.Sprintf(`{"%s":"%s"}`, key, name)))
}

// TestConnectionShowsAtBothEnds is item 1 of spec connections section 9.
func TestConnectionShowsAtBothEnds(t *testing.T) {
	r := newRest(t)
	one, two := r.make("things", "one"), r.make("things", "two")
	a := r.ok("POST", "/things/one/LIKES/things/two", "")
	path := "/things/" + one + "/likes"
	if a.Fields["path"] != path || names(a) != "two" {
		t.Errorf("path %v of %s", a.Fields["path"], names(a))
	}
	if want := `"metadata":{"path":"` + path + `/` + two + `","connecting":{"likes":"` + path + `/` + two + `/connecting/likes"}}`; !strings.Contains(a.Body, want) {
		t.Errorf("%s, want %s", a.Body, want)
	}
	if got := names(r.ok("GET", path+"/"+two+"/connecting/likes", "")); got != "one" {
		t.Errorf("followed back to %s", got)
	}
	shown := r.ok("GET", "/things/one", "")
	if want := `"connections":{"likes":"` + path + `"}`; !strings.Contains(shown.Body, want) || strings.Contains(shown.Body, "connecting") {
		t.Errorf("%s, want %s", shown.Body, want)
	}
	shown = r.ok("GET", "/things/two", "")
	back := "/things/" + two + "/connecting/likes"
	if want := `"connecting":{"likes":"` + back + `"}`; !strings.Contains(shown.Body, want) {
		t.Errorf("%s, want %s", shown.Body, want)
	}
	a = r.ok("GET", back, "")
	if names(a) != "one" || a.Fields["path"] != back || !strings.Contains(a.Body, `"path":"/things/`+two+`/connecting/`+one+`"`) {
		t.Errorf("connecting: %s", a.Body)
	}
	if got := names(r.ok("GET", "/things/"+two+"/connecting/"+one, "")); got != "one" {
		t.Errorf("an inbound entity by its UUID: %s", got)
	}
	if body := r.ok("GET", "/things?connections=none", "").Body; strings.Contains(body, `"connections":{"l`) || strings.Contains(body, `"connecting":{`) {
		t.Errorf("connections=none: %s", body)
	}
	if body := r.ok("GET", "/things?connections=in", "").Body; strings.Contains(body, `"connections":{`) || !strings.Contains(body, `"connecting":{`) {
		t.Errorf("connections=in: %s", body)
	}
	if body := r.ok("PUT", "/things/one", `{"a":1}`).Body; !strings.Contains(body, `"connections":{"likes"`) {
		t.Errorf("an update shows no connections: %s", body)
	}
}

// TestConnectAgainMovesToTheFront is item 2.
func TestConnectAgainMovesToTheFront(t *testing.T) {
	r := newRest(t)
	for _, name := range []string{"t1", "t2", "t3"} {
		r.make("things", name)
	}
	r.ok("PUT", "/things/t3", `{"a":1}`)
	r.ok("POST", "/things/t1/likes/things/t2", "")
	before := r.ok("POST", "/things/t1/likes/things/t3", "{}").Body
	if got := names(r.ok("GET", "/things/t1/likes", "")); got != "t3 t2" {
		t.Errorf("%s", got)
	}
	r.ok("POST", "/things/t1/likes/things/t2", `{"ignored":1}`)
	if got := names(r.ok("GET", "/things/t1/likes", "")); got != "t2 t3" {
		t.Errorf("after another POST %s", got)
	}
	if got := names(r.query("/things/t1/likes", "select * order by modified desc")); got != "t3 t2" {
		t.Errorf("by modified %s", got)
	}
	after := r.ok("POST", "/things/t1/likes/things/t3", "").Body
	if modified := func(body string) string { _, rest, _ := strings.Cut(body, `"modified":`); return rest[:13] }; modified(before) != modified(after) {
		t.Errorf("modified by a connection: %s, %s", before, after)
	}
}

// TestFormsOfConnecting is item 3: one edge, however it is written.
func TestFormsOfConnecting(t *testing.T) {
	r := newRest(t)
	one, two := r.make("things", "one"), r.make("things", "two")
	for _, path := range []string{
		"/things/one/likes/things/two", "/thing/one/likes/thing/TWO", "/things/" + one + "/likes/" + two, "/things/one/connections/likes/" + two,
		"/things/one/connected/Likes/things/" + two, "/things/one/likes/any/" + two,
	} {
		if got := names(r.ok("POST", path, "")); got != "two" {
			t.Errorf("POST %s: %s", path, got)
		}
		if got := names(r.ok("GET", path, "")); got != "two" {
			t.Errorf("GET %s: %s", path, got)
		}
		if got := names(r.ok("GET", "/things/one/likes", "")); got != "two" {
			t.Errorf("after POST %s: %s", path, got)
		}
	}
	for _, path := range []string{
		"/things/one/connections", "/things/one/likes/things", "/things/one/likes/thing", "/things/one/likes/any", "/things/one/connections/likes", "/things/one/likes/all",
		"/things/one/likes;limit=3", "/things/one/likes/things;ql=name='two'", "/things/all/likes", "/things;ql=name='one'/likes", "/things/%7B%22ql%22:%22name='one'%22%7D/likes",
	} {
		if got := names(r.ok("GET", path, "")); got != "two" {
			t.Errorf("GET %s: %s", path, got)
		}
	}
	for _, path := range []string{"/things/one/likes/others", "/things/one/hates", "/things/two/likes", "/things/one/connecting", "/things/one/likes/things;ql=name='x'"} {
		if a := r.ok("GET", path, ""); len(a.Entities()) != 0 || a.Fields["count"] != nil {
			t.Errorf("GET %s: %s", path, a.Body)
		}
	}
}

// TestConnectionErrors is the table of spec connections section 2, and items 4 and 5.
func TestConnectionErrors(t *testing.T) {
	r := newRest(t)
	one, two := r.make("things", "one"), r.make("things", "two")
	other := r.make("others", "other")
	const gone = "01a216c4-2a70-7ee0-9d03-c34eba4bcaa7"
	for _, c := range []struct {
		request, body string
		status        int
		code          string
	}{
		{"GET /things/nobody/likes", "", 404, "entity_not_found"},
		{"GET /users/nobody/likes", "", 404, "service_resource_not_found"},
		{"POST /things/nobody/likes/" + two, "", 404, "service_resource_not_found"},
		{"POST /things/one/likes/" + gone, "", 404, "service_resource_not_found"},
		{"POST /things/one/likes/things/nobody", "", 404, "service_resource_not_found"},
		{"POST /things/one/likes/things", "", 404, "service_resource_not_found"},
		{"POST /things/one/likes/things", "{}", 404, "service_resource_not_found"},
		{"POST /things/one/likes/things", "[{}]", 400, "illegal_argument"},
		{"POST /things/one/likes/things", "7", 400, "json_mapping"},
		{"POST /things/one/likes/things", `{"name":"two"}`, 400, "duplicate_unique_property_exists"},
		{"POST /things/one/likes/others/" + two, "", 404, "service_resource_not_found"},
		{"POST /things/one/likes", `{"a":1}`, 404, "service_resource_not_found"},
		{"POST /things/one/connections", "", 405, "unsupported_service_operation"},
		{"POST /things/one/connecting/likes/" + two, "", 405, "unsupported_service_operation"},
		{"POST /things/all/likes/" + two, "", 400, "illegal_argument"},
		{"GET /things/one/likes/" + two, "", 404, "service_resource_not_found"},
		{"GET /things/one/likes/things/two", "", 404, "service_resource_not_found"},
		{"GET /things/one/likes/things/two/madeby", "", 404, "service_resource_not_found"},
		{"PUT /things/one/likes/" + gone, `{"a":1}`, 404, "service_resource_not_found"},
		{"PUT /things/one/likes/things/nobody", `{"a":1}`, 404, "service_resource_not_found"},
		{"PUT /things/one/likes/things?ql=", `{"a":1}`, 404, "service_resource_not_found"},
		{"DELETE /things/one/likes", "", 405, "unsupported_service_operation"},
		{"DELETE /things/one/likes/things", "", 405, "unsupported_service_operation"},
		{"DELETE /things/one/likes/" + gone, "", 404, "service_resource_not_found"},
		{"GET /things/one/likes?ql=" + "x%3D", "", 400, "query_parse"},
		{"POST /things/one/" + strings.Repeat("v", 300) + "/" + two, "", 400, "illegal_argument"},
		{"GET /things/one" + strings.Repeat("/likes/any", 20), "", 400, "illegal_argument"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		r.fails(method, path, c.body, c.status, c.code)
	}
	if got := names(r.ok("GET", "/things/one/connections", "")); got != "" {
		t.Errorf("connected to %s all the same", got)
	}
	if got := names(r.ok("DELETE", "/things/one/likes/"+two, "")); got != "two" {
		t.Errorf("the end of no connection: %s", got)
	}
	r.ok("POST", "/things/one/likes/"+other, "")
	r.ok("POST", "/things/one/likes/"+two, "")
	a := r.ok("DELETE", "/things/one/likes/things/two", "")
	if names(a) != "two" || a.Fields["path"] != "/things/"+one+"/likes" {
		t.Errorf("disconnected: %s", a.Body)
	}
	if got := names(r.ok("GET", "/things/one/likes", "")); got != "other" {
		t.Errorf("left: %s", got)
	}
	r.ok("DELETE", "/others/other", "")
	if body := r.ok("GET", "/things/one", "").Body; strings.Contains(body, "connections") {
		t.Errorf("connections of %s", body)
	}
	if got := names(r.ok("GET", "/things/two", "")); got != "two" {
		t.Errorf("the target of a removed connection: %s", got)
	}
}

// TestPagesOfConnections is item 6.
func TestPagesOfConnections(t *testing.T) {
	r := newRest(t)
	r.make("things", "hub")
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf(`{"name":"n%03d","n":%d}`, i, i))
	}
	r.ok("POST", "/nodes", "["+strings.Join(list, ",")+"]")
	for i := range 100 {
		r.ok("POST", fmt.Sprintf("/things/hub/has/nodes/n%03d", i), "")
	}
	var got []string
	pages := 0
	for cursor := ""; ; pages++ {
		a := r.ok("GET", "/things/hub/has?limit=10&cursor="+cursor, "")
		got = append(got, names(a))
		if cursor = a.Cursor(); cursor == "" {
			break
		}
		r.ok("POST", "/things/hub/has/nodes", fmt.Sprintf(`{"name":"late%d"}`, pages))
	}
	if pages != 9 || !strings.HasPrefix(strings.Join(got, " "), "n099 n098") || !strings.HasSuffix(got[9], "n001 n000") || len(strings.Fields(strings.Join(got, " "))) != 100 {
		t.Errorf("%d pages: %v", pages+1, got)
	}
	if all := r.ok("GET", "/things/hub/has", ""); len(all.Entities()) != 109 || all.Cursor() != "" {
		t.Errorf("%d without a limit", len(all.Entities()))
	}
	if found := names(r.ok("GET", "/things/hub/has/nodes?limit=3&ql=n>=50+order+by+n", "")); found != "n050 n051 n052" {
		t.Errorf("a query: %s", found)
	}
	if found := names(r.ok("GET", "/things/hub/has?limit=3&reversed=false", "")); found != "n000 n001 n002" {
		t.Errorf("oldest first: %s", found)
	}
	if found := names(r.ok("GET", "/nodes/n007/connecting/has?ql=name='hub'", "")); found != "hub" {
		t.Errorf("an inbound query: %s", found)
	}
	if deleted := names(r.ok("DELETE", "/things/hub/has?limit=2&ql=n<10+order+by+n", "")); deleted != "n000 n001" {
		t.Errorf("disconnected %s", deleted)
	}
	if changed := names(r.ok("PUT", "/things/hub/has/nodes?limit=2&ql=n<10+order+by+n", `{"seen":true}`)); changed != "n002 n003" {
		t.Errorf("changed %s", changed)
	}
	if found := names(r.ok("GET", "/things/hub/has?limit=3", "")); found != "n002 n003 late8" {
		t.Errorf("after a change by query: %s", found)
	}
}

// TestConnectCreates is item 7.
func TestConnectCreates(t *testing.T) {
	r := newRest(t)
	r.make("things", "one")
	if got := names(r.ok("POST", "/things/one/likes/items", `{"name":"x"}`)); got != "x" {
		t.Errorf("created %s", got)
	}
	r.fails("POST", "/things/one/likes/items", `{"name":"x"}`, 400, "duplicate_unique_property_exists")
	if got := names(r.ok("GET", "/items/x", "")); got != "x" {
		t.Errorf("%s", got)
	}
	const id = "01a216c4-2a70-7ee0-9d03-c34eba4bcaa7"
	a := r.ok("PUT", "/things/one/likes/items/"+id, `{"name":"y","n":1}`)
	if uuidOf(t, a) != id || names(r.ok("GET", "/things/one/likes", "")) != "y x" {
		t.Errorf("created by PUT: %s", a.Body)
	}
	if a = r.ok("PUT", "/things/one/hates/"+id, `{"n":2}`); !strings.Contains(a.Body, `"n":2`) {
		t.Errorf("updated by PUT: %s", a.Body)
	}
	if a = r.ok("PUT", "/things/one/hates/items/x", `{"n":3}`); !strings.Contains(a.Body, `"n":3`) {
		t.Errorf("updated by name: %s", a.Body)
	}
	if got := names(r.ok("GET", "/things/one/hates", "")); got != "x y" {
		t.Errorf("hates %s", got)
	}
	if got := names(r.ok("GET", "/things/one/connections", "")); got != "x y" {
		t.Errorf("all connections: %s", got)
	}
	if got := names(r.ok("GET", "/items/y/connecting", "")); got != "one" {
		t.Errorf("all inbound: %s", got)
	}
}

// TestFollowing is spec connections section 6, but for feeds.
func TestFollowing(t *testing.T) {
	r := newRest(t)
	for _, name := range []string{"ann", "bob", "cid"} {
		r.make("users", name)
	}
	r.ok("POST", "/users/ann/following/users/bob", "")
	r.ok("POST", "/users/ann/following/cid", "")
	if got := usernames(r.ok("GET", "/users/ann/following", "")); got != "cid bob" {
		t.Errorf("ann follows %s", got)
	}
	if got := usernames(r.ok("GET", "/users/bob/followers", "")); got != "ann" {
		t.Errorf("bob is followed by %s", got)
	}
	body := r.ok("GET", "/users/ann", "").Body
	if strings.Contains(body, `"connections"`) || !strings.Contains(body, `"following":"/users/`) {
		t.Errorf("metadata: %s", body)
	}
	r.fails("POST", "/users/bob/followers/users/cid", "", 405, "unsupported_service_operation")
	r.ok("DELETE", "/users/ann/following/bob", "")
	if got := usernames(r.ok("GET", "/users/ann/following", "")); got != "cid" {
		t.Errorf("ann still follows %s", got)
	}
	if got := usernames(r.ok("GET", "/users/bob/followers", "")); got != "" {
		t.Errorf("bob is still followed by %s", got)
	}
}

// usernames lists the users of an answer.
func usernames(a apitest.Answer) string {
	var list []string
	for _, e := range a.Entities() {
		list = append(list, fmt.Sprint(e["username"]))
	}
	return strings.Join(list, " ")
}

// TestMultiHop is spec connections section 7.
func TestMultiHop(t *testing.T) {
	r := newRest(t)
	r.make("users", "fred")
	for _, place := range []string{"thai", "greek"} {
		r.make("restaurants", place)
		r.ok("POST", "/users/fred/likes/restaurants/"+place, "")
	}
	for place, dishes := range map[string][]string{"thai": {"curry", "rice"}, "greek": {"gyros", "salad"}} {
		for _, dish := range dishes {
			r.ok("POST", "/restaurants/"+place+"/serves/dishes", fmt.Sprintf(`{"name":"%s","price":%d}`, dish, len(dish)))
		}
	}
	r.ok("POST", "/restaurants/thai/serves/dishes/salad", "")
	for path, want := range map[string]string{
		"/users/fred/likes/restaurants/serves/dishes":                          "salad gyros rice curry",
		"/users/fred/likes/restaurants/thai/serves":                            "salad rice curry",
		"/users/fred/likes/restaurants/serves/dishes?ql=price>4+order+by+name": "gyros salad curry",
		"/users/fred/likes/restaurants/serves/dishes?limit=3":                  "salad gyros rice",
		"/users/fred/likes/restaurants;limit=1/serves/dishes":                  "salad gyros",
		"/users;ql=username='fred'/likes":                                      "greek thai",
		"/users/fred/likes/restaurants/serves/dishes/salad/connecting/serves":  "thai greek",
	} {
		if got := names(r.ok("GET", path, "")); got != want {
			t.Errorf("GET %s: %s, want %s", path, got, want)
		}
	}
	r.fails("GET", "/users/fred/likes/restaurants/thai/hates/dishes/curry", "", 404, "service_resource_not_found")
	r.fails("GET", "/users/fred/likes/dishes/curry/madeby", "", 404, "service_resource_not_found")
}
