package history

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/trellisdb/trellis/bench/client"
)

// Mix is how often each kind of request is drawn, as weights.
type Mix struct{ Read, Create, Update, Delete, Walk, Stale int }

// DefaultMix works on all promises at once.
func DefaultMix() Mix {
	return Mix{Read: 340, Create: 210, Update: 200, Delete: 150, Walk: 5, Stale: 95}
}

// Config says what clients do.
type Config struct {
	Apps       []client.Target // their Addr is not used
	Nodes      []string        // addresses of the nodes
	Collection string
	Clients    int
	Seed       uint64
	Mix        Mix
	HotKeys    int           // keys in use at a time, per application
	PerKey     int           // operations after which a key is replaced
	Page       int           // limit of walks
	Attempt    time.Duration // time for one request, or a little more
	GiveUp     time.Duration // time for an operation with all its attempts
	Operations int           // per client; 0 is until the context ends
	Think      time.Duration // longest pause between operations; 0 is none
}

// DefaultConfig is a working configuration but for applications, nodes and
// collection.
func DefaultConfig() Config {
	return Config{Clients: 9, Mix: DefaultMix(), HotKeys: 6, PerKey: 250, Page: 20, Attempt: 2 * time.Second, GiveUp: 12 * time.Second}
}

// Recorder runs clients and keeps their history. Its methods are for one
// goroutine.
type Recorder struct {
	cfg     Config
	began   time.Time
	keys    *keyset
	history History
}

// NewRecorder begins an empty history.
func NewRecorder(cfg Config) (*Recorder, error) {
	m := cfg.Mix
	switch {
	case len(cfg.Apps) == 0 || len(cfg.Nodes) == 0 || cfg.Collection == "":
		return nil, fmt.Errorf("history: %d applications, %d nodes, collection %q: want some of each", len(cfg.Apps), len(cfg.Nodes), cfg.Collection)
	case cfg.Clients < 1 || cfg.Clients >= 1<<(53-clientShift):
		return nil, fmt.Errorf("history: %d clients", cfg.Clients)
	case m.Read+m.Create+m.Update+m.Delete+m.Walk+m.Stale < 1 || min(m.Read, m.Create, m.Update, m.Delete, m.Walk, m.Stale) < 0:
		return nil, fmt.Errorf("history: mix %+v", m)
	case cfg.HotKeys < 1 || cfg.PerKey < 1 || cfg.Attempt <= 0 || cfg.GiveUp <= 0 || cfg.Think < 0:
		return nil, fmt.Errorf("history: %d hot keys of %d operations, attempts of %s, giving up after %s, thinking for %s",
			cfg.HotKeys, cfg.PerKey, cfg.Attempt, cfg.GiveUp, cfg.Think)
	}
	cfg.Page = cmp.Or(cfg.Page, 20)
	return &Recorder{cfg: cfg, began: time.Now(), keys: newKeyset(len(cfg.Apps), cfg.HotKeys, cfg.PerKey)}, nil
}

// Now is the time since the history began, as its operations have it.
func (r *Recorder) Now() time.Duration { return time.Since(r.began) }

// Run lets the clients work until ctx ends or each has done its operations, and
// waits for them. It may be called once.
func (r *Recorder) Run(ctx context.Context) {
	clients := make([]*session, r.cfg.Clients)
	var done sync.WaitGroup
	for i := range clients {
		clients[i] = newSession(r, i)
		done.Go(func() { clients[i].run(ctx) })
	}
	done.Wait()
	for _, c := range clients {
		r.history.merge(c)
	}
	r.history.count()
}

// History is what has been recorded. Run must have returned.
func (r *Recorder) History() *History {
	r.history.count()
	return &r.history
}
