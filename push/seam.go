package push

import (
	"context"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// Host is what the engine needs of a node.
type Host interface {
	// Led returns the partitions that this node leads, as far as it knows, and Leads
	// whether one is among them.
	Led() []entity.Partition
	Leads(p entity.Partition) bool
	// View shows a partition as it has been applied here. The caller closes it.
	View(p entity.Partition) (*storage.View, error)
	// Propose puts a command through Raft in the partition of an application.
	Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error)
}

// Targets finds devices. It is safe for concurrent use.
type Targets interface {
	// Devices returns devices that a notification is for, from a position on (nil: the
	// beginning): at most limit of them; next is nil after the last. Every device that
	// is a target during the whole walk comes at least once. Faults of the target
	// itself fail the notification with their message.
	Devices(ctx context.Context, v *storage.View, app entity.AppID, pathQuery, filters []byte, useGraph bool, position []byte, limit int) (devices []entity.Entity, next []byte, err error)
	// Holders returns devices that hold a token in a property, at most limit of them. It
	// is given what is shown of the token, and finds it in all its spellings.
	Holders(ctx context.Context, v *storage.View, app entity.AppID, property, token string, limit int) ([]entity.Entity, error)
}

// Secrets opens the sealed secrets of notifiers.
type Secrets interface {
	Open(owner entity.ID, kind byte, sealed []byte) ([]byte, error)
}

// Task is a task of kind entity.TaskPush whose next step is due.
type Task struct {
	App       entity.AppID
	Partition entity.Partition
	Body      []byte
	Attempts  int // steps in a row that have failed
	Now       time.Time
}

// Step is how a task goes on: the effect on its partition, and when its next step is
// due (zero: at once), unless it is finished.
type Step struct {
	Effect    command.Op
	Finish    bool
	NotBefore time.Time
	Body      []byte
}

// Rules of the collections that the engine writes to.
var (
	notifications = command.Rules{Collection: "notifications", Type: "notification"}
	receipts      = command.Rules{Collection: "receipts", Type: "receipt"}
	devices       = command.Rules{Collection: "devices", Type: "device", Unique: []string{"name"}}
)

const notifiers = "notifiers"
