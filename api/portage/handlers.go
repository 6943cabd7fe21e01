package portage

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/objects"
)

// Cluster is what the handlers need of a node.
type Cluster interface {
	// Propose runs a command and returns its outcome. A request id or time of
	// zero is filled in.
	Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error)
	// View opens a linearizable view on the partition of an application.
	View(ctx context.Context, app entity.AppID) (*storage.View, error)
	// LongView is View for a walk through all of an application.
	LongView(ctx context.Context, app entity.AppID) (*storage.View, error)
}

// Directory is what the handlers need to know of applications and secrets.
type Directory interface {
	// SeedRoles gives an application its default roles, unless it has had them.
	SeedRoles(ctx context.Context, app entity.AppID, open, reset bool) ([]entity.Entity, error)
	// Seal encrypts a secret that must be read again, and Open decrypts it.
	Seal(owner entity.ID, kind byte, secret []byte) ([]byte, error)
	Open(owner entity.ID, kind byte, sealed []byte) ([]byte, error)
}

// Config bounds exports, and says where the files of jobs are.
type Config struct {
	Exports int           // that a node streams at a time
	Longest time.Duration // that one may take: it keeps what is deleted meanwhile on the disk
	// Endpoint is the URL of the S3-compatible store that jobs read from and write to;
	// empty: there is none, and no jobs.
	Endpoint  string
	Region    string
	PathStyle bool // buckets are in the path of URLs, not in the names of hosts
	// AnyEndpoint lets requests name another store: the node then connects to whatever
	// address who administers an application tells it.
	AnyEndpoint bool
	SliceBytes  int // of each file that an export writes, about; it is held in memory
}

// DefaultConfig returns a working configuration, without a store.
func DefaultConfig() Config {
	return Config{Exports: 4, Longest: 2 * time.Hour, SliceBytes: 8 << 20}
}

// Handlers stream exports and run imports, and the steps of the tasks of both. They are
// safe for concurrent use. Who makes them ends them with Close.
type Handlers struct {
	cfg     Config
	cluster Cluster
	dir     Directory
	data    Data
	running atomic.Int64 // exports
	stores  struct {
		sync.Mutex
		open map[access]*objects.Bucket
	}
}

// New makes the handlers.
func New(cfg Config, cluster Cluster, dir Directory, data Data) *Handlers {
	return &Handlers{cfg: cfg, cluster: cluster, dir: dir, data: data}
}

// Close ends connections that nobody uses.
func (h *Handlers) Close() {
	h.stores.Lock()
	defer h.stores.Unlock()
	for _, b := range h.stores.open {
		b.Close()
	}
	h.stores.open = nil
}
