package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/bench/load"
	"github.com/trellisdb/trellis/bench/server"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(1, math.Abs(b)) }

func result(succeeded, failed uint64, seconds float64) *load.Result {
	h := hdrhistogram.New(100, int64(time.Minute), 3)
	for range succeeded {
		if err := h.RecordValue(int64(time.Millisecond)); err != nil {
			panic(err)
		}
	}
	r := &load.Result{Elapsed: time.Duration(seconds * float64(time.Second)), Succeeded: succeeded, Attempts: succeeded + failed, Latency: h}
	if failed > 0 {
		r.Errors, r.FirstErr = map[string]uint64{"503": failed}, errors.New("busy | very\nbusy")
	}
	return r
}

func TestRatioIsThroughputOfSuccessesOverTheLimit(t *testing.T) {
	row := NewRow("get-id", load.Plan{Connections: 16}, result(1000, 500, 2))
	row.Against(Limit{Name: "bare handler", Connections: 16, Throughput: 2000})
	if !near(row.Throughput, 500) || !near(row.Ratio, 0.25) {
		t.Errorf("throughput %g, ratio %g; want 500, 0.25", row.Throughput, row.Ratio)
	}
}

func TestRatioNeedsTheSameConnectionsAndAClosedLoop(t *testing.T) {
	for name, row := range map[string]Row{
		"another number of connections": NewRow("get-id", load.Plan{Connections: 1}, result(10, 0, 1)),
		"open loop":                     NewRow("get-id", load.Plan{Connections: 16, Rate: 10}, result(10, 0, 1)),
	} {
		row.Against(Limit{Name: "bare handler", Connections: 16, Throughput: 2000})
		if row.Ratio != 0 || row.Limit != "" {
			t.Errorf("%s: ratio %g", name, row.Ratio)
		}
	}
}

func TestMixAddsTimes(t *testing.T) {
	a, b := Limit{Name: "read", Connections: 4, Throughput: 10000}, Limit{Name: "write", Connections: 4, Throughput: 1000}
	m := Mix(0.8, a, b)
	if want := 1 / (0.8/10000 + 0.2/1000); !near(m.Throughput, want) || m.Connections != 4 {
		t.Errorf("%+v, want %g a second", m, want)
	}
	if m := Mix(1, a, b); !near(m.Throughput, a.Throughput) {
		t.Errorf("only reads: %g", m.Throughput)
	}
	if m := Mix(0.5, a, Limit{}); m.Throughput != 0 {
		t.Errorf("a limit that was not measured gives %g", m.Throughput)
	}
}

func TestSpendCountsEveryAttempt(t *testing.T) {
	row := NewRow("create", load.Plan{Connections: 1}, result(1500, 500, 1))
	row.Spend(server.Usage{CPU: time.Second, Mallocs: 100}, server.Usage{CPU: 5 * time.Second, Mallocs: 20100, ResidentBytes: 7e6}, time.Second)
	want := Usage{ServerCPU: 2, ClientCPU: 0.5, ResidentBytes: 7e6, Allocs: 10}
	if row.Usage != want {
		t.Errorf("%+v, want %+v", row.Usage, want)
	}
	row.Usage.Allocs = -1
	row.Spend(server.Usage{Mallocs: -1}, server.Usage{Mallocs: 5}, 0)
	if row.Usage.Allocs != -1 {
		t.Errorf("allocations %g without a counter before", row.Usage.Allocs)
	}
}

func TestReportsSayWhatFailed(t *testing.T) {
	row := NewRow("create", load.Plan{Connections: 64}, result(100, 3, 1))
	row.Against(Limit{Name: "raft + pebble", Connections: 64, Throughput: 400})
	unmeasured := NewRow("list", load.Plan{Connections: 64, Rate: 10}, result(10, 0, 1))
	r := Report{Started: time.Unix(0, 0), Machine: Machine{CPUs: 2, Model: "m", Kernel: "k", Go: "g"}, Settings: map[string]string{"seed": "1"}, Rows: []Row{row, unmeasured}}
	var md, js bytes.Buffer
	if err := errors.Join(r.WriteMarkdown(&md), r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| create | 64 | 100 | 1000 | 1000 | 1000 | 1000 | – | – | – | – | 0.25 of raft + pebble | 503 × 3 (busy   very busy) |",
		"| list (open, 10/s) | 64 | 10 |", "| – | 0 |", "1970-01-01T00:00:00Z, 2 × m", "- seed: 1",
	} {
		if !strings.Contains(md.String(), want) {
			t.Errorf("no %q in\n%s", want, md.String())
		}
	}
	var back Report
	if err := json.Unmarshal(js.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Rows) != 2 || back.Rows[0].Errors["503"] != 3 || !near(back.Rows[0].Ratio, 0.25) || back.Rows[0].Latency != row.Latency {
		t.Errorf("JSON gives back %+v", back.Rows)
	}
}

func TestLatencyIsInMicroseconds(t *testing.T) {
	h := hdrhistogram.New(100, int64(time.Minute), 3)
	for i := range 1000 {
		if err := h.RecordValue(int64(i+1) * 1000); err != nil {
			t.Fatal(err)
		}
	}
	l := latency(h)
	for name, v := range map[string][2]float64{"p50": {l.P50, 500}, "p90": {l.P90, 900}, "p99": {l.P99, 990}, "p99.9": {l.P999, 999}, "max": {l.Max, 1000}, "mean": {l.Mean, 500.5}} {
		if math.Abs(v[0]-v[1]) > 1 {
			t.Errorf("%s is %g, want %g", name, v[0], v[1])
		}
	}
}

func TestThisMachineIsDescribed(t *testing.T) {
	if m := ThisMachine(); m.CPUs < 1 || m.Go == "" || m.Kernel == "" {
		t.Errorf("%+v", m)
	}
}

func clusterRow(succeeded, failed uint64) ClusterRow {
	return ClusterRow{Row: NewRow("create", load.Plan{Connections: 16}, result(succeeded, failed, 1)), Through: Follower}
}

func TestClusterRowSumsItsNodes(t *testing.T) {
	row := clusterRow(1500, 500)
	before := []server.Usage{{CPU: time.Second, Mallocs: 100}, {CPU: 3 * time.Second, Mallocs: 50}}
	after := []server.Usage{{CPU: 5 * time.Second, Mallocs: 20100, ResidentBytes: 7e6}, {CPU: 4 * time.Second, Mallocs: 2050, ResidentBytes: 5e6}}
	row.Spend([]int{2, 0}, before, after, time.Second)
	if want := (Usage{ServerCPU: 2.5, ClientCPU: 0.5, ResidentBytes: 12e6, Allocs: 11}); row.Usage != want {
		t.Errorf("sum %+v, want %+v", row.Usage, want)
	}
	if d := cmp.Diff([]NodeUsage{{2, 2, 7e6, 10}, {0, 0.5, 5e6, 1}}, row.PerNode); d != "" {
		t.Error(d)
	}
	before[0].Mallocs = -1
	row.Spend([]int{2, 0}, before, after, time.Second)
	if row.Usage.Allocs != -1 || !near(row.PerNode[1].Allocs, 1) {
		t.Errorf("with one unknown: sum %g, the other %g", row.Usage.Allocs, row.PerNode[1].Allocs)
	}
	row = clusterRow(1, 0)
	row.Spend([]int{2, 0}, nil, after, time.Second)
	if row.PerNode != nil || row.Usage.ServerCPU != -1 {
		t.Errorf("usage %+v without a look before", row.Usage)
	}
}

func TestClusterIsComparedWithTheSameLoopOfOne(t *testing.T) {
	r := Report{Rows: []Row{
		NewRow("create", load.Plan{Connections: 16, Rate: 10}, result(10, 0, 1)),
		NewRow("create", load.Plan{Connections: 1}, result(20, 0, 1)),
		NewRow("create", load.Plan{Connections: 16}, result(2000, 0, 1)),
	}}
	one, found := r.Closed("create", 16)
	if !found || !near(one.Throughput, 2000) {
		t.Fatalf("%+v, %t", one, found)
	}
	if _, found := r.Closed("update", 16); found {
		t.Error("found what was not measured")
	}
	row := clusterRow(500, 0)
	row.Latency.P99 *= 3
	row.Compare(one)
	if a := row.AgainstOne; a == nil || !near(a.Throughput, 0.25) || !near(a.P50, 1) || !near(a.P99, 3) {
		t.Errorf("%+v", a)
	}
	for _, other := range r.Rows[:2] {
		row := clusterRow(500, 0)
		row.Compare(other)
		if row.AgainstOne != nil {
			t.Errorf("compared with %+v", other)
		}
	}
}

func TestReportShowsTheCluster(t *testing.T) {
	row := clusterRow(500, 0)
	row.Against(Limit{Name: "raft + pebble, 3 nodes", Connections: 16, Throughput: 1000})
	row.Compare(NewRow("create", load.Plan{Connections: 16}, result(2000, 0, 1)))
	row.Spend([]int{2, 0}, make([]server.Usage, 2), []server.Usage{{CPU: time.Second, ResidentBytes: 7e6}, {ResidentBytes: 5e6}}, time.Second)
	row.LeaderMoved = true
	r := Report{Cluster: &Cluster{Nodes: 3, Rows: []ClusterRow{row, {Row: NewRow("limit", load.Plan{Connections: 16}, result(10, 0, 1))}}}}
	var md, js bytes.Buffer
	if err := errors.Join(r.WriteMarkdown(&md), r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## 3 nodes against one",
		"| create | follower | 16 | 500 | 0.25 | 1000 | 1.00 | 1000 | 1.00 | 0.50 of raft + pebble, 3 nodes | 2.0000 = 2.0000 + 0.0000 | 12 = 7 + 5 | 0.0 = 0.0 + 0.0 | 2.0000 | 0, and the leader moved |",
		"| limit | – | 16 | 10 | – |"} {
		if !strings.Contains(md.String(), want) {
			t.Errorf("no %q in\n%s", want, md.String())
		}
	}
	var back Report
	if err := json.Unmarshal(js.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r.Cluster, back.Cluster); d != "" {
		t.Error(d)
	}
}
