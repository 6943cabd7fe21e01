package query

import (
	"unsafe"

	"github.com/trellisdb/trellis/storage/fault"
)

// lend returns a string that shares the bytes of b. It holds until they change.
func lend(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (s *search) tooCostly() error {
	return fault.New(fault.QueryTooCostly, "the query would examine more than %d keys", s.cfg.MaxKeys)
}
