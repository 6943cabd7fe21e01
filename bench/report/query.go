package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Queries is one run of the query command.
type Queries struct {
	Started  time.Time         `json:"started"`
	Machine  Machine           `json:"machine"`
	Settings map[string]string `json:"settings"`
	Fills    []Fill            `json:"fills"`
	Bare     []Row             `json:"bare"` // what the machine allows, and the least the server does; the bare handler several times
	Rows     []QueryRow        `json:"rows"`
	Writes   []Write           `json:"writes"`
	Aims     []Aim             `json:"aims"`
}

// Fill is how a collection was filled, or how an index of it was built.
type Fill struct {
	Collection   string  `json:"collection"`
	What         string  `json:"what"`
	Entities     int     `json:"entities"`
	Seconds      float64 `json:"seconds"`
	WrittenBytes int64   `json:"writtenBytes"` // to block devices meanwhile; negative is unknown
}

// QueryRow is a shape of query at one number of connections.
type QueryRow struct {
	Row
	Collection string  `json:"collection"`
	Entities   int     `json:"entities"`          // in the collection
	RowsRate   float64 `json:"rowsPerSecond"`     // entities returned
	Indexed    bool    `json:"indexed,omitempty"` // indexes ought to answer it by themselves
	First      bool    `json:"first,omitempty"`   // its cost ought not to depend on Entities
	Paged      bool    `json:"paged,omitempty"`   // a request is any page, not the first
	Plan       Planned `json:"plan"`
}

// Planned is how the server said it answers the shape. KeysPerRow and
// KeysPerRequest are negative if it does not say.
type Planned struct {
	Example        string  `json:"example"`
	Plan           string  `json:"plan"`
	Refused        string  `json:"refused,omitempty"`
	KeysPerRow     float64 `json:"keysPerRow"`
	KeysPerRequest float64 `json:"keysPerRequest"`
	RowsPerRequest float64 `json:"rowsPerRequest"`
}

// Write is what creating entities of twelve properties cost.
type Write struct {
	Fields       string  `json:"fields"` // which are indexed
	Batch        int     `json:"batch"`  // entities a request
	Row          Row     `json:"row"`    // of requests
	Rate         float64 `json:"createsPerSecond"`
	Created      int     `json:"created"`
	WrittenBytes int64   `json:"writtenBytes"` // to block devices, until the server was quiet; negative is unknown
	DiskBytes    int64   `json:"diskBytes"`    // by which the data directory grew; negative is unknown
}

// Aim is something the server ought to reach, and whether it did.
type Aim struct {
	Text string `json:"text"`
	Pass bool   `json:"pass"`
	Got  string `json:"got"`
}

// Find finds a shape at a number of connections and entities; entities 0 is the
// largest collection.
func (q *Queries) Find(shape string, connections, entities int) (QueryRow, bool) {
	var best QueryRow
	found := false
	for _, row := range q.Rows {
		if row.Workload != shape || row.Connections != connections || entities > 0 && row.Entities != entities {
			continue
		}
		if !found || row.Entities > best.Entities {
			best, found = row, true
		}
	}
	return best, found
}

// BareHandler names the rows of Bare that others are compared with.
const BareHandler = "bare handler"

// IsBareHandler tells them by their names.
func IsBareHandler(row Row) bool { return strings.Contains(row.Workload, BareHandler) }

// BareHandlerOf is what the bare handler did at a number of connections when it was last
// measured.
func (q *Queries) BareHandlerOf(connections int) (Limit, bool) {
	for _, row := range slices.Backward(q.Bare) {
		if row.Connections == connections && IsBareHandler(row) {
			return Limit{Name: BareHandler, Connections: connections, Throughput: row.Throughput}, true
		}
	}
	return Limit{}, false
}

// WriteJSON writes the report as JSON.
func (q *Queries) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(q); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// WriteMarkdown writes the report as tables, with notes below each.
func (q *Queries) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Query report\n\n%s, %d × %s, kernel %s, %s\n\n", q.Started.UTC().Format(time.RFC3339), q.Machine.CPUs, q.Machine.Model, q.Machine.Kernel, q.Machine.Go)
	for _, key := range slices.Sorted(maps.Keys(q.Settings)) {
		fmt.Fprintf(&b, "- %s: %s\n", key, q.Settings[key])
	}
	q.aims(&b)
	q.rates(&b)
	q.sizes(&b)
	q.plans(&b)
	q.writes(&b)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func (q *Queries) aims(b *strings.Builder) {
	if len(q.Aims) == 0 {
		return
	}
	b.WriteString("\n## Aims\n\n| aim | | found |\n|---|---|---|\n")
	for _, a := range q.Aims {
		verdict := "pass"
		if !a.Pass {
			verdict = "FAIL"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", cell(a.Text), verdict, cell(a.Got))
	}
}

// rates shows every shape on the collection it was asked most about.
func (q *Queries) rates(b *strings.Builder) {
	b.WriteString("\n## Rates\n\n| shape | entities | connections | requests/s | × bare | p50 µs | p99 µs | rows/s | keys/row | server CPU s/1000 | client CPU s/1000 | errors |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, row := range q.Bare {
		fmt.Fprintf(b, "| %s | – | %d | %.0f | %s | %.0f | %.0f | – | – | %s | %s | %s |\n", row.Workload, row.Connections, row.Throughput, timesBare(row),
			row.Latency.P50, row.Latency.P99, known("%.4f", row.Usage.ServerCPU), known("%.4f", row.Usage.ClientCPU), errorsOf(row))
	}
	for _, row := range q.Rows {
		largest, _ := q.Find(row.Workload, row.Connections, 0)
		if row.Entities < largest.Entities {
			continue
		}
		fmt.Fprintf(b, "| %s | %d | %d | %.*f | %s | %.0f | %.0f | %.0f | %s | %s | %s | %s |\n", row.Workload, row.Entities, row.Connections, digits(row.Throughput), row.Throughput,
			timesBare(row.Row), row.Latency.P50, row.Latency.P99, row.RowsRate, known("%.1f", row.Plan.KeysPerRow),
			known("%.4f", row.Usage.ServerCPU), known("%.4f", row.Usage.ClientCPU), errorsOf(row.Row))
	}
	b.WriteString("\nClosed loops: requests/s counts successes, latencies are those of every request. × bare: the rate as a share of the bare handler's at as many connections when it was last measured before, " +
		"which answers as many bytes as a GET by uuid, whatever the shape. keys/row: keys of indexes and scans that the plan says were examined, by rows returned; " +
		"the entities that are fetched for the rows are not among them.\n")
}

// timesBare is the share of the bare handler's rate.
func timesBare(row Row) string {
	if row.Ratio == 0 {
		return "–"
	}
	return ratio(row.Ratio)
}

// digits shows two of a rate below 10.
func digits(v float64) int {
	if v < 10 {
		return 2
	}
	return 0
}

// entitiesOf lists the sizes of collections that first pages were asked of.
func (q *Queries) entitiesOf() []int {
	var all []int
	for _, row := range q.Rows {
		if row.First {
			all = append(all, row.Entities)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// shapesOf lists the shapes of rows that keep says, in the order they were measured.
func (q *Queries) shapesOf(keep func(QueryRow) bool) []string {
	var names []string
	for _, row := range q.Rows {
		if keep(row) && !slices.Contains(names, row.Workload) {
			names = append(names, row.Workload)
		}
	}
	return names
}

// bySize are the shapes of which first pages were asked at several sizes.
func (q *Queries) bySize() []string {
	return q.shapesOf(func(row QueryRow) bool {
		return slices.ContainsFunc(q.Rows, func(o QueryRow) bool {
			return o.Workload == row.Workload && o.Entities != row.Entities && o.Connections == row.Connections && !row.Paged
		})
	})
}

func (q *Queries) sizes(b *strings.Builder) {
	sizes := q.entitiesOf()
	if len(sizes) < 2 {
		return
	}
	b.WriteString("\n## First pages by size, 1 connection\n\n| shape |")
	for _, n := range sizes {
		fmt.Fprintf(b, " p50 µs at %s |", Count(n))
	}
	for _, n := range sizes {
		fmt.Fprintf(b, " keys/page at %s |", Count(n))
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", 2*len(sizes)) + "\n")
	for _, name := range q.bySize() {
		var times, keys strings.Builder
		for _, n := range sizes {
			row, ok := q.Find(name, 1, n)
			if !ok {
				times.WriteString(" – |")
				keys.WriteString(" – |")
				continue
			}
			fmt.Fprintf(&times, " %.0f |", row.Latency.P50)
			fmt.Fprintf(&keys, " %s |", known("%.0f", row.Plan.KeysPerRequest))
		}
		fmt.Fprintf(b, "| %s |%s%s\n", name, times.String(), keys.String())
	}
}

// Count shows a number of entities.
func Count(n int) string {
	switch {
	case n >= 1_000_000 && n%100_000 == 0:
		return fmt.Sprintf("%gM", float64(n)/1e6)
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

func (q *Queries) plans(b *strings.Builder) {
	b.WriteString("\n## Plans\n\n| shape | entities | rows/page | keys/page | keys/row | an example, and how it was answered |\n|---|--:|--:|--:|--:|---|\n")
	var seen []string
	for _, row := range q.Rows {
		id := fmt.Sprint(row.Workload, row.Entities)
		if row.Plan.Example == "" && row.Plan.Plan == "" || slices.Contains(seen, id) {
			continue
		}
		if largest, _ := q.Find(row.Workload, row.Connections, 0); largest.Entities > row.Entities {
			continue
		}
		seen = append(seen, id)
		answered := row.Plan.Plan
		if row.Plan.Refused != "" {
			answered = "refused: " + row.Plan.Refused
		}
		example := row.Plan.Example
		if example == "" {
			example = "(all)"
		}
		fmt.Fprintf(b, "| %s | %d | %s | %s | %s | `%s` → %s |\n", row.Workload, row.Entities, known("%.1f", row.Plan.RowsPerRequest), known("%.1f", row.Plan.KeysPerRequest),
			known("%.1f", row.Plan.KeysPerRow), cell(example), cell(answered))
	}
}

func (q *Queries) writes(b *strings.Builder) {
	if len(q.Fills) > 0 {
		b.WriteString("\n## Filling\n\n| collection | what | entities | seconds | entities/s | bytes written an entity |\n|---|---|--:|--:|--:|--:|\n")
		for _, f := range q.Fills {
			fmt.Fprintf(b, "| %s | %s | %d | %.1f | %.0f | %s |\n", f.Collection, f.What, f.Entities, f.Seconds, float64(f.Entities)/f.Seconds, perEntity(f.WrittenBytes, f.Entities))
		}
	}
	if len(q.Writes) == 0 {
		return
	}
	b.WriteString("\n## Creating\n\n| fields indexed | entities a request | connections | creates/s | p50 µs | p99 µs | server CPU s/1000 requests | bytes written a create | data directory, bytes a create | errors |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, w := range q.Writes {
		fmt.Fprintf(b, "| %s | %d | %d | %.0f | %.0f | %.0f | %s | %s | %s | %s |\n", w.Fields, w.Batch, w.Row.Connections, w.Rate, w.Row.Latency.P50, w.Row.Latency.P99,
			known("%.4f", w.Row.Usage.ServerCPU), perEntity(w.WrittenBytes, w.Created), perEntity(w.DiskBytes, w.Created), errorsOf(w.Row))
	}
	for _, one := range q.Writes {
		if one.Fields != "all" {
			continue
		}
		for _, none := range q.Writes {
			if none.Fields != "none" || none.Batch != one.Batch || one.Rate == 0 || one.Created == 0 || none.Created == 0 {
				continue
			}
			fmt.Fprintf(b, "\nAll indexes against none, %d a request: %.2f × the time", one.Batch, none.Rate/one.Rate)
			if one.WrittenBytes > 0 && none.WrittenBytes > 0 {
				fmt.Fprintf(b, ", %.2f × the bytes written", float64(one.WrittenBytes)/float64(one.Created)/(float64(none.WrittenBytes)/float64(none.Created)))
			}
			b.WriteString(".\n")
		}
	}
	b.WriteString("\nBytes written: write_bytes of the server's process until it had written nothing for a while; what then is only in memory and in the log is yet to be written to tables.\n")
}

func perEntity(bytes int64, n int) string {
	if bytes < 0 || n == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f", float64(bytes)/float64(n))
}

// cell makes text fit into a table.
func cell(s string) string { return strings.NewReplacer("|", "/", "\n", " ").Replace(s) }
