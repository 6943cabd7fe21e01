package portage_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/api/portage"
	"github.com/trellisdb/trellis/storage/objects"
	"github.com/trellisdb/trellis/storage/objects/objectstest"
)

// TestContentsOverAStore: data, feeds and counters go to an object store in files that cut
// them anywhere, and come back as they were.
func TestContentsOverAStore(t *testing.T) {
	w := newStored(t, 4000)
	w.populate("shop")
	w.fill("shop")
	before := w.shows("shop")
	out := w.export("shop", w.Admin, "")
	if job := w.exports("/apps/shop/export", bucketName+"/daily"); job["state"] != "FINISHED" {
		t.Fatalf("export: %v", job)
	}
	if n := len(w.files("daily/acme/shop/")); n < 12 {
		t.Errorf("%d files", n)
	}
	w.newApp("copy")
	job, files := w.imports("copy", bucketName+"/daily")
	if job["state"] != "FINISHED" {
		t.Fatalf("import: %v %v", job, files)
	}
	for _, f := range files {
		if fmt.Sprint(f["failedLineCount"]) != "0" {
			t.Errorf("file: %v", f)
		}
	}
	if d := cmp.Diff(before, w.shows("copy")); d != "" {
		t.Errorf("the copy (-want +got):\n%s", d)
	}
	if d := cmp.Diff(canonical(t, out), canonical(t, w.export("copy", w.Admin, ""))); d != "" {
		t.Errorf("export of the copy (-want +got):\n%.4000s", d)
	}
	if job, _ := w.imports("copy", bucketName+"/daily"); job["state"] != "FINISHED" {
		t.Errorf("once more: %v", job)
	}
	if d := cmp.Diff(before, w.shows("copy")); d != "" {
		t.Errorf("once more (-want +got):\n%s", d)
	}
	w.sound()
	if job := w.exports("/apps/shop/export?data=false", bucketName+"/bare"); job["state"] != "FINISHED" {
		t.Fatalf("export: %v", job)
	}
	for key, text := range w.files("bare/") {
		if strings.Contains(text, `"kind":"data"`) {
			t.Errorf("%s has data in it", key)
		}
	}
}

// TestDataInABucket is carried from one application to another, each of whose objects are
// its own; pieces that waited in the cluster are gone in the end.
func TestDataInABucket(t *testing.T) {
	store := objectstest.Start(t, "data")
	bucket, err := objects.Open(store.Config("data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bucket.Close)
	server, err := apitest.OpenWith(t.TempDir(), apitest.Options{Objects: assets.Bucket{Client: bucket}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{Server: server, T: t}
	w.newApp("shop")
	w.newApp("copy")
	w.fill("shop")
	before := w.shows("shop")
	out := w.export("shop", w.Admin, "")
	lines := strings.SplitAfter(out, "\n")
	w.load("copy", w.Admin, strings.Join(lines[:len(lines)*2/3], ""), "")
	store.SetDown(true)
	if a, err := w.Do("POST", "/management/orgs/acme/apps/copy/import?part=edges&replace=true", w.Admin, out); err != nil || a.Status == 200 && !strings.Contains(a.Body, `"attached":0`) {
		t.Errorf("without the store: %v %d %s", err, a.Status, a.Body)
	}
	store.SetDown(false)
	if sum := w.load("copy", w.Admin, out, ""); sum.Failed != 0 || sum.Attached+sum.Had != 7 {
		t.Errorf("import: %s", sum)
	}
	if d := cmp.Diff(before, w.shows("copy")); d != "" {
		t.Errorf("the copy (-want +got):\n%s", d)
	}
	w.sound()
	if sum := w.load("copy", w.Admin, out, "&replace=true"); sum.Failed != 0 || sum.Had != 7 {
		t.Errorf("once more: %s", sum)
	}
	// Objects of data that was replaced go by and by: seven of each application stay.
	for end := time.Now().Add(time.Minute); len(store.Keys(t, "data")) != 14; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the bucket has %d objects", len(store.Keys(t, "data")))
		}
	}
	for _, app := range []string{"shop", "copy"} {
		a := w.must("GET", "/management/orgs/acme/apps/"+app+"/tasks", w.Admin, "")
		if fmt.Sprint(a.Fields["count"]) != "0" {
			t.Errorf("tasks of %s: %s", app, a.Body)
		}
	}
}

// TestContentsThatAreRefused are told by their lines, and the others come in.
func TestContentsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	const a, b, c = "10000000-0000-4000-8000-000000000001", "10000000-0000-4000-8000-000000000002", "10000000-0000-4000-8000-000000000003"
	items := `{"kind":"entity","collection":"items","uuid":"` + a + `","created":1000,"data":{"name":"milk"}}` + "\n" +
		`{"kind":"entity","collection":"users","uuid":"` + b + `","created":1000,"data":{"username":"ann"}}` + "\n"
	data := func(owner, blob string, size, chunk, offset int, text string) string {
		return fmt.Sprintf(`{"kind":"data","collection":"items","uuid":"%s","blob":"%s","size":%d,"chunk":%d,"offset":%d,"bytes":"%s"}`,
			owner, blob, size, chunk, offset, base64.StdEncoding.EncodeToString([]byte(text)))
	}
	for _, tc := range []struct{ line, code string }{
		{data(c, c, 2, 4, 0, "ab"), "service_resource_not_found"},
		{data(a, c, 5, 3, 3, "ab"), "entity_not_found"}, // the first piece is missing
		{data(a, c, 5, 3, 1, "abc"), "illegal_argument"},
		{data(a, c, 5, 3, 0, "ab"), "illegal_argument"},
		{data(a, c, 5, 0, 0, "abcde"), "illegal_argument"},
		{data(a, "x", 2, 4, 0, "ab"), "illegal_argument"},
		{data(a, c, 6<<20, 1<<20, 0, strings.Repeat("a", 1<<20)), "request_too_large"},
		{data(a, c, 2, 4, 0, "a") + "\n" + data(a, c, 2, 4, 0, "ab"), "illegal_argument"},
		{strings.Replace(data(a, c, 2, 4, 0, "ab"), `"bytes":"`, `"bytes":"!`, 1), "json_parse"},
		{`{"kind":"feed","collection":"users","uuid":"` + b + `","list":"feed","activities":["` + c + `"]}`, "service_resource_not_found"},
		{`{"kind":"feed","collection":"users","uuid":"` + c + `","list":"feed","activities":[]}`, "service_resource_not_found"},
		{`{"kind":"feed","collection":"items","uuid":"` + a + `","list":"feed","activities":[]}`, "illegal_argument"},
		{`{"kind":"feed","collection":"users","uuid":"` + b + `","list":"other","activities":[]}`, "illegal_argument"},
		{`{"kind":"counter","name":"application.entities","day":0,"minutes":[[0,1]]}`, "illegal_argument"},
		{`{"kind":"counter","name":"a..b","day":0,"minutes":[[0,1]]}`, "illegal_argument"},
		{`{"kind":"counter","name":"a","day":5,"minutes":[[0,1]]}`, "illegal_argument"},
		{`{"kind":"counter","name":"a","day":0,"minutes":[[1440,1]]}`, "illegal_argument"},
		{`{"kind":"counter","name":"a","day":0,"minutes":[[1,1],[1,1]]}`, "illegal_argument"},
		{`{"kind":"counter","name":"a","day":0,"minutes":[[1,1.5]]}`, "json_parse"},
		{`{"kind":"counter","name":"a","resets":1,"buckets":[["hour",1,1,1]]}`, "illegal_argument"},
		{`{"kind":"counter","name":"a","resets":1,"buckets":[["hour",0,1,2]]}`, "illegal_argument"},
		{`{"kind":"counter","name":"a","resets":1,"buckets":[["eon",0,1,1]]}`, "illegal_argument"},
		{`{"kind":"counter","name":"a","user":"x","day":0,"minutes":[]}`, "illegal_argument"},
	} {
		sum := w.load("shop", w.Admin, items+"{}\n"+tc.line+"\n", "&line=40")
		var codes []string
		for _, e := range sum.Errors {
			codes = append(codes, fmt.Sprintf("%d %s", e.Line, e.Error))
		}
		if got, want := strings.Join(codes, ", "), "43 "+tc.code; got != want {
			t.Errorf("%.200s\n%s, want %s", tc.line, sum, want)
		}
	}
	w.sound()
	// The same data cannot be that of two.
	w.must("DELETE", "/acme/shop/items/milk", w.Admin, "")
	other := strings.Replace(strings.Replace(items, a, c, 1), "milk", "bread", 1)
	if sum := w.load("shop", w.Admin, items+other+data(a, b, 2, 4, 0, "ab")+"\n"+data(c, b, 2, 4, 0, "ab"), ""); sum.Failed != 1 || sum.Errors[0].Error != "conflict" || sum.Attached != 1 {
		t.Errorf("data of two entities: %s", sum)
	}
	// What stands in headers is only what can.
	line := strings.Replace(data(c, c, 2, 4, 0, "ab"), `"bytes"`, `"metadata":{"content-type":"a/b\r\nX: y","etag":"\"e\"","last-modified":99999999999999,"more":1},"bytes"`, 1)
	if sum := w.load("shop", w.Admin, line, ""); sum.Attached != 1 {
		t.Errorf("metadata: %s", sum)
	}
	e, _ := w.must("GET", "/acme/shop/items/bread", w.Admin, "").Entity()["file-metadata"].(map[string]any)
	if len(e) != 3 || e["etag"] != `"e"` || fmt.Sprint(e["content-length"]) != "2" {
		t.Errorf("metadata: %v", e)
	}
	w.sound()
}

// TestContentsOfOthers are nobody's business.
func TestContentsOfOthers(t *testing.T) {
	w := newWorld(t)
	w.fill("shop")
	out := w.export("shop", w.Admin, "")
	w.must("POST", "/management/orgs", "", `{"organization":"other","username":"eve","email":"eve@example.test","password":"eve-secret"}`)
	eve, _ := w.must("POST", "/management/token", "", `{"grant_type":"password","username":"eve","password":"eve-secret"}`).Fields["access_token"].(string)
	user, _ := w.must("POST", "/acme/shop/users", w.Admin, `{"username":"kim","password":"kim-secret"}`).Entity()["uuid"].(string)
	kim, _ := w.must("POST", "/acme/shop/token", "", `{"grant_type":"password","username":"kim","password":"kim-secret"}`).Fields["access_token"].(string)
	if user == "" || kim == "" || eve == "" {
		t.Fatal("nobody signed in")
	}
	for _, token := range []string{eve, kim, ""} {
		for _, req := range [][3]string{
			{"GET", "/acme/shop/export?format=ndjson", ""},
			{"POST", "/management/orgs/acme/apps/shop/import?part=edges&replace=true", out},
			{"POST", "/management/orgs/acme/apps/shop/export", info("b")},
			{"POST", "/management/orgs/acme/apps/shop/imports", info("b")},
		} {
			if a, err := w.Do(req[0], req[1], token, req[2]); err != nil || a.Status != 401 || a.Code() == "" {
				t.Errorf("%s %s: %v %d %.200s", req[0], req[1], err, a.Status, a.Body)
			}
		}
	}
	// Whose organisation it is, and which application, both count.
	if a, err := w.Do("POST", "/management/orgs/other/apps/shop/import?part=edges", eve, out); err != nil || a.Status == 200 {
		t.Errorf("through another organisation: %v %d %.200s", err, a.Status, a.Body)
	}
}

// TestExportIsCancelled while the store does not answer, and one of several applications.
func TestExportIsCancelled(t *testing.T) {
	w := newStored(t, 1<<20)
	w.newApp("other")
	w.fill("shop")
	w.store.SetDown(true)
	defer w.store.SetDown(false)
	a, err := w.Do("POST", "/management/orgs/acme/apps/shop/export", w.Admin, info(bucketName))
	job, _ := a.Fields["Export Entity"].(string)
	if err != nil || a.Status != 202 || job == "" {
		t.Fatalf("export: %v %d %s", err, a.Status, a.Body)
	}
	w.cancel("shop", job)
	if e := w.ended("/management/orgs/acme/export/" + job); e["state"] != "FAILED" {
		t.Errorf("job: %v", e)
	}
	files := w.must("GET", "/management/orgs/acme/export/"+job+"/files", w.Admin, "").Entities()
	if len(files) != 1 || files[0]["state"] != "FAILED" || files[0]["errorMessage"] != "cancelled" {
		t.Errorf("files: %v", files)
	}
	a, err = w.Do("POST", "/management/orgs/acme/export", w.Admin, info(bucketName+"/all"))
	if job, _ = a.Fields["Export Entity"].(string); err != nil || job == "" {
		t.Fatalf("export: %v %d %s", err, a.Status, a.Body)
	}
	w.cancel("shop", job)
	w.store.SetDown(false)
	if e := w.ended("/management/orgs/acme/export/" + job); e["state"] != "FAILED" || e["errorMessage"] != "1 of 3 files failed" {
		t.Errorf("job of all: %v", e)
	}
	if n := len(w.files("all/acme/shop/")); n > 0 {
		t.Errorf("%d files of what was cancelled", n)
	}
	if n := len(w.files("all/acme/other/")); n != 1 {
		t.Errorf("%d files of the other", n)
	}
}

// cancel cancels the task that exports an application, once it is there.
func (w *stored) cancel(app, job string) {
	w.Helper()
	path := "/management/orgs/acme/apps/" + app + "/tasks"
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		list, _ := w.must("GET", path, w.Admin, "").Fields["data"].([]any)
		for _, one := range list {
			task, _ := one.(map[string]any)
			if task["kind"] != "export" {
				continue
			}
			if task["cancellable"] != true {
				w.Errorf("task: %v", task)
			}
			w.must("DELETE", fmt.Sprint(path, "/", task["uuid"]), w.Admin, "")
			return
		}
		if time.Now().After(end) {
			w.Fatalf("job %s has no task in %s", job, app)
		}
	}
}

// TestEndedStream: a client that goes away in the middle of an export leaves nothing behind,
// and others can export.
func TestEndedStream(t *testing.T) {
	w := newWorld(t)
	w.fill("shop")
	for range 2 * portage.DefaultConfig().Exports {
		if a, err := w.Do("HEAD", "/acme/shop/export", w.Admin, ""); err != nil || a.Status >= 500 && a.Status != 503 {
			t.Errorf("HEAD: %v %d", err, a.Status)
		}
		ctx, cancel := context.WithCancel(w.Context())
		w.leave(ctx, cancel)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		a, err := w.Do("GET", "/acme/shop/export?format=ndjson", w.Admin, "")
		if err == nil && a.Status == 200 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("export: %v %d", err, a.Status)
		}
	}
}
