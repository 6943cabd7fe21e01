package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/cluster"
	"github.com/trellisdb/trellis/bench/data"
	"github.com/trellisdb/trellis/bench/limit"
	"github.com/trellisdb/trellis/bench/load"
	"github.com/trellisdb/trellis/bench/report"
	"github.com/trellisdb/trellis/bench/server"
	"github.com/trellisdb/trellis/bench/workload"
)

// runner is the run command: every workload at every number of connections,
// and the limits beside them; then the same of a cluster, if one is wanted.
type runner struct {
	env         environment
	connections []int
	workloads   []string
	duration    time.Duration
	warmUp      time.Duration
	operations  uint64
	rate        float64
	openShare   float64
	entities    int
	pageSize    int
	seed        uint64
	limits      bool
	nodes       int
	jsonFile    string
	mdFile      string

	set    *workload.Set
	report *report.Report
	out    io.Writer
}

func runCommand() *cobra.Command {
	r := &runner{}
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the workloads and compare them with the limits of the machine",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r.out = c.OutOrStdout()
			return r.run(c.Context())
		},
	}
	f := c.Flags()
	r.env.flags(f)
	f.IntSliceVar(&r.connections, "connections", []int{1, 16, 64}, "numbers of connections")
	f.StringSliceVar(&r.workloads, "workloads", nil, "workloads to run (default: all)")
	f.DurationVar(&r.duration, "duration", 5*time.Second, "length of each measurement")
	f.DurationVar(&r.warmUp, "warm-up", 2*time.Second, "unmeasured load before each")
	f.Uint64Var(&r.operations, "operations", 0, "end a measurement after so many operations; 0 is no bound")
	f.Float64Var(&r.rate, "rate", 0, "operations a second of an open loop; 0 is a closed loop")
	f.Float64Var(&r.openShare, "open", 0, "after each closed loop, an open one at this share of its throughput; 0 is none")
	f.IntVar(&r.entities, "entities", 20000, "entities in the collection that is read and updated")
	f.IntVar(&r.pageSize, "page", 100, "limit of the list workload")
	f.Uint64Var(&r.seed, "seed", 1, "seed of entities and keys")
	f.BoolVar(&r.limits, "limits", true, "measure the limits of the machine beside each number of connections")
	f.IntVar(&r.nodes, "nodes", 1, fmt.Sprintf("measure a cluster of so many nodes beside the one, up to %d; 1 is none", cluster.Most))
	f.StringVar(&r.jsonFile, "json", "", "write the report as JSON to this file")
	f.StringVar(&r.mdFile, "markdown", "", "write the report as Markdown to this file, besides printing it")
	return c
}

func (r *runner) plan(connections int) load.Plan {
	return load.Plan{Connections: connections, Rate: r.rate, WarmUp: r.warmUp, Duration: r.duration, Operations: r.operations, Grace: 10 * time.Second}
}

func (r *runner) run(ctx context.Context) (err error) {
	kinds := workload.Kinds()
	if len(r.workloads) > 0 {
		kinds = kinds[:0]
		for _, name := range r.workloads {
			k, err := workload.ParseKind(name)
			if err != nil {
				return err
			}
			kinds = append(kinds, k)
		}
	}
	for _, n := range r.connections {
		if err := r.plan(n).Check(); err != nil {
			return err
		}
	}
	if r.nodes < 1 || r.nodes > cluster.Most || r.nodes > 1 && !r.env.own() {
		return fmt.Errorf("--nodes is %d, want 1 to %d, and 1 with --url", r.nodes, cluster.Most)
	}
	several := &several{runner: r, stand: stand{nodes: r.nodes, parent: r.disk()}}
	defer func() { err = errors.Join(err, r.env.close()) }()
	target, err := r.env.open(ctx)
	if err != nil {
		return err
	}
	r.set, err = workload.Prepare(ctx, target, r.contents())
	if err != nil {
		return err
	}
	r.report = &report.Report{Started: time.Now(), Machine: report.ThisMachine(), Settings: map[string]string{
		"entities":    strconv.Itoa(r.entities) + " of " + strconv.Itoa(data.EntityBytes) + " bytes",
		"measurement": r.duration.String() + " after " + r.warmUp.String() + " of warm-up",
		"page":        strconv.Itoa(r.pageSize),
		"seed":        strconv.FormatUint(r.seed, 10),
	}}
	if r.nodes > 1 {
		defer func() { err = errors.Join(err, several.stand.close(err != nil)) }()
		if err := several.open(ctx); err != nil {
			return fmt.Errorf("%d nodes: %w", r.nodes, err)
		}
	}
	for _, n := range r.connections {
		limits, err := r.measureLimits(ctx, target, n)
		if err != nil {
			return err
		}
		for _, k := range kinds {
			if err := r.measure(ctx, k, n, limits); err != nil {
				return fmt.Errorf("%s over %d connections: %w", k, n, err)
			}
		}
		if r.nodes > 1 {
			if err := several.level(ctx, n, limits); err != nil {
				return fmt.Errorf("%d nodes: %w", r.nodes, err)
			}
		}
	}
	return r.write()
}

// contents is what the collections hold, of one node as of several.
func (r *runner) contents() workload.Config {
	return workload.Config{Seed: r.seed, Entities: r.entities, PageSize: r.pageSize, Timeout: requestTimeout}
}

// measure runs one workload, and an open loop after it if one is wanted.
func (r *runner) measure(ctx context.Context, kind workload.Kind, connections int, limits map[workload.Kind]report.Limit) error {
	return r.loops(connections, func(plan load.Plan) (report.Row, error) {
		result, spent, err := drive(ctx, plan, func(i int) (load.Worker, error) { return r.set.Worker(kind, i) }, r.usage)
		if err != nil {
			return report.Row{}, err
		}
		row := report.NewRow(string(kind), plan, result)
		spent.on(&row)
		row.Against(limits[kind])
		r.add(row)
		return row, nil
	})
}

// loops measures once as it is asked for, and in an open loop after a closed
// one if one is wanted.
func (r *runner) loops(connections int, measure func(load.Plan) (report.Row, error)) error {
	plan := r.plan(connections)
	row, err := measure(plan)
	if err != nil || plan.Rate > 0 || r.openShare <= 0 {
		return err
	}
	if plan.Rate = row.Throughput * r.openShare; plan.Rate < 1 {
		return nil
	}
	_, err = measure(plan)
	return err
}

// spent is what servers had used before and after a measurement, nothing if
// that is unknown, and the CPU time of this process in between.
type spent struct {
	before, after []server.Usage
	client        time.Duration
}

// on sets what a row cost a single server.
func (s spent) on(row *report.Row) {
	if len(s.before) == 1 && len(s.after) == 1 {
		row.Spend(s.before[0], s.after[0], s.client)
	}
}

// drive carries out a plan and looks at what it cost.
func drive(ctx context.Context, plan load.Plan, worker func(int) (load.Worker, error), usage func() []server.Usage) (*load.Result, spent, error) {
	var s spent
	result, err := load.Run(ctx, plan, worker, func() {
		s.before, s.client = usage(), server.Own()
	})
	if err != nil {
		return nil, s, err
	}
	s.client = server.Own() - s.client
	s.after = usage()
	return result, s, nil
}

// usage is what the single node has used.
func (r *runner) usage() []server.Usage {
	if u, ok := r.env.usage(); ok {
		return []server.Usage{u}
	}
	return nil
}

func (r *runner) add(row report.Row) {
	r.report.Rows = append(r.report.Rows, row)
	progress(row, "")
}

// progress tells who waits for the report how a measurement went.
func progress(row report.Row, through string) {
	fmt.Fprintf(os.Stderr, "%-40s %-8s %3d connections %9.0f/s  p50 %6.0f µs  p99 %6.0f µs  errors %v\n",
		row.Workload, through, row.Connections, row.Throughput, row.Latency.P50, row.Latency.P99, row.Errors)
}

// measureLimits measures what the machine allows at a number of connections,
// in processes of their own.
func (r *runner) measureLimits(ctx context.Context, target client.Target, connections int) (map[workload.Kind]report.Limit, error) {
	if !r.limits {
		return nil, nil
	}
	entity, err := r.set.EntityAnswerBytes()
	if err != nil {
		return nil, err
	}
	page, err := r.set.PageAnswerBytes()
	if err != nil {
		return nil, err
	}
	bare, err := r.bare(ctx, target, connections, "bare handler", entity)
	if err != nil {
		return nil, fmt.Errorf("bare handler: %w", err)
	}
	barePage, err := r.bare(ctx, target, connections, "bare page", page)
	if err != nil {
		return nil, fmt.Errorf("bare handler: %w", err)
	}
	row, err := r.commit(ctx, connections, 1)
	if err != nil {
		return nil, fmt.Errorf("raft and pebble alone: %w", err)
	}
	r.add(row)
	commit := report.Limit{Name: commitLimit(1), Connections: connections, Throughput: row.Throughput}
	return map[workload.Kind]report.Limit{
		workload.GetID: bare, workload.GetName: bare, workload.List: barePage,
		workload.Create: commit, workload.Update: commit, workload.Mixed: report.Mix(workload.MixedReads, bare, commit),
	}, nil
}

// child starts the harness again as one of the limits.
func child(ctx context.Context, args ...string) (*exec.Cmd, io.ReadCloser, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find own binary: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"limit"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start %v: %w", args, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %v: %w", args, err)
	}
	return cmd, out, nil
}

// bare measures the bare handler with answers of a size.
func (r *runner) bare(ctx context.Context, target client.Target, connections int, name string, bytes int) (report.Limit, error) {
	childCtx, cancel := context.WithCancel(ctx)
	cmd, out, err := child(childCtx, "http")
	if err != nil {
		cancel()
		return report.Limit{}, err
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was killed: its status says nothing
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return report.Limit{}, fmt.Errorf("read its address: %w", err)
	}
	addr := strings.TrimSpace(line)
	request := client.AppendRequest(nil, "GET", limit.Path(bytes), addr, target.Token, nil)
	plan := r.plan(connections)
	plan.Rate = 0
	result, spent, err := drive(ctx, plan, func(int) (load.Worker, error) {
		return &bareWorker{conn: client.NewConn(addr, requestTimeout), request: request, bytes: bytes}, nil
	}, func() []server.Usage {
		u, err := server.Read(cmd.Process.Pid, "", "")
		if err != nil {
			return nil
		}
		return []server.Usage{u}
	})
	if err != nil {
		return report.Limit{}, err
	}
	row := report.NewRow(fmt.Sprintf("limit: %s, %d bytes", name, bytes), plan, result)
	spent.on(&row)
	r.add(row)
	return report.Limit{Name: name, Connections: connections, Throughput: row.Throughput}, nil
}

// bareWorker repeats one request.
type bareWorker struct {
	conn    *client.Conn
	request []byte
	bytes   int
}

// Do implements load.Worker.
func (w *bareWorker) Do() load.Outcome {
	status, body, err := w.conn.Do(w.request)
	if err == nil && len(body) != w.bytes {
		err = fmt.Errorf("answer of %d bytes, want %d", len(body), w.bytes)
	}
	return load.Outcome{Status: status, Err: err}
}

// Close implements load.Worker.
func (w *bareWorker) Close() error { return w.conn.Close() }

// commit measures Raft and Pebble alone in a group of some nodes, beside the
// server's data directory so that both write to one disk.
func (r *runner) commit(ctx context.Context, connections, nodes int) (report.Row, error) {
	dir, err := os.MkdirTemp(r.disk(), "trellis-limit-")
	if err != nil {
		return report.Row{}, fmt.Errorf("make its folder: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // scratch
	cmd, out, err := child(ctx, "raft", "--dir", dir, "--nodes", strconv.Itoa(nodes), "--connections", strconv.Itoa(connections), "--bytes", strconv.Itoa(data.EntityBytes),
		"--duration", r.duration.String(), "--warm-up", r.warmUp.String(), "--operations", strconv.FormatUint(r.operations, 10))
	if err != nil {
		return report.Row{}, err
	}
	var row report.Row
	decodeErr := json.NewDecoder(out).Decode(&row)
	return row, errors.Join(cmd.Wait(), decodeErr)
}

// disk is the folder the server's data directory is in, "" for the system's
// folder of scratch files.
func (r *runner) disk() string {
	if !r.env.own() || r.env.dataDir == "" {
		return ""
	}
	return filepath.Dir(r.env.dataDir)
}

// write writes the report to where it is wanted.
func (r *runner) write() error {
	if err := r.report.WriteMarkdown(r.out); err != nil {
		return err
	}
	return errors.Join(toFile(r.jsonFile, r.report.WriteJSON), toFile(r.mdFile, r.report.WriteMarkdown))
}

func toFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return errors.Join(write(f), f.Close())
}
