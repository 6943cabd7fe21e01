package portage

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// Cluster is what the handlers need of a node.
type Cluster interface {
	// Propose runs a command and returns its outcome. A request id or time of
	// zero is filled in.
	Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error)
	// LongView opens a linearizable view on the partition of an application, for a walk
	// through all of it.
	LongView(ctx context.Context, app entity.AppID) (*storage.View, error)
}

// Roles gives an application its default roles, unless it has had them.
type Roles interface {
	SeedRoles(ctx context.Context, app entity.AppID, open, reset bool) ([]entity.Entity, error)
}

// Config bounds exports.
type Config struct {
	Exports int           // that a node streams at a time
	Longest time.Duration // that one may take: it keeps what is deleted meanwhile on the disk
}

// DefaultConfig returns a working configuration.
func DefaultConfig() Config { return Config{Exports: 4, Longest: 2 * time.Hour} }

// Handlers stream exports and run imports. They are safe for concurrent use.
type Handlers struct {
	cfg     Config
	cluster Cluster
	roles   Roles
	running atomic.Int64 // exports
}

// New makes the handlers.
func New(cfg Config, cluster Cluster, roles Roles) *Handlers {
	return &Handlers{cfg: cfg, cluster: cluster, roles: roles}
}
