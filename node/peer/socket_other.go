//go:build !linux

package peer

import "syscall"

// limitUnacknowledged does nothing where the system has no such setting;
// keep-alive and the time-outs of users are then the only limits.
func limitUnacknowledged(_, _ string, _ syscall.RawConn) error { return nil }
