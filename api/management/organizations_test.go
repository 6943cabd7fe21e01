package management_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/storage/entity"
)

// Item 1 of spec management section 11.
func TestCreateOrganization(t *testing.T) {
	w := begin(t, t.TempDir(), nil)
	form := func(name string) string {
		return encode("organization", name, "username", name, "email", name+"@example.org", "password", password)
	}
	const formType = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name string
		call call
	}{
		{"Json", call{Body: object{"organization": "Json", "username": "Json", "name": "J <b>", "email": "json@example.org", "password": password,
			"company": "Acme", "nested": object{"password": "x", "y": 1}, "properties": object{"plan": "gold", "passwordHistorySize": "3"}, "oldpassword": "y"}}},
		{"form", call{Body: form("form"), Type: formType}},
		{"curl", call{Body: `{"organization":"curl","username":"curl","email":"curl@example.org","password":"` + password + `"}`, Type: formType}},
		{"mixed", call{Path: "?organization=mixed&email=mixed@example.org", Body: "username=mixed&password=" + password, Type: formType}},
	} {
		c.call.Method, c.call.Path = "POST", "/management/orgs"+c.call.Path
		a := w.ok(c.call)
		if a.Str("action") != "new organization" || a.Str("status") != "ok" || a.Str("data", "organization", "name") != c.name {
			t.Errorf("%s: %s", c.name, a.Text)
		}
		owner, _ := a.Get("data", "owner").(object)
		if owner["username"] != c.name || owner["activated"] != true || owner["adminUser"] != true || owner["applicationId"] != entity.ManagementID.String() {
			t.Errorf("%s: owner %v", c.name, owner)
		}
		if strings.Contains(strings.ToLower(a.Text), "password\"") {
			t.Errorf("%s: a password is shown: %s", c.name, a.Text)
		}
		token := w.login(c.name, password)
		org := w.ok(call{Path: "/management/orgs/" + strings.ToUpper(c.name), Token: token})
		apps, _ := org.Get("organization", "applications").(object)
		if _, ok := apps[strings.ToLower(c.name)+"/sandbox"]; !ok || len(apps) != 1 || org.Get("action") != nil {
			t.Errorf("%s: %s", c.name, org.Text)
		}
		if _, ok := org.Get("organization", "users", c.name).(object); !ok {
			t.Errorf("%s: %s", c.name, org.Text)
		}
	}
	token := w.login("Json", password)
	org := w.ok(call{Path: "/management/orgs/json", Token: token})
	if org.Str("organization", "properties", "plan") != "gold" || org.Get("organization", "passwordHistorySize") != 3.0 {
		t.Error(org.Text)
	}
	me := w.ok(call{Path: "/management/users/json", Token: token})
	properties, _ := me.Get("data", "properties").(object)
	nested, _ := properties["nested"].(object)
	if len(properties) != 2 || properties["company"] != "Acme" || len(nested) != 1 {
		t.Errorf("properties of the owner: %s", me.Text)
	}
	if me.Str("data", "displayEmailAddress") != "J <b> <json@example.org>" ||
		me.Str("data", "htmldisplayEmailAddress") != `J &lt;b&gt; &lt;<a href="mailto:json@example.org">json@example.org</a>&gt;` {
		t.Error(me.Text)
	}

	full := object{"organization": "x", "username": "x", "email": "x@example.org", "password": password}
	for _, tc := range []struct {
		change object
		want   string
	}{
		{object{"organization": nil}, "400 illegal_argument"}, {object{"organization": "  "}, "400 illegal_argument"}, {object{"email": nil}, "400 illegal_argument"},
		{object{"organization": "System"}, "400 illegal_argument"}, {object{"organization": "a/b"}, "400 illegal_argument"},
		{object{"organization": "1f0c9a52-5c31-11ee-8c99-0242ac120002"}, "400 illegal_argument"}, {object{"organization": strings.Repeat("x", 300)}, "400 illegal_argument"},
		{object{"username": "Me"}, "400 illegal_argument"}, {object{"username": "resetpw"}, "400 illegal_argument"},
		{object{"username": "1f0c9a52-5c31-11ee-8c99-0242ac120002"}, "400 illegal_argument"},
		{object{"password": "abc"}, "400 error_password_policy_violation"}, {object{"properties": 7}, "400 json_mapping"},
		{object{"username": apitest.SuperuserName}, "400 duplicate_unique_property_exists"},
	} {
		body := object{}
		for k, v := range full {
			body[k] = v
		}
		for k, v := range tc.change {
			body[k] = v
		}
		w.refused(tc.want, call{Method: "POST", Path: "/management/orgs", Body: body})
	}
	w.refused("400 illegal_argument", call{Method: "POST", Path: "/management/orgs?" + form("query"), Type: formType})
	w.refused("400 illegal_argument", call{Method: "POST", Path: "/management/orgs?" + form("query"), Type: "application/json"})
	w.refused("400 json_mapping", call{Method: "POST", Path: "/management/orgs?" + form("query"), Body: "[]"})
	w.refused("400 json_parse", call{Method: "POST", Path: "/management/orgs", Body: "{"})
	w.ok(call{Method: "POST", Path: "/management/orgs", Body: full}) // nothing of all that was kept
}

// Item 2: a clash leaves nothing behind.
func TestDuplicatesLeaveNothing(t *testing.T) {
	w := newWorld(t)
	for _, body := range []object{
		{"organization": "ACME", "username": "n1", "email": "n1@example.org", "password": password},
		{"organization": "n2", "username": "AcmeOwner", "email": "n2@example.org", "password": password},
		{"organization": "n3", "username": "n3", "email": "ACME@example.org", "password": password},
	} {
		a := w.refused("400 duplicate_unique_property_exists", call{Method: "POST", Path: "/management/orgs", Body: body})
		if !strings.Contains(a.Str("exception"), "DuplicateUniquePropertyExistsException") {
			t.Error(a.Text)
		}
	}
	for _, n := range []string{"n1", "n2", "n3"} {
		w.refused("400 invalid_grant", call{Method: "POST", Path: "/management/token",
			Body: object{"grant_type": "password", "username": n + "@example.org", "password": password}})
		w.refused("400 management", call{Path: "/management/orgs/" + n})
		w.ok(call{Method: "POST", Path: "/management/orgs", Body: object{"organization": n, "username": n, "email": n + "@example.org", "password": password}})
	}
}

// Of many who create one name at once, one does.
func TestOneOfManyOrganizationsOfAName(t *testing.T) {
	w := begin(t, t.TempDir(), nil)
	results := make([]string, 16)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			a, err := w.try(call{Method: "POST", Path: "/management/orgs", Body: object{
				"organization": []string{"race", "RACE", "Race"}[i%3], "username": fmt.Sprint("u", i), "email": fmt.Sprintf("u%d@example.org", i), "password": password}})
			if results[i] = a.Error(); err != nil {
				results[i] = err.Error()
			}
		})
	}
	wg.Wait()
	slices.Sort(results)
	if results[0] != "200" || results[1] != "400 duplicate_unique_property_exists" || results[15] != results[1] {
		t.Errorf("%v", results)
	}
	if all := w.ok(call{Path: "/management/orgs", Basic: apitest.SuperuserName + ":" + apitest.SuperuserPassword}); all.Get("count") != 1.0 {
		t.Error(all.Text)
	}
}

// An Idempotency-Key makes a retry answer what the first try did.
func TestRetriedCreationIsOne(t *testing.T) {
	w := begin(t, t.TempDir(), nil)
	c := call{Method: "POST", Path: "/management/orgs", Header: map[string]string{"Idempotency-Key": "k1"},
		Body: object{"organization": "once", "username": "once", "email": "once@example.org", "password": password}}
	first, second := w.ok(c), w.ok(c)
	if a, b := first.Str("data", "organization", "uuid"), second.Str("data", "organization", "uuid"); a != b || a == "" {
		t.Errorf("%s then %s", a, b)
	}
	token := w.login("once", password)
	c = call{Method: "POST", Path: "/management/orgs/once/credentials", Token: token, Header: map[string]string{"Idempotency-Key": "k2"}}
	if a, b := w.ok(c).Str("credentials", "client_secret"), w.ok(c).Str("credentials", "client_secret"); a != b || a == "" {
		t.Error("a retry made another secret, or shows one that is not stored")
	}
}

// Item 3, and the superuser's list of all.
func TestListOrganizations(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.ok(call{Method: "POST", Path: "/management/orgs", Body: object{
			"organization": fmt.Sprint("org", i), "email": fmt.Sprintf("o%d@example.org", i), "password": password}})
	}
	var names []string
	path := "/management/orgs?limit=3"
	for range 10 {
		a := w.ok(call{Path: path, Token: w.super})
		list, _ := a.Get("organizations").([]any)
		if a.Get("count") != float64(len(list)) {
			t.Error(a.Text)
		}
		for i := range list {
			names = append(names, a.Str("organizations", i, "name"))
			if apps, _ := a.Get("organizations", i, "applications").(object); len(apps) == 0 {
				t.Error(a.Text)
			}
		}
		cursor := a.Str("cursor")
		if cursor == "" {
			break
		}
		path = "/management/orgs?limit=3&cursor=" + cursor
	}
	if got := strings.Join(names, " "); got != "org4 org3 org2 org1 org0 other acme" {
		t.Errorf("listed %s", got)
	}
	w.refused("400 illegal_argument", call{Path: "/management/orgs?cursor=!", Token: w.super})
	w.ok(call{Path: "/management/orgs?limit=x", Token: w.super})
	all := w.ok(call{Path: "/apps", Token: w.super})
	if apps, _ := all.Get("applications").(object); len(apps) != 9 || apps["acme/shop"] != w.acme.appID {
		t.Error(all.Text)
	}
}

// Item 5.
func TestCredentials(t *testing.T) {
	w := newWorld(t)
	orgID, _ := entity.ParseID(w.acme.id)
	appID, _ := entity.ParseID(w.acme.appID)
	for _, tc := range []struct{ path, before, get, generate, id string }{
		{"/management/orgs/acme/credentials", w.acme.client, "get organization client credentials", "generate organization client credentials", auth.ClientID(auth.OwnerOrganization, orgID)},
		{"/management/orgs/acme/apps/shop/credentials", w.acme.app, "get application client credentials", "generate application client credentials", auth.ClientID(auth.OwnerApplication, appID)},
		{"/acme/shop/credentials", "", "get application keys", "generate application keys", auth.ClientID(auth.OwnerApplication, appID)},
	} {
		a := w.ok(call{Path: tc.path, Token: w.acme.owner})
		before := a.Str("credentials", "client_id") + ":" + a.Str("credentials", "client_secret")
		if a.Str("action") != tc.get || id(before) != tc.id || (tc.before != "" && tc.before != before) {
			t.Errorf("%s: %s", tc.path, a.Text)
		}
		old := w.clientToken("/acme/shop/token", before)
		a = w.ok(call{Method: "POST", Path: tc.path, Token: w.acme.owner})
		after := a.Str("credentials", "client_id") + ":" + a.Str("credentials", "client_secret")
		if a.Str("action") != tc.generate || id(after) != tc.id || before == after || len(secret(after)) != 31 {
			t.Errorf("%s: %s", tc.path, a.Text)
		}
		w.refused("401 auth_invalid_credentials", call{Path: "/acme/shop/users", Basic: before})
		w.ok(call{Path: "/acme/shop/users", Basic: after})
		w.usable(old, "/acme/shop/users") // tokens outlive the secret
	}
}

// Item 11, without restoring.
func TestApplications(t *testing.T) {
	w := newWorld(t)
	apps := "/management/orgs/acme/apps"
	post := func(name any) call {
		return call{Method: "POST", Path: apps, Token: w.acme.owner, Body: object{"name": name}}
	}
	made := w.ok(post("acme/Second"))
	second := made.Str("data", "acme/second")
	if second == "" || made.Str("entities", 0, "uuid") != second || made.Str("entities", 0, "name") != "acme/second" ||
		made.Str("action") != "new application for organization" || made.Get("entities", 0, "metadata", "collections", "users", "count") != 0.0 {
		t.Error(made.Text)
	}
	got := w.ok(call{Path: apps + "/SECOND?x=1&access_token=" + w.acme.owner})
	if got.Str("application") != second || got.Str("applicationName") != "second" || got.Str("organization") != "acme" ||
		!strings.HasSuffix(got.Str("uri"), "/acme/second") || got.Str("params", "x", 0) != "1" || strings.Contains(got.Text, w.acme.owner) {
		t.Error(got.Text)
	}
	if list := w.ok(call{Path: apps, Token: w.acme.owner}); list.Str("data", "acme/second") != second || list.Str("data", "acme/sandbox") == "" {
		t.Error(list.Text)
	}
	// Both ways to ask for the application answer with one entity; it counts what there is.
	w.ok(call{Method: "PUT", Path: "/acme/second", Token: w.acme.owner, Body: object{"accesstokenttl": 5000, "color": "red"}})
	w.ok(call{Method: "POST", Path: "/acme/second/users", Token: w.acme.owner, Body: object{"username": "kim", "password": "pw4kim"}})
	kim := w.userToken("acme/second", "kim", "pw4kim")
	w.usable(kim, "/acme/second/users/me")
	root, managed := w.ok(call{Path: "/acme/second", Token: w.acme.owner}), w.ok(call{Path: apps + "/second", Token: w.acme.owner})
	if diff := cmp.Diff(root.Get("entities"), managed.Get("entities")); diff != "" {
		t.Errorf("-application +management:\n%s", diff)
	}
	if e := "entities"; managed.Str(e, 0, "color") != "red" || managed.Get(e, 0, "metadata", "collections", "users", "count") != 1.0 ||
		managed.Get(e, 0, "metadata", "collections", "roles", "count") != 3.0 || managed.Get(e, 0, "partition") != nil {
		t.Error(managed.Text)
	}
	w.refused("409 application_already_exists", post("SECOND"))
	for _, name := range []any{nil, "", " ", "a b", "x/y", "other/x", "acme/", "ünï", "a", "apps", "1f0c9a52-5c31-11ee-8c99-0242ac120002", strings.Repeat("x", 300)} {
		w.refused("400 illegal_argument", post(name))
	}
	remove := func(path string) call {
		return call{Method: "DELETE", Path: apps + path, Token: w.acme.owner}
	}
	w.refused("400 illegal_argument", remove("/second"))
	w.refused("400 illegal_argument", remove("/second?confirm_application_identifier=shop"))
	w.refused("400 illegal_argument", remove("/second?confirm_application_identifier="+second))
	gone := w.ok(remove("/second?confirm_application_identifier=second"))
	if gone.Str("action") != "delete" || gone.Str("application") != second || gone.Str("params", "confirm_application_identifier", 0) != "second" {
		t.Error(gone.Text)
	}
	w.refused("404 entity_not_found", remove("/second?confirm_application_identifier=second"))
	w.refused("404 entity_not_found", call{Path: apps + "/second", Token: w.acme.owner})
	w.refused("404 organization_application_not_found", call{Path: "/acme/second/users", Token: w.acme.owner})
	w.refused("404 organization_application_not_found", call{Path: "/" + second + "/users", Token: w.acme.owner})
	w.refused("401 auth_bad_access_token", call{Path: "/acme/second/users", Token: kim}) // its users speak for nobody
	w.refused("401 auth_bad_access_token", call{Path: "/acme/shop/users", Token: kim})
	if list := w.ok(call{Path: apps, Token: w.acme.owner}); list.Get("data", "acme/second") != nil {
		t.Error(list.Text)
	}
	if list := w.ok(call{Path: apps + "?deleted=true", Token: w.acme.owner}); list.Str("data", "acme/second") != second {
		t.Error(list.Text)
	}
	again := w.ok(post("second")).Str("data", "acme/second")
	if again == second || again == "" {
		t.Error("the deleted application is back")
	}
	w.refused("409 conflict", remove("/"+again+"?confirm_application_id="+again))
	w.ok(remove("/" + w.acme.appID + "?confirm_application_id=" + w.acme.appID))
	w.refused("401 auth_bad_access_token", call{Path: "/acme/second/users", Token: w.acme.appToken}) // its client is no more
}

// Item 13, and the shapes of admin users.
func TestAdminUsers(t *testing.T) {
	w := newWorld(t)
	made := w.ok(call{Method: "POST", Path: "/management/users", Body: object{
		"username": "kim", "email": "kim@example.org", "password": "pw4kim", "city": "Oslo", "activated": false, "disabled": true}})
	if made.Str("action") != "create user" || made.Str("data", "user", "username") != "kim" || made.Get("data", "user", "activated") != true ||
		made.Get("data", "user", "disabled") != false || made.Str("data", "user", "properties", "city") != "Oslo" || made.Str("data", "user", "name") != "kim@example.org" {
		t.Error(made.Text)
	}
	kim := w.login("kim", "pw4kim")
	got := w.ok(call{Path: "/management/users/kim@example.org", Token: kim})
	if got.Str("data", "token") != kim || got.Get("data", "organizations") == nil {
		t.Error(got.Text)
	}
	w.ok(call{Method: "POST", Path: "/management/users", Body: encode("email", "pat@example.org", "password", "pw4pat"), Type: "application/x-www-form-urlencoded"})
	w.login("pat@example.org", "pw4pat")
	w.refused("400 illegal_argument", call{Method: "POST", Path: "/management/users", Body: object{"username": "x"}})
	w.refused("400 duplicate_unique_property_exists", call{Method: "POST", Path: "/management/users", Body: object{"username": "x", "email": "KIM@example.org"}})
	w.refused("400 error_password_policy_violation", call{Method: "POST", Path: "/management/users", Body: object{"email": "x@example.org", "password": "abc"}})

	owner := w.ok(call{Path: "/management/users/me", Token: w.acme.owner})
	if owner.Str("data", "token") != w.acme.owner || owner.Str("data", "organizations", "acme", "applications", "acme/shop") != w.acme.appID ||
		owner.Str("data", "organizations", "acme", "users", "acmeowner", "uuid") != w.acme.ownerID {
		t.Error(owner.Text)
	}
	shallow := w.ok(call{Path: "/management/users/me?shallow=true", Token: w.acme.owner})
	if shallow.Str("data", "organizations", "acme", "uuid") != w.acme.id || shallow.Get("data", "organizations", "acme", "users") != nil {
		t.Error(shallow.Text)
	}
	bySuper := w.ok(call{Path: "/management/users/acmeowner", Basic: apitest.SuperuserName + ":" + apitest.SuperuserPassword})
	w.usable(bySuper.Str("data", "token"), "/management/orgs/acme")
	byClient := w.ok(call{Path: "/management/orgs/acme/users/acmeowner", Token: w.acme.clientToken})
	if byClient.Get("data", "token") != nil || byClient.Str("data", "organizations", "acme", "uuid") != w.acme.id {
		t.Error(byClient.Text)
	}
	members := w.ok(call{Path: "/management/orgs/acme/users", Token: w.acme.clientToken})
	if list, _ := members.Get("data").([]any); len(list) != 1 || members.Str("data", 0, "email") != "acme@example.org" {
		t.Error(members.Text)
	}
}

// Item 10, and an organisation for an admin user who exists.
func TestPasswords(t *testing.T) {
	w := newWorld(t)
	change := func(body object, token string) call {
		return call{Method: "PUT", Path: "/management/users/acmeowner/password", Body: body, Token: token}
	}
	w.refused("400 auth_invalid_username_or_password", change(object{"oldpassword": "wrong", "newpassword": "next-one"}, ""))
	w.refused("400 illegal_argument", change(object{"newpassword": "next-one"}, w.acme.owner))
	w.refused("400 error_password_policy_violation", change(object{"oldpassword": password, "newpassword": "abc"}, ""))
	before := w.ok(call{Path: "/management/me", Token: w.acme.owner}).Get("passwordChanged").(float64)
	if a := w.ok(change(object{"oldpassword": password, "newpassword": "next-one"}, "")); a.Str("action") != "set user password" {
		t.Error(a.Text)
	}
	w.login("acmeowner", "next-one")
	after := w.ok(call{Path: "/management/me", Token: w.acme.owner}).Get("passwordChanged").(float64) // the token stays
	if after <= before {
		t.Errorf("passwordChanged %f, then %f", before, after)
	}
	w.ok(change(object{"newpassword": "third-one"}, w.super))
	w.ok(change(object{"password": "third-one", "newpassword": strings.Repeat("long", 40)}, ""))
	w.login("acmeowner", strings.Repeat("long", 40))
	w.refused("400 invalid_grant", call{Method: "POST", Path: "/management/token",
		Body: object{"grant_type": "password", "username": "acmeowner", "password": strings.Repeat("long", 39) + "lon!"}})

	w.ok(call{Method: "POST", Path: "/management/orgs", Token: w.super, Body: object{"organization": "second", "email": "acme@example.org"}})
	token := w.login("acmeowner", strings.Repeat("long", 40))
	me := w.ok(call{Path: "/management/users/me", Token: token})
	if me.Get("data", "organizations", "second") == nil || me.Get("data", "organizations", "acme") == nil {
		t.Error(me.Text)
	}
	w.usable(w.acme.owner, "/management/orgs/second") // also with tokens from before
	w.refused("400 illegal_argument", call{Method: "POST", Path: "/management/orgs", Token: w.super, Body: object{"organization": "third", "email": "nobody@example.org"}})

	// App users.
	user := "/acme/shop/users/lee/password"
	w.refused("400 auth_invalid_username_or_password", call{Method: "PUT", Path: user, Body: object{"oldpassword": "x", "newpassword": "pw4lee2"}})
	w.ok(call{Method: "PUT", Path: user, Body: object{"oldpassword": "pw4lee", "newpassword": "pw4lee2"}})
	w.ok(call{Method: "PUT", Path: user, Body: object{"newpassword": "pw4lee3"}, Token: w.acme.appToken})
	w.userToken("acme/shop", "lee", "pw4lee3")
}

// No secret is repeated in the log, whatever goes wrong, nor in any echo.
func TestSecretsStaySecret(t *testing.T) {
	w := newWorld(t)
	a := w.ok(call{Path: "/acme/shop/users?access_token=" + w.acme.owner + "&client_id=q1&client_secret=q2&password=q3&token=q4&Username=q5&limit=1"})
	params, _ := a.Get("params").(object)
	if text, _ := json.Marshal(params); string(text) != `{"limit":["1"]}` {
		t.Errorf("params %s", text)
	}
	w.do(call{Path: "/acme/shop/users", Token: "YWMt-not-a-token"})
	w.do(call{Path: "/management/token?" + encode("grant_type", "password", "username", "acmeowner", "password", "wrong-secret")})
	log := w.log.String()
	for _, s := range []string{password, "pw4lee", "wrong-secret", apitest.SuperuserPassword, "YWMt", w.acme.owner, w.acme.user, secret(w.acme.client), secret(w.acme.app), "$2a$"} {
		if strings.Contains(log, s) {
			t.Errorf("the log repeats %q", s)
		}
	}
	if !strings.Contains(log, "level=") {
		t.Error("nothing was logged at all")
	}
}

// What was there before a restart is there after it, tokens and cursors
// included.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	first := begin(t, dir, nil)
	acme := first.newOrg("acme")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	w := begin(t, dir, nil)
	w.acme = acme
	w.usable(w.acme.owner, "/management/orgs/acme")
	w.usable(w.acme.user, "/acme/shop/users/me")
	w.usable(w.acme.appToken, "/acme/shop/users")
	w.userToken("acme/shop", "lee", "pw4lee")
	w.ok(call{Path: "/acme/shop/users", Basic: w.acme.client})
	w.login(apitest.SuperuserName, apitest.SuperuserPassword)
}
