package raftfsm

import (
	"slices"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

func (m *Machine) putSettings(cmd *command.Command, op *command.PutSettings) (result, error) {
	c, err := m.open(cmd.App, op.Collection, nil)
	if err != nil {
		return result{}, err
	}
	next := c.settings
	if op.Replace {
		next = dropped(next)
	}
	if f := op.Fields; f != nil {
		if next.Plan.Fields, err = fieldsOf(f.List); err != nil {
			return result{}, err
		}
		if next.Plan.Declared, err = fieldsOf(f.Declared); err != nil {
			return result{}, err
		}
		next.Plan.None, next.Plan.All = f.None, f.All && !f.None
	}
	if op.Composites != nil {
		if next.Plan.Composites, err = compositesOf(*op.Composites); err != nil {
			return result{}, err
		}
	}
	for _, text := range []struct {
		to   *string
		from *string
	}{{&next.QueueIndex, op.QueueIndex}, {&next.IndexConsistency, op.IndexConsistency}, {&next.Region, op.Region}, {&next.UpdatedBy, &op.By}} {
		if text.from == nil {
			continue
		}
		if len(*text.from) > maxName {
			return result{}, refuse(fault.IllegalArgument, "a setting of %d bytes", len(*text.from))
		}
		*text.to = *text.from
	}
	next.Declared, next.Updated = true, cmd.Time
	return result{}, m.settle(cmd, c, next, op.Task)
}

func (m *Machine) clearSettings(cmd *command.Command, op *command.ClearSettings) (result, error) {
	c, err := m.open(cmd.App, op.Collection, nil)
	if err != nil || !c.founded {
		return result{}, err
	}
	next := dropped(c.settings)
	next.Declared, next.Updated, next.UpdatedBy = false, 0, ""
	return result{}, m.settle(cmd, c, next, op.Task)
}

// dropped returns settings that say nothing any more, but which they were.
func dropped(s entity.Settings) entity.Settings {
	s.Plan = entity.IndexPlan{Generation: s.Plan.Generation, All: true}
	s.QueueIndex, s.IndexConsistency, s.Region = "", "", ""
	return s
}

// fieldsOf folds a list of properties.
func fieldsOf(list []string) (fields []string, err error) {
	if len(list) > entity.MaxFields {
		return nil, refuse(fault.IllegalArgument, "%d fields, more than the %d allowed", len(list), entity.MaxFields)
	}
	for _, name := range list {
		if name = keys.Fold(name); name == "" || len(name) > index.MaxPath {
			return nil, refuse(fault.IllegalArgument, "a field cannot have a name of %d bytes", len(name))
		}
		if !slices.Contains(fields, name) {
			fields = append(fields, name)
		}
	}
	return fields, nil
}

// compositesOf folds and checks composite indexes, which have no numbers yet.
func compositesOf(list [][]entity.CompositeKey) (composites []entity.Composite, err error) {
	if len(list) > entity.MaxComposites {
		return nil, refuse(fault.IllegalArgument, "%d composite indexes, more than the %d allowed", len(list), entity.MaxComposites)
	}
	for _, declared := range list {
		if n := len(declared); n < entity.MinCompositeKeys || n > entity.MaxCompositeKeys {
			return nil, refuse(fault.IllegalArgument, "a composite index has %d to %d properties, not %d", entity.MinCompositeKeys, entity.MaxCompositeKeys, n)
		}
		c := entity.Composite{Keys: make([]entity.CompositeKey, len(declared))}
		for i, key := range declared {
			name := keys.Fold(key.Property)
			switch {
			case name == "" || len(name) > index.MaxPath:
				return nil, refuse(fault.IllegalArgument, "a property of a composite index cannot have a name of %d bytes", len(name))
			case name == "type":
				return nil, refuse(fault.IllegalArgument, "all entities of a collection have the same type, which cannot be part of an index")
			case slices.ContainsFunc(c.Keys[:i], func(k entity.CompositeKey) bool { return k.Property == name }):
				return nil, refuse(fault.IllegalArgument, "a composite index has the property %s twice", excerpt(name))
			}
			c.Keys[i] = entity.CompositeKey{Property: name, Desc: key.Desc}
		}
		if slices.ContainsFunc(composites, func(o entity.Composite) bool { return slices.Equal(o.Keys, c.Keys) }) {
			return nil, refuse(fault.IllegalArgument, "a composite index is declared twice")
		}
		composites = append(composites, c)
	}
	return composites, nil
}

// settle gives a collection settings, or refuses. If their plan is another one, what
// there is is of an older plan from now on, and a task is recorded that changes that.
func (m *Machine) settle(cmd *command.Command, c *collection, next entity.Settings, task entity.ID) error {
	changes := numberComposites(&next, &c.settings.Plan) || !samePlan(&next.Plan, &c.settings.Plan)
	current := c.count
	for _, o := range c.older {
		current -= o.Count
	}
	older := c.older
	if changes {
		if current > 0 {
			if len(next.Older) >= entity.MaxPlans {
				return refuse(fault.Conflict, "%d earlier changes of the settings are not done yet", len(next.Older))
			}
			next.Older = append(slices.Clip(next.Older), c.settings.Plan)
			older = append(slices.Clip(older), storage.OlderEntities{Generation: c.settings.Plan.Generation, Count: current})
		}
		next.Plan.Generation++
	}
	var job *entity.Task
	if changes && len(older) > 0 {
		var err error
		if job, err = m.planReindex(cmd, c, next.Plan.Generation, task, 0); err != nil {
			return err
		}
		job.Total = c.count
		next.Job = task
	}
	if err := m.enroll(c); err != nil {
		return err
	}
	c.settings, c.older, c.resettled = next, older, true
	m.names.change(c)
	if job != nil {
		m.recordTask(nil, job)
	}
	return nil
}

// samePlan reports whether two plans with the same composite indexes index the same.
func samePlan(a, b *entity.IndexPlan) bool {
	covers := func(a, b *entity.IndexPlan) bool {
		missing := func(field string) bool {
			return !slices.Contains(b.Fields, field) && !slices.Contains(b.Declared, field)
		}
		return !slices.ContainsFunc(a.Fields, missing) && !slices.ContainsFunc(a.Declared, missing)
	}
	return a.None == b.None && a.All == b.All && (a.All || covers(a, b) && covers(b, a))
}

// numberComposites gives the composite indexes of settings the numbers that they have
// in the plan before, or new ones, and reports whether they differ from that plan's.
func numberComposites(s *entity.Settings, before *entity.IndexPlan) (changes bool) {
	s.Plan.Composites = slices.Clone(s.Plan.Composites)
	for i := range s.Plan.Composites {
		c := &s.Plan.Composites[i]
		at := slices.IndexFunc(before.Composites, func(o entity.Composite) bool { return slices.Equal(o.Keys, c.Keys) })
		if at >= 0 {
			c.Number = before.Composites[at].Number
			continue
		}
		s.Composites++
		c.Number, changes = s.Composites, true
	}
	return changes || len(s.Plan.Composites) != len(before.Composites)
}

// planReindex is the task that will index a collection anew.
func (m *Machine) planReindex(cmd *command.Command, c *collection, generation uint32, id entity.ID, updated int64) (*entity.Task, error) {
	t := &entity.Task{
		ID: id, Kind: entity.TaskReindex, App: cmd.App, Priority: entity.Normal, State: entity.TaskReady,
		Created: cmd.Time, NotBefore: max(cmd.Time, 0),
		Body: entity.AppendWalk(nil, &entity.Walk{Collection: c.name, Next: 1, Until: c.next, Generation: generation, Time: updated}),
	}
	if err := checkTask(t); err != nil {
		return nil, err
	}
	_, known, err := storage.ReadTask(m.batch, id)
	if err == nil && known {
		err = refuse(fault.Conflict, "there is a task %s", id)
	}
	return t, err
}

func (m *Machine) reindex(cmd *command.Command, op *command.Reindex) (result, error) {
	c, err := m.open(cmd.App, op.Collection, nil)
	if err == nil && !c.founded {
		err = refuse(fault.ServiceResourceNotFound, "no collection %s", excerpt(op.Collection))
	}
	if err != nil {
		return result{}, err
	}
	t, err := m.planReindex(cmd, c, c.settings.Plan.Generation, op.Task, op.Updated)
	if err != nil {
		return result{}, err
	}
	for _, o := range c.older {
		t.Total += o.Count
	}
	c.settings.Reindexed, c.settings.Job, c.resettled = cmd.Time, op.Task, true
	m.names.change(c)
	m.recordTask(nil, t)
	return result{}, nil
}

func tooManySeqs(seqs []entity.Seq) error {
	if len(seqs) > command.MaxSeqs {
		return refuse(fault.IllegalArgument, "%d entities, more than the %d allowed", len(seqs), command.MaxSeqs)
	}
	return nil
}

// each shows those of the entities of a collection that exist to visit, which must
// not keep them.
func (m *Machine) each(c *collection, seqs []entity.Seq, visit func(e *entity.Entity) error) error {
	if !c.founded {
		return nil
	}
	for _, seq := range seqs {
		if cap(m.stored) > maxArena {
			m.stored = nil
		}
		m.key = keys.AppendEntity(m.key[:0], c.Partition, c.App, c.ID, seq)
		raw, ok, err := m.batch.Get(m.stored[:0], m.key)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		m.stored = raw
		e, err := entity.DecodeRecord(raw)
		if err == nil {
			err = visit(&e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) reindexStep(cmd *command.Command, op *command.ReindexStep) (result, error) {
	if err := tooManySeqs(op.Seqs); err != nil {
		return result{}, err
	}
	c, err := m.open(cmd.App, op.Collection, nil)
	if err != nil {
		return result{}, err
	}
	return result{}, m.each(c, op.Seqs, func(e *entity.Entity) error {
		if e.Generation == c.settings.Plan.Generation {
			return nil
		}
		d := m.draftAt(0)
		d.entity = *e
		c.retract()
		if err := m.rebuild(d, c, e); err != nil {
			if f := refusedBy(err); f == nil {
				return err
			} else if f.Code != fault.PropertyTypeConversion { // then it has all other entries
				return nil
			} else if err := m.recallEntries(c, e); err != nil {
				return err
			}
		}
		if err := m.enroll(c); err != nil {
			return err
		}
		m.replace(c, e, d)
		return nil
	})
}

func (m *Machine) clearStep(cmd *command.Command, op *command.ClearStep) (result, error) {
	if cmd.App == entity.Management {
		return result{}, refuse(fault.ForbiddenOperation, "entities of the management application are not deleted one by one")
	}
	if err := tooManySeqs(op.Seqs); err != nil {
		return result{}, err
	}
	c, err := m.open(cmd.App, op.Collection, nil)
	if err != nil {
		return result{}, err
	}
	var connected []entity.End
	err = m.each(c, op.Seqs, func(e *entity.Entity) error {
		if op.Before != 0 && e.Modified >= op.Before {
			return nil
		}
		m.touch(cmd.App, c.name)
		if c.severed(e) {
			connected = append(connected, entity.End{Collection: c.ID, Seq: e.Seq})
		}
		if err := m.remove(c, e); err != nil {
			return err
		}
		return m.removeHeld(c, e.ID)
	})
	if err == nil {
		err = m.sever(cmd, connected)
	}
	return result{}, err
}
