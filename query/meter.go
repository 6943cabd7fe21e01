package query

import (
	"context"
	"errors"

	"github.com/trellisdb/trellis/storage/fault"
)

// checkEvery is how many keys are examined between two looks at the context.
const checkEvery = 256

// errTooCostly ends a search that has examined as many keys as it may. What the client
// is told is said where the query is known.
var errTooCostly = errors.New("too many keys examined")

// meter counts the keys that a search examines, and ends it when there are too many or
// when it takes too long.
type meter struct {
	ctx      context.Context
	examined int
	limit    int
	check    int // examined when the context is looked at next
}

// add notes that n more keys were examined.
func (m *meter) add(n int) error {
	m.examined += n
	if m.examined < m.check {
		return nil
	}
	m.check = m.examined + checkEvery
	if err := m.ctx.Err(); err != nil {
		return fault.Wrap(err, fault.Timeout, "the query took too long")
	}
	if m.examined > m.limit {
		return errTooCostly
	}
	return nil
}
