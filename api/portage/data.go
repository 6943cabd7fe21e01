package portage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/portable"
)

// Data is what keeps the data of entities.
type Data interface {
	// Open reads size bytes of data from an offset on.
	Open(ctx context.Context, app entity.AppID, id entity.ID, b *entity.Blob, offset, size int64) (io.ReadCloser, error)
	// Remote reports whether new data goes to an object store.
	Remote() bool
	// PutObject stores data in the object store, where it is nobody's yet.
	PutObject(ctx context.Context, app entity.AppID, object string, id entity.ID, body io.Reader, size int64) error
	// FileBytes is how much data an entity may have.
	FileBytes() int64
}

// Placed is an application, and its name in the object store of the data of entities.
type Placed struct {
	Number entity.AppID
	ID     entity.ID
}

// stagedFor is how long pieces of data wait for the others before they are removed.
const stagedFor = 24 * time.Hour

// had reports whether an import leaves the data alone that an entity has. Whether the
// entity exists is not its question.
func had(v *storage.View, app entity.AppID, d *portable.Data, replace bool) (bool, error) {
	typ, err := schema.Of(d.Collection)
	if err != nil {
		return false, nil //nolint:nilerr // the command says so
	}
	c, known, err := storage.ReadCollectionID(v, app, typ.Collection)
	if err != nil || !known {
		return false, err
	}
	e, found, err := storage.ReadEntityByID(v, app, c, d.ID)
	return found && !e.Blob.IsZero() && (e.Blob == d.Blob || !replace), err
}

// skipper makes what tells a planner which data is there already.
func (h *Handlers) skipper(ctx context.Context, app entity.AppID, replace bool) func(*portable.Data) (bool, error) {
	return func(d *portable.Data) (skip bool, err error) {
		err = h.reading(ctx, app, func(v *storage.View) error {
			skip, err = had(v, app, d, replace)
			return err
		})
		return skip, err
	}
}

// place brings a piece of data to where the cluster keeps data, and returns the command
// that is left to do; nil: none. A fault of status 4xx is about the piece. To do it again
// does no harm. Objects are stored within long.
func (h *Handlers) place(ctx, long context.Context, app Placed, d *portable.Data, o *Options) (command.Op, error) {
	typ, err := offered(d.Collection)
	if err != nil {
		return nil, err
	}
	if most := h.data.FileBytes(); d.Size > uint64(most) { // #nosec G115 -- not negative
		return nil, fault.New(fault.RequestTooLarge, "the data of entity %s has %d bytes, more than the %d allowed", d.ID, d.Size, most)
	}
	op := command.ImportData{
		Owner: command.Ref{Collection: typ.Collection, Target: command.Target{ID: d.ID}}, Blob: d.Blob, Metadata: described(d, o.Now),
		Size: d.Size, Chunk: d.Chunk, Number: uint32(d.Offset / d.Chunk), // #nosec G115 -- at most entity.MaxBlobChunks
		Expires: o.Now + stagedFor.Milliseconds(), Replace: o.Replace,
	}
	if !h.data.Remote() {
		op.Bytes = d.Bytes
		return op, nil
	}
	op.Object = true
	if d.Offset == 0 && d.Last() {
		return op, h.putObject(ctx, long, app, d, bytes.NewReader(d.Bytes))
	}
	op.Staged = stagedID(d.Blob)
	whole, err := h.stage(ctx, app.Number, d, &op)
	if err != nil || !d.Last() {
		return nil, err
	}
	return op, h.putObject(ctx, long, app, d, &staged{ctx: long, h: h, app: app.Number, id: op.Staged, blob: whole})
}

// stagedID is the id under which the pieces of data wait until all of them are there and
// it goes to the object store.
func stagedID(blob entity.ID) entity.ID {
	sum := sha256.Sum256(append([]byte("staged"), blob[:]...))
	id := entity.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8: of one's own making
	return id
}

// stage keeps a piece in the cluster. With the last one it returns what all of them are.
func (h *Handlers) stage(ctx context.Context, app entity.AppID, d *portable.Data, op *command.ImportData) (b entity.Blob, err error) {
	if d.Offset == 0 {
		_, err = h.do(ctx, app, command.BeginBlob{Blob: op.Staged, Size: d.Size, Chunk: d.Chunk, Expires: op.Expires})
		if err != nil && !fault.Is(err, fault.Conflict) { // it is there from an import that was interrupted
			return b, err
		}
	}
	if _, err = h.do(ctx, app, command.PutChunk{Blob: op.Staged, Number: op.Number, Data: d.Bytes}); err != nil || !d.Last() {
		return b, err
	}
	err = h.reading(ctx, app, func(v *storage.View) error {
		var found bool
		b, found, err = storage.ReadBlob(v, app, op.Staged)
		if err == nil && (!found || b.Written != b.Chunks() || b.Size != d.Size) {
			err = fault.New(fault.EntityNotFound, "pieces of data %s are not there, or not any more: import the file again", d.Blob)
		}
		return err
	})
	return b, err
}

// putObject stores an object that no entity has.
func (h *Handlers) putObject(ctx, long context.Context, app Placed, d *portable.Data, body io.Reader) error {
	err := h.reading(ctx, app.Number, func(v *storage.View) error {
		b, found, err := storage.ReadBlob(v, app.Number, d.Blob)
		if err == nil && found && (b.State != entity.BlobOpen || b.Object == "") {
			err = fault.New(fault.Conflict, "data %s is that of another entity, or being deleted", d.Blob)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = h.data.PutObject(long, app.Number, app.ID.String(), d.Blob, body, int64(d.Size)) // #nosec G115 -- at most FileBytes
	if err != nil {                                                                        // whatever it is, it is not the line's
		err = fault.Wrap(err, fault.Overloaded, "the object store did not take data of %d bytes, try again", d.Size)
	}
	return err
}

// staged reads data that waits. Each chunk is read through a view of its own, which is
// not older than what was put there.
type staged struct {
	ctx  context.Context // kept because whoever reads it knows of none
	h    *Handlers
	app  entity.AppID
	id   entity.ID
	blob entity.Blob
	at   uint64
}

// Read implements io.Reader.
func (s *staged) Read(p []byte) (n int, err error) {
	if s.at >= s.blob.Size {
		return 0, io.EOF
	}
	err = s.h.reading(s.ctx, s.app, func(v *storage.View) error {
		var found bool
		n, found, err = v.CopyChunk(p, s.app, s.id, uint32(s.at/s.blob.Chunk), int(s.at%s.blob.Chunk)) // #nosec G115 -- at most entity.MaxBlobChunks
		if err == nil && (!found || n == 0) && len(p) > 0 {
			err = fault.New(fault.EntityNotFound, "data %s is gone", s.id)
		}
		return err
	})
	s.at += uint64(n) // #nosec G115 -- not negative
	return n, err
}

// maxSaid is how many bytes a text about data may have.
const maxSaid = 255

// described is what an entity says of data that is imported. It goes into headers of
// answers, so only what can stand there is taken over.
func described(d *portable.Data, now int64) []byte {
	var said struct {
		Type     string `json:"content-type"`
		Modified int64  `json:"last-modified"`
		ETag     string `json:"etag"`
		Checksum string `json:"checksum"`
		Error    string `json:"error"`
	}
	_ = json.Unmarshal(d.Metadata, &said) // what cannot be read is not said
	if said.Modified <= 0 || said.Modified > now+clockMargin {
		said.Modified = now
	}
	b := []byte{'{'}
	member := func(name, text string) {
		if text == "" || len(text) > maxSaid || !printable(text) {
			return
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = wire.AppendString(append(wire.AppendString(b, name), ':'), text)
	}
	member("content-type", said.Type)
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = strconv.AppendUint(append(b, `"content-length":`...), d.Size, 10)
	b = strconv.AppendInt(append(b, `,"last-modified":`...), said.Modified, 10)
	member("etag", said.ETag)
	member("checksum", said.Checksum)
	member("error", said.Error)
	return append(b, '}')
}

func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// lineFault returns what an error says of a line; false if it is not the line's, and
// trying again may help.
func lineFault(err error) (*fault.Error, bool) {
	var f *fault.Error
	if !errors.As(err, &f) {
		return nil, false
	}
	status := wire.Status(f.Code)
	return f, status >= 400 && status < 500 && f.Code != fault.TooManyRequests || f.Code == fault.NotImplemented
}
