package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/trellisdb/trellis/bench/server"
)

// Cluster is what several nodes did on the machine on which one did the rows of
// the report.
type Cluster struct {
	Nodes int          `json:"nodes"`
	Rows  []ClusterRow `json:"rows"`
}

// Roles of the node that is asked, in the partition of the application.
const (
	Leader   = "leader"
	Follower = "follower"
)

// ClusterRow is a row measured on several nodes. Its usage is the sum of theirs.
type ClusterRow struct {
	Row
	Through     string      `json:"through,omitempty"`     // Leader or Follower; empty for a limit
	PerNode     []NodeUsage `json:"perNode,omitempty"`     // the leader first, then the follower that is asked in other rows
	AgainstOne  *Ratios     `json:"againstOne,omitempty"`  // to what one node did in this run
	LeaderMoved bool        `json:"leaderMoved,omitempty"` // during the measurement, and however often it was repeated
}

// NodeUsage is a node's part of a row's usage. Negative is unknown.
type NodeUsage struct {
	Node          int     `json:"node"`
	ServerCPU     float64 `json:"serverCPUSecondsPer1000"`
	ResidentBytes int64   `json:"residentBytes"`
	Allocs        float64 `json:"allocationsPerOperation"`
}

// Ratios are those of a row's throughput and latencies to another's.
type Ratios struct {
	Throughput float64 `json:"throughput"`
	P50        float64 `json:"p50"`
	P99        float64 `json:"p99"`
}

// Spend sets what the row cost from the usage of the nodes before and after,
// which are numbered by nodes, and the CPU time of this process in between.
func (r *ClusterRow) Spend(nodes []int, before, after []server.Usage, clientCPU time.Duration) {
	if r.Attempts == 0 || len(before) != len(nodes) || len(after) != len(nodes) {
		return
	}
	r.PerNode = nil
	sum := Usage{}
	for i, node := range nodes {
		own := Row{Attempts: r.Attempts, Usage: Usage{Allocs: -1}}
		own.Spend(before[i], after[i], clientCPU)
		r.PerNode = append(r.PerNode, NodeUsage{Node: node, ServerCPU: own.Usage.ServerCPU, ResidentBytes: own.Usage.ResidentBytes, Allocs: own.Usage.Allocs})
		sum.ClientCPU = own.Usage.ClientCPU // of one client, whatever node it asks
		sum.ServerCPU += own.Usage.ServerCPU
		sum.ResidentBytes += own.Usage.ResidentBytes
		if sum.Allocs >= 0 && own.Usage.Allocs >= 0 {
			sum.Allocs += own.Usage.Allocs
		} else {
			sum.Allocs = -1
		}
	}
	r.Usage = sum
}

// Compare sets the row's ratios to what one node did. An open loop has none:
// its throughput was asked for, and the other's was another.
func (r *ClusterRow) Compare(one Row) {
	if r.Rate > 0 || one.Rate > 0 || r.Connections != one.Connections || one.Throughput <= 0 || one.Latency.P50 <= 0 || one.Latency.P99 <= 0 {
		return
	}
	r.AgainstOne = &Ratios{Throughput: r.Throughput / one.Throughput, P50: r.Latency.P50 / one.Latency.P50, P99: r.Latency.P99 / one.Latency.P99}
}

// Closed finds the closed loop of a workload, or of a limit, at a number of
// connections.
func (r *Report) Closed(workload string, connections int) (Row, bool) {
	for _, row := range r.Rows {
		if row.Workload == workload && row.Connections == connections && row.Rate == 0 {
			return row, true
		}
	}
	return Row{}, false
}

// markdown writes the section of the cluster.
func (c *Cluster) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %d nodes against one\n\n", c.Nodes)
	b.WriteString("| workload | through | connections | ops/s | × one | p50 µs | × one | p99 µs | × one | share of limit | server CPU s/1000 | resident MB | allocs/op | client CPU s/1000 | errors |\n")
	b.WriteString("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, row := range c.Rows {
		through := row.Through
		if through == "" {
			through = "–"
		}
		ratios := [3]string{"–", "–", "–"}
		if a := row.AgainstOne; a != nil {
			ratios = [3]string{ratio(a.Throughput), ratio(a.P50), ratio(a.P99)}
		}
		failed := errorsOf(row.Row)
		if row.LeaderMoved {
			failed += ", and the leader moved"
		}
		var cpu, resident, allocs []string
		for _, n := range row.PerNode {
			cpu = append(cpu, known("%.4f", n.ServerCPU))
			resident = append(resident, megabytes(n.ResidentBytes))
			allocs = append(allocs, known("%.1f", n.Allocs))
		}
		fmt.Fprintf(b, "| %s | %s | %d | %.0f | %s | %.0f | %s | %.0f | %s | %s | %s | %s | %s | %s | %s |\n",
			nameOf(row.Row), through, row.Connections, row.Throughput, ratios[0], row.Latency.P50, ratios[1], row.Latency.P99, ratios[2], share(row.Row),
			total(known("%.4f", row.Usage.ServerCPU), cpu), total(megabytes(row.Usage.ResidentBytes), resident), total(known("%.1f", row.Usage.Allocs), allocs),
			known("%.4f", row.Usage.ClientCPU), failed)
	}
	b.WriteString("\nThrough: the role of the node asked in the partition of the application. × one: the figure as a multiple of the single node's in the table above " +
		"(of its get-id for get-id-stale). Usage is the sum of all nodes = leader + the follower that is asked + others. All nodes share the machine with each other and the client.\n")
}

// ratio shows three digits of a small one.
func ratio(v float64) string {
	if v < 0.1 {
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// total shows a sum and what it is made of.
func total(sum string, parts []string) string {
	if len(parts) == 0 {
		return sum
	}
	return sum + " = " + strings.Join(parts, " + ")
}
