package push

import (
	"encoding/json"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

// Codes of failures that are the engine's own.
const (
	codeNotifierDeleted = "NotifierDeleted"
	codeDeviceDeleted   = "DeviceDeleted"
	codeNotRegistered   = "NotRegistered"
	codeUnusable        = "InvalidNotifier"
)

// outcome is what became of a delivery, for good.
type outcome struct {
	state    entity.DeliveryState
	code     any // string or 0; nil if it was sent
	message  string
	id       string // the service's
	attempts int
}

func sentOutcome(r provider.Result, attempts int) outcome {
	return outcome{state: entity.DeliverySent, id: r.ProviderID, attempts: attempts}
}

// failedOutcome is the end of a delivery whose last attempt ended so.
func failedOutcome(r provider.Result, attempts int) outcome {
	o := outcome{state: entity.DeliveryFailed, code: r.Code, message: r.Message, id: r.ProviderID, attempts: attempts}
	if r.Level == provider.NotifierLevel {
		o.state = entity.DeliveryRefused
	}
	return o
}

// expiredOutcome is the end of a delivery whose time has run out.
func expiredOutcome(attempts int) outcome {
	return outcome{state: entity.DeliveryFailed, code: 0, message: "the notification has expired", attempts: attempts}
}

// receiptOf makes a receipt.
func receiptOf(n *note, device entity.ID, r *route, token string, payload json.RawMessage, o *outcome, now time.Time) *command.NewEntity {
	receipt := struct {
		Notification string          `json:"notificationUUID"`
		Device       string          `json:"deviceId,omitempty"`
		Token        string          `json:"notifierId,omitempty"`
		Notifier     string          `json:"notifier,omitempty"`
		Payload      json.RawMessage `json:"payload,omitempty"`
		Payloads     json.RawMessage `json:"payloads,omitempty"`
		Sent         int64           `json:"sent,omitempty"`
		Code         any             `json:"errorCode,omitempty"`
		Message      string          `json:"errorMessage,omitempty"`
		Attempts     int             `json:"attempts"`
		ProviderID   string          `json:"providerId,omitempty"`
	}{
		Notification: n.id.String(), Token: token, Payload: payload, Payloads: payload,
		Code: o.code, Message: o.message, Attempts: o.attempts, ProviderID: o.id,
	}
	if !device.IsZero() {
		receipt.Device = device.String()
	}
	if r != nil {
		receipt.Notifier = r.label()
	}
	if o.state == entity.DeliverySent {
		receipt.Sent = now.UnixMilli()
	}
	raw, err := json.Marshal(receipt)
	if err != nil { // the payload of a sender is no JSON: the rest of the receipt is true all the same
		receipt.Payload, receipt.Payloads = nil, nil
		raw = provider.Marshal(receipt)
	}
	return &command.NewEntity{ID: entity.NewID(), Created: now.UnixMilli(), Modified: now.UnixMilli(), JSON: raw}
}
