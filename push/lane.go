package push

import (
	"context"
	"sync"

	"github.com/trellisdb/trellis/storage/entity"
)

// lane is the deliveries of an application, on the node that leads its partition.
type lane struct {
	e         *Engine
	app       entity.AppID
	partition entity.Partition
	ctx       context.Context // ends with the lead: nothing is begun any more
	stop      context.CancelFunc
	busy      *busy

	mu struct {
		sync.Mutex
		pools map[entity.Seq]*pool // by notifier
		// What the tasks of notifications have told, until they forget it.
		halted  map[entity.Seq]bool // nothing more of it is sent
		awaited map[entity.Seq]bool // its task waits for the last delivery
		// refusals say of a notification why a delivery was refused.
		refusals map[entity.Seq]string
	}
}

// place names a delivery.
type place struct{ notification, device entity.Seq }

// busy are the deliveries that pools have taken, until what became of them is written.
// A lane leaves them to the next of the same application: what was in flight when the
// lead was lost may still be when it is won again.
type busy struct {
	mu     sync.Mutex
	places map[place]struct{}
}

func (b *busy) add(at place) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, taken := b.places[at]; taken {
		return false
	}
	b.places[at] = struct{}{}
	return true
}

func (b *busy) has(at place) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, taken := b.places[at]
	return taken
}

func (b *busy) release(places ...place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range places {
		delete(b.places, at)
	}
}

func (b *busy) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.places)
}

func newLane(e *Engine, p entity.Partition, app entity.AppID, b *busy) *lane {
	l := &lane{e: e, app: app, partition: p, busy: b}
	l.ctx, l.stop = context.WithCancel(e.running)
	l.mu.pools = map[entity.Seq]*pool{}
	l.mu.halted, l.mu.awaited, l.mu.refusals = map[entity.Seq]bool{}, map[entity.Seq]bool{}, map[entity.Seq]string{}
	return l
}

// leads tells whether anything may be begun.
func (l *lane) leads() bool { return l.ctx.Err() == nil && l.e.host.Leads(l.partition) }

// wake lets the pool of a notifier look for deliveries of a notification, 0: of any, and
// makes the pool if there may be one more. If not, the tasks of its notifications wake it
// again.
func (l *lane) wake(notifier, notification entity.Seq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.mu.pools[notifier]
	if p == nil {
		p = newPool(l, notifier)
		if l.ctx.Err() != nil || !l.e.startPool(p) {
			return
		}
		l.mu.pools[notifier] = p
	}
	p.tell(notification)
}

func (l *lane) wakeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.mu.pools {
		p.poke()
	}
}

// remove takes a pool away that has nothing to do. It reports false if it was woken.
func (l *lane) remove(p *pool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(p.woken) > 0 && l.ctx.Err() == nil {
		return false
	}
	delete(l.mu.pools, p.notifier)
	return true
}

// take marks a delivery as taken. It reports false if it was, or may not be.
func (l *lane) take(at place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.mu.halted[at.notification] && l.busy.add(at)
}

// halt stops what is not in flight yet of a notification: pools give it back.
func (l *lane) halt(notification entity.Seq) {
	l.mu.Lock()
	first := !l.mu.halted[notification]
	l.mu.halted[notification] = true
	l.mu.Unlock()
	if first {
		l.wakeAll()
	}
}

func (l *lane) anyHalted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.halted) > 0
}

func (l *lane) isHalted(notification entity.Seq) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.halted[notification]
}

// await says that the task of a notification is to be woken when none of its deliveries
// is open any more.
func (l *lane) await(notification entity.Seq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.awaited[notification] = true
}

func (l *lane) isAwaited(notification entity.Seq) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.awaited[notification]
}

// noteRefusal keeps why a delivery of a notification was refused.
func (l *lane) noteRefusal(notification entity.Seq, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.refusals[notification] = why
}

func (l *lane) refusal(notification entity.Seq) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.refusals[notification]
}

// forget drops what was kept of a notification that has ended or begins anew.
func (l *lane) forget(notification entity.Seq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mu.halted, notification)
	delete(l.mu.awaited, notification)
	delete(l.mu.refusals, notification)
}
