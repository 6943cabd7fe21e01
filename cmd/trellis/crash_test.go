package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// call makes a request and decodes the answer's entities.
func call(client *http.Client, method, target, body string) (status int, entities []map[string]any, cursor string, err error) {
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	raw, err := io.ReadAll(res.Body)
	if cerr := res.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, nil, "", err
	}
	var envelope struct {
		Entities []map[string]any `json:"entities"`
		Cursor   string           `json:"cursor"`
	}
	if err := json.Unmarshal(raw, &envelope); err != nil {
		return 0, nil, "", fmt.Errorf("%s %s: %s: %w", method, target, raw, err)
	}
	return res.StatusCode, envelope.Entities, envelope.Cursor, nil
}

// expected is what a client knows of one entity: the last version that was
// acknowledged, and the one that was on its way when the server died.
type expected struct{ acknowledged, sent int }

// TestAcknowledgedSurvivesKill kills the server at random moments under load.
// After each restart every acknowledged write is there, whole, and nothing that
// was never sent.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	const workers, rounds = 16, 4
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	known := make([]map[string]*expected, workers) // by name, one map a worker
	for w := range known {
		known[w] = map[string]*expected{}
	}
	p := launch(t, dir)
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer client.CloseIdleConnections()
	if status, _, _, err := call(client, "POST", p.url+"/management/orgs", `{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`); status != 200 {
		t.Fatalf("create organisation: %d %v", status, err)
	}
	for round := range rounds {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for w := range workers {
			work := rand.New(rand.NewPCG(seed, uint64(round*workers+w+1)))
			wg.Go(func() { writeUntil(client, p.url, known[w], w, round, work, stop) })
		}
		time.Sleep(time.Duration(200+rng.IntN(800)) * time.Millisecond)
		if err := p.end(syscall.SIGKILL); err == nil {
			t.Fatal("the killed server exited cleanly")
		}
		close(stop)
		wg.Wait()
		if out, err := exec.Command(buildDir+"/trellis", "check", "--data-dir", dir).CombinedOutput(); err != nil {
			t.Fatalf("round %d: check: %v\n%s", round, err, out)
		}
		p = launch(t, dir)
		verifyKnown(t, client, p.url, known)
		if t.Failed() {
			t.Fatalf("round %d of seed %d", round, seed)
		}
	}
}

// writeUntil creates entities and raises their version, until the server dies.
func writeUntil(client *http.Client, base string, known map[string]*expected, w, round int, rng *rand.Rand, stop <-chan struct{}) {
	var names []string
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		name, method, target := fmt.Sprintf("w%d-r%d-%d", w, round, i), "POST", base+"/acme/sandbox/things"
		if len(names) > 0 && rng.IntN(2) == 0 {
			name = names[rng.IntN(len(names))]
			method, target = "PUT", target+"/"+name
		}
		e := known[name]
		if e == nil {
			e = &expected{}
			known[name] = e
		}
		e.sent++
		body := fmt.Sprintf(`{"name":%q,"version":%d,"copy":%d}`, name, e.sent, e.sent)
		status, _, _, err := call(client, method, target, body)
		if err != nil || status != 200 {
			return // the outcome is unknown
		}
		e.acknowledged = e.sent
		names = append(names, name)
	}
}

// verifyKnown walks the collection and compares it with what clients know.
func verifyKnown(t *testing.T, client *http.Client, base string, known []map[string]*expected) {
	t.Helper()
	all := map[string]*expected{}
	for _, m := range known {
		for name, e := range m {
			all[name] = e
		}
	}
	seen := map[string]bool{}
	for cursor := ""; ; {
		status, entities, next, err := call(client, "GET", base+"/acme/sandbox/things?limit=1000&cursor="+url.QueryEscape(cursor), "")
		if err != nil || status != 200 {
			t.Fatalf("list: %d %v", status, err)
		}
		for _, got := range entities {
			name := fmt.Sprint(got["name"])
			version, ok := got["version"].(float64)
			e := all[name]
			switch {
			case seen[name]:
				t.Errorf("%s is listed twice", name)
			case e == nil:
				t.Errorf("%s was never sent", name)
			case !ok || got["copy"] != version:
				t.Errorf("%s is half written: %v", name, got)
			case int(version) < e.acknowledged || int(version) > e.sent:
				t.Errorf("%s has version %v, acknowledged was %d, sent %d", name, version, e.acknowledged, e.sent)
			default:
				e.acknowledged, e.sent = int(version), int(version)
			}
			seen[name] = true
		}
		if next == "" {
			break
		}
		cursor = next
	}
	for name, e := range all {
		if e.acknowledged > 0 && !seen[name] {
			t.Errorf("%s was acknowledged and is gone", name)
		}
	}
	t.Logf("%d entities, %d sent names", len(seen), len(all))
}

// TestCheckNoticesAFlippedByte flips one byte in a table of a stopped server.
func TestCheckNoticesAFlippedByte(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir)
	client := &http.Client{Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	if status, _, _, err := call(client, "POST", p.url+"/management/orgs", `{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`); status != 200 {
		t.Fatalf("create organisation: %d %v", status, err)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatalf("stop: %v\n%s", err, p.out)
	}
	if out, err := exec.Command(buildDir+"/trellis", "check", "--data-dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("check of an untouched directory: %v\n%s", err, out)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "state", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables in the state database: %v", err)
	}
	raw, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/4] ^= 0x10
	if err := os.WriteFile(tables[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(buildDir+"/trellis", "check", "--data-dir", dir).CombinedOutput()
	if err == nil {
		t.Errorf("check does not notice a flipped byte:\n%s", out)
	}
}
