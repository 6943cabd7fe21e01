package collections_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

// dataOf is the member "data" of an answer, as JSON.
func dataOf(a apitest.Answer) string {
	text, err := json.Marshal(a.Fields["data"])
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (r *rest) wantData(method, path, body, want string) apitest.Answer {
	r.Helper()
	a := r.ok(method, path, body)
	if got := dataOf(a); got != want {
		r.Errorf("%s %s %s: %s, want %s", method, path, body, got, want)
	}
	if _, ok := a.Fields["path"]; ok || a.Fields["uri"] != r.URL+r.App || fmt.Sprint(a.Fields["entities"]) != "[]" {
		r.Errorf("%s %s: %s", method, path, a.Body)
	}
	return a
}

func TestRoles(t *testing.T) {
	r := newRest(t)
	a := r.ok("POST", "/roles", `{"name":"Reviewer","title":"Reviewer of books","inactivity":0,"group":"x","color":"red"}`)
	id := uuidOf(t, a)
	want := fmt.Sprintf(`"metadata":{"path":"/roles/%[1]s","sets":{"permissions":"/roles/%[1]s/permissions"},"collections":{"groups":"/roles/%[1]s/groups","users":"/roles/%[1]s/users"}}`, id)
	if !strings.Contains(a.Body, want) {
		t.Errorf("%s, want %s", a.Body, want)
	}
	r.wantProps(a.Entity(), `{"color":"red","inactivity":0,"name":"Reviewer","roleName":"reviewer","title":"Reviewer of books"}`)
	for i, spelling := range []string{"roleName", "rolename", "role name", "ROLENAME"} {
		a := r.ok("POST", "/role", fmt.Sprintf(`{"%s":" R%d "}`, spelling, i))
		r.wantProps(a.Entity(), fmt.Sprintf(`{"inactivity":0,"name":"R%d","roleName":"r%d","title":"R%d"}`, i, i, i))
	}
	r.fails("POST", "/roles", `{"title":"x"}`, 400, "required_property_not_found")
	r.fails("POST", "/roles", ``, 400, "required_property_not_found")
	r.fails("POST", "/roles", `{"name":"REVIEWER"}`, 400, "duplicate_unique_property_exists")
	r.fails("POST", "/roles", `{"name":"x","inactivity":-1}`, 400, "illegal_argument")
	r.fails("POST", "/roles", `{"name":"x","inactivity":"soon"}`, 400, "property_type_conversion")
	r.fails("PUT", "/roles/reviewer", `{"inactivity":-1}`, 400, "illegal_argument")
	if got := names(r.ok("GET", "/roles?limit=20", "")); got != "R3 R2 R1 R0 Reviewer admin default guest" {
		t.Errorf("roles: %s", got)
	}
	if got := names(r.query("/roles", "order by name")); !strings.HasPrefix(got, "admin default guest R0") {
		t.Errorf("roles by name: %s", got)
	}
	r.wantProps(r.ok("GET", "/roles/Default", "").Entity(), `{"inactivity":0,"name":"default","roleName":"default","title":"Default"}`)
	r.ok("GET", "/roles/"+id, "")
	r.fails("GET", "/roles/none", "", 404, "service_resource_not_found")
	r.fails("GET", "/roles/01a216c4-2a70-7ee0-9d03-c34eba4bcaa7", "", 404, "entity_not_found")
	r.fails("DELETE", "/roles/none", "", 404, "service_resource_not_found")
	// The name stays, and with it whose role it is.
	a = r.ok("PUT", "/roles/reviewer", `{"name":"other","roleName":"x","role name":"y","group":"z","title":"T","inactivity":5000}`)
	r.wantProps(a.Entity(), `{"color":"red","inactivity":5000,"name":"Reviewer","roleName":"reviewer","title":"T"}`)
	a = r.ok("PUT", "/roles/reviewer", `{"title":null,"inactivity":""}`)
	r.wantProps(a.Entity(), `{"color":"red","inactivity":5000,"name":"Reviewer","roleName":"reviewer","title":"T"}`)
	if got := field(r.ok("PUT", "/roles?ql=name='R*'", `{"name":"same","title":"Many"}`), "name"); got != "R3 R2 R1 R0 Reviewer" {
		t.Errorf("PUT by query: %s", got)
	}
	r.wantProps(r.ok("PUT", "/roles/newone", `{"name":"other"}`).Entity(), `{"inactivity":0,"name":"newone","roleName":"newone","title":"newone"}`)
	r.wantData("GET", "/rolenames", "", `{"R0":{"inactivity":0,"name":"R0","title":"Many"},"R1":{"inactivity":0,"name":"R1","title":"Many"},"R2":{"inactivity":0,"name":"R2","title":"Many"},`+
		`"R3":{"inactivity":0,"name":"R3","title":"Many"},"Reviewer":{"inactivity":5000,"name":"Reviewer","title":"Many"},"admin":{"inactivity":0,"name":"admin","title":"Administrator"},`+
		`"default":{"inactivity":0,"name":"default","title":"Default"},"guest":{"inactivity":0,"name":"guest","title":"Guest"},"newone":{"inactivity":0,"name":"newone","title":"newone"}}`)
	r.fails("POST", "/rolenames", `{"name":"x"}`, 405, "unsupported_service_operation")
}

// TestPermissionSets are those of users, groups and roles, in every spelling.
func TestPermissionSets(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/users", `{"username":"ana"}`)
	r.ok("POST", "/groups", `{"path":"a/b"}`)
	r.ok("POST", "/roles", `{"name":"reviewer"}`)
	for _, owner := range []string{"/users/ana", "/groups/a/b", "/roles/reviewer", "/role/REVIEWER"} {
		path := owner + "/permissions"
		r.wantData("GET", path, "", `[]`)
		r.wantData("POST", path, `{"permission":"GET,Put:/Reviews/**"}`, `["get,put:/reviews/**"]`)
		r.wantData("PUT", path, `{"permission":["get:/a","get:/a"]}`, `["get,put:/reviews/**","get:/a"]`)
		r.wantData("POST", path, `{"permissions":["get:/b"]}`, `["get,put:/reviews/**","get:/a","get:/b"]`)
		r.wantData("POST", path, `{"data":["get:/c"]}`, `["get,put:/reviews/**","get:/a","get:/b","get:/c"]`)
		r.wantData("POST", path+"?permission=get:/d&permission=get:/e", "", `["get,put:/reviews/**","get:/a","get:/b","get:/c","get:/d","get:/e"]`)
		gone := r.wantData("DELETE", path+"?permission="+url.QueryEscape("get,put:/reviews/**")+"&permission=get:/a&permission=get:/none", "", `["get:/b","get:/c","get:/d","get:/e"]`)
		if got := fmt.Sprint(gone.Fields["params"]); got != "map[permission:[get,put:/reviews/** get:/a get:/none]]" {
			t.Errorf("params %s", got)
		}
		gone = r.wantData("DELETE", path+"?a=1", `{"data":["GET:/b","get:/c"]}`, `["get:/d","get:/e"]`)
		if got := fmt.Sprint(gone.Fields["params"]); got != "map[a:[1] permission:[GET:/b get:/c]]" {
			t.Errorf("params of a body: %s", got)
		}
		r.wantData("DELETE", path, `{"permission":"get:/d"}`, `["get:/e"]`)
		r.wantData("DELETE", path+"?permission=get:/e", "", `[]`)
		for _, body := range []string{"", "{}", `{"permission":""}`, `{"permission":"fly:/x"}`, `{"permission":7}`, `{"permission":["get:/x",7]}`, `{"permission":["` + strings.Repeat("x", 1025) + `"]}`} {
			r.fails("POST", path, body, 400, "illegal_argument")
		}
		r.fails("DELETE", path, "", 400, "illegal_argument")
		r.fails("POST", path, `["get:/x"]`, 400, "json_mapping")
		r.fails("POST", path, `{"permission"`, 400, "json_parse")
		r.fails("GET", path+"/x", "", 404, "service_resource_not_found")
		many := strings.Repeat(`"get:/x",`, 1000)
		r.fails("POST", path, `{"permission":[`+many+`"get:/y"]}`, 400, "illegal_argument")
	}
	r.fails("GET", "/roles/none/permissions", "", 404, "service_resource_not_found")
	r.fails("POST", "/roles/none/permissions", `{"permission":"get:/x"}`, 404, "service_resource_not_found")
	r.fails("GET", "/users/none/permissions", "", 404, "service_resource_not_found")
	r.fails("GET", "/groups/none/permissions", "", 404, "entity_not_found")
	// The sandbox's own string, removed and added again, as the portal does.
	open := url.QueryEscape("get,post,put,delete:/**")
	admin := r.as(r.Admin)
	admin.wantData("GET", "/roles/guest/permissions", "", `["get,post,put,delete:/**","post:/devices","post:/users","put:/devices/*"]`)
	admin.wantData("DELETE", "/roles/guest/permissions?permission="+open, "", `["post:/devices","post:/users","put:/devices/*"]`)
	r.fails("GET", "/items", "", 401, "unauthorized")
	admin.ok("POST", "/roles/guest/permissions", `{"permission":"get,post,put,delete:/**"}`)
	r.ok("GET", "/items", "")
	form := strings.NewReader("permission=get:/form")
	if status, _, text := r.send("POST", r.App+"/roles/reviewer/permissions", "permission=get:/form", "Content-Type", "application/x-www-form-urlencoded"); status != 200 || !strings.Contains(text, `"data":["get:/form"]`) {
		t.Errorf("a form: %d %s, %d", status, text, form.Len())
	}
}

// TestRolesOfUsersAndGroups assigns roles in each way there is.
func TestRolesOfUsersAndGroups(t *testing.T) {
	r := newRest(t)
	ana := uuidOf(t, r.ok("POST", "/users", `{"username":"ana"}`))
	group := uuidOf(t, r.ok("POST", "/groups", `{"path":"staff/x"}`))
	role := uuidOf(t, r.ok("POST", "/roles", `{"name":"Reviewer","title":"R"}`))
	for _, way := range []struct{ add, body, gets, remove string }{
		{"POST /users/ana/roles/reviewer", "", "roleName", "DELETE /roles/reviewer/users/ana"},
		{"POST /roles/reviewer/users/ana", "", "username", "DELETE /users/ana/roles/" + role},
		{"POST /role/" + role + "/user/" + ana, "", "username", "DELETE /user/ana/role/Reviewer"},
		{"POST /groups/staff/x/roles/reviewer", "", "roleName", "DELETE /roles/reviewer/groups/staff/x"},
		{"POST /roles/reviewer/groups/staff/x", "", "path", "DELETE /groups/" + group + "/roles/reviewer"},
	} {
		owner, other := "/users/ana", "/roles/reviewer/users"
		if strings.Contains(way.add, "group") {
			owner, other = "/groups/staff/x", "/roles/reviewer/groups"
		}
		for range 2 { // idempotent
			method, path, _ := strings.Cut(way.add, " ")
			if a := r.ok(method, path, way.body); len(a.Entities()) != 1 || a.Entity()[way.gets] == nil {
				t.Errorf("%s: %s", way.add, a.Body)
			}
		}
		if got := field(r.ok("GET", owner+"/roles", ""), "roleName"); got != "reviewer" {
			t.Errorf("after %s: %s", way.add, got)
		}
		r.ok("GET", owner+"/roles/reviewer", "")
		if n := len(r.ok("GET", other, "").Entities()); n != 1 {
			t.Errorf("after %s: %d at %s", way.add, n, other)
		}
		r.wantData("GET", owner+"/rolenames", "", `{"Reviewer":{"inactivity":0,"name":"Reviewer","title":"R"}}`)
		method, path, _ := strings.Cut(way.remove, " ")
		r.ok(method, path, "")
		r.fails(method, path, "", 404, "service_resource_not_found")
		r.fails("GET", owner+"/roles/reviewer", "", 404, "service_resource_not_found")
	}
	for _, owner := range []string{"/users/ana", "/groups/staff/x"} {
		for _, method := range []string{"PUT", "POST"} {
			r.wantData(method, owner+"/rolenames", `{"name":"REVIEWER"}`, `{"Reviewer":{"inactivity":0,"name":"Reviewer","title":"R"}}`)
			r.wantData("DELETE", owner+"/rolenames/reviewer", "", `{}`)
		}
		r.wantData("PUT", owner+"/rolenames", `{"name":"`+role+`"}`, `{"Reviewer":{"inactivity":0,"name":"Reviewer","title":"R"}}`)
		r.wantData("DELETE", owner+"/rolenames/"+role, "", `{}`)
		r.fails("DELETE", owner+"/rolenames/reviewer", "", 404, "service_resource_not_found")
		r.fails("PUT", owner+"/rolenames", `{"name":"none"}`, 404, "service_resource_not_found")
		r.fails("PUT", owner+"/rolenames", `{}`, 400, "illegal_argument")
		r.fails("DELETE", owner+"/rolenames", "", 405, "unsupported_service_operation")
		r.fails("GET", owner+"/rolenames/reviewer", "", 405, "unsupported_service_operation")
	}
	// The portal swaps two segments.
	r.ok("POST", "/users/ana/roles/reviewer", "")
	if a := r.ok("GET", "/roles/users/reviewer", ""); field(a, "username") != "ana" || a.Fields["path"] != "/roles/"+role+"/users" {
		t.Errorf("/roles/users/reviewer: %s", a.Body)
	}
	r.ok("POST", "/roles", `{"name":"users"}`)
	if a := r.ok("GET", "/roles/users/reviewer", ""); len(a.Entities()) != 0 { // a connection of that role
		t.Errorf("/roles/users/reviewer, and there is a role called users: %s", a.Body)
	}
	if got := field(r.ok("POST", "/users/ana/roles", `{"name":"fresh"}`), "name"); got != "fresh" {
		t.Errorf("a new role of a user: %s", got)
	}
	if got := names(r.ok("GET", "/users/ana/roles", "")); got != "fresh Reviewer" {
		t.Errorf("roles of ana: %s", got)
	}
	// A role goes from whoever had it.
	r.ok("DELETE", "/roles/reviewer", "")
	if got := names(r.ok("GET", "/users/ana/roles", "")); got != "fresh" {
		t.Errorf("roles of ana: %s", got)
	}
}

// TestRolesOfOneGroup are those that only a group has (spec users-groups-roles 2.3).
func TestRolesOfOneGroup(t *testing.T) {
	r := newRest(t)
	g := uuidOf(t, r.ok("POST", "/groups", `{"path":"staff"}`))
	r.ok("POST", "/groups", `{"path":"others"}`)
	a := r.ok("POST", "/groups/staff/roles", `{"name":"Lead","group":"`+"01a216c4-2a70-7ee0-9d03-c34eba4bcaa7"+`"}`)
	r.wantProps(a.Entity(), `{"group":"`+g+`","inactivity":0,"name":"`+g+`:Lead","roleName":"lead","title":"Lead"}`)
	id := uuidOf(t, a)
	r.fails("POST", "/groups/staff/roles", `{"name":"lead"}`, 400, "duplicate_unique_property_exists")
	r.ok("POST", "/groups/others/roles", `{"name":"Lead","title":"L","inactivity":7}`)
	r.ok("POST", "/roles", `{"name":"lead"}`)
	if got := names(r.ok("GET", "/roles", "")); got != "lead admin default guest" {
		t.Errorf("roles: %s", got)
	}
	if got := names(r.query("/roles", "roleName = 'lead'")); got != "lead" {
		t.Errorf("query of roles: %s", got)
	}
	if body := r.ok("GET", "/rolenames", "").Body; strings.Contains(body, g) {
		t.Errorf("rolenames: %s", body)
	}
	for _, path := range []string{"/roles/" + id, "/roles/" + g + ":lead", "/groups/staff/roles/lead", "/groups/staff/roles/" + id, "/groups/staff/roles/" + g + ":LEAD"} {
		if got := uuidOf(t, r.ok("GET", path, "")); got != id {
			t.Errorf("%s: %s", path, got)
		}
	}
	r.wantData("GET", "/groups/staff/rolenames", "", `{"`+g+`:Lead":{"inactivity":0,"name":"`+g+`:Lead","title":"Lead"}}`)
	// Detached it stays, and can come back; the application's own is attached first.
	r.ok("DELETE", "/groups/staff/roles/lead", "")
	r.ok("GET", "/roles/"+id, "")
	r.ok("POST", "/groups/staff/roles/lead", "")
	if got := names(r.ok("GET", "/groups/staff/roles", "")); got != "lead" {
		t.Errorf("attached %s", got)
	}
	r.ok("POST", "/groups/staff/roles/"+id, "")
	r.ok("DELETE", "/groups/staff/roles/"+id, "")
	// With the group go its own roles, attached or not.
	for i := range 5 {
		r.ok("POST", "/groups/staff/roles", fmt.Sprintf(`{"name":"r%d"}`, i))
	}
	r.ok("DELETE", "/groups/staff", "")
	r.fails("GET", "/roles/"+id, "", 404, "entity_not_found")
	r.fails("GET", "/roles/"+g+":r3", "", 404, "service_resource_not_found")
	if got := field(r.query("/roles", "direct lead"), "name"); got != "lead" {
		t.Errorf("the application's: %s", got)
	}
	if got := field(r.ok("GET", "/groups/others/roles", ""), "roleName"); got != "lead" {
		t.Errorf("another group's: %s", got)
	}
	if got := field(r.ok("DELETE", "/groups?ql=", ""), "path"); got != "others" {
		t.Errorf("deleted %s", got)
	}
	if n := len(r.query("/roles", "direct "+g+":r0").Entities()); n != 0 {
		t.Errorf("%d roles left", n)
	}
}

func TestResetRoles(t *testing.T) {
	guest, admin := closed(t)
	admin.ok("DELETE", "/roles/guest", "")
	admin.ok("POST", "/roles/default/permissions", `{"permission":"get:/extra"}`)
	admin.ok("DELETE", "/roles/default/permissions?permission="+url.QueryEscape("get,put,post,delete:/**"), "")
	guest.fails("POST", "/users", `{"username":"ana"}`, 401, "unauthorized")
	guest.fails("POST", "/resetroles", "", 401, "unauthorized")
	admin.fails("GET", "/resetroles", "", 405, "unsupported_service_operation")
	admin.wantData("POST", "/resetroles", "", `{"admin":"Administrator","default":"Default","guest":"Guest"}`)
	guest.ok("POST", "/users", `{"username":"ana"}`)
	admin.wantData("GET", "/roles/default/permissions", "", `["get,put,post,delete:/**","get:/extra"]`)
	admin.wantData("GET", "/roles/guest/permissions", "", `["post:/devices","post:/users","put:/devices/*"]`)
}
