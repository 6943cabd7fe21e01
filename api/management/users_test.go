package management_test

import (
	"fmt"
	"strings"
	"testing"
)

// condition sets a property of the application shop.
func (w *world) condition(properties object) {
	w.t.Helper()
	w.ok(call{Method: "PUT", Path: "/acme/shop", Token: w.acme.owner, Body: properties})
}

func (w *world) registerUser(name string) answer {
	w.t.Helper()
	a := w.ok(call{Method: "POST", Path: "/acme/shop/users", Body: object{"username": name, "name": name, "email": name + "@example.org", "password": password}})
	if a.Get("entities", 0, "activated") != false {
		w.t.Error(a.Text)
	}
	return a
}

func signInUser(name string) call {
	return call{Method: "POST", Path: "/acme/shop/token", Body: object{"grant_type": "password", "username": name, "password": password}}
}

// Spec users-groups-roles section 1.9.
func TestConfirmationOfUsers(t *testing.T) {
	w := newWorld(t)
	w.condition(object{"registration_requires_email_confirmation": true})
	made := w.registerUser("kim")
	id := made.Str("entities", 0, "uuid")
	m := w.Mails.Take(t, "user-confirmation", "kim@example.org")
	if !strings.HasPrefix(m.Link, w.URL+"/acme/shop/users/"+id+"/confirm?token=ZW0t") {
		t.Errorf("%+v", m)
	}
	w.refused(grant, signInUser("kim"))
	token := tokenIn(m)
	w.refused("401 auth_invalid", call{Path: "/acme/shop/users/me", Token: token})
	for _, path := range []string{
		"/acme/shop/users/lee/confirm?token=" + token, "/acme/shop/users/kim/activate?token=" + token, "/other/shop/users/lee/confirm?token=" + token,
		"/acme/shop/users/kim/confirm?token=" + token[:50] + "xx",
	} {
		w.refused(arg, call{Path: path})
	}
	w.refused(missing, call{Path: "/acme/shop/users/nobody/confirm?token=" + token})
	for range 2 {
		if a := w.ok(call{Path: w.pathOf(m.Link)}); a.Str("action") != "confirm user" {
			t.Error(a.Text)
		}
	}
	if m := w.Mails.Take(t, "user-activated", "kim@example.org"); m.Link != "" {
		t.Errorf("%+v", m)
	}
	kim := w.ok(signInUser("kim")).Str("access_token")
	if a := w.ok(call{Path: "/acme/shop/users/me", Token: kim}); a.Get("entities", 0, "confirmed") != true || a.Get("entities", 0, "activated") != true {
		t.Error(a.Text)
	}
	// Who was put out of service comes back by no link.
	w.ok(call{Method: "POST", Path: "/acme/shop/users/kim/deactivate", Token: w.acme.owner})
	w.refused(arg, call{Path: w.pathOf(m.Link)})
	w.ok(call{Path: "/acme/shop/users/kim/reactivate"})
	w.refused(grant, signInUser("kim"))
	w.ok(call{Method: "PUT", Path: "/acme/shop/users/kim", Token: w.acme.owner, Body: object{"activated": true}})
	w.ok(signInUser("kim"))

	// However a user is made, and again if he asks.
	w.ok(call{Method: "POST", Path: "/acme/shop/users", Token: w.acme.owner, Body: []object{
		{"username": "a", "email": "a@example.org", "password": password}, {"username": "a", "email": "twice@example.org"}, {"username": "b", "email": "b@example.org"}}})
	w.ok(call{Method: "PUT", Path: "/acme/shop/users/c", Token: w.acme.owner, Body: object{"email": "c@example.org"}})
	w.ok(call{Method: "PUT", Path: "/acme/shop/users/c", Token: w.acme.owner, Body: object{"city": "Oslo"}})
	w.ok(call{Method: "POST", Path: "/acme/shop/groups", Token: w.acme.owner, Body: object{"path": "g"}})
	w.ok(call{Method: "POST", Path: "/acme/shop/groups/g/users", Token: w.acme.owner, Body: object{"username": "d", "email": "d@example.org"}})
	w.ok(call{Method: "POST", Path: "/acme/shop/users", Token: w.acme.owner, Body: object{"username": "nomail"}})
	for _, name := range []string{"a", "b", "c", "d"} {
		w.Mails.Take(t, "user-confirmation", name+"@example.org")
	}
	w.ok(call{Path: "/acme/shop/users/a/reactivate"})
	again := w.Mails.Take(t, "user-confirmation", "a@example.org")
	w.ok(call{Path: w.pathOf(again.Link), Header: map[string]string{"Accept": "text/html"}})
	w.Mails.Take(t, "user-activated", "a@example.org")
	w.ok(signInUser("a"))
	w.refused("400 duplicate_unique_property_exists", call{Method: "POST", Path: "/acme/shop/users", Body: object{"username": "a", "email": "more@example.org"}})
	for _, m := range w.Mails.All() {
		t.Errorf("one more: %+v", m)
	}
}

func TestApprovalOfUsers(t *testing.T) {
	w := newWorld(t)
	w.ok(call{Method: "PUT", Path: "/management/orgs/acme/users/otherowner", Token: w.acme.owner})
	w.condition(object{"registration_requires_admin_approval": true, "registration_requires_email_confirmation": true, "notify_admin_of_new_users": true})
	w.registerUser("kim")
	confirm := w.Mails.Take(t, "user-confirmation", "kim@example.org")
	a := w.ok(call{Path: w.pathOf(confirm.Link)})
	if a.Str("status") != "confirmed_awaiting_activation" {
		t.Error(a.Text)
	}
	w.Mails.Take(t, "user-confirmed", "kim@example.org")
	w.refused(grant, signInUser("kim"))
	activate := w.Mails.Take(t, "admin-user-activation", "acme@example.org")
	w.Mails.Take(t, "admin-user-activation", "other@example.org")
	if !strings.Contains(activate.Subject, "kim@example.org") {
		t.Errorf("%+v", activate)
	}
	if a := w.ok(call{Path: w.pathOf(activate.Link)}); a.Str("action") != "activate user" {
		t.Error(a.Text)
	}
	w.Mails.Take(t, "user-activated", "kim@example.org")
	w.Mails.Take(t, "admin-user-activated", "acme@example.org")
	w.ok(signInUser("kim"))
	w.condition(object{"registration_requires_email_confirmation": false})
	w.registerUser("pat")
	w.ok(call{Path: w.pathOf(w.Mails.Take(t, "admin-user-activation", "acme@example.org").Link)})
	w.ok(signInUser("pat"))
}

// Spec users-groups-roles section 1.8.
func TestForgottenPasswordOfUser(t *testing.T) {
	w := newWorld(t)
	html := map[string]string{"Accept": "text/html"}
	form := w.ok(call{Path: "/acme/shop/users/resetpw"})
	if !strings.Contains(form.Text, `name="email"`) {
		t.Error(form.Text)
	}
	for _, who := range []string{"lee@example.org", "nobody"} {
		if a := w.ok(call{Method: "POST", Path: "/acme/shop/users/resetpw", Type: formType, Body: encode("email", who), Header: html}); !strings.Contains(a.Text, "instructions") {
			t.Error(a.Text)
		}
	}
	m := w.Mails.Take(t, "user-password-reset", "lee@example.org")
	path, _, _ := strings.Cut(w.pathOf(m.Link), "?")
	if path != "/acme/shop/users/"+w.acme.userID+"/resetpw" {
		t.Errorf("%+v", m)
	}
	if a := w.ok(call{Path: w.pathOf(m.Link)}); !strings.Contains(a.Text, `name="password1"`) {
		t.Error(a.Text)
	}
	// Lee of the other organisation is somebody else.
	w.refused(arg, call{Method: "POST", Path: "/other/shop/users/lee/resetpw", Body: object{"token": tokenIn(m), "password1": "next-one", "password2": "next-one"}})
	set := call{Method: "POST", Path: path, Type: formType, Body: encode("token", tokenIn(m), "password1", "next-one", "password2", "next-one"), Header: html}
	if a := w.ok(set); !strings.Contains(a.Text, "password set") {
		t.Error(a.Text)
	}
	if a := w.ok(set); !strings.Contains(a.Text, "invalid token") {
		t.Error(a.Text)
	}
	w.userToken("acme/shop", "lee", "next-one")
	w.userToken("other/shop", "lee", "pw4lee")
	w.usable(w.acme.user, "/acme/shop/users/me") // his tokens stay
}

// The grant pin (spec auth-and-tokens section 4.6).
func TestPins(t *testing.T) {
	w := newWorld(t)
	sign := func(who, pin string) call {
		return call{Method: "POST", Path: "/acme/shop/token", Body: object{"grant_type": "pin", "username": who, "pin": pin}}
	}
	w.refused(grant, sign("lee", ""))
	w.refused(grant, sign("lee", "1234"))
	w.ok(call{Method: "POST", Path: "/acme/shop/users/lee/setpin", Token: w.acme.owner, Body: object{"pin": "1234"}})
	a := w.ok(sign("LEE@example.org", "1234"))
	w.usable(a.Str("access_token"), "/acme/shop/users/me")
	for i := range 60 {
		if a := w.do(sign("lee", fmt.Sprint(i))); a.Status == 429 {
			return
		} else if a.Error() != grant {
			t.Fatal(a.Text)
		}
	}
	t.Error("as many tries as there are PINs")
}

// What is done is noted, once and without secrets.
func TestAudit(t *testing.T) {
	w := newWorld(t)
	w.ok(call{Method: "POST", Path: "/management/orgs/acme/apps", Token: w.acme.owner, Body: object{"name": "noted"}, Header: map[string]string{"X-Request-Id": "req-1"}})
	w.refused("409 application_already_exists", call{Method: "POST", Path: "/management/orgs/acme/apps", Token: w.acme.owner, Body: object{"name": "noted"}, Header: map[string]string{"X-Request-Id": "req-2"}})
	w.ok(call{Path: "/management/orgs/acme/apps", Token: w.acme.owner, Header: map[string]string{"X-Request-Id": "req-3"}})
	var lines []string
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, "management change") && strings.Contains(line, "request=req-") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 {
		t.Fatalf("%q", lines)
	}
	for _, fact := range []string{
		"request=req-1", `route=/management/orgs/{org}/apps`, "method=POST", `by="admin user"`, "caller=" + w.acme.ownerID, "username=acmeowner",
		"organization=acme", "application=acme/noted", "address=127.0.0.1", "level=INFO",
	} {
		if !strings.Contains(lines[0], fact) {
			t.Errorf("%s is not in %s", fact, lines[0])
		}
	}
}
