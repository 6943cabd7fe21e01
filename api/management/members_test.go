package management_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// names lists a member of each entity of a feed, or of each element of data.
func (a answer) each(list, member string) []string {
	var all []string
	elements, _ := a.Get(list).([]any)
	for i := range elements {
		all = append(all, a.Str(list, i, member))
	}
	return all
}

// Item 4 of spec management section 11.
func TestPropertiesOfOrganizations(t *testing.T) {
	w := newWorld(t)
	put := func(body any) answer {
		return w.ok(call{Method: "PUT", Path: "/management/organizations/ACME", Token: w.acme.clientToken, Body: body})
	}
	properties := func() string {
		return fmt.Sprint(w.ok(call{Path: "/management/orgs/acme", Token: w.acme.owner}).Get("organization", "properties"))
	}
	if a := put(object{"properties": object{"plan": "gold", "city": "Oslo", "none": nil, "deep": object{"a": []int{1}, "password": "x"}}, "name": "other", "uuid": "x"}); a.Str("action") != "put" || a.Get("params") == nil {
		t.Error(a.Text)
	}
	if got := properties(); got != "map[city:Oslo deep:map[a:[1]] plan:gold]" {
		t.Error(got)
	}
	put(object{"properties": object{"plan": "silver", "city": ""}})
	if got := properties(); got != "map[deep:map[a:[1]] plan:silver]" {
		t.Error(got)
	}
	put(object{"other": 1})
	put(nil)
	if got := properties(); got != "map[deep:map[a:[1]] plan:silver]" {
		t.Error(got)
	}
	for body, want := range map[string]string{
		`[]`: "400 json_mapping", `{`: "400 json_parse", `{"properties":7}`: "400 json_mapping", `{"properties":{"":1}}`: arg,
		`{"properties":{"` + strings.Repeat("x", 300) + `":1}}`: arg, `{"properties":{"a":"` + strings.Repeat("x", 70000) + `"}}`: "413 entity_too_large",
	} {
		w.refused(want, call{Method: "PUT", Path: "/management/orgs/acme", Token: w.acme.owner, Body: body})
	}

	// The history of passwords (R14).
	put(object{"properties": object{"passwordHistorySize": "1"}})
	if a := w.ok(call{Path: "/management/orgs/acme", Token: w.acme.owner}); a.Get("organization", "passwordHistorySize") != 1.0 {
		t.Error(a.Text)
	}
	change := func(old, next string) call {
		return call{Method: "PUT", Path: "/management/users/acmeowner/password", Body: object{"oldpassword": old, "newpassword": next}}
	}
	w.refused("409 recently_used_password", change(password, password))
	w.ok(change(password, "second-one"))
	a := w.refused("409 recently_used_password", change("second-one", password))
	if a.Str("exception") != "org.apache.usergrid.management.exceptions.RecentlyUsedPasswordException" {
		t.Error(a.Text)
	}
	w.ok(change("second-one", "third-one"))
	w.refused("409 recently_used_password", change("third-one", "second-one"))
	w.ok(change("third-one", password)) // two ago
	put(object{"properties": object{"passwordHistorySize": ""}})
	w.ok(change(password, password))
}

// Item 7.
func TestMembers(t *testing.T) {
	w := newWorld(t)
	users := "/management/organizations/acme/users"
	kim := w.ok(call{Method: "POST", Path: users, Token: w.acme.owner, Body: object{
		"email": "kim@example.org", "username": "kim", "name": "Kim", "password": "pw4kim", "city": "Oslo", "activated": false, "adminUser": false}})
	if kim.Str("action") != "create user" || kim.Get("data", "user", "activated") != true || kim.Str("data", "user", "properties", "city") != "Oslo" {
		t.Error(kim.Text)
	}
	reset := w.Mails.Take(t, "admin-password-reset", "kim@example.org")
	if reset.Subject != "Password Reset" || !strings.Contains(reset.Link, "/management/users/"+kim.Str("data", "user", "uuid")+"/resetpw?token=ZW0t") || !strings.HasSuffix(reset.Text, reset.Link) {
		t.Errorf("%+v", reset)
	}
	if m := w.Mails.Take(t, "admin-invited", "kim@example.org"); m.Subject != "User Invited To Organization" || !strings.Contains(m.Text, "acme") {
		t.Errorf("%+v", m)
	}
	token := w.login("kim", "pw4kim")
	w.usable(token, "/management/orgs/acme")
	w.usable(token, "/acme/shop/users")
	// Again, and somebody who is an admin user already.
	w.ok(call{Method: "POST", Path: users, Token: token, Body: object{"email": "KIM@example.org", "password": ""}})
	w.ok(call{Method: "POST", Path: users, Token: token, Body: encode("email", "other@example.org"), Type: "application/x-www-form-urlencoded"})
	w.Mails.Take(t, "admin-invited", "other@example.org")
	w.usable(w.other.owner, "/management/orgs/acme")
	w.refused("400 duplicate_unique_property_exists", call{Method: "POST", Path: users, Token: token, Body: object{"email": "kim@example.org", "invite": false}})
	w.refused(arg, call{Method: "POST", Path: users, Token: token, Body: object{"email": "x@example.org", "invite": "perhaps"}})
	w.refused(arg, call{Method: "POST", Path: users, Token: token, Body: object{"username": "x"}})
	// Without a password nobody knows it.
	w.ok(call{Method: "POST", Path: users, Token: token, Body: object{"email": "pat@example.org", "password": ""}})
	list := w.ok(call{Path: users, Token: w.acme.clientToken})
	if got := strings.Join(list.each("data", "username"), " "); strings.Count(got, " ") != 3 || !strings.Contains(got, "kim") {
		t.Error(list.Text)
	}

	remove := func(who, by string) call {
		return call{Method: "DELETE", Path: "/management/orgs/acme/users/" + who, Token: by}
	}
	if a := w.ok(remove("other@example.org", token)); a.Str("action") != "remove user from organization" || a.Str("data", "user", "username") != "otherowner" {
		t.Error(a.Text)
	}
	w.ok(remove("otherowner", token)) // is none already
	w.refused(no, call{Path: "/management/orgs/acme", Token: w.other.owner})
	w.refused(no, call{Path: "/acme/shop/users", Token: w.other.owner})
	w.refused(unknown, remove("nobody", token))
	for _, who := range []string{"otherowner", "other@example.org", w.other.ownerID} {
		if a := w.ok(call{Method: "PUT", Path: users + "/" + who, Token: token}); a.Str("action") != "add user to organization" || a.Str("data", "user", "uuid") != w.other.ownerID {
			t.Error(a.Text)
		}
		w.usable(w.other.owner, "/acme/shop/users") // with the token from before
		w.ok(remove(who, token))
		w.Mails.Take(t, "admin-invited", "other@example.org")
	}
	w.ok(call{Method: "PUT", Path: users + "/otherowner", Token: token, Body: object{"city": "ignored"}})
	w.ok(call{Method: "PUT", Path: users + "/otherowner", Token: token, Body: object{}})
	w.Mails.Take(t, "admin-invited", "other@example.org")
	w.refused(unknown, call{Method: "PUT", Path: users + "/nobody", Token: token})
	// A member's account is changed by himself.
	w.refused(no, call{Method: "PUT", Path: users + "/otherowner", Token: token, Body: object{"city": "Oslo"}})
	if a := w.ok(call{Method: "PUT", Path: users + "/me", Token: token, Body: object{"city": "Bergen"}}); a.Str("action") != "update user info" {
		t.Error(a.Text)
	}

	// By way of the user.
	mine := "/management/users/kim/organizations"
	if a := w.ok(call{Path: mine, Token: token}); a.Str("action") != "get user management" || a.Str("data", "acme") != w.acme.id {
		t.Error(a.Text)
	}
	if a := w.ok(call{Method: "DELETE", Path: "/management/users/otherowner/orgs/" + w.acme.id, Token: w.other.owner}); a.Str("action") != "remove user from organization" || a.Str("data", "name") != "acme" {
		t.Error(a.Text)
	}
	if a := w.ok(call{Method: "PUT", Path: "/management/users/otherowner/organizations/acme", Token: token}); a.Str("action") != "add user to organization" || a.Str("data", "uuid") != w.acme.id {
		t.Error(a.Text)
	}
	w.refused(no, call{Method: "PUT", Path: "/management/users/kim/organizations/other", Token: token})
	for _, who := range []string{"otherowner", "pat@example.org", "acmeowner"} {
		w.ok(remove(who, token))
	}
	a := w.refused("400 unable_to_leave_organization", remove("kim", token))
	if a.Str("exception") != "org.apache.usergrid.management.exceptions.UnableToLeaveOrganizationException" {
		t.Error(a.Text)
	}
	w.refused("400 unable_to_leave_organization", call{Method: "DELETE", Path: mine + "/acme", Token: token})
	w.ok(call{Path: "/management/users/acmeowner", Token: w.acme.owner}) // his account is still there

	// Another organisation of his own, with a sandbox.
	a = w.ok(call{Method: "POST", Path: mine, Token: token, Body: object{"organization": "kims"}})
	if a.Str("action") != "new organization for user" || a.Str("data", "name") != "kims" {
		t.Error(a.Text)
	}
	w.ok(call{Method: "POST", Path: "/kims/sandbox/books", Body: object{"name": "dune"}})
	w.usable(token, "/management/orgs/kims")
	w.refused(unknown, call{Method: "POST", Path: mine, Token: token, Body: object{}})
	w.refused("400 duplicate_unique_property_exists", call{Method: "POST", Path: mine, Token: token, Body: object{"organization": "KIMS"}})
	w.refused(arg, call{Method: "POST", Path: mine, Token: token, Body: object{"organization": ".."}})
	for _, m := range w.Mails.All() {
		if m.Key != "admin-password-reset" && m.Key != "admin-invited" {
			t.Errorf("with everything off: %+v", m)
		}
	}
}

// Spec management section 5.3, and what no body can set.
func TestUpdateAdmin(t *testing.T) {
	w := newWorld(t)
	put := func(body any) call {
		return call{Method: "PUT", Path: "/management/users/acmeowner/", Token: w.acme.owner, Body: body}
	}
	show := func() answer { return w.ok(call{Path: "/management/users/me", Token: w.acme.owner}) }
	before := show()
	a := w.ok(put(object{
		"name": "Dana", "city": "Oslo", "company": nil, "password": "hijack", "token": "x", "uuid": "0d3f6f9c-5c31-11ee-8c99-0242ac120002", "activated": false,
		"confirmed": false, "disabled": true, "adminUser": false, "ADMINUSER": false, "superuser": true, "credentials": object{"x": 1}, "organizations": object{},
	}))
	if a.Str("action") != "update user info" {
		t.Error(a.Text)
	}
	after := show()
	if after.Str("data", "name") != "Dana" || fmt.Sprint(after.Get("data", "properties")) != "map[city:Oslo]" {
		t.Error(after.Text)
	}
	for _, same := range []string{"uuid", "username", "email", "activated", "confirmed", "disabled", "adminUser"} {
		if before.Get("data", same) != after.Get("data", same) {
			t.Errorf("%s became %v", same, after.Get("data", same))
		}
	}
	w.login("acmeowner", password)
	const odd = "\" \u0001 \U000e0067 <&>" // what one JSON library or another writes wrongly
	w.ok(put(object{"name": odd, "odd" + odd: odd}))
	if a := show(); a.Str("data", "name") != odd || a.Str("data", "properties", "odd"+odd) != odd {
		t.Error(a.Text)
	}
	w.ok(put(object{"odd" + odd: nil}))
	w.ok(put(object{"username": "", "email": " ", "name": ""})) // stay
	w.ok(put(object{"username": "dana", "email": "dana@example.org"}))
	w.login("dana@example.org", password)
	w.refused(unknown, put(object{"name": "x"})) // he has another name now
	put2 := func(body any) call {
		return call{Method: "PUT", Path: "/management/users/dana", Token: w.acme.owner, Body: body}
	}
	w.refused("400 duplicate_unique_property_exists", put2(object{"username": "OTHEROWNER"}))
	w.refused("400 duplicate_unique_property_exists", put2(object{"email": "other@example.org"}))
	w.refused(arg, put2(object{"username": "Me"}))
	w.refused(arg, put2(object{"username": "ROOT"}))
	w.refused(arg, call{Method: "PUT", Path: "/management/users/root", Token: w.super, Body: object{"username": "boss"}})
	w.refused(arg, put2(nil))
	w.refused("400 json_mapping", put2("[]"))
	// The portal changes passwords here.
	w.refused("400 auth_invalid_username_or_password", put2(object{"oldpassword": "wrong", "newpassword": "next-one"}))
	w.ok(put2(object{"oldpassword": password, "newpassword": "next-one", "city": ""}))
	w.login("dana", "next-one")
	if got := fmt.Sprint(show().Get("data", "properties")); got != "map[]" {
		t.Error(got)
	}
}

// Item 6.
func TestFeeds(t *testing.T) {
	w := newWorld(t)
	kim := w.ok(call{Method: "POST", Path: "/management/orgs/acme/users", Token: w.acme.owner, Body: object{"email": "kim@example.org", "username": "kim", "password": "pw4kim"}})
	for i := range 12 {
		w.ok(call{Method: "POST", Path: "/management/orgs/acme/apps", Token: w.acme.owner, Body: object{"name": fmt.Sprint("app", i)}})
	}
	w.ok(call{Method: "POST", Path: "/management/orgs/acme/apps", Token: w.acme.clientToken, Body: object{"name": "quiet"}})
	feed := w.ok(call{Path: "/management/orgs/acme/feed", Token: w.acme.clientToken})
	if feed.Str("action") != "get organization feed" || feed.Str("status") != "ok" || strings.Contains(feed.Text, "audience") || strings.Contains(feed.Text, "quiet") {
		t.Error(feed.Text)
	}
	first, _ := feed.Get("entities", 0).(object)
	if first["type"] != "activity" || first["verb"] != "create" || first["category"] != "admin" || first["published"] != first["created"] {
		t.Error(feed.Text)
	}
	if title := feed.Str("entities", 0, "title"); title != `<a href="mailto:acme@example.org">Dana &lt;Roe&gt; (acme@example.org)</a> created a new application named app11` {
		t.Error(title)
	}
	if feed.Str("entities", 0, "actor", "uuid") != w.acme.ownerID || feed.Str("entities", 0, "object", "displayName") != "app11" || feed.Str("entities", 0, "object", "entityType") != "application_info" {
		t.Error(feed.Text)
	}
	walk := func(path, token string) string {
		var all []string
		cursor := ""
		for range 20 {
			a := w.ok(call{Path: path + "?limit=4&cursor=" + cursor, Token: token})
			list, _ := a.Get("entities").([]any)
			for i := range list {
				all = append(all, a.Str("entities", i, "object", "displayName"))
			}
			if cursor = a.Str("cursor"); cursor == "" {
				break
			}
		}
		return strings.Join(all, " ")
	}
	const apps = "app11 app10 app9 app8 app7 app6 app5 app4 app3 app2 app1 app0"
	if got := walk("/management/orgs/acme/feed", w.acme.owner); got != apps+" shop acme" {
		t.Error(got)
	}
	if got := walk("/management/users/acmeowner/feed", w.acme.owner); got != apps+" shop acme" {
		t.Error(got)
	}
	if got := walk("/management/organizations/acme/users/kim/feed", w.login("kim", "pw4kim")); got != apps { // since she came
		t.Errorf("%s\n%s", got, kim.Text)
	}
	if got := walk("/management/users/otherowner/feed", w.other.owner); got != "shop other" {
		t.Error(got)
	}
	a := w.ok(call{Path: "/management/orgs/acme/feed", Token: w.acme.owner})
	if len(a.each("entities", "uuid")) != 10 || a.Str("cursor") == "" {
		t.Error(a.Text)
	}
	w.refused(arg, call{Path: "/management/orgs/other/feed?cursor=" + a.Str("cursor"), Token: w.super})
	w.refused(arg, call{Path: "/management/orgs/acme/feed?cursor=x", Token: w.super})
	// A fresh organisation has one entry.
	const odd = `<b>"x"`
	w.ok(call{Method: "POST", Path: "/management/orgs", Body: object{"organization": odd, "email": "e'<i>@example.org", "name": "<script>", "password": password}})
	a = w.ok(call{Path: "/management/orgs/" + url.PathEscape(odd) + "/feed", Token: w.login("e'<i>@example.org", password)})
	const want = `<a href="mailto:e&#39;&lt;i&gt;@example.org">&lt;script&gt; (e&#39;&lt;i&gt;@example.org)</a> created a new organization account named &lt;b&gt;&#34;x&#34;`
	if got := a.each("entities", "title"); len(got) != 1 || got[0] != want {
		t.Errorf("%q", got)
	}
}

// Settings of an organisation (spec management section 3.11).
func TestSettings(t *testing.T) {
	w := newWorld(t)
	config := func(query string) call { return call{Path: "/management/orgs/acme/config" + query, Token: w.super} }
	put := func(query string, body any) call {
		return call{Method: "PUT", Path: "/management/orgs/acme/config" + query, Token: w.super, Body: body}
	}
	const view = "usergrid.view.management.users.user.activate"
	if a := w.ok(config("")); a.Str("action") != "get organization configuration" || a.Str("configuration", "usergrid.rest.default-connection-param") != "all" {
		t.Error(a.Text)
	}
	a := w.ok(put("?only_changed=true", object{"usergrid.api.url.base": "https://api.acme.example", view: "https://acme.example/welcome"}))
	if a.Str("action") != "put organization configuration" || len(a.Get("configuration").(object)) != 2 {
		t.Error(a.Text)
	}
	if a := w.ok(put("", object{"usergrid.rest.default-connection-param": "none"})); a.Str("configuration", view) == "" {
		t.Error(a.Text)
	}
	a = w.ok(config("?separate_defaults=true"))
	if len(a.Get("orgConfiguration").(object)) != 3 || a.Get("configuration") != nil || a.Str("defaults", "usergrid.rest.default-connection-param") != "all" {
		t.Error(a.Text)
	}
	if a := w.ok(config("?items=" + view + ",other")); len(a.Get("configuration").(object)) != 1 {
		t.Error(a.Text)
	}
	w.ok(put("", object{view: ""}))
	if a := w.ok(config("")); a.Get("configuration", view) != nil {
		t.Error(a.Text)
	}
	for _, body := range []object{
		{"other": "x"}, {view: 7}, {view: "javascript:alert(1)"}, {view: "https://x\r\ny"}, {"usergrid.rest.default-connection-param": "some"},
		{"usergrid.api.url.base": "ftp://x"}, {"usergrid.admin.sysadmin.email": "nobody"}, {"usergrid.view." + strings.Repeat("x", 300): "https://x"},
	} {
		w.refused(arg, put("", body))
	}
	if a := w.refused(arg, put("", object{"a": "1", "b": "2"})); !strings.Contains(a.Str("error_description"), `"a","b"`) {
		t.Error(a.Text)
	}
	w.refused("400 json_mapping", put("", "[]"))
	w.refused(arg, put("", nil))
	// Its applications answer as it wants, and others' as before.
	for _, app := range []string{"/acme/shop", "/other/shop"} {
		w.ok(call{Method: "POST", Path: app + "/items", Token: w.super, Body: object{"name": "a"}})
		w.ok(call{Method: "POST", Path: app + "/items/a/likes/items/a", Token: w.super})
		shown, asked := w.ok(call{Path: app + "/items", Token: w.super}), w.ok(call{Path: app + "/items?connections=all", Token: w.super})
		own := app == "/acme/shop"
		if strings.HasPrefix(shown.Str("uri"), "https://api.acme.example/acme/shop/items") != own || strings.Contains(shown.Text, "connecting") == own || !strings.Contains(asked.Text, "connecting") {
			t.Errorf("%s: %s", app, shown.Text)
		}
	}
	// Its links begin with its own base URL.
	w.ok(call{Method: "POST", Path: "/management/orgs/acme/users", Token: w.acme.owner, Body: object{"email": "kim@example.org", "password": "pw4kim"}})
	if m := w.Mails.Take(t, "admin-password-reset", "kim@example.org"); !strings.HasPrefix(m.Link, "https://api.acme.example/management/users/") {
		t.Errorf("%+v", m)
	}
}
