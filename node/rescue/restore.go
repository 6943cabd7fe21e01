// Package rescue makes a cluster of one out of what is left: out of a backup,
// or out of the data directory of one node whose cluster has lost its majority.
//
// Both work on a data directory that no node runs on, and both give the cluster a
// new id: nodes of the old one, should they come back, are nodes of another
// cluster, and neither gossip nor any connection between nodes lets the two meet.
//
// Until all is done and on the disk the directory says that it is unfinished, and
// can be opened by nothing but the same work: a crash leaves what was there
// before, or what is wanted, or a refusal, never a half of something.
package rescue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/trellisdb/trellis/raftfsm"
	"github.com/trellisdb/trellis/raftfsm/raftlog"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/archive"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Names of the work on a store.
const (
	workRestore = "restore"
	workRecover = "recover"
)

// Config is where and as what a node is to go on.
type Config struct {
	Storage  storage.Config
	Version  string // of the program, for people
	Protocol uint32 // newest that the program understands
}

// Restored says what became of a backup.
type Restored struct {
	Header  archive.Header // of the backup
	Node    entity.NodeID
	Cluster entity.ID
}

// Restore makes a new data directory of a cluster of one out of a backup. If it
// fails, the directory is removed again. Fault: Corrupt, if the backup is not
// whole.
func Restore(ctx context.Context, cfg Config, backup io.Reader) (done Restored, err error) {
	in, err := archive.NewReader(backup)
	if err != nil {
		return done, err
	}
	done = Restored{Header: in.Header, Cluster: entity.NewID()}
	sc := cfg.Storage
	sc.New = &storage.Work{Name: workRestore, Cluster: done.Cluster}
	store, err := storage.Open(sc)
	if err != nil {
		return done, err
	}
	done.Node = store.Identity().NodeID
	if err = fill(ctx, &cfg, store, in, done.Cluster); err == nil {
		err = store.Finish()
	}
	if err = errors.Join(err, store.Close()); err != nil {
		return done, errors.Join(err, store.FS().RemoveAll(sc.Dir))
	}
	return done, nil
}

// fill puts a backup into an empty store.
func fill(ctx context.Context, cfg *Config, store *storage.Store, in *archive.Reader, cluster entity.ID) error {
	for {
		p, content, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = store.Adopt(p, 1)
		}
		if err == nil {
			err = store.State().Restore(ctx, p, content)
		}
		if err != nil {
			return err
		}
	}
	self := member(cfg, store)
	home := raftfsm.Home{Cluster: cluster, Members: []entity.Member{self}}
	only := entity.Replica{Node: self.ID, Number: 1, Voter: true}
	for p := range entity.Partition(in.Header.Partitions + 1) {
		home.Placements = append(home.Placements, entity.Placement{
			Partition: p, Version: 1, Formed: true, Next: 2, Replicas: []entity.Replica{only},
		})
	}
	if err := agrees(cfg, store, in.Header); err != nil {
		return err
	}
	if err := raftfsm.Rehome(store.State(), &home); err != nil {
		return err
	}
	if err := store.State().Flush(); err != nil {
		return err
	}
	for p := range entity.Partition(in.Header.Partitions + 1) {
		if err := raftlog.StandAlone(store, p, only.ServerID()); err != nil {
			return err
		}
	}
	return nil
}

// agrees checks that a restored system partition is of the cluster the backup
// says it is of, and that this program understands it.
func agrees(cfg *Config, store *storage.Store, h archive.Header) error {
	view := store.State().View(entity.System)
	cluster, found, err := storage.ReadCluster(view)
	var protocol uint32
	if err == nil {
		protocol, err = storage.ReadProtocol(view)
	}
	if err = errors.Join(err, view.Close()); err != nil {
		return err
	}
	switch {
	case !found || cluster.ID != h.Cluster || cluster.Partitions != h.Partitions:
		return fault.New(fault.Corrupt, "backup: its header and its system partition are of different clusters")
	case protocol > cfg.Protocol:
		return fault.New(fault.Conflict, "the backup is of a cluster that uses protocol %d, this program understands %d: use a newer version", protocol, cfg.Protocol)
	}
	return nil
}

// member is what the cluster knows of this node until it is started: it then
// says itself where it is.
func member(cfg *Config, store *storage.Store) entity.Member {
	return entity.Member{
		ID: store.Identity().NodeID, State: entity.Active, Version: cfg.Version, Protocol: cfg.Protocol, Joined: time.Now().UnixMilli(),
	}
}

// within says what was being done to a partition.
func within(p entity.Partition, err error) error { return fmt.Errorf("partition %d: %w", p, err) }
