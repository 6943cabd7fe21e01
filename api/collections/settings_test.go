package collections_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
)

// data returns the field "data" of a body as JSON.
func data(t *testing.T, body string) string {
	t.Helper()
	var fields struct{ Data json.RawMessage }
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		t.Fatal(err)
	}
	return string(fields.Data)
}

// admin is the same as the owner of the organisation.
func (r *rest) admin() *rest { return r.as(r.Admin) }

// TestSettings is spec collections-and-entities section 11.
func TestSettings(t *testing.T) {
	r := newRest(t).admin()
	if a := r.ok("GET", "/battles/_settings", ""); strings.Contains(a.Body, `"data"`) || len(a.Entities()) != 0 {
		t.Errorf("never set: %s", a.Body)
	}
	a := r.ok("POST", "/battles/_settings", `{"fields":["year","one.key"],"queueIndex":"nonsense","indexConsistency":"latest"}`)
	got := data(t, a.Body)
	for _, want := range []string{`"lastReindexed":0`, `"fields":["year","one.key"]`, `"queueIndex":"config"`, `"indexConsistency":"latest"`, `"lastUpdateBy":"dana@`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	r.ok("POST", "/battles", `[{"name":"a","year":1066,"who":"x","one":{"key":{"deep":1},"other":2}},{"name":"b","year":1815}]`)
	for ql, want := range map[string]string{
		"year > 0": "b a", "who = 'x'": "", "one.key.deep = 1": "a", "one.other = 2": "", "name = 'a'": "a", "not who = 'x'": "b a",
		"order by year": "a b", "order by who": "b a", "created > 0": "b a",
	} {
		if got := names(r.query("/battles", ql)); got != want {
			t.Errorf("%s: %s, want %s", ql, got, want)
		}
	}
	if got := data(t, r.ok("GET", "/battles/indexes", "").Body); got != `["created","modified","name","one.key.deep","type","uuid","year"]` {
		t.Errorf("indexes: %s", got)
	}
	r.ok("PUT", "/battles/_settings?replace_all=false", `{"queueIndex":"async"}`)
	if got := data(t, r.ok("GET", "/battles/_settings", "").Body); !strings.Contains(got, `"fields":["year","one.key"]`) || !strings.Contains(got, `"queueIndex":"async"`) {
		t.Errorf("a part replaced: %s", got)
	}
	r.ok("POST", "/battles/_settings", `{"fields":"none"}`)
	if got := names(r.query("/battles", "year > 0")); got != "" {
		t.Errorf("found without an index: %s", got)
	}
	if got := names(r.ok("GET", "/battles", "")); got != "b a" {
		t.Errorf("listed without an index: %s", got)
	}
	r.ok("DELETE", "/battles/_settings", "")
	if a := r.ok("GET", "/battles/_settings", ""); strings.Contains(a.Body, `"data"`) {
		t.Errorf("deleted: %s", a.Body)
	}
	if got := names(r.query("/battles", "who = 'x'")); got != "a" {
		t.Errorf("all is indexed again, and found is %s", got)
	}
	for body, code := range map[string]string{
		"": "null_argument", `{"authoritativeRegion":"mars"}`: "null_argument", `{"fields":"some"}`: "illegal_argument", `{"fields":7}`: "illegal_argument",
		`{"indexes":[["a"]]}`: "illegal_argument", `{"indexes":[["a","b up"]]}`: "illegal_argument", `{"indexes":[["a","b","c","d","e"]]}`: "illegal_argument",
		`{"indexes":"a"}`: "illegal_argument", `{"indexes":[["a","a desc"]]}`: "illegal_argument",
		`{"indexes":[` + strings.Repeat(`["a","b"],`, 16) + `["a","b"]]}`: "illegal_argument",
	} {
		r.fails("POST", "/battles/_settings", body, 400, code)
	}
	for _, body := range []string{"null", "[]", "5"} { // it must not drop what is there
		r.fails("POST", "/battles/_settings", body, 400, "json_mapping")
	}
	r.as("").fails("POST", "/battles/_settings", `{"fields":"none"}`, 401, "unauthorized")
}

// TestCompositeIndex: declared while entities are there, it is built while queries go
// on, and then answers them.
func TestCompositeIndex(t *testing.T) {
	r := newRest(t).admin()
	var list []string
	for i := range 300 {
		list = append(list, fmt.Sprintf(`{"name":"t%03d","status":"%s","n":%d}`, i, []string{"open", "done"}[i%2], i%7))
	}
	r.ok("POST", "/tickets", "["+strings.Join(list, ",")+"]")
	ql := "status = 'open' order by n desc"
	before := names(r.query("/tickets", ql))
	r.ok("POST", "/tickets/_settings", `{"indexes":[["status","n desc"]]}`)
	if got := names(r.query("/tickets", ql)); got != before {
		t.Errorf("while it is built: %s, want %s", got, before)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		got := data(t, r.ok("GET", "/tickets/_settings", "").Body)
		if strings.Contains(got, `"indexes":[{"properties":["status","n desc"],"state":"ready","entries":300}]`) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not built: %s", got)
		}
	}
	if got := names(r.query("/tickets", ql)); got != before {
		t.Errorf("by the index: %s, want %s", got, before)
	}
	a := r.ok("GET", "/tickets?explain=true&limit=10&ql="+url.QueryEscape(ql), "")
	if plan, _ := json.Marshal(a.Fields["plan"]); !strings.Contains(string(plan), "status, n desc") {
		t.Errorf("the plan does not use it: %s", plan)
	}
	if got := r.ok("GET", "/tickets/_settings", "").Body; !strings.Contains(got, `"fields":"all"`) {
		t.Errorf("fields: %s", got)
	}
	// The reply of a job is no envelope of entities.
	job := r.do("POST", "/tickets/_reindex", "")
	if job.Status != 200 || job.Fields["status"] != "STARTED" || job.Fields["action"] != "rebuild indexes" || job.Fields["jobId"] == nil || job.Fields["collection"] != "tickets" {
		t.Errorf("re-index: %d %s", job.Status, job.Body)
	}
	r.await("/tickets/_reindex", "COMPLETE")
	r.fails("POST", "/tickets/_reindex", `{"updated":"x"}`, 400, "illegal_argument")
	r.fails("POST", "/nosuch/_reindex", "", 404, "service_resource_not_found")
	if a := r.do("GET", "/nosuch/_reindex", ""); a.Fields["status"] != "UNKNOWN" {
		t.Errorf("of no collection: %s", a.Body)
	}
}

// await waits until a job has a status.
func (r *rest) await(path, status string) apitest.Answer {
	r.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		a := r.do("GET", path, "")
		if a.Fields["status"] == status {
			return a
		}
		if time.Now().After(end) {
			r.Fatalf("GET %s: %s, want %s", path, a.Body, status)
		}
	}
}

// TestClear is spec collections-and-entities section 13.
func TestClear(t *testing.T) {
	r := newRest(t).admin()
	var list []string
	for i := range 700 {
		list = append(list, fmt.Sprintf(`{"name":"n%d"}`, i))
	}
	r.ok("POST", "/nodes", "["+strings.Join(list, ",")+"]")
	job := r.do("POST", "/nodes/_clear", "")
	if job.Status != 200 || job.Fields["status"] != "STARTED" {
		t.Fatalf("%d %s", job.Status, job.Body)
	}
	r.ok("POST", "/nodes", `{"name":"late"}`)
	if a := r.await(fmt.Sprintf("/nodes/_clear/%s", job.Fields["jobId"]), "COMPLETE"); number(a.Fields["numberCheckedForDeletion"]) != 700 {
		t.Errorf("counted: %s", a.Body)
	}
	if got := names(r.ok("GET", "/nodes", "")); got != "late" {
		t.Errorf("left: %s", got)
	}
	if a := r.ok("GET", "", ""); !strings.Contains(a.Body, `"nodes":{"title":"Nodes","count":1`) {
		t.Errorf("counted: %s", a.Body)
	}
	job = r.do("POST", "/nodes/_clear", `{"updatedBefore":1000}`)
	r.await(fmt.Sprintf("/nodes/_clear/%s", job.Fields["jobId"]), "COMPLETE")
	if got := names(r.ok("GET", "/nodes", "")); got != "late" {
		t.Errorf("left of what is younger: %s", got)
	}
	r.fails("DELETE", "/nodes/_clear", "", 405, "unsupported_service_operation")
	r.fails("GET", "/nodes/_clear/x", "", 404, "service_resource_not_found")
	r.as("").fails("POST", "/nodes/_clear", "", 401, "unauthorized")
}

// TestClearGroups: the roles of a group alone go with it, whichever way it goes.
func TestClearGroups(t *testing.T) {
	r := newRest(t).admin()
	var list []string
	for i := range 300 {
		list = append(list, fmt.Sprintf(`{"path":"g%d"}`, i))
	}
	r.ok("POST", "/groups", "["+strings.Join(list, ",")+"]")
	r.ok("POST", "/users", `{"username":"ana"}`)
	for _, group := range []string{"g0", "g299"} {
		role := r.ok("POST", "/groups/"+group+"/roles", `{"name":"lead"}`).Entity()
		r.ok("POST", fmt.Sprintf("/roles/%s/users/ana", role["uuid"]), "")
	}
	r.ok("POST", "/roles/guest/users/ana", "")
	job := r.do("POST", "/groups/_clear", "")
	late := r.ok("POST", "/groups", `{"path":"late"}`).Entity()
	r.ok("POST", "/groups/late/roles", `{"name":"lead"}`)
	if a := r.await(fmt.Sprintf("/groups/_clear/%s", job.Fields["jobId"]), "COMPLETE"); number(a.Fields["numberCheckedForDeletion"]) != 300 {
		t.Errorf("counted: %s", a.Body)
	}
	if a := r.ok("GET", "/users/ana/rolenames", ""); len(a.Fields["data"].(map[string]any)) != 1 {
		t.Errorf("roles that are left: %s", a.Body)
	}
	if a := r.ok("GET", "", ""); !strings.Contains(a.Body, `"roles":{"title":"Roles","count":4`) { // three, and that of late
		t.Errorf("counted: %s", a.Body)
	}
	r.ok("GET", fmt.Sprintf("/roles/%s:lead", late["uuid"]), "")
}
