package tasks

import (
	"context"
	"errors"
	"fmt"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// dropLimit is how many edges a step removes.
const dropLimit = 500

// DropEdges removes the edges of deleted entities, and the entries of lists of activities
// that they had or were in, of which there were more than one command may remove. Whoever deletes such an entity records the task; its body names
// the entities.
func DropEdges() Kind { return Kind{Name: entity.TaskDropEdges, Run: dropEdges} }

func dropEdges(_ context.Context, job *Job) (Step, error) {
	ends, err := command.DecodeEnds(job.Task.Body)
	if err != nil {
		return Step{}, Permanent(fmt.Errorf("body %x: %w", job.Task.Body, err))
	}
	view, err := job.View()
	if err != nil {
		return Step{}, err
	}
	left, err := connected(view, job.Task.App, ends)
	if err = errors.Join(err, view.Close()); err != nil {
		return Step{}, err
	}
	if len(left) == 0 {
		return Step{Finish: true}, nil
	}
	step := job.Keep()
	step.Effect = command.DropEdges{Ends: left, Limit: dropLimit}
	step.Body = command.AppendEnds(nil, left)
	return step, nil
}

// connected returns the ends from the first on that has edges, or has to do with lists of
// activities.
func connected(v *storage.View, app entity.AppID, ends []entity.End) ([]entity.End, error) {
	for ; len(ends) > 0; ends = ends[1:] {
		lower, upper, err := storage.ListingOf(v, app, ends[0])
		if err != nil {
			return nil, err
		}
		some := false
		if lower != nil {
			if some, err = anyIn(v, lower, upper); err != nil {
				return nil, err
			}
		}
		for _, direction := range [...]byte{keys.Outbound, keys.Inbound} {
			if some {
				return ends, nil
			}
			lower, upper := keys.EdgesRange(v.Partition(), app, direction, ends[0])
			if some, err = anyIn(v, lower, upper); err != nil {
				return nil, err
			}
		}
		if some {
			return ends, nil
		}
	}
	return nil, nil
}

// anyIn reports whether there is a key in [lower, upper).
func anyIn(v *storage.View, lower, upper []byte) (bool, error) {
	it, err := v.Scan(lower, upper)
	if err != nil {
		return false, err
	}
	some := it.First()
	return some, it.Close()
}
