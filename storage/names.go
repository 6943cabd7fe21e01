package storage

import (
	"strings"
	"sync"

	"github.com/trellisdb/trellis/storage/entity"
)

// maxNames bounds the dictionary entries kept in memory; when there are more,
// all are forgotten and read again.
const maxNames = 1 << 16

// name is a key of the dictionaries of all applications, as views of one epoch
// of the partition see it.
type name struct {
	p     entity.Partition
	epoch uint64
	app   entity.AppID
	owner entity.CollectionID
	text  string
}

// nameCache remembers numbers that dictionaries give to names. A number is
// given once, by the log, and never changes while the partition grows; after it
// was replaced or dropped, what was known of it is not asked for any more. So
// no entry ever becomes wrong; those of an application that was purged lead to nothing.
type nameCache struct {
	mu struct {
		sync.RWMutex
		numbers map[name]uint32
		texts   map[number]string // the other way, of collections
	}
}

// number names a collection as views of one epoch of the partition see it.
type number struct {
	p     entity.Partition
	epoch uint64
	app   entity.AppID
	id    entity.CollectionID
}

func (c *nameCache) get(n name) (uint32, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	number, ok := c.mu.numbers[n]
	return number, ok
}

func (c *nameCache) put(n name, number uint32) {
	n.text = strings.Clone(n.text) // it may lie in a request's memory
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.numbers == nil || len(c.mu.numbers) >= maxNames {
		c.mu.numbers = make(map[name]uint32)
	}
	c.mu.numbers[n] = number
}

func (c *nameCache) name(n number) (string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	text, ok := c.mu.texts[n]
	return text, ok
}

func (c *nameCache) putName(n number, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.texts == nil || len(c.mu.texts) >= maxNames {
		c.mu.texts = make(map[number]string)
	}
	c.mu.texts[n] = text
}
