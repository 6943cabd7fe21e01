package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// WriteMarkdown writes the report as one table, and one of the cluster if that
// was measured, with notes below.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Load report\n\n%s, %d × %s, kernel %s, %s\n\n", r.Started.UTC().Format(time.RFC3339), r.Machine.CPUs, r.Machine.Model, r.Machine.Kernel, r.Machine.Go)
	for _, key := range slices.Sorted(maps.Keys(r.Settings)) {
		fmt.Fprintf(&b, "- %s: %s\n", key, r.Settings[key])
	}
	b.WriteString("\n| workload | connections | ops/s | p50 µs | p99 µs | p99.9 µs | max µs | server CPU s/1000 | client CPU s/1000 | resident MB | allocs/op | share of limit | errors |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "| %s | %d | %.0f | %.0f | %.0f | %.0f | %.0f | %s | %s | %s | %s | %s | %s |\n",
			nameOf(row), row.Connections, row.Throughput, row.Latency.P50, row.Latency.P99, row.Latency.P999, row.Latency.Max,
			known("%.4f", row.Usage.ServerCPU), known("%.4f", row.Usage.ClientCPU), megabytes(row.Usage.ResidentBytes), known("%.1f", row.Usage.Allocs),
			share(row), errorsOf(row))
	}
	b.WriteString("\nops/s counts successes; latencies are those of every attempt. In an open loop they count from when an operation was due.\n")
	if r.Cluster != nil {
		r.Cluster.markdown(&b)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// nameOf tells an open loop from a closed one.
func nameOf(row Row) string {
	if row.Rate > 0 {
		return fmt.Sprintf("%s (open, %.0f/s)", row.Workload, row.Rate)
	}
	return row.Workload
}

func known(format string, v float64) string {
	if v < 0 {
		return "–"
	}
	return fmt.Sprintf(format, v)
}

func megabytes(n int64) string {
	if n < 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f", float64(n)/1e6)
}

func share(row Row) string {
	if row.LimitRate == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f of %s", row.Ratio, row.Limit)
}

func errorsOf(row Row) string {
	if len(row.Errors) == 0 {
		return "0"
	}
	var parts []string
	for _, class := range slices.Sorted(maps.Keys(row.Errors)) {
		parts = append(parts, fmt.Sprintf("%s × %d", class, row.Errors[class]))
	}
	example := strings.Map(func(c rune) rune {
		if c == '|' || c == '\n' {
			return ' '
		}
		return c
	}, row.FirstError)
	if len(example) > 160 {
		example = example[:160] + "…"
	}
	return strings.Join(parts, ", ") + " (" + strings.ToValidUTF8(example, "") + ")"
}
