package node

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/trellisdb/trellis/node/peer"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/storage"
)

// Config is what a node needs to start. Begin with DefaultConfig.
type Config struct {
	Name       string // what people call the node, kept in the data directory; empty: a random one at first start
	Version    string // of the program, for people
	Zone       string // where the node stands: replicas are spread over zones
	Partitions int    // application partitions, fixed when the cluster is formed; 1…1024
	Storage    storage.Config

	// Secret authenticates nodes to each other. Without one the node listens for
	// nobody and is a cluster of its own.
	Secret           []byte
	TLS              *peer.TLSFiles // nil: connections between nodes are not encrypted
	ClusterAddr      string         // HOST:PORT to listen on for other nodes
	ClusterAdvertise string         // HOST:PORT at which they reach it; empty: ClusterAddr
	GossipAddr       string         // HOST:PORT of gossip, UDP and TCP
	GossipAdvertise  string         // empty: GossipAddr
	HTTPAddr         string         // of the REST API, for others to know
	Join             []string       // gossip addresses of other nodes
	Expect           int            // nodes that form a new cluster together; 1 with Join: none, this one joins

	Replication int           // replicas of a partition, while there are as many nodes
	Grace       time.Duration // how long a node may be gone before its replicas are made anew elsewhere
	NameWait    time.Duration // how long a new node is patient with another one of its name, which may be dead

	QueueCommands   int           // commands waiting per partition before Propose refuses
	QueueBytes      int           // bytes waiting or in flight per partition before Propose refuses
	EntryCommands   int           // commands in one log entry, at most
	EntryBytes      int           // bytes in one log entry, at most, unless a single command is larger
	ProposeTimeout  time.Duration // how long a proposal may take, retries included
	ReadTimeout     time.Duration // how long a read waits until its replica is up to date
	DrainTimeout    time.Duration // how long Close waits for commands in flight
	MarkerInterval  time.Duration // how often partitions are looked at for a due marker
	MarkerLogBytes  uint64        // log bytes since the last marker that make one due
	MarkerMaxAge    time.Duration // age at which any log since the last marker makes one due
	TrailingEntries uint64        // log entries kept behind a marker
	MinFreeBytes    uint64        // free space of the disk below which writes are refused and reads go on
	SpaceInterval   time.Duration // how often the free space is looked at
	StallLimit      time.Duration // how long the disk may take for a write before a node that is not alone ends itself

	Tasks tasks.Config // kinds of background task and how they are run; its Log is set from Log

	Log  *slog.Logger
	Halt func(error) // called when going on would be unsafe; in production it ends the process
}

// DefaultConfig returns a working configuration for a data directory. The
// caller sets Log and Halt.
func DefaultConfig(dir string) Config {
	return Config{
		Partitions:      8,
		Storage:         storage.DefaultConfig(dir),
		QueueCommands:   8192,
		QueueBytes:      64 << 20,
		EntryCommands:   256,
		EntryBytes:      1 << 20,
		Expect:          1,
		Replication:     3,
		Grace:           5 * time.Minute,
		NameWait:        30 * time.Second,
		ProposeTimeout:  15 * time.Second, // as the API gives a request: no second timer
		ReadTimeout:     5 * time.Second,
		DrainTimeout:    10 * time.Second,
		MarkerInterval:  5 * time.Second,
		MarkerLogBytes:  32 << 20,
		MarkerMaxAge:    5 * time.Minute,
		TrailingEntries: 64,
		MinFreeBytes:    512 << 20, // flushing both databases and compacting need about as much
		SpaceInterval:   time.Second,
		StallLimit:      4 * time.Second,
		Tasks:           tasks.DefaultConfig(),
	}
}

func (c *Config) check() error {
	switch {
	case c.Partitions < 1 || c.Partitions > 1024:
		return fmt.Errorf("node: partitions is %d, want 1 to 1024", c.Partitions)
	case c.QueueCommands < 1 || c.QueueBytes < 1 || c.EntryCommands < 1 || c.EntryBytes < 1:
		return fmt.Errorf("node: queue and entry limits must be positive")
	case c.Expect < 1 || c.Expect > systemVoters:
		return fmt.Errorf("node: %d nodes are to form a cluster, want 1 to %d", c.Expect, systemVoters)
	case (c.Expect > 1 || len(c.Join) > 0) && len(c.Secret) == 0:
		return fmt.Errorf("node: other nodes are to be joined, and there is no cluster secret")
	case c.Replication < 1 || c.Replication > systemVoters:
		return fmt.Errorf("node: replication is %d, want 1 to %d", c.Replication, systemVoters)
	case c.ProposeTimeout <= 0 || c.ReadTimeout <= 0 || c.Grace <= 0 || c.NameWait <= 0 || c.DrainTimeout <= 0 || c.MarkerInterval <= 0 || c.SpaceInterval <= 0 || c.StallLimit <= 0:
		return fmt.Errorf("node: time-outs must be positive")
	case c.Log == nil || c.Halt == nil:
		return fmt.Errorf("node: no logger or no halt function")
	}
	return nil
}
