package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trellisdb/trellis/storage/fault"
)

// doubler answers each question with its double, when the test lets it.
type doubler struct {
	gate  chan struct{}
	mu    sync.Mutex
	sizes []int
	most  atomic.Int32
	now   atomic.Int32
}

func (d *doubler) call(ctx context.Context, qs []int) ([]int, error) {
	d.most.Store(max(d.most.Load(), d.now.Add(1)))
	defer d.now.Add(-1)
	d.mu.Lock()
	d.sizes = append(d.sizes, len(qs))
	d.mu.Unlock()
	select {
	case <-d.gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	out := make([]int, len(qs))
	for i, q := range qs {
		if q < 0 {
			return nil, errors.New("negative")
		}
		out[i] = 2 * q
	}
	return out, nil
}

func (d *doubler) coalescer(calls, count int) *coalescer[int, int] {
	return &coalescer[int, int]{call: d.call, calls: calls, count: count, timeout: time.Minute}
}

// Whoever asks gets the answer to its own question; what comes while calls are
// under way shares the next, within the bounds.
func TestQuestionsShareCalls(t *testing.T) {
	d := &doubler{gate: make(chan struct{})}
	c := d.coalescer(2, 10)
	defer c.close()
	var asking sync.WaitGroup
	for q := range 42 {
		asking.Go(func() {
			a, err := c.askWhile(t.Context(), nil, q)
			if err != nil || a != 2*q {
				t.Errorf("%d is answered with %d, %v", q, a, err)
			}
		})
	}
	waitFor(t, "all are in the first two calls or wait", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		asked := 0
		for _, n := range d.sizes {
			asked += n
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return asked+len(c.mu.waiting) == 42
	})
	close(d.gate)
	asking.Wait()
	if d.most.Load() > 2 {
		t.Errorf("%d calls at a time, want 2 at most", d.most.Load())
	}
	for _, n := range d.sizes {
		if n > 10 {
			t.Errorf("a call of %d questions, want 10 at most", n)
		}
	}
	if len(d.sizes) > 2+4 { // the first two, and 40 others at most
		t.Errorf("%d calls for 42 questions", len(d.sizes))
	}
}

func TestSizesBoundACall(t *testing.T) {
	d := &doubler{gate: make(chan struct{})}
	close(d.gate)
	c := d.coalescer(1, 10)
	c.size, c.maxSize = func(q int) int { return q }, 100
	defer c.close()
	c.mu.waiting = []question[int, int]{{q: 500}, {q: 60}, {q: 40}, {q: 1}}
	for i := range c.mu.waiting {
		c.mu.waiting[i].answer = func(int, error) {}
	}
	c.mu.calling = 1
	c.run()
	if got := d.sizes; len(got) != 3 || got[0] != 1 || got[1] != 2 || got[2] != 1 {
		t.Errorf("calls of %v questions, want 1 (alone too large), 2 and 1", got)
	}
}

// An error is everybody's who shared the call; who has given up does not wait for
// it; and a closed one refuses.
func TestQuestionsEnd(t *testing.T) {
	d := &doubler{gate: make(chan struct{})}
	c := d.coalescer(1, 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.askWhile(ctx, nil, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	useless := make(chan struct{})
	close(useless)
	if _, err := c.askWhile(t.Context(), useless, 1); !fault.Is(err, fault.NoQuorum) {
		t.Errorf("useless: %v", err)
	}
	close(d.gate)
	if _, err := c.askWhile(t.Context(), nil, -1); err == nil {
		t.Error("no error of the call")
	}
	c.close()
	if _, err := c.askWhile(t.Context(), nil, 1); !fault.Is(err, fault.Stopping) {
		t.Errorf("closed: %v", err)
	}
}

// Only work that does not end while the watcher looks again and again has stalled.
func TestStallIsSeenInLooks(t *testing.T) {
	var s stall
	if s.look() != 0 {
		t.Error("nothing has stalled")
	}
	s.begin()
	for want := range 4 {
		if got := s.look(); got != want {
			t.Errorf("look %d sees %d", want, got)
		}
	}
	s.end()
	if s.look() != 0 {
		t.Error("it has ended")
	}
	s.begin()
	s.look()
	s.end()
	s.begin()
	if got := s.look(); got != 0 {
		t.Errorf("another piece of work is seen as the same: %d", got)
	}
}
