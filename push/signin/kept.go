package signin

import (
	"context"
	"sync"
	"time"
)

// kept is a document that is fetched when somebody needs it, by one at a time, and
// kept for a while. Nobody asks for it more often than the pause allows, whatever
// clients send.
type kept[T any] struct {
	fetch  func(ctx context.Context) (T, error)
	maxAge time.Duration // an older one is fetched anew before it is used
	pause  time.Duration // between two attempts, shorter than maxAge
	now    func() time.Time
	turn   chan struct{} // of size 1; who has put something in fetches
	mu     struct {
		sync.Mutex
		held[T]
		tried time.Time // the last attempt's end
		err   error     // of the last attempt
	}
}

// held is a document and when it was fetched. Version 0 is none.
type held[T any] struct {
	value   T
	version int
	fetched time.Time
}

func newKept[T any](maxAge, pause time.Duration, now func() time.Time, fetch func(ctx context.Context) (T, error)) *kept[T] {
	return &kept[T]{fetch: fetch, maxAge: maxAge, pause: pause, now: now, turn: make(chan struct{}, 1)}
}

// get returns the document; it fetches one if there is none or it is too old.
func (k *kept[T]) get(ctx context.Context) (held[T], error) {
	return k.after(ctx, 0)
}

// after returns a document of a later version than the one that is known. Within the
// pause after an attempt it returns what there is.
func (k *kept[T]) after(ctx context.Context, known int) (held[T], error) {
	if h, ok := k.fresh(known); ok {
		return h, nil
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return held[T]{}, unavailable(context.Cause(ctx))
	}
	// Whoever had the turn before may have fetched it, or tried.
	if h, ok := k.fresh(known); ok {
		return h, nil
	}
	if h, pausing, err := k.recent(); pausing {
		return h, err
	}
	value, err := k.fetch(ctx)
	if err != nil && ctx.Err() != nil {
		return held[T]{}, err // the caller has left: that says nothing of the service
	}
	return k.keep(value, err)
}

// fresh returns the document if it is later than known and not too old.
func (k *kept[T]) fresh(known int) (held[T], bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.mu.held
	return h, h.version > known && k.now().Sub(h.fetched) < k.maxAge
}

// recent returns what the last attempt came to, and whether the pause after it is
// not over.
func (k *kept[T]) recent() (h held[T], pausing bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.held, !k.mu.tried.IsZero() && k.now().Sub(k.mu.tried) < k.pause, k.mu.err
}

func (k *kept[T]) keep(value T, err error) (held[T], error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.tried, k.mu.err = k.now(), err
	if err != nil {
		return held[T]{}, err
	}
	k.mu.held = held[T]{value: value, version: k.mu.version + 1, fetched: k.mu.tried}
	return k.mu.held, nil
}
