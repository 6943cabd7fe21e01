package storage

import (
	"bytes"
	"hash/maphash"
	"sync"

	"github.com/trellisdb/trellis/storage/keys"
)

// rowShards is how many locks the row cache has.
const rowShards = 16

// maxRow is the largest value worth a place in the row cache.
const maxRow = 8 << 10

// rowOverhead is about what an entry costs besides key and value.
const rowOverhead = 96

// rowCache keeps values of single keys as they are committed now, so that what
// is read again and again needs no search in Pebble.
//
// It is exact, not merely fresh. A commit raises the partition's begun count,
// then drops the rows it changes, then becomes visible, and then raises the
// commits count. A view may look into the cache, and put into it, only if no
// commit was under way when its snapshot was taken and none has begun since:
// its snapshot is then the committed state, and so is every row.
type rowCache struct {
	seed   maphash.Seed
	max    int // bytes of a shard
	shards [rowShards]rowShard
}

type rowShard struct {
	mu    sync.RWMutex
	rows  map[string][]byte
	bytes int
}

func newRowCache(size int64) *rowCache {
	c := &rowCache{seed: maphash.MakeSeed(), max: int(size / rowShards)}
	for i := range c.shards {
		c.shards[i].rows = make(map[string][]byte)
	}
	return c
}

// cached reports whether a key is of a kind that is kept: entities and the
// entries that lead to them.
func cached(key []byte) bool {
	if len(key) < 9 {
		return false
	}
	switch key[8] {
	case keys.KindEntity, keys.KindID, keys.KindUnique:
		return key[4]|key[5]|key[6]|key[7] != 0 // else meta of the partition
	}
	return false
}

func (c *rowCache) shard(key []byte) *rowShard {
	return &c.shards[maphash.Bytes(c.seed, key)%rowShards]
}

// get appends the row of key to dst.
func (c *rowCache) get(dst, key []byte) ([]byte, bool) {
	s := c.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, ok := s.rows[string(key)]
	return append(dst, value...), ok
}

// put keeps a row, if still holds at a moment when no commit can drop rows of
// the shard. When the shard is full, some others go.
func (c *rowCache) put(key, value []byte, still func() bool) {
	size := len(key) + len(value) + rowOverhead
	if len(value) > maxRow || size > c.max {
		return
	}
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !still() {
		return
	}
	s.drop(string(key))
	for victim := range s.rows {
		if s.bytes+size <= c.max {
			break
		}
		s.drop(victim)
	}
	s.rows[string(key)] = bytes.Clone(value)
	s.bytes += size
}

func (s *rowShard) drop(key string) {
	if value, ok := s.rows[key]; ok {
		s.bytes -= len(key) + len(value) + rowOverhead
		delete(s.rows, key)
	}
}

// drop forgets the row of a key.
func (c *rowCache) drop(key []byte) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.rows[string(key)]; ok {
		s.drop(string(key))
	}
}

// dropRange forgets all rows with keys in [lower, upper).
func (c *rowCache) dropRange(lower, upper []byte) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for key := range s.rows {
			if key >= string(lower) && key < string(upper) {
				s.drop(key)
			}
		}
		s.mu.Unlock()
	}
}
