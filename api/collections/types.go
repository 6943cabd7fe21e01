package collections

import (
	"sync"
	"sync/atomic"

	"github.com/trellisdb/trellis/api/schema"
)

// maxTypes bounds how many spellings of collections are remembered; beyond it
// types are worked out anew each time.
const maxTypes = 4096

// typeCache remembers what the spellings of collections in paths mean, which
// never changes. Safe for concurrent use.
type typeCache struct {
	known sync.Map // spelling → *schema.Type
	size  atomic.Int64
}

// of is schema.Of.
func (t *typeCache) of(segment string) (*schema.Type, error) {
	if typ, ok := t.known.Load(segment); ok {
		return typ.(*schema.Type), nil
	}
	typ, err := schema.Of(segment)
	if err == nil && t.size.Load() < maxTypes {
		if _, loaded := t.known.LoadOrStore(segment, typ); !loaded {
			t.size.Add(1)
		}
	}
	return typ, err
}
