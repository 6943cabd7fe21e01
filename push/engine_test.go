package push

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

// ok answers that all was sent.
func ok(context.Context, provider.Message) provider.Result { return provider.Result{} }

// fake is a set with one more provider.
func fake(s *service) provider.Set { return provider.Set{"fake": s} }

// exactly fails the test unless each of the tokens was sent to once.
func exactly(t *testing.T, s *service, want []string) {
	t.Helper()
	got := s.sends()
	for _, token := range want {
		if got[token] != 1 {
			t.Errorf("%s was sent to %d times", token, got[token])
		}
		delete(got, token)
	}
	if len(got) > 0 {
		t.Errorf("besides: %v", got)
	}
}

func TestEveryDeviceGetsANotificationOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: ok}
		w.start(fake(s), nil)
		w.notifier("droid", "fake")
		w.devices("droid", tokens(1700)...)
		w.devices("other", "x1", "x2")
		id := w.notify(`{"droid":"hello"}`, "")
		if got, want := w.ended(id), `"FINISHED" {"sent":1700,"errors":0} 1700`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		exactly(t, s, tokens(1700))
		if s.max > 20 {
			t.Errorf("%d messages in flight", s.max)
		}
		if n := len(w.all(receipts.Collection)); n != 0 {
			t.Errorf("%d receipts of what was sent", n)
		}
		for _, name := range []string{"started", "queued", "processingFinished", "finished", "expectedCount"} {
			if w.says(id, name) == "-" {
				t.Errorf("no %s", name)
			}
		}
	})
}

func TestNobodyIsReachedAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(nil, nil)
		w.notifier("n", "noop")
		for _, payloads := range []string{`{"n":"x"}`, `{}`, `{"n":null}`, `{"gone":"x"}`} {
			if got, want := w.ended(w.notify(payloads, "")), `"FINISHED" {"errors":0,"sent":0} 0`; got != want {
				t.Errorf("%s ended %s, want %s", payloads, got, want)
			}
		}
	})
}

// TestFirstPayloadWithATokenWins, and a device gets one message, by name or by UUID.
func TestFirstPayloadWithATokenWins(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := &service{answer: ok}, &service{answer: ok}
		w.start(provider.Set{"a": a, "b": b}, nil)
		one, two := w.notifier("One", "a"), w.notifier("two", "b")
		w.create(devices, `{"two.notifier.id":"b1","ONE.notifier.id":"a1"}`)
		w.create(devices, `{"two.notifier.id":"b2","one.notifier.id":""}`)
		w.create(devices, fmt.Sprintf(`{"%s.notifier.id":"a3"}`, one.ID))
		w.create(devices, fmt.Sprintf(`{"one.notifier.id":"a4","%s.notifier.id":"never"}`, one.ID))
		w.create(devices, `{"one.notifier.id":null,"three.notifier.id":"c"}`)
		id := w.notify(fmt.Sprintf(`{"oNE":"x","%s":{"y":1}}`, two.ID), "")
		if got, want := w.ended(id), `"FINISHED" {"sent":4,"errors":0} 4`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		exactly(t, a, []string{"a1", "a3", "a4"})
		exactly(t, b, []string{"b2"})
	})
}

func TestReceiptsSayWhatBecameOfDeliveries(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(nil, nil)
		w.notifier("n", "noop")
		w.devices("n", "good", "fail:Odd")
		plain := w.notify(`{"n":"x"}`, "")
		if got, want := w.ended(plain), `"FINISHED" {"sent":1,"errors":1} 2`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		if by := w.receipts(); len(by) != 1 || by["fail:Odd"][0].text("errorCode") != "Odd" || by["fail:Odd"][0].get("sent") != nil {
			t.Errorf("receipts: %s", by)
		}
		w.ended(w.notify(`{"n":"x"}`, `,"saveReceipts":false,"debug":true`))
		if n := len(w.all(receipts.Collection)); n != 1 {
			t.Errorf("%d receipts", n)
		}
		w.ended(w.notify(`{"n":{"k":1}}`, `,"debug":true`))
		by := w.receipts()
		if len(by["good"]) != 1 || by["good"][0].get("sent") == nil || string(by["good"][0].get("payload")) != `{"k":1}` || by["good"][0].text("notifier") != "n" {
			t.Errorf("receipts: %s", by)
		}
		if len(by["fail:Odd"]) != 2 {
			t.Errorf("receipts: %s", by)
		}
	})
}

func TestScheduledNotificationStartsInTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: ok}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", "a")
		due := time.Now().Add(time.Hour)
		id := w.notify(`{"n":"x"}`, fmt.Sprintf(`,"deliver":%d`, due.UnixMilli()))
		time.Sleep(time.Hour - time.Second)
		if got := w.says(id, "state", "started"); got != `"SCHEDULED" -` || s.count() != 0 {
			t.Errorf("before its time: %s, %d sent", got, s.count())
		}
		w.ended(id)
		if late := time.Since(due); late > time.Second || late < 0 {
			t.Errorf("ended %s after its time", late)
		}
		exactly(t, s, []string{"a"})
	})
}

func TestScheduledNotificationCanBeCanceledOrExpires(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: ok}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", "a")
		later := fmt.Sprintf(`,"deliver":%d`, time.Now().Add(time.Hour).UnixMilli())
		id := w.notify(`{"n":"x"}`, later)
		w.change(notifications, id, `{"canceled":true,"state":"CANCELED"}`)
		if got, want := w.ended(id), `"CANCELED" {"errors":0,"sent":0} 0`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		waits := w.notify(`{"n":"x"}`, later+fmt.Sprintf(`,"expire":%d`, time.Now().Add(time.Minute).UnixMilli()))
		time.Sleep(time.Hour)
		for _, id := range []entity.ID{waits, w.notify(`{"n":"x"}`, `,"expire":5`)} {
			w.eventually("its task is done", func() bool { return !w.hasTask(id) })
			if got, want := w.says(id, "state", "statistics"), `"EXPIRED" {"errors":0,"sent":0}`; got != want {
				t.Errorf("ended %s, want %s", got, want)
			}
		}
		if s.count() != 0 {
			t.Errorf("%d messages sent", s.count())
		}
	})
}

// TestCancelStopsASlowBroadcast: what is in flight counts as it ends, and the rest is
// dropped without errors or receipts.
func TestCancelStopsASlowBroadcast(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: func(ctx context.Context, _ provider.Message) provider.Result {
			time.Sleep(time.Second)
			return provider.Result{}
		}}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", tokens(2000)...)
		id := w.notify(`{"n":"x"}`, "")
		time.Sleep(5500 * time.Millisecond)
		before := s.count()
		w.change(notifications, id, `{"canceled":true,"state":"CANCELED"}`)
		got := w.ended(id)
		if s.count() != before {
			t.Errorf("%d messages sent after it was canceled", s.count()-before)
		}
		if want := fmt.Sprintf(`"CANCELED" {"sent":%d,"errors":0} 2000`, before); got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		if n := len(w.all(receipts.Collection)); n != 0 {
			t.Errorf("%d receipts", n)
		}
	})
}

// TestOpenDeliveriesExpire: those that were not sent fail with the code 0.
func TestOpenDeliveriesExpire(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: func(ctx context.Context, m provider.Message) provider.Result {
			time.Sleep(time.Second)
			return provider.Result{}
		}}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", tokens(100)...)
		id := w.notify(`{"n":"x"}`, fmt.Sprintf(`,"expire":%d`, time.Now().Add(2500*time.Millisecond).UnixMilli()))
		got := w.ended(id)
		if want := fmt.Sprintf(`"FINISHED" {"sent":%d,"errors":%d} 100`, s.count(), 100-s.count()); got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		if s.count() > 60 || s.count() < 40 {
			t.Errorf("%d messages sent", s.count())
		}
		all := w.all(receipts.Collection)
		if len(all) != 100-s.count() {
			t.Errorf("%d receipts", len(all))
		}
		o, _ := parseObject(all[0].JSON)
		if string(o.get("errorCode")) != "0" || o.text("deviceId") == "" || o.text("notifierId") == "" {
			t.Errorf("receipt %s", all[0].JSON)
		}
	})
}

// TestTransientFailuresAreTriedAgain, with growing pauses, and the statistics count each
// delivery once.
func TestTransientFailuresAreTriedAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(nil, nil)
		w.notifier("n", "noop")
		w.devices("n", "a", "retry:1", "retry:4", "retry:99")
		began := time.Now()
		id := w.notify(`{"n":"x"}`, `,"debug":true`)
		if got, want := w.ended(id), `"FINISHED" {"sent":3,"errors":1} 4`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		by := w.receipts()
		for token, attempts := range map[string]string{"a": "1", "retry:1": "2", "retry:4": "5", "retry:99": "5"} {
			if len(by[token]) != 1 || string(by[token][0].get("attempts")) != attempts {
				t.Errorf("%s: %s", token, by[token])
			}
		}
		if took := time.Since(began); took < 12*time.Second || took > 20*time.Second {
			t.Errorf("five attempts took %s", took)
		}
		if got := w.nodes[0].engine.Stats().Providers[0]; got.Sent != 3 || got.Retries != 1+4+4 || got.Failed["retry"] != 1 {
			t.Errorf("figures: %+v", got)
		}
	})
}

// TestRefusedCredentialsPauseTheirNotifier, and after three pauses the notification has
// failed as a whole.
func TestRefusedCredentialsPauseTheirNotifier(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: func(context.Context, provider.Message) provider.Result {
			return provider.Block("InvalidProviderToken", "who are you")
		}}
		w.start(fake(s), nil)
		n := w.notifier("n", "fake")
		w.devices("n", tokens(300)...)
		began := time.Now()
		id := w.notify(`{"n":"x"}`, "")
		if got, want := w.ended(id), `"FAILED" {"sent":0,"errors":300} 300`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		if took := time.Since(began); took < 3*time.Minute || took > 4*time.Minute {
			t.Errorf("given up after %s", took)
		}
		if s.count() > 20+3 {
			t.Errorf("%d messages sent", s.count())
		}
		if got, want := w.says(id, "errorMessage"), `"no delivery was possible, the last was refused: notifier n, InvalidProviderToken: who are you"`; got != want {
			t.Errorf("error message %s, want %s", got, want)
		}
		if got := len(w.all(receipts.Collection)); got != 300 {
			t.Errorf("%d receipts", got)
		}
		// The next one finds that out at once, and one with new credentials is sent.
		began = time.Now()
		if got, want := w.ended(w.notify(`{"n":"x"}`, "")), `"FAILED" {"sent":0,"errors":300} 300`; got != want || time.Since(began) > time.Second {
			t.Errorf("ended %s after %s, want %s", got, time.Since(began), want)
		}
		s.mu.Lock()
		s.answer = ok
		s.mu.Unlock()
		w.change(notifierRules, n.ID, `{"x":1}`)
		if got, want := w.ended(w.notify(`{"n":"x"}`, "")), `"FINISHED" {"sent":300,"errors":0} 300`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		if s.opened != 2 || s.closed != 1 {
			t.Errorf("%d senders opened, %d closed", s.opened, s.closed)
		}
	})
}

// TestAPauseThatHelps: after it all is sent, and nothing counts as an error.
func TestAPauseThatHelps(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		began := time.Now()
		s := &service{answer: func(context.Context, provider.Message) provider.Result {
			if time.Since(began) < 90*time.Second {
				return provider.Block("x", "y")
			}
			return provider.Result{}
		}}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", tokens(300)...)
		if got, want := w.ended(w.notify(`{"n":"x"}`, "")), `"FINISHED" {"sent":300,"errors":0} 300`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
	})
}

// TestAChangeEndsAPause: what waited is sent by the notifier as it is then, and if that is
// deleted, ends.
func TestAChangeEndsAPause(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var good atomic.Bool
		s := &service{answer: func(context.Context, provider.Message) provider.Result {
			if good.Load() {
				return provider.Result{}
			}
			return provider.Block("x", "y")
		}}
		w.start(fake(s), func(c *Config) { c.Pause = 24 * time.Hour })
		n, gone := w.notifier("n", "fake"), w.notifier("gone", "fake")
		w.devices("n", tokens(300)...)
		w.devices("gone", tokens(300)...)
		id, lost := w.notify(`{"n":"x"}`, ""), w.notify(`{"gone":"x"}`, "")
		w.eventually("both are refused", func() bool { return s.count() == 40 })
		time.Sleep(time.Minute)
		good.Store(true)
		began := time.Now()
		w.change(notifierRules, n.ID, `{"note":"new"}`)
		w.do(command.DeleteEntity{Collection: notifiers, Target: command.Target{ID: gone.ID}})
		if got, want := w.ended(id), `"FINISHED" {"sent":300,"errors":0} 300`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		if got, want := w.ended(lost), `"FAILED" {"sent":0,"errors":300} 300`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// TestDeletedNotifierFailsItsDeliveries also those that wait for another attempt.
func TestDeletedNotifierFailsItsDeliveries(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: func(context.Context, provider.Message) provider.Result {
			r := provider.Again(provider.TokenLevel, "later", "")
			r.RetryAfter = 30 * time.Minute
			return r
		}}
		w.start(fake(s), nil)
		n := w.notifier("n", "fake")
		w.devices("n", tokens(50)...)
		id := w.notify(`{"n":"x"}`, "")
		w.eventually("all are tried", func() bool { return s.count() == 50 })
		w.do(command.DeleteEntity{Collection: notifiers, Target: command.Target{ID: n.ID}})
		if got, want := w.ended(id), `"FAILED" {"sent":0,"errors":50} 50`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		for _, e := range w.all(receipts.Collection) {
			if o, _ := parseObject(e.JSON); o.text("errorCode") != codeNotifierDeleted {
				t.Errorf("receipt %s", e.JSON)
			}
		}
	})
}

// TestDeletedDevicesAreCounted, so that the sums stay right.
func TestDeletedDevicesAreCounted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		first := true
		var list []entity.Entity
		s := &service{}
		s.answer = func(context.Context, provider.Message) provider.Result {
			s.mu.Lock()
			defer s.mu.Unlock()
			if first {
				first = false
				for _, d := range list[300:] {
					w.do(command.DeleteEntity{Collection: devices.Collection, Target: command.Target{ID: d.ID}})
				}
			}
			return provider.Result{}
		}
		w.notifier("n", "fake")
		list = w.devices("n", tokens(400)...)
		w.start(fake(s), func(c *Config) { c.InFlight["fake"] = 1 })
		got := w.ended(w.notify(`{"n":"x"}`, ""))
		if want := `"FINISHED" {"sent":300,"errors":100} 400`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
	})
}

// TestDeletedNotificationLeavesNothing of itself.
func TestDeletedNotificationLeavesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: func(context.Context, provider.Message) provider.Result {
			time.Sleep(time.Second)
			return provider.Fail("bad", "")
		}}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", tokens(700)...)
		other := w.notify(`{"n":"x"}`, "")
		w.ended(other)
		id := w.notify(`{"n":"x"}`, "")
		time.Sleep(10500 * time.Millisecond)
		w.do(command.DeleteEntity{Collection: notifications.Collection, Target: command.Target{ID: id}})
		w.eventually("its task is done", func() bool { return !w.hasTask(id) })
		for _, e := range w.all(receipts.Collection) {
			if o, _ := parseObject(e.JSON); o.text("notificationUUID") != other.String() {
				t.Fatalf("a receipt is left: %s", e.JSON)
			}
		}
		if n := len(w.all(receipts.Collection)); n != 700 {
			t.Errorf("%d receipts of the other are left", n)
		}
		v := w.view()
		defer v.Close()
		if list, err := waitingNotifiers(v, app); len(list) > 0 || err != nil {
			t.Errorf("open deliveries are left: %v, %v", list, err)
		}
	})
}

func TestRestartSendsAnew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: ok}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", tokens(10)...)
		id := w.notify(`{"n":"x"}`, "")
		w.ended(id)
		w.do(command.Together{
			First: command.UpdateEntity{Rules: notifications, Target: command.Target{ID: id}, Patch: []byte(`{"finished":null,"started":null,"queued":null,"processingFinished":null,"statistics":null,"deliver":null,"state":"CREATED"}`)},
			Then:  []command.Op{w.task(id, 0)},
		})
		if got, want := w.ended(id), `"FINISHED" {"sent":10,"errors":0} 10`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		if s.count() != 20 {
			t.Errorf("%d messages sent", s.count())
		}
	})
}

func TestTargetThatCannotBeResolvedFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(nil, nil)
		w.notifier("n", "noop")
		w.devices("n", "a")
		for target, why := range map[string]string{
			`{"broken":1}`: "no such grammar",
			// What is damaged is no client's business, but the notification does not hang for ever.
			`{"corrupt":1}`: "an error of the server",
			`{"odd":1}`:     "an error of the server",
		} {
			id := w.notifyTo(target, `{"n":"x"}`, "")
			w.ended(id)
			if got, want := w.says(id, "state", "errorMessage", "processingFinished"), `"FAILED" "the target cannot be resolved: `+why+`" -1`; got != want {
				t.Errorf("%s ended %s, want %s", target, got, want)
			}
		}
	})
}

// TestAHangingServiceCostsItsOwnNotifier, and a broadcast does not hold up a single send.
func TestAHangingServiceCostsItsOwnNotifier(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		hangs := &service{answer: func(ctx context.Context, _ provider.Message) provider.Result {
			<-ctx.Done()
			return provider.NetResult(ctx, ctx.Err())
		}}
		s := &service{answer: func(context.Context, provider.Message) provider.Result {
			time.Sleep(50 * time.Millisecond)
			return provider.Result{}
		}}
		w.start(provider.Set{"hangs": hangs, "fake": s}, func(c *Config) { c.NodeInFlight = 30 })
		w.notifier("h", "hangs")
		w.notifier("n", "fake")
		w.devices("h", tokens(500)...)
		stuck := w.notify(`{"h":"x"}`, "")
		w.eventually("it hangs", func() bool { return hangs.count() >= 20 })
		w.devices("n", tokens(3000)...)
		broadcast := w.notify(`{"n":"x"}`, "")
		w.eventually("the broadcast is under way", func() bool { return s.count() > 100 })
		began := time.Now()
		w.ended(broadcast)
		// The other has 2 places of its own and 18 of 30 that all share, so this one has 14.
		if took := time.Since(began); took > 3000/14*50*time.Millisecond+5*time.Second {
			t.Errorf("the broadcast took %s", took)
		}
		if w.says(stuck, "state") != `"STARTED"` {
			t.Errorf("the stuck one is %s", w.says(stuck, "state"))
		}
	})
}

// TestNotificationsTakeTurns: one that comes late does not wait for a broadcast.
func TestNotificationsTakeTurns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: func(context.Context, provider.Message) provider.Result {
			time.Sleep(100 * time.Millisecond)
			return provider.Result{}
		}}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", tokens(5000)...)
		broadcast := w.notify(`{"n":"x"}`, "")
		w.eventually("the broadcast is under way", func() bool { return s.count() > 200 })
		w.create(devices, `{"n.notifier.id":"late","tag":1}`)
		began := time.Now()
		late := w.notifyTo(`{"having":"tag"}`, `{"n":"x"}`, "")
		if got, want := w.ended(late), `"FINISHED" {"sent":1,"errors":0} 1`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the late one took %s", took)
		}
		if w.says(broadcast, "finished") != "-" {
			t.Error("the broadcast is over already")
		}
		w.ended(broadcast)
	})
}

// TestDeadTokenIsTakenOffEveryDevice but one that was changed since.
func TestDeadTokenIsTakenOffEveryDevice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var since time.Time
		s := &service{answer: func(_ context.Context, m provider.Message) provider.Result {
			if m.Token == "dead" {
				return provider.Dead("Unregistered", "410", since)
			}
			return provider.Result{}
		}}
		w.start(fake(s), nil)
		n := w.notifier("n", "fake")
		first := w.devices("n", "dead", "dead", "alive")
		byID := w.create(devices, fmt.Sprintf(`{"k":1,"%s.notifier.id":"dead"}`, n.ID))
		other := w.devices("m", "dead")
		time.Sleep(time.Minute)
		since = time.Now()
		time.Sleep(time.Minute)
		w.change(devices, first[1].ID, `{"n.notifier.id":"dead"}`)
		if got, want := w.ended(w.notify(`{"n":"x"}`, "")), `"FINISHED" {"sent":1,"errors":3} 4`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		left := map[entity.ID]string{}
		for _, e := range w.all(devices.Collection) {
			left[e.ID] = string(e.JSON)
		}
		want := map[entity.ID]string{
			first[0].ID: `{}`, first[1].ID: `{"n.notifier.id":"dead"}`, first[2].ID: `{"n.notifier.id":"alive"}`,
			byID.ID: `{"k":1}`, other[0].ID: `{"m.notifier.id":"dead"}`,
		}
		if !maps.Equal(left, want) {
			t.Errorf("left: %v, want %v", left, want)
		}
	})
}

// TestDeadTokenIsHeldAgainstItsRegistration, not against changes of anything else of the
// device.
func TestDeadTokenIsHeldAgainstItsRegistration(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		since := time.Now().Add(time.Minute)
		s := &service{answer: func(context.Context, provider.Message) provider.Result {
			return provider.Dead("Unregistered", "410", since)
		}}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		with := func(registered time.Time) entity.ID {
			return w.create(devices, fmt.Sprintf(`{"n.notifier.id":"dead","n.notifier.registration":{"at":%d}}`, registered.UnixMilli())).ID
		}
		before, after := with(since.Add(-time.Second)), with(since.Add(time.Second))
		time.Sleep(time.Hour)
		w.change(devices, before, `{"place":"elsewhere"}`)
		w.change(devices, after, `{"place":"elsewhere"}`)
		w.ended(w.notify(`{"n":"x"}`, ""))
		if o, _, _ := w.entity(devices.Collection, before); len(o) != 1 || o.text("place") != "elsewhere" {
			t.Errorf("of the registration before: %s", o)
		}
		if o, _, _ := w.entity(devices.Collection, after); o.text("n.notifier.id") != "dead" {
			t.Errorf("of the registration afterwards: %s", o)
		}
	})
}

func TestReplacedTokenTakesThePlaceOfTheOldOne(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(nil, nil)
		w.notifier("n", "noop")
		list := w.devices("n", "move:new")
		if got, want := w.ended(w.notify(`{"n":"x"}`, "")), `"FINISHED" {"sent":1,"errors":0} 1`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		if o, _, _ := w.entity(devices.Collection, list[0].ID); o.text("n.notifier.id") != "new" || o.get("n.notifier.registration") == nil {
			t.Errorf("device %v", o)
		}
	})
}

// TestTheNextLeaderGoesOn: the lead changes in the middle of a broadcast, several times;
// nobody is missed, and no more than what was in flight is doubled.
func TestTheNextLeaderGoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: func(context.Context, provider.Message) provider.Result {
			time.Sleep(100 * time.Millisecond)
			return provider.Result{}
		}}
		n := w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", tokens(2000)...)
		id := w.notify(`{"n":"x"}`, "")
		const changes = 4
		for i := range changes {
			w.eventually("some are sent", func() bool { return s.count() >= 300*(i+1) })
			n.leads.Store(false)
			next := w.start(fake(s), nil)
			if i%2 == 0 {
				n.stop()
			}
			n = next
		}
		if got, want := w.ended(id), `"FINISHED" {"sent":2000,"errors":0} 2000`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		doubles := 0
		for token, times := range s.sends() {
			doubles += times - 1
			if times > 1+changes {
				t.Errorf("%s was sent to %d times", token, times)
			}
		}
		if len(s.sends()) != 2000 {
			t.Errorf("%d devices were reached", len(s.sends()))
		}
		// 20 are in flight, and as many may have ended of which nothing was written yet.
		if doubles > changes*2*20 {
			t.Errorf("%d were sent twice", doubles)
		}
		ids := map[string]entity.ID{}
		for _, m := range s.messages {
			if before, ok := ids[m.Token]; ok && before != m.ID {
				t.Errorf("another id for the same message")
			}
			ids[m.Token] = m.ID
		}
	})
}

// TestLostAnswersDoubleNothing: outcomes whose writes are not answered are written once.
func TestLostAnswersDoubleNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: ok}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", tokens(1000)...)
		n := 0
		w.mu.Lock()
		w.fate = func(cmd command.Command) bool {
			n++
			return cmd.Kind() == command.KindSettleDeliveries && n%3 == 0 || cmd.Kind() == command.KindStepTask && n%4 == 0
		}
		w.mu.Unlock()
		if got, want := w.ended(w.notify(`{"n":"x"}`, "")), `"FINISHED" {"sent":1000,"errors":0} 1000`; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		exactly(t, s, tokens(1000))
		w.mu.Lock()
		w.fate = nil
		w.mu.Unlock()
	})
}

// TestManyNotificationsAtOnce end all, each with what is its own.
func TestManyNotificationsAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: ok}
		w.start(fake(s), nil)
		w.notifier("n", "fake")
		w.devices("n", tokens(3)...)
		var ids []entity.ID
		for range 300 {
			ids = append(ids, w.notify(`{"n":"x"}`, ""))
		}
		for _, id := range ids {
			if got, want := w.ended(id), `"FINISHED" {"sent":3,"errors":0} 3`; got != want {
				t.Errorf("ended %s, want %s", got, want)
			}
		}
		if got := slices.Collect(maps.Values(s.sends())); !slices.Equal(got, []int{300, 300, 300}) {
			t.Errorf("sends %v", got)
		}
	})
}
