package query

import "sync/atomic"

// Stats counts what an engine has done since it was made.
type Stats struct {
	Queries  uint64 // run, whatever became of them
	Examined uint64 // keys
	Rows     uint64 // entities returned
	Refused  uint64 // queries that would have examined too many keys
}

type counters struct{ queries, examined, rows, refused atomic.Uint64 }

// Stats returns the counts so far. Safe for concurrent use.
func (e *Engine) Stats() Stats {
	return Stats{e.counts.queries.Load(), e.counts.examined.Load(), e.counts.rows.Load(), e.counts.refused.Load()}
}

// count notes a search that has ended.
func (c *counters) count(s *search, refused bool) {
	c.queries.Add(1)
	c.examined.Add(uint64(s.meter.examined))
	c.rows.Add(uint64(len(s.rows)))
	if refused {
		c.refused.Add(1)
	}
}
