package raftfsm

import (
	"strconv"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

func (m *Machine) reviseEntity(cmd *command.Command, op *command.ReviseEntity) (result, error) {
	c, err := m.open(cmd.App, op.Rules.Collection, op.Rules.Unique)
	if err != nil {
		return result{}, err
	}
	e, found, err := m.find(c, &command.Target{ID: op.ID})
	switch {
	case err != nil:
		return result{}, err
	case op.ID.IsZero() || !found:
		return result{}, refuse(fault.ServiceResourceNotFound, "no such entity in collection %s", op.Rules.Collection)
	case e.Rev != op.Rev:
		return result{}, refuse(fault.Conflict, "the entity has changed meanwhile")
	}
	return m.updateEntity(cmd, &command.UpdateEntity{Rules: op.Rules, Target: command.Target{ID: op.ID}, Patch: op.Patch})
}

func (m *Machine) scheduleTask(op *command.ScheduleTask) (result, error) {
	old, err := m.task(op.ID)
	if err != nil {
		return result{}, err
	}
	if old.State != entity.TaskReady {
		return result{}, refuse(fault.Conflict, "task %s is %s", op.ID, old.State)
	}
	next := old
	next.Turn++
	next.NotBefore = max(op.NotBefore, 0)
	m.recordTask(&old, &next)
	return result{}, nil
}

// deliveries are those of one notification while a command changes them.
type deliveries struct {
	app     entity.AppID
	number  entity.Seq
	figures entity.Deliveries
}

func (m *Machine) deliveriesOf(app entity.AppID, number entity.Seq, items int) (deliveries, error) {
	if items > command.MaxDeliveries {
		return deliveries{}, refuse(fault.IllegalArgument, "%d deliveries, more than the %d allowed", items, command.MaxDeliveries)
	}
	if err := m.alive(app); err != nil {
		return deliveries{}, err
	}
	d := deliveries{app: app, number: number}
	var err error
	d.figures, err = storage.ReadDeliveries(m.batch, app, number)
	return d, err
}

// put writes a delivery in the place of what it was; nil: it is new.
func (m *Machine) put(d *deliveries, device entity.Seq, old, now *entity.Delivery) {
	due := keys.Due{Notification: d.number, Device: device}
	if old != nil {
		*d.figures.Of(old.State)--
		due.Notifier, due.At = old.Notifier, old.Due
		m.key = keys.AppendDue(m.key[:0], m.cfg.Partition, d.app, due)
		m.batch.Delete(m.key)
	}
	*d.figures.Of(now.State)++
	m.key = keys.AppendDelivery(m.key[:0], m.cfg.Partition, d.app, d.number, device)
	m.value = entity.AppendDelivery(m.value[:0], now)
	m.batch.Set(m.key, m.value)
	if now.State == entity.DeliveryOpen {
		due.Notifier, due.At = now.Notifier, now.Due
		m.key = keys.AppendDue(m.key[:0], m.cfg.Partition, d.app, due)
		m.batch.Set(m.key, nil)
	}
}

// tellFigures writes the figures of deliveries, and what the notification says of them.
func (m *Machine) tellFigures(cmd *command.Command, d *deliveries, rules *command.Rules, id entity.ID) error {
	m.key = keys.AppendDeliveries(m.key[:0], m.cfg.Partition, d.app, d.number)
	m.value = entity.AppendDeliveries(m.value[:0], &d.figures)
	m.batch.Set(m.key, m.value)
	patch := append([]byte(nil), `{"deviceProcessedCount":`...)
	patch = strconv.AppendUint(patch, d.figures.Total(), 10)
	patch = strconv.AppendUint(append(patch, `,"expectedCount":`...), d.figures.Total(), 10)
	patch = strconv.AppendUint(append(patch, `,"statistics":{"sent":`...), d.figures.Sent, 10)
	patch = strconv.AppendUint(append(patch, `,"errors":`...), d.figures.Errors(), 10)
	patch = append(patch, `}}`...)
	if id.IsZero() {
		return nil
	}
	_, err := m.updateEntity(cmd, &command.UpdateEntity{Rules: *rules, Target: command.Target{ID: id}, Patch: patch})
	if refusedBy(err) != nil {
		return nil // it is gone, or as large as an entity can be: its figures are kept all the same
	}
	return err
}

func (m *Machine) queueDeliveries(cmd *command.Command, op *command.QueueDeliveries) (result, error) {
	d, err := m.deliveriesOf(cmd.App, op.Number, len(op.Items))
	if err != nil {
		return result{}, err
	}
	now := max(cmd.Time, 0)
	fresh := false
	for _, it := range op.Items {
		_, known, err := storage.ReadDelivery(m.batch, cmd.App, op.Number, it.Device)
		if err != nil {
			return result{}, err
		}
		if known {
			continue
		}
		fresh = true
		m.put(&d, it.Device, nil, &entity.Delivery{State: entity.DeliveryOpen, Notifier: it.Notifier, Due: now, Began: now})
	}
	if !fresh {
		return result{}, nil
	}
	return result{}, m.tellFigures(cmd, &d, &op.Rules, op.Notification)
}

func (m *Machine) settleDeliveries(cmd *command.Command, op *command.SettleDeliveries) (result, error) {
	d, err := m.deliveriesOf(cmd.App, op.Number, len(op.Verdicts))
	if err != nil {
		return result{}, err
	}
	receipts := command.CreateEntities{Rules: op.Receipts, Partial: true}
	var res result
	for i := range op.Verdicts {
		v := &op.Verdicts[i]
		old, ok, err := storage.ReadDelivery(m.batch, cmd.App, op.Number, v.Device)
		if err != nil {
			return result{}, err
		}
		if !ok || old.State != entity.DeliveryOpen || old.Attempts != v.Attempts || d.figures.Of(v.State) == nil {
			continue
		}
		now := old
		now.State = v.State
		if v.State == entity.DeliveryOpen {
			now.Due, now.Attempts = max(v.Due, 0), old.Attempts+1
		}
		m.put(&d, v.Device, &old, &now)
		res.Handled++
		if v.Receipt != nil {
			receipts.Items = append(receipts.Items, *v.Receipt)
		}
	}
	if res.Handled == 0 {
		return res, nil
	}
	if len(receipts.Items) > 0 {
		if _, err := m.createEntities(cmd, &receipts); err != nil && refusedBy(err) == nil {
			return result{}, err
		}
	}
	return res, m.tellFigures(cmd, &d, &op.Rules, op.Notification)
}

func (m *Machine) clearDeliveries(cmd *command.Command, op *command.ClearDeliveries) (result, error) {
	d, err := m.deliveriesOf(cmd.App, op.Number, 0)
	if err != nil {
		return result{}, err
	}
	if d.figures.Open > 0 {
		return result{}, refuse(fault.Conflict, "%d deliveries are open", d.figures.Open)
	}
	m.batch.DeleteRange(keys.DeliveriesRange(m.cfg.Partition, cmd.App, op.Number))
	return result{}, nil
}
