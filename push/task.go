package push

import (
	"context"
	"errors"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Bounds of steps.
const (
	soon         = 250 * time.Millisecond // a notification that is to start so soon starts
	closeItems   = 200                    // open deliveries that a step ends
	closePause   = 100 * time.Millisecond // while what is in flight ends
	receiptItems = 200                    // receipts of a deleted notification that a step removes
	maxUncaught  = 4                      // steps that fail before a notification does, long before its task is given up
	maxPosition  = entity.MaxTaskBody - 1<<10
)

// stepper is one step of the task of a notification.
type stepper struct {
	*Engine
	ctx  context.Context
	task Task
	at   progress
	lane *lane
	note *note // nil: it was deleted
}

// Step does the next step of the task of a notification, which this node's partition is
// to hold. It is harmless to repeat.
func (e *Engine) Step(ctx context.Context, t Task) (Step, error) {
	at, err := decodeProgress(t.Body)
	if err != nil {
		return Step{}, err
	}
	s := stepper{Engine: e, ctx: ctx, task: t, at: at, lane: e.lane(t.Partition, t.App)}
	if s.lane == nil {
		return Step{}, fault.New(fault.Stopping, "the node is stopping")
	}
	if err := s.read(); err != nil {
		return Step{}, err
	}
	switch {
	case s.note == nil:
		return s.gone()
	case at.phase == phaseNew:
		return s.begin()
	case at.phase == phaseResolve:
		return s.resolve()
	case at.phase == phaseEnd:
		return s.end(string(at.rest))
	}
	return s.send()
}

func (s *stepper) view(f func(v *storage.View) error) error {
	v, err := s.host.View(s.task.Partition)
	if err != nil {
		return err
	}
	return errors.Join(f(v), v.Close())
}

func (s *stepper) read() error {
	return s.view(func(v *storage.View) (err error) {
		s.note, err = noteByID(v, s.task.App, s.at.notification)
		return err
	})
}

// change changes the notification by what differs between the facts before and after f,
// and more members of f's. It reads it again.
func (s *stepper) change(f func(n *note, patch map[string]any)) error {
	_, err := s.revise(s.task.Partition, s.task.App, notifications, s.at.notification, func(e *entity.Entity) ([]byte, error) {
		n, err := parseNote(e)
		if err != nil {
			return nil, err
		}
		return s.patch(n, f), nil
	})
	if err != nil {
		return err
	}
	return s.read()
}

// patch makes the change of a notification: what f says and the state that follows; nil
// if f says nothing.
func (s *stepper) patch(n *note, f func(n *note, patch map[string]any)) []byte {
	patch := map[string]any{}
	if f(n, patch); len(patch) == 0 {
		return nil
	}
	patch["state"] = entity.NotificationState(n.facts, s.now())
	return provider.Marshal(patch)
}

func (s *stepper) now() int64 { return s.task.Now.UnixMilli() }

// going is a step that goes on with the task as it is now.
func (s *stepper) going(effect command.Op, after time.Duration) Step {
	step := Step{Effect: effect, Body: s.at.append(nil)}
	if after > 0 {
		step.NotBefore = s.task.Now.Add(after)
	}
	return step
}

// begin starts a notification when its time has come.
func (s *stepper) begin() (Step, error) {
	s.at.number = s.note.number
	figures, err := s.deliveriesOf(s.lane, s.at.number)
	if err != nil {
		return Step{}, err
	}
	if figures.Open > 0 { // of a run before, which nobody has ended
		return s.close(nil)
	}
	s.lane.forget(s.at.number)
	s.at.cursor, s.at.waits = 0, 0
	if figures.Total() > 0 {
		return s.going(command.ClearDeliveries{Number: s.at.number}, 0), nil
	}
	f := s.note.facts
	if f.Canceled || f.Error || f.Finished != 0 {
		return s.end("")
	}
	if f.Started == 0 {
		switch {
		case s.note.expired(s.task.Now):
			return s.expire()
		case f.Deliver > s.now()+soon.Milliseconds():
			due := f.Deliver
			if f.Expire != 0 {
				due = min(due, f.Expire)
			}
			return Step{Body: s.at.append(nil), NotBefore: time.UnixMilli(due)}, nil
		}
	}
	err = s.change(func(n *note, patch map[string]any) {
		if n.facts.Started == 0 {
			n.facts.Started = s.now()
			patch["started"] = n.facts.Started
		}
	})
	if err != nil || s.note == nil {
		return s.going(nil, 0), err
	}
	s.at.phase = phaseResolve
	return s.resolve()
}

// expire ends a notification that was never started.
func (s *stepper) expire() (Step, error) {
	patch := s.patch(s.note, func(_ *note, patch map[string]any) { nothingSent(patch) })
	return Step{Effect: s.revision(patch), Finish: true}, nil
}

func nothingSent(patch map[string]any) {
	patch["statistics"] = map[string]any{"sent": 0, "errors": 0}
	patch["deviceProcessedCount"], patch["expectedCount"] = 0, 0
}

func (s *stepper) revision(patch []byte) command.Op {
	return command.ReviseEntity{Rules: notifications, ID: s.note.id, Rev: s.note.rev, Patch: patch}
}

// resolve queues the deliveries to the next of the devices that a notification is for.
func (s *stepper) resolve() (Step, error) {
	if s.ending() {
		s.at.phase, s.at.rest = phaseSend, nil
		return s.send()
	}
	items, next, err := s.page()
	switch {
	case err != nil && s.passing(err):
		return Step{}, err
	case err != nil:
		if fault.CodeOf(err) == fault.Corrupt || fault.CodeOf(err) == fault.Uncaught {
			s.log.Error("the target of a notification cannot be resolved", "application", s.task.App, "notification", s.at.notification, "error", err)
		}
		if err = s.fail(err); err != nil || s.note == nil {
			return s.going(nil, 0), err
		}
		next = nil
	}
	if s.at.rest = next; next == nil {
		s.at.phase = phaseSend
		if len(items) == 0 {
			return s.send()
		}
	}
	var effect command.Op
	if len(items) > 0 {
		effect = command.QueueDeliveries{Rules: notifications, Notification: s.note.id, Number: s.note.number, Items: items}
	}
	return s.going(effect, 0), nil
}

// page finds the next devices, and the notifier that each gets the notification through.
func (s *stepper) page() (items []command.NewDelivery, next []byte, err error) {
	if s.note.pathQuery == nil {
		return nil, nil, nil
	}
	err = s.view(func(v *storage.View) error {
		routes, err := routesOf(v, s.task.App, s.note, s.cfg.Providers)
		if err != nil || len(routes) == 0 {
			return err
		}
		var found []entity.Entity
		for _, r := range routes {
			s.lane.wake(r.number, s.note.number) // for what the last step has queued
		}
		found, next, err = s.targets.Devices(s.ctx, v, s.task.App, s.note.pathQuery, s.note.filters, s.note.useGraph, s.at.rest, s.cfg.Page)
		if err != nil {
			return err
		}
		for i := range found {
			o, err := parseObject(found[i].JSON)
			if err != nil {
				return fault.Wrap(err, fault.Corrupt, "device %s", found[i].ID)
			}
			if r, ok := choose(routes, o); ok {
				items = append(items, command.NewDelivery{Device: found[i].Seq, Notifier: r.number})
			}
		}
		return nil
	})
	if err == nil && len(next) > maxPosition {
		err = fault.New(fault.IllegalArgument, "the target is too long to be resolved")
	}
	if err != nil {
		return nil, nil, err
	}
	return items, next, nil
}

// passing tells an error that says nothing of the notification: one of a cluster in
// trouble, or one that nobody knows, until it has come again and again.
func (s *stepper) passing(err error) bool {
	switch fault.CodeOf(err) {
	case fault.NoQuorum, fault.Timeout, fault.Overloaded, fault.DiskFull, fault.NotHere, fault.Stopping:
		return true
	case fault.Uncaught:
		return s.task.Attempts < maxUncaught || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	}
	return false
}

// fail says that the devices could not be found.
func (s *stepper) fail(cause error) error {
	message := "an error of the server"
	var f *fault.Error
	if errors.As(cause, &f) && f.Code != fault.Corrupt { // where the damage is, is the operator's
		message = f.Message
	}
	return s.change(func(n *note, patch map[string]any) {
		if !n.facts.Error {
			n.facts.Error = true
			patch["errorMessage"], patch["processingFinished"] = "the target cannot be resolved: "+message, -1
		}
	})
}

// ending tells that nothing more is to be begun.
func (s *stepper) ending() bool {
	f := s.note.facts
	return f.Canceled || f.Error || s.note.expired(s.task.Now)
}

// send waits until no delivery is open.
func (s *stepper) send() (Step, error) {
	s.lane.await(s.at.number) // before the figures are read: the last delivery is seen by one of the two
	figures, err := s.deliveriesOf(s.lane, s.at.number)
	if err != nil {
		return Step{}, err
	}
	if figures.Open == 0 {
		return s.finish(&figures)
	}
	if !s.note.processed {
		if err := s.change(s.found); err != nil || s.note == nil {
			return s.going(nil, 0), err
		}
	}
	switch {
	case s.note.facts.Canceled:
		return s.close(nil)
	case s.note.expired(s.task.Now):
		return s.close(expiredOutcome)
	}
	if err := s.wake(s.task.Partition, s.task.App); err != nil {
		return Step{}, err
	}
	wait := min(s.cfg.Wait<<min(s.at.waits, 16), s.cfg.MaxWait)
	s.at.waits++
	if x := s.note.facts.Expire; x != 0 {
		wait = max(time.Millisecond, min(wait, time.UnixMilli(x).Sub(s.task.Now)))
	}
	return s.going(nil, wait), nil
}

// found notes that all devices are found.
func (s *stepper) found(n *note, patch map[string]any) {
	if !n.processed {
		n.processed = true
		patch["processingFinished"] = s.now()
	}
	if n.facts.Queued == 0 && n.facts.Started != 0 {
		n.facts.Queued = s.now()
		patch["queued"] = n.facts.Queued
	}
}

// close ends open deliveries that are not in flight: with an outcome, or by dropping them.
func (s *stepper) close(end func(attempts int) outcome) (Step, error) {
	s.lane.halt(s.at.number)
	var verdicts []command.Verdict
	err := s.view(func(v *storage.View) (err error) {
		verdicts, err = s.closing(v, end)
		return err
	})
	if err != nil {
		return Step{}, err
	}
	if len(verdicts) == 0 {
		s.at.cursor = 0
		return s.going(nil, closePause), nil
	}
	op := command.SettleDeliveries{Rules: notifications, Number: s.at.number, Verdicts: verdicts, Receipts: receipts}
	if s.note != nil {
		op.Notification = s.note.id
	}
	return s.going(op, 0), nil
}

func (s *stepper) closing(v *storage.View, end func(attempts int) outcome) (verdicts []command.Verdict, err error) {
	type open struct {
		device entity.Seq
		entity.Delivery
	}
	var list []open
	err = storage.OpenDeliveries(v, s.task.App, s.at.number, s.at.cursor, func(device entity.Seq, d entity.Delivery) (bool, error) {
		if !s.lane.busy.has(place{s.at.number, device}) {
			list = append(list, open{device, d})
		}
		s.at.cursor = device
		return len(list) < closeItems, nil
	})
	known := map[entity.Seq]*route{}
	for i := 0; err == nil && i < len(list); i++ {
		d := &list[i]
		verdict := command.Verdict{Device: d.device, Attempts: d.Attempts, State: entity.DeliveryDropped}
		if end != nil {
			o := end(int(d.Attempts))
			verdict.State = o.state
			if s.note.wantsReceipt(false, s.cfg.AllReceipts) {
				verdict.Receipt, err = s.unsent(v, d.device, d.Notifier, known, &o)
			}
		}
		verdicts = append(verdicts, verdict)
	}
	return verdicts, err
}

// unsent makes the receipt of a delivery that is not tried any more.
func (s *stepper) unsent(v *storage.View, device, notifier entity.Seq, known map[entity.Seq]*route, o *outcome) (*command.NewEntity, error) {
	r, ok := known[notifier]
	if !ok {
		var err error
		if r, err = routeByNumber(v, s.task.App, notifier, s.cfg.Providers); err != nil {
			return nil, err
		}
		known[notifier] = r
	}
	e, ok, err := readDevice(v, s.task.App, device)
	if err != nil {
		return nil, err
	}
	var token string
	var payload []byte
	if r != nil {
		if translated, err := s.translate(r, s.note); err == nil {
			payload = translated.Receipt()
		}
		if ok {
			o, err := parseObject(e.JSON)
			if err != nil {
				return nil, err
			}
			h, _ := r.tokenOf(o)
			token = h.token.Shown
		}
	}
	return receiptOf(s.note, e.ID, r, token, payload, o, s.task.Now), nil
}

// finish ends a notification of which no delivery is open.
func (s *stepper) finish(figures *entity.Deliveries) (Step, error) {
	why := ""
	if figures.Refused > 0 && figures.Sent == 0 && figures.Failed == 0 {
		if why = s.lane.refusal(s.at.number); why == "" {
			why = "no delivery was possible; the receipts say why"
		} else {
			why = "no delivery was possible, the last was refused: " + why
		}
	}
	if figures.Total() == 0 {
		return s.end(why)
	}
	s.at.phase, s.at.rest = phaseEnd, []byte(why)
	return s.going(command.ClearDeliveries{Number: s.at.number}, 0), nil
}

// end says that a notification has ended; why it has failed, if it has.
func (s *stepper) end(why string) (Step, error) {
	patch := s.patch(s.note, func(n *note, patch map[string]any) {
		if n.facts.Finished == 0 {
			n.facts.Finished = s.now()
			patch["finished"] = n.facts.Finished
		}
		s.found(n, patch)
		if !n.counted {
			nothingSent(patch)
		}
		if why != "" && !n.facts.Error && !n.facts.Canceled {
			n.facts.Error = true
			patch["errorMessage"] = why
		}
	})
	s.lane.forget(s.at.number)
	step := Step{Finish: true}
	if patch != nil {
		step.Effect = s.revision(patch)
	}
	return step, nil
}

// gone ends what is left of a notification that was deleted: deliveries and receipts.
func (s *stepper) gone() (Step, error) {
	if s.at.number != 0 {
		figures, err := s.deliveriesOf(s.lane, s.at.number)
		switch {
		case err != nil:
			return Step{}, err
		case figures.Open > 0:
			return s.close(nil)
		case figures.Total() > 0:
			return s.going(command.ClearDeliveries{Number: s.at.number}, 0), nil
		}
		s.lane.forget(s.at.number)
	}
	var ids []entity.ID
	err := s.view(func(v *storage.View) (err error) {
		ids, err = receiptsOf(v, s.task.App, s.at.notification, receiptItems)
		return err
	})
	if err != nil {
		return Step{}, err
	}
	if len(ids) == 0 {
		return Step{Finish: true}, nil
	}
	return s.going(command.DeleteEntities{Collection: receipts.Collection, IDs: ids}, 0), nil
}
