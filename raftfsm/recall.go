package raftfsm

import (
	"fmt"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// recall answers a retry with the recorded outcome. Entities are read again, so
// the answer shows them as they are now; of one that was deleted since, it shows
// what the request itself had brought.
func (m *Machine) recall(cmd *command.Command) (command.Outcome, error) {
	raw, ok, err := m.window.record(m.batch, cmd.Request)
	if err != nil {
		return command.Outcome{}, err
	}
	if !ok {
		return command.Outcome{}, fault.New(fault.Corrupt, "the recorded outcome of request %x is missing", cmd.Request)
	}
	rec, err := command.DecodeRecord(raw)
	if err != nil {
		return command.Outcome{}, fmt.Errorf("recorded outcome of request %x: %w", cmd.Request, err)
	}
	if rec.App != cmd.App || rec.Kind != cmd.Kind() {
		return command.Outcome{Fault: fault.New(fault.Conflict, "the request id was used for another request")}, nil
	}
	for i, c := range rec.Collections {
		if c == 0 {
			continue
		}
		was := &rec.Outcome.Entities[i]
		now, ok, err := m.entityAt(nil, cmd.App, c, was.Seq)
		if err != nil {
			return command.Outcome{}, err
		}
		if ok && now.ID == was.ID {
			*was = now
		} else if was.JSON, err = m.brought(cmd.Op, was.ID, rec.Outcome.Created); err != nil {
			return command.Outcome{}, err
		}
	}
	return rec.Outcome, nil
}

// brought returns the properties that a command gives to an entity.
func (m *Machine) brought(op command.Op, id entity.ID, created bool) ([]byte, error) {
	switch op := op.(type) {
	case command.CreateEntities:
		for i := range op.Items {
			if op.Items[i].ID == id {
				return op.Items[i].JSON, nil
			}
		}
	case command.UpdateEntity:
		if created && op.Create != nil {
			return op.Create.JSON, nil
		}
		json, err := m.merger.merge([]byte("{}"), op.Patch, nil)
		if err != nil {
			return nil, fmt.Errorf("patch of a request that was applied: %w", err)
		}
		return json, nil
	}
	return []byte("{}"), nil
}

// entityAt reads an entity by its number. Its JSON aliases what is appended to dst.
func (m *Machine) entityAt(dst []byte, app entity.AppID, c entity.CollectionID, seq entity.Seq) (entity.Entity, bool, error) {
	m.key = keys.AppendEntity(m.key[:0], m.cfg.Partition, app, c, seq)
	start := len(dst)
	raw, ok, err := m.batch.Get(dst, m.key)
	if err != nil || !ok {
		return entity.Entity{}, false, err
	}
	e, err := entity.DecodeRecord(raw[start:])
	if err != nil {
		return entity.Entity{}, false, fmt.Errorf("entity %d of collection %d of application %d: %w", seq, c, app, err)
	}
	return e, true, nil
}
