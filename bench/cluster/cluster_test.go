package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shell makes a cluster whose server is a shell script.
func shell(t *testing.T, nodes int, script string) *Cluster {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "server")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := New(t.Context(), Config{Nodes: nodes, Binary: binary, Dir: dir, Superuser: "root", Password: "pw", Secret: "s3", Args: []string{"--extra"}, Ready: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// logOf waits until a node has printed a line that begins so.
func logOf(t *testing.T, c *Cluster, i int, begin string) string {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for line := range strings.Lines(c.LogTail(i)) {
			if strings.HasPrefix(line, begin) {
				return strings.TrimSpace(line)
			}
		}
	}
	t.Fatalf("node %d has not printed %q: %s", i, begin, c.LogTail(i))
	return ""
}

func TestNodesAreToldOfOneAnother(t *testing.T) {
	c := shell(t, 3, "echo \"$@\"; echo secret $TRELLIS_CLUSTER_SECRET $TRELLIS_SUPERUSER_NAME $TRELLIS_SUPERUSER_PASSWORD\nexec sleep 60\n")
	if err := c.StartAll(); err != nil {
		t.Fatal(err)
	}
	n := c.nodes
	want := fmt.Sprintf("serve --data-dir %s --http-addr %s --node-id node1 --cluster-addr %s --gossip-addr %s --join %s,%s --bootstrap-expect 3 --extra",
		c.DataDir(1), n[1].http, n[1].peers, n[1].gossip, n[0].gossip, n[2].gossip)
	if d := cmp.Diff(want, logOf(t, c, 1, "serve")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("secret s3 root pw", logOf(t, c, 1, "secret")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{c.Addr(0), c.Addr(1), c.Addr(2)}, c.Addrs()); d != "" {
		t.Error(d)
	}
}

func TestSingleNodeIsToldOfNobody(t *testing.T) {
	c := shell(t, 1, "echo \"$@\"\nexec sleep 60\n")
	if err := c.StartAll(); err != nil {
		t.Fatal(err)
	}
	if line := logOf(t, c, 0, "serve"); strings.Contains(line, "--join") || strings.Contains(line, "--bootstrap") {
		t.Error(line)
	}
}

func TestNodesEndInEveryWay(t *testing.T) {
	c := shell(t, 3, "trap 'exit 0' TERM\necho set\nwhile :; do sleep 0.01; done\n")
	if err := c.StartAll(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		logOf(t, c, i, "set")
	}
	if err := c.Start(0); err == nil {
		t.Error("a running node was started")
	}
	if err := c.Wipe(0); err == nil {
		t.Error("a running node was wiped")
	}
	if _, err := c.Check(t.Context(), 0); err == nil {
		t.Error("a running node was checked")
	}
	if err := errors.Join(c.Kill(0), c.Kill(0), c.Pause(1), c.Pause(1), c.Stop(1), c.Stop(1), c.Pause(0), c.Resume(0)); err != nil {
		t.Error(err)
	}
	if c.Running(0) || c.Running(1) || !c.Running(2) || c.Died(2) {
		t.Errorf("running: %t %t %t", c.Running(0), c.Running(1), c.Running(2))
	}
	if err := os.MkdirAll(c.DataDir(0), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.Wipe(0); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(c.DataDir(0)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a wipe: %v", err)
	}
	if err := c.WaitReady(t.Context(), 0); err == nil {
		t.Error("a killed node is ready")
	}
	if err := c.StopAll(); err != nil {
		t.Error(err)
	}
}

func TestNetworkFaultsNeedANetwork(t *testing.T) {
	c := shell(t, 2, "")
	if err := c.Isolate(0); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("error %v, want %v", err, ErrNoNetwork)
	}
	c.Heal()
}

func TestAddressesAreFree(t *testing.T) {
	addrs, err := freeAddrs(15)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, a := range addrs {
		if seen[a] {
			t.Errorf("%s twice", a)
		}
		seen[a] = true
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if isFree(l.Addr().String()) {
		t.Errorf("%s is in use", l.Addr())
	}
}

func TestLeaderIsReadFromTheStatus(t *testing.T) {
	answer := func(replicas ...string) []Replica {
		return parseReplicas([]byte(`{"status":{"uptime":1,"node":{"id":"n","partitions":[` + strings.Join(replicas, ",") + `]}}}`))
	}
	for _, tc := range []struct {
		name      string
		replicas  [][]Replica
		partition int
		want      int
		known     bool
	}{
		{"nobody says", [][]Replica{nil, parseReplicas([]byte(`{"status":{}}`)), parseReplicas([]byte(`<html>`))}, 1, 0, false},
		{"one leads", [][]Replica{answer(`{"partition":1,"role":"follower"}`), answer(`{"partition":1,"role":"leader"}`)}, 1, 1, true},
		{"newest term", [][]Replica{answer(`{"partition":1,"role":"leader","term":3}`), answer(`{"partition":1,"role":"leader","term":4}`), answer(`{"partition":1,"role":"leader","term":2}`)}, 1, 1, true},
		{"another's leader", [][]Replica{answer(`{"partition":2,"role":"leader"}`)}, 1, 0, false},
		{"leads most", [][]Replica{answer(`{"partition":0,"role":"leader"}`), answer(`{"partition":1,"role":"leader"}`, `{"partition":2,"role":"leader"}`)}, AnyPartition, 1, true},
	} {
		if got, known := FindLeader(tc.replicas, tc.partition); got != tc.want || known != tc.known {
			t.Errorf("%s: node %d, %t; want %d, %t", tc.name, got, known, tc.want, tc.known)
		}
	}
}

func TestBusiestPartitionGrewMost(t *testing.T) {
	before := [][]Replica{{{Partition: 0, Applied: 10}, {Partition: 1, Applied: 5}, {Partition: 2, Applied: 50}}}
	after := [][]Replica{
		{{Partition: 0, Applied: 90}, {Partition: 1, Applied: 24}, {Partition: 2, Applied: 52}},
		{{Partition: 1, Applied: 25}, {Partition: 3, Applied: 1}},
	}
	if p, known := Busiest(before, after); p != 1 || !known {
		t.Errorf("partition %d, %t", p, known)
	}
	if _, known := Busiest(after, after); known {
		t.Error("nothing grew")
	}
}
