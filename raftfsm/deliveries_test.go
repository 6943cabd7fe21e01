package raftfsm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

var (
	notificationRules = command.Rules{Collection: "notifications", Type: "notification"}
	receiptRules      = command.Rules{Collection: "receipts", Type: "receipt"}
)

// pushFixture has one notification, number 1, whose id is idOf(1).
type pushFixture struct {
	*fixture
	now int64
}

func newPushFixture(t testing.TB) *pushFixture {
	f := &pushFixture{fixture: newFixture(t, 1, 0), now: 1000}
	f.do("", command.CreateEntities{Rules: notificationRules, Items: []command.NewEntity{{ID: idOf(1), Created: 1000, Modified: 1000, JSON: []byte(`{"state":"STARTED"}`)}}})
	return f
}

// do runs an operation, which must end with a fault, or with none if it is empty.
func (f *pushFixture) do(want fault.Code, op command.Op) command.Outcome {
	f.t.Helper()
	f.now++
	out := f.apply(command.Command{Time: f.now, App: entity.FirstApp, Op: op})[0]
	switch {
	case out.Fault == nil && want != "", out.Fault != nil && out.Fault.Code != want:
		f.t.Fatalf("%T: %v, want %q", op, out.Fault, want)
	}
	return out
}

func (f *pushFixture) queue(items ...command.NewDelivery) {
	f.t.Helper()
	f.do("", command.QueueDeliveries{Rules: notificationRules, Notification: idOf(1), Number: 1, Items: items})
}

func (f *pushFixture) settle(verdicts ...command.Verdict) int {
	f.t.Helper()
	return f.do("", command.SettleDeliveries{Rules: notificationRules, Notification: idOf(1), Number: 1, Receipts: receiptRules, Verdicts: verdicts}).Handled
}

func (f *pushFixture) view() *storage.View {
	v := f.state.View(1)
	f.t.Cleanup(func() {
		if err := v.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return v
}

// says returns what the notification's entity says, and its figures.
func (f *pushFixture) says() (string, entity.Deliveries) {
	f.t.Helper()
	v := f.view()
	c, _, err := storage.ReadCollectionID(v, entity.FirstApp, "notifications")
	if err != nil {
		f.t.Fatal(err)
	}
	e, _, err := storage.ReadEntityByID(v, entity.FirstApp, c, idOf(1))
	if err != nil {
		f.t.Fatal(err)
	}
	d, err := storage.ReadDeliveries(v, entity.FirstApp, 1)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(e.JSON), d
}

// due lists the open deliveries of a notifier that are due at a time, as device@due.
func (f *pushFixture) due(notifier entity.Seq, now int64) (list []string) {
	f.t.Helper()
	err := storage.DueDeliveries(f.view(), entity.FirstApp, notifier, 1, now, func(d keys.Due) (bool, error) {
		list = append(list, fmt.Sprintf("%d@%d", d.Device, d.At))
		return true, nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}

func (f *pushFixture) sound() {
	f.t.Helper()
	r, err := Check(context.Background(), f.view())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, p := range r.Problems {
		f.t.Error(p)
	}
}

func TestADeviceIsDeliveredToOnce(t *testing.T) {
	f := newPushFixture(t)
	f.queue(command.NewDelivery{Device: 7, Notifier: 1}, command.NewDelivery{Device: 8, Notifier: 2}, command.NewDelivery{Device: 7, Notifier: 2})
	f.queue(command.NewDelivery{Device: 8, Notifier: 1}, command.NewDelivery{Device: 9, Notifier: 1})
	json, d := f.says()
	if want := (entity.Deliveries{Open: 3}); d != want {
		t.Errorf("figures %+v, want %+v", d, want)
	}
	if want := `{"state":"STARTED","deviceProcessedCount":3,"expectedCount":3,"statistics":{"sent":0,"errors":0}}`; json != want {
		t.Errorf("entity %s, want %s", json, want)
	}
	if diff := cmp.Diff([]string{"7@1002", "9@1003"}, f.due(1, 5000)); diff != "" {
		t.Error(diff)
	}
	f.sound()
}

func TestAVerdictCountsOnce(t *testing.T) {
	f := newPushFixture(t)
	f.queue(command.NewDelivery{Device: 7, Notifier: 1}, command.NewDelivery{Device: 8, Notifier: 1})
	receipt := func(n int) *command.NewEntity {
		return &command.NewEntity{ID: idOf(n), Created: 1, Modified: 1, JSON: []byte(`{"errorCode":"x"}`)}
	}
	again := command.Verdict{Device: 7, State: entity.DeliveryOpen, Due: 9000}
	failed := command.Verdict{Device: 8, State: entity.DeliveryFailed, Receipt: receipt(20)}
	for i, want := range []int{2, 0} { // two leaders, or the same one twice
		if got := f.settle(again, failed); got != want {
			t.Errorf("round %d: %d verdicts counted, want %d", i, got, want)
		}
	}
	if got := f.due(1, 8999); got != nil {
		t.Errorf("due before its time: %v", got)
	}
	if got := f.settle(command.Verdict{Device: 7, Attempts: 1, State: entity.DeliverySent, Receipt: receipt(21)}); got != 1 {
		t.Errorf("%d verdicts counted", got)
	}
	if got := f.settle(command.Verdict{Device: 7, Attempts: 1, State: entity.DeliveryFailed, Receipt: receipt(22)},
		command.Verdict{Device: 99, State: entity.DeliverySent}); got != 0 {
		t.Errorf("%d verdicts on what is settled or unknown counted", got)
	}
	json, d := f.says()
	if want := (entity.Deliveries{Sent: 1, Failed: 1}); d != want {
		t.Errorf("figures %+v, want %+v", d, want)
	}
	if want := `{"state":"STARTED","deviceProcessedCount":2,"expectedCount":2,"statistics":{"sent":1,"errors":1}}`; json != want {
		t.Errorf("entity %s, want %s", json, want)
	}
	v := f.view()
	c, ok, err := storage.ReadCollection(v, entity.FirstApp, "receipts")
	if err != nil || !ok || c.Count != 2 {
		t.Errorf("%d receipts, want 2 (%v)", c.Count, err)
	}
	f.sound()
}

// TestARefusalIsAnError of its own kind.
func TestARefusalIsAnError(t *testing.T) {
	f := newPushFixture(t)
	f.queue(command.NewDelivery{Device: 7, Notifier: 1}, command.NewDelivery{Device: 8, Notifier: 1})
	f.settle(command.Verdict{Device: 7, State: entity.DeliveryRefused}, command.Verdict{Device: 8, State: entity.DeliveryFailed})
	json, d := f.says()
	if want := (entity.Deliveries{Failed: 1, Refused: 1}); d != want {
		t.Errorf("figures %+v, want %+v", d, want)
	}
	if want := `{"state":"STARTED","deviceProcessedCount":2,"expectedCount":2,"statistics":{"sent":0,"errors":2}}`; json != want {
		t.Errorf("entity %s, want %s", json, want)
	}
	f.sound()
}

func TestDueDeliveriesAfterAPlace(t *testing.T) {
	f := newPushFixture(t)
	f.queue(command.NewDelivery{Device: 7, Notifier: 1}, command.NewDelivery{Device: 9, Notifier: 1})
	f.queue(command.NewDelivery{Device: 8, Notifier: 1})
	for after, want := range map[entity.Seq]string{0: "[7 9 8]", 7: "[9 8]", 8: "[9 8]", 9: "[8]"} {
		var got []entity.Seq
		err := storage.DueDeliveriesAfter(f.view(), entity.FirstApp, keys.Due{Notifier: 1, Notification: 1, At: 1002, Device: after}, 5000, func(d keys.Due) (bool, error) {
			got = append(got, d.Device)
			return true, nil
		})
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("after %d: %v, %v, want %s", after, got, err, want)
		}
	}
	none := keys.Due{Notifier: 1, Notification: 1, At: 9000, Device: 1}
	err := storage.DueDeliveriesAfter(f.view(), entity.FirstApp, none, 5000, func(keys.Due) (bool, error) { t.Error("met one"); return true, nil })
	if err != nil {
		t.Error(err)
	}
}

func TestDeliveriesAreClearedOnceNoneIsOpen(t *testing.T) {
	f := newPushFixture(t)
	f.queue(command.NewDelivery{Device: 7, Notifier: 1})
	f.do(fault.Conflict, command.ClearDeliveries{Number: 1})
	f.settle(command.Verdict{Device: 7, State: entity.DeliveryDropped})
	f.do("", command.ClearDeliveries{Number: 1})
	if _, d := f.says(); d != (entity.Deliveries{}) {
		t.Errorf("left: %+v", d)
	}
	f.queue(command.NewDelivery{Device: 7, Notifier: 1}) // restarted
	if _, d := f.says(); d.Open != 1 {
		t.Errorf("figures %+v, want one open", d)
	}
	f.sound()
}

func TestDeliveriesOutliveTheirNotification(t *testing.T) {
	f := newPushFixture(t)
	f.queue(command.NewDelivery{Device: 7, Notifier: 1})
	f.do("", command.DeleteEntity{Collection: "notifications", Target: command.Target{ID: idOf(1)}})
	if got := f.settle(command.Verdict{Device: 7, State: entity.DeliveryDropped}); got != 1 {
		t.Errorf("%d verdicts counted", got)
	}
	f.do("", command.ClearDeliveries{Number: 1})
	f.sound()
}

func TestAnEntityIsRevisedAtItsRevisionOnly(t *testing.T) {
	f := newPushFixture(t)
	revise := func(rev entity.Seq) command.Op {
		return command.ReviseEntity{Rules: notificationRules, ID: idOf(1), Rev: rev, Patch: []byte(`{"canceled":true}`)}
	}
	f.do(fault.Conflict, revise(7))
	out := f.do("", revise(1))
	f.do(fault.Conflict, revise(1))
	f.do("", revise(out.Entities[0].Rev))
	f.do(fault.ServiceResourceNotFound, command.ReviseEntity{Rules: notificationRules, ID: idOf(2)})
}

func TestATaskIsScheduledAnew(t *testing.T) {
	f := newPushFixture(t)
	f.do(fault.EntityNotFound, command.ScheduleTask{ID: idOf(5), NotBefore: 1})
	f.do("", command.PutTask{Task: command.NewTask{ID: idOf(5), Kind: "push", Priority: entity.Normal, NotBefore: 90_000}})
	f.do("", command.Together{First: command.ReviseEntity{Rules: notificationRules, ID: idOf(1), Rev: 1, Patch: []byte(`{"deliver":1}`)},
		Then: []command.Op{command.ScheduleTask{ID: idOf(5), NotBefore: 70}}})
	task, ok, err := storage.ReadTask(f.view(), idOf(5))
	if err != nil || !ok || task.NotBefore != 70 || task.Turn != 1 {
		t.Errorf("task %+v, %v", task, err)
	}
	f.sound()
}

// TestWaitingNotifications compares the pairs that are waiting with what a map says.
func TestWaitingNotifications(t *testing.T) {
	f := newPushFixture(t)
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[storage.Waiting]bool{}
	for range 300 {
		notifier, notification := entity.Seq(rng.IntN(4)), entity.Seq(rng.IntN(20))
		f.do("", command.QueueDeliveries{Rules: notificationRules, Notification: idOf(77), Number: notification,
			Items: []command.NewDelivery{{Device: entity.Seq(rng.Uint64() >> 1), Notifier: notifier}}})
		want[storage.Waiting{Notifier: notifier, Notification: notification}] = true
	}
	got := map[storage.Waiting]bool{}
	first, err := storage.WaitingNotifications(f.view(), entity.FirstApp, nil, 1)
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	for page := first; len(page) > 0; {
		for _, w := range page {
			w.Due = 0
			got[w] = true
		}
		if page, err = storage.WaitingNotifications(f.view(), entity.FirstApp, &page[len(page)-1], 7); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	f.sound()
}

func TestCheckFindsDamagedDeliveries(t *testing.T) {
	const p, app = 1, entity.FirstApp
	at := keys.Due{Notifier: 1, Notification: 1, At: 1002, Device: 7}
	for _, tc := range []struct {
		what   string
		damage func(b *storage.Batch)
	}{
		{"missing: an open delivery", func(b *storage.Batch) { b.Delete(keys.AppendDue(nil, p, app, at)) }},
		{"is not the place of a delivery", func(b *storage.Batch) { b.Delete(keys.AppendDelivery(nil, p, app, 1, 7)) }},
		{"says it has had", func(b *storage.Batch) {
			b.Set(keys.AppendDeliveries(nil, p, app, 1), entity.AppendDeliveries(nil, &entity.Deliveries{Sent: 1}))
		}},
		{"damaged delivery", func(b *storage.Batch) { b.Set(keys.AppendDelivery(nil, p, app, 1, 7), []byte("x")) }},
		{"damaged figures", func(b *storage.Batch) { b.Set(keys.AppendDeliveries(nil, p, app, 1), []byte("x")) }},
		{"damaged place", func(b *storage.Batch) { b.Set(keys.AppendDue(nil, p, app, at), []byte("x")) }},
	} {
		f := newPushFixture(t)
		f.queue(command.NewDelivery{Device: 7, Notifier: 1})
		checkDamage(t, f.fixture, p, tc.what, tc.damage)
	}
}
