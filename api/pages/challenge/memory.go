package challenge

import "sync"

// memory remembers what was spent, up to a bound: the oldest goes when there
// is no room.
type memory struct {
	mu struct {
		sync.Mutex
		expires map[[16]byte]int64 // ms since the epoch
		order   [][16]byte         // ring of what is in the map
		oldest  int
		n       int
	}
}

func newMemory(max int) *memory {
	m := new(memory)
	m.mu.expires = make(map[[16]byte]int64)
	m.mu.order = make([][16]byte, max)
	return m
}

// add reports whether id is new, and remembers it.
func (m *memory) add(id [16]byte, expires, now int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.mu.expires[id]; known {
		return false
	}
	for m.mu.n > 0 && (m.mu.n == len(m.mu.order) || m.mu.expires[m.mu.order[m.mu.oldest]] <= now) {
		delete(m.mu.expires, m.mu.order[m.mu.oldest])
		m.mu.oldest = (m.mu.oldest + 1) % len(m.mu.order)
		m.mu.n--
	}
	m.mu.order[(m.mu.oldest+m.mu.n)%len(m.mu.order)] = id
	m.mu.n++
	m.mu.expires[id] = expires
	return true
}
