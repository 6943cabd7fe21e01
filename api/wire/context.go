package wire

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/trellisdb/trellis/api/auth"
	"github.com/trellisdb/trellis/storage/entity"
)

// deadlineContext is a context with a deadline that costs no timer until
// somebody waits for it: most reads never do.
type deadlineContext struct {
	context.Context // the server's own
	deadline        time.Time
	fresh           entity.Freshness // what the request asks of reads
	address         netip.Addr       // where it comes from

	mu struct {
		sync.Mutex
		waited context.Context
		cancel context.CancelFunc
		over   bool
	}
}

func newDeadlineContext(parent context.Context, start, deadline time.Time) *deadlineContext {
	return &deadlineContext{Context: parent, deadline: deadline, fresh: entity.Freshness{Since: start}}
}

// Value knows what the request asks of reads, and where it comes from.
func (c *deadlineContext) Value(key any) any {
	switch key {
	case entity.FreshnessKey{}:
		return &c.fresh
	case auth.AddressKey{}:
		return c.address
	}
	return c.Context.Value(key)
}

// Deadline returns the request's deadline.
func (c *deadlineContext) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deadline, true
}

// Done starts the timer when it is first called.
func (c *deadlineContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.waited == nil {
		c.mu.waited, c.mu.cancel = context.WithDeadline(c.Context, c.deadline)
		if c.mu.over {
			c.mu.cancel()
		}
	}
	return c.mu.waited.Done()
}

// Err reports why the context is over, without starting a timer.
func (c *deadlineContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.mu.waited != nil:
		return c.mu.waited.Err()
	case c.mu.over:
		return context.Canceled
	case !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

// renew moves the deadline, and asks for reads that are up to date from now on. The
// channel that Done returned before closes.
func (c *deadlineContext) renew(now time.Time, timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline, c.fresh.Since = now.Add(timeout), now
	if c.mu.cancel != nil {
		c.mu.cancel()
		c.mu.waited, c.mu.cancel = nil, nil
	}
}

// wrote asks for reads that are up to date from now on.
func (c *deadlineContext) wrote(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh.Since = now
}

// end releases the timer; the context is over for whoever still holds it.
func (c *deadlineContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.over = true
	if c.mu.cancel != nil {
		c.mu.cancel()
	}
}
