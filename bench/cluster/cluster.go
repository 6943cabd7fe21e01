package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/trellisdb/trellis/bench/disk"
	"github.com/trellisdb/trellis/bench/mesh"
	"github.com/trellisdb/trellis/bench/server"
)

// Most is how many nodes a cluster can have.
const Most = 5

// stopLimit is how long a node may take to end after SIGTERM.
const stopLimit = 30 * time.Second

// Config says what a cluster is made of.
type Config struct {
	Nodes     int
	Binary    string
	Dir       string // data directories and logs lie below it
	Superuser string
	Password  string
	Secret    string        // shared by the nodes
	Args      []string      // added to the command line of "serve"
	Ready     time.Duration // how long a node may take to be ready
	Network   bool          // a network namespace for each node
	Disks     bool          // a file system for each node
	Seed      uint64        // of what the network loses
}

// Cluster is a number of nodes, numbered from 0. Its methods are for one
// goroutine.
type Cluster struct {
	cfg   Config
	mesh  *mesh.Mesh // nil on loopback
	nodes []*node
}

// node is one of them, running or not.
type node struct {
	http, peers, gossip string          // addresses
	process             *server.Process // nil if it does not run
	paused              bool
	disk                *disk.Disk // nil: it has none of its own
	clock               int        // seconds its wall clock is off
}

// New chooses addresses and makes the network. No node runs yet.
func New(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Nodes < 1 || cfg.Nodes > Most {
		return nil, fmt.Errorf("cluster: %d nodes, want 1 to %d", cfg.Nodes, Most)
	}
	c := &Cluster{cfg: cfg}
	if cfg.Network {
		m, err := mesh.Open(ctx, cfg.Nodes, cfg.Seed)
		if err != nil {
			return nil, err
		}
		c.mesh = m
		for i := range cfg.Nodes {
			host := m.Host(i)
			c.nodes = append(c.nodes, &node{http: host + ":8080", peers: host + ":8081", gossip: host + ":8082"})
		}
	} else {
		addrs, err := freeAddrs(3 * cfg.Nodes)
		if err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
		for i := range cfg.Nodes {
			c.nodes = append(c.nodes, &node{http: addrs[3*i], peers: addrs[3*i+1], gossip: addrs[3*i+2]})
		}
	}
	if cfg.Disks {
		if err := c.openDisks(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// freeAddrs finds loopback addresses that nothing listens on. Their ports lie
// below those the kernel gives to outgoing connections: else one could be
// taken while its node is down.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	const lowest, highest = 12_000, 30_000
	const apart = 31 // harnesses that start at once look in different places
	at := lowest + os.Getpid()*apart%(highest-lowest)
	for tries := 0; len(addrs) < n; tries++ {
		if tries > highest-lowest {
			return nil, errors.New("no free ports")
		}
		if at++; at > highest {
			at = lowest
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(at))
		if isFree(addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

// isFree tries TCP and UDP: gossip uses both.
func isFree(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		_ = l.Close() // it was never used
		return false
	}
	return errors.Join(l.Close(), u.Close()) == nil
}

// Nodes is how many nodes there are.
func (c *Cluster) Nodes() int { return len(c.nodes) }

// Addr is the address of a node's REST API.
func (c *Cluster) Addr(i int) string { return c.nodes[i].http }

// Addrs is the addresses of all nodes' REST API.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.http)
	}
	return all
}

// DataDir is a node's data directory.
func (c *Cluster) DataDir(i int) string {
	if d := c.nodes[i].disk; d != nil {
		return filepath.Join(d.Path(), "data")
	}
	return filepath.Join(c.cfg.Dir, fmt.Sprintf("node%d", i), "data")
}

// LogFile is where a node's output goes, of all its starts.
func (c *Cluster) LogFile(i int) string {
	return filepath.Join(c.cfg.Dir, fmt.Sprintf("node%d", i), "log")
}

// SetClock sets the wall clock of a node off by seconds, from its next start on. The
// binary must be one of server.BuildClock.
func (c *Cluster) SetClock(i, seconds int) { c.nodes[i].clock = seconds }

// Bury lets a node that ended by itself count as one that does not run.
func (c *Cluster) Bury(i int) error {
	if !c.Died(i) {
		return nil
	}
	return c.Kill(i)
}

// Running tells whether a node was started and not ended, paused or not.
func (c *Cluster) Running(i int) bool { return c.nodes[i].process != nil }

// Died tells whether a running node ended by itself.
func (c *Cluster) Died(i int) bool {
	p := c.nodes[i].process
	return p != nil && p.Exited()
}

// config is how a node is started. A single node is a cluster by default and
// is told nothing of others.
func (c *Cluster) config(i int) server.Config {
	n := c.nodes[i]
	args := []string{"--node-id", fmt.Sprintf("node%d", i), "--cluster-addr", n.peers, "--gossip-addr", n.gossip}
	if len(c.nodes) > 1 {
		var others []string
		for j, o := range c.nodes {
			if j != i {
				others = append(others, o.gossip)
			}
		}
		args = append(args, "--join", strings.Join(others, ","), "--bootstrap-expect", strconv.Itoa(len(c.nodes)))
	}
	cfg := server.Config{
		Binary: c.cfg.Binary, DataDir: c.DataDir(i), Addr: n.http, Superuser: c.cfg.Superuser, Password: c.cfg.Password,
		Args: append(args, c.cfg.Args...), LogFile: c.LogFile(i), Ready: c.cfg.Ready,
		Env:    []string{"TRELLIS_CLUSTER_SECRET=" + c.cfg.Secret, fmt.Sprintf("%s=%d", server.ClockVariable, n.clock)},
		Orphan: syscall.SIGKILL,
	}
	if c.mesh != nil {
		cfg.Wrap = c.mesh.Wrap(i)
	}
	return cfg
}

// Start starts a node that does not run, and does not wait for it.
func (c *Cluster) Start(i int) error {
	n := c.nodes[i]
	if n.process != nil {
		return fmt.Errorf("node %d runs already", i)
	}
	if err := os.MkdirAll(filepath.Dir(c.LogFile(i)), 0o755); err != nil {
		return fmt.Errorf("node %d: %w", i, err)
	}
	p, err := server.Launch(c.config(i))
	if err != nil {
		return fmt.Errorf("node %d: %w", i, err)
	}
	n.process, n.paused = p, false
	return nil
}

// StartAll starts every node that does not run.
func (c *Cluster) StartAll() error {
	for i := range c.nodes {
		if c.nodes[i].process == nil {
			if err := c.Start(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// Usage reads what a running node has used, its allocations from metricsPath
// unless that is empty.
func (c *Cluster) Usage(i int, metricsPath string) (server.Usage, error) {
	p := c.nodes[i].process
	if p == nil {
		return server.Usage{}, fmt.Errorf("node %d does not run", i)
	}
	return server.Read(p.PID(), p.Addr(), metricsPath)
}

// WaitReady waits until GET /status of a node answers 200.
func (c *Cluster) WaitReady(ctx context.Context, i int) error {
	p := c.nodes[i].process
	if p == nil {
		return fmt.Errorf("node %d does not run", i)
	}
	if err := p.WaitReady(ctx, c.cfg.Ready); err != nil {
		return fmt.Errorf("node %d: %w; its log ends: %s", i, err, c.LogTail(i))
	}
	return nil
}

// WaitAllReady waits for all nodes at once.
func (c *Cluster) WaitAllReady(ctx context.Context) error {
	return c.all(func(i int) error { return c.WaitReady(ctx, i) })
}

// all does the same to all nodes at once.
func (c *Cluster) all(do func(i int) error) error {
	errs := make([]error, len(c.nodes))
	var done sync.WaitGroup
	for i := range c.nodes {
		done.Go(func() { errs[i] = do(i) })
	}
	done.Wait()
	return errors.Join(errs...)
}

// LogTail is the end of a node's log.
func (c *Cluster) LogTail(i int) string {
	const most = 1500
	log, err := os.ReadFile(c.LogFile(i))
	if err != nil {
		return err.Error()
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(log[max(0, len(log)-most):])), "?")
}

// Kill ends a node as a crash would. A node that does not run stays so.
func (c *Cluster) Kill(i int) error {
	n := c.nodes[i]
	p := n.process
	if p == nil {
		return nil
	}
	n.process = nil
	return p.Kill()
}

// Stop ends a node gently and waits until it is gone.
func (c *Cluster) Stop(i int) error {
	n := c.nodes[i]
	if n.process == nil {
		return nil
	}
	if err := c.Resume(i); err != nil {
		return err
	}
	p := n.process
	n.process = nil
	if err := p.Stop(stopLimit); err != nil {
		return fmt.Errorf("node %d: %w; its log ends: %s", i, err, c.LogTail(i))
	}
	return nil
}

// StopAll ends all nodes gently, at once.
func (c *Cluster) StopAll() error { return c.all(c.Stop) }

// Pause stops a running node where it is, as a stalled machine would.
func (c *Cluster) Pause(i int) error {
	n := c.nodes[i]
	if n.process == nil || n.paused {
		return nil
	}
	n.paused = true
	return n.process.Pause()
}

// Resume lets a paused node go on.
func (c *Cluster) Resume(i int) error {
	n := c.nodes[i]
	if n.process == nil || !n.paused {
		return nil
	}
	n.paused = false
	return n.process.Resume()
}

// Wipe deletes the data directory of a node that does not run.
func (c *Cluster) Wipe(i int) error {
	if c.nodes[i].process != nil {
		return fmt.Errorf("node %d runs: its data cannot be wiped", i)
	}
	return os.RemoveAll(c.DataDir(i))
}

// Check runs "check" on the data directory of a node that does not run.
func (c *Cluster) Check(ctx context.Context, i int) (server.CheckReport, error) {
	if c.nodes[i].process != nil {
		return server.CheckReport{}, fmt.Errorf("node %d runs: its data cannot be checked", i)
	}
	return server.Check(ctx, c.cfg.Binary, c.DataDir(i))
}

// Close ends everything. Nodes that still run are killed.
func (c *Cluster) Close() error {
	err := c.all(c.Kill)
	if c.mesh != nil {
		err = errors.Join(err, c.mesh.Close())
		c.mesh = nil
	}
	return errors.Join(err, c.closeDisks())
}
