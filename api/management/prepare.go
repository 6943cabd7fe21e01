package management

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Prepare sees to it that of the management application only what is asked for is
// indexed: whoever may register must not fill the indexes with names of his own. Call
// it before the first request; every node of a cluster may. It waits for a majority of
// the cluster as long as ctx lets it, and while the cluster is being upgraded leaves it
// to a later start.
func (h *Handlers) Prepare(ctx context.Context) error {
	for _, p := range []struct {
		collection string
		fields     []string // none: nothing
	}{
		{command.Admins().Collection, nil},
		{command.Organizations().Collection, nil},
		{command.Applications().Collection, nil},
		{command.DeletedApplications().Collection, nil},
		{activitiesName, []string{audience}},
	} {
		for {
			err := h.prepare(ctx, p.collection, p.fields)
			switch fault.CodeOf(err) {
			case fault.NoQuorum, fault.Timeout, fault.NotHere, fault.Overloaded, fault.DiskFull:
				select {
				case <-time.After(100 * time.Millisecond):
					continue
				case <-ctx.Done():
				}
			case fault.NotImplemented:
				h.Log.Info("settings of a management collection are left for later", "collection", p.collection, "error", err)
				err = nil
			}
			if err != nil {
				return fmt.Errorf("settings of management collection %s: %w", p.collection, err)
			}
			break
		}
	}
	return nil
}

func (h *Handlers) prepare(ctx context.Context, collection string, fields []string) error {
	view, err := h.cluster.View(ctx, entity.Management)
	if err != nil {
		return err
	}
	var plan entity.IndexPlan
	id, ok, err := storage.ReadCollectionID(view, entity.Management, collection)
	if err == nil && ok {
		var s entity.Settings
		s, err = storage.ReadSettings(view, entity.Management, id)
		plan = s.Plan
	}
	if closed := view.Close(); err == nil {
		err = closed
	}
	if err != nil || (plan.Generation != 0 && plan.None == (fields == nil) && !plan.All && slices.Equal(plan.Fields, fields)) {
		return err
	}
	out, err := h.cluster.Propose(ctx, entity.Management, command.Command{App: entity.Management, Op: command.PutSettings{
		Collection: collection, Task: entity.NewID(), Fields: &command.Fields{None: fields == nil, List: fields},
	}})
	if err == nil && out.Fault != nil {
		err = out.Fault
	}
	return err
}
