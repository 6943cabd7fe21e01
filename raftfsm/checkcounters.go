package raftfsm

import (
	"encoding/binary"
	"strings"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// counted is what Check knows of the counters of the application at hand.
type counted struct {
	app   entity.AppID
	next  entity.CounterID
	known map[entity.CounterID]countedAs
	// The series at hand: what the buckets of each resolution come to.
	series keys.CounterKey
	open   bool
	sums   [entity.Resolutions]int64
}

type countedAs struct {
	storage.Counter
	name string
}

// countersOf reads the records of the counters of the application that c.app is.
func (c *checker) countersOf() error {
	if c.counted.app == c.app && c.counted.known != nil {
		return nil
	}
	c.counted = counted{app: c.app, next: 1, known: make(map[entity.CounterID]countedAs)}
	lower, upper := keys.CounterNameRange(c.view.Partition(), c.app)
	return scan(c.view, lower, upper, func(key, value []byte) error {
		name, ok := keys.DecodeCounterName(key)
		r, valid := storage.DecodeCounter(value)
		switch {
		case !ok || !valid:
			return nil // reported when it is met
		case name == "":
			c.counted.next = r.ID
			return nil
		}
		if _, taken := c.counted.known[r.ID]; taken {
			c.problem(key, "counter %q has number %d, which is another's", excerpt(name), r.ID)
		}
		c.counted.known[r.ID] = countedAs{r, name}
		return nil
	})
}

// counterName checks the record of a counter.
func (c *checker) counterName(k, v []byte) error {
	if err := c.countersOf(); err != nil {
		return err
	}
	name, ok := keys.DecodeCounterName(k)
	r, valid := storage.DecodeCounter(v)
	switch {
	case !ok || !valid:
		c.problem(k, "damaged record of a counter")
	case name == "":
	case r.ID >= c.counted.next:
		c.problem(k, "counter %q has number %d, which was not given", excerpt(name), r.ID)
	case !populated(name) && !command.ValidCounterName(name):
		c.problem(k, "no counter has the name %q", excerpt(name))
	}
	return nil
}

// populated reports whether a counter may count entities, also those that were there
// before anything was counted.
func populated(name string) bool {
	return name == "application" || name == entitiesCounter || name == collectionCounter || strings.HasPrefix(name, collectionCounter+".")
}

// sum checks a key of a counter. Of one that was never reset, the buckets of every
// resolution that is kept must come to the same.
func (c *checker) sum(k, v []byte) error {
	if err := c.countersOf(); err != nil {
		return err
	}
	key, ok := keys.DecodeCounter(k)
	if !ok {
		c.problem(k, "damaged key of a counter")
		return nil
	}
	as, known := c.counted.known[key.Counter]
	if !known {
		c.problem(k, "counter %d does not exist", key.Counter)
		return nil
	}
	if key.Reset {
		c.endSeries()
		if n, size := binary.Uvarint(v); size != len(v) || n == 0 || n > as.Resets {
			c.problem(k, "damaged reset of counter %q", as.name)
		}
		return nil
	}
	s, ok := storage.DecodeSum(v)
	if !ok || s.Reset > as.Resets {
		c.problem(k, "damaged sum of counter %q", as.name)
		return nil
	}
	at := keys.CounterKey{Counter: key.Counter, Dimensions: key.Dimensions}
	if !c.counted.open || at != c.counted.series {
		c.endSeries()
		c.counted.series, c.counted.open = at, true
	}
	if key.Resolution != key.Resolution.Base() && as.Resets == 0 {
		c.problem(k, "counter %q is kept in resolution %d, and was never reset", as.name, key.Resolution)
	}
	c.counted.sums[key.Resolution] += s.Value
	return nil
}

// endSeries compares the sums of the series that has ended.
func (c *checker) endSeries() {
	n := &c.counted
	as := n.known[n.series.Counter]
	if n.open && as.Resets == 0 && !populated(as.name) {
		for r, sum := range n.sums {
			if r := entity.Resolution(r); r == r.Base() && sum != n.sums[entity.Whole] {
				key := keys.AppendCounterSeries(nil, c.view.Partition(), n.app, n.series.Counter, &n.series.Dimensions)
				c.problem(append(key, byte(r)), "counter %q comes to %d in resolution %d, and to %d as a whole", as.name, sum, r, n.sums[entity.Whole])
			}
		}
	}
	n.open, n.sums = false, [entity.Resolutions]int64{}
}
