package storage

import (
	"bytes"
	"hash/maphash"
	"math/rand/v2"
	"sync"

	"github.com/trellisdb/trellis/storage/keys"
)

// rowShards is how many locks the row cache has.
const rowShards = 16

// maxRow is the largest value worth a place in the row cache.
const maxRow = 8 << 10

// rowOverhead is about what an entry costs besides key and value.
const rowOverhead = 96

// admission is how many rows are seen for one that takes the place of others. What
// is read again and again comes in soon; a walk over cold rows changes little, and
// costs little.
const admission = 4

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
	rows  map[string]row
	bytes int
}

// row is the value of a key, or that it has none.
type row struct {
	value  []byte
	absent bool
}

func newRowCache(size int64) *rowCache {
	c := &rowCache{seed: maphash.MakeSeed(), max: int(size / rowShards)}
	for i := range c.shards {
		c.shards[i].rows = make(map[string]row)
	}
	return c
}

// cached reports whether a key is of a kind that is kept: entities and the
// entries that lead to them, and what every query asks of a collection.
func cached(key []byte) bool {
	if !ofApplication(key) {
		return false
	}
	switch key[8] {
	case keys.KindEntity, keys.KindID, keys.KindUnique, keys.KindCollection, keys.KindProperty, keys.KindSettings:
		return true
	}
	return false
}

// absenceCached reports whether a key is of a kind that is also kept when it is not
// there: most collections have no settings.
func absenceCached(key []byte) bool { return ofApplication(key) && key[8] == keys.KindSettings }

// ofApplication reports whether a key is one of an application's; others are meta of
// the partition.
func ofApplication(key []byte) bool {
	return len(key) >= 9 && key[4]|key[5]|key[6]|key[7] != 0
}

func (c *rowCache) shard(key []byte) *rowShard {
	return &c.shards[maphash.Bytes(c.seed, key)%rowShards]
}

// get appends the value of key to dst, if it has one, and reports whether that is known.
func (c *rowCache) get(dst, key []byte) (_ []byte, found, known bool) {
	s := c.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, known := s.rows[string(key)]
	return append(dst, r.value...), known && !r.absent, known
}

// put keeps a row, if still holds at a moment when no commit can drop rows of
// the shard. When the shard is full, some others go, or it is not kept.
func (c *rowCache) put(key []byte, r row, still func() bool) {
	size := len(key) + len(r.value) + rowOverhead
	if len(r.value) > maxRow || size > c.max {
		return
	}
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+size > c.max && rand.IntN(admission) > 0 || !still() {
		return
	}
	s.drop(string(key))
	for victim := range s.rows {
		if s.bytes+size <= c.max {
			break
		}
		s.drop(victim)
	}
	s.rows[string(key)] = row{value: bytes.Clone(r.value), absent: r.absent}
	s.bytes += size
}

func (s *rowShard) drop(key string) {
	if r, ok := s.rows[key]; ok {
		s.bytes -= len(key) + len(r.value) + rowOverhead
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
