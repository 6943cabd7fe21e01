package query

import (
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// catalog is what a plan is made from: which indexes a collection has, and what is
// counted of it.
type catalog struct {
	s        *search
	c        entity.CollectionID
	settings *entity.Settings
	known    map[string]*property
	counted  bool
	size     uint64
	scan     *scan // of whatever is collected
}

// property is what is known of the indexes of one property.
type property struct {
	name    string
	covered bool // the collection's plan has it: else it is as if missing
	usable  bool // every entity that has it has entries of it
	id      entity.PropertyID
	named   bool // an entity had it once
	counted bool
	with    uint64 // entities that have a value
	several uint64 // entities that have several
}

func (s *search) newCatalog(settings *entity.Settings) *catalog {
	return &catalog{s: s, c: s.req.From.ID, settings: settings, known: make(map[string]*property)}
}

// indexed reports whether every entity has entries, of time if nothing else.
func (c *catalog) indexed() bool {
	for i := range c.settings.Older {
		if !c.settings.Older[i].Indexes() {
			return false
		}
	}
	return c.settings.Plan.Indexes()
}

// property returns what is known of a property.
func (c *catalog) property(name string) *property {
	if p := c.known[name]; p != nil {
		return p
	}
	p := &property{name: name, covered: c.settings.Plan.Covers(name)}
	c.known[name] = p
	p.usable = c.settings.Usable(name)
	if p.usable {
		var err error
		p.id, p.named, err = storage.PropertyID(c.s.view, c.s.req.App, c.c, name)
		c.s.fail(err)
	}
	return p
}

// count fills in what is counted of a property.
func (c *catalog) count(p *property) {
	if p.counted || !p.usable || !p.named {
		return
	}
	var err error
	p.with, p.several, err = storage.ReadPropertyStats(c.s.view, c.s.req.App, c.c, p.id)
	p.counted = true
	c.s.fail(err)
}

// single reports whether no entity has several values of a property.
func (c *catalog) single(p *property) bool {
	c.count(p)
	return p.several == 0
}

// entities returns how many entities the collection has.
func (c *catalog) entities() uint64 {
	if !c.counted {
		counters, _, err := storage.ReadCounters(c.s.view, c.s.req.App, c.c)
		c.s.fail(err)
		c.counted, c.size = true, counters.Count
	}
	return c.size
}

// composites returns the composite indexes that every entity has entries of.
func (c *catalog) composites() (list []*entity.Composite) {
	for i := range c.settings.Plan.Composites {
		x := &c.settings.Plan.Composites[i]
		if c.settings.Ready(x) {
			list = append(list, x)
		}
	}
	return list
}
