package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/storage"
)

// localSink is what a snapshot store offers to a marker: a snapshot without
// bytes, of a state that is on this node's disk.
type localSink interface {
	raft.SnapshotSink
	MarkLocal()
}

// marker is a snapshot that copies nothing: it makes the state durable.
type marker struct{ state *storage.State }

// Snapshot returns a marker. It costs nothing; the work is in Persist.
func (m *Machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.dead {
		return nil, errors.New("the state machine was halted")
	}
	return marker{state: m.cfg.State}, nil
}

// Persist brings all that was applied to the disk and says so to the sink. What
// was applied after the marker was taken may be included.
func (s marker) Persist(sink raft.SnapshotSink) error {
	local, ok := sink.(localSink)
	if !ok {
		return errors.Join(fmt.Errorf("snapshot store cannot hold markers: %T", sink), sink.Cancel())
	}
	if err := s.state.Flush(); err != nil {
		return errors.Join(fmt.Errorf("flush state: %w", err), sink.Cancel())
	}
	local.MarkLocal()
	return sink.Close()
}

// Release does nothing: a marker holds nothing.
func (s marker) Release() {}

// Restore replaces the partition's state by the one in the stream, checked and
// in one step, and drops everything kept in memory of the old one.
func (m *Machine) Restore(stream io.ReadCloser) (err error) {
	defer func() { err = errors.Join(err, stream.Close()) }()
	if m.dead {
		return errors.New("the state machine was halted")
	}
	start := time.Now()
	if err := m.cfg.State.Restore(context.Background(), m.cfg.Partition, stream); err != nil {
		return fmt.Errorf("partition %d: restore snapshot: %w", m.cfg.Partition, err)
	}
	if err := m.load(); err != nil {
		m.halt(0, fmt.Errorf("partition %d: reload after restore: %w", m.cfg.Partition, err))
		return fmt.Errorf("partition %d: reload after restore: %w", m.cfg.Partition, err)
	}
	for i := range m.versions {
		m.versions[i].principals.Add(1)
		m.versions[i].grants.Add(1)
	}
	m.log.Info("partition restored", "partition", m.cfg.Partition, "applied", m.Applied(), "took", time.Since(start))
	return nil
}
