package main

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/objects"
	"github.com/trellisdb/trellis/storage/objects/objectstest"
	"github.com/trellisdb/trellis/storage/portable"
)

// exportOf makes a file with many entities and edges, some data, feeds and counters, and
// nothing that a new application has of itself.
func exportOf(entities int) string {
	var b bytes.Buffer
	w := portable.NewWriter(&b)
	w.Header(portable.Header{Organization: "acme", Application: "elsewhere", UUID: entity.NewID().String()})
	activities, items, people, users := portable.Quoted("activities"), portable.Quoted("items"), portable.Quoted("people"), portable.Quoted("users")
	w.Collection(portable.Collection{Name: "activities", Entities: inFeed})
	w.Collection(portable.Collection{Name: "items", Entities: uint64(entities)})
	w.Collection(portable.Collection{Name: "people", Entities: uint64(entities)})
	w.Collection(portable.Collection{Name: "users", Entities: 1})
	posts := make([]entity.ID, inFeed)
	for i := range posts {
		e := entity.Entity{ID: entity.NewID(), Created: int64(1_600_000_000_000 + i), Modified: int64(1_600_000_000_000 + i)}
		e.JSON = fmt.Appendf(nil, `{"verb":"post","content":"p%d","published":%d,"actor":{"displayName":"ann"}}`, i, 1_600_000_000_000+i)
		w.Entity(activities, &e, nil, nil)
		posts[inFeed-1-i] = e.ID
	}
	ids := make([]entity.ID, entities)
	for _, c := range [][]byte{items, people} {
		for i := range ids {
			e := entity.Entity{ID: entity.NewID(), Created: int64(1_600_000_000_000 + i), JSON: fmt.Appendf(nil, `{"name":"n%d","word":"%d of many","n":%d}`, i, i%7, i)}
			e.Modified = e.Created + 5
			data := portable.Data{ID: e.ID, Blob: entity.NewID(), Size: 1<<20 + 1, Chunk: 512 << 10}
			if filed := bytes.Equal(c, items) && i < withData; filed {
				data.Metadata = fmt.Appendf(nil, `{"content-type":"image/jpeg","content-length":%d,"last-modified":%d}`, data.Size, e.Created)
				e.JSON = fmt.Appendf(e.JSON[:len(e.JSON)-1], `,"file-metadata":%s}`, data.Metadata)
			}
			w.Entity(c, &e, nil, nil)
			for all := picture(byte(i), int(data.Size)); data.Metadata != nil && data.Offset < data.Size; data.Offset += data.Chunk {
				data.Bytes = all[data.Offset:min(data.Offset+data.Chunk, data.Size)]
				w.Data(c, &data)
			}
			if bytes.Equal(c, items) {
				ids[i] = e.ID
			}
		}
	}
	ann := entity.Entity{ID: entity.NewID(), Created: 1_600_000_000_000, Modified: 1_600_000_000_000, JSON: []byte(`{"username":"ann"}`)}
	w.Entity(users, &ann, nil, nil)
	for i := range entities {
		w.Edge(false, items, ids[i], portable.Quoted("likes"), items, ids[(7*i+1)%entities])
	}
	w.Feed(users, &portable.Feed{ID: ann.ID, List: portable.ListFeed, Activities: posts})
	for day := range int64(400) {
		w.Counter(&portable.Counter{Name: "clicks", Named: true, Cells: []entity.CounterCell{
			{Resolution: entity.Minute, Bucket: day * 86_400_000, Value: day}, {Resolution: entity.Minute, Bucket: day*86_400_000 + 60_000, Value: 1}}})
	}
	w.End()
	return b.String()
}

// inFeed is how many activities exportOf puts into a feed, and withData how many entities
// have data.
const (
	inFeed   = 100
	withData = 12
)

// comparable are the lines of an export without the first, the last, and those of roles,
// which every application has, in order.
func comparableLines(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = slices.DeleteFunc(lines[1:len(lines)-1], func(line string) bool {
		return strings.Contains(line, `"collection":"roles"`) || strings.Contains(line, `"name":"roles"`)
	})
	return lines
}

// TestImportSurvivesItsLeader: an import from the command line, and one from an object
// store, while the node that leads is killed, end exactly right: every entity, with its
// id and times, and every connection, once and in its order.
func TestImportSurvivesItsLeader(t *testing.T) {
	const bucket, entities = "backups", 3000
	store := objectstest.Start(t, bucket)
	t.Setenv("TRELLIS_EXPORT_ENDPOINT", store.URL)
	t.Setenv("TRELLIS_EXPORT_REGION", objectstest.Region)
	t.Setenv("TRELLIS_EXPORT_PATH_STYLE", "true")
	c := startTrio(t)
	client := &http.Client{Timeout: 10 * time.Second}
	c.organise(client)
	token, _ := c.ask(0, "POST", "/management/token", "", `{"grant_type":"password","username":"dana","password":"s3same"}`).Fields["access_token"].(string)
	if a := c.ask(0, "POST", "/management/orgs/acme/apps", token, `{"name":"copy"}`); a.Status != 200 {
		t.Fatalf("create application: %d %s", a.Status, a.Body)
	}
	text := exportOf(entities)
	file := filepath.Join(t.TempDir(), "export.ndjson")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := objects.Open(store.Config(bucket))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Put(t.Context(), "in/export.ndjson", strings.NewReader(text), int64(len(text))); err != nil {
		t.Fatal(err)
	}

	leader := c.leader(1)
	other := (leader + 1) % 3
	cmd := exec.Command(filepath.Join(buildDir, "trellis"), "import", "--url", "http://"+c.http[other], "--org", "acme", "--app", "sandbox", file)
	cmd.Env = append(os.Environ(), "TRELLIS_TOKEN="+token)
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for c.ask(other, "GET", "/acme/sandbox/items/n0", token, "").Entity()["file-metadata"] == nil { // some has its data, and not all
	}
	_ = c.running[leader].end(syscall.SIGKILL) // that is what it is about
	c.start(leader)
	if err := cmd.Wait(); err != nil {
		t.Errorf("import: %v\n%s", err, out)
	}
	c.ready(leader)

	leader = c.leader(2) // of the other application's partition
	other = (leader + 1) % 3
	path := "/management/orgs/acme/apps/copy/imports"
	job, _ := c.ask(other, "POST", path, token, fmt.Sprintf(
		`{"properties":{"storage_provider":"s3","storage_info":{"bucket_location":"%s/in","s3_access_id":%q,"s3_key":%q}}}`,
		bucket, objectstest.AccessKey, objectstest.SecretKey)).Entity()["uuid"].(string)
	for len(c.ask(other, "GET", "/acme/copy/items?limit=1", token, "").Entities()) == 0 {
	}
	_ = c.running[leader].end(syscall.SIGKILL)
	c.start(leader)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		e := c.ask(other, "GET", path+"/"+job, token, "").Entity()
		if e["state"] == "FINISHED" {
			break
		}
		if e["state"] == "FAILED" || time.Now().After(end) {
			t.Fatalf("import from the store: %v\n%s", e, c.ask(other, "GET", path+"/"+job+"/files", token, "").Body)
		}
	}
	c.ready(leader)
	want := comparableLines(text)
	for i, app := range []string{"sandbox", "copy"} {
		path := filepath.Join(t.TempDir(), app+".ndjson.gz")
		if out, err := c.trellis((leader+i)%3, "export", "--org", "acme", "--app", app, "-o", path); err != nil {
			t.Fatalf("export: %v\n%s", err, out)
		}
		if got := linesOf(t, path); !slices.Equal(got, want) {
			t.Errorf("%s has %d lines, want %d; what is missing or too much: %.1000q", app, len(got), len(want), difference(got, want))
		}
	}
	out2, err := c.trellis(other, "import", "--org", "acme", "--app", "sandbox", file)
	if err != nil || !strings.Contains(out2, fmt.Sprintf("imported 0 entities, %d were there already; %d connections", 2*entities+inFeed+1, entities)) ||
		!strings.Contains(out2, fmt.Sprintf("data of 0 entities, %d had theirs; %d activities in feeds; 0 parts of counters", withData, inFeed)) {
		t.Errorf("once more: %v\n%s", err, out2)
	}
}

// linesOf reads an export that was compressed, and verifies it.
func linesOf(t *testing.T, path string) []string {
	t.Helper()
	sources, err := sourcesOf([]string{path}, false)
	if err != nil {
		t.Fatal(err)
	}
	r, err := sources[0].open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	if _, _, err := portable.Verify(bytes.NewReader(b.Bytes())); err != nil {
		t.Error(err)
	}
	return comparableLines(b.String())
}

// difference lists some lines of one and not of the other.
func difference(a, b []string) (list []string) {
	in := map[string]int{}
	for _, line := range a {
		in[line]++
	}
	for _, line := range b {
		in[line]--
	}
	for line, n := range in {
		if n != 0 && len(list) < 5 {
			list = append(list, fmt.Sprintf("%+d %s", n, line))
		}
	}
	return list
}

// TestLargeDataTravelsInLittleMemory exports an application with a file of 200 MiB and
// imports it: neither the node nor the commands ever have the file in memory.
func TestLargeDataTravelsInLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes a gigabyte")
	}
	p := launch(t, t.TempDir(), "TRELLIS_SUPERUSER_PASSWORD="+clusterPassword, "TRELLIS_MAX_ASSET_MB=256", "TRELLIS_CACHE_MB=8", "GOMEMLIMIT=150MiB")
	send := func(method, path, kind string, body []byte) {
		t.Helper()
		req, err := http.NewRequest(method, p.url+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		req.SetBasicAuth("superuser", clusterPassword)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // read whole
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %v %d %s", method, path, err, res.StatusCode, text)
		}
	}
	send("POST", "/management/orgs", "application/json", []byte(`{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`))
	send("POST", "/management/orgs/acme/apps", "application/json", []byte(`{"name":"copy"}`))
	send("POST", "/acme/sandbox/items", "application/json", []byte(`{"name":"large"}`))
	sum := func() []byte {
		data := picture(3, 200<<20)
		send("PUT", "/acme/sandbox/items/large", "image/jpeg", data)
		return md5Of(data)
	}()
	before, most := resident(t, p), int64(0)
	stop := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				most = max(most, resident(t, p))
			}
		}
	})
	file := filepath.Join(t.TempDir(), "large.ndjson")
	for _, args := range [][]string{{"export", "--app", "sandbox", "-o", file}, {"import", "--app", "copy", file}} {
		cmd := exec.Command(filepath.Join(buildDir, "trellis"), append(args, "--url", p.url, "--org", "acme")...)
		cmd.Env = append(os.Environ(), "TRELLIS_SUPERUSER_PASSWORD="+clusterPassword, "GOMEMLIMIT=50MiB")
		out := &syncBuffer{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		had, running := int64(0), true
		for running {
			select {
			case err := <-ended:
				if running = false; err != nil {
					t.Fatalf("%v: %v\n%s", args, err, out)
				}
			case <-time.After(20 * time.Millisecond):
				if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)); err == nil {
					had = max(had, residentIn(string(text)))
				}
			}
		}
		t.Logf("%s: %d MiB at most; %s", args[0], had>>20, out)
		if had > 120<<20 {
			t.Errorf("%s had %d MiB of memory", args[0], had>>20)
		}
	}
	close(stop)
	looking.Wait()
	t.Logf("the node: %d MiB before, %d MiB at most", before>>20, most>>20)
	if most-before > 150<<20 { // memtables fill meanwhile
		t.Errorf("memory grew by %d MiB", (most-before)>>20)
	}
	req, err := http.NewRequest(http.MethodGet, p.url+"/acme/copy/items/large", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "image/jpeg")
	req.SetBasicAuth("superuser", clusterPassword)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := md5.New()
	if n, err := io.Copy(got, res.Body); err != nil || n != 200<<20 || !bytes.Equal(got.Sum(nil), sum) {
		t.Errorf("the copy: %v, %d bytes", err, n)
	}
}
