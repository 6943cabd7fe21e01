package management_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/directory"
)

// usable fails the test unless a token gets an admin user himself.
func (w *world) usable(token, path string) {
	w.t.Helper()
	w.ok(call{Path: path, Token: token})
}

// Item 1 of spec auth-and-tokens section 14: every way to ask for a token.
func TestEveryWayToSignIn(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"acmeowner", "ACMEOwner", "acme@example.org", "Acme@Example.ORG", w.acme.ownerID} {
		w.usable(w.login(name, password), "/management/users/acmeowner")
	}
	fields := object{"grant_type": "password", "username": "acmeowner", "password": password}
	form := encode("grant_type", "password", "username", "acmeowner", "password", password)
	text := fmt.Sprintf(`{"grant_type":"password","username":"acmeowner","password":%q}`, password)
	const formType = "application/x-www-form-urlencoded"
	for _, c := range []call{
		{Path: "/management/token?" + form},
		{Path: "/management/me?" + form},
		{Method: "POST", Path: "/management/token", Body: fields},
		{Method: "POST", Path: "/management/me", Body: fields},
		{Method: "POST", Path: "/management/token", Body: form, Type: formType},
		{Method: "POST", Path: "/management/me", Body: form, Type: formType},
		{Method: "POST", Path: "/management/token", Body: text, Type: formType},
		{Method: "POST", Path: "/management/token/", Body: text, Type: "text/plain"},
	} {
		a := w.ok(c)
		if n := a.Get("expires_in"); n != 604800.0 || len(a.Str("access_token")) != 63 {
			t.Errorf("%s %s: expires_in %v, token %q", c.Method, c.Path, n, a.Str("access_token"))
		}
		w.usable(a.Str("access_token"), "/management/users/me")
	}
	for _, body := range []object{
		{"grant_type": "password", "username": "lee", "password": "pw4lee"},
		{"grant_type": "password", "username": "LEE", "password": "pw4lee"},
		{"grant_type": "password", "email": "lee@example.org", "password": "pw4lee"},
		{"grant_type": "password", "username": "lee@example.org", "password": "pw4lee"},
		{"grant_type": "password", "username": w.acme.userID, "password": "pw4lee"},
	} {
		a := w.ok(call{Method: "POST", Path: "/acme/shop/token", Body: body})
		w.usable(a.Str("access_token"), "/acme/shop/users/me")
		if a.Str("user", "username") != "lee" || a.Str("user", "type") != "user" || a.Str("user", "uuid") != w.acme.userID {
			t.Errorf("user of the token: %s", a.Text)
		}
		if strings.Contains(a.Text, "password") || a.Get("token_type") != nil || a.Get("refresh_token") != nil {
			t.Errorf("reply says too much: %s", a.Text)
		}
	}
	w.usable(w.ok(call{Path: "/acme/shop/token?" + encode("grant_type", "password", "username", "lee", "password", "pw4lee")}).
		Str("access_token"), "/"+w.acme.appID+"/users/me")
}

// Items 2, 3: what a failure looks like, and what ttl does.
func TestTokenFailures(t *testing.T) {
	w := newWorld(t)
	for _, c := range []call{
		{Method: "POST", Path: "/management/token", Body: object{"grant_type": "password", "username": "acmeowner", "password": "wrong"}},
		{Method: "POST", Path: "/management/token", Body: object{"grant_type": "password", "username": "nobody", "password": password}},
		{Method: "POST", Path: "/management/token", Body: object{"grant_type": "password"}},
		{Method: "POST", Path: "/management/token", Body: object{"grant_type": "authorization_code", "code": "x"}},
		{Method: "POST", Path: "/management/token", Body: object{}},
		{Method: "POST", Path: "/acme/shop/token", Body: object{"grant_type": "password", "username": "lee", "password": "pw4LEE"}},
		{Method: "POST", Path: "/acme/shop/token", Body: object{"grant_type": "password", "username": "acmeowner", "password": password}},
		{Method: "POST", Path: "/management/token", Body: object{"grant_type": "password", "username": "lee", "password": "pw4lee"}},
		{Method: "POST", Path: "/other/shop/token", Body: object{"grant_type": "client_credentials", "client_id": id(w.acme.client), "client_secret": secret(w.acme.client)}},
		{Method: "POST", Path: "/other/shop/token", Body: object{"grant_type": "client_credentials", "client_id": id(w.acme.app), "client_secret": secret(w.acme.app)}},
		{Path: "/management/token"},
	} {
		a := w.refused("400 invalid_grant", c)
		if len(a.JSON) != 2 || a.Str("error_description") != "invalid username or password" || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v: %v %s", c.Body, a.Header, a.Text)
		}
	}
	a := w.refused("400 illegal_argument", call{Method: "POST", Path: "/management/token"})
	if a.Str("error_description") != "missing json post data" || a.Str("exception") == "" {
		t.Error(a.Text)
	}
	w.refused("400 json_parse", call{Method: "POST", Path: "/management/token", Body: `{"grant_type":`})
	w.refused("405 not_allowed", call{Method: "PUT", Path: "/management/token", Body: object{}})
	for ttl, want := range map[string]string{`"derp"`: "400 illegal_argument", `-1`: "400 illegal_argument", `9223372036854775807`: "400 illegal_argument",
		`604800001`: "400 illegal_argument", `1.5`: "400 illegal_argument", `604800000`: "200", `"2000"`: "200", `0`: "200"} {
		for _, path := range []string{"/management/token", "/acme/shop/token"} {
			user := object{"/management/token": `"username":"acmeowner","password":"` + password + `"`, "/acme/shop/token": `"username":"lee","password":"pw4lee"`}[path]
			a := w.do(call{Method: "POST", Path: path, Body: fmt.Sprintf(`{"grant_type":"password",%s,"ttl":%s}`, user, ttl)})
			if a.Error() != want {
				t.Errorf("ttl %s at %s: %s", ttl, path, a.Text)
			}
		}
	}
	w.refused("400 illegal_argument", call{Method: "POST", Path: "/management/token?ttl=604800001",
		Body: object{"grant_type": "client_credentials", "client_id": id(w.acme.client), "client_secret": secret(w.acme.client)}})
}

func id(client string) string     { a, _, _ := strings.Cut(client, ":"); return a }
func secret(client string) string { _, b, _ := strings.Cut(client, ":"); return b }

// A token ends at its expiry, to the clock of the server.
func TestTokensExpire(t *testing.T) {
	w := newWorld(t)
	a := w.ok(call{Method: "POST", Path: "/acme/shop/token", Body: object{"grant_type": "password", "username": "lee", "password": "pw4lee", "ttl": 300}})
	if n := a.Get("expires_in"); n != 0.0 {
		t.Errorf("expires_in %v", n)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		b := w.do(call{Path: "/acme/shop/users/me", Token: a.Str("access_token")})
		if b.Status == 200 && time.Now().Before(deadline) {
			continue // until the clock has gone on
		}
		if b.Error() != "401 expired_token" {
			t.Errorf("after its expiry: %s", b.Text)
		}
		return
	}
}

// Item 4, and accesstokenttl 0.
func TestAccessTokenTTL(t *testing.T) {
	w := newWorld(t)
	expires := func(body object) any {
		return w.ok(call{Method: "POST", Path: "/acme/shop/token", Body: body}).Get("expires_in")
	}
	lee := object{"grant_type": "password", "username": "lee", "password": "pw4lee"}
	client := object{"grant_type": "client_credentials", "client_id": id(w.acme.app), "client_secret": secret(w.acme.app)}
	for _, tc := range []struct {
		ttl  any
		want float64
	}{{"31536000000", 31536000}, {1800000, 1800}, {0, 630720000}} {
		w.ok(call{Method: "PUT", Path: "/acme/shop", Token: w.acme.owner, Body: object{"accesstokenttl": tc.ttl}})
		if got := expires(lee); got != tc.want {
			t.Errorf("accesstokenttl %v: expires_in %v", tc.ttl, got)
		}
		if got := expires(client); got != 604800.0 {
			t.Errorf("accesstokenttl %v: the client's token lasts %v", tc.ttl, got)
		}
	}
	w.usable(w.userToken("acme/shop", "lee", "pw4lee"), "/acme/shop/users/me") // an eternal one
	w.usable(w.acme.user, "/acme/shop/users/me")                               // from before
}

// Items 5, 6: client credentials in every place, at the token endpoints and on
// data.
func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct{ path, client string }{
		"org at management": {"/management/token", w.acme.client},
		"app at management": {"/management/token", w.acme.app},
		"org at app":        {"/acme/shop/token", w.acme.client},
		"app at app":        {"/acme/shop/token", w.acme.app},
	} {
		form := encode("grant_type", "client_credentials", "client_id", id(c.client), "client_secret", secret(c.client))
		for _, call := range []call{
			{Method: "POST", Path: c.path, Body: object{"grant_type": "client_credentials", "client_id": id(c.client), "client_secret": secret(c.client)}},
			{Method: "POST", Path: c.path, Body: form, Type: "application/x-www-form-urlencoded"},
			{Path: c.path + "?" + form},
			{Path: c.path + "?grant_type=client_credentials", Basic: c.client},
			{Method: "POST", Path: c.path, Basic: c.client, Body: object{"grant_type": "client_credentials"}},
		} {
			a := w.ok(call)
			w.usable(a.Str("access_token"), "/acme/shop/users")
			if strings.HasPrefix(name, "app") && a.Str("application") != w.acme.appID {
				t.Errorf("%s: %s", name, a.Text)
			}
			if strings.HasPrefix(name, "org") && (a.Str("organization", "name") != "acme" || a.Str("organization", "applications", "acme/shop") != w.acme.appID) {
				t.Errorf("%s: %s", name, a.Text)
			}
		}
		wrong := encode("grant_type", "client_credentials", "client_id", id(c.client), "client_secret", "YXA6nonsense")
		w.refused("401 invalid_client", call{Path: c.path + "?" + wrong})
		w.refused("401 auth_invalid_credentials", call{Path: c.path + "?grant_type=client_credentials", Basic: id(c.client) + ":x"})
		w.refused("400 invalid_grant", call{Method: "POST", Path: c.path, Body: wrong, Type: "application/x-www-form-urlencoded"})
		w.refused("400 invalid_grant", call{Method: "POST", Path: c.path,
			Body: object{"grant_type": "client_credentials", "client_id": id(c.client), "client_secret": "x"}})
		w.ok(call{Path: "/acme/shop/users", Basic: c.client})
		w.ok(call{Path: "/acme/shop/users?client_id=" + id(c.client) + "&client_secret=" + secret(c.client)})
		w.refused("401 invalid_client", call{Path: "/acme/shop/users?client_id=" + id(c.client) + "&client_secret=x"})
		w.refused("401 auth_invalid_credentials", call{Path: "/acme/shop/users", Basic: id(c.client) + ":"})
	}
	w.refused("401 auth_invalid_credentials", call{Path: "/acme/shop/users", Basic: "acmeowner:" + password})
	w.ok(call{Path: "/acme/shop/users", Basic: apitest.SuperuserName + ":" + apitest.SuperuserPassword})
	a := w.refused("401 unauthorized", call{Path: "/acme/shop/users", Basic: apitest.SuperuserName + ":wrong"})
	if a.Header.Get("WWW-Authenticate") != `Basic realm="Usergrid Authentication"` {
		t.Errorf("challenge %q", a.Header.Get("WWW-Authenticate"))
	}
}

// Item 7, and the other places a token is presented in.
func TestWhichCredentialDecides(t *testing.T) {
	w := newWorld(t)
	me := "/acme/shop/users/me"
	w.ok(call{Path: me + "?access_token=" + w.acme.user, Token: "garbage"})
	w.refused("401 auth_bad_access_token", call{Path: me + "?access_token=garbage", Token: w.acme.user})
	w.ok(call{Path: me + "?access_token=", Token: w.acme.user})
	w.refused("401 auth_bad_access_token", call{Path: "/management/token", Token: "x"})
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(w.acme.client))
	for header, want := range map[string]string{
		"bearer " + w.acme.user:           "200",
		"BEARER   " + w.acme.user:         "200",
		basic + ", Bearer " + w.acme.user: "200",
		"Digest x, Bearer " + w.acme.user: "200",
		"Bearer":                          "404 service_resource_not_found", // anonymous
		"Negotiate abc":                   "404 service_resource_not_found",
		"Basic !!!":                       "401 auth_invalid_credentials",
		"Basic " + base64.StdEncoding.EncodeToString([]byte("x")): "401 auth_invalid_credentials",
	} {
		w.refused(want, call{Path: me, Header: map[string]string{"Authorization": header}})
	}
	form := "application/x-www-form-urlencoded"
	w.ok(call{Method: "POST", Path: "/management/orgs/acme/credentials", Body: "access_token=" + w.acme.owner, Type: form})
	a := w.ok(call{Method: "POST", Path: "/management/orgs/acme/apps", Body: object{"name": "viabody", "access_token": w.acme.owner}})
	if strings.Contains(a.Text, w.acme.owner) {
		t.Error("the token is shown")
	}
	w.refused("401 unauthorized", call{Method: "POST", Path: "/management/orgs/acme/apps", Body: object{"name": "x"}, Header: map[string]string{"Bearer": w.acme.owner}})
}

// Item 8.
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	const user = "/acme/shop/users/lee"
	type step struct {
		how    call
		action string
	}
	kim := w.ok(call{Method: "POST", Path: "/acme/shop/users", Body: object{"username": "kim", "password": "pw4kim"}})
	kimToken := w.userToken("acme/shop", "kim", "pw4kim")
	for _, s := range []step{
		{call{Method: "PUT", Path: user + "/revoketoken?token=%s"}, "revoked user token"},
		{call{Method: "POST", Path: user + "/revoketoken", Body: `{"token":"%s"}`}, "revoked user token"},
		{call{Method: "POST", Path: "/acme/shop/user/me/revoketoken", Body: `{"token":"%s"}`, Token: "self"}, "revoked user token"},
		{call{Method: "PUT", Path: user + "/revoketokens", Token: "self"}, "revoked user tokens"},
		{call{Method: "POST", Path: "/acme/shop/users/" + w.acme.userID + "/revoketokens", Token: w.acme.owner}, "revoked user tokens"},
		{call{Method: "PUT", Path: "/acme/shop/users/me/revoketokens", Token: "self"}, "revoked user tokens"},
	} {
		one, two := w.userToken("acme/shop", "lee", "pw4lee"), w.userToken("acme/shop", "lee", "pw4lee")
		w.usable(one, "/acme/shop/users/me")
		w.usable(two, "/acme/shop/users/me")
		c := s.how
		c.Path = strings.Replace(c.Path, "%s", one, 1)
		if text, ok := c.Body.(string); ok {
			c.Body = strings.Replace(text, "%s", one, 1)
		}
		if c.Token == "self" {
			c.Token = two
		}
		if a := w.ok(c); a.Str("action") != s.action || strings.Contains(a.Text, "params") {
			t.Errorf("%s: %s", c.Path, a.Text)
		}
		w.refused("401 auth_invalid", call{Path: "/acme/shop/users/me", Token: one})
		want := "401 auth_invalid"
		if s.action == "revoked user token" {
			want = "200"
		}
		w.refused(want, call{Path: "/acme/shop/users/me", Token: two})
		if s.action == "revoked user token" && c.Token == "" {
			w.refused("401 unauthorized", c) // an unknown token proves nothing
			c.Token = w.acme.owner
			w.ok(c)
		}
	}
	w.refused("200", call{Path: "/acme/shop/users/me", Token: kimToken}) // nobody else is signed out
	w.refused("401 unauthorized", call{Method: "PUT", Path: user + "/revoketokens"})
	w.refused("401 unauthorized", call{Method: "PUT", Path: user + "/revoketoken?token=" + kimToken})
	w.refused("400 illegal_argument", call{Method: "PUT", Path: user + "/revoketoken?token=" + kimToken, Token: w.acme.owner})
	w.refused("400 illegal_argument", call{Method: "PUT", Path: user + "/revoketoken", Token: w.acme.owner})
	w.refused("404 service_resource_not_found", call{Method: "PUT", Path: "/acme/shop/users/nobody/revoketokens", Token: w.acme.owner})
	w.refused("401 unauthorized", call{Method: "PUT", Path: "/acme/shop/users/nobody/revoketokens"})
	w.refused("405 not_allowed", call{Path: user + "/revoketokens", Token: w.acme.owner})
	if kim.Str("entities", 0, "username") != "kim" {
		t.Error(kim.Text)
	}

	// In a sandbox guests hold put on everything: the Node SDK signs out bare.
	w.ok(call{Method: "POST", Path: "/acme/sandbox/users", Body: object{"username": "pat", "password": "pw4pat"}})
	pat := w.userToken("acme/sandbox", "pat", "pw4pat")
	w.ok(call{Method: "PUT", Path: "/acme/sandbox/users/pat/revoketokens"})
	w.refused("401 auth_invalid", call{Path: "/acme/sandbox/users/me", Token: pat})

	// Admin users.
	one, two := w.login("acmeowner", password), w.login("acmeowner", password)
	a := w.ok(call{Method: "PUT", Path: "/management/users/acmeowner/revoketoken?token=" + one})
	if a.Str("action") != "revoked user tokens" {
		t.Error(a.Text)
	}
	w.refused("401 auth_invalid", call{Path: "/management/me", Token: one})
	w.usable(two, "/management/me")
	w.refused("401 unauthorized", call{Method: "PUT", Path: "/management/users/acmeowner/revoketokens"})
	w.refused("401 unauthorized", call{Method: "POST", Path: "/management/users/acmeowner/revoketokens", Token: w.other.owner})
	w.refused("400 illegal_argument", call{Method: "PUT", Path: "/management/users/acmeowner/revoketoken?token=" + w.other.owner, Token: two})
	w.ok(call{Method: "POST", Path: "/management/users/me/revoketokens", Token: two})
	w.refused("401 auth_invalid", call{Path: "/management/me", Token: two})
	w.usable(w.login("acmeowner", password), "/management/me")
}

// A user who is gone, disabled or not activated is nobody at once.
func TestTokensOfUsersWhoAreNoMore(t *testing.T) {
	w := newWorld(t)
	lee := "/acme/shop/users/lee"
	w.usable(w.acme.user, "/acme/shop/users/me")
	w.ok(call{Method: "PUT", Path: lee, Token: w.acme.owner, Body: object{"disabled": true}})
	w.refused("401 authentication", call{Path: "/acme/shop/users/me", Token: w.acme.user})
	login := call{Method: "POST", Path: "/acme/shop/token", Body: object{"grant_type": "password", "username": "lee", "password": "pw4lee"}}
	if a := w.refused("400 invalid_grant", login); a.Str("error_description") != "user disabled" {
		t.Error(a.Text)
	}
	w.ok(call{Method: "PUT", Path: lee, Token: w.acme.owner, Body: object{"disabled": false, "activated": false}})
	if a := w.refused("400 invalid_grant", login); a.Str("error_description") != "user not activated" {
		t.Error(a.Text)
	}
	w.refused("400 invalid_grant", call{Path: lee + "/token", Token: w.acme.owner})
	w.ok(call{Method: "PUT", Path: lee, Token: w.acme.owner, Body: object{"activated": true}})
	w.usable(w.acme.user, "/acme/shop/users/me")
	w.ok(call{Method: "DELETE", Path: lee, Token: w.acme.owner})
	w.refused("401 auth_bad_access_token", call{Path: "/acme/shop/users/me", Token: w.acme.user})
	w.refused("400 invalid_grant", login)

	// Whoever gets his UUID later does not get his tokens.
	w.ok(call{Method: "PUT", Path: "/acme/shop/users/" + w.acme.userID, Token: w.acme.owner, Body: object{"username": "lee", "password": "pw5lee"}})
	w.refused("401 auth_invalid", call{Path: "/acme/shop/users/me", Token: w.acme.user})
	w.usable(w.userToken("/acme/shop", "lee", "pw5lee"), "/acme/shop/users/me")
}

// Anybody may register under a name that only looks like the superuser's, and
// is nobody special then.
func TestNobodyElseIsTheSuperuser(t *testing.T) {
	w := begin(t, t.TempDir(), func(c *directory.Config) { c.SuperuserName = "superuser" })
	for i, name := range []string{"SUPERUSER", " superuser ", "\u017fuperuser", "superu\u017fer", "superuser\u200b", "\uff53uperuser"} {
		a := w.do(call{Method: "POST", Path: "/management/users", Body: object{"username": name, "email": fmt.Sprint("a", i, "@example.org"), "password": password}})
		if a.Status != 200 {
			if a.Error() != "400 duplicate_unique_property_exists" {
				t.Errorf("%q: %s", name, a.Text)
			}
			continue
		}
		w.refused("401 unauthorized", call{Path: "/management/orgs", Token: w.login(name, password)})
		w.refused("401 unauthorized", call{Path: "/system/x", Token: w.login(name, password)})
	}
}

// Spec auth-and-tokens section 7: tokens on behalf.
func TestTokenOnBehalf(t *testing.T) {
	w := newWorld(t)
	for _, by := range []string{w.acme.owner, w.acme.clientToken, w.acme.appToken, w.super} {
		a := w.ok(call{Path: "/acme/shop/users/lee@example.org/token?ttl=5000", Token: by})
		if a.Get("expires_in") != 5.0 || a.Str("user", "username") != "lee" {
			t.Error(a.Text)
		}
		w.usable(a.Str("access_token"), "/acme/shop/users/me")
	}
	w.refused("404 service_resource_not_found", call{Path: "/acme/shop/users/nobody/token", Token: w.acme.owner})
	w.refused("400 illegal_argument", call{Path: "/acme/shop/users/lee/token?ttl=x", Token: w.acme.owner})
	if a := w.refused("403 unauthorized_client", call{Path: "/acme/shop/users/me/token", Token: w.acme.user}); a.Get("exception") != nil {
		t.Error(a.Text)
	}
}

// Items 9, 10, 12 as far as roles are built in.
func TestGuestsAndUsers(t *testing.T) {
	w := newWorld(t)
	shop := "/acme/shop"
	w.ok(call{Method: "POST", Path: shop + "/user", Body: object{"username": "guest1"}})
	w.ok(call{Method: "PUT", Path: shop + "/devices/2f9c0a4e-8b0c-11ee-b9d1-0242ac120002", Body: object{"a": 1}})
	for _, c := range []call{
		{Path: shop + "/users"}, {Path: shop + "/users/lee"}, {Path: shop + "/auth/facebook"}, {Method: "PUT", Path: shop + "/devices", Body: object{"a": 1}},
		{Method: "DELETE", Path: shop + "/devices/2f9c0a4e-8b0c-11ee-b9d1-0242ac120002"}, {Method: "POST", Path: shop + "/books", Body: object{"a": 1}},
		{Path: "/" + w.acme.id + "/" + w.acme.appID + "/users"},
	} {
		w.refused("401 unauthorized", c)
	}
	w.refused("404 service_resource_not_found", call{Path: shop + "/users/me"})
	w.refused("404 service_resource_not_found", call{Path: shop + "/users/me", Token: w.acme.owner})
	for _, c := range []call{
		{Path: "/acme/sandbox/users"}, {Method: "POST", Path: "/acme/sandbox/books", Body: object{"name": "x"}}, {Method: "DELETE", Path: "/acme/sandbox/books/x"},
	} {
		w.ok(c)
	}
	w.ok(call{Method: "POST", Path: shop + "/books", Token: w.acme.user, Body: object{"name": "dune"}})
	w.refused("401 unauthorized", call{Path: "/acme/sandbox/books", Token: w.acme.user})
	w.refused("401 unauthorized", call{Path: "/other/shop/users/me", Token: w.other.clientToken[:0] + w.acme.clientToken})
}

// /management/me (spec auth-and-tokens section 6.1).
func TestMe(t *testing.T) {
	w := newWorld(t)
	a := w.ok(call{Path: "/management/me", Token: w.acme.owner})
	left, _ := a.Get("expires_in").(float64)
	if a.Str("access_token") != w.acme.owner || left < 604000 || left > 604800 {
		t.Error(a.Text)
	}
	user, _ := a.Get("user").(object)
	acme, _ := a.Get("user", "organizations", "acme").(object)
	if user["username"] != "acmeowner" || acme["uuid"] != w.acme.id || acme["users"] != nil || a.Get("passwordChanged") == nil {
		t.Error(a.Text)
	}
	a = w.ok(call{Path: "/management/token?access_token=" + w.acme.owner})
	if a.Str("access_token") == w.acme.owner {
		t.Error("no fresh token")
	}
	super := w.ok(call{Path: "/management/token?access_token=" + url.QueryEscape(w.super)})
	if super.Str("user", "username") != apitest.SuperuserName || super.Str("user", "organizations", "acme", "uuid") != w.acme.id {
		t.Error(super.Text)
	}
	jsonp := w.do(call{Path: "/management/token?callback=f&grant_type=password&username=x&password=y"})
	if jsonp.Status != 400 || !strings.HasPrefix(jsonp.Text, `f({"error":"invalid_grant"`) || jsonp.Header.Get("Content-Type") != "application/javascript" {
		t.Errorf("%v %s", jsonp.Header, jsonp.Text)
	}
}

// Sixty wrong passwords are not answered sixty times, and disturb nobody else.
func TestLoginThrottle(t *testing.T) {
	w := newWorld(t)
	try := func(path, name, pw string) answer {
		return w.do(call{Method: "POST", Path: path, Body: object{"grant_type": "password", "username": name, "password": pw}})
	}
	throttled := func(name string) int {
		for i := range 60 {
			if a := try("/acme/shop/token", name, "wrong"); a.Status == 429 {
				if a.Header.Get("Retry-After") == "" || a.Str("error") != "too_many_requests" {
					t.Error(a.Text)
				}
				return i
			}
		}
		return 60
	}
	known := throttled("lee")
	if a := try("/acme/shop/token", "lee@example.org", "pw4lee"); a.Status != 429 { // while he has to wait
		t.Errorf("by another name: %s", a.Text)
	}
	if unknown := throttled("nobody"); known >= 60 || known != unknown {
		t.Errorf("throttled after %d wrong passwords of a user, %d of nobody", known, unknown)
	}
	if a := try("/other/shop/token", "lee", "pw4lee"); a.Status != 200 {
		t.Errorf("user of another application: %s", a.Text)
	}
	w.usable(w.acme.user, "/acme/shop/users/me")
}

// A full queue of sign-ins is answered, not waited for.
func TestSignInsAreBounded(t *testing.T) {
	w := begin(t, t.TempDir(), func(c *directory.Config) {
		c.BcryptCost, c.PasswordSlots, c.PasswordQueue = 10, 1, 1
	})
	var wg sync.WaitGroup
	results := make([]string, 24)
	for i := range results {
		wg.Go(func() {
			a, err := w.try(call{Method: "POST", Path: "/management/token",
				Body: object{"grant_type": "password", "username": fmt.Sprint("u", i), "password": "x"}})
			results[i] = a.Error()
			if err != nil {
				results[i] = err.Error()
			}
		})
	}
	wg.Wait()
	if !slices.Contains(results, "503 overloaded") || !slices.Contains(results, "400 invalid_grant") {
		t.Errorf("%v", results)
	}
	for _, r := range results {
		if r != "503 overloaded" && r != "400 invalid_grant" {
			t.Errorf("%v", results)
		}
	}
}
