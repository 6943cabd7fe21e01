package entity

import (
	"context"
	"time"
)

// Freshness is what a request asks of the reads made on its behalf.
type Freshness struct {
	Since time.Time // reads show all that was acknowledged before it, by the monotonic clock
	Stale bool      // or else the local replica as it is, however old
}

// FreshnessKey is the key under which a context holds a *Freshness.
type FreshnessKey struct{}

// FreshnessOf returns what a context asks of reads. One that says nothing asks
// for all that was acknowledged before this call.
func FreshnessOf(ctx context.Context) Freshness {
	if f, ok := ctx.Value(FreshnessKey{}).(*Freshness); ok {
		return *f
	}
	return Freshness{Since: time.Now()}
}
