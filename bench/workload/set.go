package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/data"
)

// Collections the workloads use: one is read and updated, one is created in.
const (
	readCollection   = "items"
	createCollection = "orders"
	namePrefix       = "item"
	batchSize        = 500
	idBytes          = 36 // of a UUID as text
)

// Config says what a Set holds.
type Config struct {
	Seed     uint64
	Entities int           // in the collection that is read
	PageSize int           // of the list workload
	Timeout  time.Duration // of one request
}

// Set is a filled collection, and what is needed to ask for its entities.
type Set struct {
	target client.Target
	cfg    Config
	run    uint64   // makes names of created entities unique among runs
	ids    [][]byte // uuid of entity n
	zipf   *data.Zipf

	readPath, createPath string

	created atomic.Uint64 // numbers given to workers that create
}

// Prepare fills the collection unless it already holds the entities of cfg.
func Prepare(ctx context.Context, target client.Target, cfg Config) (*Set, error) {
	if cfg.Entities < 2 || cfg.PageSize < 1 || cfg.PageSize > 1000 {
		return nil, fmt.Errorf("prepare: %d entities in pages of %d, want at least 2 in pages of 1 to 1000", cfg.Entities, cfg.PageSize)
	}
	zipf, err := data.NewZipf(uint64(cfg.Entities), data.Theta)
	if err != nil {
		return nil, err
	}
	s := &Set{target: target, cfg: cfg, run: uint64(time.Now().UnixMilli()), ids: make([][]byte, cfg.Entities), zipf: zipf,
		readPath: target.Path(readCollection), createPath: target.Path(createCollection)}
	if err := s.find(); err == nil {
		return s, nil
	}
	const loaders = 4
	if err := Fill(ctx, target, Filling{Collection: readCollection, Prefix: namePrefix, Seed: cfg.Seed,
		Entities: cfg.Entities, Connections: loaders, Batch: batchSize, Timeout: cfg.Timeout}); err != nil {
		return nil, err
	}
	if err := s.find(); err != nil {
		return nil, err
	}
	return s, nil
}

// find learns the uuid of every entity by walking the collection.
func (s *Set) find() error {
	c := client.NewConn(s.target.Addr, s.cfg.Timeout)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	missing := s.cfg.Entities
	clear(s.ids)
	prefix := strings.TrimSuffix(data.Name(namePrefix, s.cfg.Seed, 0), "0")
	err := s.target.Walk(c, readCollection, 1000, func(raw json.RawMessage) error {
		var e struct {
			UUID string `json:"uuid"`
			Name string `json:"name"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return fmt.Errorf("decode entity: %w", err)
		}
		number, ok := strings.CutPrefix(e.Name, prefix)
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || n >= len(s.ids) {
			return nil // of another seed or a larger set
		}
		if len(e.UUID) != idBytes {
			return fmt.Errorf("entity %s has uuid %q", e.Name, e.UUID)
		}
		if s.ids[n] == nil {
			missing--
		}
		s.ids[n] = []byte(e.UUID)
		return nil
	})
	if err != nil {
		return fmt.Errorf("find the entities: %w", err)
	}
	if missing > 0 {
		return fmt.Errorf("find the entities: %d of %d are not in collection %s", missing, s.cfg.Entities, readCollection)
	}
	return nil
}

// EntityAnswerBytes asks for one entity and gives the size of the answer.
func (s *Set) EntityAnswerBytes() (int, error) {
	return s.answerBytes(s.target.Path(readCollection, string(s.ids[0])))
}

// PageAnswerBytes asks for one page and gives the size of the answer.
func (s *Set) PageAnswerBytes() (int, error) {
	return s.answerBytes(s.target.Path(readCollection) + "?limit=" + strconv.Itoa(s.cfg.PageSize))
}

func (s *Set) answerBytes(path string) (int, error) {
	c := client.NewConn(s.target.Addr, s.cfg.Timeout)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	status, body, err := c.Do(s.target.Request(http.MethodGet, path, nil))
	if err != nil {
		return 0, fmt.Errorf("GET %s: %w", path, err)
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("GET %s: status %d", path, status)
	}
	return len(body), nil
}

// Filling says which entities are stored where.
type Filling struct {
	Collection  string
	Prefix      string
	Seed        uint64
	First       int // number of the first entity
	Entities    int
	Connections int
	Batch       int // entities a request; 1 sends objects instead of arrays
	Timeout     time.Duration
	Progress    func(stored int) // called now and then, by several goroutines; may be nil

	// Append appends the JSON of an entity by its number; nil: that of data.AppendEntity
	// with Prefix and Seed.
	Append func(dst []byte, n uint64) []byte
}

// Fill stores generated entities. Those already there by name are left alone.
func Fill(ctx context.Context, t client.Target, f Filling) error {
	if f.Entities < 1 || f.Connections < 1 || f.Batch < 1 {
		return fmt.Errorf("fill: %d entities over %d connections in batches of %d", f.Entities, f.Connections, f.Batch)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, stored atomic.Int64
	var done sync.WaitGroup
	for range f.Connections {
		done.Go(func() {
			if err := f.work(ctx, t, &next, &stored); err != nil {
				cancel(err)
			}
		})
	}
	done.Wait()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("fill %s: %w", f.Collection, err)
	}
	return nil
}

func (f Filling) work(ctx context.Context, t client.Target, next, stored *atomic.Int64) error {
	c := client.NewConn(t.Addr, f.Timeout)
	defer c.Close() //nolint:errcheck // nothing is pending on it
	path := t.Path(f.Collection)
	add := f.Append
	if add == nil {
		add = func(dst []byte, n uint64) []byte { return data.AppendEntity(dst, f.Prefix, f.Seed, n) }
	}
	var body, request []byte
	for ctx.Err() == nil {
		last := int(next.Add(int64(f.Batch)))
		first := last - f.Batch
		last = min(last, f.Entities)
		if first >= last {
			return nil
		}
		body = body[:0]
		if f.Batch > 1 {
			body = append(body, '[')
		}
		for n := first; n < last; n++ {
			if n > first {
				body = append(body, ',')
			}
			body = add(body, uint64(f.First+n))
		}
		if f.Batch > 1 {
			body = append(body, ']')
		}
		request = client.AppendRequest(request[:0], http.MethodPost, path, t.Addr, t.Token, body)
		status, answer, err := c.Do(request)
		if err != nil {
			return fmt.Errorf("POST %s: %w", path, err)
		}
		if err := checkStored(status, answer, last-first); err != nil {
			return fmt.Errorf("POST %s: %w", path, err)
		}
		if now := stored.Add(int64(last - first)); f.Progress != nil {
			f.Progress(int(now))
		}
	}
	return nil
}

// checkStored accepts an answer that stored all, or left out only what was
// there already.
func checkStored(status int, answer []byte, want int) error {
	if status == http.StatusBadRequest && want == 1 && bytes.Contains(answer, []byte("duplicate_unique_property_exists")) {
		return nil
	}
	if status != http.StatusOK {
		return fmt.Errorf("status %d: %.200q", status, answer)
	}
	if countEntities(answer) == want {
		return nil
	}
	var page client.Page
	if err := json.Unmarshal(answer, &page); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	for _, e := range page.Errors {
		if e.Error != "duplicate_unique_property_exists" {
			return fmt.Errorf("element %d: %s", e.Index, e.Error)
		}
	}
	if len(page.Entities)+len(page.Errors) != want {
		return errors.New("the answer names fewer entities and errors than were sent")
	}
	return nil
}

// countEntities counts the entities of an envelope without decoding it: of
// generated ones none holds a property "uuid" of its own. (What is looked for
// does not begin with a quote, of which there are too many.)
func countEntities(answer []byte) int { return bytes.Count(answer, []byte(`uuid":"`)) }
