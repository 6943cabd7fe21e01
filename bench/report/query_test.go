package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// someQueries is a report of two shapes at three sizes.
func someQueries() *Queries {
	q := &Queries{Started: time.Unix(1700000000, 0), Machine: Machine{CPUs: 2, Model: "m", Kernel: "k", Go: "go"},
		Settings: map[string]string{"seed": "1"},
		Bare: []Row{{Workload: "limit: bare handler, 600 bytes", Connections: 64, Throughput: 70000},
			{Workload: "limit: bare handler, 600 bytes", Connections: 64, Throughput: 40000}, {Workload: "hello", Connections: 64, Throughput: 30000}},
		Fills: []Fill{{Collection: "records", What: "filled", Entities: 1000, Seconds: 2, WrittenBytes: 5000}},
		Writes: []Write{
			{Fields: "none", Batch: 100, Rate: 9000, Created: 100, WrittenBytes: 1000, DiskBytes: -1, Row: Row{Connections: 16}},
			{Fields: "all", Batch: 100, Rate: 3000, Created: 100, WrittenBytes: 8000, DiskBytes: 700, Row: Row{Connections: 16}},
		},
	}
	add := func(shape string, connections, entities int, rate, p50, keys float64) {
		q.Rows = append(q.Rows, QueryRow{Row: Row{Workload: shape, Connections: connections, Throughput: rate, Latency: Latency{P50: p50}},
			Entities: entities, Indexed: true, First: true, Plan: Planned{Example: "a = 'b|c'", Plan: "run a 11", KeysPerRow: keys / 10, KeysPerRequest: keys, RowsPerRequest: 10}})
	}
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		add("steady", 1, n, 1000, 100+float64(n)/1e6, 11)
		add("growing <&>", 1, n, 1000, float64(n)/100, float64(n)/100)
	}
	add("steady", 64, 1_000_000, 12000, 5000, 11)
	bare, _ := q.BareHandlerOf(64)
	q.Rows[len(q.Rows)-1].Against(bare)
	add("pages", 64, 1_000_000, 3999, 5000, 101)
	return q
}

func TestAimsAreJudged(t *testing.T) {
	q := someQueries()
	q.Judge("steady", []string{"pages"})
	var got []string
	for _, a := range q.Aims {
		verdict := "pass"
		if !a.Pass {
			verdict = "fail"
		}
		got = append(got, verdict+" "+a.Text+" = "+a.Got)
	}
	want := []string{
		"pass steady: at 64 connections 1/4 of the bare handler's rate at least = 0.30 (12000 of 40000 requests/s)",
		"fail pages: at 64 connections 4000 a second at least = 3999",
		"pass steady of 100k: p50 below 2000 µs, at most 5 keys a row = 100 µs, 1.1 keys",
		"fail growing <&> of 100k: p50 below 2000 µs, at most 5 keys a row = 1000 µs, 100.0 keys",
		"pass steady of 1M: p50 below 2000 µs, at most 5 keys a row = 101 µs, 1.1 keys",
		"fail growing <&> of 1M: p50 below 2000 µs, at most 5 keys a row = 10000 µs, 1000.0 keys",
		"pass steady: not dearer of 1M than of 10k = p50 × 1.01, keys a page 11 after 11",
		"fail growing <&>: not dearer of 1M than of 10k = p50 × 100.00, keys a page 10000 after 100",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func TestAnErrorFailsAnAim(t *testing.T) {
	q := someQueries()
	q.Rows[len(q.Rows)-2].Errors = map[string]uint64{"500": 1}
	q.Judge("steady", nil)
	if q.Aims[0].Pass {
		t.Errorf("%+v", q.Aims[0])
	}
}

func TestQueriesAsMarkdown(t *testing.T) {
	q := someQueries()
	q.Judge("steady", []string{"pages"})
	var b bytes.Buffer
	if err := q.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2023-11-14T22:13:20Z, 2 × m, kernel k, go",
		"| steady: at 64 connections 1/4 of the bare handler's rate at least | pass | 0.30 (12000 of 40000 requests/s) |",
		"| pages: at 64 connections 4000 a second at least | FAIL | 3999 |",
		"| shape | p50 µs at 10k | p50 µs at 100k | p50 µs at 1M | keys/page at 10k | keys/page at 100k | keys/page at 1M |",
		"| steady | 100 | 100 | 101 | 11 | 11 | 11 |",
		"| steady | 1000000 | 10.0 | 11.0 | 1.1 | `a = 'b/c'` → run a 11 |",
		"| records | filled | 1000 | 2.0 | 500 | 5 |",
		"All indexes against none, 100 a request: 3.00 × the time, 8.00 × the bytes written.",
	} {
		if !strings.Contains(b.String(), want+"\n") && !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Count(b.String(), "| steady | 1000000 |") != 3 { // two rates and a plan
		t.Errorf("smaller collections have rows of their own:\n%s", b.String())
	}
	columns := 0
	for line := range strings.Lines(b.String()) { // a row has as many cells as its header
		n := strings.Count(line, "|")
		if n > 0 && columns > 0 && n != columns {
			t.Errorf("%d cells instead of %d: %s", n, columns, line)
		}
		columns = n
	}
	var again Queries
	b.Reset()
	if err := errors.Join(q.WriteJSON(&b), json.Unmarshal(b.Bytes(), &again)); err != nil || len(again.Rows) != len(q.Rows) {
		t.Errorf("%d rows come back as JSON: %v", len(again.Rows), err)
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	q := someQueries()
	var b bytes.Buffer
	if err := q.Plot().WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	elements := make(map[string]int)
	var words []string
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			elements[token.Name.Local]++
		case xml.CharData:
			words = append(words, strings.TrimSpace(string(token)))
		}
	}
	if elements["polyline"] != 2 || elements["circle"] != 6 {
		t.Errorf("elements %v, want 2 lines of 3 points", elements)
	}
	for _, want := range []string{"steady", "growing <&>", "10k", "100k", "1M", "entities in the collection", "p50, µs", "1000"} {
		if !strings.Contains(strings.Join(words, "\n"), want) {
			t.Errorf("the plot does not say %q: %q", want, words)
		}
	}
}

func TestPlotRefusesWhatHasNoLogarithm(t *testing.T) {
	for _, p := range []Plot{{}, {Series: []Series{{Points: []Point{{0, 1}}}}}, {Series: []Series{{Points: []Point{{1, -1}}}}}} {
		if err := p.WriteSVG(io.Discard); err == nil {
			t.Errorf("%+v was drawn", p)
		}
	}
	one := Plot{Series: []Series{{Name: "one", Points: []Point{{10, 10}}}}}
	var b bytes.Buffer
	if err := one.WriteSVG(&b); err != nil || strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
		t.Errorf("a single point: %v\n%s", err, b.String())
	}
}
