package entity

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/fault"
)

// Delivery is one notification on its way to one device.
type Delivery struct {
	State    DeliveryState
	Notifier Seq    // number of the notifier it goes through
	Due      int64  // when it may be tried next, ms since the epoch, 0 and up
	Began    int64  // when it was queued, ms since the epoch, 0 and up
	Attempts uint32 // that ended without a verdict
}

// DeliveryState says how far a delivery is.
type DeliveryState byte

// States of a delivery.
const (
	DeliveryOpen    DeliveryState = 1
	DeliverySent    DeliveryState = 2 // a provider took it
	DeliveryFailed  DeliveryState = 3 // for good
	DeliveryDropped DeliveryState = 4 // its notification was cancelled
	DeliveryRefused DeliveryState = 5 // failed for good, through no fault of device or message: the notifier or its service is to blame
)

// Deliveries are the figures of a notification: how many deliveries it has had, by
// their state.
type Deliveries struct {
	Open, Sent, Failed, Dropped, Refused uint64
}

// Errors is how many have failed, whoever is to blame.
func (d *Deliveries) Errors() uint64 { return d.Failed + d.Refused }

// Total is how many deliveries there are or have been.
func (d *Deliveries) Total() uint64 { return d.Open + d.Sent + d.Failed + d.Dropped + d.Refused }

// Of returns the figure of one state; nil for what is none.
func (d *Deliveries) Of(s DeliveryState) *uint64 {
	switch s {
	case DeliveryOpen:
		return &d.Open
	case DeliverySent:
		return &d.Sent
	case DeliveryFailed:
		return &d.Failed
	case DeliveryDropped:
		return &d.Dropped
	case DeliveryRefused:
		return &d.Refused
	}
	return nil
}

const deliveryVersion = 1

// AppendDelivery appends the stored form: version 1 · state 1 · notifier, due, began and
// attempts, uvarints.
func AppendDelivery(dst []byte, d *Delivery) []byte {
	dst = append(dst, deliveryVersion, byte(d.State))
	for _, n := range [...]uint64{uint64(d.Notifier), uint64(d.Due), uint64(d.Began), uint64(d.Attempts)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

// DecodeDelivery reads what AppendDelivery wrote, or returns fault.Corrupt.
func DecodeDelivery(b []byte) (Delivery, error) {
	bad := fault.New(fault.Corrupt, "delivery record: damaged or of another version")
	if len(b) < 2 || b[0] != deliveryVersion || b[1] < byte(DeliveryOpen) || b[1] > byte(DeliveryRefused) {
		return Delivery{}, bad
	}
	n, rest, ok := uvarints(b[2:], 4)
	if !ok || len(rest) > 0 || n[1] > 1<<63-1 || n[2] > 1<<63-1 || n[3] > 1<<32-1 {
		return Delivery{}, bad
	}
	return Delivery{State: DeliveryState(b[1]), Notifier: Seq(n[0]), Due: int64(n[1]), Began: int64(n[2]), Attempts: uint32(n[3])}, nil
}

// AppendDeliveries appends the stored form: version 1 · open, sent, failed, dropped
// and refused, uvarints.
func AppendDeliveries(dst []byte, d *Deliveries) []byte {
	dst = append(dst, deliveryVersion)
	for _, n := range [...]uint64{d.Open, d.Sent, d.Failed, d.Dropped, d.Refused} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

// DecodeDeliveries reads what AppendDeliveries wrote, or returns fault.Corrupt.
func DecodeDeliveries(b []byte) (Deliveries, error) {
	if len(b) > 0 && b[0] == deliveryVersion {
		if n, rest, ok := uvarints(b[1:], 5); ok && len(rest) == 0 {
			return Deliveries{Open: n[0], Sent: n[1], Failed: n[2], Dropped: n[3], Refused: n[4]}, nil
		}
	}
	return Deliveries{}, fault.New(fault.Corrupt, "record of deliveries: damaged or of another version")
}

func uvarints(b []byte, count int) (n [5]uint64, rest []byte, ok bool) {
	for i := range n[:count] {
		if n[i], b, ok = uvarint(b); !ok {
			return n, nil, false
		}
	}
	return n, b, true
}
