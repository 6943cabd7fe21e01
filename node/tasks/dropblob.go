package tasks

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// Objects is what tasks need of the object store.
type Objects interface {
	// Delete deletes an object. One that does not exist is no error.
	Delete(ctx context.Context, key string) error
	// DeleteAll deletes objects whose names begin with a prefix, and reports whether
	// none is left.
	DeleteAll(ctx context.Context, prefix string) (done bool, err error)
}

// WithObjects returns kinds of tasks of which those that have to do with binary data know
// the object store where it may lie.
func WithObjects(kinds []Kind, objects Objects) []Kind {
	kinds = slices.Clone(kinds)
	for i := range kinds {
		switch kinds[i].Name {
		case entity.TaskDropBlob:
			kinds[i] = DropBlob(objects)
		case entity.TaskPurgeApplication:
			kinds[i] = PurgeApplication(objects)
		}
	}
	return kinds
}

// DropBlob removes binary data that no entity has: what was uploaded and not attached, once
// its time is over, and objects of entities that are gone or have got other data. Whoever
// begins or replaces such data records the task; its body is the id of the data.
//
// An object is doomed in one step and deleted in a later one, so that no entity ever
// gets one that is being deleted. objects may be nil if none was ever configured.
func DropBlob(objects Objects) Kind {
	return Kind{Name: entity.TaskDropBlob, Run: func(ctx context.Context, job *Job) (Step, error) {
		if len(job.Task.Body) != len(entity.ID{}) {
			return Step{}, Permanent(fmt.Errorf("body %x names no data", job.Task.Body))
		}
		id := entity.ID(job.Task.Body)
		view, err := job.View()
		if err != nil {
			return Step{}, err
		}
		b, exists, err := storage.ReadBlob(view, job.Task.App, id)
		if err = errors.Join(err, view.Close()); err != nil {
			return Step{}, err
		}
		switch {
		case !exists || b.State == entity.BlobAttached:
			return Step{Finish: true}, nil
		case b.Object == "":
		case objects == nil:
			return Step{}, fmt.Errorf("object %s is to be deleted, and no object store is configured", b.Object)
		case b.State == entity.BlobOpen:
			step := job.Keep()
			step.Effect = command.DoomBlob{Blob: id}
			return step, nil
		default:
			if err := objects.Delete(ctx, b.Object); err != nil {
				return Step{}, fmt.Errorf("delete object %s: %w", b.Object, err)
			}
		}
		return Step{Effect: command.DropBlob{Blob: id}, Finish: true}, nil
	}}
}
