package management_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/management"
)

// Item 11 of spec management section 11: what is deleted comes back.
func TestRestore(t *testing.T) {
	w := newWorld(t)
	apps := "/management/orgs/acme/apps/"
	remove := func(named string, more string) call {
		return call{Method: "DELETE", Path: apps + named + "?confirm_application_identifier=" + named + more, Token: w.acme.owner}
	}
	restore := func(id, more string) call {
		return call{Method: "PUT", Path: apps + id + more, Token: w.acme.owner}
	}
	w.ok(call{Method: "POST", Path: "/acme/shop/books", Token: w.acme.owner, Body: object{"name": "dune"}})
	w.ok(remove("shop", ""))
	w.refused(gone, restore("shop", ""))
	again := w.ok(call{Method: "POST", Path: apps, Token: w.acme.owner, Body: object{"name": "shop"}}).Str("data", "acme/shop")
	w.refused("409 conflict", restore(w.acme.appID, ""))
	w.refused("409 conflict", remove("shop", ""))
	w.ok(call{Method: "POST", Path: apps, Token: w.acme.owner, Body: object{"name": "two"}})
	two := w.ok(call{Path: apps + "two", Token: w.acme.owner}).Str("application")
	secretOfTwo := w.ok(call{Path: apps + "two/credentials", Token: w.acme.owner}).Str("credentials", "client_secret")
	w.ok(call{Method: "POST", Path: "/acme/two/books", Token: w.acme.owner, Body: object{"name": "emma"}})
	w.ok(remove("two", ""))
	w.refused(gone, call{Method: "PUT", Path: "/management/orgs/other/apps/" + two, Token: w.other.owner})
	a := w.ok(restore(two, ""))
	if a.Str("action") != "restore" || a.Str("application") != two || a.Str("applicationName") != "two" || a.Str("organization") != "acme" || a.Get("params") == nil {
		t.Error(a.Text)
	}
	w.refused(gone, restore(two, ""))
	if b := w.ok(call{Path: "/acme/two/books/emma", Token: w.acme.owner}); b.Str("entities", 0, "name") != "emma" {
		t.Error(b.Text)
	}
	if now := w.ok(call{Path: apps + "two/credentials", Token: w.acme.owner}).Str("credentials", "client_secret"); now == secretOfTwo || now == "" {
		t.Error("the secret is the old one")
	}
	feed := w.ok(call{Path: "/management/orgs/acme/feed?limit=1", Token: w.acme.owner})
	if feed.Str("entities", 0, "verb") != "restore" || !strings.HasSuffix(feed.Str("entities", 0, "title"), "restored an application named acme/two") {
		t.Error(feed.Text)
	}
	if again == w.acme.appID {
		t.Error("the deleted application is back")
	}

	// Under a password of the superuser's.
	lock := call{Method: "DELETE", Path: apps + "two?confirm_application_identifier=two&restore_password=opensesame", Token: w.super}
	if a := w.ok(lock); strings.Contains(a.Text, "opensesame") {
		t.Error(a.Text)
	}
	w.refused(arg, restore(two, ""))
	w.refused(arg, restore(two, "?restore_password=wrong"))
	if a := w.ok(restore(two, "?restore_password=opensesame")); strings.Contains(a.Text, "opensesame") {
		t.Error(a.Text)
	}
	if a := w.ok(call{Path: apps + "two", Token: w.acme.owner}); strings.Contains(a.Text, "restore") || strings.Contains(a.Text, "$2") {
		t.Error(a.Text)
	}
	w.ok(remove("two", "&restore_password=mine")) // a member sets none, and clears the other
	w.ok(restore(two, ""))
}

func TestSizes(t *testing.T) {
	w := newWorldWith(t, apitest.Options{Management: func(c *management.Config) { c.MaxMeasured = 10 }})
	size := func(path, of string) float64 {
		n, _ := w.ok(call{Path: "/management/organizations/acme/applications/sandbox" + path, Token: w.acme.clientToken}).Get("metadata", "aggregation", "size", of).(float64)
		return n
	}
	w.ok(call{Path: "/acme/sandbox/books"}) // its roles come with the first request
	before := size("/_size", "application")
	made := w.ok(call{Method: "POST", Path: "/acme/sandbox/books", Body: object{"name": "dune"}})
	delete(made.Get("entities", 0).(object), "metadata")
	want := float64(len(fmt.Sprintf(`{"uuid":%q,"type":"book","created":%.0f,"modified":%.0f,"name":"dune"}`, made.Str("entities", 0, "uuid"), made.Get("entities", 0, "created"), made.Get("entities", 0, "modified"))))
	if got := size("/book/_size", "books"); got != want {
		t.Errorf("a collection of %f bytes, want %f", got, want)
	}
	if got := size("/collections/_size", "books"); got != want {
		t.Errorf("of all, %f bytes, want %f", got, want)
	}
	if got := size("/_size", "application"); got != before+want {
		t.Errorf("the application grew from %f to %f", before, got)
	}
	if a := w.ok(call{Path: "/management/orgs/acme/apps/shop/nothings/_size", Token: w.acme.owner}); a.Get("metadata", "aggregation", "size", "nothings") != 0.0 || a.Str("action") != "get collection size for all entities" {
		t.Error(a.Text)
	}
	w.refused(arg, call{Path: "/management/orgs/acme/apps/shop/entities/_size", Token: w.acme.owner})
	var more []object
	for i := range 10 {
		more = append(more, object{"name": fmt.Sprint("n", i)})
	}
	w.ok(call{Method: "POST", Path: "/acme/sandbox/books", Body: more}) // eleven now
	for path, want := range map[string]string{"/book/_size": "400 query_too_costly", "/_size": "400 query_too_costly", "/collections/_size": "400 query_too_costly", "/roles/_size": "200"} {
		w.refused(want, call{Path: "/management/orgs/acme/apps/sandbox" + path, Token: w.acme.owner})
	}
}

// Spec management section 8.
func TestSystem(t *testing.T) {
	w := newWorld(t)
	basic := apitest.SuperuserName + ":" + apitest.SuperuserPassword
	if a := w.ok(call{Method: "PUT", Path: "/system/database/setup", Basic: basic}); a.Str("action") != "cassandra setup" || a.Str("status") != "ok" {
		t.Error(a.Text)
	}
	if a := w.ok(call{Path: "/system/superuser/setup", Basic: basic}); a.Str("action") != "superuser setup" {
		t.Error(a.Text)
	}
	if a := w.ok(call{Path: "/system/queue/size", Token: w.super}); a.Get("data", "queueDepth") != 0.0 {
		t.Error(a.Text)
	}
	for i := range 30 {
		w.ok(call{Method: "POST", Path: "/acme/shop/books", Token: w.acme.owner, Body: object{"name": fmt.Sprint("b", i)}})
	}
	wait := func(path string, status ...any) answer {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for {
			a := w.ok(call{Path: path, Token: w.super})
			if a.Str(status...) == "COMPLETE" {
				return a
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s", path, a.Text)
			}
		}
	}
	a := w.ok(call{Method: "POST", Path: "/system/index/rebuild/" + w.acme.appID + "/book", Token: w.super})
	if a.Str("action") != "rebuild indexes" || a.Str("status") != "STARTED" || a.Get("lastUpdateTime") == nil {
		t.Error(a.Text)
	}
	wait("/system/index/rebuild/"+a.Str("jobId"), "status")
	w.refused(missing, call{Method: "POST", Path: "/system/index/rebuild/" + w.acme.appID + "/nothings", Token: w.super})
	w.refused(gone, call{Path: "/system/index/rebuild/x", Token: w.super})

	clear := "/system/applications/" + w.acme.appID
	w.refused(arg, call{Method: "DELETE", Path: clear + "?confirmApplicationName=sandbox", Token: w.super})
	a = w.ok(call{Method: "DELETE", Path: clear + "?confirmApplicationName=Shop", Token: w.super})
	if a.Str("action") != "clear application" || a.Str("data", "status") != "STARTED" || a.Str("data", "jobId") == "" {
		t.Error(a.Text)
	}
	if done := wait(clear+"/job/"+a.Str("data", "jobId"), "data", "status"); done.Get("data", "metadata", "count") != 34.0 { // 30 books, a user, three roles
		t.Error(done.Text)
	}
	for _, collection := range []string{"books", "users"} {
		if left := w.ok(call{Path: "/acme/shop/" + collection, Token: w.acme.owner}); len(left.each("entities", "uuid")) != 0 {
			t.Error(left.Text)
		}
	}
	w.ok(call{Path: "/acme/sandbox/books"}) // another application keeps all
	w.refused(gone, call{Path: clear + "/job/x", Token: w.super})
	w.refused(gone, call{Method: "DELETE", Path: "/system/applications/00000000-0000-0000-0000-000000000001?confirmApplicationName=management", Token: w.super})

	// Settings of a provider are stored, and shown to nobody.
	provider := "/management/orgs/acme/apps/shop/sia-provider?provider_key="
	a = w.ok(call{Method: "POST", Path: provider + "facebook", Token: w.acme.owner, Body: object{"api_url": "https://x.example", "secret": "hush-hush"}})
	if a.Str("action") != "post signin provider configuration" {
		t.Error(a.Text)
	}
	w.ok(call{Method: "POST", Path: provider + "pingident", Token: w.acme.owner, Body: object{"client\U000e0067\"": "\u0001"}})
	w.refused(arg, call{Method: "POST", Path: provider + "other", Token: w.acme.owner, Body: object{}})
	w.refused(arg, call{Method: "POST", Path: provider + "facebook", Token: w.acme.owner, Body: object{"a": object{}}})
	w.refused("413 entity_too_large", call{Method: "POST", Path: provider + "facebook", Token: w.acme.owner, Body: object{"a": strings.Repeat("x", 20000)}})
	for _, path := range []string{"/acme/shop", "/management/orgs/acme/apps/shop"} {
		if a := w.ok(call{Path: path, Token: w.super}); strings.Contains(a.Text, "hush-hush") {
			t.Error(a.Text)
		}
	}
	w.ok(call{Method: "PUT", Path: "/acme/shop", Token: w.acme.owner, Body: object{"s:signin:facebook": "x", "s:restore": "y"}})
}
