package raftlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// Snapshots is the raft.SnapshotStore of one partition: it keeps one marker.
type Snapshots struct{ store *Store }

// Snapshots returns the snapshot store that goes with s.
func (s *Store) Snapshots() *Snapshots { return &Snapshots{s} }

// Create implements raft.SnapshotStore.
func (s *Snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("partition %d: snapshot version %d is not supported", s.store.partition, version)
	}
	return &sink{store: s.store, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}, nil
}

// List implements raft.SnapshotStore.
func (s *Snapshots) List() ([]*raft.SnapshotMeta, error) {
	index, data, err := s.store.log.Marker(s.store.partition)
	if err != nil || index == 0 {
		return nil, err
	}
	meta := &raft.SnapshotMeta{}
	if err := json.Unmarshal(data, meta); err != nil {
		return nil, fmt.Errorf("partition %d: marker: %w", s.store.partition, err)
	}
	return []*raft.SnapshotMeta{meta}, nil
}

// Open implements raft.SnapshotStore.
func (s *Snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	return nil, nil, fmt.Errorf("partition %d: marker %s holds no data", s.store.partition, id)
}

// sink takes a marker.
type sink struct {
	store *Store
	meta  raft.SnapshotMeta
	local bool
}

// ID implements raft.SnapshotSink.
func (s *sink) ID() string { return s.meta.ID }

// MarkLocal says that the state up to the marker's index is on this node's disk.
func (s *sink) MarkLocal() { s.local = true }

// Write implements io.Writer.
func (s *sink) Write([]byte) (int, error) { return 0, errors.New("markers take no data") }

// Cancel implements raft.SnapshotSink.
func (s *sink) Cancel() error { return nil }

// Close records the marker durably.
func (s *sink) Close() error {
	if !s.local {
		return errors.New("snapshot was not made durable")
	}
	data, err := json.Marshal(s.meta)
	if err != nil {
		return fmt.Errorf("encode marker: %w", err)
	}
	return s.store.log.SetMarker(s.store.partition, s.meta.Index, data)
}
