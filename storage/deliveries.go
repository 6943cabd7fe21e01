package storage

import (
	"bytes"
	"errors"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// ReadDeliveries returns the figures of a notification; all 0 if it has had none.
func ReadDeliveries(r Reader, app entity.AppID, notification entity.Seq) (entity.Deliveries, error) {
	raw, ok, err := r.Get(nil, keys.AppendDeliveries(nil, r.Partition(), app, notification))
	if err != nil || !ok {
		return entity.Deliveries{}, err
	}
	return entity.DecodeDeliveries(raw)
}

// ReadDelivery returns the delivery of a notification to a device.
func ReadDelivery(r Reader, app entity.AppID, notification, device entity.Seq) (entity.Delivery, bool, error) {
	raw, ok, err := r.Get(nil, keys.AppendDelivery(nil, r.Partition(), app, notification, device))
	if err != nil || !ok {
		return entity.Delivery{}, false, err
	}
	d, err := entity.DecodeDelivery(raw)
	return d, err == nil, err
}

// Waiting is a notification with open deliveries through a notifier.
type Waiting struct {
	Notifier, Notification entity.Seq
	Due                    int64 // of the first of them
}

// WaitingNotifications returns the pairs of notifier and notification that have open
// deliveries, in order, after one pair (nil: from the first on), at most so many: a seek
// for each of them.
func WaitingNotifications(v *View, app entity.AppID, after *Waiting, most int) (list []Waiting, err error) {
	it, err := v.Scan(keys.DueRange(v.Partition(), app))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	behind := func(w *Waiting) []byte { // what follows all of a pair
		_, upper := keys.DueOfNotificationRange(v.Partition(), app, w.Notifier, w.Notification, 1<<63-1)
		return upper
	}
	ok := false
	if after == nil {
		ok = it.First()
	} else {
		ok = it.SeekGE(behind(after))
	}
	for ; ok && len(list) < most; ok = it.SeekGE(behind(&list[len(list)-1])) {
		d, valid := keys.DecodeDue(it.Key())
		if !valid {
			return nil, fault.New(fault.Corrupt, "partition %d: key of an open delivery %x", v.Partition(), it.Key())
		}
		list = append(list, Waiting{Notifier: d.Notifier, Notification: d.Notification, Due: d.At})
	}
	return list, it.Err()
}

// DueDeliveries calls f with the open deliveries of a notification through a notifier
// that are due at a time, the first due first, until f returns false.
func DueDeliveries(v *View, app entity.AppID, notifier, notification entity.Seq, now int64, f func(keys.Due) (bool, error)) error {
	return dueDeliveries(v, app, nil, notifier, notification, now, f)
}

// DueDeliveriesAfter is DueDeliveries from what follows a place on. Whoever walks on
// does not step again over the places of what was settled meanwhile.
func DueDeliveriesAfter(v *View, app entity.AppID, after keys.Due, now int64, f func(keys.Due) (bool, error)) error {
	from := keys.Successor(keys.AppendDue(nil, v.Partition(), app, after))
	return dueDeliveries(v, app, from, after.Notifier, after.Notification, now, f)
}

func dueDeliveries(v *View, app entity.AppID, from []byte, notifier, notification entity.Seq, now int64, f func(keys.Due) (bool, error)) (err error) {
	lower, upper := keys.DueOfNotificationRange(v.Partition(), app, notifier, notification, now)
	if bytes.Compare(from, lower) > 0 {
		lower = from
	}
	if bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	it, err := v.Scan(lower, upper)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		d, valid := keys.DecodeDue(it.Key())
		if !valid {
			return fault.New(fault.Corrupt, "partition %d: key of an open delivery %x", v.Partition(), it.Key())
		}
		if more, err := f(d); err != nil || !more {
			return err
		}
	}
	return it.Err()
}

// OpenDeliveries calls f with the open deliveries of a notification, whose devices have
// numbers above after, in their order, until f returns false.
func OpenDeliveries(v *View, app entity.AppID, notification, after entity.Seq, f func(device entity.Seq, d entity.Delivery) (bool, error)) (err error) {
	_, upper := keys.DeliveriesRange(v.Partition(), app, notification)
	it, err := v.Scan(keys.AppendDelivery(nil, v.Partition(), app, notification, after+1), upper)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, device, _, valid := keys.DecodeDelivery(it.Key())
		d, err := entity.DecodeDelivery(it.Value())
		if err != nil || !valid {
			return fault.New(fault.Corrupt, "partition %d: delivery at key %x", v.Partition(), it.Key())
		}
		if d.State != entity.DeliveryOpen {
			continue
		}
		if more, err := f(device, d); err != nil || !more {
			return err
		}
	}
	return it.Err()
}
