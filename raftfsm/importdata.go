package raftfsm

import (
	"bytes"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

func (m *Machine) importData(cmd *command.Command, op *command.ImportData) (result, error) {
	taken, err := m.importPiece(cmd, op)
	var res result
	switch f := refusedBy(err); {
	case f != nil:
		res.Errors = []command.ItemError{{Code: f.Code, Message: f.Message}}
	case err != nil:
		return result{}, err
	case taken:
		res.Handled = 1
	}
	lines := func(int) uint64 { return op.Line }
	return res, m.noteJob(cmd, &op.Note, res, 0, lines, nil)
}

// importPiece takes a piece of data, and gives the data to its entity once it is whole.
// It reports whether anything changed.
func (m *Machine) importPiece(cmd *command.Command, op *command.ImportData) (bool, error) {
	p, found, err := m.resolve(cmd.App, &op.Owner)
	if err == nil && !found {
		err = noSource(&op.Owner)
	}
	if err != nil {
		return false, err
	}
	if !p.Blob.IsZero() && (p.Blob == op.Blob || !op.Replace) {
		return false, nil
	}
	p.JSON = bytes.Clone(p.JSON) // it lives until the next find
	b, exists, err := storage.ReadBlob(m.batch, cmd.App, op.Blob)
	if err != nil {
		return false, err
	}
	if exists && b.State != entity.BlobOpen {
		return false, refuse(fault.Conflict, "data %s is that of another entity, or being deleted", op.Blob)
	}
	if op.Object {
		if !exists || b.Object == "" {
			return false, noBlob(op.Blob)
		}
		if err := m.adopt(cmd.App, &p, op, &b); err != nil || op.Staged.IsZero() {
			return true, err
		}
		_, err := m.dropBlob(cmd, &command.DropBlob{Blob: op.Staged})
		if refusedBy(err) != nil { // it is some entity's
			err = nil
		}
		return true, err
	}
	return m.importChunk(cmd, op, &p, &b, exists)
}

// importChunk puts a piece of data where it belongs.
func (m *Machine) importChunk(cmd *command.Command, op *command.ImportData, p *place, b *entity.Blob, exists bool) (bool, error) {
	var err error
	switch {
	case exists && (b.Object != "" || b.Size != op.Size || b.Chunk != op.Chunk):
		return false, refuse(fault.Conflict, "data %s has another size", op.Blob)
	case !exists && op.Number > 0:
		return false, refuse(fault.EntityNotFound, "the first piece of data %s is not there, or not any more: import the file again", op.Blob)
	case !exists:
		if *b, err = m.newBlob(cmd.App, op.Blob, op.Size, op.Chunk, ""); err == nil && b.Chunks() > 1 {
			err = m.room(cmd.App) // for the task that removes it
		}
		if err != nil {
			return false, err
		}
	}
	empty := b.Chunks() == 0 && op.Number == 0 && len(op.Bytes) == 0
	if !empty && (uint64(op.Number) >= b.Chunks() || uint64(len(op.Bytes)) != b.ChunkSize(uint64(op.Number))) {
		return false, refuse(fault.IllegalArgument, "data %s has no piece %d of %d bytes", op.Blob, op.Number, len(op.Bytes))
	}
	key := keys.AppendChunk(nil, m.cfg.Partition, cmd.App, op.Blob, op.Number)
	there := empty
	if !empty {
		if _, there, err = m.get(key); err != nil {
			return false, err
		}
	}
	fresh := *b
	if !there {
		fresh.Written++
	}
	if fresh.Written == fresh.Chunks() {
		if err := m.adopt(cmd.App, p, op, &fresh); err != nil {
			return false, err
		}
	} else {
		m.putBlob(cmd.App, op.Blob, &fresh)
		if !exists {
			err = m.planDrop(cmd.App, op.Blob, op.Expires)
		}
	}
	if !there && err == nil {
		m.batch.Set(key, op.Bytes)
	}
	return true, err
}

// adopt gives an entity data that is whole, in the place of what it had, or refuses.
func (m *Machine) adopt(app entity.AppID, p *place, op *command.ImportData, b *entity.Blob) error {
	d := m.draftAt(0)
	defer m.releaseDrafts()
	said := append(append([]byte(`{"`+command.FileMetadata+`":`), orEmpty(op.Metadata)...), '}')
	json, err := m.merger.merge(p.JSON, said, nil)
	if err != nil {
		return refuseAs(err)
	}
	if err := tooLarge(json); err != nil {
		return err
	}
	c, old := p.in, p.Entity
	d.entity = old
	d.entity.JSON, d.entity.Blob, d.entity.Rev = json, op.Blob, c.next
	if err := m.rebuild(d, c, &old); err != nil {
		return err
	}
	if err := m.enroll(c); err != nil {
		return err
	}
	// Nothing is refused from here on.
	c.next++
	m.names.change(c)
	m.replace(c, &old, d)
	m.touch(app, c.name)
	if !old.Blob.IsZero() {
		if err := m.removeBlob(app, old.Blob); err != nil {
			return err
		}
	}
	b.State, b.Owner = entity.BlobAttached, p.end()
	m.putBlob(app, op.Blob, b)
	return m.endTask(dropID(app, op.Blob))
}

// describedAs returns an object with what an entity says of its data, if it has any: an
// import of the entity does not bring that.
func (m *Machine) describedAs(object []byte, e *entity.Entity) ([]byte, error) {
	if e.Blob.IsZero() {
		return object, nil
	}
	for o := index.NewObject(e.JSON); ; {
		p, ok := o.Next()
		if !ok {
			return object, nil
		}
		if !p.Is(command.FileMetadata) {
			continue
		}
		said := append(append([]byte(`{"`+command.FileMetadata+`":`), p.Value...), '}')
		json, err := m.merger.merge(object, said, nil)
		if err != nil {
			return nil, refuseAs(err)
		}
		return bytes.Clone(json), nil // the merger's
	}
}

func (m *Machine) importFeeds(cmd *command.Command, op *command.ImportFeeds) (result, error) {
	entries := 0
	for i := range op.Parts {
		entries += len(op.Parts[i].Activities)
	}
	if entries > command.MaxDelivered || len(op.Parts) > command.MaxDelivered {
		return result{}, refuse(fault.IllegalArgument, "%d activities, more than the %d allowed", entries, command.MaxDelivered)
	}
	var res result
	for i := range op.Parts {
		listed, err := m.importFeed(cmd.App, &op.Parts[i])
		res.Handled += listed
		if f := refusedBy(err); f != nil {
			res.Errors = append(res.Errors, command.ItemError{Index: i, Code: f.Code, Message: f.Message})
		} else if err != nil {
			return result{}, err
		}
	}
	lines := func(i int) uint64 { return op.Parts[i].Line }
	return res, m.noteJob(cmd, &op.Note, res, 0, lines, nil)
}

// importFeed puts activities into a list, and returns how many are in it. Its refusal says
// which of them is not there.
func (m *Machine) importFeed(app entity.AppID, part *command.FeedPart) (listed int, err error) {
	if part.List != keys.Outbox && part.List != keys.Feed || part.Owner.Collection != "users" && part.Owner.Collection != "groups" {
		return 0, refuse(fault.IllegalArgument, "there is no list %d in collection %s", part.List, excerpt(part.Owner.Collection))
	}
	owner, found, err := m.resolve(app, &part.Owner)
	if err == nil && !found {
		err = noSource(&part.Owner)
	}
	if err != nil {
		return 0, err
	}
	end := owner.end()
	c, err := m.open(app, activities, nil)
	if err != nil {
		return 0, err
	}
	var missing error
	for _, id := range part.Activities {
		e, found, err := m.find(c, &command.Target{ID: id})
		if err != nil {
			return listed, err
		}
		if !found {
			missing = refuse(fault.ServiceResourceNotFound, "no activity %s", id)
			continue
		}
		_, there, err := storage.Listed(m.batch, app, e.Seq, end, part.List)
		if err != nil {
			return listed, err
		}
		if !there { // the time of one that is there may be another, and is its place
			m.list(app, end, part.List, entity.Posted{Seq: e.Seq, Published: publishedOf(&e)})
		}
		listed++
	}
	return listed, missing
}
