package raftfsm

import (
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// delivery checks a key of a notification's deliveries: an open one has its place among
// those of its notifier, and the figures count what is there.
func (c *checker) delivery(k, v []byte) error {
	notification, device, figures, ok := keys.DecodeDelivery(k)
	if ok && figures {
		return c.figures(k, v, notification)
	}
	d, err := entity.DecodeDelivery(v)
	if !ok || err != nil {
		c.problem(k, "damaged delivery")
		return nil
	}
	if d.State != entity.DeliveryOpen {
		return nil
	}
	c.key = keys.AppendDue(c.key[:0], c.view.Partition(), c.app, keys.Due{Notifier: d.Notifier, Notification: notification, At: d.Due, Device: device})
	_, found, err := c.get(c.key)
	if err == nil && !found {
		c.problem(c.key, "missing: an open delivery of notification %d has this place", notification)
	}
	return err
}

func (c *checker) figures(k, v []byte, notification entity.Seq) error {
	said, err := entity.DecodeDeliveries(v)
	if err != nil {
		c.problem(k, "damaged figures of deliveries")
		return nil
	}
	var met entity.Deliveries
	lower, upper := keys.DeliveriesRange(c.view.Partition(), c.app, notification)
	err = scan(c.view, lower, upper, func(key, value []byte) error {
		if _, _, figures, _ := keys.DecodeDelivery(key); figures {
			return nil
		}
		if d, err := entity.DecodeDelivery(value); err == nil {
			*met.Of(d.State)++
		}
		return nil
	})
	if err == nil && met != said {
		c.problem(k, "notification %d says it has had %+v, and has %+v", notification, said, met)
	}
	return err
}

// due checks the place of an open delivery.
func (c *checker) due(k, v []byte) error {
	at, ok := keys.DecodeDue(k)
	if !ok || len(v) != 0 {
		c.problem(k, "damaged place of a delivery")
		return nil
	}
	d, ok, err := storage.ReadDelivery(c.view, c.app, at.Notification, at.Device)
	if err == nil && (!ok || d.State != entity.DeliveryOpen || d.Notifier != at.Notifier || d.Due != at.At) {
		c.problem(k, "is not the place of a delivery of notification %d", at.Notification)
	}
	return err
}
