package collections_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

// closed is an application whose guests and users hold what a new one gives them.
func closed(t *testing.T) (guest, admin *rest) {
	r := newRest(t)
	if a, err := r.Do("POST", "/management/orgs/acme/apps", r.Admin, `{"name":"shop"}`); err != nil || a.Status != 200 {
		t.Fatalf("%v %s", err, a.Body)
	}
	r.App = "/acme/shop"
	return r, r.as(r.Admin)
}

// field joins one property of the entities of an answer.
func field(a apitest.Answer, property string) string {
	var list []string
	for _, e := range a.Entities() {
		list = append(list, fmt.Sprint(e[property]))
	}
	return strings.Join(list, " ")
}

func TestGroupPaths(t *testing.T) {
	r := newRest(t)
	a := r.ok("POST", "/groups", `{"path":"/Staff//managers/","title":"Managers","floor":3}`)
	id := uuidOf(t, a)
	want := fmt.Sprintf(`"metadata":{"path":"/groups/%[1]s","sets":{"rolenames":"/groups/%[1]s/roles","permissions":"/groups/%[1]s/permissions"},`+
		`"collections":{"activities":"/groups/%[1]s/activities","feed":"/groups/%[1]s/feed","roles":"/groups/%[1]s/roles","users":"/groups/%[1]s/users"}}`, id)
	if e := a.Entity(); e["path"] != "Staff/managers" || e["type"] != "group" || e["title"] != "Managers" || !strings.Contains(a.Body, want) {
		t.Errorf("%s, want %s", a.Body, want)
	}
	r.ok("POST", "/groups", `{"path":"staff","name":"the staff"}`)
	r.ok("POST", "/groups", `{"path":"été-1.x"}`)
	for path, want := range map[string]string{
		"/groups/staff/managers": "Staff/managers", "/group/STAFF/Managers/": "Staff/managers", "/groups/staff%2Fmanagers": "Staff/managers", "/groups/" + id: "Staff/managers",
		"/groups/staff": "staff", "/groups/the%20staff": "staff", "/groups/%C3%89t%C3%A9-1.X": "été-1.x",
	} {
		if got := field(r.ok("GET", path, ""), "path"); got != want {
			t.Errorf("GET %s: %s", path, got)
		}
	}
	if got := field(r.query("/groups", "path = 'staff*' order by path"), "path"); got != "staff Staff/managers" {
		t.Errorf("query: %s", got)
	}
	if got := field(r.query("/groups", "title = 'Managers'"), "path"); got != "Staff/managers" {
		t.Errorf("query: %s", got)
	}
	for _, body := range []string{`{"path":"a b"}`, `{"path":"a_b"}`, `{"path":"a;b"}`, `{"path":"//"}`, `{"path":"a\u0007"}`} {
		r.fails("POST", "/groups", body, 400, "illegal_argument")
		r.fails("PUT", "/groups/staff", body, 400, "illegal_argument")
		r.fails("PUT", "/groups?ql=path='staff'", body, 400, "illegal_argument")
	}
	r.fails("POST", "/groups", `{"title":"x"}`, 400, "illegal_argument")
	r.fails("POST", "/groups", ``, 400, "illegal_argument")
	r.fails("POST", "/groups", `{"path":{"a":1}}`, 400, "property_type_conversion")
	r.fails("POST", "/groups", `{"path":"STAFF/"}`, 400, "duplicate_unique_property_exists")
	r.fails("PUT", "/groups/staff", `{"path":"staff/managers"}`, 400, "duplicate_unique_property_exists")
	r.fails("GET", "/groups/none", "", 404, "entity_not_found")
	r.fails("GET", "/groups/none/at/all", "", 404, "entity_not_found")
	r.fails("GET", "/groups/01a216c4-2a70-7ee0-9d03-c34eba4bcaa7", "", 404, "entity_not_found")
	r.fails("GET", "/groups/none/users", "", 404, "entity_not_found")
	r.fails("POST", "/groups/none", `{}`, 404, "service_resource_not_found")
	r.fails("DELETE", "/groups/none", "", 404, "service_resource_not_found")
	r.fails("GET", "/groups/users", "", 404, "entity_not_found")

	if a := r.ok("PUT", "/groups/staff/managers", `{"path":"/bosses/","title":null,"uuid":"x"}`); a.Entity()["path"] != "bosses" || a.Entity()["title"] != nil || uuidOf(t, a) != id {
		t.Errorf("PUT: %s", a.Body)
	}
	if a := r.ok("PUT", "/groups/bosses", `{"path":null}`); a.Entity()["path"] != "bosses" {
		t.Errorf("path removed: %s", a.Body)
	}
	if a := r.ok("PUT", "/groups/new/deep/one", `{"title":"New"}`); a.Entity()["path"] != "new/deep/one" {
		t.Errorf("PUT of an unknown path: %s", a.Body)
	}
	r.fails("PUT", "/groups/bad_one", `{}`, 400, "illegal_argument")
	r.ok("DELETE", "/groups/new/deep/one", "")
	r.fails("DELETE", "/groups/new/deep/one", "", 404, "service_resource_not_found")

	// A path with a word of the API in it is reached by UUID alone.
	odd := uuidOf(t, r.ok("POST", "/groups", `{"path":"users"}`))
	r.fails("GET", "/groups/users", "", 404, "entity_not_found")
	r.ok("GET", "/groups/"+odd, "")
	// Words after a group are connections, and the longest path wins.
	r.ok("POST", "/items", `{"name":"desk"}`)
	r.ok("POST", "/groups/staff/owns/items/desk", "")
	if got := names(r.ok("GET", "/groups/staff/owns", "")); got != "desk" {
		t.Errorf("owns: %s", got)
	}
	r.ok("POST", "/groups", `{"path":"staff/owns"}`)
	if got := field(r.ok("GET", "/groups/staff/owns", ""), "path"); got != "staff/owns" {
		t.Errorf("a group of that path: %s", got)
	}
}

// TestMembers joins and leaves by both forms of the path: it is one link.
func TestMembers(t *testing.T) {
	r := newRest(t)
	g := uuidOf(t, r.ok("POST", "/groups", `{"path":"a/b"}`))
	ana := uuidOf(t, r.ok("POST", "/users", `{"username":"ana","email":"ana@example.test","age":30}`))
	r.ok("POST", "/users", `{"username":"bo","age":40}`)
	a := r.ok("POST", "/groups/a/b/users/ANA", "")
	path := "/groups/" + g + "/users"
	if a.Fields["path"] != path || a.Entity()["username"] != "ana" || !strings.Contains(a.Body, `"metadata":{"path":"`+path+`/`+ana+`","sets":{"rolenames":"`+path+`/`+ana+`/roles"`) {
		t.Errorf("join: %s", a.Body)
	}
	if a := r.ok("POST", "/user/bo/group/a/b", "{}"); a.Entity()["path"] != "a/b" {
		t.Errorf("join from the user: %s", a.Body)
	}
	r.ok("POST", path+"/ana@example.test", "") // again: she does not move
	for _, p := range []string{path, "/groups/a/b/users", "/group/A/B/user", "/groups/a/b/users/all", "/groups;ql=path='a%2Fb'/users", "/groups/all/users"} {
		if got := field(r.ok("GET", p, ""), "username"); got != "bo ana" {
			t.Errorf("GET %s: %s", p, got)
		}
	}
	if got := field(r.query(path, "age > 35"), "username"); got != "bo" {
		t.Errorf("query of members: %s", got)
	}
	if a := r.query(path, "select username order by age"); field(a, "username") != "ana bo" || strings.Contains(a.Body, `"age":30`) {
		t.Errorf("projection: %s", a.Body)
	}
	first := r.ok("GET", path+"?limit=1", "")
	if next := r.ok("GET", path+"?limit=1&cursor="+first.Cursor(), ""); field(first, "username") != "bo" || field(next, "username") != "ana" || next.Cursor() != "" {
		t.Errorf("pages: %s, %s", first.Body, next.Body)
	}
	for _, p := range []string{path + "/ana", path + "/" + ana, "/groups/a/b/users/ana@EXAMPLE.test"} {
		if got := field(r.ok("GET", p, ""), "username"); got != "ana" {
			t.Errorf("GET %s: %s", p, got)
		}
	}
	if got := field(r.ok("GET", "/users/ana/groups/a/b/users", ""), "username"); got != "bo ana" {
		t.Errorf("fellow members: %s", got)
	}
	if got := field(r.ok("GET", "/users/ana/groups/"+g, ""), "path"); got != "a/b" {
		t.Errorf("her group: %s", got)
	}
	// Memberships are no connections.
	for _, p := range []string{"/users/ana", "/groups/a/b"} {
		if body := r.ok("GET", p, "").Body; strings.Contains(body, `"connections"`) || strings.Contains(body, `"connecting"`) || strings.Contains(body, `\u0000`) {
			t.Errorf("%s: %s", p, body)
		}
	}
	for _, p := range []string{"/users/ana/connections", "/groups/a/b/connecting", "/users/ana/connecting", "/users/ana/connections/groups"} {
		if a := r.ok("GET", p, ""); len(a.Entities()) != 0 {
			t.Errorf("%s: %s", p, a.Body)
		}
	}
	r.fails("DELETE", "/users/ana/connections?ql=", "", 405, "unsupported_service_operation")
	r.fails("GET", "/users/ana/%00groups", "", 400, "illegal_argument")
	if a := r.ok("GET", path+"/indexes", ""); !strings.Contains(fmt.Sprint(a.Fields["data"]), "username") {
		t.Errorf("indexes: %s", a.Body)
	}

	// Leaving.
	if a := r.ok("DELETE", "/groups/a/b/users/bo", ""); a.Entity()["username"] != "bo" {
		t.Errorf("leave: %s", a.Body)
	}
	for _, request := range []string{"GET " + path + "/bo", "DELETE " + path + "/bo", "DELETE /users/bo/groups/a/b", "GET /users/bo/groups/a/b", "DELETE " + path + "/nobody", "POST " + path + "/nobody", "POST /users/bo/groups/none"} {
		method, p, _ := strings.Cut(request, " ")
		r.fails(method, p, "", 404, "service_resource_not_found")
	}
	r.fails("POST", "/groups/none/users/bo", "", 404, "service_resource_not_found")
	r.ok("GET", "/users/bo", "")
	r.fails("DELETE", path, "", 405, "unsupported_service_operation")
	r.ok("POST", path+"/bo", "")
	if got := field(r.ok("DELETE", path+"?ql=username='ana'", ""), "username"); got != "ana" {
		t.Errorf("leave by query: %s", got)
	}
	if got := field(r.ok("GET", path, ""), "username"); got != "bo" {
		t.Errorf("members: %s", got)
	}

	// A body is a new user, with all rules of new users.
	if a := r.ok("POST", path, `{"username":"cy","password":"sunny-day-1","email":"cy@example.test"}`); a.Entity()["activated"] != true || strings.Contains(a.Body, "sunny") {
		t.Errorf("new member: %s", a.Body)
	}
	r.login(r.App, "cy", "sunny-day-1")
	r.fails("POST", path, `{"username":"CY"}`, 400, "duplicate_unique_property_exists")
	r.fails("POST", path, `{"name":"x"}`, 400, "required_property_not_found")
	r.fails("POST", path, "", 400, "required_property_not_found")
	r.fails("POST", path, `[{"username":"dee"}]`, 400, "illegal_argument")
	if a := r.ok("PUT", path+"/cy", `{"city":"Lugo","password":"other-day"}`); a.Entity()["city"] != "Lugo" {
		t.Errorf("PUT of a member: %s", a.Body)
	}
	if got := field(r.ok("PUT", path+"?ql=city='Lugo'", `{"city":"Vigo"}`), "city"); got != "Vigo" {
		t.Errorf("PUT of members: %s", got)
	}
	r.fails("PUT", path+"?ql=city='Lugo'", `{"city":"Vigo"}`, 404, "service_resource_not_found")
	r.fails("PUT", path+"?ql=", `{"email":"same@example.test"}`, 400, "illegal_argument")
	if got := field(r.ok("GET", path, ""), "username"); got != "cy bo" {
		t.Errorf("members: %s", got)
	}
	// The group goes, its members stay; a user goes, the group stays.
	r.ok("DELETE", "/users/cy", "")
	if got := field(r.ok("GET", path, ""), "username"); got != "bo" {
		t.Errorf("members: %s", got)
	}
	r.ok("DELETE", "/groups/a/b", "")
	r.ok("GET", "/users/bo", "")
	if got := r.ok("GET", "/users/bo/groups", "").Entities(); len(got) != 0 {
		t.Errorf("groups after the group went: %v", got)
	}
}

// TestDevicesOfUsers is the rule of ownership of spec users-groups-roles section 1.13.
func TestDevicesOfUsers(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/users", `[{"username":"ana"},{"username":"bo"}]`)
	mine := uuidOf(t, r.ok("POST", "/users/ana/devices", `{"name":"phone"}`))
	theirs := uuidOf(t, r.ok("POST", "/users/bo/devices", `{"name":"tablet"}`))
	r.ok("GET", "/users/ana/devices/"+mine, "")
	r.ok("GET", "/users/ana/devices/phone", "")
	r.fails("GET", "/users/ana/devices/"+theirs, "", 404, "service_resource_not_found")
	r.fails("GET", "/users/ana/devices/tablet", "", 404, "service_resource_not_found")
	r.fails("DELETE", "/users/ana/devices/tablet", "", 404, "service_resource_not_found")
	r.ok("GET", "/devices/"+theirs, "")
	if got := names(r.ok("GET", "/users/ana/devices", "")); got != "phone" {
		t.Errorf("devices %s", got)
	}
	if got := field(r.ok("GET", "/devices/phone/users", ""), "username"); got != "ana" {
		t.Errorf("users of a device: %s", got)
	}
	if a := r.ok("PUT", "/users/ana/devices/watch", `{"badge":2}`); a.Entity()["name"] != "watch" || number(a.Entity()["badge"]) != 2 {
		t.Errorf("PUT: %s", a.Body)
	}
	if a := r.ok("PUT", "/users/ana/devices/01a216c4-2a70-7ee0-9d03-c34eba4bcaa7", `{"name":"car"}`); a.Entity()["uuid"] != "01a216c4-2a70-7ee0-9d03-c34eba4bcaa7" {
		t.Errorf("PUT by UUID: %s", a.Body)
	}
	if got := names(r.ok("GET", "/users/ana/devices", "")); got != "car watch phone" {
		t.Errorf("devices %s", got)
	}
	r.ok("DELETE", "/users/ana/devices/phone", "")
	r.ok("GET", "/devices/phone", "")
	if got := names(r.ok("DELETE", "/users/ana/devices?limit=5", "")); got != "car watch" {
		t.Errorf("unlinked %s", got)
	}
}
