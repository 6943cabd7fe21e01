package node

import (
	"context"
	"sync"
	"time"

	"github.com/trellisdb/trellis/storage/fault"
)

// coalescer asks another node many questions in few calls: what comes while
// its calls are under way gathers for the next. It is safe for concurrent use.
type coalescer[Q, A any] struct {
	call    func(context.Context, []Q) ([]A, error)
	size    func(Q) int   // what a question counts towards maxSize
	calls   int           // at most at the same time
	count   int           // questions in a call, at most
	maxSize int           // sum of sizes in a call, at most, unless one alone is larger
	timeout time.Duration // of a call

	running sync.WaitGroup
	mu      struct {
		sync.Mutex
		waiting []question[Q, A]
		calling int
		closed  bool
	}
}

type question[Q, A any] struct {
	q      Q
	answer func(A, error) // called once, and must not block
}

// maxWaiting bounds the questions that wait for one node.
const maxWaiting = 16384

// submit asks q. The answer may come before submit returns.
func (c *coalescer[Q, A]) submit(q Q, answer func(A, error)) {
	c.mu.Lock()
	var refusal error
	switch {
	case c.mu.closed:
		refusal = stopping()
	case len(c.mu.waiting) >= maxWaiting:
		refusal = fault.New(fault.Overloaded, "too much waits for another node, try again")
	}
	if refusal != nil {
		c.mu.Unlock()
		var none A
		answer(none, refusal)
		return
	}
	c.mu.waiting = append(c.mu.waiting, question[Q, A]{q, answer})
	if c.mu.calling < c.calls {
		c.mu.calling++
		c.running.Go(c.run)
	}
	c.mu.Unlock()
}

// askWhile waits for the answer to q until ctx ends or there is no use in it any
// more: the node asked is known not to lead.
func (c *coalescer[Q, A]) askWhile(ctx context.Context, useless <-chan struct{}, q Q) (A, error) {
	type reply struct {
		a   A
		err error
	}
	came := make(chan reply, 1)
	c.submit(q, func(a A, err error) { came <- reply{a, err} })
	var none A
	select {
	case r := <-came:
		return r.a, r.err
	case <-useless:
		return none, fault.New(fault.NoQuorum, "the leader has changed, try again")
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// run calls until nothing waits.
func (c *coalescer[Q, A]) run() {
	for {
		batch := c.take()
		if batch == nil {
			return
		}
		qs := make([]Q, len(batch))
		for i := range batch {
			qs[i] = batch[i].q
		}
		ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
		answers, err := c.call(ctx, qs)
		cancel()
		for i := range batch {
			var a A
			if err == nil {
				a = answers[i]
			}
			batch[i].answer(a, err)
		}
	}
}

// take removes the questions of the next call, or ends the caller if there are
// none.
func (c *coalescer[Q, A]) take() []question[Q, A] {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := 0, 0
	for n < len(c.mu.waiting) && n < c.count {
		if c.size != nil {
			if size += c.size(c.mu.waiting[n].q); n > 0 && size > c.maxSize {
				break
			}
		}
		n++
	}
	if n == 0 {
		c.mu.calling--
		return nil
	}
	batch := append([]question[Q, A](nil), c.mu.waiting[:n]...)
	rest := copy(c.mu.waiting, c.mu.waiting[n:])
	clear(c.mu.waiting[rest:])
	c.mu.waiting = c.mu.waiting[:rest]
	return batch
}

// close refuses further questions and waits for the calls under way.
func (c *coalescer[Q, A]) close() {
	c.mu.Lock()
	c.mu.closed = true
	c.mu.Unlock()
	c.running.Wait()
}
