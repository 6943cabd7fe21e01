package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trellisdb/trellis/node/nodetest"
)

const clusterPassword = "correct horse"

// trio is a cluster of three processes.
type trio struct {
	t       *testing.T
	dirs    [3]string
	http    [3]string
	peer    [3]string
	gossip  [3]string
	running [3]*process
}

func newTrio(t *testing.T) *trio {
	t.Helper()
	c := &trio{t: t}
	for i := range 3 {
		c.dirs[i], c.http[i], c.peer[i], c.gossip[i] = t.TempDir(), nodetest.FreeAddr(t), nodetest.FreeAddr(t), nodetest.FreeAddr(t)
	}
	return c
}

// startTrio starts three nodes and waits until all are ready.
func startTrio(t *testing.T) *trio {
	t.Helper()
	c := newTrio(t)
	for i := range 3 {
		c.start(i)
	}
	for i := range 3 {
		c.ready(i)
	}
	return c
}

// organise creates an organisation.
func (c *trio) organise(client *http.Client) {
	c.t.Helper()
	status, answer := c.send(client, 0, "org", "POST", "/management/orgs", `{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`)
	if status != 200 {
		c.t.Fatalf("create organisation: %d %s", status, answer)
	}
}

// start starts a node without waiting for it.
func (c *trio) start(i int) {
	c.t.Helper()
	path, err := binary()
	if err != nil {
		c.t.Fatal(err)
	}
	p := &process{t: c.t, url: "http://" + c.http[i], out: &syncBuffer{}}
	p.cmd = exec.Command(path, "serve", "--node-id", fmt.Sprintf("n%d", i+1), "--data-dir", c.dirs[i], "--http-addr", c.http[i],
		"--cluster-addr", c.peer[i], "--gossip-addr", c.gossip[i], "--bootstrap-expect", "3", "--join", strings.Join(c.gossip[:], ","))
	p.cmd.Env = append(os.Environ(), "TRELLIS_CLUSTER_SECRET=shared by the three", "TRELLIS_SUPERUSER_PASSWORD="+clusterPassword)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = p.end(syscall.SIGKILL) }) // what still runs at the end is not looked at
	c.running[i] = p
}

// ready waits until a node serves.
func (c *trio) ready(i int) {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get(c.running[i].url + "/status"); err == nil {
			_ = res.Body.Close() // only the status matters
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			c.t.Fatalf("node %d does not serve:\n%s", i+1, c.running[i].out)
		}
	}
}

// trellis runs a command of the command line against a node.
func (c *trio) trellis(i int, args ...string) (string, error) {
	cmd := exec.Command(buildDir+"/trellis", append(args, "--url", "http://"+c.http[i])...)
	cmd.Env = append(os.Environ(), "TRELLIS_SUPERUSER_PASSWORD="+clusterPassword)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// leader is the node that leads the partition of the most writes.
func (c *trio) leader(partition int) int {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for i, p := range c.running {
			if p == nil {
				continue
			}
			var status struct {
				Status struct {
					Node struct {
						Partitions []struct {
							Partition int
							Role      string
						}
					}
				}
			}
			res, err := http.Get(p.url + "/status")
			if err != nil {
				continue
			}
			err = json.NewDecoder(res.Body).Decode(&status)
			_ = res.Body.Close() // read as far as it matters
			if err != nil {
				continue
			}
			for _, s := range status.Status.Node.Partitions {
				if s.Partition == partition && s.Role == "leader" {
					return i
				}
			}
		}
	}
	c.t.Fatalf("partition %d has no leader", partition)
	return -1
}

// send sends a write again and again, to one node after the other, under one
// Idempotency-Key, until it is answered.
func (c *trio) send(client *http.Client, first int, key, method, path, body string) (int, string) {
	for try := 0; ; try++ {
		req, err := http.NewRequest(method, "http://"+c.http[(first+try)%3]+path, strings.NewReader(body))
		if err != nil {
			return 0, err.Error()
		}
		req.Header.Set("Idempotency-Key", key)
		res, err := client.Do(req)
		if err == nil {
			answer, err := io.ReadAll(res.Body)
			_ = res.Body.Close() // read whole
			if err == nil && res.StatusCode != http.StatusServiceUnavailable {
				return res.StatusCode, string(answer)
			}
		}
		if try > 300 {
			return 0, "no answer"
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Three processes form a cluster. While clients write through all of them, the
// node that leads is killed and comes back, twice: every write has its effect,
// once, and in the end all replicas hold the same.
func TestThreeProcessesSurviveTheirLeaders(t *testing.T) {
	c := newTrio(t)
	for _, i := range []int{1, 0, 2} {
		c.start(i)
	}
	for i := range 3 {
		c.ready(i)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	c.organise(client)
	const writers = 6
	acknowledged := make([]int, writers)
	stop := make(chan struct{})
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("w%d-%d", w, i)
				if status, answer := c.send(client, w, name, "POST", "/acme/sandbox/things", `{"name":"`+name+`"}`); status != 200 {
					t.Errorf("create %s: %d %s", name, status, answer)
					return
				}
				acknowledged[w] = i + 1
			}
		})
	}
	for _, partition := range []int{1, 0} {
		time.Sleep(300 * time.Millisecond) // a while of writing, not a fact to wait for
		victim := c.leader(partition)
		if err := c.running[victim].end(syscall.SIGKILL); err == nil {
			t.Error("the killed node exited cleanly")
		}
		c.running[victim] = nil
		next := c.leader(partition)
		if next == victim {
			t.Errorf("node %d leads and was killed", victim+1)
		}
		c.start(victim)
		c.ready(victim)
	}
	close(stop)
	writing.Wait()

	want := 0
	for _, n := range acknowledged {
		want += n
	}
	for i := range 3 {
		seen := map[string]bool{}
		for cursor := ""; ; {
			status, entities, next, err := call(client, "GET", "http://"+c.http[i]+"/acme/sandbox/things?limit=1000&cursor="+cursor, "")
			if err != nil || status != 200 {
				t.Fatalf("list through node %d: %d %v", i+1, status, err)
			}
			for _, e := range entities {
				name := fmt.Sprint(e["name"])
				if seen[name] {
					t.Errorf("%s is there twice", name)
				}
				seen[name] = true
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		if len(seen) != want {
			t.Errorf("node %d shows %d entities, %d were acknowledged", i+1, len(seen), want)
		}
	}
	if out, err := c.trellis(1, "cluster", "verify"); err != nil || strings.Count(out, "3 replicas agree") != 9 {
		t.Errorf("cluster verify: %v\n%s", err, out)
	}
	if out, err := c.trellis(2, "cluster", "status"); err != nil || !strings.Contains(out, "3 of 3 nodes ready") {
		t.Errorf("cluster status: %v\n%s", err, out)
	}
	for i := range 3 {
		if err := c.running[i].end(syscall.SIGTERM); err != nil {
			t.Errorf("stop node %d: %v\n%s", i+1, err, c.running[i].out)
		}
	}
	for i := range 3 {
		if out, err := exec.Command(buildDir+"/trellis", "check", "--data-dir", c.dirs[i]).CombinedOutput(); err != nil {
			t.Errorf("check node %d: %v\n%s", i+1, err, out)
		}
	}
	t.Logf("%d writes", want)
}

// Clients of the cluster's commands are told what is wrong in words.
func TestClusterCommandsRefuse(t *testing.T) {
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	p := launch(t, t.TempDir(), "TRELLIS_SUPERUSER_PASSWORD="+clusterPassword)
	run := func(password string, args ...string) string {
		cmd := exec.Command(buildDir+"/trellis", append([]string{"cluster", "--url", p.url}, args...)...)
		cmd.Env = append(os.Environ(), "TRELLIS_SUPERUSER_PASSWORD="+password)
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("cluster %v: no error:\n%s", args, out)
		}
		return string(out)
	}
	for _, tc := range []struct {
		password string
		args     []string
		want     string
	}{
		{"", []string{"status"}, "TRELLIS_SUPERUSER_PASSWORD"},
		{"wrong", []string{"nodes"}, "401"},
		{clusterPassword, []string{"drain", "nobody"}, "no node"},
		{clusterPassword, []string{"remove", "nobody"}, "no node"},
	} {
		if got := run(tc.password, tc.args...); !strings.Contains(got, tc.want) {
			t.Errorf("cluster %v prints %q, want %q", tc.args, got, tc.want)
		}
	}
	req, err := http.NewRequest("GET", p.url+"/system/cluster", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // only the status matters
	if res.StatusCode != 401 {
		t.Errorf("a stranger sees the cluster: %s", strconv.Itoa(res.StatusCode))
	}
}
