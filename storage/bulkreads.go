package storage

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// bulkRoom is how much larger the block cache may become for chunks of blobs.
	bulkRoom = 1 << 20
	// bulkMisses is how many blocks a chunk is thought to bring, with those that lead to
	// it and those of other tables that might have had it.
	bulkMisses = 4
	// bulkIdle is after how many looks without a chunk read the cache has all its room
	// again.
	bulkIdle = 8
)

// bulkReads keeps chunks of blobs from filling the block cache: they are read once, and
// would only hold the memory, or drive out what is read often. While chunks are read the
// cache keeps the size it has, grows by bulkRoom, and by what other reads bring. What is
// in it is the cache's own choice, and that holds on to what is read again and again.
type bulkReads struct {
	state  *State
	chunks atomic.Int64 // begun since the limit was set or last looked at
	active atomic.Bool  // a limit is set
	mu     struct {
		sync.Mutex
		limit   int64  // size that the cache may have
		misses  int64  // of the cache, when it was last looked at
		idle    int    // looks since a chunk was read
		release func() // gives back what the limit takes; nil: it takes nothing
	}
}

// begin notes that a chunk is about to be read.
func (b *bulkReads) begin() {
	b.chunks.Add(1)
	if b.active.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.active.Load() {
		return
	}
	m := b.state.db.Metrics()
	b.mu.limit, b.mu.misses, b.mu.idle = m.BlockCache.Size+bulkRoom, m.BlockCache.Misses, 0
	b.hold(m)
	b.active.Store(true)
}

// look fits the limit to what happened since the last look, or lifts it.
func (b *bulkReads) look() {
	if !b.active.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	chunks := b.chunks.Swap(0)
	if b.mu.idle++; chunks > 0 {
		b.mu.idle = 0
	}
	if b.mu.idle >= bulkIdle {
		b.lift()
		b.active.Store(false)
		return
	}
	m := b.state.db.Metrics()
	b.mu.limit += max(0, m.BlockCache.Misses-b.mu.misses-bulkMisses*chunks) * blockBytes
	b.mu.misses = m.BlockCache.Misses
	b.hold(m)
}

// hold takes from the cache what it may not use: it has all that the memtables of both
// databases leave.
func (b *bulkReads) hold(state *pebble.Metrics) {
	b.lift()
	cache, log := b.state.store.cache, b.state.store.logDB.db.Metrics()
	memtables := state.MemTable.Size + state.MemTable.ZombieSize + log.MemTable.Size + log.MemTable.ZombieSize
	if rest := cache.MaxSize() - int64(memtables) - b.mu.limit; rest > 0 { // #nosec G115 -- of bytes in memory
		b.mu.release = cache.Reserve(int(rest))
	}
}

func (b *bulkReads) lift() {
	if b.mu.release != nil {
		b.mu.release()
		b.mu.release = nil
	}
}

// end lifts the limit. No chunk is read any more.
func (b *bulkReads) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lift()
}
