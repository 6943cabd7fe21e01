package node_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/storagetest"
)

// TestMain looks for goroutines that were left. Gossip's library has some that
// end by themselves within seconds.
func TestMain(m *testing.M) {
	code := m.Run()
	ignored := []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"), // ends when connections would be idle for too long
	}
	leak := goleak.Find(ignored...)
	for end := time.Now().Add(15 * time.Second); leak != nil && time.Now().Before(end); {
		leak = goleak.Find(ignored...)
	}
	if code == 0 && leak != nil {
		fmt.Fprintln(os.Stderr, leak)
		code = 1
	}
	os.Exit(code)
}

func testConfig(t testing.TB, dir string) node.Config {
	cfg := node.DefaultConfig(dir)
	cfg.Partitions = 2
	cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg.Halt = func(err error) { t.Errorf("halt: %v", err) }
	return cfg
}

func start(t testing.TB, dir string) *node.Node {
	t.Helper()
	n, err := node.Start(context.Background(), testConfig(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, n) })
	return n
}

func stop(t testing.TB, n *node.Node) {
	t.Helper()
	if err := n.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}

var items = command.Rules{Collection: "items", Type: "item", Unique: []string{"name"}}

func create(name string) command.Command {
	id := entity.NewID()
	ms, _ := id.Time()
	return command.Command{Op: command.CreateEntities{Rules: items, Items: []command.NewEntity{{
		ID: id, Created: ms, Modified: ms, JSON: fmt.Appendf(nil, `{"name":%q}`, name),
	}}}}
}

// newApp creates an organisation with one application and returns its number.
func newApp(t testing.TB, n *node.Node, name string) entity.AppID {
	t.Helper()
	p, err := n.ChoosePartition()
	if err != nil {
		t.Fatal(err)
	}
	out, err := n.Propose(t.Context(), entity.Management, command.Command{Op: command.CreateOrganization{
		Name:         name,
		Organization: command.NewEntity{ID: entity.NewID(), JSON: fmt.Appendf(nil, `{"name":%q}`, name)},
		Owner:        &command.NewEntity{ID: entity.NewID(), JSON: fmt.Appendf(nil, `{"username":%q,"email":"%s@example.org"}`, name, name)},
		Application:  &command.NewApplication{ID: entity.NewID(), Name: "sandbox", Partition: p, Secret: "secret", Open: true},
	}})
	if err != nil || out.Fault != nil {
		t.Fatalf("create organisation: %v %v", err, out.Fault)
	}
	var number entity.AppID
	if _, err := fmt.Sscanf(between(string(out.Entities[2].JSON), `"number":`), "%d", &number); err != nil {
		t.Fatalf("application record %s: %v", out.Entities[2].JSON, err)
	}
	return number
}

func between(s, after string) string {
	for i := range s {
		if len(s[i:]) > len(after) && s[i:i+len(after)] == after {
			return s[i+len(after):]
		}
	}
	return ""
}

func count(t testing.TB, n *node.Node, app entity.AppID) uint64 {
	t.Helper()
	return countWithin(t.Context(), t, n, app)
}

// countWithin is count as up to date as ctx asks for.
func countWithin(ctx context.Context, t testing.TB, n *node.Node, app entity.AppID) uint64 {
	t.Helper()
	view, err := n.View(ctx, app)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := view.Close(); err != nil {
			t.Error(err)
		}
	}()
	collection, _, err := storage.ReadCollection(view, app, "items")
	if err != nil {
		t.Fatal(err)
	}
	return collection.Count
}

func TestAcknowledgedIsVisibleAndSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	id, cluster := n.ID(), n.Cluster()
	var apps []entity.AppID
	for i := range 4 {
		apps = append(apps, newApp(t, n, fmt.Sprintf("org%d", i)))
	}
	for i := range 20 {
		for _, app := range apps {
			out, err := n.Propose(t.Context(), app, create(fmt.Sprint("thing", i)))
			if err != nil || out.Fault != nil {
				t.Fatalf("create: %v %v", err, out.Fault)
			}
			if got := count(t, n, app); got != uint64(i+1) {
				t.Fatalf("after %d creates a view shows %d", i+1, got)
			}
		}
	}
	stop(t, n)
	n = start(t, dir)
	if n.ID() != id || n.Cluster() != cluster {
		t.Errorf("restarted as node %s of cluster %s, was %s of %s", n.ID(), n.Cluster().ID, id, cluster.ID)
	}
	for _, app := range apps {
		stale := context.WithValue(t.Context(), entity.FreshnessKey{}, &entity.Freshness{Stale: true})
		for _, ctx := range []context.Context{t.Context(), stale} {
			if got := countWithin(ctx, t, n, app); got != 20 {
				t.Errorf("application %d has %d entities after a restart, want 20", app, got)
			}
		}
		view, age, err := n.StaleView(t.Context(), app)
		if err != nil || age != 0 {
			t.Errorf("a stale view of application %d is %v old (%v), want 0: this node leads", app, age, err)
		}
		if err == nil {
			err = view.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestOneOfManyConcurrentCreatorsOfANameWins(t *testing.T) {
	n := start(t, t.TempDir())
	app := newApp(t, n, "acme")
	for round := range 5 {
		results := make(chan fault.Code, 32)
		var wg sync.WaitGroup
		for range cap(results) {
			wg.Go(func() {
				out, err := n.Propose(t.Context(), app, create(fmt.Sprint("name", round)))
				if err != nil {
					t.Errorf("propose: %v", err)
				}
				if out.Fault != nil {
					results <- out.Fault.Code
				} else {
					results <- ""
				}
			})
		}
		wg.Wait()
		close(results)
		got := map[fault.Code]int{}
		for code := range results {
			got[code]++
		}
		if got[""] != 1 || got[fault.Duplicate] != 31 {
			t.Fatalf("round %d: outcomes %v, want one success and 31 duplicates", round, got)
		}
	}
}

// A request that is sent again with its id has its effect once, and the same answer.
func TestRetryWithTheSameRequestIDHasOneEffect(t *testing.T) {
	n := start(t, t.TempDir())
	app := newApp(t, n, "acme")
	cmd := create("milk")
	cmd.Request = command.RequestID(entity.NewID())
	for range 3 {
		out, err := n.Propose(t.Context(), app, cmd)
		if err != nil || out.Fault != nil || len(out.Entities) != 1 {
			t.Fatalf("create: %v %+v", err, out)
		}
	}
	if got := count(t, n, app); got != 1 {
		t.Errorf("%d entities after three sends of one request", got)
	}
}

func TestStoppedNodeRefuses(t *testing.T) {
	n := start(t, t.TempDir())
	app := newApp(t, n, "acme")
	stop(t, n)
	if _, err := n.Propose(t.Context(), app, create("late")); fault.CodeOf(err) != fault.Stopping {
		t.Errorf("propose after close: %v", err)
	}
}

func TestUnknownApplicationNumberIsRefused(t *testing.T) {
	n := start(t, t.TempDir())
	if _, err := n.Propose(t.Context(), 4711, create("x")); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("propose: %v", err)
	}
	if _, err := n.View(t.Context(), 4711); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("view: %v", err)
	}
}

// A disk without room refuses writes before the databases break; reads go on,
// and so do writes when there is room again.
func TestFullDiskRefusesWritesOnly(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 40)
	cfg := testConfig(t, "/data")
	cfg.Storage.FS = storagetest.Room(storagetest.NewDisk(), &free)
	cfg.SpaceInterval = time.Millisecond
	n, err := node.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, n)
	app := newApp(t, n, "acme")
	write := func(name string) fault.Code {
		out, err := n.Propose(t.Context(), app, create(name))
		if err == nil && out.Fault != nil {
			t.Fatalf("create: %v", out.Fault)
		}
		return fault.CodeOf(err)
	}
	if code := write("before"); code != "" {
		t.Fatalf("write with room: %s", code)
	}
	until := func(what string, want fault.Code, name string) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for i := 0; write(fmt.Sprint(name, i)) != want; i++ {
			if time.Now().After(deadline) {
				t.Fatalf("timed out waiting until %s", what)
			}
			time.Sleep(time.Millisecond)
		}
	}
	free.Store(1 << 20)
	until("writes are refused", fault.DiskFull, "while")
	if got := count(t, n, app); got == 0 {
		t.Error("a read shows nothing on a full disk")
	}
	free.Store(1 << 40)
	until("writes go on", "", "after")
}

func BenchmarkPropose(b *testing.B) {
	n := start(b, b.TempDir())
	app := newApp(b, n, "acme")
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			out, err := n.Propose(context.Background(), app, create(entity.NewID().String()))
			if err != nil || out.Fault != nil {
				b.Errorf("create: %v %v", err, out.Fault)
				return
			}
		}
	})
}
