package directory

import "sync"

// cache remembers a bounded number of values, each with the version it was
// read at. A value is good only while that version stands.
type cache[K comparable, V any] struct {
	max int
	mu  struct {
		sync.RWMutex
		entries map[K]cached[V]
	}
}

type cached[V any] struct {
	version uint64
	value   V
}

func newCache[K comparable, V any](max int) *cache[K, V] {
	c := &cache[K, V]{max: max}
	c.mu.entries = make(map[K]cached[V])
	return c
}

// get returns what was remembered and the version it was read at.
func (c *cache[K, V]) get(k K) (value V, version uint64, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.mu.entries[k]
	return e.value, e.version, ok
}

// put remembers a value read from a view that was opened after version was
// asked for, so that a change in between makes it invalid, never valid too
// long. When the cache is full, some other entry goes.
func (c *cache[K, V]) put(k K, v V, version uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.mu.entries[k]; !ok && len(c.mu.entries) >= c.max {
		for victim := range c.mu.entries {
			delete(c.mu.entries, victim)
			break
		}
	}
	c.mu.entries[k] = cached[V]{version, v}
}
