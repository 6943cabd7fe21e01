package raftfsm

import (
	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// planOf returns the plan that the entries of an entity were written under.
func (c *collection) planOf(e *entity.Entity) (*entity.IndexPlan, error) {
	plan, ok := c.settings.PlanOf(e.Generation)
	if !ok {
		return nil, fault.New(fault.Corrupt, "entity %s of collection %d of application %d is of generation %d of its indexes, which is not known", e.ID, c.ID, c.App, e.Generation)
	}
	return plan, nil
}

// recallEntries makes m.before the entries that an entity has.
func (m *Machine) recallEntries(c *collection, e *entity.Entity) error {
	plan, err := c.planOf(e)
	if err != nil {
		return err
	}
	if err := m.before.Build(&c.Collection, plan, e); err != nil && fault.Is(err, fault.Corrupt) {
		return err
	}
	return nil
}

// leave notes that an entity of a generation is not of it any more. An older plan of
// which there is none goes with its last entity.
func (m *Machine) leave(c *collection, generation uint32) {
	for i := range c.older {
		if c.older[i].Generation != generation {
			continue
		}
		m.names.change(c)
		if c.older[i].Count--; c.older[i].Count == 0 {
			c.dropOlder(generation)
		}
		return
	}
}

// dropOlder forgets an older plan.
func (c *collection) dropOlder(generation uint32) {
	c.older = without(c.older, func(o storage.OlderEntities) bool { return o.Generation == generation })
	c.settings.Older = without(c.settings.Older, func(p entity.IndexPlan) bool { return p.Generation == generation })
	c.resettled = true
}

// without returns a new list of those that are not meant.
func without[T any](list []T, meant func(T) bool) (kept []T) {
	for _, v := range list {
		if !meant(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// use brings bitmaps and statistics of properties from what an entity had to what it
// has.
func (m *Machine) use(c *collection, seq entity.Seq, before, after []index.Use) {
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Property < after[0].Property:
			m.mark(c, seq, before[0], false)
			before = before[1:]
		case len(before) == 0 || before[0].Property > after[0].Property:
			m.mark(c, seq, after[0], true)
			after = after[1:]
		default:
			if before[0].Several != after[0].Several {
				p := m.counted(c, after[0].Property)
				if after[0].Several {
					p.several++
				} else {
					p.several--
				}
			}
			before, after = before[1:], after[1:]
		}
	}
}

// mark notes that an entity has values of a property, or has none any more.
func (m *Machine) mark(c *collection, seq entity.Seq, u index.Use, has bool) {
	p := m.counted(c, u.Property)
	p.note(m.batch, c, seq, has)
	var several uint64
	if u.Several {
		several = 1
	}
	if has {
		p.with++
		p.several += several
		return
	}
	p.with--
	p.several -= several
}

// counted returns a property whose statistics are to be written.
func (m *Machine) counted(c *collection, id entity.PropertyID) *property {
	p := c.numbered[id-1]
	if !p.counted {
		p.counted = true
		c.counted = append(c.counted, p)
		m.names.change(c)
	}
	return p
}
