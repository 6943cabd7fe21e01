package provider

import (
	"context"
	"errors"
	"sync"
)

// errClosed is the cause of a context that Close ended.
var errClosed = errors.New("the sender is closed")

// Life counts what runs in a sender, and ends it. Make one with NewLife.
type Life struct {
	stop context.Context
	end  context.CancelFunc
	mu   struct {
		sync.Mutex
		closed  bool
		running sync.WaitGroup
	}
}

// NewLife begins one. The caller ends it with Close.
func NewLife() *Life {
	l := &Life{}
	l.stop, l.end = context.WithCancel(context.Background())
	return l
}

// Begin makes the context of something that Close ends and waits for until done is
// called. After Close the context has ended already.
func (l *Life) Begin(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		cancel(errClosed)
		return ctx, func() {}
	}
	l.mu.running.Add(1)
	unhook := context.AfterFunc(l.stop, func() { cancel(errClosed) })
	return ctx, func() {
		unhook()
		cancel(nil)
		l.mu.running.Done()
	}
}

// Close ends all that has begun and waits until it is done. It may be called again.
func (l *Life) Close() {
	l.mu.Lock()
	l.mu.closed = true
	l.mu.Unlock()
	l.end()
	l.mu.running.Wait()
}
