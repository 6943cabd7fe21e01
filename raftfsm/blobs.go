package raftfsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// fewChunks is up to how many chunks of a blob are removed one by one: marks of removed
// ranges cost every later read, marks of removed keys only those near them.
const fewChunks = 128

// noBlob says that a blob does not exist, or not any more.
func noBlob(id entity.ID) error { return refuse(fault.EntityNotFound, "there is no data %s", id) }

func (m *Machine) putBlob(app entity.AppID, id entity.ID, b *entity.Blob) {
	m.key = keys.AppendBlob(m.key[:0], m.cfg.Partition, app, id)
	m.value = entity.AppendBlob(m.value[:0], b)
	m.batch.Set(m.key, m.value)
}

// newBlob makes the record of a blob that does not exist yet, or refuses.
func (m *Machine) newBlob(app entity.AppID, id entity.ID, size, chunk uint64, object string) (entity.Blob, error) {
	b := entity.Blob{State: entity.BlobOpen, Size: size, Chunk: chunk, Object: object}
	if id.IsZero() || !b.Valid() {
		return b, refuse(fault.IllegalArgument, "data of %d bytes in chunks of %d", size, chunk)
	}
	if err := m.alive(app); err != nil {
		return b, err
	}
	_, exists, err := storage.ReadBlob(m.batch, app, id)
	if err == nil && exists {
		err = refuse(fault.Conflict, "there is data %s already", id)
	}
	return b, err
}

func (m *Machine) beginBlob(cmd *command.Command, op *command.BeginBlob) (result, error) {
	b, err := m.newBlob(cmd.App, op.Blob, op.Size, op.Chunk, op.Object)
	if err != nil {
		return result{}, err
	}
	m.putBlob(cmd.App, op.Blob, &b)
	return result{}, m.planDrop(cmd.App, op.Blob, op.Expires)
}

// planDrop records the task that removes a blob from a time on, in the place of one that
// is there.
func (m *Machine) planDrop(app entity.AppID, id entity.ID, due int64) error {
	t := entity.Task{
		ID: dropID(app, id), Kind: entity.TaskDropBlob, App: app, Priority: entity.Idle, State: entity.TaskReady,
		Created: m.time, NotBefore: max(due, 0), Body: bytes.Clone(id[:]),
	}
	old, known, err := storage.ReadTask(m.batch, t.ID)
	switch {
	case err != nil:
		return err
	case known:
		t.Turn = old.Turn + 1
		m.recordTask(&old, &t)
	default:
		m.recordTask(nil, &t)
	}
	return nil
}

// dropID is the id of the task that removes a blob. It is a hash, so that no entity whose
// UUID a client chose has it.
func dropID(app entity.AppID, blob entity.ID) entity.ID {
	b := binary.BigEndian.AppendUint32([]byte(entity.TaskDropBlob), uint32(app))
	sum := sha256.Sum256(append(b, blob[:]...))
	id := entity.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8: of one's own making
	return id
}

func (m *Machine) putChunk(cmd *command.Command, op *command.PutChunk) (result, error) {
	b, exists, err := storage.ReadBlob(m.batch, cmd.App, op.Blob)
	switch {
	case err != nil:
		return result{}, err
	case !exists:
		return result{}, noBlob(op.Blob)
	case b.State != entity.BlobOpen:
		return result{}, refuse(fault.Conflict, "data %s is not being written", op.Blob)
	case uint64(op.Number) >= b.Chunks(), uint64(len(op.Data)) != b.ChunkSize(uint64(op.Number)):
		return result{}, refuse(fault.IllegalArgument, "data %s has no chunk %d of %d bytes", op.Blob, op.Number, len(op.Data))
	}
	key := keys.AppendChunk(nil, m.cfg.Partition, cmd.App, op.Blob, op.Number)
	if _, there, err := m.get(key); err != nil || there {
		return result{}, err
	}
	m.batch.Set(key, op.Data)
	b.Written++
	m.putBlob(cmd.App, op.Blob, &b)
	return result{}, nil
}

// attachBlob finds out first whether the blob can be attached, then changes the entity,
// which may still be refused and then leaves nothing, and moves the blob last.
func (m *Machine) attachBlob(cmd *command.Command, op *command.AttachBlob) (result, error) {
	b, err := m.attachable(cmd.App, op)
	if err != nil {
		return result{}, err
	}
	if op.Blob.IsZero() && len(op.Rejected) > 0 {
		if err := m.reject(cmd, op); err != nil {
			return result{}, err
		}
	}
	change := &op.Change
	var res result
	if change.Target.ID.IsZero() && len(change.Target.Aliases) == 0 {
		c, err := m.open(cmd.App, change.Rules.Collection, change.Rules.Unique)
		if err != nil {
			return result{}, err
		}
		if res, err = m.upsert(cmd, change, c); err != nil {
			return result{}, err
		}
	} else if res, err = m.updateEntity(cmd, change); err != nil {
		return result{}, err
	}
	if op.Blob.IsZero() {
		return res, nil
	}
	return res, m.give(cmd.App, op, &b, &res)
}

// attachable returns the blob that an entity is to get, or refuses.
func (m *Machine) attachable(app entity.AppID, op *command.AttachBlob) (b entity.Blob, err error) {
	switch {
	case op.Blob.IsZero():
		return b, nil
	case op.Whole && len(op.Data) > entity.MaxBlobChunk:
		return b, refuse(fault.IllegalArgument, "data of %d bytes at once", len(op.Data))
	case op.Whole:
		if b, err = m.newBlob(app, op.Blob, uint64(len(op.Data)), entity.MaxBlobChunk, ""); err == nil {
			b.Written = b.Chunks()
		}
		return b, err
	}
	b, exists, err := storage.ReadBlob(m.batch, app, op.Blob)
	switch {
	case err != nil:
	case !exists:
		err = noBlob(op.Blob)
	case b.State != entity.BlobOpen, b.Written != b.Chunks():
		err = refuse(fault.Conflict, "data %s cannot be attached", op.Blob)
	}
	return b, err
}

// give attaches a blob to the entity that a change has made, in the place of what that
// had.
func (m *Machine) give(app entity.AppID, op *command.AttachBlob, b *entity.Blob, res *result) error {
	e := &res.Entities[0]
	b.State, b.Owner = entity.BlobAttached, entity.End{Collection: res.where[0], Seq: e.Seq}
	if !e.Blob.IsZero() {
		if err := m.removeBlob(app, e.Blob); err != nil {
			return err
		}
	}
	e.Blob = op.Blob
	m.key = keys.AppendEntity(m.key[:0], m.cfg.Partition, app, b.Owner.Collection, b.Owner.Seq)
	m.value = entity.AppendRecord(m.value[:0], e)
	m.batch.Set(m.key, m.value)
	if cap(m.value) > maxArena {
		m.value = nil
	}
	m.putBlob(app, op.Blob, b)
	if op.Whole {
		if len(op.Data) > 0 {
			m.key = keys.AppendChunk(m.key[:0], m.cfg.Partition, app, op.Blob, 0)
			m.batch.Set(m.key, op.Data)
		}
		return nil
	}
	return m.endTask(dropID(app, op.Blob))
}

// endTask removes a task, if it is there.
func (m *Machine) endTask(id entity.ID) error {
	t, known, err := storage.ReadTask(m.batch, id)
	if err == nil && known {
		m.removeTask(&t)
	}
	return err
}

// reject puts into a change what the metadata of its entity say of data that was too
// large, beside what they say already.
func (m *Machine) reject(cmd *command.Command, op *command.AttachBlob) error {
	change := &op.Change
	c, err := m.open(cmd.App, change.Rules.Collection, change.Rules.Unique)
	if err != nil {
		return err
	}
	var old entity.Entity
	found := false
	if !change.Target.ID.IsZero() || len(change.Target.Aliases) > 0 {
		if old, found, err = m.find(c, &change.Target); err != nil {
			return err
		}
	}
	said := []byte("{}")
	if found {
		for o := index.NewObject(old.JSON); ; {
			p, ok := o.Next()
			if !ok {
				break
			}
			if p.Is(command.FileMetadata) && len(p.Value) > 0 && p.Value[0] == '{' {
				said = p.Value
			}
		}
	}
	meta, err := m.merger.merge(said, op.Rejected, nil)
	if err != nil {
		return refuseAs(err)
	}
	patch := append(append([]byte(`{"`+command.FileMetadata+`":`), meta...), '}')
	if found {
		change.Patch, err = m.merger.merge(orEmpty(change.Patch), patch, nil)
	} else if change.Create != nil {
		create := *change.Create
		create.JSON, err = m.merger.merge(orEmpty(create.JSON), patch, nil)
		change.Create = &create
	}
	if err != nil {
		return refuseAs(err)
	}
	return nil
}

func orEmpty(object []byte) []byte {
	if len(object) == 0 {
		return []byte("{}")
	}
	return object
}

// removeBlob takes from an entity the blob that it has. If that is an object, a task
// deletes it.
func (m *Machine) removeBlob(app entity.AppID, id entity.ID) error {
	b, exists, err := storage.ReadBlob(m.batch, app, id)
	if err == nil && !exists {
		err = fault.New(fault.Corrupt, "partition %d: application %d: an entity has data %s, which is not there", m.cfg.Partition, app, id)
	}
	if err != nil {
		return err
	}
	if b.Object != "" {
		b.State, b.Owner = entity.BlobDoomed, entity.End{}
		m.putBlob(app, id, &b)
		return m.planDrop(app, id, m.time)
	}
	m.eraseBlob(app, id, &b)
	return nil
}

// eraseBlob removes the record of a blob and its chunks.
func (m *Machine) eraseBlob(app entity.AppID, id entity.ID, b *entity.Blob) {
	m.key = keys.AppendBlob(m.key[:0], m.cfg.Partition, app, id)
	m.batch.Delete(m.key)
	if b.Chunks() > fewChunks {
		m.batch.DeleteRange(keys.ChunkRange(m.cfg.Partition, app, id))
		return
	}
	for number := range b.Chunks() {
		m.key = keys.AppendChunk(m.key[:0], m.cfg.Partition, app, id, uint32(number)) // #nosec G115 -- at most fewChunks
		m.batch.Delete(m.key)
	}
}

// unattached returns a blob that must not be attached.
func (m *Machine) unattached(app entity.AppID, id entity.ID) (entity.Blob, bool, error) {
	b, exists, err := storage.ReadBlob(m.batch, app, id)
	if err == nil && exists && b.State == entity.BlobAttached {
		err = refuse(fault.Conflict, "data %s is that of an entity", id)
	}
	return b, exists, err
}

// dropBlob ends the task that would do the same later, whose step it may be.
func (m *Machine) dropBlob(cmd *command.Command, op *command.DropBlob) (result, error) {
	b, exists, err := m.unattached(cmd.App, op.Blob)
	if err != nil || !exists {
		return result{}, err
	}
	m.eraseBlob(cmd.App, op.Blob, &b)
	return result{}, m.endTask(dropID(cmd.App, op.Blob))
}

func (m *Machine) doomBlob(cmd *command.Command, op *command.DoomBlob) (result, error) {
	b, exists, err := m.unattached(cmd.App, op.Blob)
	if err == nil && exists {
		b.State = entity.BlobDoomed
		m.putBlob(cmd.App, op.Blob, &b)
	}
	return result{}, err
}
