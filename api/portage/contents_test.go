package portage_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/raftfsm"
	"github.com/trellisdb/trellis/storage/entity"
)

// upload gives an entity data.
func (w *world) upload(app, path, kind string, data []byte) {
	w.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="file"; filename="x"`}, "Content-Type": {kind}})
	if err == nil {
		_, err = part.Write(data)
	}
	req, failed := http.NewRequest("PUT", w.URL+"/acme/"+app+path, &body)
	if err = errors.Join(err, failed, form.Close()); err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.ContentLength = int64(body.Len())
	req.Header.Set("Authorization", "Bearer "+w.Admin)
	if a, err := w.Send(req); err != nil || a.Status != 200 {
		w.Fatalf("upload to %s: %v %d %s", path, err, a.Status, a.Body)
	}
}

// download returns the checksum of the data of an entity with its headers, or the status.
func (w *world) download(app, path string) string {
	w.Helper()
	req, err := http.NewRequest("GET", w.URL+"/acme/"+app+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Accept", "application/octet-stream")
	req.Header.Set("Authorization", "Bearer "+w.Admin)
	a, err := w.Send(req)
	if err != nil {
		w.Fatal(err)
	}
	if a.Status != 200 {
		return fmt.Sprint(a.Status)
	}
	return fmt.Sprintf("%x %d %s %s %s", sha256.Sum256([]byte(a.Body)), len(a.Body), a.Header.Get("Content-Type"), a.Header.Get("ETag"), a.Header.Get("Last-Modified"))
}

// noise is data that nothing makes shorter.
func noise(seed uint64, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(n)}).Read(data) // never fails
	return data
}

// fill gives an application data, feeds and counters.
func (w *world) fill(app string) {
	w.Helper()
	for i, n := range []int{0, 1, 1000, 256 << 10, 512 << 10, 512<<10 + 1, 3 << 20} {
		w.in(app, "POST", "/files", fmt.Sprintf(`{"name":"f%d","n":%d}`, i, n))
		w.upload(app, fmt.Sprintf("/files/f%d", i), "application/x-noise", noise(uint64(i), n))
	}
	w.upload(app, "/files/f2", "text/plain", []byte("another text"))
	w.in(app, "PUT", "/files/f2", `{"later":true}`)
	for _, name := range []string{"una", "dua", "tria"} {
		w.in(app, "POST", "/users", `{"username":"`+name+`"}`)
	}
	post := func(path, text string, at int) string {
		return w.in(app, "POST", path+"/activities", fmt.Sprintf(
			`{"verb":"post","content":"%s","published":%d,"actor":{"displayName":"una","username":"una"}}`, text, at))
	}
	first := post("/users/una", "before", 1500000000000)
	w.in(app, "POST", "/users/dua/following/users/una", "")
	second := post("/users/una", "while", 1500000000500)
	post("/users/una", "older", 1400000000000)
	w.in(app, "DELETE", "/users/dua/feed/"+first, "")
	w.in(app, "DELETE", "/users/dua/following/users/una", "")
	post("/users/una", "after", 1600000000000)
	w.in(app, "POST", "/users/tria/following/users/una", "")
	w.in(app, "DELETE", "/users/una/activities/"+second, "")
	w.in(app, "POST", "/groups", `{"path":"them"}`)
	w.in(app, "POST", "/groups/them/users/dua", "")
	post("/groups/them", "to all", 1550000000000)
	una, _ := w.must("GET", "/acme/"+app+"/users/una", w.Admin, "").Entity()["uuid"].(string)
	for i := range 40 {
		w.in(app, "POST", "/events", fmt.Sprintf(`{"timestamp":%d,"category":"ads","user":"%s","counters":{"clicks.top":%d,"Shown":1,"odd.%d":-3}}`,
			1500000000000+int64(i)*7_000_000, una, i, i%3))
	}
	w.in(app, "POST", "/events", `{"timestamp":1500000000000,"counters":{"shown":0}}`)
	w.in(app, "POST", "/events", `{"timestamp":1500000060000,"category":"ads","counters":{"shown":9}}`)
}

// shows are answers that tell whether data, feeds and counters are the same.
func (w *world) shows(app string) (all []string) {
	w.Helper()
	for i := range 7 {
		all = append(all, fmt.Sprintf("f%d ", i)+w.download(app, fmt.Sprintf("/files/f%d", i)))
	}
	for _, path := range []string{"users/una/feed", "users/dua/feed", "users/tria/feed", "users/una/activities", "groups/them/feed", "groups/them/activities"} {
		text := path
		for _, e := range w.must("GET", "/acme/"+app+"/"+path, w.Admin, "").Entities() {
			text += " " + fmt.Sprint(e["content"])
		}
		all = append(all, text)
	}
	for _, query := range []string{
		"counter=clicks&counter=clicks.top&counter=shown&counter=odd.2&counter=nothing", "counter=shown&resolution=week", "counter=shown&resolution=day",
		"counter=shown&resolution=half_hour&category=ads", "counter=clicks:*:*:ads&resolution=hour", "counter=odd:una&resolution=month", "counter=odd:una&resolution=minute",
	} {
		a := w.must("GET", "/acme/"+app+"/counters?end_time=1600000000000&"+query, w.Admin, "")
		text, err := json.Marshal(a.Fields["counters"])
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, query+" "+string(text))
	}
	return all
}

// lines are the inner lines of an export, with the members of entities that have data in
// one order: what says what the data is comes last after an import.
func canonical(t *testing.T, text string) []string {
	t.Helper()
	lines := strings.Split(inner(text), "\n")
	for i, line := range lines {
		if !strings.Contains(line, `"kind":"entity"`) || !strings.Contains(line, "file-metadata") {
			continue
		}
		var v any
		dec := json.NewDecoder(strings.NewReader(line))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = string(b)
	}
	return lines
}

// sound checks all partitions of the server.
func (w *world) sound() {
	w.Helper()
	for p := range entity.Partition(3) { // the system's and two
		view, err := w.Node.Applied(p)
		if err != nil {
			w.Fatal(err)
		}
		report, err := raftfsm.Check(w.Context(), view)
		if err != nil {
			w.Fatal(err)
		}
		for _, problem := range report.Problems {
			w.Errorf("partition %d: %s", p, problem)
		}
		if err := view.Close(); err != nil {
			w.Fatal(err)
		}
	}
}

// TestContentsRoundTrip: data, feeds and counters come back as they were; when the import
// is run again, or replaces, nothing changes, and nothing counts twice.
func TestContentsRoundTrip(t *testing.T) {
	w := newWorld(t)
	w.populate("shop")
	w.fill("shop")
	before := w.shows("shop")
	out := w.export("shop", w.Admin, "")
	w.newApp("copy")
	first := w.load("copy", w.Admin, out, "")
	if first.Failed != 0 || first.Attached != 7 || first.Had != 0 || first.Listed == 0 || first.Counted == 0 {
		t.Errorf("first: %s", first)
	}
	same := func(when string) {
		t.Helper()
		if d := cmp.Diff(before, w.shows("copy")); d != "" {
			t.Errorf("%s (-want +got):\n%s", when, d)
		}
		if d := cmp.Diff(canonical(t, out), canonical(t, w.export("copy", w.Admin, ""))); d != "" {
			t.Errorf("%s: export of the copy (-want +got):\n%.4000s", when, d)
		}
		w.sound()
	}
	same("first")
	again := w.load("copy", w.Admin, out, "")
	if again.Failed != 0 || again.Attached != 0 || again.Had != 7 || again.Listed != first.Listed || again.Counted != 0 || again.Imported != 0 {
		t.Errorf("again: %s", again)
	}
	same("again")
	w.in("copy", "PUT", "/files/f1", `{"other":1}`)
	w.upload("copy", "/files/f4", "text/plain", []byte("no noise"))
	w.in("copy", "POST", "/events", `{"timestamp":1500000000000,"category":"ads","counters":{"clicks.top":1000}}`)
	kept := w.load("copy", w.Admin, out, "")
	if kept.Failed != 0 || kept.Had != 7 || !strings.Contains(w.download("copy", "/files/f4"), " 8 text/plain") {
		t.Errorf("what was changed: %s, %s", kept, w.download("copy", "/files/f4"))
	}
	replaced := w.load("copy", w.Admin, out, "&replace=true")
	if replaced.Failed != 0 || replaced.Attached != 1 || replaced.Had != 6 {
		t.Errorf("replaced: %s", replaced)
	}
	w.sound()
	after := w.shows("copy")
	if d := cmp.Diff(before[:13], after[:13]); d != "" {
		t.Errorf("replaced (-want +got):\n%s", d)
	}
	if d := cmp.Diff(before[13:], after[13:]); d != "" {
		t.Errorf("replaced (-want +got):\n%s", d)
	}
	small := w.export("shop", w.Admin, "&data=false")
	if strings.Contains(small, `"kind":"data"`) || !strings.Contains(small, `"noData":true`) {
		t.Errorf("without data:\n%.1000s", small)
	}
	w.newApp("bare")
	if sum := w.load("bare", w.Admin, small, ""); sum.Failed != 0 || sum.Attached != 0 {
		t.Errorf("without data: %s", sum)
	}
	if got := w.download("bare", "/files/f3"); got != "404" {
		t.Errorf("without data: %s", got)
	}
	if e := w.must("GET", "/acme/bare/files/f3", w.Admin, "").Entity(); e["file-metadata"] != nil {
		t.Errorf("an entity without data says it has some: %v", e)
	}
}

// TestInterruptedContents: an import that ends after any line is finished by running it
// again, exactly right.
func TestInterruptedContents(t *testing.T) {
	w := newWorld(t)
	w.fill("shop")
	before := w.shows("shop")
	out := w.export("shop", w.Admin, "")
	lines := strings.SplitAfter(out, "\n")
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 5))
		app := fmt.Sprintf("copy%d", seed)
		w.newApp(app)
		for range 3 {
			n := 1 + rng.IntN(len(lines)-1)
			part := []string{"entities", "edges"}[rng.IntN(2)]
			w.must("POST", "/management/orgs/acme/apps/"+app+"/import?part="+part, w.Admin, strings.Join(lines[:n], ""))
			w.sound()
		}
		if sum := w.load(app, w.Admin, out, ""); sum.Failed != 0 {
			t.Errorf("seed %d: %s", seed, sum)
		}
		if d := cmp.Diff(before, w.shows(app)); d != "" {
			t.Errorf("seed %d (-want +got):\n%s", seed, d)
		}
	}
	w.sound()
}
