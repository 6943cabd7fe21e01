package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Ports of the nodes of a development cluster, beside that of the API: node i
// has each of them plus i.
const (
	devClusterPort = 1000 // above the API's
	devGossipPort  = 2000
)

// devCluster is a cluster of processes on this machine.
type devCluster struct {
	nodes   int
	dataDir string
	port    int
	out     io.Writer
}

func newDev() *cobra.Command {
	d := &devCluster{}
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a cluster on this machine, for development",
		Long: `Run a cluster of several nodes on this machine: one process a node, data under
./trellis-dev, APIs on ports 8080, 8081 and so on. Kill a node to see the others
go on; they all end with this command.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d.out = c.OutOrStdout()
			return d.run(c.Context())
		},
	}
	c.Flags().IntVar(&d.nodes, "nodes", 3, "nodes of the cluster, 1 to 5")
	c.Flags().StringVar(&d.dataDir, "data-dir", "trellis-dev", "directory under which each node has its own")
	c.Flags().IntVar(&d.port, "port", 8080, "port of the first node's API; the others follow")
	return c
}

func (d *devCluster) run(ctx context.Context) error {
	if d.nodes < 1 || d.nodes > 5 {
		return fmt.Errorf("--nodes is %d, want 1 to 5", d.nodes)
	}
	if d.port < 1 || d.port+devGossipPort+d.nodes > 65535 {
		return fmt.Errorf("--port is %d, want less than %d", d.port, 65536-devGossipPort-d.nodes)
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	secret, err := d.kept("secret")
	if err != nil {
		return err
	}
	password, err := d.kept("superuser-password")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{}, d.nodes)
	var running sync.WaitGroup
	defer running.Wait()
	for i := range d.nodes {
		cmd, err := d.node(ctx, binary, i, secret, password)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.out, "node-%d: http://%s, process %d\n", i+1, d.addr(0, i), cmd.Process.Pid)
		running.Go(func() {
			err := cmd.Wait()
			if ctx.Err() == nil {
				fmt.Fprintf(d.out, "node-%d ended: %v\n", i+1, err)
			}
			ended <- struct{}{}
		})
	}
	if err := d.awaitReady(ctx); err != nil {
		return err
	}
	fmt.Fprintf(d.out, `The cluster is ready. The superuser is %s, the password %s
See it: TRELLIS_SUPERUSER_PASSWORD=%s trellis cluster status --url http://%s
`, defaultSuperuser, password, password, d.addr(0, 0))
	for range d.nodes {
		select {
		case <-ended:
		case <-ctx.Done():
			return nil
		}
	}
	return errors.New("all nodes have ended")
}

// kept returns a secret that the first start makes up.
func (d *devCluster) kept(name string) (string, error) {
	if err := os.MkdirAll(d.dataDir, 0o750); err != nil {
		return "", err
	}
	path := filepath.Join(d.dataDir, name)
	if old, err := os.ReadFile(path); err == nil {
		return strings.TrimSpace(string(old)), nil
	}
	b := make([]byte, 12)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	made := hex.EncodeToString(b)
	return made, os.WriteFile(path, []byte(made+"\n"), 0o600)
}

func (d *devCluster) addr(above, i int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port+above+i))
}

// node starts a node. It ends, gently, with ctx.
func (d *devCluster) node(ctx context.Context, binary string, i int, secret, password string) (*exec.Cmd, error) {
	var others []string
	for j := range d.nodes {
		if j != i {
			others = append(others, d.addr(devGossipPort, j))
		}
	}
	cmd := exec.CommandContext(ctx, binary, "serve", "--node-id", fmt.Sprintf("node-%d", i+1),
		"--data-dir", filepath.Join(d.dataDir, fmt.Sprintf("node-%d", i+1)), "--http-addr", d.addr(0, i),
		"--cluster-addr", d.addr(devClusterPort, i), "--gossip-addr", d.addr(devGossipPort, i),
		"--bootstrap-expect", strconv.Itoa(d.nodes), "--log-level", "warn")
	cmd.Env = append(os.Environ(), envPrefix+"JOIN="+strings.Join(others, ","), envPrefix+"CLUSTER_SECRET="+secret,
		envPrefix+"SUPERUSER_NAME="+defaultSuperuser, envPrefix+"SUPERUSER_PASSWORD="+password)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * shutdownTimeout
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start node-%d: %w", i+1, err)
	}
	return cmd, nil
}

// awaitReady waits until every node can serve.
func (d *devCluster) awaitReady(ctx context.Context) error {
	client := &http.Client{Timeout: time.Second}
	for i := range d.nodes {
		for !answers(ctx, client, "http://"+d.addr(0, i)+"/status") {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return nil
			}
		}
	}
	return nil
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}
