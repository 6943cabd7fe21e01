package raftfsm

import (
	"errors"
	"fmt"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Home is what a cluster knows of itself and its nodes.
type Home struct {
	Cluster    entity.ID
	Members    []entity.Member
	Placements []entity.Placement
}

// Rehome gives the state of the system partition another home, and changes
// nothing else of it. It is no command and goes through no log: it is for a state
// of which there is one copy, while no Raft runs, and needs a flush to be
// durable.
func Rehome(state *storage.State, h *Home) error {
	view := state.View(entity.System)
	cluster, found, err := storage.ReadCluster(view)
	if err = errors.Join(err, view.Close()); err != nil {
		return fmt.Errorf("read cluster record: %w", err)
	}
	if !found {
		return fault.New(fault.Corrupt, "the system partition has no cluster record")
	}
	cluster.ID = h.Cluster
	b := state.NewBatch(entity.System)
	b.DeleteRange(keys.MemberRange())
	b.DeleteRange(keys.NodeRange())
	b.DeleteRange(keys.PlacementRange())
	b.Set(keys.AppendCluster(nil), entity.AppendCluster(nil, &cluster))
	for i := range h.Members {
		m := &h.Members[i]
		b.Set(keys.AppendMember(nil, m.ID), entity.AppendMember(nil, m))
		if m.State != entity.Removed {
			b.Set(keys.AppendNode(nil, m.ID.Name()), []byte(m.ID))
		}
	}
	for i := range h.Placements {
		p := &h.Placements[i]
		b.Set(keys.AppendPlacement(nil, p.Partition), entity.AppendPlacement(nil, p))
	}
	return errors.Join(b.Commit(), b.Close())
}
