package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/trellisdb/trellis/bench/load"
	"github.com/trellisdb/trellis/bench/server"
)

// Report is one run.
type Report struct {
	Started  time.Time         `json:"started"`
	Machine  Machine           `json:"machine"`
	Settings map[string]string `json:"settings"`
	Rows     []Row             `json:"rows"`
	Cluster  *Cluster          `json:"cluster,omitempty"` // if several nodes were measured, too
}

// Machine is where it ran.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"model"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Row is one workload at one number of connections.
type Row struct {
	Workload    string            `json:"workload"`
	Connections int               `json:"connections"`
	Rate        float64           `json:"rate,omitempty"` // of an open loop; 0 is a closed one
	Seconds     float64           `json:"seconds"`
	Attempts    uint64            `json:"attempts"`
	Succeeded   uint64            `json:"succeeded"`
	Errors      map[string]uint64 `json:"errors,omitempty"`
	FirstError  string            `json:"firstError,omitempty"`
	Throughput  float64           `json:"throughput"` // successes a second
	Latency     Latency           `json:"latencyMicros"`
	Usage       Usage             `json:"usage"`
	Limit       string            `json:"limit,omitempty"`           // which limit the workload is compared with
	LimitRate   float64           `json:"limitThroughput,omitempty"` // of that limit at as many connections
	Ratio       float64           `json:"ratio,omitempty"`           // Throughput / LimitRate; closed loops only
}

// Latency is in microseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
}

// Usage is what serving the row cost. Negative is unknown.
type Usage struct {
	ServerCPU     float64 `json:"serverCPUSecondsPer1000"`
	ClientCPU     float64 `json:"clientCPUSecondsPer1000"`
	ResidentBytes int64   `json:"residentBytes"`
	Allocs        float64 `json:"allocationsPerOperation"`
}

// NewRow describes a result.
func NewRow(workload string, plan load.Plan, r *load.Result) Row {
	row := Row{Workload: workload, Connections: plan.Connections, Rate: plan.Rate, Seconds: r.Elapsed.Seconds(),
		Attempts: r.Attempts, Succeeded: r.Succeeded, Throughput: r.Throughput(), Latency: latency(r.Latency),
		Usage: Usage{ServerCPU: -1, ClientCPU: -1, ResidentBytes: -1, Allocs: -1}}
	if len(r.Errors) > 0 {
		row.Errors = r.Errors
	}
	if r.FirstErr != nil {
		row.FirstError = r.FirstErr.Error()
	}
	return row
}

func latency(h *hdrhistogram.Histogram) Latency {
	micros := func(nanos int64) float64 { return float64(nanos) / 1000 }
	return Latency{P50: micros(h.ValueAtQuantile(50)), P90: micros(h.ValueAtQuantile(90)), P99: micros(h.ValueAtQuantile(99)),
		P999: micros(h.ValueAtQuantile(99.9)), Max: micros(h.Max()), Mean: h.Mean() / 1000}
}

// Spend sets what the row cost from the server's usage before and after, and
// the CPU time of this process in between.
func (r *Row) Spend(before, after server.Usage, clientCPU time.Duration) {
	if r.Attempts == 0 {
		return
	}
	thousands := float64(r.Attempts) / 1000
	r.Usage.ClientCPU = clientCPU.Seconds() / thousands
	r.Usage.ServerCPU = (after.CPU - before.CPU).Seconds() / thousands
	r.Usage.ResidentBytes = after.ResidentBytes
	if before.Mallocs >= 0 && after.Mallocs >= before.Mallocs {
		r.Usage.Allocs = (after.Mallocs - before.Mallocs) / float64(r.Attempts)
	}
}

// Limit is the throughput of one limit at a number of connections.
type Limit struct {
	Name        string
	Connections int
	Throughput  float64
}

// Mix is the limit of operations of which a share runs at the rate of one
// limit and the rest at that of another: times add up, rates do not.
func Mix(share float64, a, b Limit) Limit {
	m := Limit{Name: fmt.Sprintf("%.0f %% %s, %.0f %% %s", share*100, a.Name, (1-share)*100, b.Name), Connections: a.Connections}
	if a.Throughput > 0 && b.Throughput > 0 {
		m.Throughput = 1 / (share/a.Throughput + (1-share)/b.Throughput)
	}
	return m
}

// Against sets the row's ratio to a limit. An open loop has none: its
// throughput was asked for.
func (r *Row) Against(l Limit) {
	if r.Rate > 0 || l.Throughput <= 0 || l.Connections != r.Connections {
		return
	}
	r.Limit, r.LimitRate, r.Ratio = l.Name, l.Throughput, r.Throughput/l.Throughput
}

// ThisMachine describes the machine the harness runs on.
func ThisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), Model: "unknown", Kernel: "unknown"}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.Model = strings.TrimSpace(value)
				break
			}
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	return m
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
