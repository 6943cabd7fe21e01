package management_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/storage/entity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, apitest.Leaks()...) }

// world is a server with two organisations, so that there is somebody else.
type world struct {
	*apitest.Server
	t     *testing.T
	log   *logged
	super string // token of the superuser
	acme  org
	other org
}

// org is an organisation "acme" with its owner "acmeowner", its sandbox, an
// application "shop" and in it a user "lee" with the password "pw4lee".
type org struct {
	name, id     string
	ownerID      string
	owner        string // token
	client       string // id:secret
	clientToken  string
	appID        string
	app          string // id:secret
	appToken     string
	userID, user string // uuid, token
}

const password = "s3same-open"

// ok makes a call that must succeed.
func (w *world) ok(c call) answer {
	w.t.Helper()
	a := w.do(c)
	if a.Status != 200 {
		w.t.Fatalf("%s %s: %d %s", c.Method, c.Path, a.Status, a.Text)
	}
	return a
}

// refused makes a call that must fail with "status code".
func (w *world) refused(want string, c call) answer {
	w.t.Helper()
	a := w.do(c)
	if a.Error() != want {
		w.t.Errorf("%s %s: %s, want %s\n%s", c.Method, c.Path, a.Error(), want, a.Text)
	}
	return a
}

type object = map[string]any

func (w *world) newOrg(name string) org {
	w.t.Helper()
	o := org{name: name}
	made := w.ok(call{Method: "POST", Path: "/management/orgs", Body: object{
		"organization": name, "username": name + "owner", "name": "Dana <Roe>", "email": name + "@example.org", "password": password, "company": "Acme",
	}})
	o.id, o.ownerID = made.Str("data", "organization", "uuid"), made.Str("data", "owner", "uuid")
	o.owner = w.login(name+"owner", password)
	credentials := func(path string) string {
		a := w.ok(call{Path: path, Token: o.owner})
		return a.Str("credentials", "client_id") + ":" + a.Str("credentials", "client_secret")
	}
	o.client = credentials("/management/orgs/" + name + "/credentials")
	o.appID = w.ok(call{Method: "POST", Path: "/management/orgs/" + name + "/apps", Token: o.owner, Body: object{"name": "shop"}}).
		Str("entities", 0, "uuid")
	o.app = credentials("/" + name + "/shop/credentials")
	o.clientToken = w.clientToken("/management/token", o.client)
	o.appToken = w.clientToken("/"+name+"/shop/token", o.app)
	o.userID = w.ok(call{Method: "POST", Path: "/" + name + "/shop/users", Body: object{
		"username": "lee", "name": "Lee", "email": "lee@example.org", "password": "pw4lee",
	}}).Str("entities", 0, "uuid")
	o.user = w.userToken(name+"/shop", "lee", "pw4lee")
	return o
}

func (w *world) login(username, pw string) string {
	w.t.Helper()
	return w.ok(call{Method: "POST", Path: "/management/token", Body: object{"grant_type": "password", "username": username, "password": pw}}).
		Str("access_token")
}

func (w *world) userToken(app, username, pw string) string {
	w.t.Helper()
	return w.ok(call{Method: "POST", Path: "/" + app + "/token", Body: object{"grant_type": "password", "username": username, "password": pw}}).
		Str("access_token")
}

func (w *world) clientToken(path, client string) string {
	w.t.Helper()
	id, secret, _ := strings.Cut(client, ":")
	return w.ok(call{Method: "POST", Path: path, Body: object{"grant_type": "client_credentials", "client_id": id, "client_secret": secret}}).
		Str("access_token")
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := begin(t, t.TempDir(), nil)
	w.super = w.login(apitest.SuperuserName, apitest.SuperuserPassword)
	w.acme, w.other = w.newOrg("acme"), w.newOrg("other")
	return w
}

// TestAccess is the access matrix of spec auth-and-tokens section 10, each
// route of this package with each kind of caller. The calls are chosen so that
// who is let in changes nothing the next row depends on.
func TestAccess(t *testing.T) {
	w := newWorld(t)
	revoked := w.userToken("acme/shop", "lee", "pw4lee")
	w.ok(call{Method: "PUT", Path: "/acme/shop/users/lee/revoketoken?token=" + revoked})
	callers := []struct{ name, token string }{
		{"anonymous", ""}, {"app user", w.acme.user}, {"app client", w.acme.appToken}, {"org client", w.acme.clientToken},
		{"member", w.acme.owner}, {"stranger", w.other.owner}, {"superuser", w.super},
		{"other app client", w.other.appToken}, {"other org client", w.other.clientToken}, {"other user", w.other.user}, {"revoked", revoked},
	}
	const (
		no  = "401 unauthorized"
		gon = "401 auth_invalid"
		yes = "200"
		off = "501 not_implemented"
		arg = "400 illegal_argument"
	)
	all := func(s string) []string { return []string{s, s, s, s, s, s, s, s, s, s, gon} }
	member := func(s string) []string { return []string{no, no, no, s, s, no, s, no, no, no, gon} }
	super := func(s string) []string { return []string{no, no, no, no, no, no, s, no, no, no, gon} }
	self := func(s string) []string { return []string{no, no, no, no, s, no, s, no, no, no, gon} }
	data := func(guest, user, foreign string) []string {
		return []string{guest, user, yes, yes, yes, no, yes, no, no, foreign, gon}
	}
	for _, tc := range []struct {
		method, path string
		body         any
		want         []string
	}{
		{"POST", "/management/orgs", object{}, all(arg)},
		{"GET", "/management/orgs", nil, super(yes)},
		{"GET", "/management/organizations?limit=1", nil, super(yes)},
		{"DELETE", "/management/orgs", nil, all("405 not_allowed")},
		{"GET", "/management/orgs/acme", nil, member(yes)},
		{"GET", "/management/orgs/ACME/", nil, member(yes)},
		{"GET", "/management/orgs/" + w.acme.id, nil, member(yes)},
		{"GET", "/management/orgs/nope", nil, all("400 management")},
		{"PUT", "/management/orgs/acme", object{}, member(off)},
		{"DELETE", "/management/orgs/acme", nil, all(off)},
		{"GET", "/management/orgs/acme/credentials", nil, member(yes)},
		{"DELETE", "/management/orgs/acme/credentials", nil, member("405 not_allowed")},
		{"GET", "/management/orgs/acme/apps", nil, member(yes)},
		{"GET", "/management/organizations/acme/applications", nil, member(yes)},
		{"POST", "/management/orgs/acme/apps", object{}, member(arg)},
		{"GET", "/management/orgs/acme/apps/shop", nil, member(yes)},
		{"GET", "/management/orgs/acme/apps/" + w.acme.appID, nil, member(yes)},
		{"GET", "/management/orgs/acme/apps/" + w.other.appID, nil, member("404 entity_not_found")},
		{"GET", "/management/orgs/acme/apps/nope", nil, member("404 entity_not_found")},
		{"DELETE", "/management/orgs/acme/apps/shop", nil, member(arg)},
		{"PUT", "/management/orgs/acme/apps/shop", nil, member(off)},
		{"GET", "/management/orgs/acme/apps/shop/credentials", nil, member(yes)},
		{"GET", "/management/orgs/acme/apps/shop/nope", nil, member("404 not_found")},
		{"GET", "/management/orgs/acme/users", nil, member(yes)},
		{"POST", "/management/orgs/acme/users", object{}, member(off)},
		{"GET", "/management/orgs/acme/users/acmeowner", nil, member(yes)},
		{"PUT", "/management/orgs/acme/users/acmeowner", object{}, member(off)},
		{"DELETE", "/management/orgs/acme/users/acmeowner", nil, member(off)},
		{"GET", "/management/orgs/acme/users/otherowner", nil, []string{no, no, no, "400 management", "400 management", no, "400 management", no, no, no, gon}},
		{"GET", "/management/orgs/acme/feed", nil, member(off)},
		{"GET", "/management/orgs/acme/config", nil, super(off)},
		{"GET", "/management/orgs/acme/nope", nil, all("404 not_found")},
		{"POST", "/management/users", object{}, all(arg)},
		{"GET", "/management/users", nil, all("405 not_allowed")},
		{"GET", "/management/users/acmeowner", nil, self(yes)},
		{"GET", "/management/users/ACME@example.org", nil, self(yes)},
		{"GET", "/management/users/" + w.acme.ownerID, nil, self(yes)},
		{"GET", "/management/users/nobody", nil, all("400 management")},
		{"GET", "/management/users/me", nil, []string{no, no, no, no, yes, yes, yes, no, no, no, gon}},
		{"PUT", "/management/users/acmeowner", object{}, self(off)},
		{"GET", "/management/users/acmeowner/feed", nil, self(off)},
		{"GET", "/management/users/acmeowner/organizations", nil, self(off)},
		{"PUT", "/management/users/acmeowner/revoketoken", nil, self(arg)},
		{"PUT", "/management/users/acmeowner/password", object{}, all(arg)},
		{"GET", "/apps", nil, super(yes)},
		{"GET", "/applications?deleted=true", nil, super(yes)},
		{"GET", "/system/database/setup", nil, super(off)},
		{"GET", "/acme/shop/credentials", nil, data(no, no, no)},
		{"GET", "/acme/sandbox/credentials", nil, []string{no, no, no, yes, yes, no, yes, no, no, no, gon}},
		{"GET", "/" + w.acme.appID + "/credentials", nil, data(no, no, no)},
		{"GET", "/acme/shop/users", nil, data(no, yes, no)},
		{"GET", "/acme/shop", nil, data(no, yes, no)},
		{"GET", "/acme/sandbox/users", nil, []string{yes, no, no, yes, yes, no, yes, no, no, no, gon}},
		{"GET", "/" + w.acme.id + "/" + w.acme.appID + "/users", nil, data(no, yes, no)},
		{"GET", "/acme/shop/users/lee/token", nil, data(no, "403 unauthorized_client", "403 unauthorized_client")},
		{"PUT", "/acme/shop/users/lee/revoketoken", nil, []string{no, arg, arg, arg, arg, no, arg, no, no, no, gon}},
		{"GET", "/acme/nope/users", nil, all("404 organization_application_not_found")},
		{"GET", "/nope/shop/users", nil, all("404 organization_application_not_found")},
		{"GET", "/00000000-0000-0000-0000-000000000001/users", nil, super(off)},
		{"GET", "/00000000-0000-0000-0000-000000000001/credentials", nil, super(off)},
		{"GET", "/management/nope", nil, all("404 not_found")},
		{"GET", "/management/token", nil, []string{"400 invalid_grant", "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", yes, yes, yes, "400 invalid_grant", "400 invalid_grant", "400 invalid_grant", gon}},
		{"GET", "/management/me", nil, []string{"400 invalid_grant", no, "400 invalid_grant", "400 invalid_grant", yes, yes, yes, "400 invalid_grant", "400 invalid_grant", no, gon}},
	} {
		for i, c := range callers {
			a := w.do(call{Method: tc.method, Path: tc.path, Token: c.token, Body: tc.body})
			if a.Error() != tc.want[i] {
				t.Errorf("%s %s as %s: %s, want %s\n%s", tc.method, tc.path, c.name, a.Error(), tc.want[i], a.Text)
			}
		}
	}
	if !strings.Contains(w.do(call{Path: "/system/x"}).Header.Get("WWW-Authenticate"), "Usergrid") {
		t.Error("no challenge for the superuser's endpoints")
	}
}

// A forged token names any application; no record is looked for.
func TestTokensOfNowhere(t *testing.T) {
	w := newWorld(t)
	key := auth.DeriveKey(w.Node.Cluster().Key, "token")
	for _, number := range []entity.AppID{0, 1, 9999} {
		_, text := auth.NewToken(key, number, 1_700_000_000_000, 0, [auth.TokenEntropy]byte{1})
		w.refused("401 auth_invalid", call{Path: "/acme/shop/users", Token: text})
	}
	w.refused("401 auth_bad_access_token", call{Path: "/management/token", Token: "x"})
	w.refused("401 auth_bad_access_token", call{Path: "/nope/nope", Token: "x"})
	w.refused("401 auth_invalid", call{Path: "/acme/shop/users", Token: "ZW0t" + strings.Repeat("A", 48)})
}
