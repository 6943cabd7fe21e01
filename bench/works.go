package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/data"
)

// workBatch is how many entities are created by one request.
const workBatch = 500

// fill creates entities in batches: names begin with a prefix, and a number follows.
func (a applied) fill(ctx context.Context, collection, property, prefix string, n int) error {
	return a.create(ctx, collection, prefix, n, func(b *bytes.Buffer, k int) error {
		fmt.Fprintf(b, `{%q:"%s%d","number":%d,"text":"what is written here is to be found again"}`, property, prefix, k, k)
		return nil
	})
}

// create creates n entities in batches, each as write writes its number. key and the
// collection tell the batches from others.
func (a applied) create(ctx context.Context, collection, key string, n int, write func(b *bytes.Buffer, k int) error) error {
	return a.each(ctx, (n+workBatch-1)/workBatch, func(ctx context.Context, q *asking, i int) error {
		var b bytes.Buffer
		for k := i * workBatch; k < min(n, (i+1)*workBatch); k++ {
			b.WriteByte([]byte("[,")[min(k-i*workBatch, 1)])
			if err := write(&b, k); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		var made client.Page
		err := q.call(ctx, a.app, "POST", a.app.Path(collection), b.Bytes(), fmt.Sprintf("fill-%s-%s-%d", collection, key, i), &made)
		if err == nil && len(made.Errors) > 0 {
			err = fmt.Errorf("%d entities of a batch were not created: %s", len(made.Errors), made.Errors[0].Error)
		}
		return err
	})
}

// countWork increments one counter, each time once however often it is asked.
type countWork struct {
	applied
	n int
}

func (w *countWork) prepare(context.Context) error { return nil }

func (w *countWork) run(ctx context.Context) error {
	return w.each(ctx, w.n, func(ctx context.Context, q *asking, i int) error {
		body := fmt.Appendf(nil, `{"timestamp":0,"counters":{"survived.hits":%d}}`, 1+i%3)
		return q.call(ctx, w.app, "POST", w.app.Path("events"), body, fmt.Sprintf("count-%d", i), nil)
	})
}

func (w *countWork) verify(ctx context.Context) error {
	want := int64(0)
	for i := range w.n {
		want += int64(1 + i%3)
	}
	q := w.client(0)
	for _, name := range []string{"survived.hits", "survived"} {
		var said struct {
			Counters []struct {
				Values []struct{ Value int64 }
			}
		}
		if err := q.call(ctx, w.app, "GET", w.app.Path("counters")+"?counter="+name, nil, "", &said); err != nil {
			return err
		}
		if len(said.Counters) != 1 || len(said.Counters[0].Values) != 1 || said.Counters[0].Values[0].Value != want {
			return fmt.Errorf("counter %s is %+v, want %d", name, said.Counters, want)
		}
	}
	return q.close()
}

// feedWork brings an activity into the feeds of many.
type feedWork struct {
	applied
	followers int
	post      string // uuid
}

func (w *feedWork) prepare(ctx context.Context) error {
	if err := w.fill(ctx, "users", "username", "reader", w.followers); err != nil {
		return err
	}
	if err := w.fill(ctx, "users", "username", "star", 1); err != nil {
		return err
	}
	return w.each(ctx, w.followers, func(ctx context.Context, q *asking, i int) error {
		return q.call(ctx, w.app, "POST", w.app.Path("users", fmt.Sprintf("reader%d", i), "following", "users", "star0"), nil, fmt.Sprintf("follow-%d", i), nil)
	})
}

func (w *feedWork) run(ctx context.Context) error {
	q := w.client(0)
	var made struct{ Entities []struct{ UUID string } }
	body := []byte(`{"verb":"post","content":"to everybody"}`)
	if err := q.call(ctx, w.app, "POST", w.app.Path("users", "star0", "activities"), body, "post", &made); err != nil {
		return err
	}
	if len(made.Entities) != 1 {
		return fmt.Errorf("%d activities were made", len(made.Entities))
	}
	w.post = made.Entities[0].UUID
	for next := 0; next < w.followers; { // who has it keeps it: look where it was missing
		n, err := w.posts(ctx, q, next)
		switch {
		case err != nil:
			return err
		case n == 1:
			next++
		case n > 1:
			return fmt.Errorf("reader%d has it %d times", next, n)
		default:
			if err := sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return q.close()
}

// posts counts what is in the feed of a follower, which must be the post.
func (w *feedWork) posts(ctx context.Context, q *asking, i int) (int, error) {
	var feed struct{ Entities []struct{ UUID string } }
	err := q.call(ctx, w.app, "GET", w.app.Path("users", fmt.Sprintf("reader%d", i), "feed"), nil, "", &feed)
	for _, e := range feed.Entities {
		if e.UUID != w.post {
			err = errors.Join(err, fmt.Errorf("reader%d has %s in the feed, which is not the post", i, e.UUID))
		}
	}
	return len(feed.Entities), err
}

func (w *feedWork) verify(ctx context.Context) error {
	return w.each(ctx, w.followers, func(ctx context.Context, q *asking, i int) error {
		n, err := w.posts(ctx, q, i)
		if err == nil && n != 1 {
			err = fmt.Errorf("reader%d has the post %d times in the feed", i, n)
		}
		return err
	})
}

// clearWork removes all entities of a collection.
type clearWork struct {
	applied
	entities int
}

// keptEntities is how many another collection has, and those that come late.
const keptEntities = 1000

func (w *clearWork) prepare(ctx context.Context) error {
	err := w.fill(ctx, "ruins", "name", "d", w.entities)
	if err == nil {
		err = w.fill(ctx, "relics", "name", "k", keptEntities)
	}
	return err
}

func (w *clearWork) run(ctx context.Context) error {
	q := w.client(0)
	var job struct {
		ID     string `json:"jobId"`
		Status string `json:"status"`
	}
	if err := q.call(ctx, w.app, "POST", w.app.Path("ruins", "_clear"), []byte("{}"), "clear", &job); err != nil {
		return err
	}
	if err := w.fill(ctx, "ruins", "name", "late", keptEntities); err != nil { // created after the start: they survive
		return err
	}
	for {
		err := q.call(ctx, w.app, "GET", w.app.Path("ruins", "_clear", job.ID), nil, "", &job)
		if err != nil || job.Status == "COMPLETE" {
			return errors.Join(err, q.close())
		}
		if job.Status == "FAILED" {
			return errors.New("the job has failed")
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func (w *clearWork) verify(context.Context) error {
	conn := client.NewConn(w.addrs[0], requestTimeout)
	defer conn.Close() //nolint:errcheck // nothing is pending on it
	app := w.app.At(w.addrs[0])
	counts, err := app.Counts(conn)
	if err != nil {
		return err
	}
	for _, collection := range []string{"ruins", "relics"} {
		n := 0
		err := app.Walk(conn, collection, 1000, func(raw json.RawMessage) error {
			var e struct{ Name string }
			if err := json.Unmarshal(raw, &e); err != nil {
				return err
			}
			if n++; e.Name[0] == 'd' {
				return fmt.Errorf("entity %s is there", e.Name)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("collection %s: %w", collection, err)
		}
		if n != keptEntities || counts[collection] != keptEntities {
			return fmt.Errorf("collection %s has %d entities and says %d, want %d", collection, n, counts[collection], keptEntities)
		}
	}
	return nil
}

// importWork imports places that were exported, by the server's own command line,
// until it succeeds.
type importWork struct {
	applied
	to              client.Target
	places          []data.Place
	binary, scratch string
	password        string // the superuser's
}

// errRefused is an import or export that would not fare better at another try.
var errRefused = errors.New("it is refused")

func (w *importWork) prepare(ctx context.Context) error {
	err := w.create(ctx, "places", "p", len(w.places), func(b *bytes.Buffer, k int) error {
		text, err := json.Marshal(w.places[k])
		b.Write(text)
		return err
	})
	if err != nil {
		return err
	}
	err = w.each(ctx, len(w.places)/10, func(ctx context.Context, q *asking, i int) error {
		path := w.app.Path("places", w.places[i].Name, "likes", "places", w.places[i*7%len(w.places)].Name)
		return q.call(ctx, w.app, "POST", path, nil, fmt.Sprintf("like-%d", i), nil)
	})
	if err != nil {
		return err
	}
	return w.port(ctx, w.app, 0, "export", "-o", w.file("before"))
}

func (w *importWork) file(name string) string { return filepath.Join(w.scratch, name+".ndjson") }

// port runs the export or import command of the server.
func (w *importWork) port(ctx context.Context, app client.Target, node int, command string, args ...string) error {
	args = append([]string{command, "--url", (&url.URL{Scheme: "http", Host: w.addrs[node]}).String(), "--org", app.Org, "--app", app.App}, args...)
	cmd := exec.CommandContext(ctx, w.binary, args...)
	cmd.Env = append(os.Environ(), "TRELLIS_SUPERUSER_PASSWORD="+w.password)
	said, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case bytes.Contains(said, []byte(" answers 4")):
		return fmt.Errorf("trellis %s: %w: %.300s", command, errRefused, said)
	}
	return fmt.Errorf("trellis %s: %w: %.300s", command, err, said)
}

func (w *importWork) run(ctx context.Context) error {
	var err error
	for node := 0; ctx.Err() == nil; node = (node + 1) % len(w.addrs) {
		if err = w.port(ctx, w.to, node, "import", w.file("before")); err == nil || errors.Is(err, errRefused) {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			break
		}
	}
	return errors.Join(err, ctx.Err())
}

func (w *importWork) verify(ctx context.Context) error {
	if err := w.port(ctx, w.to, 0, "export", "-o", w.file("after")); err != nil {
		return err
	}
	before, err := os.ReadFile(w.file("before"))
	if err != nil {
		return fmt.Errorf("read the export: %w", err)
	}
	after, err := os.ReadFile(w.file("after"))
	if err != nil {
		return fmt.Errorf("read the export: %w", err)
	}
	lines := func(b []byte) [][]byte { // without those of what locate has written
		return slices.DeleteFunc(bytes.Split(bytes.TrimSpace(b), []byte{'\n'}), func(line []byte) bool { return bytes.Contains(line, []byte(`"probes"`)) })
	}
	was, is := lines(before), lines(after)
	if len(was) != len(is) || len(was) < len(w.places) {
		return fmt.Errorf("%d lines were exported, %d are there", len(was), len(is))
	}
	for i := 1; i < len(was)-1; i++ { // the first and the last name the application and the time
		if !bytes.Equal(was[i], is[i]) {
			return fmt.Errorf("line %d was %.200s, and is %.200s", i+1, was[i], is[i])
		}
	}
	return nil
}
