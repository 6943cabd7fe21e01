package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trellisdb/trellis/node/nodetest"
)

const (
	testPassword = "the superuser's"
	testSecret   = "the cluster's secret"
)

// begin starts a server process and does not wait for it.
func begin(t *testing.T, dir string, environment ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	addr := nodetest.FreeAddr(t)
	p := &process{t: t, url: "http://" + addr, out: &syncBuffer{}}
	p.cmd = exec.Command(path, "serve", "--data-dir", dir, "--http-addr", addr)
	p.cmd.Env = append(append(os.Environ(), "TRELLIS_SUPERUSER_PASSWORD="+testPassword), environment...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

// eventually waits for a fact.
func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !fact(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (p *process) serves() bool {
	res, err := http.Get(p.url + "/status")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (p *process) awaitServing() {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Logf("its log:\n%s", p.out)
		}
	}()
	eventually(p.t, "the server serves", p.serves)
}

// member is a node of a cluster that tests start, and where it gossips.
type member struct {
	*process
	dir, name, gossip string
}

// join starts a node; the ones it joins may be started later.
func join(t *testing.T, dir, name, gossip string, expect int, others ...string) *member {
	t.Helper()
	environment := []string{
		"TRELLIS_CLUSTER_SECRET=" + testSecret, "TRELLIS_PARTITIONS=3", "TRELLIS_NODE_ID=" + name, "TRELLIS_CACHE_MB=16",
		"TRELLIS_CLUSTER_ADDR=127.0.0.1:0", "TRELLIS_GOSSIP_ADDR=" + gossip, fmt.Sprintf("TRELLIS_BOOTSTRAP_EXPECT=%d", expect),
	}
	if len(others) > 0 {
		environment = append(environment, "TRELLIS_JOIN="+strings.Join(others, ","))
	}
	return &member{begin(t, dir, environment...), dir, name, gossip}
}

// startThree forms a cluster of three nodes.
func startThree(t *testing.T) []*member {
	t.Helper()
	gossip := []string{nodetest.FreeAddr(t), nodetest.FreeAddr(t), nodetest.FreeAddr(t)}
	list := make([]*member, 3)
	for i := range list {
		list[i] = join(t, filepath.Join(t.TempDir(), "d"), fmt.Sprintf("n%d", i+1), gossip[i], 3, gossip...)
	}
	for _, m := range list {
		m.awaitServing()
	}
	return list
}

func (p *process) cluster() (v clusterView, err error) {
	req, err := http.NewRequest(http.MethodGet, p.url+"/system/cluster", nil)
	if err != nil {
		return v, err
	}
	req.SetBasicAuth("superuser", testPassword)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return v, err
	}
	defer res.Body.Close()
	var answer struct{ Data *clusterView }
	answer.Data = &v
	return v, json.NewDecoder(res.Body).Decode(&answer)
}

// replicated reports whether every partition has so many voters or followers that are all
// up to date.
func (p *process) replicated(replicas int) bool {
	v, err := p.cluster()
	if err != nil || len(v.Partitions) == 0 {
		return false
	}
	for _, part := range v.Partitions {
		n := 0
		for _, r := range part.Replicas {
			if (r.Role == "leader" || r.Role == "follower") && r.Lag == 0 && r.Wanted {
				n++
			}
		}
		if part.Leader == "" || n < replicas {
			return false
		}
	}
	return true
}

// must runs a command of the program.
func must(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := command(t, arguments...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", arguments, err, out)
	}
	return out
}

func command(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, arguments...)
	cmd.Env = append(os.Environ(), "TRELLIS_SUPERUSER_PASSWORD="+testPassword)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// shop is what a client knows of a cluster: entities by name with their ids, and a
// token of the organisation's owner.
type shop struct {
	mu    sync.Mutex
	ids   map[string]string
	token string
}

func openShop(t *testing.T, base string, entities int) *shop {
	t.Helper()
	s := &shop{ids: map[string]string{}}
	status, _, _, err := call(http.DefaultClient, "POST", base+"/management/orgs",
		`{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`)
	if err != nil || status != 200 {
		t.Fatalf("create organisation: %d %v", status, err)
	}
	res, err := http.Post(base+"/management/token", "application/json", strings.NewReader(`{"grant_type":"password","username":"dana","password":"s3same"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var granted struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&granted); err != nil || granted.Token == "" {
		t.Fatalf("no token: %v", err)
	}
	s.token = granted.Token
	for i := range entities {
		if !s.add(base, fmt.Sprintf("before-%d", i)) {
			t.Fatal("an entity was not taken")
		}
	}
	return s
}

// add creates an entity and remembers it if that was acknowledged.
func (s *shop) add(base, name string) bool {
	status, created, _, err := call(http.DefaultClient, "POST", base+"/acme/sandbox/things", fmt.Sprintf(`{"name":%q}`, name))
	if err != nil || status != 200 || len(created) != 1 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[name] = fmt.Sprint(created[0]["uuid"])
	return true
}

func (s *shop) acknowledged() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.ids)
}

// verify compares a cluster with what was acknowledged: all is there under its
// id, nothing twice, names stay unique, the count is right, the token is good.
func (s *shop) verify(t *testing.T, base string, want map[string]string) {
	t.Helper()
	seen := map[string]string{}
	for cursor := ""; ; {
		status, page, next, err := call(http.DefaultClient, "GET", base+"/acme/sandbox/things?limit=1000&cursor="+url.QueryEscape(cursor), "")
		if err != nil || status != 200 {
			t.Fatalf("list: %d %v", status, err)
		}
		for _, e := range page {
			name := fmt.Sprint(e["name"])
			if _, twice := seen[name]; twice {
				t.Errorf("%s is listed twice", name)
			}
			seen[name] = fmt.Sprint(e["uuid"])
		}
		if next == "" {
			break
		}
		cursor = next
	}
	for name, id := range want {
		if seen[name] != id {
			t.Errorf("%s was acknowledged as %s and is %q", name, id, seen[name])
		}
	}
	for name := range seen {
		if status, _, _, err := call(http.DefaultClient, "POST", base+"/acme/sandbox/things", fmt.Sprintf(`{"name":%q}`, name)); status != 400 {
			t.Errorf("the name %s was given a second time: %d %v", name, status, err)
		}
		break
	}
	ask := func(path string) (int, string) {
		req, err := http.NewRequest(http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body) // a half one does not hold what is looked for
		return res.StatusCode, string(body)
	}
	if status, body := ask("/management/orgs/acme"); status != 200 {
		t.Errorf("the owner's token: %d %s", status, body)
	}
	if _, body := ask("/acme/sandbox"); !strings.Contains(body, fmt.Sprintf(`"title":"Things","count":%d,`, len(seen))) {
		t.Errorf("%d entities are listed, counted are:\n%s", len(seen), body)
	}
}

// TestBackupUnderLoad backs up a server that is being written to, restores it, and
// compares. Then it damages the backup, and kills restores on their way.
func TestBackupUnderLoad(t *testing.T) {
	p := begin(t, filepath.Join(t.TempDir(), "d"))
	p.awaitServing()
	s := openShop(t, p.url, 200)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for w := range 4 {
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					s.add(p.url, fmt.Sprintf("during-%d-%d", w, i))
				}
			}
		})
	}
	eventually(t, "the load is on", func() bool { return len(s.acknowledged()) > 230 })
	want := s.acknowledged()
	backup := filepath.Join(t.TempDir(), "backup")
	must(t, "backup", "--url", p.url, "--out", backup)
	if out, err := command(t, "backup", "--url", p.url, "--out", backup); err == nil {
		t.Errorf("a backup was overwritten:\n%s", out)
	}
	again, err := exec.Command(filepath.Join(buildDir, "trellis"), "backup", "--url", p.url, "--out", "-").Output()
	if err == nil {
		t.Errorf("%d bytes without a password", len(again))
	}
	close(stop)
	load.Wait()

	dir := filepath.Join(t.TempDir(), "restored")
	must(t, "restore", "--from", backup, "--data-dir", dir, "--node-id", "fresh")
	whole := must(t, "check", "--data-dir", dir)
	if out, err := command(t, "restore", "--from", backup, "--data-dir", dir); err == nil {
		t.Errorf("a directory that exists was taken:\n%s", out)
	}
	r := begin(t, dir)
	r.awaitServing()
	s.verify(t, r.url, want)
	if !s.add(r.url, "after") {
		t.Error("the restored server takes no writes")
	}
	if err := r.end(syscall.SIGKILL); err == nil {
		t.Error("the killed server exited cleanly")
	}
	must(t, "check", "--data-dir", dir)

	raw, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("damaged", func(t *testing.T) { damagedBackups(t, raw) })
	t.Run("interrupted", func(t *testing.T) { interruptedRestores(t, backup, raw, whole) })
}

// damagedBackups: at a sample of positions in every region a flipped byte, or an
// early end, is noticed, and no directory is left.
func damagedBackups(t *testing.T, raw []byte) {
	if _, err := verifyBackup(context.Background(), bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	const samples = 200
	for i := range samples {
		at := i * (len(raw) - 1) / (samples - 1)
		damaged := bytes.Clone(raw)
		damaged[at] ^= 0x40
		for what, b := range map[string][]byte{"flipped": damaged, "cut": raw[:at]} {
			if _, err := verifyBackup(context.Background(), bytes.NewReader(b)); err == nil {
				t.Errorf("%s at %d, and nobody noticed", what, at)
			}
			if i%25 != 0 {
				continue
			}
			dir := filepath.Join(t.TempDir(), "d")
			if err := restore(context.Background(), "-", dir, "", bytes.NewReader(b), io.Discard); err == nil {
				t.Errorf("%s at %d, and it was restored", what, at)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s at %d: the directory is left: %v", what, at, err)
			}
		}
	}
}

// digests are the lines of a check that say what an application partition holds.
func digests(report string) string {
	return strings.Join(regexp.MustCompile(`(?m)^partition [1-9].*$`).FindAllString(report, -1), "\n")
}

// interruptedRestores kills restores: one in the middle for sure, others at some
// moment. What they leave is refused, or whole.
func interruptedRestores(t *testing.T, backup string, raw []byte, whole string) {
	path := filepath.Join(buildDir, "trellis")
	refused := func(dir string) {
		for _, arguments := range [][]string{{"check", "--data-dir", dir}, {"serve", "--data-dir", dir, "--http-addr", "127.0.0.1:0"}} {
			if out, err := command(t, arguments...); err == nil || !strings.Contains(out, "a restore of this directory was begun and has not come to its end") {
				t.Errorf("%s of half a restore: %v\n%s", arguments[0], err, out)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "d")
	cmd := exec.Command(path, "restore", "--from", "-", "--data-dir", dir)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _ = in.Write(raw[:len(raw)/2]) // if it cannot, the restore has failed, which shows
	eventually(t, "the restore has begun", func() bool {
		_, err := os.Stat(filepath.Join(dir, "identity"))
		return err == nil
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	refused(dir)

	for range 4 {
		dir := filepath.Join(t.TempDir(), "d")
		cmd := exec.Command(path, "restore", "--from", backup, "--data-dir", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(300 * time.Millisecond))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if _, err := os.Stat(filepath.Join(dir, "unfinished")); err == nil {
			refused(dir)
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "identity")); err != nil {
			continue // killed before anything was there
		}
		if got := must(t, "check", "--data-dir", dir); digests(got) != digests(whole) {
			t.Errorf("a killed restore left something else:\n%s\nwant\n%s", got, whole)
		}
	}
}

// TestBackupOfThreeGrowsAgain restores the backup of a cluster of three to one
// node, grows that to three, and backs it up through a node without replicas.
func TestBackupOfThreeGrowsAgain(t *testing.T) {
	old := startThree(t)
	s := openShop(t, old[1].url, 50)
	backup := filepath.Join(t.TempDir(), "backup")
	must(t, "backup", "--url", old[2].url, "--out", backup)
	for _, m := range old {
		_ = m.end(syscall.SIGKILL)
	}
	dir := filepath.Join(t.TempDir(), "d")
	must(t, "restore", "--from", backup, "--data-dir", dir, "--node-id", "m1")
	must(t, "check", "--data-dir", dir)
	gossip := []string{nodetest.FreeAddr(t), nodetest.FreeAddr(t), nodetest.FreeAddr(t)}
	grown := []*member{join(t, dir, "m1", gossip[0], 1)}
	grown[0].awaitServing()
	s.verify(t, grown[0].url, s.acknowledged())
	for i := 1; i < 3; i++ {
		grown = append(grown, join(t, filepath.Join(t.TempDir(), "d"), fmt.Sprintf("m%d", i+1), gossip[i], 1, gossip[0]))
	}
	for _, m := range grown {
		m.awaitServing()
	}
	eventually(t, "all partitions have three replicas", func() bool { return grown[0].replicated(3) })
	s.verify(t, grown[2].url, s.acknowledged())

	// One that has just come has nothing but the system partition.
	m4 := join(t, filepath.Join(t.TempDir(), "d"), "m4", nodetest.FreeAddr(t), 1, gossip[0])
	m4.awaitServing()
	backup = filepath.Join(t.TempDir(), "backup")
	must(t, "backup", "--url", m4.url, "--out", backup)
	dir = filepath.Join(t.TempDir(), "d")
	must(t, "restore", "--from", backup, "--data-dir", dir)
	must(t, "check", "--data-dir", dir)
	last := begin(t, dir)
	last.awaitServing()
	s.verify(t, last.url, s.acknowledged())
}

// TestRecoverFromOneOfThree: two of three nodes are lost for good. What was
// acknowledged was on two of them; the third is certain to have it only because
// the test waits until it has caught up.
func TestRecoverFromOneOfThree(t *testing.T) {
	old := startThree(t)
	s := openShop(t, old[1].url, 50)
	eventually(t, "n1 has caught up", func() bool { return old[0].replicated(3) })
	dir := old[0].dir
	if out, err := command(t, "recover", "--data-dir", dir); err == nil {
		t.Errorf("a running node was recovered:\n%s", out)
	}
	for _, m := range old {
		_ = m.end(syscall.SIGKILL)
	}
	if err := os.RemoveAll(old[1].dir); err != nil {
		t.Fatal(err)
	}

	plan := must(t, "recover", "--data-dir", dir)
	id := regexp.MustCompile(`n1~[0-9a-f]{8}`).FindString(plan)
	if id == "" || !strings.Contains(plan, "Nothing was changed") || strings.Count(plan, "removed for good") != 2 {
		t.Fatalf("the plan:\n%s", plan)
	}
	if out, err := command(t, "recover", "--data-dir", dir, "--accept-data-loss", "n1"); err == nil {
		t.Errorf("recovered by a name that is not the whole id:\n%s", out)
	}
	copies := killedRecoveries(t, dir, id)
	must(t, "recover", "--data-dir", dir, "--accept-data-loss", id)
	whole := must(t, "check", "--data-dir", dir)
	for _, other := range copies {
		if digests(other) != digests(whole) {
			t.Errorf("a recovery that was killed and run again left something else:\n%s\nwant\n%s", other, whole)
		}
	}
	if out, err := command(t, "recover", "--data-dir", dir, "--accept-data-loss", id); err == nil || !strings.Contains(out, "cluster of one already") {
		t.Errorf("recovered twice: %v\n%s", err, out)
	}

	first := join(t, dir, "n1", old[0].gossip, 1)
	first.awaitServing()
	s.verify(t, first.url, s.acknowledged())
	back := join(t, old[2].dir, "n3", nodetest.FreeAddr(t), 3, first.gossip)
	for i := range 2 {
		m := join(t, filepath.Join(t.TempDir(), "d"), fmt.Sprintf("n%d", i+2), nodetest.FreeAddr(t), 1, first.gossip)
		m.awaitServing()
	}
	eventually(t, "all partitions have three replicas", func() bool { return first.replicated(3) })
	s.verify(t, first.url, s.acknowledged())
	eventually(t, "the old n3 is told off", func() bool { return strings.Contains(back.out.String(), "another cluster") })
	if back.serves() {
		t.Error("a node of the old cluster serves")
	}
	v, err := first.cluster()
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]int{}
	for _, n := range v.Nodes {
		states[n.State]++
	}
	if states["active"] != 3 || states["removed"] != 2 {
		t.Errorf("nodes: %+v", v.Nodes)
	}
}

// killedRecoveries kills recoveries of copies at some moment and runs them
// again. It returns what check says of each.
func killedRecoveries(t *testing.T, dir, id string) (reports []string) {
	for range 3 {
		other := filepath.Join(t.TempDir(), "d")
		if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		arguments := []string{"recover", "--data-dir", other, "--accept-data-loss", id}
		cmd := exec.Command(filepath.Join(buildDir, "trellis"), arguments...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(400 * time.Millisecond))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if _, err := os.Stat(filepath.Join(other, "unfinished")); err == nil {
			if out, err := command(t, "check", "--data-dir", other); err == nil {
				t.Errorf("half a recovery passes for a whole one:\n%s", out)
			}
		}
		if out, err := command(t, arguments...); err != nil && !strings.Contains(out, "cluster of one already") {
			t.Fatalf("run again: %v\n%s", err, out)
		}
		reports = append(reports, must(t, "check", "--data-dir", other))
	}
	return reports
}
