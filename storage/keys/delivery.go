package keys

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// Kinds of the deliveries of notifications.
const (
	KindDelivery = 'q' // notification · device → delivery record; without a device, the figures of the notification
	KindDue      = 'Q' // notifier · notification · due · device → empty: the open deliveries
)

// AppendDeliveries appends the key of a notification's figures. Numbers are those of
// the entities in their collections.
//
//	partition 4 · application 4 · 'q' · notification 8
func AppendDeliveries(dst []byte, p entity.Partition, app entity.AppID, notification entity.Seq) []byte {
	return binary.BigEndian.AppendUint64(appendApp(dst, p, app, KindDelivery), uint64(notification))
}

// AppendDelivery appends the key of a delivery's record: that of the figures · device 8.
func AppendDelivery(dst []byte, p entity.Partition, app entity.AppID, notification, device entity.Seq) []byte {
	return binary.BigEndian.AppendUint64(AppendDeliveries(dst, p, app, notification), uint64(device))
}

// DeliveriesRange bounds the figures and all deliveries of a notification.
func DeliveriesRange(p entity.Partition, app entity.AppID, notification entity.Seq) (lower, upper []byte) {
	return rangeOf(AppendDeliveries(nil, p, app, notification))
}

// DecodeDelivery reads a key of kind KindDelivery; figures says that it is that of a
// notification's figures.
func DecodeDelivery(k []byte) (notification, device entity.Seq, figures, ok bool) {
	if len(k) < 9+8 || k[8] != KindDelivery {
		return 0, 0, false, false
	}
	notification = entity.Seq(binary.BigEndian.Uint64(k[9:]))
	switch len(k) {
	case 9 + 8:
		return notification, 0, true, true
	case 9 + 16:
		return notification, entity.Seq(binary.BigEndian.Uint64(k[17:])), false, true
	}
	return 0, 0, false, false
}

// Due is the place of an open delivery among those of its notifier.
type Due struct {
	Notifier, Notification entity.Seq
	At                     int64 // ms since the epoch, 0 and up
	Device                 entity.Seq
}

// AppendDue appends the key of a place.
//
//	partition 4 · application 4 · 'Q' · notifier 8 · notification 8 · due 8 · device 8
//
// The notification comes before the time: who sends lets the notifications of a
// notifier take turns, however many devices each of them has.
func AppendDue(dst []byte, p entity.Partition, app entity.AppID, d Due) []byte {
	dst = appendDue(dst, p, app, d.Notifier, d.Notification)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(d.At)), uint64(d.Device))
}

func appendDue(dst []byte, p entity.Partition, app entity.AppID, notifier, notification entity.Seq) []byte {
	dst = binary.BigEndian.AppendUint64(appendApp(dst, p, app, KindDue), uint64(notifier))
	return binary.BigEndian.AppendUint64(dst, uint64(notification))
}

// DueRange bounds the open deliveries of an application.
func DueRange(p entity.Partition, app entity.AppID) (lower, upper []byte) {
	return rangeOf(appendApp(nil, p, app, KindDue))
}

// DueOfNotifierRange bounds the open deliveries of one notifier.
func DueOfNotifierRange(p entity.Partition, app entity.AppID, notifier entity.Seq) (lower, upper []byte) {
	return rangeOf(binary.BigEndian.AppendUint64(appendApp(nil, p, app, KindDue), uint64(notifier)))
}

// DueOfNotificationRange bounds those of one notifier and notification, due up to a
// time, which is included.
func DueOfNotificationRange(p entity.Partition, app entity.AppID, notifier, notification entity.Seq, until int64) (lower, upper []byte) {
	lower = appendDue(nil, p, app, notifier, notification)
	return lower, Successor(binary.BigEndian.AppendUint64(appendDue(nil, p, app, notifier, notification), uint64(until)))
}

// DecodeDue is the inverse of AppendDue.
func DecodeDue(k []byte) (Due, bool) {
	if len(k) != 9+4*8 || k[8] != KindDue {
		return Due{}, false
	}
	d := Due{
		Notifier: entity.Seq(binary.BigEndian.Uint64(k[9:])), Notification: entity.Seq(binary.BigEndian.Uint64(k[17:])),
		At: int64(binary.BigEndian.Uint64(k[25:])), Device: entity.Seq(binary.BigEndian.Uint64(k[33:])),
	}
	return d, d.At >= 0
}
