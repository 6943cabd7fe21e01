package push

import (
	"time"

	"github.com/trellisdb/trellis/push/provider"
)

// How deliveries are tried again.
const (
	maxAttempts   = 5
	retryBase     = time.Second
	retryLifetime = time.Hour // after a delivery was queued
)

// again returns when a delivery is tried again that has ended so, and false if it is
// not: it was the last attempt allowed, or the next would come too late. attempt counts
// from 1; limit bounds what the service has not asked for; jitter is in [0, 1).
func again(r provider.Result, attempt int, limit time.Duration, now, began, expires time.Time, jitter float64) (time.Time, bool) {
	if attempt >= maxAttempts {
		return time.Time{}, false
	}
	wait := retryBase
	if r.Backoff > 0 {
		wait = r.Backoff
	}
	wait = min(wait<<(attempt-1), limit)
	wait = max(r.RetryAfter, time.Duration(float64(max(wait, r.RetryAfter))*(0.8+0.4*jitter)))
	at := now.Add(wait)
	if at.After(began.Add(retryLifetime)) || !expires.IsZero() && !at.Before(expires) {
		return time.Time{}, false
	}
	return at, true
}
