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

// Version counts the committed changes that concern who may do what in an
// application. What was derived is valid while the part of the version that it
// depends on, noted before deriving it, is unchanged.
type Version struct {
	// Principals grows with credentials, revoked tokens, users, groups, roles and who
	// is in them, and in the management application with everything but new tokens.
	Principals uint64
	// Grants grows with the permissions of users, groups and roles, and with roles.
	Grants uint64
}
