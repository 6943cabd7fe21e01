package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// How a collection is walked through, in steps.
const (
	walkEntities = 256       // that a step changes
	walkBytes    = 256 << 10 // of JSON of those, unless it is one entity
	walkLook     = 20_000    // entities looked at
)

// Reindex indexes the entities of a collection anew that are indexed by an older plan
// than the one that was current when the task was recorded. Its progress is in
// entities that had one.
func Reindex() Kind { return Kind{Name: entity.TaskReindex, Run: reindex} }

// ClearCollection removes the entities of a collection that were there when the task
// was recorded, and were last modified before a time; with groups also the roles of those
// groups alone. Its progress is in entities of the collection looked at.
func ClearCollection() Kind { return Kind{Name: entity.TaskClear, Run: clearCollection} }

func reindex(ctx context.Context, job *Job) (s Step, err error) {
	w, view, err := begin(job)
	if err != nil {
		return Step{}, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	c, ok, err := storage.ReadCollection(view, job.Task.App, w.Collection)
	if err != nil || !ok {
		return Step{Finish: true}, err
	}
	settings, err := storage.ReadSettings(view, job.Task.App, c.ID)
	if err != nil {
		return Step{}, err
	}
	var found walked
	if len(settings.Older) > 0 {
		found, err = advance(ctx, view, job.Task.App, c.ID, &w, func(e *entity.Entity) (bool, error) {
			return e.Generation < w.Generation && e.Modified >= w.Time, nil
		})
		if err != nil {
			return Step{}, err
		}
	}
	if len(found.seqs) == 0 && (found.end || len(settings.Older) == 0) {
		return Step{Finish: true}, left(&c, &w)
	}
	s = job.Keep()
	s.Done += uint64(len(found.seqs))
	s.Body = entity.AppendWalk(nil, &w)
	if len(found.seqs) > 0 {
		s.Effect = command.ReindexStep{Collection: w.Collection, Seqs: found.seqs}
	}
	return s, nil
}

// left says that entities could not be indexed anew, after everything was tried: a
// person must change them, or the settings.
func left(c *storage.Collection, w *entity.Walk) error {
	if w.Time != 0 {
		return nil // not all were meant
	}
	for _, o := range c.Older {
		if o.Generation < w.Generation {
			return Permanent(fault.New(fault.EntityTooLarge, "%d entities of collection %s cannot be indexed by its settings: they would have too many entries, or the collection too many properties", o.Count, c.Name))
		}
	}
	return nil
}

func clearCollection(ctx context.Context, job *Job) (s Step, err error) {
	w, view, err := begin(job)
	if err != nil {
		return Step{}, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	c, ok, err := storage.ReadCollection(view, job.Task.App, w.Collection)
	if err != nil || !ok {
		return Step{Finish: true}, err
	}
	meant := func(e *entity.Entity) (bool, error) { return w.Time == 0 || e.Modified < w.Time, nil }
	before := w.Time
	if w.Orphans() {
		before, meant = 0, func(e *entity.Entity) (bool, error) { return orphan(view, job.Task.App, e) }
	}
	found, err := advance(ctx, view, job.Task.App, c.ID, &w, meant)
	if err != nil {
		return Step{}, err
	}
	s = job.Keep()
	if !w.Orphans() {
		s.Done += found.looked
	}
	if len(found.seqs) > 0 {
		s.Effect = command.ClearStep{Collection: w.Collection, Seqs: found.seqs, Before: before}
	}
	if s.Finish = found.end; found.end && w.Collection == groupsName {
		s.Finish, err = thenOrphans(view, job.Task.App, &w)
	}
	s.Body = entity.AppendWalk(nil, &w)
	return s, err
}

// Collections whose entities belong together: the roles of a group alone go with it.
const groupsName, rolesName = "groups", "roles"

// thenOrphans moves a walk that has gone through all groups on to the roles there are now;
// true if there are none.
func thenOrphans(view *storage.View, app entity.AppID, w *entity.Walk) (none bool, err error) {
	roles, ok, err := storage.ReadCollection(view, app, rolesName)
	if err != nil || !ok {
		return true, err
	}
	*w = entity.Walk{Collection: rolesName, Next: 1, Until: max(roles.NextSeq, 1), Generation: entity.WalkOrphans}
	return false, nil
}

// orphan reports whether a role is one of a group alone which is not there any more. No
// other can be it: a group that is gone gets no roles.
func orphan(view *storage.View, app entity.AppID, e *entity.Entity) (bool, error) {
	var role map[string]json.RawMessage
	var name string
	if err := json.Unmarshal(e.JSON, &role); err != nil {
		return false, fault.Wrap(err, fault.Corrupt, "role %s: its JSON", e.ID)
	}
	if json.Unmarshal(role["name"], &name) != nil {
		return false, nil
	}
	id, _, scoped := strings.Cut(name, ":")
	group, isID := entity.ParseID(id)
	if !scoped || !isID {
		return false, nil
	}
	groups, ok, err := storage.ReadCollectionID(view, app, groupsName)
	if err != nil || !ok {
		return false, err
	}
	_, there, err := storage.ReadEntityByID(view, app, groups, group)
	return !there, err
}

// begin returns where a walk has come to, and the partition. The caller closes the view.
func begin(job *Job) (entity.Walk, *storage.View, error) {
	w, err := entity.DecodeWalk(job.Task.Body)
	if err != nil {
		return w, nil, Permanent(fmt.Errorf("task %s: %w", job.Task.ID, err))
	}
	view, err := job.View()
	return w, view, err
}

// walked is what a step of a walk has met.
type walked struct {
	seqs   []entity.Seq // of those that are meant
	looked uint64
	end    bool // there are no more
}

// advance looks at the next entities of a collection, from the oldest on, and moves w on.
func advance(ctx context.Context, view *storage.View, app entity.AppID, c entity.CollectionID, w *entity.Walk, meant func(e *entity.Entity) (bool, error)) (found walked, err error) {
	it, err := view.Scan(keys.EntityRange(view.Partition(), app, c))
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var ok bool
	if w.Next == 0 {
		ok = it.Last()
	} else { // keys have the numbers inverted: the key before that of Next-1
		ok = it.SeekLT(keys.AppendEntity(nil, view.Partition(), app, c, w.Next-1))
	}
	size := 0
	for ; ok; ok = it.Prev() {
		if found.looked%1024 == 0 && ctx.Err() != nil {
			return found, ctx.Err()
		}
		_, seq, valid := keys.DecodeEntity(it.Key())
		e, err := entity.DecodeRecord(it.Value())
		if err != nil || !valid {
			return found, fault.New(fault.Corrupt, "partition %d: entity at key %x", view.Partition(), it.Key())
		}
		if seq >= w.Until {
			break
		}
		mean, err := meant(&e)
		if err != nil {
			return found, err
		}
		if mean {
			if size += len(e.JSON); len(found.seqs) > 0 && size > walkBytes {
				return found, nil
			}
			found.seqs = append(found.seqs, seq)
		}
		found.looked++
		w.Next = seq + 1
		if len(found.seqs) == walkEntities || found.looked == walkLook {
			return found, nil
		}
	}
	found.end = it.Err() == nil
	return found, it.Err()
}
