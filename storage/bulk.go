package storage

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// bulkValue is from what size on a value is bulk: chunks of blobs are, in the state
	// and in the log, and nothing that entities usually are.
	bulkValue = 48 << 10
	// bulkShare is how much bulk a memtable takes before it is flushed: so many parts of
	// its size.
	bulkShare = 8
)

// bulk flushes a memtable early while bulk goes into it. Large memtables serve small
// values, of which many are changed again or deleted before they are flushed; bulk is
// written once, and would only hold the memory.
type bulk struct {
	db    *pebble.DB
	limit uint64 // bytes of bulk, between two flushes
	mu    struct {
		sync.Mutex
		bytes   uint64          // since the last flush
		flushed <-chan struct{} // closed when that is done; nil before the first
	}
}

// wrote notes how many bytes of bulk were committed. If the last flush lags behind it
// waits for that, as Pebble lets writers wait whose memtables are full.
func (b *bulk) wrote(size int) error {
	if size == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.bytes += uint64(size); b.mu.bytes < b.limit { // #nosec G115 -- of bytes in memory
		return nil
	}
	if b.mu.flushed != nil {
		<-b.mu.flushed
	}
	flushed, err := b.db.AsyncFlush()
	b.mu.bytes, b.mu.flushed = 0, flushed
	return err
}

// bulkOf is how many bytes of bulk a value of a size is.
func bulkOf(size int) int {
	if size < bulkValue {
		return 0
	}
	return size
}
