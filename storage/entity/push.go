package entity

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"

	"github.com/trellisdb/trellis/storage/fault"
)

// TaskPush is the kind of the task that sends a notification. Its body begins with the
// 16 bytes of the notification's id.
const TaskPush = "push"

// PushTask returns the id of the task that sends a notification. It is a hash: clients
// choose the ids of notifications, and must not meet other tasks by them.
func PushTask(app AppID, notification ID) ID {
	text := append([]byte("trellis push task 1\x00"), notification[:]...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(text, uint32(app)))
	return ID(sum[:16])
}

// States of a notification.
const (
	NotificationCreated   = "CREATED"
	NotificationScheduled = "SCHEDULED"
	NotificationStarted   = "STARTED"
	NotificationFinished  = "FINISHED"
	NotificationCanceled  = "CANCELED"
	NotificationExpired   = "EXPIRED"
	NotificationFailed    = "FAILED"
)

// NotificationFacts are the properties of a notification that its state is derived from.
// Times are ms since the epoch; 0: not set.
type NotificationFacts struct {
	Error    bool // it has an errorMessage
	Canceled bool
	Finished int64
	Started  int64 // when its targets began to be resolved
	Expire   int64
	Deliver  int64
	Queued   int64
}

// NotificationState returns the state of a notification at a time, ms since the epoch:
// the first rule that holds of the spec's (push-notifications section 5).
func NotificationState(f NotificationFacts, now int64) string {
	switch {
	case f.Error:
		return NotificationFailed
	case f.Canceled:
		return NotificationCanceled
	case f.Finished != 0:
		return NotificationFinished
	case f.Started != 0:
		return NotificationStarted
	case f.Expire != 0 && f.Expire <= now:
		return NotificationExpired
	case f.Deliver != 0, f.Queued != 0:
		return NotificationScheduled
	}
	return NotificationCreated
}

// ReadNotificationFacts reads the facts of a notification's stored properties. Faults:
// Corrupt.
func ReadNotificationFacts(properties []byte) (NotificationFacts, error) {
	var p struct {
		ErrorMessage *string  `json:"errorMessage"`
		Canceled     bool     `json:"canceled"`
		Finished     *float64 `json:"finished"`
		Started      *float64 `json:"started"`
		Expire       *float64 `json:"expire"`
		Deliver      *float64 `json:"deliver"`
		Queued       *float64 `json:"queued"`
	}
	if err := json.Unmarshal(properties, &p); err != nil {
		return NotificationFacts{}, fault.Wrap(err, fault.Corrupt, "properties of a notification: damaged")
	}
	f := NotificationFacts{Error: p.ErrorMessage != nil, Canceled: p.Canceled}
	for _, t := range []struct {
		from *float64
		to   *int64
	}{{p.Finished, &f.Finished}, {p.Started, &f.Started}, {p.Expire, &f.Expire}, {p.Deliver, &f.Deliver}, {p.Queued, &f.Queued}} {
		if t.from != nil {
			*t.to = int64(min(max(*t.from, 0), maxTime))
		}
	}
	return f, nil
}

// maxTime bounds the times that are read of properties, so that every one is an int64.
const maxTime = 1 << 62
