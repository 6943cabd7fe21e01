package collections

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/fault"
)

// maxFileText is up to how many bytes the text of a file is also a property of its entity:
// every word of it is indexed.
const maxFileText = 32 << 10

// fileText is the property that has the text of a file.
const fileText = "file"

// incoming is what an upload has brought.
type incoming struct {
	form *assets.Form
	file *assets.File // nil: there is none
	kind string       // media type of the file
}

// uploads reports whether the request is an upload, and answers it if it is.
func (c *call) uploads(expected wire.Expected, answer func(*wire.Upload) (*wire.Reply, error)) (*wire.Reply, bool, error) {
	if c.assets == nil || isEvents(c.typ) {
		return nil, false, nil
	}
	up, err := c.req.Upload(expected)
	if up == nil || err != nil {
		return nil, err != nil, err
	}
	defer up.Close()
	reply, err := answer(up)
	return reply, true, err
}

// receive reads an upload to its end. The caller closes the file.
func (c *call) receive(up *wire.Upload) (in incoming, err error) {
	if err := c.assets.Admit(); err != nil {
		return incoming{}, err
	}
	ctx, spool := c.req.StreamContext(), c.assets.Spool()
	take := func(src io.Reader) (err error) {
		in.file, err = spool.Take(ctx, src)
		return err
	}
	switch {
	case up.Multipart:
		in.form, err = assets.ReadForm(up, up.Boundary, take)
	case up.Size > spool.FileBytes():
		in.file = assets.TooLargeFile(up.Size)
	default:
		err = take(up)
	}
	if err != nil {
		return incoming{}, errors.Join(err, in.file.Close())
	}
	c.req.Renew()
	c.req.Digest(in.digest())
	declared, name := up.Type, ""
	if in.form != nil {
		declared, name = in.form.FileType, in.form.FileName
	}
	if in.file != nil && !in.file.TooLarge {
		in.kind = assets.TypeOf(in.file.Head, declared, name)
	}
	return in, nil
}

// digest tells uploads with different content apart.
func (in *incoming) digest() []byte {
	h := sha256.New()
	part := func(s string) { _, _ = fmt.Fprintf(h, "%d %s", len(s), s) } // never fails
	if in.form != nil {
		for _, p := range in.form.Properties {
			part(p.Name)
			part(p.Value)
		}
	}
	if in.file != nil {
		part("file " + in.file.Checksum + " " + strconv.FormatInt(in.file.Size, 10))
	}
	return h.Sum(nil)
}

// text returns the properties of a form as a JSON object.
func (in *incoming) text() []byte {
	dst := []byte{'{'}
	for i, p := range in.form.Properties {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = wire.AppendString(append(wire.AppendString(dst, p.Name), ':'), p.Value)
	}
	return append(dst, '}')
}

// described returns an object of properties with those that a file brings: what describes
// it and, if it came with a form, its text.
func (in *incoming) described(object []byte, now int64, create bool) ([]byte, error) {
	if in.file == nil || in.file.TooLarge {
		return object, nil
	}
	object = object[:len(object)-1]
	member := func(name string) {
		if len(object) > 1 {
			object = append(object, ',')
		}
		object = append(wire.AppendString(object, name), ':')
	}
	member(command.FileMetadata)
	object = append(object, `{"content-type":`...)
	object = wire.AppendString(object, in.kind)
	object = strconv.AppendInt(append(object, `,"content-length":`...), in.file.Size, 10)
	object = strconv.AppendInt(append(object, `,"last-modified":`...), now, 10)
	object = append(append(append(object, `,"etag":"\"`...), in.file.Checksum...), `\""`...)
	object = append(append(append(object, `,"checksum":"`...), in.file.Checksum...), `"}`...)
	if in.form == nil {
		return append(object, '}'), nil
	}
	if in.form.FileIsText && in.file.Size > 0 && in.file.Size <= maxFileText {
		text := make([]byte, in.file.Size)
		if _, err := in.file.ReadAt(text, 0); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read the spool: %w", err)
		}
		if utf8.Valid(text) {
			member(fileText)
			object = wire.AppendString(object, string(text))
			return append(object, '}'), nil
		}
	}
	if !create {
		member(fileText)
		object = append(object, "null"...)
	}
	return append(object, '}'), nil
}

// attach answers an upload to an entity. Only a form that is PUT creates it.
func (c *call) attach(t command.Target, up *wire.Upload) (*wire.Reply, error) {
	creates := up.Multipart && c.req.Method() == "PUT" && !c.data
	if !creates {
		// Who sends much is not told at the end that there is nobody to have it.
		if _, found, err := c.lookup(&t); err != nil || !found {
			return nil, errors.Join(err, c.missingUnless(found))
		}
	}
	in, err := c.receive(up)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.file.Close() }() // the file is gone, whatever it says
	if c.data && in.file == nil {
		return nil, fault.New(fault.IllegalArgument, "File Not Found")
	}
	change := command.UpdateEntity{Rules: c.typ.Rules(), Target: t, Patch: []byte("{}")}
	var unfit error
	if in.form != nil {
		text := in.text()
		doc, err := normalize(c.typ, text, forUpdate, c.now())
		if err == nil {
			err = c.changed(doc, &t)
		}
		if err == nil {
			change.Patch, err = doc.json(forUpdate)
		}
		if err != nil {
			return nil, err
		}
		if creates {
			change.Create, unfit = c.upsert(t, text)
		}
	}
	out, err := c.give(&in, change)
	if unfit != nil && fault.Is(err, fault.ServiceResourceNotFound) {
		return nil, unfit
	}
	if err != nil {
		return nil, err
	}
	if in.form == nil {
		return wire.Raw(200, "", nil), nil
	}
	return c.reply(out.Entities)
}

func (c *call) missingUnless(found bool) error {
	if found {
		return nil
	}
	return c.missing()
}

// createWithFile answers a form sent to a collection.
func (c *call) createWithFile(up *wire.Upload) (*wire.Reply, error) {
	in, err := c.receive(up)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.file.Close() }() // the file is gone, whatever it says
	if in.file == nil {
		return c.createOne(in.text())
	}
	id, created := newID()
	doc, err := normalize(c.typ, in.text(), forCreate, created)
	if err != nil {
		return nil, err
	}
	item, err := c.newEntity(doc, id)
	if err != nil {
		return nil, err
	}
	out, err := c.give(&in, command.UpdateEntity{Rules: c.typ.Rules(), Create: &item})
	if err != nil {
		return nil, err
	}
	return c.reply(out.Entities)
}

// give stores the file of an upload, if it has one, and changes or creates an entity that
// gets it in the same step, with what goes with that.
func (c *call) give(in *incoming, change command.UpdateEntity) (command.Outcome, error) {
	op := command.AttachBlob{Change: change}
	switch {
	case in.file == nil:
		all, err := c.welcomed(c.typ, change.Create, change)
		if err != nil {
			return command.Outcome{}, err
		}
		return c.propose(c.req, all)
	case in.file.TooLarge:
		op.Rejected = append(wire.AppendString([]byte(`{"error":`),
			fmt.Sprintf("Asset size %d is larger than max size of %d", in.file.Size, c.assets.Spool().FileBytes())), '}')
	default:
		var err error
		if op.Change.Patch != nil {
			op.Change.Patch, err = in.described(op.Change.Patch, c.now(), false)
		}
		if err == nil && change.Create != nil {
			create := *change.Create
			create.JSON, err = in.described(create.JSON, c.now(), true)
			op.Change.Create = &create
		}
		if err != nil {
			return command.Outcome{}, err
		}
		stored, err := c.assets.Put(c.req.StreamContext(), c.req.App.Number, c.req.App.ID.String(), in.file)
		if err != nil {
			return command.Outcome{}, err
		}
		op.Blob, op.Whole, op.Data = stored.Blob, stored.Whole, stored.Data
		c.req.Renew()
	}
	all, err := c.welcomed(c.typ, op.Change.Create, op)
	var out command.Outcome
	if err == nil {
		out, err = c.propose(c.req, all)
	}
	refused := out.Fault != nil
	if !refused && err == nil && len(out.Entities) > 0 {
		refused = out.Entities[0].Blob != op.Blob // an earlier request with the same key was answered
	}
	if refused && !op.Blob.IsZero() {
		c.assets.Drop(context.WithoutCancel(c.req.Context()), c.req.App.Number, &op)
	}
	return out, err
}
