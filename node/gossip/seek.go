package gossip

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How often an address without a living peer is tried.
const (
	seekFirst = time.Second
	seekMost  = 15 * time.Second
	// seekAtOnce is how many addresses are tried at one time: those of hosts
	// that are gone take memberlist's whole time-out.
	seekAtOnce = 8
	// seekLoud is how many rounds an address may be silent before that is
	// logged: about half a minute, in which a cluster starts.
	seekLoud = 5
)

// seeker goes on joining addresses at which no peer is known to live. It is
// what lets nodes meet that started apart, and halves that lost each other.
// While all addresses are accounted for it only compares what is in memory.
type seeker struct {
	seeds []string
	known func() []string
	self  *roster
	join  func(at string) error // exchanges states with whoever is there
	log   *slog.Logger

	places map[string][]netip.AddrPort // where an address led at its last try
	silent map[string]int              // rounds in which an address had no peer
}

// run tries until ctx ends.
func (s *seeker) run(ctx context.Context) {
	delay := seekFirst
	for {
		pause := seekMost // the addresses that known tells may change by themselves
		if missing := s.missing(); len(missing) > 0 {
			s.round(ctx, missing)
			pause, delay = jitter(delay), min(2*delay, seekMost)
		} else {
			delay = seekFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			continue
		case <-s.self.gone:
		}
		// However often nodes come and go, there is a pause between rounds.
		delay = seekFirst
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(delay)):
		}
	}
}

// jitter spreads what nodes started together do, by a quarter.
func jitter(d time.Duration) time.Duration {
	return d - d/8 + rand.N(d/4)
}

// missing returns the addresses at which no living peer is known.
func (s *seeker) missing() []string {
	wanted := slices.Clone(s.seeds)
	if s.known != nil {
		wanted = append(wanted, s.known()...)
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)

	names, places := s.self.addresses()
	maps.DeleteFunc(s.places, func(address string, _ []netip.AddrPort) bool { return !slices.Contains(wanted, address) })
	missing := slices.DeleteFunc(wanted, func(address string) bool {
		return names[address] || accounted(s.placesOf(address), places)
	})
	maps.DeleteFunc(s.silent, func(address string, _ int) bool { return !slices.Contains(missing, address) })
	return missing
}

// placesOf returns where an address led at its last try, or leads without
// asking anyone.
func (s *seeker) placesOf(address string) []netip.AddrPort {
	if at, err := netip.ParseAddrPort(address); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(at.Addr().Unmap(), at.Port())}
	}
	return s.places[address]
}

// accounted tells whether at every place of an address there is a peer. A name
// may stand for several nodes, and the halves of a cluster may each have some.
func accounted(places []netip.AddrPort, taken map[netip.AddrPort]bool) bool {
	return len(places) > 0 && !slices.ContainsFunc(places, func(at netip.AddrPort) bool { return !taken[at] })
}

// round tries each address once. Names are looked up anew: what they stand for
// may have changed.
func (s *seeker) round(ctx context.Context, addresses []string) {
	var (
		wg     sync.WaitGroup
		slots  = make(chan struct{}, seekAtOnce)
		places = make([][]netip.AddrPort, len(addresses))
		errs   = make([]error, len(addresses))
	)
	for i, address := range addresses {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			places[i], errs[i] = s.try(ctx, address)
		})
	}
	wg.Wait()

	for i, address := range addresses {
		s.places[address] = places[i]
		s.silent[address]++
		s.log.Debug("joined", "address", address, "err", errs[i])
		if s.silent[address] == seekLoud && ctx.Err() == nil {
			s.log.Warn("no peer at a gossip address; it is tried further", "address", address, "err", errs[i])
		}
	}
}

// try joins whoever is at an address and is not known yet.
func (s *seeker) try(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, port, err := split(address)
	if err != nil {
		return nil, err
	}
	ips, err := lookUp(ctx, host)
	if err != nil {
		return nil, err
	}
	_, taken := s.self.addresses()
	places := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		at := netip.AddrPortFrom(ip, port)
		places = append(places, at)
		if ctx.Err() == nil && !taken[at] {
			if e := s.join(at.String()); e != nil {
				err = e
			}
		}
	}
	return places, err
}
