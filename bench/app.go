package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/load"
	"github.com/trellisdb/trellis/bench/report"
	"github.com/trellisdb/trellis/bench/server"
)

// features is the app command: activities, feeds, counters and binary data beside
// plain entities and files, in one run.
type features struct {
	env         environment
	followers   []int
	posts       int
	connections int
	duration    time.Duration
	warmUp      time.Duration
	assetMB     int
	out         io.Writer

	applied
	report *report.Report
}

func appCommand() *cobra.Command {
	f := &features{}
	c := &cobra.Command{
		Use:   "app",
		Short: "Measure activities, feeds, counters and binary data beside entities and files",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.out = c.OutOrStdout()
			return f.run(c.Context())
		},
	}
	flags := c.Flags()
	f.env.ownFlags(flags)
	flags.IntSliceVar(&f.followers, "followers", []int{0, 100, 10_000}, "numbers of followers of those who post")
	flags.IntVar(&f.posts, "posts", 50, "posts of one who has followers, and activities in the feed that is read")
	flags.IntVar(&f.connections, "connections", 64, "connections that update entities and one counter")
	flags.DurationVar(&f.duration, "duration", 5*time.Second, "length of each measurement")
	flags.DurationVar(&f.warmUp, "warm-up", 2*time.Second, "unmeasured load before each")
	flags.IntVar(&f.assetMB, "asset-mb", 256, "megabytes of the binary data")
	return c
}

func (f *features) run(ctx context.Context) (err error) {
	if f.posts < 1 || f.assetMB < 1 || len(f.followers) == 0 || slices.Min(f.followers) < 0 {
		return errors.New("want at least one post, one megabyte and one number of followers")
	}
	const smallest = 5 // that the server takes as the largest
	f.env.args = append(f.env.args, "--max-asset-mb", strconv.Itoa(max(smallest, f.assetMB)))
	defer func() { err = errors.Join(err, f.env.close()) }()
	target, err := f.env.open(ctx)
	if err != nil {
		return err
	}
	f.applied = applied{addrs: []string{target.Addr}, app: target}
	f.report = &report.Report{Started: time.Now(), Machine: report.ThisMachine(), Settings: map[string]string{
		"measurement": f.duration.String() + " after " + f.warmUp.String() + " of warm-up",
		"posts":       strconv.Itoa(f.posts) + " by each who has followers",
	}}
	if err := f.counters(ctx); err != nil {
		return fmt.Errorf("counters: %w", err)
	}
	if err := f.feeds(ctx); err != nil {
		return fmt.Errorf("feeds: %w", err)
	}
	if err := f.report.WriteMarkdown(f.out); err != nil {
		return err
	}
	return f.asset(ctx)
}

// requests is a worker that sends what next writes.
type requests struct {
	target client.Target
	conn   *client.Conn
	next   func() (method, path string, body []byte)
}

func (f *features) worker(next func() (method, path string, body []byte)) load.Worker {
	return &requests{target: f.app, conn: client.NewConn(f.app.Addr, requestTimeout), next: next}
}

// Do implements load.Worker.
func (r *requests) Do() load.Outcome {
	method, path, body := r.next()
	status, _, err := r.conn.Do(r.target.Request(method, path, body))
	return load.Outcome{Status: status, Err: err}
}

// Close implements load.Worker.
func (r *requests) Close() error { return r.conn.Close() }

// measure carries out a plan, and compares its throughput with that of another row.
func (f *features) measure(ctx context.Context, name string, plan load.Plan, against string, worker func(i int) load.Worker) (report.Row, error) {
	result, spent, err := drive(ctx, plan, func(i int) (load.Worker, error) { return worker(i), nil }, func() []server.Usage {
		if u, ok := f.env.usage(); ok {
			return []server.Usage{u}
		}
		return nil
	})
	if err != nil {
		return report.Row{}, err
	}
	row := report.NewRow(name, plan, result)
	spent.on(&row)
	if other, found := f.report.Closed(against, plan.Connections); found {
		row.Against(report.Limit{Name: against, Connections: plan.Connections, Throughput: other.Throughput})
	}
	f.report.Rows = append(f.report.Rows, row)
	progress(row, "")
	return row, nil
}

func (f *features) loop(connections int) load.Plan {
	return load.Plan{Connections: connections, WarmUp: f.warmUp, Duration: f.duration}
}

// counters increments one counter that all connections share, beside updates of
// entities that they do not.
func (f *features) counters(ctx context.Context) error {
	const entities = 1000
	if err := f.fill(ctx, "items", "name", "i", entities); err != nil {
		return err
	}
	if _, err := f.measure(ctx, "update", f.loop(f.connections), "", func(i int) load.Worker {
		n := i * entities / f.connections
		return f.worker(func() (string, string, []byte) {
			n++
			return "PUT", f.app.Path("items", fmt.Sprintf("i%d", n%entities)), fmt.Appendf(nil, `{"number":%d}`, n)
		})
	}); err != nil {
		return err
	}
	if _, err := f.measure(ctx, "create", f.loop(f.connections), "", func(int) load.Worker {
		return f.worker(func() (string, string, []byte) {
			return "POST", f.app.Path("notes"), []byte(`{"timestamp":0,"category":"x"}`)
		})
	}); err != nil {
		return err
	}
	_, err := f.measure(ctx, "count on one counter", f.loop(f.connections), "update", func(int) load.Worker {
		return f.worker(func() (string, string, []byte) {
			return "POST", f.app.Path("events"), []byte(`{"timestamp":0,"counters":{"hot.hits":1}}`)
		})
	})
	return err
}

// feeds posts to followers, and reads a feed.
func (f *features) feeds(ctx context.Context) error {
	most := slices.Max(f.followers)
	if most > 0 {
		if err := f.fill(ctx, "users", "username", "reader", most); err != nil {
			return err
		}
	}
	slices.Sort(f.followers)
	first := fmt.Sprintf("post, %d followers", f.followers[0])
	for _, n := range f.followers {
		star := fmt.Sprintf("star%d-", n)
		if err := f.fill(ctx, "users", "username", star, 1); err != nil {
			return err
		}
		if err := f.each(ctx, n, func(ctx context.Context, q *asking, i int) error {
			return q.call(ctx, f.app, "POST", f.app.Path("users", fmt.Sprintf("reader%d", i), "following", "users", star+"0"), nil, "", nil)
		}); err != nil {
			return err
		}
		if err := f.post(ctx, n, star+"0", first); err != nil {
			return err
		}
	}
	for _, page := range []int{10, 200} {
		if most == 0 {
			break
		}
		if _, err := f.measure(ctx, fmt.Sprintf("read a feed, %d a page", page), f.loop(16), "", func(i int) load.Worker {
			return f.worker(func() (string, string, []byte) {
				i += 16
				return "GET", f.app.Path("users", fmt.Sprintf("reader%d", i%most), "feed") + "?limit=" + strconv.Itoa(page), nil
			})
		}); err != nil {
			return err
		}
	}
	return nil
}

// post posts one after the other over one connection, and waits until the last is in the
// feed of the last follower.
func (f *features) post(ctx context.Context, followers int, star, against string) error {
	plan := load.Plan{Connections: 1, Operations: uint64(f.posts)}
	if followers == 0 {
		plan = f.loop(1)
	}
	begin := time.Now()
	row, err := f.measure(ctx, fmt.Sprintf("post, %d followers", followers), plan, against, func(int) load.Worker {
		return f.worker(func() (string, string, []byte) {
			return "POST", f.app.Path("users", star, "activities"), []byte(`{"verb":"post","content":"to everybody who follows"}`)
		})
	})
	if err != nil || followers == 0 {
		return err
	}
	q := f.client(0)
	for reader := 0; reader < followers; { // who has all keeps them: look where one was missing
		var feed struct {
			Entities []struct{ Actor struct{ Username string } }
		}
		path := f.app.Path("users", fmt.Sprintf("reader%d", reader), "feed") + "?limit=" + strconv.Itoa(min(1000, f.posts))
		if err := q.call(ctx, f.app, "GET", path, nil, "", &feed); err != nil {
			return err
		}
		if len(feed.Entities) == min(1000, f.posts) && feed.Entities[len(feed.Entities)-1].Actor.Username == star {
			reader++
		} else if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	took := time.Since(begin)
	f.report.Settings[fmt.Sprintf("posts to %d followers", followers)] = fmt.Sprintf("all delivered in %s, %.0f entries of feeds a second, looking included",
		took.Round(time.Millisecond), float64(row.Succeeded)*float64(followers)/took.Seconds())
	return q.close()
}

// pattern is what binary data is made of.
func pattern(megabytes int) io.Reader {
	block := make([]byte, 1_000_000)
	for i := range block {
		block[i] = byte(i * i >> 7)
	}
	readers := make([]io.Reader, megabytes)
	for i := range readers {
		readers[i] = bytes.NewReader(block)
	}
	return io.MultiReader(readers...)
}
