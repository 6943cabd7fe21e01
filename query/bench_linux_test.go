package query

import "golang.org/x/sys/unix"

// threadTime returns how long this thread has run, in nanoseconds: what others run beside
// it on the machine does not count.
func threadTime() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
