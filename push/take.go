package push

import (
	"errors"
	"math"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// Bounds of one look for deliveries that are due.
const (
	maxPairs   = 1024 // notifications looked at, and found
	maxWalks   = 8192 // notifications known, some of which have ended
	minQuantum = 16   // deliveries of one that are taken before it is another's turn
)

// prepared is a notification as the notifier sends it.
type prepared struct {
	*note
	payload provider.Payload
	bad     error // it cannot be
}

// take reads deliveries that are due: of the notifications on whose turn it is. p.dry
// says afterwards that nothing more is due, and p.next when something will be.
func (p *pool) take(now time.Time) (err error) {
	v, err := p.e.host.View(p.lane.partition)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	if err := p.open(v); err != nil {
		return err
	}
	t := taking{pool: p, v: v, now: now, until: now.UnixMilli()}
	if p.route == nil || p.giveUp {
		t.until = math.MaxInt64
	}
	p.told.hand(&p.walks)
	if p.walks.search || len(p.walks.of) > maxWalks {
		if err := p.walks.discover(v, p.lane.app, p.notifier, p.load); err != nil {
			return err
		}
		p.searched = now
	}
	p.walks.rouse(t.until)
	for looked := 0; looked < maxPairs && t.found < takeAtOnce; looked++ {
		number, w := p.walks.first()
		if w == nil {
			break
		}
		if err := t.notification(number, w); err != nil {
			p.walks.begin(number)
			return err
		}
	}
	p.dry, p.next = p.walks.idle(), time.Time{}
	if p.dry {
		p.giveUp = false
		if next := p.walks.next(); next != 0 {
			p.next = time.UnixMilli(next)
		}
	}
	return nil
}

// taking is one look for deliveries.
type taking struct {
	*pool
	v     *storage.View
	now   time.Time
	until int64 // ms since the epoch: what is due by then is taken
	found int
}

// notification takes deliveries of one.
func (t *taking) notification(number entity.Seq, w *walk) error {
	if t.lane.isHalted(number) {
		t.walks.drop(number) // its task ends them
		return nil
	}
	at := w.from
	var due []keys.Due
	quantum := max(minQuantum, (takeAtOnce-t.found)/4)
	collect := func(d keys.Due) (bool, error) {
		if !t.lane.busy.has(place{d.Notification, d.Device}) {
			due = append(due, d)
		}
		at = d
		return len(due) < quantum, nil
	}
	var err error
	if w.begun {
		err = storage.DueDeliveriesAfter(t.v, t.lane.app, w.from, t.until, collect)
	} else {
		err = storage.DueDeliveries(t.v, t.lane.app, t.notifier, number, t.until, collect)
	}
	if err != nil {
		return err
	}
	if len(due) == quantum {
		w.from, w.begun = at, true
		t.walks.goOn(number)
	} else if err := t.rest(number, w); err != nil {
		return err
	}
	if len(due) == 0 {
		return nil
	}
	n, err := t.prepare(number)
	if err != nil {
		return err
	}
	for _, d := range due {
		if err := t.delivery(n, d); err != nil {
			return err
		}
	}
	if t.load[number] == 0 {
		delete(t.notes, number)
	}
	return nil
}

// rest ends the walk through a notification of which all that is due is taken, until
// something more is due or comes: what comes is due by the clock of its leader, which
// may be a little late.
func (t *taking) rest(number entity.Seq, w *walk) error {
	const late = 2 * time.Second
	w.from = keys.Due{Notifier: t.notifier, Notification: number, At: max(0, t.now.Add(-late).UnixMilli()), Device: ^entity.Seq(0)}
	w.begun, w.next = true, 0
	if t.until == math.MaxInt64 {
		return nil
	}
	after := keys.Due{Notifier: t.notifier, Notification: number, At: t.until, Device: ^entity.Seq(0)}
	return storage.DueDeliveriesAfter(t.v, t.lane.app, after, math.MaxInt64, func(d keys.Due) (bool, error) {
		w.next = d.At
		return false, nil
	})
}

// prepare reads a notification; what it holds is nil if that is gone.
func (t *taking) prepare(number entity.Seq) (*prepared, error) {
	n, err := noteByNumber(t.v, t.lane.app, number)
	if err != nil {
		return nil, err
	}
	old := t.notes[number]
	if n == nil {
		return &prepared{}, nil
	}
	if old != nil && old.note != nil && old.rev == n.rev {
		return old, nil
	}
	fresh := &prepared{note: n}
	if t.route != nil {
		fresh.payload, fresh.bad = t.e.translate(t.route, n)
	}
	t.notes[number] = fresh
	return fresh, nil
}

// delivery takes one: to be sent, or to be ended as it is.
func (t *taking) delivery(n *prepared, at keys.Due) error {
	d, ok, err := storage.ReadDelivery(t.v, t.lane.app, at.Notification, at.Device)
	if err != nil || !ok || d.State != entity.DeliveryOpen {
		return err
	}
	it := &item{place: place{at.Notification, at.Device}, note: n.note, route: t.route, payload: n.payload, began: time.UnixMilli(d.Began), attempts: d.Attempts}
	end, err := t.readDevice(it)
	if err != nil || !t.lane.take(it.place) {
		return err
	}
	t.found++
	t.pool.held++
	t.load[it.notification]++
	attempts := int(d.Attempts)
	switch {
	case n.note == nil || n.facts.Canceled:
		t.drop(it)
	case n.expired(t.now):
		t.conclusion(it, expiredOutcome(attempts), t.now)
	case t.route == nil:
		t.conclusion(it, failedOutcome(provider.FailNotifier(codeNotifierDeleted, "the notifier was deleted"), attempts), t.now)
	case t.giveUp:
		t.conclusion(it, failedOutcome(t.breaker.last, attempts), t.now)
	case end != nil:
		t.conclusion(it, failedOutcome(*end, attempts), t.now)
	case n.bad != nil:
		t.conclusion(it, failedOutcome(provider.FailNotifier(provider.CodeBadPayload, n.bad.Error()), attempts), t.now)
	default:
		t.ready = append(t.ready, it)
	}
	return nil
}

// readDevice finds the token of a delivery's device, or why there is none.
func (t *taking) readDevice(it *item) (end *provider.Result, err error) {
	e, ok, err := readDevice(t.v, t.lane.app, it.device)
	if err != nil {
		return nil, err
	}
	if !ok {
		r := provider.Fail(codeDeviceDeleted, "the device was deleted")
		return &r, nil
	}
	it.id = e.ID
	if t.route == nil {
		return nil, nil
	}
	o, err := parseObject(e.JSON)
	if err != nil {
		return nil, err
	}
	if it.held, ok = t.route.tokenOf(o); !ok {
		r := provider.Fail(codeNotRegistered, "the device is not registered with the notifier any more")
		return &r, nil
	}
	return nil, nil
}

func readDevice(v storage.Reader, app entity.AppID, number entity.Seq) (entity.Entity, bool, error) {
	c, ok, err := storage.ReadCollectionID(v, app, devices.Collection)
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	return storage.ReadEntity(v, app, c, number)
}

// drop ends a delivery without an error or a receipt.
func (t *taking) drop(it *item) {
	n := it.note
	if n == nil {
		n = &note{number: it.notification}
	}
	t.gather(n, it.place, command.Verdict{Device: it.device, Attempts: it.attempts, State: entity.DeliveryDropped}, t.now)
}
