package report

import "fmt"

// What the aims demand.
const (
	manyConnections = 64
	leastShare      = 0.25  // of the bare handler's rate
	leastPages      = 4000  // of 100 entities, a second
	mostMicros      = 2000  // median of a shape that indexes answer
	mostKeys        = 5     // examined for a row of such a shape
	mostGrowth      = 1.5   // of a median between the smallest collection and the largest: what noise may be
	moreKeys        = 2     // the same for the keys of a page
	fewKeys         = 20    // a page that takes no more may take more of them in a larger collection
	aboutMany       = 90000 // entities from which on a collection is one the medians are demanded of
)

// Judge compares the rows with the aims. ordered is the shape that must reach a
// share of the bare handler, paged are those that are pages of 100.
func (q *Queries) Judge(ordered string, paged []string) {
	q.Aims = nil
	if row, ok := q.Find(ordered, manyConnections, 0); ok {
		q.aim(row.Ratio >= leastShare && len(row.Errors) == 0, fmt.Sprintf("%s: at %d connections 1/4 of the bare handler's rate at least", ordered, manyConnections),
			"%.2f (%.0f of %.0f requests/s)", row.Ratio, row.Throughput, row.LimitRate)
	}
	for _, name := range paged {
		if row, ok := q.Find(name, manyConnections, 0); ok {
			q.aim(row.Throughput >= leastPages && len(row.Errors) == 0, fmt.Sprintf("%s: at %d connections %d a second at least", name, manyConnections, leastPages),
				"%.0f", row.Throughput)
		}
	}
	for _, row := range q.Rows {
		if !row.Indexed || row.Connections != 1 || row.Entities < aboutMany {
			continue
		}
		q.aim(row.Latency.P50 < mostMicros && row.Plan.KeysPerRow <= mostKeys && len(row.Errors) == 0,
			fmt.Sprintf("%s of %s: p50 below %d µs, at most %d keys a row", row.Workload, Count(row.Entities), mostMicros, mostKeys),
			"%.0f µs, %s keys", row.Latency.P50, known("%.1f", row.Plan.KeysPerRow))
	}
	sizes := q.entitiesOf()
	for _, name := range q.bySize() {
		small, ok := q.Find(name, 1, sizes[0])
		large, also := q.Find(name, 1, sizes[len(sizes)-1])
		if !ok || !also || !small.First || small.Entities == large.Entities || small.Latency.P50 <= 0 {
			continue
		}
		growth := large.Latency.P50 / small.Latency.P50
		keys := large.Plan.KeysPerRequest <= max(fewKeys, moreKeys*small.Plan.KeysPerRequest)
		q.aim(growth <= mostGrowth && keys && len(large.Errors) == 0, fmt.Sprintf("%s: not dearer of %s than of %s", name, Count(large.Entities), Count(small.Entities)),
			"p50 × %.2f, keys a page %s after %s", growth, known("%.0f", large.Plan.KeysPerRequest), known("%.0f", small.Plan.KeysPerRequest))
	}
}

func (q *Queries) aim(pass bool, text, format string, args ...any) {
	q.Aims = append(q.Aims, Aim{Text: text, Pass: pass, Got: fmt.Sprintf(format, args...)})
}
