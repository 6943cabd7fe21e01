package collections_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// strict is a closed application whose users hold nothing but what the role "tested" of
// ana grants.
type strict struct {
	*testing.T
	guest, admin, ana, bo *rest
	anaID, boID           string
}

func newStrict(t *testing.T) *strict {
	s := &strict{T: t}
	s.guest, s.admin = closed(t)
	s.anaID = uuidOf(t, s.admin.ok("POST", "/users", `{"username":"ana","email":"ana@example.test","password":"sunny-day-1"}`))
	s.boID = uuidOf(t, s.admin.ok("POST", "/users", `{"username":"bo","email":"bo@example.test","password":"sunny-day-1"}`))
	s.admin.ok("DELETE", "/roles/default", "")
	s.admin.ok("POST", "/users/ana/roles", `{"name":"tested"}`)
	s.ana = s.guest.as(s.guest.login("/acme/shop", "ana", "sunny-day-1"))
	s.bo = s.guest.as(s.guest.login("/acme/shop", "bo", "sunny-day-1"))
	return s
}

// grant makes these the only permissions of the role.
func (s *strict) grant(permissions ...string) {
	s.Helper()
	for _, held := range s.admin.ok("GET", "/roles/tested/permissions", "").Fields["data"].([]any) {
		s.admin.ok("DELETE", "/roles/tested/permissions?permission="+url.QueryEscape(fmt.Sprint(held)), "")
	}
	for _, permission := range permissions {
		s.admin.ok("POST", "/roles/tested/permissions", `{"permission":"`+permission+`"}`)
	}
}

// may and mayNot ask as ana for requests such as "GET /users", whatever comes of them.
func (s *strict) may(requests ...string)    { s.Helper(); s.ask(true, requests) }
func (s *strict) mayNot(requests ...string) { s.Helper(); s.ask(false, requests) }

func (s *strict) ask(want bool, requests []string) {
	s.Helper()
	for _, request := range requests {
		method, path, _ := strings.Cut(request, " ")
		body := ""
		if method == "POST" || method == "PUT" {
			body = `{"x":1}`
		}
		a := s.ana.do(method, path, body)
		if refused := a.Status == 401 && a.Code() == "unauthorized"; refused == want {
			s.Errorf("%s: %d %.200s, want allowed %v", request, a.Status, a.Body, want)
		}
	}
}

// TestMatchingOverREST is the table of spec auth-and-tokens section 9.3.
func TestMatchingOverREST(t *testing.T) {
	s := newStrict(t)
	u := s.anaID
	for _, c := range []struct{ pattern, yes, no string }{
		{"/users", "GET /users,GET /USERS/,GET /user,GET /users?ql=username='bo'", "GET /users/lee,GET /users/bo,DELETE /users/bo"},
		{"/users/*", "GET /users/lee,GET /users,POST /users", "GET /users/bo/likes,GET /userset,PUT /users?ql=,DELETE /users?ql=,PUT /users/all"},
		{"get,post:/users/**", "GET /users,GET /users/bo,GET /users/bo/likes/books", "GET /usersx,PUT /users/bo"},
		{"/*", "GET /books,GET /", "GET /books/dune,PUT /?a=b"},
		{"get:/**", "GET /,GET /a/b/c,GET /users/bo/roles", "POST /a"},
		{"get:**/likes", "GET /likes,GET /users/likes,GET /users/bo/likes", "GET /likes/x"},
		{"/books/*/review/*", "GET /books/1/review/9,GET /books/1/review,POST /books/1/review/9", "GET /books/1,GET /books/1/review/9/x"},
		{"/users/${user}/**", "GET /users/ana/feed,GET /users/" + u + "/feed,GET /users/me/feed,GET /users/ana@example.test/feed,GET /user/ANA/likes", "GET /users/bo,GET /users/bo/feed,GET /users/" + s.boID + ",GET /users"},
		{"/users/me/**", "GET /users/ana/feed,GET /users/" + u + "/feed,GET /users/me/feed,PUT /users/me", "GET /users/bo/feed,PUT /users/bo"},
		{"post:/users/*/following/users/${user}", "POST /users/bo/following/users/ana,POST /users/bo/following/users/me,POST /users/bo/following/user/" + u, "POST /users/bo/following/users/bo,GET /users/bo/following/users/ana"},
		{"/b?oks/*er", "GET /books/beer,GET /baoks/er", "GET /bks/beer,GET /books/beers"},
		{"get:/item/hammer", "GET /items/hammer,GET /ITEM/Hammer", "GET /items/hammers"},
		{"books", "GET /books,POST /books", "GET /films"},
	} {
		s.grant(c.pattern)
		s.may(strings.Split(c.yes, ",")...)
		s.mayNot(strings.Split(c.no, ",")...)
	}
}

// TestEverySpelling: a permission covers what it names under each of its names, at every
// place of a path.
func TestEverySpelling(t *testing.T) {
	s := newStrict(t)
	group := uuidOf(t, s.admin.ok("POST", "/groups", `{"path":"staff/x"}`))
	role := uuidOf(t, s.admin.ok("POST", "/roles", `{"name":"Reviewer"}`))
	item := uuidOf(t, s.admin.ok("POST", "/items", `{"name":"desk"}`))
	s.admin.ok("POST", "/groups/staff/x/users/bo", "")
	s.admin.ok("POST", "/users/bo/likes/items/desk", "")
	s.admin.ok("POST", "/items", `{"name":"other"}`)
	bos := []string{"bo", "BO", "bo@example.test", s.boID}
	groups := []string{"staff/x", "STAFF/X", group}
	for _, g := range groups {
		for _, b := range bos {
			s.grant("get,post,delete:/groups/" + g + "/users/" + b)
			for _, g := range groups {
				for _, b := range bos[:1+len(bos)/2] {
					s.may("GET /groups/"+g+"/users/"+b, "POST /group/"+g+"/user/"+b)
				}
			}
			s.mayNot("GET /groups/"+group+"/users/ana", "GET /groups/"+group+"/users", "GET /groups/none/users/bo", "PUT /groups/"+group+"/users/bo", "GET /users/bo/groups/"+group)
		}
	}
	s.grant("get:/users/bo/likes/items/desk")
	s.may("GET /users/"+s.boID+"/likes/items/"+item, "GET /user/bo@example.test/likes/item/DESK", "GET /users/bo/likes/item/desk")
	s.mayNot("GET /users/bo/likes/items/other", "GET /users/bo/likes/"+item+"/likes", "GET /users/bo/likes")
	s.grant("get:/users/bo/likes/" + item + "/connecting/likes")
	s.may("GET /users/"+s.boID+"/likes/"+item+"/connecting/likes", "GET /users/bo/likes/"+item+"/connecting/likes")
	s.grant("get,post:/roles/" + role + "/permissions")
	s.may("GET /roles/reviewer/permissions", "GET /role/REVIEWER/permissions", "POST /roles/"+role+"/permissions")
	s.mayNot("GET /roles/tested/permissions", "DELETE /roles/reviewer/permissions?permission=x")
	s.grant("post:/users/me/devices", "get:/roles/reviewer/users")
	s.may("POST /users/ana/devices", "POST /users/"+s.anaID+"/device", "POST /users/me/devices", "GET /roles/users/reviewer")
	s.mayNot("POST /users/bo/devices", "GET /roles/users/tested")
	s.grant("post:/users/bo/deactivate")
	s.may("POST /users/" + s.boID + "/deactivate")
	s.mayNot("POST /users/ana/deactivate")
}

// TestNamesOfOthers: who calls himself what another is called gets nothing of his.
func TestNamesOfOthers(t *testing.T) {
	s := newStrict(t)
	s.grant("get,put:/users/${user}", "get:/users/me/**", "get:/notes/${user}")
	s.may("GET /users/ana", "GET /users/me", "GET /users/ana@example.test")
	// An e-mail address that is a username.
	s.admin.ok("PUT", "/users/ana", `{"email":"bo"}`)
	s.mayNot("GET /users/bo", "PUT /users/bo", "GET /users/bo/roles", "GET /notes/bo")
	s.may("GET /users/bo?force=email", "GET /users/ana") // by that address she is herself
	// A username that is an e-mail address.
	s.admin.ok("PUT", "/users/ana", `{"email":"other@example.test","username":"bo@example.test"}`)
	s.mayNot("GET /users/bo@example.test", "PUT /users/bo@example.test", "GET /users/bo@example.test/roles")
	s.may("GET /users/me", "GET /users/bo@example.test?force=name", "GET /users/"+s.anaID, "GET /notes/bo@example.test", "GET /users/other@example.test")
	// A name that only force leads to.
	s.admin.ok("PUT", "/users/"+s.anaID, `{"username":"weird"}`)
	s.admin.ok("PUT", "/users/bo", `{"email":"weird"}`)
	s.mayNot("GET /users/weird?force=email", "PUT /users/weird?force=email")
	s.may("GET /users/weird")
}

// TestNobodyRaisesHimself walks the ways to more than one has.
func TestNobodyRaisesHimself(t *testing.T) {
	s := newStrict(t)
	s.admin.ok("POST", "/groups", `{"path":"bosses"}`)
	s.admin.ok("POST", "/roles/admin/permissions", `{"permission":"get,put,post,delete:/**"}`)
	s.admin.ok("POST", "/groups/bosses/roles/admin", "")
	raise := []string{
		"POST /users/me/roles/admin", "POST /users/ana/roles/admin", "POST /user/ana/role/admin", "POST /roles/admin/users/me", "POST /roles/admin/users/ana", "PUT /users/me/rolenames",
		"POST /users/me/rolenames", "POST /roles/admin/users", "POST /users/me/groups/bosses", "POST /groups/bosses/users/me", "PUT /groups/bosses/users/ana", "PUT /users/me/groups/bosses",
		"POST /roles/tested/permissions", "PUT /roles/tested/permissions", "POST /users/me/permissions", "PUT /users/ana/permissions", "POST /groups/bosses/permissions", "POST /roles/guest/permissions",
		"PUT /roles/tested", "DELETE /roles/admin", "POST /resetroles", "GET /users/ana/credentials", "PUT /users/ana/credentials",
	}
	s.grant()
	s.mayNot(raise...)
	// What looks harmless: to like, to follow, to read everything, to change oneself.
	s.grant("get:/**", "put:/users/me", "post,put,delete:/users/me/likes/**", "post:/users/*/following/users/${user}", "post:/users/me/devices/**")
	s.mayNot(raise[:len(raise)-3]...)
	s.ana.ok("POST", "/users/me/likes/users/me", "")
	s.ana.ok("POST", "/users/me/likes/roles/tested", "")
	s.ana.ok("POST", "/users/me/likes/groups/bosses", "")
	s.mayNot(
		"POST /users/me/likes/users/me/roles/admin", "POST /users/me/likes/users/ana/permissions", "PUT /users/me/likes/users/ana/rolenames", "POST /users/me/likes/"+s.anaID+"/roles/admin",
		"POST /users/me/likes/roles/tested/permissions", "POST /users/me/likes/roles/tested/users/bo", "POST /users/me/likes/groups/bosses/users/me", "DELETE /users/me/likes/groups/bosses/roles/admin",
		"POST /users/me/likes/groups/bosses/users", "DELETE /users/me/likes/groups/bosses/users?ql=", "PUT /users/me/likes/groups/bosses/users?ql=",
		"PUT /users/me/likes/roles/admin", "PUT /users/me/likes/users/bo", "PUT /users/me/likes/"+s.boID, "PUT /users/me/likes/groups?ql=",
	)
	// What is only read needs the permission for its path alone.
	s.may("GET /users/me/likes/users/ana/permissions", "GET /users/me/likes/groups/bosses/roles", "GET /users/me/likes/roles/tested/users")
	// Of himself he may change through a path what he may change directly.
	if a := s.ana.ok("PUT", "/users/me/likes/users/me", `{"city":"Lugo"}`); a.Entity()["city"] != "Lugo" {
		t.Errorf("%s", a.Body)
	}
	// No body says what a user may do.
	s.ana.ok("PUT", "/users/me", `{"activated":false,"confirmed":true,"disabled":true,"deactivated":1,"uuid":"x","roles":["admin"],"rolenames":{"admin":{}},"permissions":["/**"],"metadata":{"sets":{}},"password":"evil-evil-1","pin":"1"}`)
	if a := s.admin.ok("GET", "/users/ana", ""); a.Entity()["activated"] != true || a.Entity()["disabled"] != nil || a.Entity()["confirmed"] != nil || a.Entity()["deactivated"] != nil || strings.Contains(a.Body, "evil") {
		t.Errorf("%s", a.Body)
	}
	s.mayNot(raise[:len(raise)-3]...)
	s.guest.login("/acme/shop", "ana", "sunny-day-1")
	// With the permission it is granted.
	s.grant("post:/users/me/roles/*")
	s.ana.ok("POST", "/users/me/roles/admin", "")
	s.may("GET /items", "PUT /users/bo")
}

// TestChangesCountAtOnce: on the next request of whomever they concern.
func TestChangesCountAtOnce(t *testing.T) {
	s := newStrict(t)
	s.admin.ok("POST", "/groups", `{"path":"readers"}`)
	s.admin.ok("POST", "/roles", `{"name":"reader"}`)
	for _, c := range []struct{ give, body, take string }{
		{"POST /users/ana/permissions", `{"permission":"get:/items"}`, "DELETE /users/ana/permissions?permission=get:/items"},
		{"POST /roles/tested/permissions", `{"permission":"get:/items"}`, "DELETE /roles/tested/permissions?permission=get:/items"},
	} {
		s.mayNot("GET /items")
		method, path, _ := strings.Cut(c.give, " ")
		s.admin.ok(method, path, c.body)
		s.may("GET /items")
		s.mayNot("POST /items")
		method, path, _ = strings.Cut(c.take, " ")
		s.admin.ok(method, path, "")
	}
	s.admin.ok("POST", "/roles/reader/permissions", `{"permission":"get:/items"}`)
	s.mayNot("GET /items")
	s.admin.ok("POST", "/users/ana/roles/reader", "")
	s.may("GET /items")
	s.admin.ok("DELETE", "/roles/reader/users/ana", "")
	s.mayNot("GET /items")
	s.admin.ok("POST", "/groups/readers/users/ana", "")
	s.mayNot("GET /items")
	s.admin.ok("POST", "/groups/readers/roles/reader", "")
	s.may("GET /items")
	s.admin.ok("DELETE", "/users/ana/groups/readers", "")
	s.mayNot("GET /items")
	s.admin.ok("POST", "/users/ana/groups/readers", "")
	s.admin.ok("DELETE", "/groups/readers/rolenames/reader", "")
	s.mayNot("GET /items")
	s.admin.ok("POST", "/groups/readers/permissions", `{"permission":"get:/items"}`) // a group's own
	s.may("GET /items")
	s.admin.ok("DELETE", "/groups/readers", "")
	s.mayNot("GET /items")
	s.admin.ok("POST", "/users/ana/roles/reader", "")
	s.may("GET /items")
	s.admin.ok("DELETE", "/roles/reader", "")
	s.mayNot("GET /items")
	s.admin.ok("POST", "/roles", `{"name":"reader"}`) // another, of the same name
	s.mayNot("GET /items")
	s.admin.ok("POST", "/roles", `{"name":"default"}`)
	s.admin.ok("POST", "/roles/default/permissions", `{"permission":"get:/items"}`)
	s.may("GET /items")
	if a := s.bo.do("GET", "/items", ""); a.Status != 200 {
		t.Errorf("bo: %s", a.Body)
	}
	// Guests.
	s.guest.fails("GET", "/items", "", 401, "unauthorized")
	s.admin.ok("POST", "/roles/guest/permissions", `{"permission":"get:/items"}`)
	s.guest.ok("GET", "/items", "")
	s.admin.ok("DELETE", "/roles/guest", "")
	if a := s.guest.fails("POST", "/users", `{"username":"cy"}`, 401, "unauthorized"); a.Fields["error_description"] != "No application guest access authorized" {
		t.Errorf("no guests: %s", a.Body)
	}
}

// TestWithoutRoles is item 10 of spec auth-and-tokens section 14, and item 12.
func TestWithoutRoles(t *testing.T) {
	s := newStrict(t)
	s.grant()
	s.ana.ok("GET", "/users/me", "")
	s.ana.ok("GET", "/users/"+s.anaID, "")
	s.mayNot("GET /users", "GET /items", "GET /users/bo", "PUT /users/me", "DELETE /users/me", "GET /users/me/roles", "POST /items", "GET /", "GET /rolenames", "GET /hello")
	s.guest.fails("GET", "/users/me", "", 404, "service_resource_not_found")
	s.grant("get:/items")
	s.may("GET /items")
	app := fmt.Sprint(s.admin.ok("GET", "", "").Fields["application"])
	for path, want := range map[string]int{"/" + app + "/items": 200, "/" + app + "/users": 401, "/orgs/acme/apps/" + app + "/items": 200, "/acme/" + app + "/users": 401} {
		if a, err := s.ana.Do("GET", path, s.ana.token, ""); err != nil || a.Status != want {
			t.Errorf("%s: %v %d %s", path, err, a.Status, a.Body)
		}
	}
	if a, err := s.ana.Do("PUT", "/acme/shop/users/me/revoketokens", s.ana.token, ""); err != nil || a.Status != 200 {
		t.Errorf("revoke one's own: %v %s", err, a.Body)
	}
	s.ana.fails("GET", "/users/me", "", 401, "auth_invalid")
}
