package query

import (
	"github.com/trellisdb/trellis/storage"
)

// skippedEvery is how many keys a scan examines between two looks at how many it had to
// step over.
const skippedEvery = 1024

// scan is an iterator that counts what it examines. A move that returns false is the
// end, or an error that the search keeps.
type scan struct {
	s       *search
	lower   []byte
	it      *storage.Iterator
	keys    int // examined
	skipped int // part of them that was not there any more
	look    int // keys when skipped is looked at next
}

// scan opens a scan of [lower, upper). The search closes it.
func (s *search) scan(lower, upper []byte) *scan {
	c := &scan{s: s, lower: lower, look: skippedEvery}
	if s.err != nil {
		return c
	}
	it, err := s.view.Scan(lower, upper)
	if err != nil {
		s.fail(err)
		return c
	}
	c.it = it
	s.open = append(s.open, c)
	return c
}

// again makes it a scan of other keys.
func (c *scan) again(lower, upper []byte) {
	if c.it != nil {
		c.it.SetBounds(lower, upper)
	}
}

// examined returns how many keys were examined; none by a scan that was never opened.
func (c *scan) examined() int {
	if c == nil {
		return 0
	}
	return c.keys
}

func (c *scan) first() bool { return c.s.err == nil && c.moved(c.it.First()) }
func (c *scan) last() bool  { return c.s.err == nil && c.moved(c.it.Last()) }
func (c *scan) next() bool  { return c.s.err == nil && c.moved(c.it.Next()) }
func (c *scan) prev() bool  { return c.s.err == nil && c.moved(c.it.Prev()) }

// seek moves to the first key at or after key.
func (c *scan) seek(key []byte) bool { return c.s.err == nil && c.moved(c.it.SeekGE(key)) }

// seekBefore moves to the last key before key.
func (c *scan) seekBefore(key []byte) bool { return c.s.err == nil && c.moved(c.it.SeekLT(key)) }

// key lends the current key until the next move.
func (c *scan) key() []byte { return c.it.Key() }

// value lends the current value until the next move.
func (c *scan) value() []byte { return c.it.Value() }

func (c *scan) moved(ok bool) bool {
	if !ok {
		_ = c.s.fail(c.it.Err()) || c.s.fail(c.s.meter.add(1))
		return false
	}
	n := 1
	if c.keys++; c.keys >= c.look {
		n += c.takeSkipped()
	}
	return !c.s.fail(c.s.meter.add(n))
}

// takeSkipped counts the keys that were stepped over since it was called last.
func (c *scan) takeSkipped() int {
	total := c.it.Skipped()
	n := max(0, total-c.skipped)
	c.skipped = total
	c.keys += n
	c.look = c.keys + skippedEvery
	return n
}

// close ends the scan.
func (c *scan) close() error {
	if c.it == nil {
		return nil
	}
	c.s.meter.examined += c.takeSkipped()
	err := c.it.Close()
	c.it = nil
	return err
}
