package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCPUTimeIsReadBehindAnyCommandName(t *testing.T) {
	stat := []byte("123 (a (b) c d) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 8 0 100 1000 2000")
	got, err := parseCPU(stat)
	if err != nil || got != 3*time.Second {
		t.Errorf("%s, %v; want 3s", got, err)
	}
	for _, bad := range []string{"", "1 (x) S", "no parenthesis 1 2 3 4 5 6 7 8 9 10 11 12 13 14", "1 (x) S 1 2 3 4 5 6 7 8 9 10 a b 0"} {
		if _, err := parseCPU([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestMetricIsFoundByItsWholeName(t *testing.T) {
	text := []byte("# HELP go_memstats_mallocs_total x\ngo_memstats_mallocs_total_more 1\ngo_memstats_mallocs_total{a=\"b\"} 2\ngo_memstats_mallocs_total 1.5e+06\n")
	if got := parseMetric(text, mallocs); got != 1.5e6 {
		t.Errorf("%g, want 1.5e6", got)
	}
	if got := parseMetric([]byte("other 1\n"), mallocs); got != -1 {
		t.Errorf("absent metric gives %g, want -1", got)
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	for end := time.Now().Add(30 * time.Millisecond); time.Now().Before(end); {
	}
	u, err := Read(os.Getpid(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU < 10*time.Millisecond || u.ResidentBytes < 1<<20 || u.PeakBytes < u.ResidentBytes || u.Mallocs != -1 {
		t.Errorf("%+v", u)
	}
	if Own() < u.CPU-20*time.Millisecond {
		t.Errorf("own CPU time %s, /proc says %s", Own(), u.CPU)
	}
	if _, err := Read(1<<30, "", ""); err == nil {
		t.Error("a process that cannot be has a usage")
	}
}

func TestDiskBytesCountsFilesBelow(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a", "b", "f"), make([]byte, 100_000), 0o644); err != nil {
		t.Fatal(err)
	}
	n, err := DiskBytes(dir)
	if err != nil || n < 100_000 || n > 200_000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// script writes an executable that stands for the server.
func script(t *testing.T, text string) Config {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "server")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return Config{Binary: binary, DataDir: dir, Addr: addr, LogFile: filepath.Join(dir, "log"), Ready: 300 * time.Millisecond}
}

func TestServerThatRefusesToStartHasExited(t *testing.T) {
	for _, text := range []string{"echo damaged; exit 3\n", "exit 0\n"} {
		_, err := Start(t.Context(), script(t, text))
		if !errors.Is(err, ErrExited) {
			t.Errorf("%q: error %v, want %v", text, err, ErrExited)
		}
	}
}

func TestServerThatIsNeverReadyIsKilled(t *testing.T) {
	_, err := Start(t.Context(), script(t, "exec sleep 60\n"))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrExited) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
}

// waitForTrap waits until a script has said that its trap is set.
func waitForTrap(t *testing.T, cfg Config) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if log, err := os.ReadFile(cfg.LogFile); err == nil && len(log) > 0 {
			return
		}
	}
	t.Fatal("the script did not start")
}

func TestStopReportsABadEnd(t *testing.T) {
	cfg := script(t, "trap 'exit 7' TERM\necho set\nwhile :; do sleep 0.01; done\n")
	p, err := Launch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	waitForTrap(t, cfg)
	if p.Exited() || p.PID() == 0 || p.Addr() != cfg.Addr {
		t.Errorf("exited %t, pid %d, address %s", p.Exited(), p.PID(), p.Addr())
	}
	if err := p.Stop(5 * time.Second); err == nil {
		t.Error("a server that ended with status 7 ended well")
	}
	if !p.Exited() {
		t.Error("it still runs")
	}
}

func TestStopKillsAServerThatDoesNotEnd(t *testing.T) {
	cfg := script(t, "trap '' TERM\necho set\nwhile :; do sleep 0.01; done\n")
	p, err := Launch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	waitForTrap(t, cfg)
	if err := p.Stop(50 * time.Millisecond); err == nil || !p.Exited() {
		t.Errorf("error %v, exited %t", err, p.Exited())
	}
}

func TestPausedProcessStandsStill(t *testing.T) {
	cfg := script(t, "echo set\nwhile :; do sleep 0.01; done\n")
	p, err := Launch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	state := func() byte {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		if err != nil {
			t.Fatal(err)
		}
		return stat[bytes.LastIndexByte(stat, ')')+2]
	}
	waitFor := func(what string, done func(byte) bool) {
		for end := time.Now().Add(10 * time.Second); !done(state()); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: the process is in state %c", what, state())
			}
		}
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	waitFor("paused", func(s byte) bool { return s == 'T' })
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	waitFor("resumed", func(s byte) bool { return s != 'T' })
}

func TestProcessIsWrappedAndHasItsEnvironment(t *testing.T) {
	cfg := script(t, "echo set $WORD; exec sleep 60\n")
	cfg.Env, cfg.Wrap, cfg.Orphan = []string{"WORD=swordfish"}, []string{"/usr/bin/env"}, syscall.SIGKILL
	p, err := Launch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	waitForTrap(t, cfg)
	if log, err := os.ReadFile(cfg.LogFile); err != nil || !strings.Contains(string(log), "set swordfish") {
		t.Errorf("the log holds %q, %v", log, err)
	}
}

func TestDigestsAreComparedAtTheSameIndex(t *testing.T) {
	const a = "node a, cluster x, 2 application partitions\npartition 0: applied 7, log 1 to 9, 3 keys, digest aa01\npartition 1: applied 4, log 1 to 4, 0 keys, digest bb\nclean\n"
	const b = "partition 0: applied 7, log 2 to 7, 3 keys, digest aa01\npartition 1: applied 5, log 1 to 5, 1 keys, digest cc\nclean"
	const c = "partition 0: applied 8, log 2 to 8, 4 keys, digest dd\npartition 1: applied 5, log 1 to 5, 1 keys, digest ce\npartition 1: key lost\n1 problems"
	nodes := [][]Digest{parseDigests([]byte(a)), parseDigests([]byte(b)), parseDigests([]byte(c))}
	if want := (Digest{Partition: 0, Applied: 7, Sum: "aa01"}); len(nodes[0]) != 2 || nodes[0][0] != want {
		t.Fatalf("%+v, want %+v and another", nodes[0], want)
	}
	differences, compared := CompareDigests(nodes)
	if compared != 2 || len(differences) != 1 || !strings.Contains(differences[0], "partition 1 at applied index 5") {
		t.Errorf("%d compared, differences %q", compared, differences)
	}
}

func TestCheckTellsCleanFromDamaged(t *testing.T) {
	for text, want := range map[string]bool{"exit 0\n": true, "echo $3 is damaged; exit 2\n": false} {
		r, err := Check(t.Context(), script(t, text).Binary, "/data")
		if err != nil || r.Clean != want || !want && r.Output != "/data is damaged" {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
	if _, err := Check(t.Context(), "/no/such/binary", "/data"); err == nil {
		t.Error("a check that did not run has a report")
	}
}

func TestWrittenBytesAreFound(t *testing.T) {
	if n := parseWritten([]byte("rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n")); n != 4096 {
		t.Errorf("%d bytes, want 4096", n)
	}
	if n := parseWritten([]byte("rchar: 1\n")); n != -1 {
		t.Errorf("%d bytes of a file that does not say", n)
	}
}
