package query

import (
	"unsafe"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func readSettings(_ storage.Reader, _ entity.AppID, _ entity.CollectionID) (entity.Settings, error) {
	return entity.Defaults(), nil
}

// lend returns a string that shares the bytes of b. It holds until they change.
func lend(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (s *search) tooCostly() error {
	return fault.New(fault.QueryTooCostly, "the query would examine more than %d keys", s.cfg.MaxKeys)
}
