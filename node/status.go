package node

import (
	"context"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// PartitionStatus are the figures of one partition on this node.
type PartitionStatus struct {
	Partition entity.Partition
	Ready     bool   // leads and serves
	Applied   uint64 // last log index in the state
	Marker    uint64 // log index up to which the state is known to be on disk
	Queued    int64  // commands waiting or under way
	Accepted  uint64 // commands taken since the start
	Refused   uint64 // commands refused because the queue was full
	Entries   uint64 // log entries proposed since the start
	LogBytes  uint64 // bytes appended to the log since the start
}

// Partitions returns the figures of all partitions, the system partition first.
func (n *Node) Partitions() []PartitionStatus {
	out := make([]PartitionStatus, len(n.groups))
	for i, g := range n.groups {
		out[i] = PartitionStatus{
			Partition: g.partition,
			Ready:     g.ready(),
			Applied:   g.machine.Applied(),
			Marker:    g.markedIndex.Load(),
			Queued:    g.queue.unanswered.Load(),
			Accepted:  g.queue.accepted.Load(),
			Refused:   g.queue.refused.Load(),
			Entries:   g.queue.entriesSent.Load(),
			LogBytes:  g.entries.appended.Load(),
		}
	}
	return out
}

// Storage returns the figures of the node's databases.
func (n *Node) Storage() storage.Metrics { return n.store.Metrics() }

// Healthy returns nil if every partition serves and the store can be read.
// Faults: NoQuorum, Stopping, Corrupt.
func (n *Node) Healthy(context.Context) error {
	if n.stopping.Load() {
		return stopping()
	}
	for _, g := range n.groups {
		if !g.ready() {
			return fault.New(fault.NoQuorum, "partition %d has no leader", g.partition)
		}
	}
	_, err := n.store.State().Applied(entity.System)
	return err
}
