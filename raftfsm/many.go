package raftfsm

import (
	"bytes"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func tooMany(ids []entity.ID) error {
	if len(ids) > command.MaxMany {
		return refuse(fault.IllegalArgument, "%d entities, more than the %d allowed", len(ids), command.MaxMany)
	}
	return nil
}

func (m *Machine) deleteEntities(cmd *command.Command, op *command.DeleteEntities) (result, error) {
	if err := tooMany(op.IDs); err != nil {
		return result{}, err
	}
	c, err := m.open(cmd.App, op.Collection, nil)
	if err != nil {
		return result{}, err
	}
	var connected []entity.End
	room := command.MaxManyBytes
	res := m.newResult(len(op.IDs))
	for i, id := range op.IDs {
		e, found, err := m.find(c, &command.Target{ID: id})
		if err != nil {
			return result{}, err
		}
		if found {
			if room -= len(e.JSON); room < 0 && len(res.Entities) > 0 {
				break
			}
			e.JSON = bytes.Clone(e.JSON)
			if err := m.remove(c, &e); err != nil {
				return result{}, err
			}
			if err := m.removeHeld(c, e.ID); err != nil {
				return result{}, err
			}
			if c.severed(&e) {
				connected = append(connected, entity.End{Collection: c.ID, Seq: e.Seq})
			}
			res.Entities = append(res.Entities, e)
			res.where = append(res.where, 0) // recorded whole: it can't be read again
		}
		res.Handled = i + 1
	}
	if len(res.Entities) > 0 {
		m.touch(cmd.App, c.name)
	}
	return res, m.sever(cmd, connected)
}

// updateEntities looks first at what would become of every entity, so that one that
// is refused refuses all, and then updates one after the other. Should one be refused
// only because of those before it, it is left to another command.
func (m *Machine) updateEntities(cmd *command.Command, op *command.UpdateEntities) (result, error) {
	if err := tooMany(op.IDs); err != nil {
		return result{}, err
	}
	places, handled, err := m.updatable(cmd, op)
	if err != nil {
		return result{}, err
	}
	res := result{where: make([]entity.CollectionID, 0, len(places))}
	res.Entities = make([]entity.Entity, 0, len(places))
	res.Handled = handled
	for _, i := range places {
		one, err := m.updateEntity(cmd, &command.UpdateEntity{Rules: op.Rules, Target: command.Target{ID: op.IDs[i]}, Patch: op.Patch})
		if refusedBy(err) != nil && len(res.Entities) > 0 {
			res.Handled = i
			break
		}
		if err != nil {
			return result{}, err
		}
		res.Entities = append(res.Entities, one.Entities[0])
		res.where = append(res.where, one.where[0])
	}
	return res, nil
}

// updatable returns the places in op.IDs of entities that exist, once each, as many as
// one command may change, and how many ids that were; or why one of them cannot be.
func (m *Machine) updatable(cmd *command.Command, op *command.UpdateEntities) (places []int, handled int, err error) {
	c, err := m.open(cmd.App, op.Rules.Collection, op.Rules.Unique)
	if err != nil {
		return nil, 0, err
	}
	seen := make(map[entity.ID]struct{}, len(op.IDs))
	claimed := make(map[string]struct{}) // unique values that the patch brings
	room := command.MaxManyBytes
	for i, id := range op.IDs {
		_, again := seen[id]
		seen[id] = struct{}{}
		old, found, err := m.find(c, &command.Target{ID: id})
		if err != nil {
			return nil, 0, err
		}
		if found && !again {
			d := m.draftAt(0)
			if err := m.revise(cmd, d, c, &op.Rules, &old, op.Patch); err != nil {
				return nil, 0, err
			}
			if room -= len(d.entity.JSON); room < 0 && len(places) > 0 {
				break
			}
			if err := m.claim(claimed, d, &op.Rules); err != nil {
				return nil, 0, err
			}
			places = append(places, i)
		}
		handled = i + 1
	}
	return places, handled, nil
}

// claim notes the unique values that a revised draft has and its entity had not, and
// refuses if one of them was noted before.
func (m *Machine) claim(claimed map[string]struct{}, d *draft, rules *command.Rules) error {
	for _, e := range d.entries.Entries() {
		if e.Unique == "" || m.before.Has(e.Key) {
			continue
		}
		if _, claims := claimed[string(e.Key)]; claims {
			return refusal{taken(rules, &e, d.entity.ID)}
		}
		claimed[string(e.Key)] = struct{}{}
	}
	return nil
}
