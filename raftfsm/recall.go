package raftfsm

import (
	"fmt"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// recall answers a retry with the recorded outcome. The record has no JSON of
// entities: of one that has not changed since, it is read again. Of one that has,
// a creation shows what it had created, which the command holds; an update shows
// what it had brought, over the entity as it is now.
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
		switch {
		case !ok || now.ID != was.ID: // deleted
			was.JSON, err = m.brought(cmd.Op, was.ID, rec.Outcome.Created, []byte("{}"))
		case now.Rev == was.Rev:
			*was = now
		default:
			was.JSON, err = m.brought(cmd.Op, was.ID, rec.Outcome.Created, now.JSON)
		}
		if err != nil {
			return command.Outcome{}, err
		}
	}
	return rec.Outcome, nil
}

// brought returns what a command makes of an entity: of one that it creates what
// it brings, of another the given properties with its patch.
func (m *Machine) brought(op command.Op, id entity.ID, created bool, now []byte) ([]byte, error) {
	switch op := op.(type) {
	case command.Together:
		return m.brought(op.First, id, created, now)
	case command.CreateEntities:
		for i := range op.Items {
			if op.Items[i].ID == id {
				return op.Items[i].JSON, nil
			}
		}
	case command.CreateEvents:
		return m.brought(op.Create, id, created, now)
	case command.Post:
		return m.brought(op.Create, id, created, now)
	case command.CountEvent:
		if created && op.Create != nil {
			return op.Create.JSON, nil
		}
	case command.UpdateEntity:
		if created && op.Create != nil {
			return op.Create.JSON, nil
		}
		return m.patched(now, op.Patch, &op.Rules)
	case command.UpdateEntities:
		return m.patched(now, op.Patch, &op.Rules)
	case command.ReviseEntity:
		return m.patched(now, op.Patch, &op.Rules)
	case command.Connect:
		if created && op.Create != nil {
			return op.Create.JSON, nil
		}
		if len(op.Patch) > 0 {
			return m.patched(now, op.Patch, &op.Rules)
		}
	}
	return now, nil
}

func (m *Machine) patched(now, patch []byte, rules *command.Rules) ([]byte, error) {
	json, err := m.merger.merge(now, patch, rules.Required)
	if err != nil {
		return nil, fmt.Errorf("patch of a request that was applied: %w", err)
	}
	return json, nil
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
