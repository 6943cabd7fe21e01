package query

import "unsafe"

// lend returns a string that shares the bytes of b. It holds until they change.
func lend(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
