package push

import (
	"errors"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/entity"
)

// Bounds of what a pool holds.
const (
	maxHeld       = 2000 // deliveries taken and not yet written what became of them
	takeAtOnce    = 256  // deliveries that are read at a time
	reserved      = 2    // messages in flight of each pool whatever others have
	slotPause     = 10 * time.Millisecond
	dryFor        = 5 * time.Second // a pool without work looks again, should nobody wake it
	readPause     = time.Second     // after a partition could not be read
	reviewEvery   = time.Second     // how old what is known of the notifier may be while something waits to be sent
	growAfter     = 50              // messages sent after which a pool that was slowed down sends one more at a time
	sendWithin    = 2 * time.Minute // a bound on what a sender's own time-outs should bound
	maxRemembered = 10_000          // deliveries of which it is known how much of a message was accepted
)

// item is a delivery that is to be sent.
type item struct {
	place
	note     *note
	route    *route    // nil: the notifier is gone
	id       entity.ID // of the device
	held     held
	payload  provider.Payload
	began    time.Time
	attempts uint32 // before this one
}

// landing is the end of a flight.
type landing struct {
	sender  *opened
	slot    bool
	items   []*item
	results []provider.Result
}

// pool sends through one notifier of an application.
type pool struct {
	lane     *lane
	e        *Engine
	notifier entity.Seq
	woken    chan struct{}
	landed   chan landing
	written  chan writing

	told agenda // what it is to look for: anybody's

	// The rest is run's own.
	route    *route // nil: the notifier is gone
	sender   *opened
	breaker  breaker
	giveUp   bool // what is open fails
	limit    int  // messages in flight, at most
	smooth   int  // messages sent since the limit was changed
	calm     time.Time
	flights  int
	ready    []*item
	held     int // deliveries taken and not written
	load     map[entity.Seq]int
	gathers  map[entity.Seq]*gather
	writes   int
	notes    map[entity.Seq]*prepared
	accepted map[place]int
	walks    walks
	dry      bool      // there is nothing that is due
	next     time.Time // when there may be
	searched time.Time // when all open deliveries were looked for last
	reviewed time.Time // when the notifier was read last
	used     time.Time // last
}

func newPool(l *lane, notifier entity.Seq) *pool {
	return &pool{
		lane: l, e: l.e, notifier: notifier, woken: make(chan struct{}, 1), landed: make(chan landing), written: make(chan writing),
		load: map[entity.Seq]int{}, gathers: map[entity.Seq]*gather{}, notes: map[entity.Seq]*prepared{},
		accepted: map[place]int{}, walks: walks{of: map[entity.Seq]*walk{}, search: true}, used: time.Now(),
	}
}

// tell wakes the pool to look for deliveries of a notification; 0: of any. It waits for
// nothing.
func (p *pool) tell(notification entity.Seq) {
	p.told.add(notification)
	p.poke()
}

// poke wakes the pool. It waits for nothing.
func (p *pool) poke() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// run sends until the lead is lost or there was nothing to do for long, and returns when
// nothing is in flight and all that is known is written.
func (p *pool) run() {
	defer func() { p.retire(p.sender) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		ended, leads := p.lane.ctx.Done(), p.lane.leads()
		until := now.Add(dryFor)
		if leads {
			until = earlier(until, p.work(now))
		} else {
			until = now.Add(p.e.cfg.Watch)
			p.giveBack(func(*item) bool { return true })
		}
		until = earlier(until, p.settle(now, !leads))
		over := p.lane.ctx.Err() != nil
		if p.flights == 0 && p.writes == 0 && p.held == 0 {
			if (over || now.Sub(p.used) >= p.e.cfg.Idle) && p.lane.remove(p) {
				return
			}
		} else {
			p.used = now
		}
		if over {
			ended = nil
		}
		timer.Reset(max(0, time.Until(until)))
		select {
		case <-ended:
		case <-p.woken:
			p.dry = false
		case l := <-p.landed:
			p.land(l)
		case w := <-p.written:
			p.writes--
			p.noteWritten(w)
		case <-timer.C:
			if p.dry && time.Since(p.searched) >= dryFor {
				p.dry, p.walks.search = false, true
			}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// work starts what may be started, and returns when to look again; zero: when something
// has happened.
func (p *pool) work(now time.Time) (until time.Time) {
	if p.giveUp || p.lane.anyHalted() {
		p.giveBack(func(it *item) bool { return p.giveUp || p.lane.isHalted(it.notification) })
	}
	if err := p.review(now); err != nil {
		return p.unread(now, err)
	}
	if !p.giveUp {
		if p.breaker.paused(now) {
			return earlier(p.breaker.until, now.Add(reviewEvery))
		}
		if now.Before(p.calm) {
			return p.calm
		}
	}
	if !p.next.IsZero() && !now.Before(p.next) {
		p.dry, p.next = false, time.Time{}
	}
	if !p.dry && len(p.ready) < takeAtOnce/2 && p.held < maxHeld {
		if err := p.take(now); err != nil {
			p.dry, p.next = true, p.unread(now, err)
		}
		if !p.dry && len(p.ready) == 0 && p.held < maxHeld {
			return now // there was much to look through, and there is more
		}
	}
	if p.start() {
		return now.Add(slotPause)
	}
	return p.next
}

// unread says that the partition could not be read, and returns when to try again.
func (p *pool) unread(now time.Time, err error) time.Time {
	if p.lane.leads() {
		p.e.log.Warn("open deliveries not read, trying again", "partition", p.lane.partition, "application", p.lane.app, "error", err)
	}
	return now.Add(readPause)
}

// review finds out whether the notifier was changed or deleted, if something waits for it
// and it was not read lately: that ends a pause.
func (p *pool) review(now time.Time) (err error) {
	if len(p.ready) == 0 && !p.breaker.paused(now) || now.Sub(p.reviewed) < reviewEvery {
		return nil
	}
	v, err := p.e.host.View(p.lane.partition)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	return p.open(v)
}

// start starts what is ready, as far as there may be more in flight. It reports whether
// others have all places that there are.
func (p *pool) start() (crowded bool) {
	if p.sender == nil {
		return false
	}
	limit := max(1, min(p.limit, p.e.cfg.inFlight(p.route.kind)))
	if p.breaker.trying() {
		limit = 1
	}
	for p.flights < limit && len(p.ready) > 0 && p.lane.leads() {
		slot := p.flights >= reserved
		if slot {
			select {
			case p.e.slots <- struct{}{}:
			default:
				return true
			}
		}
		n := p.batch()
		items := p.ready[:n:n]
		if p.ready = p.ready[n:]; len(p.ready) == 0 {
			p.ready = nil
		}
		p.flights++
		p.sender.flights++
		p.fly(p.sender, items, slot)
	}
	return false
}

// batch is how many of what is ready go with the first: those of the same notification,
// as it was read at the same time.
func (p *pool) batch() int {
	most := p.sender.batch()
	n := 1
	for n < most && n < len(p.ready) && p.ready[n].note == p.ready[0].note {
		n++
	}
	return n
}

// giveBack lets go of what is ready and was not begun.
func (p *pool) giveBack(which func(*item) bool) {
	kept := p.ready[:0:0]
	var back []place
	for _, it := range p.ready {
		if which(it) {
			back = append(back, it.place)
		} else {
			kept = append(kept, it)
		}
	}
	if len(back) > 0 {
		p.ready = kept
		p.reopen(back)
	}
}

// reopen lets go of deliveries that were taken and are as open as they were.
func (p *pool) reopen(places []place) {
	p.free(places)
	for _, at := range places {
		p.walks.begin(at.notification)
	}
}

// free lets go of deliveries that were taken.
func (p *pool) free(places []place) {
	p.lane.busy.release(places...)
	p.held -= len(places)
	for _, at := range places {
		if p.load[at.notification]--; p.load[at.notification] <= 0 {
			delete(p.load, at.notification)
			delete(p.notes, at.notification)
		}
	}
	p.dry = false
}
