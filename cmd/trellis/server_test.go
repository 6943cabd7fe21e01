package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trellisdb/trellis/node/nodetest"
)

// buildDir holds the binary that tests run as a process; TestMain removes it.
var buildDir string

// binary builds trellis once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "trellis")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build trellis: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "trellis-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a left-over in the temporary directory harms nobody
	buildDir = dir
	return m.Run()
}

// process is a running trellis serve.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	url string
	out *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// launch starts a server process on a data directory and waits until it serves.
func launch(t *testing.T, dir string, environment ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	addr := nodetest.FreeAddr(t)
	p := &process{t: t, url: "http://" + addr, out: &syncBuffer{}}
	p.cmd = exec.Command(path, "serve", "--data-dir", dir, "--http-addr", addr)
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	deadline := time.Now().Add(60 * time.Second)
	for {
		if res, err := http.Get(p.url + "/status"); err == nil {
			_, _ = io.Copy(io.Discard, res.Body) // only the status matters
			if err := res.Body.Close(); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode == http.StatusOK {
				return p
			}
		}
		if time.Now().After(deadline) || p.cmd.ProcessState != nil {
			t.Fatalf("server does not serve:\n%s", p.out)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// end sends a signal and waits for the process.
func (p *process) end(sig syscall.Signal) error {
	if p.cmd.ProcessState != nil {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	return p.cmd.Wait()
}

func startServer(t *testing.T, dir string, environment ...string) string {
	t.Helper()
	return launch(t, dir, environment...).url
}

// TestPasswordIsPrintedOnce checks that a start on an empty folder without
// configuration says how to sign in, and that a second start does not.
func TestPasswordIsPrintedOnce(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir)
	var password string
	for end := time.Now().Add(time.Minute); password == ""; time.Sleep(5 * time.Millisecond) { // the server answers before it prints
		if password = printedPassword(p.out.String()); password == "" && time.Now().After(end) {
			t.Fatalf("no password printed:\n%s", p.out)
		}
	}
	signIn := func(url string) int {
		body := fmt.Sprintf(`{"grant_type":"password","username":"superuser","password":%q}`, password)
		res, err := http.Post(url+"/management/token", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }() // read-only
		return res.StatusCode
	}
	if code := signIn(p.url); code != http.StatusOK {
		t.Fatalf("sign in with the printed password: %d", code)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatalf("stop: %v\n%s", err, p.out)
	}
	p = launch(t, dir)
	if again := printedPassword(p.out.String()); again != "" {
		t.Errorf("second start printed a password:\n%s", p.out)
	}
	if code := signIn(p.url); code != http.StatusOK {
		t.Errorf("sign in after a restart: %d", code)
	}
}

func printedPassword(output string) string {
	lines := bufio.NewScanner(strings.NewReader(output))
	for lines.Scan() {
		if _, password, ok := strings.Cut(lines.Text(), "password: "); ok {
			return strings.TrimSpace(password)
		}
	}
	return ""
}
