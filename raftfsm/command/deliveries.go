package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// MaxDeliveries bounds the deliveries of one command. Apply decides by it, so it is no
// setting.
const MaxDeliveries = 1000

// ReviseEntity changes an entity as UpdateEntity does, if it stands at a revision: what
// the patch was made of has not changed since. Faults: ServiceResourceNotFound (no such
// entity), Conflict (another revision), those of UpdateEntity.
type ReviseEntity struct {
	Rules Rules
	ID    entity.ID
	Rev   entity.Seq
	Patch []byte
}

// ScheduleTask makes a task due at a time instead of when it was. Faults:
// EntityNotFound; Conflict, if it is dead.
type ScheduleTask struct {
	ID        entity.ID
	NotBefore int64 // ms since the epoch
}

// QueueDeliveries records deliveries of a notification, due at the command's time:
// those of its devices that have had none. What its entity says of their number is
// brought up to date; that there is no entity any more is no error. Faults:
// IllegalArgument, for more than MaxDeliveries.
type QueueDeliveries struct {
	Rules        Rules // of notifications
	Notification entity.ID
	Number       entity.Seq // of the notification in its collection
	Items        []NewDelivery
}

// NewDelivery is a device and the notifier that its delivery goes through, by their
// numbers in their collections.
type NewDelivery struct{ Device, Notifier entity.Seq }

// SettleDeliveries notes what became of deliveries, creates the receipts that go with
// it, and brings the notification's statistics up to date. A verdict on a delivery that
// is not open, or has had another number of attempts, is of the past and left out, and
// so is its receipt. Outcome.Handled is how many verdicts counted. Fault:
// IllegalArgument, for more than MaxDeliveries.
type SettleDeliveries struct {
	Rules        Rules // of notifications
	Notification entity.ID
	Number       entity.Seq
	Verdicts     []Verdict
	Receipts     Rules // their type's; what one breaks of it leaves the receipt out
}

// Verdict is what became of an attempt at a delivery.
type Verdict struct {
	Device   entity.Seq
	Attempts uint32               // that the delivery had before
	State    entity.DeliveryState // DeliveryOpen: to be tried again
	Due      int64                // when, ms since the epoch
	Receipt  *NewEntity
}

// ClearDeliveries removes what is known of the deliveries of a notification, once none is
// open. Fault: Conflict, if one is.
type ClearDeliveries struct{ Number entity.Seq }

func (ReviseEntity) kind() Kind     { return KindReviseEntity }
func (ScheduleTask) kind() Kind     { return KindScheduleTask }
func (QueueDeliveries) kind() Kind  { return KindQueueDeliveries }
func (SettleDeliveries) kind() Kind { return KindSettleDeliveries }
func (ClearDeliveries) kind() Kind  { return KindClearDeliveries }

func (o ReviseEntity) appendBody(dst []byte) []byte {
	dst = append(appendRules(dst, &o.Rules), o.ID[:]...)
	return appendBytes(binary.AppendUvarint(dst, uint64(o.Rev)), o.Patch)
}

func (d *Decoder) reviseEntity(r *reader) Op {
	return ReviseEntity{Rules: d.readRules(r), ID: r.id(), Rev: entity.Seq(r.uvarint()), Patch: r.bytes()}
}

func (o ScheduleTask) appendBody(dst []byte) []byte {
	return binary.AppendVarint(append(dst, o.ID[:]...), o.NotBefore)
}

func (o QueueDeliveries) appendBody(dst []byte) []byte {
	dst = append(appendRules(dst, &o.Rules), o.Notification[:]...)
	dst = binary.AppendUvarint(dst, uint64(o.Number))
	dst = binary.AppendUvarint(dst, uint64(len(o.Items)))
	for _, it := range o.Items {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(it.Device)), uint64(it.Notifier))
	}
	return dst
}

func (d *Decoder) queueDeliveries(r *reader) Op {
	o := QueueDeliveries{Rules: d.readRules(r), Notification: r.id(), Number: entity.Seq(r.uvarint())}
	if n := r.count(2); n > 0 {
		o.Items = make([]NewDelivery, n)
		for i := range o.Items {
			o.Items[i] = NewDelivery{Device: entity.Seq(r.uvarint()), Notifier: entity.Seq(r.uvarint())}
		}
	}
	return o
}

func (o SettleDeliveries) appendBody(dst []byte) []byte {
	dst = append(appendRules(dst, &o.Rules), o.Notification[:]...)
	dst = binary.AppendUvarint(dst, uint64(o.Number))
	dst = binary.AppendUvarint(appendRules(dst, &o.Receipts), uint64(len(o.Verdicts)))
	for i := range o.Verdicts {
		v := &o.Verdicts[i]
		dst = binary.AppendUvarint(dst, uint64(v.Device))
		dst = binary.AppendUvarint(dst, uint64(v.Attempts))
		dst = binary.AppendVarint(append(dst, byte(v.State)), v.Due)
		dst = appendOptional(dst, v.Receipt)
	}
	return dst
}

// minVerdict is the size of the smallest verdict.
const minVerdict = 5

func (d *Decoder) settleDeliveries(r *reader) Op {
	o := SettleDeliveries{Rules: d.readRules(r), Notification: r.id(), Number: entity.Seq(r.uvarint()), Receipts: d.readRules(r)}
	if n := r.count(minVerdict); n > 0 {
		o.Verdicts = make([]Verdict, n)
		for i := range o.Verdicts {
			o.Verdicts[i] = Verdict{
				Device: entity.Seq(r.uvarint()), Attempts: r.number(), State: entity.DeliveryState(r.byte()), Due: r.varint(), Receipt: r.optional(),
			}
		}
	}
	return o
}

func (o ClearDeliveries) appendBody(dst []byte) []byte {
	return binary.AppendUvarint(dst, uint64(o.Number))
}
