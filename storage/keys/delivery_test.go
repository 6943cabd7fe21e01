package keys_test

import (
	"bytes"
	"cmp"
	"testing"

	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// TestDueKeys: a key is read as what it was made of, keys sort as the tuples do, and the
// range of a notification up to a time holds what is due by then and nothing else.
func TestDueKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string) keys.Due {
			number := rapid.SampledFrom([]uint64{0, 1, 2, 255, 256, 1<<64 - 1})
			return keys.Due{
				Notifier: entity.Seq(number.Draw(t, what+" notifier")), Notification: entity.Seq(number.Draw(t, what+" notification")),
				At: rapid.SampledFrom([]int64{0, 1, 255, 256, 1<<63 - 1}).Draw(t, what+" at"), Device: entity.Seq(number.Draw(t, what+" device")),
			}
		}
		a, b := draw("a"), draw("b")
		ka, kb := keys.AppendDue(nil, 2, 16, a), keys.AppendDue(nil, 2, 16, b)
		if got, ok := keys.DecodeDue(ka); !ok || got != a {
			t.Fatalf("%+v became %+v, %v", a, got, ok)
		}
		want := cmp.Or(cmp.Compare(a.Notifier, b.Notifier), cmp.Compare(a.Notification, b.Notification), cmp.Compare(a.At, b.At), cmp.Compare(a.Device, b.Device))
		if got := bytes.Compare(ka, kb); got != want {
			t.Fatalf("%+v and %+v: order %d, want %d", a, b, got, want)
		}
		lower, upper := keys.DueOfNotificationRange(2, 16, a.Notifier, a.Notification, a.At)
		within := bytes.Compare(lower, kb) <= 0 && bytes.Compare(kb, upper) < 0
		if want := a.Notifier == b.Notifier && a.Notification == b.Notification && b.At <= a.At; within != want {
			t.Fatalf("%+v lies in the range of %+v: %v", b, a, within)
		}
	})
}

// TestDeliveryKeys: the figures of a notification come before its deliveries, in the
// order of their devices, and its range holds both.
func TestDeliveryKeys(t *testing.T) {
	figures := keys.AppendDeliveries(nil, 2, 16, 5)
	first, second := keys.AppendDelivery(nil, 2, 16, 5, 1), keys.AppendDelivery(nil, 2, 16, 5, 256)
	lower, upper := keys.DeliveriesRange(2, 16, 5)
	order := [][]byte{keys.AppendDelivery(nil, 2, 16, 4, 1<<64-1), lower, first, second, upper}
	for i := 1; i < len(order); i++ {
		if bytes.Compare(order[i-1], order[i]) >= 0 {
			t.Errorf("key %d is not above the one before it", i)
		}
	}
	if n, _, isFigures, ok := keys.DecodeDelivery(figures); !bytes.Equal(figures, lower) || n != 5 || !isFigures || !ok {
		t.Errorf("figures: %d, %v, %v", n, isFigures, ok)
	}
	if n, d, isFigures, ok := keys.DecodeDelivery(second); n != 5 || d != 256 || isFigures || !ok {
		t.Errorf("delivery: %d, %d, %v, %v", n, d, isFigures, ok)
	}
	for cut := range second {
		if _, _, _, ok := keys.DecodeDelivery(second[:cut]); ok != (cut == len(figures)) {
			t.Errorf("%d bytes are a key: %v", cut, ok)
		}
	}
}
