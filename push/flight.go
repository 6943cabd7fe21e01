package push

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// opened is a sender and how many messages are in flight with it.
type opened struct {
	sender   provider.Sender
	flights  int
	retired  bool
	unusable bool
}

func (o *opened) batch() int {
	if b, ok := o.sender.(provider.Batcher); ok {
		return max(1, b.MaxBatch())
	}
	return 1
}

// open makes p.sender one of the notifier as it is stored now; none if that is gone, and
// one that refuses if it cannot be used. What is ready for the notifier as it was is given
// back, to be taken anew.
func (p *pool) open(v *storage.View) error {
	r, err := routeByNumber(v, p.lane.app, p.notifier, p.e.cfg.Providers)
	if err != nil {
		return err
	}
	p.reviewed = time.Now()
	changed := r == nil || p.route == nil || p.route.rev != r.rev
	if changed {
		p.breaker, p.giveUp, p.walks.search = breaker{}, false, true
		p.giveBack(func(*item) bool { return true })
	}
	if r == nil {
		p.retire(p.sender)
		p.route, p.sender = nil, nil
		return nil
	}
	if changed {
		p.limit, p.calm = p.e.cfg.inFlight(r.kind), time.Time{}
		p.notes = map[entity.Seq]*prepared{}
	}
	if p.route = r; !changed && p.sender != nil && !p.sender.unusable {
		return nil
	}
	sealed, sealedOK, err := storage.ReadCredential(v, p.lane.app, r.id, entity.CredentialNotifier)
	if err != nil {
		return err
	}
	if !sealedOK {
		sealed.Value = nil
	}
	fresh, err := p.e.openSender(r, sealed.Value)
	if err != nil {
		if p.sender == nil || !p.sender.unusable {
			p.e.log.Warn("notifier cannot be used", "application", p.lane.app, "notifier", r.id, "error", err)
		}
		fresh = &opened{sender: unusable{}, unusable: true}
	}
	p.retire(p.sender)
	p.sender = fresh
	return nil
}

// openSender opens a sender of a stored notifier.
func (e *Engine) openSender(r *route, sealed []byte) (*opened, error) {
	var plain []byte
	var err error
	if sealed != nil {
		if plain, err = e.secrets.Open(r.id, entity.CredentialNotifier, sealed); err != nil {
			return nil, fmt.Errorf("its secrets: %w", err)
		}
	}
	n, err := Stored(r.json, plain)
	if err != nil {
		return nil, err
	}
	s, err := r.provider.Open(*n)
	return &opened{sender: s}, err
}

// retire closes a sender when nothing is in flight with it any more.
func (p *pool) retire(o *opened) {
	if o == nil {
		return
	}
	if o.retired = true; o.flights == 0 {
		p.e.done.Go(o.sender.Close)
	}
}

// unusable is a sender of a notifier that cannot be opened.
type unusable struct{}

func (unusable) Send(context.Context, provider.Message) provider.Result {
	return provider.Block(codeUnusable, "the notifier cannot be used: its properties or secrets are not what they should be")
}
func (unusable) Probe(context.Context) provider.Verdict { return provider.Verdict{} }
func (unusable) Close()                                 {}

// MessageID is the id of the message of a notification to a device, the same at every
// attempt: a UUID of version 8.
func MessageID(notification, device entity.ID) entity.ID {
	text := append([]byte("trellis message 1\x00"), notification[:]...)
	sum := sha256.Sum256(append(text, device[:]...))
	id := entity.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

// fly sends messages of one notification in a goroutine of their own.
func (p *pool) fly(o *opened, items []*item, slot bool) {
	messages := make([]provider.Message, len(items))
	for i, it := range items {
		messages[i] = provider.Message{
			ID: MessageID(it.note.id, it.id), Token: it.held.token.Text, Payload: it.payload, Expires: it.note.expires(),
			Priority: it.note.priority, Attempt: int(it.attempts) + 1, Accepted: p.accepted[it.place],
		}
	}
	p.e.done.Go(func() {
		results := p.e.send(o.sender, messages)
		for i, it := range items {
			switch {
			case results[i].Gone:
				p.e.clearToken(p.lane, it, results[i].GoneSince)
			case results[i].NewToken != "":
				p.e.replaceToken(p.lane, it, results[i].NewToken)
			}
		}
		p.landed <- landing{o, slot, items, results}
	})
}

// send hands messages to a service. A panic is a failure.
func (e *Engine) send(s provider.Sender, messages []provider.Message) (results []provider.Result) {
	ctx, cancel := context.WithTimeout(e.sending, sendWithin)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			e.log.Error("a provider's client has panicked", "panic", r)
			results = make([]provider.Result, len(messages))
			for i := range results {
				results[i] = provider.FailNotifier("InternalError", "the client of the service has a defect")
			}
		}
	}()
	if b, ok := s.(provider.Batcher); ok && len(messages) > 1 {
		if results = b.SendBatch(ctx, messages); len(results) != len(messages) {
			panic(fmt.Sprintf("%d results of %d messages", len(results), len(messages)))
		}
		return results
	}
	return []provider.Result{s.Send(ctx, messages[0])}
}

// land takes note of what became of messages.
func (p *pool) land(l landing) {
	p.flights--
	if l.slot {
		<-p.e.slots
	}
	if l.sender.flights--; l.sender.retired && l.sender.flights == 0 {
		p.e.done.Go(l.sender.sender.Close)
	}
	now := time.Now()
	for i, it := range l.items {
		p.conclude(it, l.sender, l.results[i], now)
	}
}

// conclude decides what becomes of a delivery after an attempt.
func (p *pool) conclude(it *item, with *opened, r provider.Result, now time.Time) {
	attempt := int(it.attempts) + 1
	current := with == p.sender // else it says nothing of the notifier as it is now
	if r.SlowDown && current {
		p.slowDown(now, r.RetryAfter)
	}
	switch r.Outcome {
	case provider.Sent:
		p.wellDone(current)
		p.conclusion(it, sentOutcome(r, attempt), now)
		return
	case provider.Failed:
		if r.Level == provider.TokenLevel && current {
			p.breaker.accepted()
		}
		p.conclusion(it, failedOutcome(r, attempt), now)
		return
	case provider.Blocked:
		if current && p.breaker.refused(now, p.e.cfg.Pause, r) {
			p.giveUp, p.walks.search = true, true // also what is not due yet fails
		}
		p.reopen([]place{it.place}) // of the message nothing is known
		return
	}
	if r.Code == provider.CodeClosed || r.Code == provider.CodeCanceled {
		p.reopen([]place{it.place})
		return
	}
	at, ok := again(r, attempt, p.e.cfg.RetryCap, now, it.began, it.note.expires(), rand.Float64())
	if !ok {
		p.conclusion(it, failedOutcome(r, attempt), now)
		return
	}
	if r.Accepted > 0 && len(p.accepted) < maxRemembered {
		p.accepted[it.place] = r.Accepted
	}
	p.e.figures.retried(p.kind())
	p.gather(it.note, it.place, command.Verdict{Device: it.device, Attempts: it.attempts, State: entity.DeliveryOpen, Due: at.UnixMilli()}, now)
}

// conclusion is the end of a delivery that was sent, or will not be.
func (p *pool) conclusion(it *item, o outcome, now time.Time) {
	v := command.Verdict{Device: it.device, Attempts: it.attempts, State: o.state}
	if it.note.wantsReceipt(o.state == entity.DeliverySent, p.e.cfg.AllReceipts) {
		var shown json.RawMessage
		if it.payload != nil {
			shown = it.payload.Receipt()
		}
		v.Receipt = receiptOf(it.note, it.id, it.route, it.held.token.Shown, shown, &o, now)
	}
	delete(p.accepted, it.place)
	p.concluded(it.note.number, o)
	p.gather(it.note, it.place, v, now)
}

// concluded counts the end of a delivery.
func (p *pool) concluded(notification entity.Seq, o outcome) {
	switch o.state {
	case entity.DeliverySent:
		p.e.figures.sent(p.kind())
	case entity.DeliveryFailed, entity.DeliveryRefused:
		code := fmt.Sprint(o.code)
		p.e.figures.failed(p.kind(), code)
		if o.state == entity.DeliveryRefused {
			why := code + ": " + o.message
			if p.route != nil {
				why = "notifier " + p.route.label() + ", " + why
			}
			p.lane.noteRefusal(notification, why)
		}
	}
}

func (p *pool) kind() string {
	if p.route == nil {
		return "unknown"
	}
	return p.route.kind
}

// wellDone takes note of a message sent: a pool that was slowed down speeds up.
func (p *pool) wellDone(current bool) {
	if !current {
		return
	}
	p.breaker.accepted()
	if p.smooth++; p.smooth >= growAfter && p.route != nil && p.limit < p.e.cfg.inFlight(p.route.kind) {
		p.smooth = 0
		p.limit++
	}
}

// slowDown halves what may be in flight, and pauses; once, for all that were in flight
// together.
func (p *pool) slowDown(now time.Time, wait time.Duration) {
	if now.Before(p.calm) {
		return
	}
	p.limit, p.smooth = max(1, p.limit/2), 0
	p.calm = now.Add(min(max(wait, time.Second), time.Minute))
}
