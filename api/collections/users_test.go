package collections_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
)

// login signs an app user in and returns his token, empty if refused.
func (r *rest) login(app, user, password string) string {
	r.Helper()
	a, err := r.Do("POST", app+"/token", "", fmt.Sprintf(`{"grant_type":"password","username":%q,"password":%q}`, user, password))
	if err != nil {
		r.Fatal(err)
	}
	token, _ := a.Fields["access_token"].(string)
	return token
}

func TestUserCreate(t *testing.T) {
	r := newRest(t)
	a := r.ok("POST", "/user", `{"username":"Ana","email":"MyEmailAddress@example.com","name":"Ana Ruiz","password":"sunny-day-9","pin":"1234","city":"Lugo","activated":false,"confirmed":true,"disabled":true,"uuid":"x"}`)
	e := a.Entity()
	id := fmt.Sprint(e["uuid"])
	r.wantProps(e, `{"activated":true,"city":"Lugo","email":"MyEmailAddress@example.com","name":"Ana Ruiz","picture":"http://www.gravatar.com/avatar/0bc83cb571cd1c50ba6f3e8a78ef1346","username":"Ana"}`)
	if a.Fields["path"] != "/users" || e["type"] != "user" || strings.Contains(a.Body, "sunny") || strings.Contains(a.Body, "1234") {
		t.Errorf("%s", a.Body)
	}
	metadata := fmt.Sprint(e["metadata"])
	for _, part := range []string{"path:/users/" + id, "rolenames:/users/" + id + "/roles", "permissions:/users/" + id + "/permissions", "following:/users/" + id + "/following",
		"devices:/users/" + id + "/devices", "activities:", "feed:", "groups:", "followers:", "roles:"} {
		if !strings.Contains(metadata, part) {
			t.Errorf("no %s in %s", part, metadata)
		}
	}
	if r.login(r.App, "ana", "sunny-day-9") == "" || r.login(r.App, "ana", "wrong") != "" {
		t.Error("the password is not the one of the body")
	}
	for _, path := range []string{"/users/ana", "/user/ANA", "/users/" + id, "/users/myemailaddress@example.COM", "/users/ana?force=name", "/users/myemailaddress@example.com?force=email"} {
		if got := r.ok("GET", path, "").Entity()["uuid"]; got != id {
			t.Errorf("%s: %v", path, got)
		}
	}
	r.ok("POST", "/users", `{"username":"digits","password":90210}`)
	if r.login(r.App, "digits", "90210") == "" {
		t.Error("a password sent as a number is not its digits")
	}
	r.ok("DELETE", "/users/digits", "")
	r.fails("GET", "/users/ana?force=email", "", 404, "service_resource_not_found")
	r.fails("POST", "/users", `{"email":"x@example.test"}`, 400, "required_property_not_found")
	r.fails("POST", "/users", `{"username":"  "}`, 400, "required_property_not_found")
	r.fails("POST", "/users", `{"username":"ME"}`, 400, "illegal_argument")
	r.fails("POST", "/users", `{"username":"ANA"}`, 400, "duplicate_unique_property_exists")
	r.fails("POST", "/users", `{"username":"other","email":"myemailaddress@EXAMPLE.com"}`, 400, "duplicate_unique_property_exists")
	if a := r.do("POST", "/users", `{"username":"short","password":"abc"}`); a.Status != 400 || a.Code() != "error_password_policy_violation" || !strings.Contains(a.Body, "error_length_policy") {
		t.Errorf("short password: %d %s", a.Status, a.Body)
	}
	r.fails("GET", "/users/short", "", 404, "service_resource_not_found") // nothing is stored
	// A name that is an address, found by name when no address is.
	r.ok("POST", "/users", `{"username":"bo@example.test"}`)
	if got := r.ok("GET", "/users/bo@example.test", "").Entity()["username"]; got != "bo@example.test" {
		t.Errorf("%v", got)
	}
	if a := r.ok("POST", "/users", `{"username":"pic","email":"p@example.test","picture":"http://x/y"}`); a.Entity()["picture"] != "http://x/y" {
		t.Errorf("picture: %s", a.Body)
	}
	if a := r.ok("POST", "/users", `[{"username":"b1","password":"sunny"},{"email":"x@example.test"},{"username":"ana"},{"username":"b2"}]`); len(a.Entities()) != 2 || a.Entity()["activated"] != true {
		t.Errorf("batch: %s", a.Body)
	}
	if r.login(r.App, "b1", "sunny") == "" {
		t.Error("a password of a batch is not stored")
	}
	if a := r.ok("GET", "/users?limit=100", ""); number(a.Fields["count"]) != 5 || a.Fields["path"] != "/users" {
		t.Errorf("list: %s", a.Body)
	}
}

// TestRegistration: users of an application that wants to see them first are
// not active, whatever they say, until an administrator makes them so.
func TestRegistration(t *testing.T) {
	r := newRest(t)
	admin := r.as(r.Admin)
	for i, condition := range []string{"registration_requires_email_confirmation", "registration_requires_admin_approval"} {
		user := fmt.Sprint("ana", i)
		r.ok("PUT", "", `{"`+condition+`":true}`)
		for _, e := range []map[string]any{
			r.ok("POST", "/users", `{"username":"`+user+`","password":"sunny-day","activated":true}`).Entity(),
			r.ok("PUT", "/users/put-"+user, `{"password":"sunny-day"}`).Entity(),
			r.ok("POST", "/users", `[{"username":"batch-`+user+`"}]`).Entity(),
		} {
			if e["activated"] != false {
				t.Errorf("%s: %v", condition, e)
			}
		}
		if r.login(r.App, user, "sunny-day") != "" {
			t.Errorf("%s: signed in before activation", condition)
		}
		admin.ok("PUT", "/users/"+user, `{"deactivated":1700000000000}`)
		if e := admin.ok("PUT", "/users/"+user, `{"activated":true}`).Entity(); e["activated"] != true || e["deactivated"] != nil {
			t.Errorf("%s: after activation: %v", condition, e)
		}
		if r.login(r.App, user, "sunny-day") == "" {
			t.Errorf("%s: cannot sign in after activation", condition)
		}
		r.ok("PUT", "", `{"`+condition+`":null}`)
	}
	if e := r.ok("POST", "/users", `{"username":"bo"}`).Entity(); e["activated"] != true {
		t.Errorf("without conditions: %v", e)
	}
}

// TestLegacyApproval: on request the approval of an administrator alone keeps nobody out,
// which is how Usergrid has it; a confirmation still does.
func TestLegacyApproval(t *testing.T) {
	s, err := apitest.OpenWith(t.TempDir(), apitest.Options{LegacyApproval: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rest{T: t, Server: s}
	r.ok("PUT", "", `{"registration_requires_admin_approval":true}`)
	if e := r.ok("POST", "/users", `{"username":"ana","password":"sunny-day"}`).Entity(); e["activated"] != true || r.login(r.App, "ana", "sunny-day") == "" {
		t.Errorf("%v", e)
	}
	r.ok("PUT", "", `{"registration_requires_email_confirmation":true}`)
	if e := r.ok("POST", "/users", `{"username":"bo"}`).Entity(); e["activated"] != false {
		t.Errorf("%v", e)
	}
	// An address that is to be confirmed has to be one.
	r.fails("POST", "/users", `{"username":"cy","email":"cy at home"}`, 400, "illegal_argument")
	r.ok("PUT", "", `{"registration_requires_email_confirmation":false}`)
	r.ok("POST", "/users", `{"username":"cy","email":"cy at home"}`)
}

func TestUserUpdateAndDelete(t *testing.T) {
	r := newRest(t)
	e := r.ok("POST", "/users", `{"username":"ana","email":"a@example.test","password":"sunny-day"}`).Entity()
	id := fmt.Sprint(e["uuid"])
	a := r.ok("PUT", "/users/ana", `{"city":"Lugo","password":"hijack","pin":"9","oldpassword":"x","newpassword":"y","metadata":{},"activated":false,"disabled":true,"username":null}`)
	r.wantProps(a.Entity(), fmt.Sprintf(`{"activated":true,"city":"Lugo","email":"a@example.test","picture":"%s","username":"ana"}`, e["picture"]))
	if r.login(r.App, "ana", "sunny-day") == "" {
		t.Error("PUT changed the password or the standing")
	}
	if a := r.as(r.Admin).ok("PUT", "/users/ana", `{"disabled":true}`); a.Entity()["disabled"] != true {
		t.Errorf("disabled by an administrator: %s", a.Body)
	}
	if r.login(r.App, "ana", "sunny-day") != "" {
		t.Error("a disabled user signs in")
	}
	r.as(r.Admin).ok("PUT", "/users/ana", `{"disabled":false}`)
	r.fails("PUT", "/users/ana", `{"username":"Me"}`, 400, "illegal_argument")
	r.ok("POST", "/users", `{"username":"bo","email":"b@example.test"}`)
	r.fails("PUT", "/users/ana", `{"username":"BO"}`, 400, "duplicate_unique_property_exists")
	r.fails("PUT", "/users/ana", `{"email":"B@example.test"}`, 400, "duplicate_unique_property_exists")
	r.ok("PUT", "/users/a@example.test", `{"username":"anna"}`)
	r.fails("GET", "/users/ana", "", 404, "service_resource_not_found")
	// Unknown users are created by the rules of registration.
	if a := r.ok("PUT", "/users/cy", `{"email":"c@example.test","password":"sunny-cy"}`); a.Entity()["username"] != "cy" || a.Entity()["activated"] != true || a.Entity()["picture"] == nil {
		t.Errorf("created by PUT: %s", a.Body)
	}
	if r.login(r.App, "cy", "sunny-cy") == "" {
		t.Error("user created by PUT cannot sign in")
	}
	const other = "9b2f9a53-5f4e-4f0e-9d6e-2f1f5e1c8f10"
	r.fails("PUT", "/users/"+other, `{"city":"x"}`, 400, "required_property_not_found")
	if a := r.ok("PUT", "/users/"+other, `{"username":"dee"}`); a.Entity()["uuid"] != other {
		t.Errorf("created by UUID: %s", a.Body)
	}
	token := r.login(r.App, "anna", "sunny-day")
	if a := r.as(token).ok("GET", "/users/me", ""); a.Entity()["uuid"] != id {
		t.Errorf("me: %s", a.Body)
	}
	if a := r.ok("DELETE", "/users/anna", ""); a.Entity()["uuid"] != id {
		t.Errorf("deleted: %s", a.Body)
	}
	r.as(token).fails("GET", "/users/me", "", 401, "auth_bad_access_token")
	if r.login(r.App, "anna", "sunny-day") != "" {
		t.Error("a deleted user signs in")
	}
	r.ok("POST", "/users", `{"username":"anna","email":"a@example.test"}`)
	if r.login(r.App, "anna", "sunny-day") != "" {
		t.Error("a new user has the password of the one before")
	}
}

func TestMe(t *testing.T) {
	r := newRest(t)
	for _, token := range []string{"", r.Admin} {
		r.as(token).fails("GET", "/users/me", "", 404, "service_resource_not_found")
	}
	r.fails("PUT", "/users/me", `{"a":1}`, 404, "service_resource_not_found")
	r.fails("DELETE", "/users/me", "", 404, "service_resource_not_found")
	r.ok("POST", "/users", `{"username":"ana","password":"sunny-day"}`)
	me := r.as(r.login(r.App, "ana", "sunny-day"))
	if a := me.ok("PUT", "/users/me", `{"city":"Lugo"}`); a.Entity()["city"] != "Lugo" || a.Entity()["username"] != "ana" {
		t.Errorf("PUT me: %s", a.Body)
	}
	if a := me.ok("GET", "/user/ME", ""); a.Entity()["city"] != "Lugo" {
		t.Errorf("GET me: %s", a.Body)
	}
	me.ok("DELETE", "/users/me", "")
}

func TestPassword(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/users", `{"username":"ana","email":"a@example.test","password":"sunny-day-1"}`)
	set := func(token, method, user, body string, status int, code string) {
		t.Helper()
		a, err := r.Do(method, r.App+"/users/"+user+"/password", token, body)
		if err != nil || a.Status != status || a.Code() != code {
			t.Errorf("%s %s %s: %v %d %s, want %d %s", method, user, body, err, a.Status, a.Body, status, code)
		}
		if status == 200 && (a.Fields["action"] != "set user password" || len(a.Fields) != 3) {
			t.Errorf("%s", a.Body)
		}
	}
	set("", "PUT", "ana", `{"oldpassword":"sunny-day-1","newpassword":"rainy-day-2"}`, 200, "")
	set("", "POST", "a@example.test", `{"password":"rainy-day-2","newpassword":"windy-day-3"}`, 200, "")
	set("", "PUT", "ana", `{"password":"windy-day-3","oldpassword":"wrong","newpassword":"windy-day-4"}`, 400, "auth_invalid_username_or_password")
	set("", "PUT", "ana", `{"oldpassword":"windy-day-3"}`, 400, "illegal_argument")
	set("", "PUT", "ana", `{"newpassword":"windy-day-4"}`, 400, "illegal_argument")
	set("", "PUT", "ana", `{"oldpassword":"windy-day-3","newpassword":"abc"}`, 400, "error_password_policy_violation")
	set("", "PUT", "nobody", `{"oldpassword":"x-x-x-x","newpassword":"windy-day-4"}`, 400, "auth_invalid_username_or_password")
	if r.login(r.App, "ana", "windy-day-3") == "" {
		t.Error("the password is not the last one set")
	}
	set(r.Admin, "PUT", "ana", `{"newpassword":"admin-made-5"}`, 200, "")
	set(r.Admin, "PUT", "nobody", `{"newpassword":"admin-made-5"}`, 404, "service_resource_not_found")
	set("", "PUT", "me", `{"oldpassword":"x","newpassword":"windy-day-4"}`, 404, "service_resource_not_found")
	token := r.login(r.App, "ana", "admin-made-5")
	set(token, "PUT", "me", `{"newpassword":"mine-now-6"}`, 400, "illegal_argument")
	set(token, "PUT", "me", `{"oldpassword":"admin-made-5","newpassword":"mine-now-6"}`, 200, "")
	if r.login(r.App, "ana", "mine-now-6") == "" {
		t.Error("the password of me is not set")
	}
}

// TestStandingIsNotTheUsersToSay names properties in every way that is the same
// property where it is stored.
func TestStandingIsNotTheUsersToSay(t *testing.T) {
	r := newRest(t)
	r.ok("POST", "/users", `{"username":"ana","password":"sunny-day-1"}`)
	r.ok("POST", "/users", `{"username":"ben","password":"sunny-day-1"}`)
	if a, err := r.Do("PUT", r.App+"/users/ben", r.Admin, `{"disabled":true}`); err != nil || a.Entity()["disabled"] != true {
		t.Fatalf("%v %s", err, a.Body)
	}
	token := r.login(r.App, "ana", "sunny-day-1")
	many := `"x":1`
	for i := range 20 {
		many += fmt.Sprintf(`,"x%d":1`, i)
	}
	for _, spelling := range []string{"disabled", "Disabled", "d\u0130sabled", "di\u017fabled", "dİſabled"} {
		for _, rest := range []string{`"x":1`, many} {
			a, err := r.Do("PUT", r.App+"/users/ben", token, `{`+rest+`,"`+spelling+`":false}`)
			if err != nil || a.Status != 200 || a.Entity()["disabled"] != true {
				t.Errorf("%s: %v %d %s", spelling, err, a.Status, a.Body)
			}
		}
	}
	if a, err := r.Do("POST", r.App+"/token", "", `{"grant_type":"password","username":"ben","password":"sunny-day-1"}`); err != nil || a.Code() != "invalid_grant" {
		t.Errorf("a disabled user: %v %s", err, a.Body)
	}
}

// TestAccess walks callers through an application that is not open.
func TestAccess(t *testing.T) {
	r := newRest(t)
	if a, err := r.Do("POST", "/management/orgs/acme/apps", r.Admin, `{"name":"shop"}`); err != nil || a.Status != 200 {
		t.Fatalf("%v %s", err, a.Body)
	}
	r.App = "/acme/shop"
	admin, guest := r.as(r.Admin), r
	admin.ok("POST", "/items", `{"name":"milk"}`)
	guest.ok("POST", "/users", `{"username":"ana","password":"sunny-day"}`)
	guest.ok("POST", "/user", `{"username":"bo","password":"sunny-bo"}`)
	guest.ok("POST", "/devices", `{"name":"phone"}`)
	guest.ok("PUT", "/device/phone", `{"badge":1}`)
	for _, request := range []string{
		"GET ", "PUT ", "GET /items", "GET /items/milk", "GET /items/none", "POST /items", "PUT /items/milk", "DELETE /items/milk", "DELETE /items", "GET /users", "GET /users/ana",
		"PUT /users/ana", "DELETE /users/ana", "POST /users/ana", "GET /devices", "PUT /devices", "PUT /devices?ql=", "DELETE /devices/phone", "GET /groups", "GET /items?ql=a", "PUT /users/me",
		"GET /items/milk/likes", "GET /hello", "GET /entities", "GET /rolenames", "GET /users/ana/feed", "DELETE /users/ana/activate",
	} {
		method, path, _ := strings.Cut(request, " ")
		guest.fails(method, path, "", 401, "unauthorized")
	}
	// What links in mails lead to is open to everybody.
	for request, want := range map[string]string{
		"GET /users/resetpw": "200 ", "POST /users/resetpw": "400 illegal_argument", "GET /users/ana/resetpw?token=t": "200 ", "POST /user/ana/resetpw": "200 ",
		"GET /users/ana/activate?token=t": "400 illegal_argument", "GET /users/ana/confirm": "400 illegal_argument", "GET /users/none/reactivate": "404 service_resource_not_found",
	} {
		method, path, _ := strings.Cut(request, " ")
		if a := guest.do(method, path, ""); fmt.Sprint(a.Status, " ", a.Code()) != want {
			t.Errorf("%s: %d %s, want %s", request, a.Status, a.Body, want)
		}
	}
	guest.fails("DELETE", "", "", 405, "unsupported_rest_operation")
	guest.fails("GET", "/users/me", "", 404, "service_resource_not_found")
	ana := r.as(r.login("/acme/shop", "ana", "sunny-day"))
	ana.ok("GET", "/items/milk", "")
	ana.ok("PUT", "/users/me", `{"city":"Lugo"}`)
	ana.ok("GET", "/users/bo", "")
	// Of the sandbox she is nobody, although it is open to guests.
	r.App = "/acme/sandbox"
	ana.fails("GET", "/items", "", 401, "unauthorized")
	ana.fails("GET", "/users/me", "", 404, "service_resource_not_found")
	// The admin of another organisation.
	if a, err := r.Do("POST", "/management/orgs", "", `{"organization":"evil","username":"eve","name":"Eve","email":"eve@example.test","password":"eve-secret"}`); err != nil || a.Status != 200 {
		t.Fatalf("%v %s", err, a.Body)
	}
	a, err := r.Do("POST", "/management/token", "", `{"grant_type":"password","username":"eve","password":"eve-secret"}`)
	if err != nil {
		t.Fatal(err)
	}
	eve := r.as(fmt.Sprint(a.Fields["access_token"]))
	for _, app := range []string{"/acme/shop", "/acme/sandbox"} {
		r.App = app
		eve.fails("GET", "/items", "", 401, "unauthorized")
		eve.fails("PUT", "/users/ana/password", `{"newpassword":"evil-evil"}`, 401, "unauthorized")
		eve.fails("DELETE", "/users/ana", "", 401, "unauthorized")
	}
}
