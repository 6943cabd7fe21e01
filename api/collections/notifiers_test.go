package collections_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// secretsOf reads the secrets of a notifier from where they are stored.
func (r *rest) secretsOf(id string) string {
	r.Helper()
	app := entity.FirstApp
	v, err := r.Node.View(r.Context(), app)
	if err != nil {
		r.Fatal(err)
	}
	defer func() {
		if err := v.Close(); err != nil {
			r.Error(err)
		}
	}()
	owner, _ := entity.ParseID(id)
	c, ok, err := storage.ReadCredential(v, app, owner, entity.CredentialNotifier)
	if err != nil || !ok {
		return fmt.Sprintf("none: %v", err)
	}
	if bytes.Contains(c.Value, []byte("s3cret")) {
		r.Error("the secrets are not sealed")
	}
	plain, err := r.Opened(owner, entity.CredentialNotifier, c.Value)
	if err != nil {
		r.Fatal(err)
	}
	return string(plain)
}

// form makes a multipart form of parts "name=value" and files "name@file=content".
func form(t *testing.T, parts ...string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		to, err := w.CreateFormField(name)
		if field, file, ok := strings.Cut(name, "@"); ok {
			to, err = w.CreateFormFile(field, file)
		}
		if err == nil {
			_, err = to.Write([]byte(value))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func TestNotifiers(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	a := r.ok("POST", "/notifier", `{"name":"droid","provider":"google","apiKey":"s3cret","environment":"environment","type":"x","uuid":"y"}`)
	id := uuidOf(t, a)
	r.wantProps(a.Entity(), `{"environment":"environment","name":"droid","provider":"google"}`)
	if a.Entity()["type"] != "notifier" || a.Fields["path"] != "/notifiers" || strings.Contains(a.Body, "s3cret") {
		t.Errorf("created %s", a.Body)
	}
	if got := r.secretsOf(id); got != `{"apiKey":"\"s3cret\""}` {
		t.Errorf("secrets %s", got)
	}
	// By name in any case, by UUID, in a list, by query; secrets are not found by.
	for _, path := range []string{"/notifiers/droid", "/notifier/DROID", "/notifiers/" + id, "/notifiers", "/notifiers?ql=provider='google'&limit=100"} {
		if got := names(r.ok("GET", path, "")); got != "droid" {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := names(r.ok("GET", "/notifiers?ql=apiKey='s3cret'", "")); got != "" {
		t.Errorf("found by its secret: %s", got)
	}

	// PUT keeps secrets that it does not name, in whatever case; null removes properties.
	a = r.ok("PUT", "/notifiers/droid", `{"note":1,"environment":null}`)
	r.wantProps(a.Entity(), `{"name":"droid","note":1,"provider":"google"}`)
	if got := r.secretsOf(id); got != `{"apiKey":"\"s3cret\""}` {
		t.Errorf("secrets after PUT %s", got)
	}
	a = r.ok("PUT", "/notifiers/droid", `{"APIKEY":"s3cret2"}`)
	if got := r.secretsOf(id); got != `{"apiKey":"\"s3cret2\""}` || strings.Contains(a.Body, "s3cret") {
		t.Errorf("secrets after the second PUT %s; %s", got, a.Body)
	}
	// PUT creates by an unknown name, and by an unknown UUID.
	if a := r.ok("PUT", "/notifiers/gcm", `{"name":"gcm","provider":"google","environment":"environment","apiKey":"s3cret"}`); a.Entity()["name"] != "gcm" || strings.Contains(a.Body, "s3cret") {
		t.Errorf("put: %s", a.Body)
	}
	const other = "0a0a0a0a-9d3a-11e7-b24e-699740088e05"
	if a := r.ok("PUT", "/notifiers/"+other, `{"provider":"noop","p12Certificate":"ignored","x":{"y":[1]}}`); a.Entity()["uuid"] != other || props(a.Entity()) != `{"provider":"noop","x":{"y":[1]}}` {
		t.Errorf("put: %s", a.Body)
	}
	r.ok("PUT", "/notifiers/fake", `{"provider":"noop"}`)

	for _, refused := range []struct{ method, path, body, code string }{
		{"POST", "/notifiers", `{"name":"x"}`, "required_property_not_found"},
		{"POST", "/notifiers", ``, "required_property_not_found"},
		{"PUT", "/notifiers/x", `{"name":"x"}`, "required_property_not_found"},
		{"POST", "/notifiers", `{"name":"x","provider":"pigeon"}`, "illegal_argument"},
		{"POST", "/notifiers", `{"name":"DROID","provider":"noop"}`, "duplicate_unique_property_exists"},
		{"PUT", "/notifiers/gcm", `{"name":"droid"}`, "duplicate_unique_property_exists"},
		{"POST", "/notifiers", `{"name":"x","provider":"noop","certInfo":{}}`, "illegal_argument"},
		{"POST", "/notifiers", `{"name":"x","provider":"google"}`, "required_property_not_found"},
		{"POST", "/notifiers", `[{"provider":"noop"}]`, "json_mapping"},
		{"PUT", "/notifiers/droid", `{"provider":"pigeon"}`, "illegal_argument"},
	} {
		r.fails(refused.method, refused.path, refused.body, 400, refused.code)
	}
	if got := names(r.ok("GET", "/notifiers?ql=order%20by%20created%20asc", "")); got != "<nil> droid gcm fake" {
		t.Errorf("after refusals: %s", got)
	}
	// Nothing gets round the checks.
	r.ok("POST", "/items", `{"name":"i"}`)
	r.fails("PUT", "/notifiers?ql=", `{"apiKey":"s3cret"}`, 405, "unsupported_service_operation")
	r.fails("PUT", "/notifiers/*", `{"apiKey":"s3cret"}`, 405, "unsupported_service_operation")
	r.fails("POST", "/items/i/likes/notifiers", `{"provider":"noop","apiKey":"s3cret"}`, 405, "unsupported_service_operation")
	r.fails("PUT", "/items/i/likes/notifiers/"+id, `{"apiKey":"s3cret"}`, 405, "unsupported_service_operation")
	r.ok("POST", "/items/i/likes/notifiers/"+id, "")
	if a := r.ok("GET", "/notifiers?apiKey=s3cret&authKey=s3cret&x=y", ""); strings.Contains(a.Body, "s3cret") || !strings.Contains(a.Body, `"x":["y"]`) {
		t.Errorf("params: %s", a.Body)
	}

	if a := r.ok("DELETE", "/notifiers/droid", ""); strings.Contains(a.Body, "s3cret") {
		t.Errorf("deleted: %s", a.Body)
	}
	if got := r.secretsOf(id); got != "none: <nil>" {
		t.Errorf("secrets outlive the notifier: %s", got)
	}
	r.ok("DELETE", "/notifiers?ql=provider='google'", "")
	r.fails("GET", "/notifiers/gcm", "", 404, "entity_not_found")
}

func TestNotifierForms(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	send := func(method, path string, parts ...string) (int, string) {
		body, kind := form(t, parts...)
		status, _, text := r.send(method, r.App+path, body, "Content-Type", kind)
		return status, text
	}
	status, text := send("POST", "/notifiers", "name= ios ", "provider=apple", "environment=development", "certificatePassword=", "p12Certificate@push.p12=s3cret\x00\xff")
	if status != 200 || strings.Contains(text, "s3cret") || !strings.Contains(text, `"certInfo":{"filename":"push.p12"}`) {
		t.Fatalf("%d %s", status, text)
	}
	ios := r.ok("GET", "/notifiers/ios", "").Entity()
	r.wantProps(ios, `{"certInfo":{"filename":"push.p12"},"environment":"development","name":"ios","provider":"apple"}`)
	if status, text = send("PUT", "/notifiers/ios", "p12Certificate@new.p12=s3cret2"); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if got := r.ok("GET", "/notifiers/ios", "").Entity(); got["environment"] != "development" || !strings.Contains(fmt.Sprint(got["certInfo"]), "new.p12") {
		t.Errorf("replaced: %v", got)
	}
	if got := r.secretsOf(fmt.Sprint(ios["uuid"])); !strings.Contains(got, "s3cret2") {
		t.Errorf("secrets %s", got)
	}
	for _, parts := range [][]string{{"name=x", "provider=apple"}, {"name=x", "provider=pigeon", "p12Certificate@a=b"}, {"name=x", "provider=noop", "certInfo=x"}, {"name=x\xff", "provider=noop"}} {
		if status, text := send("POST", "/notifiers", parts...); status != 400 || !strings.Contains(text, "illegal_argument") {
			t.Errorf("%q: %d %s", parts, status, text)
		}
	}
	if status, text := send("POST", "/notifiers", "name=x", "provider=noop", "p12Certificate@a="+strings.Repeat("x", 1<<20)); status != 413 {
		t.Errorf("large: %d %s", status, text)
	}
	const broken = "--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nbread"
	if status, _, text := r.send("POST", r.App+"/notifiers", broken, "Content-Type", "multipart/form-data; boundary=x"); status != 400 {
		t.Errorf("broken: %d %s", status, text)
	}
	if got := names(r.ok("GET", "/notifiers", "")); got != "ios" {
		t.Errorf("after refusals: %s", got)
	}
}
