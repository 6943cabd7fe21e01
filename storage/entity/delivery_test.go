package entity_test

import (
	"bytes"
	"testing"

	"github.com/trellisdb/trellis/storage/entity"
)

// FuzzDeliveries: what is taken for a delivery, or for figures of them, is written as it
// was read; all else is refused as damage.
func FuzzDeliveries(f *testing.F) {
	f.Add(entity.AppendDelivery(nil, &entity.Delivery{State: entity.DeliveryOpen, Notifier: 300, Due: 1700000000000, Began: 1, Attempts: 1<<32 - 1}))
	f.Add(entity.AppendDeliveries(nil, &entity.Deliveries{Open: 1, Sent: 1 << 40, Failed: 3, Dropped: 4, Refused: 5}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := entity.DecodeDelivery(b); err == nil {
			again := entity.AppendDelivery(nil, &d)
			if back, err := entity.DecodeDelivery(again); err != nil || back != d || len(again) > len(b) {
				t.Errorf("%x became %+v and %x", b, d, again)
			}
		}
		if d, err := entity.DecodeDeliveries(b); err == nil {
			again := entity.AppendDeliveries(nil, &d)
			if back, err := entity.DecodeDeliveries(again); err != nil || back != d || len(again) > len(b) {
				t.Errorf("%x became %+v and %x", b, d, again)
			}
		}
	})
}

func TestDeliveriesAreReadAsWritten(t *testing.T) {
	d := entity.Delivery{State: entity.DeliveryFailed, Notifier: 300, Due: 1700000000000, Began: 5, Attempts: 7}
	raw := entity.AppendDelivery(nil, &d)
	if got, err := entity.DecodeDelivery(raw); err != nil || got != d {
		t.Errorf("%+v, %v", got, err)
	}
	n := entity.Deliveries{Open: 1, Sent: 300, Failed: 3, Dropped: 4, Refused: 5}
	figures := entity.AppendDeliveries(nil, &n)
	if got, err := entity.DecodeDeliveries(figures); err != nil || got != n || got.Total() != 313 || got.Errors() != 8 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, b := range [][]byte{nil, raw[:len(raw)-1], append(bytes.Clone(raw), 0), {1, 9, 0, 0, 0, 0}, {2, 1, 0, 0, 0, 0}} {
		if _, err := entity.DecodeDelivery(b); err == nil {
			t.Errorf("%x is taken for a delivery", b)
		}
	}
}
