package raftfsm

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// uncounted is the name of a counter that is never counted, not even as one above
// others.
const uncounted = "system"

// counters keeps records of counters in memory, as the state DB has them with the
// writes of the current batch, and what is still to be counted of the batch.
type counters struct {
	known   map[nameKey]storage.Counter
	pending []population
}

// population is how the number of entities of a collection has changed.
type population struct {
	app        entity.AppID
	collection string
	minute     int64 // bucket
	change     int64
	before     int64 // entities that nobody had counted yet
}

// forget drops what is known of an application, and what was to be counted of it.
func (n *counters) forget(app entity.AppID) {
	for key := range n.known {
		if key.app == app {
			delete(n.known, key)
		}
	}
	kept := n.pending[:0]
	for _, p := range n.pending {
		if p.app != app {
			kept = append(kept, p)
		}
	}
	clear(n.pending[len(kept):])
	n.pending = kept
}

func (n *counters) note(app entity.AppID, name string, c storage.Counter) {
	if n.known == nil || len(n.known) >= maxNames {
		n.known = make(map[nameKey]storage.Counter)
	}
	n.known[nameKey{app, strings.Clone(name)}] = c
}

// counter returns the record of a counter, and whether there is one.
func (m *Machine) counter(app entity.AppID, name string) (storage.Counter, bool, error) {
	if c, ok := m.counters.known[nameKey{app, name}]; ok {
		return c, true, nil
	}
	if err := m.alive(app); err != nil { // a purge has made its counters unknown
		return storage.Counter{}, false, err
	}
	c, ok, err := storage.ReadCounter(m.batch, app, name)
	if ok {
		m.counters.note(app, name, c)
	}
	return c, ok, err
}

func (m *Machine) putCounter(app entity.AppID, name string, c storage.Counter) {
	m.key = keys.AppendCounterName(m.key[:0], m.cfg.Partition, app, name)
	m.value = storage.AppendCounter(m.value[:0], &c)
	m.batch.Set(m.key, m.value)
	if name != "" {
		m.counters.note(app, name, c)
	}
}

// nextCounter returns the number that the next counter of an application gets.
func (m *Machine) nextCounter(app entity.AppID) (entity.CounterID, error) {
	c, ok, err := storage.ReadCounter(m.batch, app, "")
	if err == nil && !ok {
		c.ID = 1
	}
	return c.ID, err
}

// enrolled returns a counter, which gets a number if it has none; named says that it is
// counted under its own name.
func (m *Machine) enrolled(app entity.AppID, name string, named bool) (storage.Counter, error) {
	c, ok, err := m.counter(app, name)
	if err != nil || ok && (c.Named || !named) {
		return c, err
	}
	if !ok {
		if c.ID, err = m.nextCounter(app); err != nil {
			return c, err
		}
		m.putCounter(app, "", storage.Counter{ID: c.ID + 1})
	}
	c.Named = c.Named || named
	m.putCounter(app, name, c)
	return c, nil
}

// above returns the counter above one; false if there is none that is counted.
func above(name string) (string, bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 || name[:i] == uncounted {
		return "", false
	}
	return name[:i], true
}

// countable refuses what the tallies of a command must not be.
func (m *Machine) countable(app entity.AppID, tallies []command.Tally) error {
	work := 0
	fresh := make(map[string]struct{})
	for i := range tallies {
		t := &tallies[i]
		if len(t.Increments) > command.MaxIncrements {
			return refuse(fault.IllegalArgument, "%d counters at once, more than the %d allowed", len(t.Increments), command.MaxIncrements)
		}
		if len(t.Dimensions.Category) > command.MaxCategory {
			return refuse(fault.IllegalArgument, "a category cannot have %d bytes", len(t.Dimensions.Category))
		}
		work += t.Work()
		for j := range t.Increments {
			name := t.Increments[j].Name
			if !command.ValidCounterName(name) {
				return refuse(fault.IllegalArgument, "a counter cannot have the name %q", excerpt(name))
			}
			for ok := name != uncounted; ok; {
				if _, known, err := m.counter(app, name); err != nil {
					return err
				} else if !known && !ofRequests(name) {
					fresh[name] = struct{}{}
				}
				if t.Increments[j].Reset {
					break
				}
				name, ok = above(name)
			}
		}
	}
	if work > command.MaxCounted {
		return refuse(fault.IllegalArgument, "what is to be counted changes %d values, more than the %d allowed", work, command.MaxCounted)
	}
	if len(fresh) == 0 {
		return nil
	}
	next, err := m.nextCounter(app)
	if err == nil && int(next)-1+len(fresh) > command.MaxCounters {
		err = refuse(fault.IllegalArgument, "the application has %d counters and cannot have %d more", next-1, len(fresh))
	}
	return err
}

// ofRequests reports whether a counter is one of an application's requests, which are
// counted whatever else is.
func ofRequests(name string) bool {
	switch name {
	case "application", "application.requests", "application.requests.get", "application.requests.post",
		"application.requests.put", "application.requests.delete":
		return true
	}
	return false
}

// tally counts a tally that countable did not refuse.
func (m *Machine) tally(app entity.AppID, t *command.Tally) error {
	for i := range t.Increments {
		inc := &t.Increments[i]
		if inc.Name == uncounted {
			continue
		}
		if inc.Reset {
			if err := m.resetCounter(app, inc.Name, t.Time); err != nil {
				return err
			}
			continue
		}
		name := inc.Name
		for named, ok := true, true; ok; named = false {
			c, err := m.enrolled(app, name, named)
			if err == nil {
				err = m.add(app, &c, &t.Dimensions, t.Time, inc.By, inc.By)
			}
			if err != nil {
				return err
			}
			name, ok = above(name)
		}
	}
	return nil
}

// add adds to one counter, for each subset of the dimensions: so much to the buckets of a
// time, and so much as a whole. Buckets that are made of others are only kept once they
// were reset: till then the others say all there is to know.
func (m *Machine) add(app entity.AppID, c *storage.Counter, d *entity.Dimensions, at, by, whole int64) error {
	sums := m.sums[:0]
	for r := range entity.Resolution(entity.Resolutions) {
		s := bucketSum{r: r, at: r.Bucket(at), Sum: storage.Sum{Value: by}}
		if r == entity.Whole {
			s.Value = whole
		}
		if c.Resets > 0 {
			var err error
			if s.Reset, err = storage.ReadReset(m.batch, app, c.ID, r, s.at); err != nil {
				return err
			}
		}
		if r == r.Base() || s.Reset > 0 {
			sums = append(sums, s)
		}
	}
	m.sums = sums
	given := d.Given()
	for subset := given; ; subset = (subset - 1) & given {
		some := d.Only(subset)
		m.merge(app, c, &some, sums)
		if subset == 0 {
			return nil
		}
	}
}

// bucketSum is what is added to a bucket.
type bucketSum struct {
	r  entity.Resolution
	at int64
	storage.Sum
}

// merge adds to the buckets of a series.
func (m *Machine) merge(app entity.AppID, c *storage.Counter, d *entity.Dimensions, sums []bucketSum) {
	m.key = keys.AppendCounterSeries(m.key[:0], m.cfg.Partition, app, c.ID, d)
	prefix := len(m.key)
	for i := range sums {
		m.key = keys.AppendBucket(m.key[:prefix], sums[i].r, sums[i].at)
		m.value = storage.AppendSum(m.value[:0], sums[i].Sum)
		m.batch.Merge(m.key, m.value)
	}
}

// resetCounter makes a counter 0 as a whole and in the buckets of a time. Sums stay as
// they are: from now on they are of before a reset, with whatever dimensions.
func (m *Machine) resetCounter(app entity.AppID, name string, at int64) error {
	if err := m.countPopulations(); err != nil { // they changed before
		return err
	}
	c, err := m.enrolled(app, name, true)
	if err != nil {
		return err
	}
	c.Resets++
	m.putCounter(app, name, c)
	sums := m.sums[:0]
	m.key = keys.AppendCounterResets(m.key[:0], m.cfg.Partition, app, c.ID)
	m.value = binary.AppendUvarint(m.value[:0], c.Resets)
	prefix := len(m.key)
	for r := range entity.Resolution(entity.Resolutions) {
		s := bucketSum{r: r, at: r.Bucket(at), Sum: storage.Sum{Reset: c.Resets}}
		sums = append(sums, s)
		m.key = keys.AppendBucket(m.key[:prefix], r, s.at)
		m.batch.Set(m.key, m.value)
	}
	m.sums = sums
	m.merge(app, &c, &entity.Dimensions{}, sums) // shown as 0, also if it was never counted
	return nil
}

func (m *Machine) countOnly(cmd *command.Command, op *command.Count) (result, error) {
	if err := m.countable(cmd.App, op.Tallies); err != nil {
		return result{}, err
	}
	for i := range op.Tallies {
		if err := m.tally(cmd.App, &op.Tallies[i]); err != nil {
			return result{}, err
		}
	}
	return result{}, nil
}

func (m *Machine) createEvents(cmd *command.Command, op *command.CreateEvents) (result, error) {
	if len(op.Tallies) != len(op.Create.Items) {
		return result{}, refuse(fault.IllegalArgument, "%d tallies of %d events", len(op.Tallies), len(op.Create.Items))
	}
	if err := m.countable(cmd.App, op.Tallies); err != nil {
		return result{}, err
	}
	res, err := m.createEntities(cmd, &op.Create)
	if err != nil {
		return result{}, err
	}
	skipped := res.Errors
	for i := range op.Tallies {
		if len(skipped) > 0 && skipped[0].Index == i {
			skipped = skipped[1:]
			continue
		}
		if err := m.tally(cmd.App, &op.Tallies[i]); err != nil {
			return result{}, err
		}
	}
	return res, nil
}

func (m *Machine) countEvent(cmd *command.Command, op *command.CountEvent) (result, error) {
	if err := m.countable(cmd.App, []command.Tally{op.Tally}); err != nil {
		return result{}, err
	}
	c, err := m.open(cmd.App, op.Rules.Collection, op.Rules.Unique)
	if err != nil {
		return result{}, err
	}
	e, found, err := m.find(c, &command.Target{ID: op.ID})
	if err != nil {
		return result{}, err
	}
	var res result
	if found {
		e.JSON = bytes.Clone(e.JSON) // it lives until the next find, the outcome longer
		res = m.newResult(1)
		res.add(c, e)
	} else {
		update := command.UpdateEntity{Rules: op.Rules, Target: command.Target{ID: op.ID}, Create: op.Create}
		if res, err = m.upsert(cmd, &update, c); err != nil {
			return result{}, err
		}
	}
	return res, m.tally(cmd.App, &op.Tally)
}

// populate notes that a collection is about to have so many entities more. Who is
// counted by it gets a number now, so that numbers do not depend on how Raft cuts the
// log into batches; sums wait for the end of the batch, which often has many entities
// of one collection.
func (m *Machine) populate(c *collection, change int64) error {
	if c.App < entity.FirstApp {
		return nil
	}
	minute := entity.Minute.Bucket(m.time)
	for i := len(m.counters.pending) - 1; i >= max(0, len(m.counters.pending)-16); i-- {
		if p := &m.counters.pending[i]; p.app == c.App && p.minute == minute && p.collection == c.name {
			p.change += change
			return nil
		}
	}
	p := population{app: c.App, collection: c.name, minute: minute, change: change}
	for i, of := range p.counters() {
		_, known, err := m.counter(c.App, of.name)
		if err == nil {
			_, err = m.enrolled(c.App, of.name, of.named)
		}
		if err != nil {
			return err
		}
		if i == 0 && !known {
			p.before = int64(c.count) // of a directory from when nobody counted
		}
	}
	m.counters.pending = append(m.counters.pending, p)
	return nil
}

// entitiesCounter counts the entities of an application, what begins with
// collectionCounter those of a collection.
const (
	entitiesCounter   = "application.entities"
	collectionCounter = "application.collection"
)

// countedBy is a counter that an entity counts for.
type countedBy struct {
	name  string
	named bool
	times int64
}

// counters are those that an entity of the collection counts for. Dots in the name of
// a collection make no hierarchy.
func (p *population) counters() [4]countedBy {
	return [4]countedBy{
		{collectionCounter + "." + p.collection, true, 1}, {entitiesCounter, true, 1},
		{collectionCounter, false, 1}, {"application", false, 2},
	}
}

// countPopulations counts what populate has noted.
func (m *Machine) countPopulations() error {
	for i := range m.counters.pending {
		p := &m.counters.pending[i]
		for _, of := range p.counters() {
			c, err := m.enrolled(p.app, of.name, of.named)
			if err == nil {
				err = m.add(p.app, &c, &entity.Dimensions{}, p.minute, of.times*p.change, of.times*(p.before+p.change))
			}
			if err != nil {
				return err
			}
		}
	}
	clear(m.counters.pending)
	m.counters.pending = m.counters.pending[:0]
	return nil
}
