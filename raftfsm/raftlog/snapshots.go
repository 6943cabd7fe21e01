package raftlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/storage"
)

// Beginnings of snapshot ids.
const (
	localPrefix    = "local-"    // the state of this node
	receivedPrefix = "received-" // a stream in the spool directory, under this name
)

// Snapshots is the raft.SnapshotStore of one partition. It lists one snapshot
// at most: the marker. It is safe for concurrent use.
type Snapshots struct {
	store   *Store
	created *atomic.Uint64 // numbers received streams and spools
	sending *atomic.Int64
}

// Snapshots returns the snapshot store that goes with s.
func (s *Store) Snapshots() *Snapshots {
	return &Snapshots{store: s, created: new(atomic.Uint64), sending: new(atomic.Int64)}
}

// Sending returns how many followers are being sent the partition. A new marker
// would let the log they need next be truncated.
func (s *Snapshots) Sending() int { return int(s.sending.Load()) }

// Create implements raft.SnapshotStore. The sink becomes a marker of this
// node's own state if MarkLocal is called, or else holds what is written to it.
func (s *Snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("partition %d: snapshot version %d is not supported", s.store.partition, version)
	}
	name := fmt.Sprintf("%s%d-%d-%d-%d", receivedPrefix, s.store.partition, term, index, s.created.Add(1))
	return &Sink{snaps: s, name: name, marker: storage.Marker{
		Index: index, Term: term, ConfigurationIndex: configurationIndex,
		Configuration: raft.EncodeConfiguration(configuration),
	}}, nil
}

// List implements raft.SnapshotStore.
func (s *Snapshots) List() ([]*raft.SnapshotMeta, error) {
	m, ok, err := s.store.log.Marker(s.store.partition)
	if err != nil || !ok {
		return nil, err
	}
	return []*raft.SnapshotMeta{meta(&m)}, nil
}

func meta(m *storage.Marker) *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: fmt.Sprintf("%s%d-%d", localPrefix, m.Term, m.Index),
		Index: m.Index, Term: m.Term,
		Configuration: raft.DecodeConfiguration(m.Configuration), ConfigurationIndex: m.ConfigurationIndex,
	}
}

// Open implements raft.SnapshotStore. For a marker it writes the partition, as
// it stands now, into a spool, which is removed when the stream is closed: the
// content may be newer than the marker, and whoever applies entries to it skips
// those it holds. A received stream is removed when it is closed, if the state
// has come as far by then.
func (s *Snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m, ok, err := s.store.log.Marker(s.store.partition)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, fmt.Errorf("partition %d: there is no snapshot", s.store.partition)
	}
	if strings.HasPrefix(id, receivedPrefix) {
		return s.openReceived(&m, id)
	}
	return s.openLocal(&m)
}

func (s *Snapshots) openReceived(m *storage.Marker, name string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	f, size, err := s.store.store.OpenReceived(name)
	if err != nil {
		return nil, nil, fmt.Errorf("partition %d: %w", s.store.partition, err)
	}
	info := meta(m)
	info.ID, info.Size = name, size
	return info, &stream{ReadCloser: f, close: func() error { return s.dropReceived(name, m.Index) }}, nil
}

// dropReceived removes a received stream once the state no longer needs it.
func (s *Snapshots) dropReceived(name string, index uint64) error {
	applied, err := s.store.store.State().Applied(s.store.partition)
	if err != nil || applied < index {
		return err
	}
	return s.store.store.DropReceived(name)
}

func (s *Snapshots) openLocal(m *storage.Marker) (*raft.SnapshotMeta, io.ReadCloser, error) {
	st := s.store.store
	dir := st.FS().PathJoin(st.SpoolDir(), fmt.Sprintf("send-%d-%d", s.store.partition, s.created.Add(1)))
	s.sending.Add(1)
	spool, err := st.State().Spool(context.Background(), s.store.partition, dir)
	if err != nil {
		s.sending.Add(-1)
		return nil, nil, err
	}
	done := func() error {
		s.sending.Add(-1)
		return spool.Remove()
	}
	if spool.Applied < m.Index {
		return nil, nil, errors.Join(fmt.Errorf("partition %d: the state is at index %d, the marker at %d", s.store.partition, spool.Applied, m.Index), done())
	}
	r, err := spool.Open()
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	info := meta(m)
	info.Size = spool.Size()
	return info, &stream{ReadCloser: r, close: done}, nil
}

// stream does something more when it is closed for the first time.
type stream struct {
	io.ReadCloser
	close  func() error
	closed bool
}

// Close implements io.Closer.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.ReadCloser.Close(), s.close())
}

// Sink takes a snapshot: a marker of the local state, or a received stream.
// It is not safe for concurrent use.
type Sink struct {
	snaps  *Snapshots
	name   string
	marker storage.Marker
	local  bool
	in     *storage.Incoming
	closed bool
}

// ID implements raft.SnapshotSink.
func (s *Sink) ID() string {
	if s.local {
		return meta(&s.marker).ID
	}
	return s.name
}

// MarkLocal says that the snapshot is the state of this node, and has no bytes.
func (s *Sink) MarkLocal() { s.local = true }

// Write implements io.Writer.
func (s *Sink) Write(b []byte) (int, error) {
	if s.local || s.closed {
		return 0, errors.New("snapshot takes no data")
	}
	if s.in == nil {
		var err error
		if s.in, err = s.snaps.store.store.Receive(s.snaps.store.partition, s.name); err != nil {
			return 0, err
		}
	}
	return s.in.Write(b)
}

// Cancel implements raft.SnapshotSink.
func (s *Sink) Cancel() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.in != nil {
		return s.in.Abort()
	}
	return nil
}

// Close implements raft.SnapshotSink. When it returns, the marker is on disk,
// with the received stream or with the state it speaks of.
func (s *Sink) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	p, log := s.snaps.store.partition, s.snaps.store.log
	if s.local {
		_, err := log.SetMarker(p, s.marker, nil)
		return err
	}
	if s.in == nil {
		return fmt.Errorf("partition %d: received an empty snapshot", p)
	}
	if err := s.in.Commit(context.Background()); err != nil {
		return err
	}
	replacement, err := s.replacement()
	if err != nil {
		return err
	}
	s.marker.Spool = s.name
	_, err = log.SetMarker(p, s.marker, replacement)
	return err
}

// replacement returns what the log entry at the snapshot's index must become,
// or nil if the log agrees with the snapshot. The library keeps a log that
// contradicts one: it would reject every append behind it, and would as a leader
// send entries that were never committed.
func (s *Sink) replacement() ([]byte, error) {
	var e raft.Log
	err := s.snaps.store.GetLog(s.marker.Index, &e)
	if errors.Is(err, raft.ErrLogNotFound) || (err == nil && e.Term == s.marker.Term) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return appendEntry(nil, &raft.Log{Type: raft.LogNoop, Term: s.marker.Term}), nil
}
