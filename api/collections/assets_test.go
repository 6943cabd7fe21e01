package collections_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/raftfsm"
	"github.com/trellisdb/trellis/storage/entity"
)

// jpeg is data of a size that begins as a JPEG does, otherwise random.
func jpeg(size int) []byte {
	rng := rand.NewChaCha8([32]byte{byte(size)})
	b := make([]byte, size)
	_, _ = rng.Read(b)
	copy(b, "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01")
	return b
}

// part is one part of a form.
type part struct {
	name, file, kind string // file name and type: not sent if empty
	content          []byte
}

func formOf(t testing.TB, parts ...part) (contentType string, body []byte) {
	t.Helper()
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for _, p := range parts {
		h := textproto.MIMEHeader{}
		disposition := fmt.Sprintf("form-data; name=%q", p.name)
		if p.file != "" {
			disposition += fmt.Sprintf("; filename=%q", p.file)
		}
		h.Set("Content-Disposition", disposition)
		if p.kind != "" {
			h.Set("Content-Type", p.kind)
		}
		to, err := w.CreatePart(h)
		if err == nil {
			_, err = to.Write(p.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), buf.Bytes()
}

// upload sends parts to a path below the sandbox.
func (r *rest) upload(method, path string, parts ...part) apitest.Answer {
	r.Helper()
	kind, body := formOf(r, parts...)
	return r.bytes(method, path, body, "Content-Type", kind)
}

// bytes sends a body to a path below the sandbox, with headers.
func (r *rest) bytes(method, path string, body []byte, headers ...string) apitest.Answer {
	r.Helper()
	req, err := http.NewRequest(method, r.URL+r.App+path, bytes.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	if body == nil {
		req.Body, req.ContentLength = nil, 0
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	a, err := r.Send(req)
	if err != nil {
		r.Fatal(err)
	}
	return a
}

// get asks for a path below the sandbox with an Accept header.
func (r *rest) get(path, accept string, headers ...string) apitest.Answer {
	r.Helper()
	if accept != "" {
		headers = append(headers, "Accept", accept)
	}
	return r.bytes("GET", path, nil, headers...)
}

// wantData checks that an answer is exactly some data.
func (r *rest) wantBytes(a apitest.Answer, want []byte, kind string) {
	r.Helper()
	if a.Status != 200 || a.Body != string(want) || a.Header.Get("Content-Type") != kind || a.Header.Get("Content-Length") != fmt.Sprint(len(want)) {
		r.Errorf("%d, %d bytes, %v; want %d bytes of %s; %.300s", a.Status, len(a.Body), a.Header, len(want), kind, a.Body[:min(len(a.Body), 300)])
	}
	if a.Header.Get("ETag") != fmt.Sprintf(`"%x"`, md5.Sum(want)) || a.Header.Get("Accept-Ranges") != "bytes" || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
		a.Header.Get("Content-Security-Policy") != "sandbox" || a.Header.Get("Content-Encoding") != "" {
		r.Errorf("headers %v", a.Header)
	}
}

// meta is the file-metadata of an entity.
func meta(e map[string]any) map[string]any {
	m, _ := e["file-metadata"].(map[string]any)
	return m
}

func (r *rest) wantMeta(e map[string]any, kind string, content []byte) {
	r.Helper()
	m, sum := meta(e), fmt.Sprintf("%x", md5.Sum(content))
	if m["content-type"] != kind || number(m["content-length"]) != int64(len(content)) || m["checksum"] != sum || m["etag"] != `"`+sum+`"` ||
		number(m["last-modified"]) < time.Now().Add(-time.Minute).UnixMilli() {
		r.Errorf("file-metadata %v, want %s of %d bytes", m, kind, len(content))
	}
}

// report is what trellis check says of the sandbox's partition.
func (r *rest) report() raftfsm.Report {
	r.Helper()
	v, err := r.Node.View(context.Background(), entity.FirstApp)
	if err != nil {
		r.Fatal(err)
	}
	rep, err := raftfsm.Check(context.Background(), v)
	if err != nil {
		r.Fatal(err)
	}
	if err := v.Close(); err != nil {
		r.Fatal(err)
	}
	return rep
}

// sound fails the test if trellis check would find anything, or if not so much data is
// kept, and returns the number of tasks.
func (r *rest) sound(blobs uint64) (tasks uint64) {
	r.Helper()
	if r.Cluster != nil { // others have data there, too
		r.soundEverywhere()
		return 0
	}
	rep := r.report()
	for _, problem := range rep.Problems {
		r.Errorf("%s", problem)
	}
	if rep.Blobs != blobs {
		r.Errorf("%d data are kept, want %d", rep.Blobs, blobs)
	}
	if used := r.Assets.Spool().Used(); used != 0 {
		r.Errorf("%d bytes are left in the spool", used)
	}
	return rep.Tasks
}

// TestUploadAndDownload is the first item of the checklist of spec assets-events-counters.
func TestUploadAndDownload(t *testing.T) { everywhere(t, uploadAndDownload) }

func uploadAndDownload(t *testing.T, r *rest) {
	picture := jpeg(7979)
	r.ok("POST", "/items", `{"name":"cat"}`)
	a := r.upload("PUT", "/items/cat", part{"file", "cat.jpg", "multipart/form-data", picture})
	if a.Status != 200 || len(a.Entities()) != 1 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	id := fmt.Sprint(a.Entity()["uuid"])
	r.wantMeta(a.Entity(), "image/jpeg", picture)
	for _, path := range []string{"/items/cat", "/items/" + id, "/items/CAT", "/items?ql=name='cat'"} {
		for _, accept := range []string{"image/jpeg", "application/octet-stream", "image/avif,image/webp,*/*;q=0.8", "text/plain"} {
			r.wantBytes(r.get(path, accept), picture, "image/jpeg")
		}
		for _, accept := range []string{"", "*/*", "application/json", "text/html,application/xhtml+xml,image/webp;q=0.9", "application/json, text/plain, */*", "application/vnd.x+json"} {
			if a := r.get(path, accept); a.Status != 200 || a.Entity()["name"] != "cat" {
				t.Errorf("%s as %q: %d %.200s", path, accept, a.Status, a.Body)
			}
		}
	}
	r.wantMeta(r.ok("GET", "/items/cat", "").Entity(), "image/jpeg", picture)
	// The description is the server's, and a change by JSON keeps it and the data.
	e := r.ok("PUT", "/items/cat", `{"file-metadata":{"content-type":"text/html"},"File-Metadata":null,"n":1}`).Entity()
	r.wantMeta(e, "image/jpeg", picture)
	r.wantBytes(r.get("/items/cat", "image/jpeg"), picture, "image/jpeg")
	if e := r.ok("POST", "/items", `{"name":"dog","file-metadata":{"content-type":"x"}}`).Entity(); meta(e) != nil {
		t.Errorf("%v", e)
	}
	if a := r.get("/items/dog", "image/jpeg"); a.Status != 404 || a.Code() != "entity_not_found" {
		t.Errorf("without data: %d %s", a.Status, a.Body)
	}
	if a := r.get("/items", "image/jpeg"); a.Status != 406 || a.Code() != "not_acceptable" {
		t.Errorf("several: %d %s", a.Status, a.Body)
	}
	if list := r.ok("GET", "/items?ql="+"select+*+where+file-metadata.content-length+=+7979", ""); names(list) != "cat" {
		t.Errorf("by its metadata: %s", names(list))
	}
	r.ok("DELETE", "/items/cat", "")
	r.sound(0)
	if a := r.get("/items/cat", "image/jpeg"); a.Status != 404 {
		t.Errorf("deleted: %d", a.Status)
	}
}

// TestReplaceData is the second: metadata and the property file follow what is uploaded.
func TestReplaceData(t *testing.T) { everywhere(t, replaceData) }

func replaceData(t *testing.T, r *rest) {
	picture, text := jpeg(300), []byte("This is a text, für alle.")
	a := r.upload("POST", "/items", part{"file", "a.jpg", "image/jpeg", picture}, part{name: "name", content: []byte("clouds")}, part{"n", "", "text/plain", []byte("7")},
		part{"raw", "b.bin", "application/octet-stream", []byte("ignored")}, part{"json", "", "application/json", []byte(`{"a":1}`)})
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	e := a.Entity()
	if e["name"] != "clouds" || e["n"] != "7" || e["raw"] != nil || e["json"] != nil || e["file"] != nil {
		t.Errorf("%s", props(e))
	}
	before := number(meta(e)["last-modified"])
	for number(meta(e)["last-modified"]) == before { // the clock has gone on
		e = r.upload("PUT", "/items/clouds", part{"file", "a.txt", "text/plain", text}, part{name: "color", content: []byte("grey")}).Entity()
	}
	r.wantMeta(e, "text/plain", text)
	if e["file"] != string(text) || e["color"] != "grey" || e["n"] != "7" {
		t.Errorf("%s", props(e))
	}
	r.wantBytes(r.get("/items/clouds", "text/plain"), text, "text/plain")
	e = r.upload("POST", "/items/clouds", part{"file", "a.jpg", "", picture}, part{name: "color", content: []byte("white")}).Entity()
	r.wantMeta(e, "image/jpeg", picture)
	if e["file"] != nil || e["color"] != "white" {
		t.Errorf("%s", props(e))
	}
	// Without a file there are properties alone.
	e = r.upload("PUT", "/items/clouds", part{name: "color", content: []byte("")}, part{name: "n", content: []byte("8")}).Entity()
	r.wantMeta(e, "image/jpeg", picture)
	if e["color"] != nil || e["n"] != "8" {
		t.Errorf("%s", props(e))
	}
	// PUT creates, POST does not.
	e = r.upload("PUT", "/items/sky", part{"file", "", "image/jpeg", picture}).Entity()
	if e["name"] != "sky" {
		t.Errorf("%s", props(e))
	}
	if a := r.upload("POST", "/items/nobody", part{"file", "", "image/jpeg", picture}); a.Status != 404 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := r.upload("POST", "/items", part{"file", "", "image/jpeg", picture}, part{name: "name", content: []byte("sky")}); a.Code() != "duplicate_unique_property_exists" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	// An empty file is data of no length.
	e = r.upload("PUT", "/items/sky", part{"file", "a.txt", "text/plain", nil}).Entity()
	if number(meta(e)["content-length"]) != 0 || e["file"] != nil {
		t.Errorf("%v", e)
	}
	if a := r.get("/items/sky", "text/plain"); a.Status != 200 || a.Body != "" || a.Header.Get("Content-Length") != "0" {
		t.Errorf("%d %q %v", a.Status, a.Body, a.Header)
	}
	if tasks := r.sound(2); tasks != r.sound(2) {
		t.Errorf("%d tasks", tasks)
	}
}

// TestRawUploads: whatever is neither JSON nor a form of parameters is the data of an
// entity, and answered with nothing.
func TestRawUploads(t *testing.T) { everywhere(t, rawUploads) }

func rawUploads(t *testing.T, r *rest) {
	r.ok("POST", "/items", `{"name":"a","file":"mine"}`)
	content := jpeg(1000)
	for _, kind := range []string{"application/octet-stream", "image/png", "text/plain", ""} {
		for _, method := range []string{"POST", "PUT"} {
			content[500]++
			a := r.bytes(method, "/items/a", content, "Content-Type", kind)
			if a.Status != 200 || a.Body != "" {
				t.Fatalf("%s %q: %d %s", method, kind, a.Status, a.Body)
			}
			r.wantBytes(r.get("/items/a", "image/*"), content, "image/jpeg")
		}
	}
	if e := r.ok("GET", "/items/a", "").Entity(); e["file"] != "mine" {
		t.Errorf("%s", props(e))
	}
	// JSON sent as data is data.
	r.bytes("PUT", "/items/a", []byte(`{"name":"b"}`), "Content-Type", "application/octet-stream")
	r.wantBytes(r.get("/items/a", "image/*"), []byte(`{"name":"b"}`), "application/json")
	// These are what they were.
	for _, tc := range []struct {
		method, path, kind, body string
		status                   int
		code                     string
	}{
		{"PUT", "/items/a", "text/plain", ` {"n":1}`, 200, ""},
		{"PUT", "/items/a", "", `[1]`, 400, "json_mapping"},
		{"PUT", "/items/a", "application/json", `nonsense`, 400, "json_parse"},
		{"PUT", "/items/a", "application/x-www-form-urlencoded", `a=b`, 415, "not_supported"},
		{"PUT", "/items/a", "multipart/mixed; boundary=x", `a=b`, 415, "not_supported"},
		{"POST", "/items", "text/plain", `nonsense`, 415, "not_supported"},
		{"POST", "/items", "image/jpeg", `nonsense`, 415, "not_supported"},
		{"PUT", "/items/a/likes/x", "image/jpeg", `nonsense`, 405, "unsupported_service_operation"},
		{"POST", "/items/a/likes/x", "image/jpeg", `nonsense`, 415, "not_supported"},
		{"POST", "/items/a/likes/x", "multipart/form-data; boundary=x", `nonsense`, 415, "not_supported"},
		{"PUT", "/items/nobody", "image/jpeg", `nonsense`, 404, "service_resource_not_found"},
		{"POST", "/items/nobody", "image/jpeg", `nonsense`, 404, "service_resource_not_found"},
		{"POST", "/items/a", "multipart/form-data", `nonsense`, 400, "bad_request"},
		{"POST", "/items/a", "multipart/form-data; boundary=x", `nonsense`, 400, "bad_request"},
		{"POST", "/items/a", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=file\r\n\r\nabc", 400, "bad_request"},
	} {
		a := r.bytes(tc.method, tc.path, []byte(tc.body), "Content-Type", tc.kind)
		if a.Status != tc.status || a.Code() != tc.code {
			t.Errorf("%s %s %s %q: %d %s", tc.method, tc.path, tc.kind, tc.body, a.Status, a.Body)
		}
	}
	r.wantBytes(r.get("/items/a", "image/*"), []byte(`{"name":"b"}`), "application/json")
	r.sound(1)
}

// TestAssetData is the fourth item of the checklist: the data of assets, by UUID and by
// path, and folders.
func TestAssetData(t *testing.T) { everywhere(t, assetData) }

func assetData(t *testing.T, r *rest) {
	owner := fmt.Sprint(r.ok("POST", "/users", `{"username":"ana"}`).Entity()["uuid"])
	r.fails("POST", "/assets", `{"name":"cat.jpg","path":"/pics/cat.jpg"}`, 400, "required_property_not_found")
	r.fails("POST", "/assets", `{"name":"cat.jpg","owner":"`+owner+`"}`, 400, "required_property_not_found")
	r.fails("POST", "/assets", `{"owner":"ana","path":"/pics/cat.jpg"}`, 400, "property_type_conversion")
	r.fails("POST", "/assets", `{"owner":"`+owner+`","path":"//"}`, 400, "illegal_argument")
	e := r.ok("POST", "/assets", `{"name":"cat.jpg","owner":"`+owner+`","path":"/pics//cat.jpg"}`).Entity()
	if e["path"] != "/pics/cat.jpg" || e["type"] != "asset" {
		t.Errorf("%s", props(e))
	}
	id := fmt.Sprint(e["uuid"])
	for _, path := range []string{"/pics/cat.jpg", "pics/cat.jpg", "PICS/cat.jpg"} {
		r.fails("POST", "/assets", `{"owner":"`+owner+`","path":"`+path+`"}`, 400, "duplicate_unique_property_exists")
	}
	for _, path := range []string{"/assets/pics/cat.jpg", "/assets/" + id, "/asset/pics/cat.jpg", "/file/pics/cat.jpg", "/assets//pics/CAT.jpg"} {
		if got := r.ok("GET", path, "").Entity(); got["uuid"] != id {
			t.Errorf("%s: %v", path, got)
		}
	}
	if a := r.get("/assets/"+id+"/data", ""); a.Status != 404 || a.Code() != "entity_not_found" {
		t.Errorf("no data yet: %d %s", a.Status, a.Body)
	}
	picture := jpeg(700 << 10) // two chunks
	if a := r.bytes("POST", "/assets/"+id+"/data", picture, "Content-Type", "application/octet-stream"); a.Status != 200 || a.Body != "" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	for _, path := range []string{"/assets/" + id + "/data", "/assets/pics/cat.jpg/data", "/file/" + id + "/data"} {
		for _, accept := range []string{"", "*/*", "application/json", "image/png"} {
			r.wantBytes(r.get(path, accept), picture, "image/jpeg")
		}
	}
	r.wantMeta(r.ok("GET", "/assets/"+id, "").Entity(), "image/jpeg", picture)
	// Any body is the data, whatever it looks like.
	for _, kind := range []string{"application/json", "", "application/x-www-form-urlencoded", "text/css"} {
		text := []byte(`{"kind":"` + kind + `"}`)
		if a := r.bytes("PUT", "/assets/"+id+"/data", text, "Content-Type", kind); a.Status != 200 || a.Body != "" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		r.wantBytes(r.get("/assets/"+id+"/data", ""), text, "application/json")
	}
	if a := r.upload("POST", "/assets/"+id+"/data", part{"file", "a.jpg", "", picture}); a.Status != 200 || len(a.Entities()) != 1 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := r.upload("POST", "/assets/"+id+"/data", part{name: "n", content: []byte("1")}); a.Status != 400 || a.Fields["error_description"] != "File Not Found" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	r.fails("DELETE", "/assets/"+id+"/data", "", 405, "unsupported_service_operation")
	if a := r.bytes("PUT", "/assets/nobody/data", picture); a.Status != 404 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	r.wantBytes(r.get("/assets/"+id+"/data", ""), picture, "image/jpeg")
	// PUT creates by path, and an update may change how the slash is written.
	e = r.ok("PUT", "/assets/pics/dog.jpg", `{"owner":"`+owner+`","path":"/pics/dog.jpg"}`).Entity()
	if e["path"] != "/pics/dog.jpg" {
		t.Errorf("%s", props(e))
	}
	e = r.ok("PUT", "/assets/pics/dog.jpg", `{"path":"pics/dog.jpg"}`).Entity()
	if e["path"] != "pics/dog.jpg" {
		t.Errorf("%s", props(e))
	}
	r.fails("PUT", "/assets/pics/dog.jpg", `{"path":"pics/cat.jpg"}`, 400, "duplicate_unique_property_exists")

	r.ok("POST", "/folders", `{"name":"f","owner":"`+owner+`","path":"/my/folder"}`)
	r.ok("POST", "/folders/my/folder/assets/"+id, "")
	for _, path := range []string{"/folders/my/folder/assets", "/folders/my/folder/file"} {
		if list := r.ok("GET", path, "").Entities(); len(list) != 1 || list[0]["uuid"] != id {
			t.Errorf("%s: %v", path, list)
		}
	}
	r.wantBytes(r.get("/folders/my/folder/assets/"+id, "image/jpeg"), picture, "image/jpeg")
	r.wantBytes(r.get("/folders/my/folder/assets", "image/jpeg"), picture, "image/jpeg")
	r.ok("DELETE", "/folders/my/folder/assets/"+id, "")
	if list := r.ok("GET", "/folders/my/folder/assets", "").Entities(); len(list) != 0 {
		t.Errorf("%v", list)
	}
	if a := r.get("/folders/my/folder/assets", "image/jpeg"); a.Status != 406 {
		t.Errorf("nothing: %d", a.Status)
	}
	r.wantBytes(r.get("/assets/"+id+"/data", ""), picture, "image/jpeg") // unlinked, not deleted
	r.ok("POST", "/users/ana/avatar/"+id, "")
	r.wantBytes(r.get("/users/ana/avatar/"+id, "image/jpeg"), picture, "image/jpeg")
	r.ok("DELETE", "/assets/"+id, "")
	r.sound(0)
}

// TestTooLarge is half of the third item: what is over the limit leaves what was there, and
// is told.
func TestTooLarge(t *testing.T) { everywhere(t, tooLarge) }

func tooLarge(t *testing.T, r *rest) {
	limit := assets.MinFileBytes
	fits, over := jpeg(limit), jpeg(limit+1)
	want := fmt.Sprintf("Asset size %d is larger than max size of %d", limit+1, limit)
	r.ok("POST", "/items", `{"name":"a"}`)
	if a := r.bytes("PUT", "/items/a", fits, "Content-Type", "image/jpeg"); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	r.wantBytes(r.get("/items/a", "image/jpeg"), fits, "image/jpeg")
	if a := r.bytes("PUT", "/items/a", over, "Content-Type", "image/jpeg"); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	e := r.ok("GET", "/items/a", "").Entity()
	if r.wantMeta(e, "image/jpeg", fits); meta(e)["error"] != want {
		t.Errorf("%v", meta(e))
	}
	r.wantBytes(r.get("/items/a", "image/jpeg"), fits, "image/jpeg")
	e = r.upload("PUT", "/items/a", part{"file", "a.jpg", "", over}, part{name: "n", content: []byte("1")}).Entity()
	if r.wantMeta(e, "image/jpeg", fits); meta(e)["error"] != want || e["n"] != "1" {
		t.Errorf("%v", e)
	}
	e = r.upload("POST", "/items", part{"file", "a.jpg", "", over}, part{name: "name", content: []byte("b")}).Entity()
	if e["name"] != "b" || len(meta(e)) != 1 || meta(e)["error"] != want {
		t.Errorf("%v", e)
	}
	if a := r.get("/items/b", "image/jpeg"); a.Status != 404 {
		t.Errorf("%d", a.Status)
	}
	if e := r.upload("PUT", "/items/a", part{"file", "a.jpg", "", fits[:100]}).Entity(); meta(e)["error"] != nil {
		t.Errorf("%v", meta(e))
	}
	r.sound(1)
}

// TestRangesAndConditions compares ranges with the bytes themselves, and asks for what the
// client has already.
func TestRangesAndConditions(t *testing.T) { everywhere(t, rangesAndConditions) }

func rangesAndConditions(t *testing.T, r *rest) {
	data := jpeg(1300 << 10) // three chunks
	r.ok("POST", "/items", `{"name":"a"}`)
	if a := r.bytes("PUT", "/items/a", data, "Content-Type", "image/jpeg"); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	size := len(data)
	for range 60 {
		from, to := rng.IntN(size+100), rng.IntN(size+100)
		switch rng.IntN(4) {
		case 0:
			to = from + rng.IntN(100)
		case 1:
			from, to = 512<<10-rng.IntN(10), 512<<10+rng.IntN(10) // over the end of a chunk
		}
		header := fmt.Sprintf("bytes=%d-%d", from, to)
		begin, end := from, min(to+1, size)
		switch rng.IntN(4) {
		case 0:
			header, end = fmt.Sprintf("bytes=%d-", from), size
		case 1:
			header, begin, end = fmt.Sprintf("bytes=-%d", to), max(0, size-to), size
		}
		a := r.get("/items/a", "image/jpeg", "Range", header)
		switch {
		case strings.HasPrefix(header, fmt.Sprintf("bytes=%d-%d", from, to)) && to < from:
			if a.Status != 200 || a.Body != string(data) {
				t.Errorf("%s: %d", header, a.Status)
			}
		case begin >= size:
			if a.Status != 416 || a.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", size) {
				t.Errorf("%s: %d %v", header, a.Status, a.Header)
			}
		default:
			if a.Status != 206 || a.Body != string(data[begin:end]) || a.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", begin, end-1, size) {
				t.Errorf("%s: %d, %d bytes, %v", header, a.Status, len(a.Body), a.Header)
			}
		}
	}
	whole := r.get("/items/a", "image/jpeg")
	r.wantBytes(whole, data, "image/jpeg")
	etag, modified := whole.Header.Get("ETag"), whole.Header.Get("Last-Modified")
	then, err := http.ParseTime(modified)
	if err != nil {
		t.Fatal(err)
	}
	earlier := then.Add(-time.Second).UTC()
	for _, tc := range []struct {
		header, value string
		status        int
	}{
		{"If-None-Match", etag, 304}, {"If-None-Match", "W/" + etag, 304}, {"If-None-Match", `"x", ` + etag, 304}, {"If-None-Match", "*", 304}, {"If-None-Match", `"x"`, 200},
		{"If-Modified-Since", modified, 304}, {"If-Modified-Since", then.UTC().Format(time.RFC850), 304}, {"If-Modified-Since", then.UTC().Format(time.ANSIC), 304},
		{"If-Modified-Since", earlier.Format(http.TimeFormat), 200}, {"If-Modified-Since", "yesterday", 200},
	} {
		a := r.get("/items/a", "image/jpeg", tc.header, tc.value)
		if a.Status != tc.status || a.Header.Get("ETag") != etag || tc.status == 304 && a.Body != "" {
			t.Errorf("%s: %s: %d, %d bytes, %v", tc.header, tc.value, a.Status, len(a.Body), a.Header)
		}
	}
	if a := r.get("/items/a", "image/jpeg", "Range", "bytes=0-9", "If-Range", `"x"`); a.Status != 200 {
		t.Errorf("If-Range of other data: %d", a.Status)
	}
	if a := r.get("/items/a", "image/jpeg", "Range", "bytes=0-9", "If-Range", etag); a.Status != 206 {
		t.Errorf("If-Range: %d", a.Status)
	}
	if a := r.get("/items/a", "image/jpeg", "Range", "bytes=0-1,5-6"); a.Status != 200 || len(a.Body) != size {
		t.Errorf("two ranges: %d", a.Status)
	}
	a := r.bytes("HEAD", "/items/a", nil, "Accept", "image/jpeg", "Range", "bytes=0-9")
	if a.Status != 200 || a.Body != "" || a.Header.Get("Content-Length") != fmt.Sprint(size) || a.Header.Get("ETag") != etag {
		t.Errorf("HEAD: %d %v", a.Status, a.Header)
	}
	a = r.get("/items/a", "image/jpeg", "Accept-Encoding", "gzip")
	r.wantBytes(a, data, "image/jpeg")
}

// TestUploadIsIdempotent: a repeated upload with the same key gets the answer of the first
// one, leaves no second data, and other content is another request.
func TestUploadIsIdempotent(t *testing.T) { everywhere(t, uploadIsIdempotent) }

func uploadIsIdempotent(t *testing.T, r *rest) {
	for _, size := range []int{1000, 600 << 10} {
		kind, form := formOf(t, part{"file", "a.jpg", "", jpeg(size)})
		first := r.bytes("POST", "/items", form, "Content-Type", kind, "Idempotency-Key", "k")
		again := r.bytes("POST", "/items", form, "Content-Type", kind, "Idempotency-Key", "k")
		kind, form = formOf(t, part{"file", "a.jpg", "", jpeg(size + 1)})
		other := r.bytes("POST", "/items", form, "Content-Type", kind, "Idempotency-Key", "k")
		id := first.Entity()["uuid"]
		if id == nil || again.Entity()["uuid"] != id || other.Entity()["uuid"] == id {
			t.Errorf("%d %s\n%s\n%s", first.Status, first.Body, again.Body, other.Body)
		}
	}
	before := r.sound(4)
	if r.ok("DELETE", "/items?limit=1000&ql=", ""); r.sound(0) != before {
		t.Error("tasks are left")
	}
}

// TestPermissionsOfData: who may not read or change an entity may not do so with its data,
// and learns nothing of it.
func TestPermissionsOfData(t *testing.T) { everywhere(t, permissionsOfData) }

func permissionsOfData(t *testing.T, r *rest) {
	r.ok("POST", "/items", `{"name":"a"}`)
	r.upload("PUT", "/items/a", part{"file", "a.jpg", "", jpeg(100)})
	admin := r.as(r.Admin)
	for _, role := range []string{"guest", "default"} {
		for _, p := range []string{"get,post,put,delete:/**"} {
			admin.ok("DELETE", "/roles/"+role+"/permissions?permission="+p, "")
		}
		admin.ok("POST", "/roles/"+role+"/permissions", `{"permission":"get:/open/**"}`)
	}
	for _, path := range []string{"/items/a", "/items/nobody", "/assets/nobody/data"} {
		if a := r.get(path, "image/jpeg"); a.Status != 401 {
			t.Errorf("GET %s: %d %s", path, a.Status, a.Body)
		}
		if a := r.bytes("PUT", path, jpeg(10), "Content-Type", "image/jpeg"); a.Status != 401 {
			t.Errorf("PUT %s: %d %s", path, a.Status, a.Body)
		}
		if a := r.upload("POST", path, part{"file", "", "", jpeg(10)}); a.Status != 401 {
			t.Errorf("POST %s: %d %s", path, a.Status, a.Body)
		}
	}
	admin.ok("POST", "/opens", `{"name":"a"}`)
	admin.bytes("PUT", "/opens/a", jpeg(10), "Content-Type", "image/jpeg")
	r.wantBytes(r.get("/open/a", "image/jpeg"), jpeg(10), "image/jpeg")
	if a := r.bytes("PUT", "/open/a", jpeg(11), "Content-Type", "image/jpeg"); a.Status != 401 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	r.wantBytes(admin.get("/items/a", "image/jpeg"), jpeg(100), "image/jpeg")
}

// TestInterruptedUploadLeavesNothing: neither a file nor a key is left of an upload whose
// client went away, and what the entity had is there.
func TestInterruptedUploadLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := apitest.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rest{T: t, Server: s}
	r.ok("POST", "/items", `{"name":"a"}`)
	r.bytes("PUT", "/items/a", jpeg(100), "Content-Type", "image/jpeg")
	before := r.sound(1)
	kind, form := formOf(t, part{"file", "a.jpg", "", jpeg(3 << 20)})
	for name, head := range map[string]string{
		"raw":     fmt.Sprintf("PUT %s/items/a HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", r.App, len(form)),
		"form":    fmt.Sprintf("PUT %s/items/a HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", r.App, kind, len(form)),
		"chunked": fmt.Sprintf("PUT %s/items/a HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", r.App, len(form)),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, head); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(form[:2<<20]); err != nil {
				t.Fatal(err)
			}
			for r.Assets.Spool().Used() == 0 { // it arrives
				time.Sleep(time.Millisecond)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
				t.Errorf("%v %s", err, answer)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	if r.sound(1) != before {
		t.Error("tasks are left")
	}
	left, err := os.ReadDir(filepath.Join(dir, "uploads"))
	if err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
	r.wantBytes(r.get("/items/a", "image/jpeg"), jpeg(100), "image/jpeg")
}
