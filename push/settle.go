package push

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Bounds of a write of outcomes.
const (
	settleItems = 200
	settleBytes = 128 << 10 // of receipts
	settleTries = 12        // before it is left to the next leader, about half a minute
)

// gather is what has become of deliveries of one notification, until it is written.
type gather struct {
	note     *note
	places   []place
	verdicts []command.Verdict
	bytes    int
	since    time.Time
}

func (g *gather) full() bool { return len(g.verdicts) >= settleItems || g.bytes >= settleBytes }

// gather keeps a verdict until it is written with others.
func (p *pool) gather(n *note, at place, v command.Verdict, now time.Time) {
	g := p.gathers[n.number]
	if g == nil {
		g = &gather{note: n, since: now}
		p.gathers[n.number] = g
	}
	g.places, g.verdicts = append(g.places, at), append(g.verdicts, v)
	if v.Receipt != nil {
		g.bytes += len(v.Receipt.JSON)
	}
}

// settle writes what has been gathered for long enough, or is much, or is the last that
// can come of its notification, and returns when to look again.
func (p *pool) settle(now time.Time, hurry bool) (until time.Time) {
	for number, g := range p.gathers {
		due := g.since.Add(p.e.cfg.Gather)
		if !hurry && !g.full() && p.load[number] > len(g.places) && now.Before(due) {
			until = earlier(due, until)
			continue
		}
		if p.writes >= p.e.cfg.Settlers {
			continue // the end of a write brings us back
		}
		part := g.part()
		if len(g.verdicts) == 0 {
			delete(p.gathers, number)
		} else {
			until = now
		}
		p.writes++
		p.write(part)
	}
	return until
}

// part takes from a gather what one command may hold.
func (g *gather) part() *gather {
	n, bytes := 0, 0
	for n < len(g.verdicts) && n < settleItems && bytes < settleBytes {
		if r := g.verdicts[n].Receipt; r != nil {
			bytes += len(r.JSON)
		}
		n++
	}
	first := &gather{note: g.note, places: g.places[:n:n], verdicts: g.verdicts[:n:n]}
	g.places, g.verdicts, g.bytes = g.places[n:], g.verdicts[n:], g.bytes-bytes
	return first
}

// write writes outcomes in a goroutine of its own, until they are written or the node
// stops.
func (p *pool) write(g *gather) {
	l, e := p.lane, p.e
	p.e.done.Go(func() {
		err := e.settle(l, g)
		if err != nil {
			e.log.Warn("outcomes of deliveries not written; they are sent again", "application", l.app, "notification", g.note.id, "deliveries", len(g.places), "error", err)
		}
		p.written <- writing{gather: g, failed: err != nil}
	})
}

// writing is the end of a write.
type writing struct {
	*gather
	failed bool // it is not known what of it is written
}

// noteWritten lets go of what was written. What is to be tried again is looked for when
// it is due.
func (p *pool) noteWritten(w writing) {
	if w.failed {
		p.reopen(w.places)
		return
	}
	p.free(w.places)
	if slices.ContainsFunc(w.verdicts, func(v command.Verdict) bool { return v.State == entity.DeliveryOpen }) {
		p.walks.goOn(w.note.number)
	}
}

func (e *Engine) settle(l *lane, g *gather) error {
	cmd := command.Command{
		Request: command.RequestID(entity.NewID()),
		Op: command.SettleDeliveries{
			Rules: notifications, Notification: g.note.id, Number: g.note.number, Verdicts: g.verdicts, Receipts: receipts,
		},
	}
	if err := e.insist(l.app, cmd); err != nil {
		return err
	}
	if !l.isAwaited(g.note.number) {
		return nil
	}
	figures, err := e.deliveriesOf(l, g.note.number)
	if err != nil || figures.Open > 0 {
		return err
	}
	// Who finds out that it was the last one says so; the task looks by itself, too.
	_, err = e.host.Propose(e.sending, l.app, command.Command{Op: command.ScheduleTask{ID: entity.PushTask(l.app, g.note.id), NotBefore: time.Now().UnixMilli()}})
	return err
}

// insist proposes a command until its outcome is known.
func (e *Engine) insist(app entity.AppID, cmd command.Command) error {
	pause := 50 * time.Millisecond
	for try := 1; ; try++ {
		out, err := e.host.Propose(e.sending, app, cmd)
		switch {
		case err == nil && out.Fault != nil:
			return out.Fault
		case err == nil:
			return nil
		case try == settleTries || fault.Is(err, fault.NotFound) || e.sending.Err() != nil:
			return err
		}
		if !sleep(e.sending, pause) {
			return err
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// sleep waits. It reports false if ctx has ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (e *Engine) deliveriesOf(l *lane, notification entity.Seq) (figures entity.Deliveries, err error) {
	v, err := e.host.View(l.partition)
	if err != nil {
		return figures, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	return storage.ReadDeliveries(v, l.app, notification)
}
