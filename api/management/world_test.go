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
	return newWorldWith(t, apitest.Options{})
}

func newWorldWith(t *testing.T, opts apitest.Options) *world {
	t.Helper()
	w := beginWith(t, t.TempDir(), opts)
	w.super = w.login(apitest.SuperuserName, apitest.SuperuserPassword)
	w.acme, w.other = w.newOrg("acme"), w.newOrg("other")
	return w
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
