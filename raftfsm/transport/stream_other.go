//go:build !linux

package transport

import "syscall"

// limitUnacknowledged does nothing where the system has no such setting; the
// time-out of an exchange is then the only limit.
func limitUnacknowledged(_, _ string, _ syscall.RawConn) error { return nil }
