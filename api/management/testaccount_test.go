package management_test

import (
	"strings"
	"testing"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/api/management"
)

// TestTestAccount: it is there from the start, is made once, and nothing stands before it.
func TestTestAccount(t *testing.T) {
	account := management.DefaultTestAccount()
	if account.Check() == nil {
		t.Error("an account without a password")
	}
	account.Password = "try-me-out"
	opts := apitest.Options{
		TestAccount: &account, Empty: true,
		Directory: func(c *directory.Config) { c.ConfirmAdmins = true },
		Management: func(c *management.Config) {
			c.Registration = management.Registration{ConfirmAdmins: true, ApproveOrganizations: true, Operator: "boss@example.org"}
		},
	}
	dir := t.TempDir()
	first, err := apitest.OpenWith(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	w := beginWith(t, dir, opts)
	owner := w.login("test@usergrid.com", account.Password)
	a := w.ok(call{Path: "/management/orgs/Test-Organization", Token: owner})
	if apps, _ := a.Get("organization", "applications").(object); len(apps) != 2 || apps["test-organization/test-app"] == nil || apps["test-organization/sandbox"] == nil {
		t.Error(a.Text)
	}
	if feed := w.ok(call{Path: "/management/orgs/test-organization/feed", Token: owner}); len(feed.each("entities", "uuid")) != 1 {
		t.Error(feed.Text)
	}
	w.ok(call{Method: "POST", Path: "/test-organization/test-app/books", Token: owner, Body: object{"name": "dune"}})
	for _, m := range w.Mails.All() {
		t.Errorf("a mail: %+v", m)
	}
	// Others have to be confirmed.
	w.ok(call{Method: "POST", Path: "/management/users", Body: object{"username": "kim", "email": "kim@example.org", "password": password}})
	w.refused("403 invalid_grant", call{Method: "POST", Path: "/management/token", Body: object{"grant_type": "password", "username": "kim", "password": password}})
}

// TestUsersMayAll: who administers an application is told that its users may do everything.
func TestUsersMayAll(t *testing.T) {
	w := newWorld(t)
	const line = "the role default grants everything"
	warned := func() int { return strings.Count(w.log.String(), line) }
	status := func(app string) any {
		return w.ok(call{Path: "/management/orgs/acme/apps/" + app + "/status", Token: w.acme.owner}).Get("warnings")
	}
	w.ok(call{Path: "/acme/sandbox/books"})
	if status("sandbox") != nil || warned() != 0 {
		t.Errorf("before its users came, or of the sandbox: %v, %d", status("sandbox"), warned())
	}
	w.ok(call{Path: "/acme/shop/books", Token: w.acme.user})
	w.ok(call{Method: "POST", Path: "/acme/shop/roles/guest/permissions", Token: w.acme.user, Body: object{"permission": "get:/books"}})
	w.ok(call{Path: "/acme/shop/books", Token: w.acme.user})
	if warned() != 1 {
		t.Errorf("warned %d times", warned())
	}
	if list, _ := status("shop").([]any); len(list) != 1 || !strings.Contains(list[0].(string), "/**") {
		t.Errorf("%v", status("shop"))
	}
	w.ok(call{Method: "DELETE", Path: "/acme/shop/roles/default/permissions?permission=get,put,post,delete:/**", Token: w.acme.owner})
	if status("shop") != nil {
		t.Errorf("%v", status("shop"))
	}
}
