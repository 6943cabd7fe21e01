package node

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/trellisdb/trellis/storage"
)

// Config is what a node needs to start. Begin with DefaultConfig.
type Config struct {
	Name       string // name of the node, kept in the data directory; empty: a random one at first start
	Partitions int    // application partitions, fixed at the first start; 1…1024
	Storage    storage.Config

	QueueCommands   int           // commands waiting per partition before Propose refuses
	QueueBytes      int           // bytes waiting or in flight per partition before Propose refuses
	EntryCommands   int           // commands in one log entry, at most
	EntryBytes      int           // bytes in one log entry, at most, unless a single command is larger
	ProposeTimeout  time.Duration // deadline of a proposal whose context has none
	StartTimeout    time.Duration // how long Start waits for every partition to have a leader
	DrainTimeout    time.Duration // how long Close waits for commands in flight
	MarkerInterval  time.Duration // how often partitions are looked at for a due marker
	MarkerLogBytes  uint64        // log bytes since the last marker that make one due
	MarkerMaxAge    time.Duration // age at which any log since the last marker makes one due
	TrailingEntries uint64        // log entries kept behind a marker
	MinFreeBytes    uint64        // free space of the disk below which writes are refused and reads go on
	SpaceInterval   time.Duration // how often the free space is looked at

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
		ProposeTimeout:  10 * time.Second,
		StartTimeout:    60 * time.Second,
		DrainTimeout:    10 * time.Second,
		MarkerInterval:  5 * time.Second,
		MarkerLogBytes:  32 << 20,
		MarkerMaxAge:    5 * time.Minute,
		TrailingEntries: 64,
		MinFreeBytes:    512 << 20, // flushing both databases and compacting need about as much
		SpaceInterval:   time.Second,
	}
}

func (c *Config) check() error {
	switch {
	case c.Partitions < 1 || c.Partitions > 1024:
		return fmt.Errorf("node: partitions is %d, want 1 to 1024", c.Partitions)
	case c.QueueCommands < 1 || c.QueueBytes < 1 || c.EntryCommands < 1 || c.EntryBytes < 1:
		return fmt.Errorf("node: queue and entry limits must be positive")
	case c.ProposeTimeout <= 0 || c.StartTimeout <= 0 || c.DrainTimeout <= 0 || c.MarkerInterval <= 0 || c.SpaceInterval <= 0:
		return fmt.Errorf("node: time-outs must be positive")
	case c.Log == nil || c.Halt == nil:
		return fmt.Errorf("node: no logger or no halt function")
	}
	return nil
}
