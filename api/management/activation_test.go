package management_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/management"
	"github.com/trellisdb/trellis/storage/entity"
)

const operator = "ops@example.org"

// registering is a world in which something stands between registering and signing in.
func registering(t *testing.T, configure func(*management.Registration)) *world {
	t.Helper()
	r := management.Registration{Operator: operator}
	configure(&r)
	w := beginWith(t, t.TempDir(), apitest.Options{
		Management: func(c *management.Config) { c.Registration = r },
		Directory:  func(c *directory.Config) { c.ConfirmAdmins = r.ConfirmAdmins },
	})
	w.super = w.login(apitest.SuperuserName, apitest.SuperuserPassword)
	return w
}

// register creates an organisation and returns the answer.
func (w *world) register(name string) answer {
	w.t.Helper()
	return w.ok(call{Method: "POST", Path: "/management/orgs", Body: object{
		"organization": name, "username": name + "owner", "name": "Dana <Roe>", "email": name + "@example.org", "password": password,
		"activated": true, "confirmed": true,
	}})
}

// pathOf is a link without scheme and host, as it is called here.
func (w *world) pathOf(link string) string {
	w.t.Helper()
	path, ok := strings.CutPrefix(link, w.URL)
	if !ok {
		w.t.Errorf("the link %q leads elsewhere", link)
	}
	return path
}

// tokenIn is the token that a link ends with: what comes after "token=".
func tokenIn(m apitest.Mail) string {
	_, token, _ := strings.Cut(m.Text, "token=")
	return token
}

func signIn(username string) call {
	return call{Method: "POST", Path: "/management/token", Body: object{"grant_type": "password", "username": username, "password": password}}
}

// Item 8 of spec management section 11.
func TestConfirmation(t *testing.T) {
	w := registering(t, func(r *management.Registration) { r.ConfirmAdmins = true })
	made := w.register("acme")
	if made.Get("data", "owner", "activated") != false || made.Get("data", "owner", "confirmed") != false {
		t.Error(made.Text)
	}
	a := w.refused("403 invalid_grant", signIn("acmeowner"))
	if len(a.JSON) != 2 || a.Str("error_description") != "User must be confirmed to authenticate" {
		t.Error(a.Text)
	}
	m := w.Mails.Take(t, "admin-confirmation", "acme@example.org")
	id := made.Str("data", "owner", "uuid")
	if m.Subject != "User Account Confirmation: acme@example.org" || !strings.HasPrefix(m.Link, w.URL+"/management/users/"+id+"/confirm?token=ZW0t") || len(tokenIn(m)) != 52 {
		t.Errorf("%+v", m)
	}
	// The token is good for one purpose of one account, and for nothing at the API.
	token := tokenIn(m)
	for _, path := range []string{
		"/management/users/" + id + "/activate?token=" + token, "/management/users/root/confirm?token=" + token,
		"/management/orgs/acme/activate?token=" + token, "/management/orgs/acme/confirm?token=" + token,
		"/management/users/" + id + "/confirm?token=" + token[:51] + "x", "/management/users/" + id + "/confirm",
	} {
		w.refused(arg, call{Path: path})
	}
	w.refused("401 auth_invalid", call{Path: "/management/me", Token: token})
	w.refused("401 auth_invalid", call{Path: "/management/users/" + id + "?access_token=" + token})
	for _, how := range []string{"?token=", "?access_token=", "?confirm=false&token="} { // also again and again
		a = w.ok(call{Path: "/management/users/acmeowner/confirm" + how + token})
		if a.Str("action") != "confirm user" || a.Get("status") != nil {
			t.Error(a.Text)
		}
	}
	owner := w.login("acmeowner", password)
	if a := w.ok(call{Path: "/management/users/me", Token: owner}); a.Get("data", "activated") != true || a.Get("data", "confirmed") != true {
		t.Error(a.Text)
	}
	// By way of the organisation, and the page.
	w.ok(call{Path: "/management/orgs/acme/users/acmeowner/confirm?token=" + token})
	html := map[string]string{"Accept": "text/html,*/*"}
	page := w.ok(call{Path: w.pathOf(m.Link), Header: html})
	if !strings.Contains(page.Text, "confirmed") || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || page.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("%v %s", page.Header, page.Text)
	}
	bad := w.do(call{Path: "/management/users/acmeowner/confirm?token=x", Header: html})
	if bad.Status != 400 || !strings.Contains(bad.Text, "Confirmation token invalid or expired") {
		t.Errorf("%d %s", bad.Status, bad.Text)
	}
	// Who is invited has to confirm, too, and may have it sent again.
	w.ok(call{Method: "POST", Path: "/management/orgs/acme/users", Token: owner, Body: object{"email": "kim@example.org", "username": "kim", "password": password}})
	first := w.Mails.Take(t, "admin-confirmation", "kim@example.org")
	for _, who := range []string{"kim", "kim@example.org"} {
		if a := w.ok(call{Path: "/management/users/" + who + "/reactivate"}); a.Str("action") != "reactivate user" {
			t.Error(a.Text)
		}
	}
	second := w.Mails.Take(t, "admin-confirmation", "kim@example.org")
	w.refused("403 invalid_grant", signIn("kim"))
	w.ok(call{Path: w.pathOf(second.Link)})
	w.ok(call{Path: w.pathOf(first.Link)})
	w.login("kim", password)
	for range 10 {
		if a := w.do(call{Path: "/management/users/kim/reactivate"}); a.Status == 429 {
			return
		}
	}
	t.Error("mails without end")
}

func TestApproval(t *testing.T) {
	w := registering(t, func(r *management.Registration) {
		r.ConfirmAdmins, r.ApproveAdmins, r.NotifyAdmins, r.NotifyOfAdmins = true, true, true, true
		r.AdminOperator = "admins@example.org"
	})
	w.register("acme")
	confirm := w.Mails.Take(t, "admin-confirmation", "acme@example.org")
	a := w.ok(call{Path: w.pathOf(confirm.Link)})
	if a.Str("action") != "confirm user" || a.Str("status") != "confirmed_awaiting_activation" {
		t.Error(a.Text)
	}
	if m := w.Mails.Take(t, "admin-confirmed", "acme@example.org"); m.Subject != "User Account Confirmed" {
		t.Errorf("%+v", m)
	}
	if a := w.refused("400 invalid_grant", signIn("acmeowner")); a.Str("error_description") != "user not activated" {
		t.Error(a.Text)
	}
	activate := w.Mails.Take(t, "sysadmin-admin-activation", "admins@example.org")
	if activate.Subject != "Request For Admin User Account Activation acme@example.org" {
		t.Errorf("%+v", activate)
	}
	w.refused(arg, call{Path: strings.Replace(w.pathOf(activate.Link), "/activate", "/confirm", 1)})
	if a := w.ok(call{Path: w.pathOf(activate.Link)}); a.Str("action") != "activate user" {
		t.Error(a.Text)
	}
	if m := w.Mails.Take(t, "admin-activated", "acme@example.org"); m.Subject != "User Account Activated" {
		t.Errorf("%+v", m)
	}
	if m := w.Mails.Take(t, "sysadmin-admin-activated", "admins@example.org"); m.Subject != "Admin User Account Activated acme@example.org" {
		t.Errorf("%+v", m)
	}
	w.login("acmeowner", password)
	w.ok(call{Path: w.pathOf(activate.Link)}) // harmless
	// The superuser needs nothing of that.
	w.ok(call{Path: "/management/users/root/reactivate"})
	w.login(apitest.SuperuserName, apitest.SuperuserPassword)
	for _, m := range w.Mails.All() {
		t.Errorf("one more: %+v", m)
	}
}

func TestApprovalOfOrganizations(t *testing.T) {
	w := registering(t, func(r *management.Registration) { r.ApproveOrganizations, r.NotifyAdmins = true, true })
	made := w.register("acme")
	if made.Get("data", "owner", "activated") != false {
		t.Error(made.Text)
	}
	w.refused("400 invalid_grant", signIn("acmeowner"))
	if m := w.Mails.Take(t, "organization-confirmed", "acme@example.org"); m.Subject != "Organization Account Confirmed" {
		t.Errorf("%+v", m)
	}
	m := w.Mails.Take(t, "sysadmin-organization-activation", operator)
	id := made.Str("data", "organization", "uuid")
	if m.Subject != "Request For Organization Account Activation acme" || !strings.HasPrefix(m.Link, w.URL+"/management/organizations/"+id+"/activate?token=") || !strings.Contains(m.Text, "acme@example.org") {
		t.Errorf("%+v", m)
	}
	// Nobody gets round it.
	w.ok(call{Path: "/management/users/acmeowner/reactivate"})
	w.Mails.Take(t, "sysadmin-organization-activation", operator)
	w.ok(call{Path: "/management/orgs/acme/reactivate"})
	w.Mails.Take(t, "sysadmin-organization-activation", operator)
	w.refused("400 invalid_grant", signIn("acmeowner"))
	w.register("other")
	w.refused(arg, call{Path: "/management/orgs/other/activate?token=" + tokenIn(m)})
	for _, path := range []string{w.pathOf(m.Link), "/management/orgs/ACME/activate?access_token=" + tokenIn(m)} {
		if a := w.ok(call{Path: path}); a.Str("action") != "activate organization" {
			t.Error(a.Text)
		}
	}
	if a := w.ok(call{Path: "/management/orgs/acme/confirm?token=" + tokenIn(m)}); a.Str("action") != "confirm organization" {
		t.Error(a.Text)
	}
	if m := w.Mails.Take(t, "organization-activated", "acme@example.org"); m.Subject != "Organization Account Activated: acme" {
		t.Errorf("%+v", m)
	}
	w.login("acmeowner", password)
	w.refused("400 invalid_grant", signIn("otherowner"))
	if a := w.ok(call{Path: w.pathOf(m.Link), Header: map[string]string{"Accept": "text/html"}}); !strings.Contains(a.Text, "activated") {
		t.Error(a.Text)
	}
	bad := w.do(call{Path: "/management/orgs/acme/activate?token=x", Header: map[string]string{"Accept": "text/html"}})
	if bad.Status != 400 || !strings.Contains(bad.Text, "Activation token invalid or expired") {
		t.Errorf("%d %s", bad.Status, bad.Text)
	}
}

func TestConfirmationOfOrganizations(t *testing.T) {
	w := registering(t, func(r *management.Registration) { r.ConfirmOrganizations, r.NotifyOfOrganizations = true, true })
	w.register("acme")
	if m := w.Mails.Take(t, "sysadmin-organization-activated", operator); m.Subject != "Organization Account Activated acme" {
		t.Errorf("%+v", m)
	}
	m := w.Mails.Take(t, "organization-confirmation", "acme@example.org")
	if m.Subject != "Organization Account Confirmation" {
		t.Errorf("%+v", m)
	}
	w.refused("400 invalid_grant", signIn("acmeowner"))
	w.ok(call{Path: w.pathOf(m.Link) + "&confirm_email=true"})
	w.login("acmeowner", password)
	w.Mails.Take(t, "organization-activated", "acme@example.org")
	// Somebody who registers without an organisation has nothing to wait for.
	w.ok(call{Method: "POST", Path: "/management/users", Body: object{"username": "kim", "email": "kim@example.org", "password": password}})
	w.login("kim", password)
}

// An address that is none makes no mail, and no failure.
func TestAddressesThatAreNone(t *testing.T) {
	w := registering(t, func(r *management.Registration) { r.ApproveAdmins, r.Operator = true, "no address" })
	for _, none := range []string{"kim at home", "kim", "@example.org", "kim@", "kim\u0000@example.org", "a b@example.org"} {
		w.refused(arg, call{Method: "POST", Path: "/management/users", Body: object{"username": "kim", "email": none, "password": password}})
		w.refused(arg, call{Method: "POST", Path: "/management/orgs", Body: object{"organization": "kims", "username": "kim", "email": none, "password": password}})
		w.refused(arg, call{Method: "PUT", Path: "/management/users/me", Token: w.login(apitest.SuperuserName, apitest.SuperuserPassword), Body: object{"email": none}})
	}
	w.ok(call{Method: "POST", Path: "/management/users", Body: object{"username": "kim", "email": "k..m@localhost", "password": password}})
	w.ok(call{Method: "POST", Path: "/management/users/resetpw", Body: object{"email": "kim"}})
	if !strings.Contains(w.log.String(), "mail cannot be sent") {
		t.Error("nobody was told")
	}
}

// Item 9: somebody has forgotten his password.
func TestForgottenPassword(t *testing.T) {
	w := newWorld(t)
	const form = "application/x-www-form-urlencoded"
	html := map[string]string{"Accept": "text/html"}
	first := w.ok(call{Path: "/management/users/resetpw"})
	if !strings.Contains(first.Text, "Reset Password") || !strings.Contains(first.Text, `name="email"`) || !strings.HasPrefix(first.Header.Get("Content-Type"), "text/html") {
		t.Error(first.Text)
	}
	blank := w.ok(call{Method: "POST", Path: "/management/users/resetpw", Type: form, Body: "email=", Header: html})
	if !strings.Contains(blank.Text, "No email provided") {
		t.Error(blank.Text)
	}
	w.refused(arg, call{Method: "POST", Path: "/management/users/resetpw", Body: object{}})
	// Whether there is an account is not told.
	known := w.ok(call{Method: "POST", Path: "/management/users/resetpw", Body: object{"email": "ACME@example.org"}})
	other := w.ok(call{Method: "POST", Path: "/management/users/resetpw", Body: object{"email": "nobody@example.org"}})
	if known.Str("action") != "reset user password" || other.Str("action") != known.Str("action") || len(known.JSON) != len(other.JSON) {
		t.Errorf("%s %s", known.Text, other.Text)
	}
	m := w.Mails.Take(t, "admin-password-reset", "acme@example.org")
	if m.Subject != "Password Reset" || !strings.HasSuffix(m.Text, tokenIn(m)) {
		t.Errorf("%+v", m)
	}
	sent := w.ok(call{Method: "POST", Path: "/management/users/resetpw", Type: form, Body: encode("email", "acmeowner"), Header: html})
	if !strings.Contains(sent.Text, "instructions") {
		t.Error(sent.Text)
	}
	second := w.Mails.Take(t, "admin-password-reset", "acme@example.org")

	before := w.ok(call{Path: "/management/me", Token: w.acme.owner}).Get("passwordChanged").(float64)
	path, query, _ := strings.Cut(w.pathOf(second.Link), "?")
	token := strings.TrimPrefix(query, "token=")
	set := w.ok(call{Path: path + "?" + query})
	if !strings.Contains(set.Text, `name="password1"`) || !strings.Contains(set.Text, token) {
		t.Error(set.Text)
	}
	mail := w.ok(call{Path: path + "?token=x"})
	if !strings.Contains(mail.Text, "invalid token") || strings.Contains(mail.Text, "acme@example.org") || strings.Contains(mail.Text, `name="password1"`) {
		t.Error(mail.Text)
	}
	post := func(pairs ...string) answer {
		return w.ok(call{Method: "POST", Path: path, Type: form, Body: encode(pairs...), Header: html})
	}
	if a := post("token", token, "password1", "next-one", "password2", "other-one"); !strings.Contains(a.Text, "not the same") || !strings.Contains(a.Text, token) {
		t.Error(a.Text)
	}
	if a := post("token", token, "password1", "abc", "password2", "abc"); !strings.Contains(a.Text, "error_length_policy") {
		t.Error(a.Text)
	}
	if a := post("token", "ZW0t"+strings.Repeat("A", 48), "password1", "next-one", "password2", "next-one"); !strings.Contains(a.Text, "invalid token") {
		t.Error(a.Text)
	}
	w.refused(arg, call{Method: "POST", Path: "/management/users/otherowner/resetpw", Body: object{"token": token, "password1": "next-one", "password2": "next-one"}})
	w.login("acmeowner", password)
	if a := post("token", token, "password1", "next-one", "password2", "next-one"); !strings.Contains(a.Text, "password set") {
		t.Error(a.Text)
	}
	w.login("acmeowner", "next-one")
	if after := w.ok(call{Path: "/management/me", Token: w.acme.owner}).Get("passwordChanged").(float64); after <= before {
		t.Errorf("passwordChanged %f, then %f", before, after)
	}
	for _, used := range []string{token, tokenIn(m)} { // one change ends all of them
		if a := post("token", used, "password1", "third-one", "password2", "third-one"); !strings.Contains(a.Text, "invalid token") {
			t.Error(a.Text)
		}
		w.refused(arg, call{Method: "POST", Path: path, Body: object{"token": used, "password1": "third-one", "password2": "third-one"}})
	}
	w.login("acmeowner", "next-one")
	// With JSON.
	if a := w.ok(call{Method: "POST", Path: path, Body: object{}}); a.Str("action") != "reset user password" {
		t.Error(a.Text)
	}
	third := w.Mails.Take(t, "admin-password-reset", "acme@example.org")
	a := w.ok(call{Method: "POST", Path: path, Body: object{"token": tokenIn(third), "password1": "third-one", "password2": "third-one"}})
	if a.Str("action") != "reset user password" {
		t.Error(a.Text)
	}
	w.login("acmeowner", "third-one")
	if a := w.refused(unknown, call{Method: "POST", Path: "/management/users/acmeownre/resetpw", Type: form, Body: "", Header: html}); !strings.Contains(a.Text, "Could not find") {
		t.Error(a.Text)
	}
	// A form that another site has sent.
	evil := map[string]string{"Accept": "text/html", "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
	if a := w.ok(call{Method: "POST", Path: "/management/users/resetpw", Type: form, Body: encode("email", "otherowner"), Header: evil}); !strings.Contains(a.Text, "another site") {
		t.Error(a.Text)
	}
	for _, m := range w.Mails.All() {
		t.Errorf("one more: %+v", m)
	}
	if strings.Contains(w.log.String(), "ZW0t") {
		t.Error("a token is in the log")
	}
}

// Of several uses of one link at once, one counts.
func TestLinkIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	w.ok(call{Method: "POST", Path: "/management/users/resetpw", Body: object{"email": "acmeowner"}})
	m := w.Mails.Take(t, "admin-password-reset", "acme@example.org")
	path, _, _ := strings.Cut(w.pathOf(m.Link), "?")
	results := make(chan string, 8)
	for i := range 8 {
		go func() {
			next := strings.Repeat(string(rune('a'+i)), 8)
			a, err := w.try(call{Method: "POST", Path: path, Body: object{"token": tokenIn(m), "password1": next, "password2": next}})
			if err != nil {
				results <- err.Error()
				return
			}
			results <- a.Error()
		}()
	}
	won := 0
	for range 8 {
		if r := <-results; r == yes {
			won++
		} else if r != arg {
			t.Error(r)
		}
	}
	if won != 1 {
		t.Errorf("%d of them count", won)
	}
}

// Links end: with their time, with all tokens of their owner, and their texts prove
// nothing to another cluster.
func TestLinksEnd(t *testing.T) {
	w := registering(t, func(r *management.Registration) { r.ConfirmAdmins = true })
	w.register("acme")
	m := w.Mails.Take(t, "admin-confirmation", "acme@example.org")
	w.ok(call{Method: "PUT", Path: "/management/users/acmeowner/revoketokens", Token: w.super})
	w.refused(arg, call{Path: w.pathOf(m.Link)})
	key := auth.DeriveKey(w.Node.Cluster().Key, "token")
	_, text := auth.NewMailToken(key, entity.Management, time.Now().UnixMilli(), [auth.TokenEntropy]byte{1})
	for _, token := range []string{text, ""} {
		w.refused(arg, call{Path: "/management/users/acmeowner/confirm?token=" + url.QueryEscape(token)})
	}
	for _, number := range []entity.AppID{0, 77777} { // of no application
		_, text := auth.NewMailToken(key, number, time.Now().UnixMilli(), [auth.TokenEntropy]byte{1})
		w.refused(arg, call{Path: "/management/users/acmeowner/confirm?token=" + text})
	}
}
