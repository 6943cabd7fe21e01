package push

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/trellisdb/trellis/storage"
)

// Bounds of what is counted.
const (
	maxCodes     = 64   // that are told apart of a provider; all others are "other"
	maxLooked    = 1000 // open pairs of notifier and notification of an application
	maxAppsShown = 200
)

// Counts are what was done through the notifiers of a provider since the start of the
// node.
type Counts struct {
	Provider string
	Sent     uint64
	Retries  uint64            // attempts after which a delivery waits for another
	Failed   map[string]uint64 // by code
}

// Stats are the figures of an engine.
type Stats struct {
	Providers []Counts // by name
	Pools     int      // notifiers that are or were sent through lately
	Busy      int      // deliveries in memory: taken, and not yet written what became of them
	InFlight  int      // messages that take a place of Config.NodeInFlight
	Open      uint64   // deliveries of the partitions led, those waiting for another attempt included; of few notifications exact, of many an estimate from below
	Oldest    int64    // when the oldest of those looked at was queued, ms since the epoch; 0: there are none
}

// figures count.
type figures struct {
	mu sync.Mutex
	of map[string]*Counts // guarded by mu, and so is what they hold
}

func (f *figures) init() { f.of = map[string]*Counts{} }

func (f *figures) count(kind string, by func(*Counts)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.of[kind]
	if c == nil {
		c = &Counts{Provider: kind, Failed: map[string]uint64{}}
		f.of[kind] = c
	}
	by(c)
}

func (f *figures) sent(kind string)    { f.count(kind, func(c *Counts) { c.Sent++ }) }
func (f *figures) retried(kind string) { f.count(kind, func(c *Counts) { c.Retries++ }) }
func (f *figures) failed(kind, code string) {
	f.count(kind, func(c *Counts) {
		if _, known := c.Failed[code]; !known && len(c.Failed) >= maxCodes {
			code = "other"
		}
		c.Failed[code]++
	})
}

// Stats returns the figures. It reads what is open in the partitions that are led.
func (e *Engine) Stats() Stats {
	var s Stats
	e.figures.mu.Lock()
	for _, c := range e.figures.of {
		now := *c
		now.Failed = maps.Clone(c.Failed)
		s.Providers = append(s.Providers, now)
	}
	e.figures.mu.Unlock()
	slices.SortFunc(s.Providers, func(a, b Counts) int { return cmp.Compare(a.Provider, b.Provider) })
	e.mu.Lock()
	s.Pools, s.InFlight = e.mu.pools, len(e.slots)
	lanes := slices.Collect(maps.Values(e.mu.lanes))
	e.mu.Unlock()
	for i, l := range lanes {
		s.Busy += l.busy.count()
		if i < maxAppsShown && l.leads() {
			_ = e.census(l, &s) // what cannot be read now was lost, and is counted elsewhere
		}
	}
	return s
}

func (e *Engine) census(l *lane, s *Stats) (err error) {
	v, err := e.host.View(l.partition)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	list, err := storage.WaitingNotifications(v, l.app, nil, maxLooked)
	if err != nil {
		return err
	}
	seen := map[uint64]bool{}
	for _, w := range list {
		if s.Oldest == 0 || w.Due < s.Oldest {
			s.Oldest = w.Due
		}
		if seen[uint64(w.Notification)] {
			continue
		}
		seen[uint64(w.Notification)] = true
		figures, err := storage.ReadDeliveries(v, l.app, w.Notification)
		if err != nil {
			return err
		}
		s.Open += figures.Open
	}
	return nil
}
