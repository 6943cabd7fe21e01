package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/node/nodetest"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// patience is for machines that do much else.
const patience = 60 * time.Second

// cluster is a cluster whose nodes run in this process, on real sockets and data
// directories.
type cluster struct {
	t      *testing.T
	nodes  []*node.Node // nil: not running
	dirs   []string
	gossip []string // addresses
	peers  []string
	change func(i int, cfg *node.Config)
}

// newCluster makes room for some nodes and starts none.
func newCluster(t *testing.T, size int, change func(i int, cfg *node.Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, nodes: make([]*node.Node, size), change: change}
	for range size {
		c.dirs = append(c.dirs, t.TempDir())
		c.gossip = append(c.gossip, nodetest.FreeAddr(t))
		c.peers = append(c.peers, nodetest.FreeAddr(t))
	}
	t.Cleanup(func() {
		var stopping sync.WaitGroup
		for i := range c.nodes {
			stopping.Go(func() { c.stop(i) })
		}
		stopping.Wait()
	})
	return c
}

// config is that of the i-th node: it knows the gossip addresses of all others.
func (c *cluster) config(i, expect int) node.Config {
	cfg := testConfig(c.t, c.dirs[i])
	cfg.Name = fmt.Sprintf("n%d", i+1)
	cfg.Secret = []byte("a secret of the tests")
	cfg.ClusterAddr, cfg.GossipAddr = c.peers[i], c.gossip[i]
	cfg.Expect = expect
	cfg.Storage.CacheBytes = 8 << 20
	cfg.Storage.StateMemtableBytes, cfg.Storage.LogMemtableBytes = 4<<20, 4<<20
	for j, addr := range c.gossip {
		if j != i {
			cfg.Join = append(cfg.Join, addr)
		}
	}
	if os.Getenv("NODE_TEST_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", cfg.Name)
	}
	if c.change != nil {
		c.change(i, &cfg)
	}
	return cfg
}

// start starts nodes at the same time and waits until all of them are healthy.
func (c *cluster) start(expect int, which ...int) {
	c.t.Helper()
	var starting sync.WaitGroup
	for _, i := range which {
		starting.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			n, err := node.Start(ctx, c.config(i, expect))
			if err != nil {
				c.t.Errorf("start node %d: %v", i+1, err)
				return
			}
			c.nodes[i] = n
		})
	}
	starting.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
	for _, i := range which {
		c.healthy(i)
	}
}

func (c *cluster) healthy(i int) {
	c.t.Helper()
	c.await(fmt.Sprintf("node %d is healthy", i+1), func() bool { return c.nodes[i].Healthy(c.t.Context()) == nil })
}

func (c *cluster) await(what string, fact func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !fact(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (c *cluster) stop(i int) {
	if c.nodes[i] == nil {
		return
	}
	n := c.nodes[i]
	c.nodes[i] = nil
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		c.t.Errorf("stop node %d: %v", i+1, err)
	}
}

// app makes an application through a node.
func (c *cluster) app(i int, name string) entity.AppID {
	c.t.Helper()
	return newApp(c.t, c.nodes[i], name)
}

// write creates an entity through a node.
func (c *cluster) write(i int, app entity.AppID, name string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := c.nodes[i].Propose(ctx, app, create(name))
	if err != nil || out.Fault != nil {
		c.t.Fatalf("create %s through node %d: %v %v", name, i+1, err, out.Fault)
	}
}

// leaderOf returns the node that leads the partition of the most entries, which
// is that of the only application.
func (c *cluster) leaderOf(p entity.Partition) int {
	c.t.Helper()
	leader := -1
	c.await(fmt.Sprintf("partition %d has a leader", p), func() bool {
		for i, n := range c.nodes {
			if n == nil {
				continue
			}
			for _, s := range n.Partitions() {
				if s.Partition == p && s.Role == "leader" {
					leader = i
					return true
				}
			}
		}
		return false
	})
	return leader
}

// agree makes sure that all replicas of partitions hold the same.
func (c *cluster) agree(through int, partitions ...entity.Partition) {
	c.t.Helper()
	for _, p := range partitions {
		c.await(fmt.Sprintf("replicas of partition %d agree", p), func() bool {
			digests, agree, err := c.nodes[through].Verify(c.t.Context(), p)
			if err == nil && len(digests) > 1 && !agree && digests[0].Applied == digests[1].Applied && digests[0].Sum != digests[1].Sum && digests[0].Sum != "" && digests[1].Sum != "" {
				c.t.Fatalf("replicas of partition %d differ: %+v", p, digests)
			}
			return err == nil && agree
		})
	}
}

// Whatever the order in which nodes start, they form one cluster; what is written
// through one is seen through every other at once; and what one node misses
// while it is down, it has when it is back.
func TestThreeNodesAreOneCluster(t *testing.T) {
	t.Parallel() // it mostly waits
	c := newCluster(t, 3, nil)
	c.start(3, 2, 0, 1)
	if a, b := c.nodes[0].Cluster(), c.nodes[1].Cluster(); a != b || c.nodes[2].Cluster() != a {
		t.Fatalf("nodes belong to clusters %v, %v and %v", a.ID, b.ID, c.nodes[2].Cluster().ID)
	}
	app := c.app(0, "acme")
	for i := range 30 {
		c.write(i%3, app, fmt.Sprint("thing", i))
		if got := count(t, c.nodes[(i+1)%3], app); got != uint64(i+1) {
			t.Fatalf("after %d creates another node shows %d", i+1, got)
		}
	}
	for _, down := range []int{c.leaderOf(1), c.leaderOf(entity.System)} {
		c.stop(down)
		up := (down + 1) % 3
		before := count(t, c.nodes[up], app)
		for i := range 20 {
			c.write((down+1+i%2)%3, app, fmt.Sprintf("without%d-%d-%d", down, before, i))
		}
		c.start(3, down)
		if got := count(t, c.nodes[down], app); got != before+20 {
			t.Errorf("the returned node shows %d entities, want %d", got, before+20)
		}
	}
	c.agree(0, 0, 1, 2)
}

// Without a majority nothing is written and nothing read but what is at hand;
// when it is back, everything goes on without anybody's help.
func TestWithoutAMajority(t *testing.T) {
	t.Parallel() // it mostly waits
	c := newCluster(t, 3, func(_ int, cfg *node.Config) { cfg.ReadTimeout = time.Second })
	c.start(3, 0, 1, 2)
	app := c.app(0, "acme")
	c.write(0, app, "before")
	if got := count(t, c.nodes[2], app); got != 1 {
		t.Fatalf("%d entities, want 1", got)
	}
	c.stop(0)
	c.stop(1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := c.nodes[2].Propose(ctx, app, create("without")); fault.CodeOf(err) != fault.NoQuorum {
		t.Errorf("a write without a majority: %v", err)
	}
	if _, err := c.nodes[2].View(t.Context(), app); fault.CodeOf(err) != fault.NoQuorum {
		t.Errorf("a read without a majority: %v", err)
	}
	stale := context.WithValue(t.Context(), entity.FreshnessKey{}, &entity.Freshness{Stale: true})
	if got := countWithin(stale, t, c.nodes[2], app); got != 1 {
		t.Errorf("a stale read shows %d entities, want 1", got)
	}
	view, age, err := c.nodes[2].StaleView(t.Context(), app)
	if err != nil || age <= 0 {
		t.Errorf("a stale view is %v old: %v", age, err)
	}
	if err == nil {
		if err := view.Close(); err != nil {
			t.Error(err)
		}
	}
	c.await("the node is not healthy any more", func() bool { return c.nodes[2].Healthy(t.Context()) != nil })
	c.start(3, 0, 1)
	c.healthy(2)
	c.write(2, app, "after")
	// The write without an answer may have happened, once.
	if got := count(t, c.nodes[0], app); got != 2 && got != 3 {
		t.Errorf("%d entities, want 2 or 3", got)
	}
}

// A node alone grows to three while it serves, and the first leaves again.
func TestGrowAndShrink(t *testing.T) {
	t.Parallel() // it mostly waits
	c := newCluster(t, 3, nil)
	cfg := c.config(0, 1)
	unwanted := make(chan error, 1)
	cfg.Halt = func(err error) { unwanted <- err }
	cfg.Join = nil // it forms a cluster of its own
	var err error
	if c.nodes[0], err = node.Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	app := c.app(0, "acme")
	c.write(0, app, "alone")
	c.start(1, 1)
	c.start(1, 2)
	everywhere := func(want int) func() bool {
		return func() bool {
			s, err := c.nodes[2].ClusterStatus(t.Context())
			if err != nil {
				return false
			}
			replicas := 0
			for _, m := range s.Members {
				if m.Report != nil {
					for _, p := range m.Report.Partitions {
						if p.Role != "nonvoter" {
							replicas++
						}
					}
				}
			}
			return replicas == want
		}
	}
	c.await("every node votes in every partition", everywhere(9))
	for i := range 10 {
		c.write(i%3, app, fmt.Sprint("grown", i))
	}
	c.agree(1, 0, 1, 2)
	first := c.nodes[0].ID()
	if err := c.nodes[1].SetMemberState(t.Context(), first, entity.Removed, false); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("a node with replicas is removed without force: %v", err)
	}
	if err := c.nodes[1].SetMemberState(t.Context(), first, entity.Removed, true); err != nil {
		t.Fatal(err)
	}
	c.await("the partitions have two replicas", func() bool {
		s, err := c.nodes[2].ClusterStatus(t.Context())
		if err != nil {
			return false
		}
		for _, p := range s.Placements {
			if _, has := p.Replica(first); has {
				return false
			}
		}
		return true
	})
	select { // the removed node ends itself
	case err := <-unwanted:
		if !strings.Contains(err.Error(), "removed") {
			t.Errorf("the removed node ends with %v", err)
		}
	case <-time.After(patience):
		t.Error("the removed node goes on")
	}
	c.stop(0)
	for i := range 10 {
		c.write(1+i%2, app, fmt.Sprint("shrunk", i))
	}
	if got := count(t, c.nodes[2], app); got != 21 {
		t.Errorf("%d entities, want 21", got)
	}
}

// A follower that was away for longer than the log reaches back gets the whole
// state, while writes go on.
func TestFollowerBehindTheLogIsSentTheState(t *testing.T) {
	t.Parallel() // it mostly waits
	c := newCluster(t, 3, func(_ int, cfg *node.Config) {
		cfg.MarkerInterval, cfg.MarkerMaxAge, cfg.TrailingEntries = 50*time.Millisecond, 100*time.Millisecond, 2
	})
	c.start(3, 0, 1, 2)
	app := c.app(0, "acme")
	c.write(0, app, "first")
	c.stop(2)
	for i := range 300 {
		c.write(i%2, app, fmt.Sprint("thing", i))
	}
	first := c.nodes[0].Partitions()[1].Applied
	c.await("the log is truncated", func() bool {
		c.write(0, app, fmt.Sprint("more", time.Now().UnixNano()))
		for _, s := range c.nodes[0].Partitions() {
			if s.Marker > first {
				return true
			}
		}
		return false
	})
	writing, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; writing.Err() == nil; i++ {
			_, _ = c.nodes[0].Propose(writing, app, create(fmt.Sprint("during", i))) // cut off at the end
		}
	})
	c.start(3, 2)
	stop()
	writer.Wait()
	c.agree(0, 0, 1, 2)
}

// Who has another secret can neither join nor be joined.
func TestAnotherSecretIsAStranger(t *testing.T) {
	t.Parallel() // it mostly waits
	c := newCluster(t, 2, func(i int, cfg *node.Config) {
		if i == 1 {
			cfg.Secret = []byte("another secret")
		}
	})
	cfg := c.config(0, 1)
	cfg.Join = nil
	n, err := node.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[0] = n
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if stranger, err := node.Start(ctx, c.config(1, 1)); err == nil {
		c.nodes[1] = stranger
		t.Error("a node with another secret has joined")
	}
	s, err := n.ClusterStatus(t.Context())
	if err != nil || len(s.Members) != 1 {
		t.Errorf("the cluster has members %+v, %v", s.Members, err)
	}
}

// A second node of the same name is refused while the first lives; once that is
// gone, the second takes its place.
func TestNamesakes(t *testing.T) {
	t.Parallel() // it mostly waits
	c := newCluster(t, 2, func(_ int, cfg *node.Config) { cfg.Name = "same" })
	cfg := c.config(0, 1)
	cfg.Join = nil
	var err error
	if c.nodes[0], err = node.Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	second, err := node.Start(ctx, c.config(1, 1))
	if err == nil {
		c.nodes[1] = second
		t.Fatal("two nodes have the same name")
	}
	if !strings.Contains(err.Error(), "already") {
		t.Errorf("refused with %v", err)
	}
}

// One request that is sent through all nodes at once has one effect.
func TestOneRequestThroughAllNodesHasOneEffect(t *testing.T) {
	t.Parallel() // it mostly waits
	c := newCluster(t, 3, nil)
	c.start(3, 0, 1, 2)
	app := c.app(0, "acme")
	for round := range 10 {
		cmd := create(fmt.Sprint("once", round))
		cmd.Request = command.RequestID(entity.NewID())
		var sending sync.WaitGroup
		for i := range 12 {
			sending.Go(func() {
				out, err := c.nodes[i%3].Propose(t.Context(), app, cmd)
				if err != nil || out.Fault != nil || len(out.Entities) != 1 {
					t.Errorf("create: %v %+v", err, out)
				}
			})
		}
		sending.Wait()
	}
	if got := count(t, c.nodes[1], app); got != 10 {
		t.Errorf("%d entities, want 10", got)
	}
}

// holders are the nodes that are to hold a partition, as a node knows.
func (c *cluster) holders(through int, p entity.Partition) (ids []entity.NodeID) {
	s, err := c.nodes[through].ClusterStatus(c.t.Context())
	if err != nil {
		return nil
	}
	for _, place := range s.Placements {
		if place.Partition != p {
			continue
		}
		for _, r := range place.Replicas {
			ids = append(ids, r.Node)
		}
	}
	return ids
}

// Four nodes hold three replicas each partition. What a node does not hold it
// says, and names one that does. A node that is drained, and one that is gone for too
// long, are replaced by those that are left.
func TestReplicasMoveToThoseThatAreLeft(t *testing.T) {
	t.Parallel() // it mostly waits
	c := newCluster(t, 4, func(_ int, cfg *node.Config) { cfg.Grace = 2 * time.Second })
	c.start(4, 0, 1, 2, 3)
	app := c.app(0, "acme")
	for i := range 8 {
		c.write(i%4, app, fmt.Sprint("thing", i))
	}
	p, err := c.nodes[0].ChoosePartition() // the other one: it has no application
	if err != nil {
		t.Fatal(err)
	}
	of := 3 - p // the application's
	without := -1
	for i, n := range c.nodes {
		err := n.Here(app)
		if err == nil {
			continue
		}
		without = i
		at, ok := n.Elsewhere(err)
		if !fault.Is(err, fault.NotHere) || !ok || at == string(n.ID()) {
			t.Errorf("a node without the partition says %v and names %q, %v", err, at, ok)
		}
		if _, err := n.View(t.Context(), app); !fault.Is(err, fault.NotHere) {
			t.Errorf("a view of what is elsewhere: %v", err)
		}
	}
	if without < 0 {
		t.Fatal("all four nodes hold the partition")
	}

	drained := c.leaderOf(of)
	if err := c.nodes[without].SetMemberState(t.Context(), c.nodes[drained].ID(), entity.Draining, false); err != nil {
		t.Fatal(err)
	}
	c.await("the drained node has given its replicas up", func() bool { return len(c.nodes[drained].Partitions()) == 1 })
	if got := count(t, c.nodes[without], app); got != 8 {
		t.Errorf("the node that took over shows %d entities, want 8", got)
	}
	c.agree(without, 0, 1, 2)

	if err := c.nodes[without].SetMemberState(t.Context(), c.nodes[drained].ID(), entity.Active, false); err != nil {
		t.Fatal(err)
	}
	dead := c.leaderOf(of)
	gone := c.nodes[dead].ID()
	c.stop(dead)
	left := (dead + 1) % 4
	c.await("the dead node is replaced", func() bool {
		ids := c.holders(left, of)
		for _, id := range ids {
			if id == gone {
				return false
			}
		}
		return len(ids) == 3
	})
	for i := range 4 {
		if i != dead {
			c.write(i, app, fmt.Sprint("after", i))
		}
	}
	c.agree(left, 1, 2) // the dead node is a member still, and to hold the system partition

	// Whoever comes back has given up what he held, and serves again.
	c.start(4, dead)
	c.write(dead, app, "back")
}
