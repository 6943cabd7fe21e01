package main

import (
	"bytes"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// picture is data of a size that begins as a JPEG does, otherwise random.
func picture(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	copy(b, "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01")
	return b
}

// upload sends data to a node until it is answered.
func (c *trio) upload(client *http.Client, i int, path string, data []byte) {
	c.t.Helper()
	for try := 0; ; try++ {
		req, err := http.NewRequest("PUT", "http://"+c.http[i]+path, bytes.NewReader(data))
		if err != nil {
			c.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "image/jpeg")
		res, err := client.Do(req)
		if err == nil {
			answer, err := io.ReadAll(res.Body)
			_ = res.Body.Close() // read whole
			if err == nil && res.StatusCode == http.StatusOK {
				return
			}
			if res.StatusCode < 500 {
				c.t.Fatalf("upload through node %d: %d %s", i+1, res.StatusCode, answer)
			}
		}
		if try > 300 {
			c.t.Fatalf("upload through node %d: no answer: %v", i+1, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// download reads data through a node.
func (c *trio) download(client *http.Client, i int, path string) (status int, data []byte, err error) {
	req, err := http.NewRequest("GET", "http://"+c.http[i]+path, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "image/jpeg")
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	data, err = io.ReadAll(res.Body)
	_ = res.Body.Close() // read whole
	return res.StatusCode, data, err
}

// storing waits until a node stores an upload, or done is closed.
func (c *trio) storing(client *http.Client, i int, done <-chan struct{}) {
	c.t.Helper()
	for {
		select {
		case <-done:
			return
		default:
		}
		if res, err := client.Get("http://" + c.http[i] + "/metrics"); err == nil {
			text, _ := io.ReadAll(res.Body) // what is cut short does not match
			_ = res.Body.Close()
			if strings.Contains(string(text), "\ntrellis_uploads_storing 1") {
				return
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// TestDataThroughEveryNode: data that is uploaded through any node is read through every
// node, also while the node that leads is killed in the middle of an upload: then an entity
// has all of the new data or all of the old. A node that comes back empty gets the data with
// everything else. In the end trellis check finds nothing wrong on any of them.
func TestDataThroughEveryNode(t *testing.T) {
	c := startTrio(t)
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	c.organise(client)
	has := map[string][]byte{}
	for i := range 3 {
		path := fmt.Sprintf("/acme/sandbox/items/n%d", i)
		if status, answer := c.send(client, i, path, "PUT", path, `{"a":1}`); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		has[path] = picture(byte(i), 2<<20+i)
		c.upload(client, i, path, has[path])
	}
	same := func(when string) {
		t.Helper()
		for path, want := range has {
			for i := range 3 {
				if status, got, err := c.download(client, i, path); err != nil || status != 200 || !bytes.Equal(got, want) {
					t.Errorf("%s: %s through node %d: %v %d, %d bytes", when, path, i+1, err, status, len(got))
				}
			}
		}
	}
	same("uploaded")

	for round := range 2 {
		leader := c.leader(1)
		through, path, next := (leader+1)%3, "/acme/sandbox/items/n0", picture(byte(10+round), 12<<20)
		done := make(chan struct{})
		var sending sync.WaitGroup
		sending.Go(func() {
			defer close(done)
			c.upload(client, through, path, next)
		})
		c.storing(client, through, done)
		_ = c.running[leader].end(syscall.SIGKILL)
		other := 3 - leader - through // the third
		for seen := false; !seen; {
			status, got, err := c.download(client, other, path)
			if sum := md5.Sum(got); err == nil && status == 200 && sum != md5.Sum(has[path]) && sum != md5.Sum(next) {
				t.Errorf("half an upload is shown: %d bytes", len(got))
			}
			select {
			case <-done:
				seen = true
			default:
			}
		}
		sending.Wait()
		has[path] = next
		if round == 1 {
			if err := os.RemoveAll(c.dirs[leader]); err != nil {
				t.Fatal(err)
			}
		}
		c.start(leader)
		c.ready(leader)
		same(fmt.Sprint("after round ", round))
	}
	c.clean()
}

// clean stops all nodes and checks their data.
func (c *trio) clean() {
	c.t.Helper()
	for i := range 3 {
		if err := c.running[i].end(syscall.SIGTERM); err != nil {
			c.t.Errorf("stop node %d: %v\n%s", i+1, err, c.running[i].out)
		}
	}
	for i := range 3 {
		if out, err := exec.Command(buildDir+"/trellis", "check", "--data-dir", c.dirs[i]).CombinedOutput(); err != nil {
			c.t.Errorf("node %d: %v\n%s", i+1, err, out)
		}
		if left, err := os.ReadDir(filepath.Join(c.dirs[i], uploadsName)); err != nil || len(left) > 0 {
			c.t.Errorf("node %d: %v, %d files are left of uploads", i+1, err, len(left))
		}
	}
}

// resident returns the memory of a process, in bytes.
func resident(t *testing.T, p *process) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip("the system does not say how much memory a process has")
	}
	n := residentIn(string(text))
	if n == 0 {
		t.Fatal("no VmRSS")
	}
	return n
}

// residentIn returns what the status of a process says of its memory; 0: nothing.
func residentIn(status string) int64 {
	for line := range strings.Lines(status) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	return 0
}

// TestLargeDataTakesLittleMemory uploads and downloads some hundred megabytes, several
// files at once, through a node that has little memory besides its memtables.
func TestLargeDataTakesLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes a gigabyte")
	}
	dir := t.TempDir()
	p := launch(t, dir, "TRELLIS_SUPERUSER_PASSWORD="+clusterPassword, "TRELLIS_MAX_ASSET_MB=256", "TRELLIS_CACHE_MB=8", "GOMEMLIMIT=150MiB")
	res, err := http.Post(p.url+"/management/orgs", "application/json",
		strings.NewReader(`{"organization":"acme","username":"dana","email":"dana@example.org","password":"s3same"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close() // the next request tells
	size, files := 64<<20, 3
	put := func(name string, data []byte, method, kind string) map[string]any {
		req, err := http.NewRequest(method, p.url+"/acme/sandbox/items/"+name, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // read whole
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%s %s: %v %d %s", method, name, err, res.StatusCode, text)
		}
		var answer map[string]any
		_ = json.Unmarshal(text, &answer) // a raw upload has none
		return answer
	}
	for i := range files {
		put(fmt.Sprint(i), []byte(`{"a":1}`), "PUT", "application/json")
	}
	put("0", picture(9, 150<<20), "PUT", "image/jpeg") // memtables are full from here on
	before, most := resident(t, p), int64(0)
	stop := make(chan struct{})
	var looking, work sync.WaitGroup
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
	for i := range files {
		work.Go(func() {
			name, data := fmt.Sprint(i), picture(byte(i), size)
			put(name, data, "PUT", "image/jpeg")
			req, err := http.NewRequest("GET", p.url+"/acme/sandbox/items/"+name, nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Accept", "image/jpeg")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			sum := md5.New()
			n, err := io.Copy(sum, res.Body)
			_ = res.Body.Close() // read whole
			if err != nil || n != int64(size) || !bytes.Equal(sum.Sum(nil), md5Of(data)) {
				t.Errorf("%s: %v, %d bytes", name, err, n)
			}
		})
	}
	work.Wait()
	close(stop)
	looking.Wait()
	t.Logf("%d MiB before, %d MiB at most", before>>20, most>>20)
	if grown := most - before; grown > 100<<20 {
		t.Errorf("memory grew by %d MiB for %d MiB of data", grown>>20, size*files>>20)
	}
}

func md5Of(b []byte) []byte {
	sum := md5.Sum(b)
	return sum[:]
}
