package portage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/portage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/objects"
	"github.com/trellisdb/trellis/storage/objects/objectstest"
)

const bucketName = "exports"

// stored is a world with an object store.
type stored struct {
	*world
	store  *objectstest.Server
	bucket *objects.Bucket
}

func newStored(t *testing.T, slice int) *stored {
	store := objectstest.Start(t, bucketName)
	server, err := apitest.OpenWith(t.TempDir(), apitest.Options{Portage: func(c *portage.Config) {
		c.Endpoint, c.Region, c.PathStyle, c.SliceBytes = store.URL, objectstest.Region, true, slice
	}})
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("close server: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := objects.Open(objects.Config{
		Endpoint: store.URL, Region: objectstest.Region, Bucket: bucketName, AccessKey: objectstest.AccessKey, SecretKey: objectstest.SecretKey, PathStyle: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bucket.Close)
	w := &world{Server: server, T: t}
	w.newApp("shop")
	return &stored{world: w, store: store, bucket: bucket}
}

// info is the body of a request for a job.
func info(bucket string) string {
	return fmt.Sprintf(`{"properties":{"storage_provider":"s3","storage_info":{"bucket_location":%q,"s3_access_id":%q,"s3_key":%q}}}`,
		bucket, objectstest.AccessKey, objectstest.SecretKey)
}

// files returns the content of the objects below a prefix, by key.
func (w *stored) files(prefix string) map[string]string {
	w.Helper()
	list, err := w.bucket.List(context.Background(), prefix, "", 1000)
	if err != nil {
		w.Fatal(err)
	}
	found := map[string]string{}
	for _, o := range list {
		r, err := w.bucket.Get(context.Background(), o.Key, 0, -1)
		if err != nil {
			w.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || r.Close() != nil {
			w.Fatal(err)
		}
		found[o.Key] = string(text)
	}
	return found
}

func (w *stored) put(key, text string) {
	w.Helper()
	if err := w.bucket.Put(context.Background(), key, strings.NewReader(text), int64(len(text))); err != nil {
		w.Fatal(err)
	}
}

// ended waits until a job has ended, and returns it.
func (w *stored) ended(path string) map[string]any {
	w.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		e := w.must("GET", path, w.Admin, "").Entity()
		switch e["state"] {
		case "FINISHED", "FAILED":
			return e
		}
		if time.Now().After(end) {
			w.Fatalf("job %s: %v", path, e)
		}
	}
}

// exports runs an export and returns its job.
func (w *stored) exports(path, target string) map[string]any {
	w.Helper()
	a, err := w.Do("POST", "/management/orgs/acme"+path, w.Admin, info(target))
	id, _ := a.Fields["Export Entity"].(string)
	if err != nil || a.Status != 202 || id == "" {
		w.Fatalf("export%s: %v %d %s", path, err, a.Status, a.Body)
	}
	return w.ended("/management/orgs/acme/export/" + id)
}

// imports runs an import and returns its job and its files.
func (w *stored) imports(app, target string) (map[string]any, []map[string]any) {
	w.Helper()
	path := "/management/orgs/acme/apps/" + app + "/imports"
	id, _ := w.must("POST", path, w.Admin, info(target)).Entity()["uuid"].(string)
	job := w.ended(path + "/" + id)
	return job, w.must("GET", path+"/"+id+"/files", w.Admin, "").Entities()
}

// TestStoreRoundTrip: an application goes to the store in many files and comes back as
// it was, in every line.
func TestStoreRoundTrip(t *testing.T) {
	w := newStored(t, 500)
	w.populate("shop")
	for i := range 50 {
		w.in("shop", "POST", "/items", fmt.Sprintf(`{"name":"n%d"}`, i))
	}
	before := w.export("shop", w.Admin, "")
	if job := w.exports("/apps/shop/export", bucketName+"/daily"); job["state"] != "FINISHED" || job["target"] != bucketName+"/daily" {
		t.Fatalf("export: %v", job)
	}
	files := w.files("daily/acme/shop/")
	if len(files) < 10 {
		t.Errorf("%d files", len(files))
	}
	w.newApp("copy")
	job, list := w.imports("copy", bucketName+"/daily/")
	if job["state"] != "FINISHED" || len(list) != len(files) {
		t.Fatalf("import: %v, %d files", job, len(list))
	}
	for _, f := range list {
		if f["state"] != "FINISHED" || f["failedLineCount"] != json.Number("0") || f["position"] == json.Number("0") {
			t.Errorf("file: %v", f)
		}
	}
	if d := cmp.Diff(strings.Split(inner(before), "\n"), strings.Split(inner(w.export("copy", w.Admin, "")), "\n")); d != "" {
		t.Errorf("export of the copy (-want +got):\n%s", d)
	}
	// The secrets of the request are shown nowhere.
	for _, path := range []string{"/management/orgs/acme/apps/copy/imports", "/management/orgs/acme/apps/copy/tasks", "/management/orgs/acme/tasks"} {
		if a := w.must("GET", path, w.Admin, ""); strings.Contains(a.Body, objectstest.SecretKey) || strings.Contains(a.Body, objectstest.AccessKey) {
			t.Errorf("GET %s: %s", path, a.Body)
		}
	}
}

// TestExportOfAll is of every application of an organisation, and of one collection.
func TestExportOfAll(t *testing.T) {
	w := newStored(t, 1<<20)
	w.populate("shop")
	w.in("sandbox", "POST", "/items", `{"name":"sand"}`)
	if job := w.exports("/export", bucketName+"/all"); job["state"] != "FINISHED" || job["files"] != json.Number("2") {
		t.Fatalf("export: %v", job)
	}
	if files := w.files("all/"); len(files) != 2 {
		t.Errorf("files: %v", files)
	}
	if job := w.exports("/apps/shop/collection/item/export", bucketName+"/one"); job["state"] != "FINISHED" || job["collection"] != "items" {
		t.Fatalf("export: %v", job)
	}
	for key, text := range w.files("one/") {
		if !strings.Contains(text, "milk") || strings.Contains(text, "ann") {
			t.Errorf("%s:\n%s", key, text)
		}
	}
}

// TestImportOfDamagedFiles imports nothing of them, says what is wrong with each, and goes on
// with the others.
func TestImportOfDamagedFiles(t *testing.T) {
	w := newStored(t, 1<<20)
	w.populate("shop")
	whole := w.export("shop", w.Admin, "")
	w.put("in/a.json", whole[:len(whole)/2])
	w.put("in/b.json", strings.Replace(whole, "milk", "silk", 1))
	w.put("in/c.json", "hello")
	w.put("in/d.ndjson", `{"uuid":"10000000-0000-4000-8000-000000000001","type":"item","name":"fine","created":5}`+"\n{\"uuid\":1}")
	w.put("in/readme.txt", "no file of ours")
	w.newApp("copy")
	job, files := w.imports("copy", bucketName+"/in/")
	if job["state"] != "FAILED" || len(files) != 4 {
		t.Fatalf("import: %v %v", job, files)
	}
	for i, want := range []string{"FAILED", "FAILED", "FAILED", "FINISHED"} {
		if files[i]["state"] != want || (want == "FAILED") != (files[i]["errorMessage"] != nil) {
			t.Errorf("file %d: %v", i, files[i])
		}
	}
	path := fmt.Sprintf("/management/orgs/acme/apps/copy/imports/%s/files/%s", job["uuid"], files[3]["uuid"])
	if f := w.must("GET", path, w.Admin, "").Entity(); f["importedEntityCount"] != json.Number("1") || f["failedLineCount"] != json.Number("1") {
		t.Errorf("the file: %v", f)
	}
	if errs := w.must("GET", path+"/errors", w.Admin, "").Entities(); len(errs) != 1 || errs[0]["line"] != json.Number("2") || errs[0]["error"] != "illegal_argument" {
		t.Errorf("errors: %v", errs)
	}
	if n := len(w.must("GET", "/acme/copy/items", w.Admin, "").Entities()); n != 1 {
		t.Errorf("%d entities", n)
	}
	if job, _ := w.imports("copy", bucketName+"/nothing/"); job["state"] != "FAILED" || !strings.Contains(fmt.Sprint(job["errorMessage"]), "no file") {
		t.Errorf("an import of nothing: %v", job)
	}
}

// TestJobRequests: what is missing is named, and a request names no store of its own.
func TestJobRequests(t *testing.T) {
	w := newStored(t, 1<<20)
	whole := info(bucketName)
	for _, path := range []string{"/export", "/apps/shop/export", "/apps/shop/collection/items/export", "/apps/shop/imports"} {
		for _, name := range []string{"properties", "storage_provider", "storage_info", "bucket_location", "s3_access_id", "s3_key"} {
			a, err := w.Do("POST", "/management/orgs/acme"+path, w.Admin, strings.Replace(whole, `"`+name+`"`, `"other"`, 1))
			if err != nil || a.Status != 400 || a.Code() != "null_argument" || !strings.Contains(a.Body, name) {
				t.Errorf("%s without %s: %v %d %s", path, name, err, a.Status, a.Body)
			}
		}
		for _, body := range []string{
			strings.Replace(whole, `"s3_key"`, `"s3_endpoint":"http://169.254.169.254","s3_key"`, 1), strings.Replace(whole, `"s3"`, `"gcs"`, 1), "[]", "",
		} {
			if a, err := w.Do("POST", "/management/orgs/acme"+path, w.Admin, body); err != nil || a.Status != 400 {
				t.Errorf("%s with %s: %v %d %s", path, body, err, a.Status, a.Body)
			}
		}
	}
	if job := w.exports("/apps/shop/export", "another-bucket"); job["state"] != "FAILED" {
		t.Errorf("an export into a bucket that is not there: %v", job)
	}
	// Who has nothing to do with an organisation learns nothing of its jobs.
	done := w.exports("/apps/shop/export", bucketName)
	w.must("POST", "/management/orgs", "", `{"organization":"other","username":"eve","email":"eve@example.test","password":"eve-secret"}`)
	eve, _ := w.must("POST", "/management/token", "", `{"grant_type":"password","username":"eve","password":"eve-secret"}`).Fields["access_token"].(string)
	for _, path := range []string{"/management/orgs/acme/export/", "/management/orgs/other/export/"} {
		if a, err := w.Do("GET", path+fmt.Sprint(done["uuid"]), eve, ""); err != nil || a.Status != 401 && a.Status != 404 {
			t.Errorf("GET %s: %v %d", path, err, a.Status)
		}
	}
}

// TestImportIsCancelled while the store does not answer.
func TestImportIsCancelled(t *testing.T) {
	w := newStored(t, 1<<20)
	w.store.SetDown(true)
	defer w.store.SetDown(false)
	path := "/management/orgs/acme/apps/shop"
	id, _ := w.must("POST", path+"/imports", w.Admin, info(bucketName)).Entity()["uuid"].(string)
	task, _ := w.must("GET", path+"/tasks/"+id, w.Admin, "").Fields["data"].(map[string]any)
	if task["kind"] != "import" || task["cancellable"] != true {
		t.Errorf("task: %v", task)
	}
	w.must("DELETE", path+"/tasks/"+id, w.Admin, "")
	if job := w.ended(path + "/imports/" + id); job["state"] != "FAILED" || job["errorMessage"] != "cancelled" {
		t.Errorf("job: %v", job)
	}
	if a, err := w.Do("GET", path+"/tasks/"+id, w.Admin, ""); err != nil || a.Status != 404 {
		t.Errorf("task: %v %d", err, a.Status)
	}
	// The operator can take the task of another away; its job does not go on for ever.
	text, _ := w.must("POST", path+"/imports", w.Admin, info(bucketName)).Entity()["uuid"].(string)
	other, ok := entity.ParseID(text)
	if !ok {
		t.Fatalf("import %q", text)
	}
	var errs []error
	for p := range entity.Partition(3) { // one of them has it
		errs = append(errs, w.Node.CancelTask(t.Context(), p, other))
	}
	if job := w.ended(path + "/imports/" + text); job["state"] != "FAILED" || job["errorMessage"] != "cancelled" {
		t.Errorf("job: %v, cancelled: %v", job, errs)
	}
}
