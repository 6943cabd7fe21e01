package raftfsm

import (
	"context"
	"sync"
	"sync/atomic"
)

// progress is the applied index, for those who wait for it.
type progress struct {
	index atomic.Uint64
	mu    struct {
		sync.Mutex
		waiting []waiter
	}
}

type waiter struct {
	index   uint64
	reached chan struct{}
}

// reach sets the index and wakes those it was enough for.
func (p *progress) reach(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index.Store(index)
	kept := p.mu.waiting[:0]
	for _, w := range p.mu.waiting {
		if w.index <= index {
			close(w.reached)
			continue
		}
		kept = append(kept, w)
	}
	clear(p.mu.waiting[len(kept):])
	p.mu.waiting = kept
}

func (p *progress) wait(ctx context.Context, index uint64) error {
	if p.index.Load() >= index {
		return nil
	}
	p.mu.Lock()
	if p.index.Load() >= index {
		p.mu.Unlock()
		return nil
	}
	w := waiter{index: index, reached: make(chan struct{})}
	p.mu.waiting = append(p.mu.waiting, w)
	p.mu.Unlock()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
		p.forget(w)
		return context.Cause(ctx)
	}
}

func (p *progress) forget(w waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.mu.waiting {
		if p.mu.waiting[i].reached == w.reached {
			last := len(p.mu.waiting) - 1
			p.mu.waiting[i] = p.mu.waiting[last]
			p.mu.waiting[last] = waiter{}
			p.mu.waiting = p.mu.waiting[:last]
			return
		}
	}
}

// Applied returns the index of the last log entry whose effect is visible.
func (m *Machine) Applied() uint64 { return m.applied.index.Load() }

// WaitApplied returns once the entry at index, and all before it, are visible
// to readers; or with the cause of ctx's end.
func (m *Machine) WaitApplied(ctx context.Context, index uint64) error {
	return m.applied.wait(ctx, index)
}
