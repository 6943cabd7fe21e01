package dump

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/portable"
)

// pieceBytes is how many bytes of data one line has.
const pieceBytes = 512 << 10

// Objects opens data that lies in an object store: size bytes from an offset on.
type Objects func(ctx context.Context, app entity.AppID, blob entity.ID, b *entity.Blob, offset, size int64) (io.ReadCloser, error)

// data writes the data of an entity, or what is left of it, and reports whether it has
// come to its end. If the entity has other data by now than a file before this one began
// with, it begins anew.
func (d *dumper) data(quoted []byte, e *entity.Entity) (whole bool, err error) {
	if e.Blob != d.at.Blob {
		d.at.Blob, d.at.Piece = e.Blob, 0
	}
	b, found, err := storage.ReadBlob(d.view, d.App, e.Blob)
	if err == nil && (!found || b.State != entity.BlobAttached) {
		err = fault.New(fault.Corrupt, "partition %d: entity %s has data %s, which is not there", d.view.Partition(), e.ID, e.Blob)
	}
	if err != nil {
		return false, err
	}
	line := portable.Data{ID: e.ID, Blob: e.Blob, Size: b.Size, Chunk: pieceBytes, Metadata: metadataOf(e.JSON)}
	src := &source{d: d, id: e.Blob, blob: &b}
	defer func() { err = errors.Join(err, src.close()) }()
	if d.piece == nil {
		d.piece = make([]byte, pieceBytes)
	}
	for line.Offset = d.at.Piece * pieceBytes; line.Offset < b.Size || b.Size == 0 && d.at.Piece == 0; line.Offset += pieceBytes {
		if d.full() {
			return false, nil
		}
		if d.ctx.Err() != nil {
			return false, context.Cause(d.ctx)
		}
		line.Bytes = d.piece[:min(pieceBytes, b.Size-line.Offset)]
		err := src.read(line.Bytes, line.Offset)
		if b.Object != "" && fault.Is(err, fault.EntityNotFound) {
			break // it was deleted since the moment that is exported
		}
		if err != nil {
			return false, fmt.Errorf("data of entity %s: %w", e.ID, err)
		}
		d.w.Data(quoted, &line)
		d.at.Piece++
	}
	d.at.Blob, d.at.Piece = entity.ID{}, 0
	return true, d.w.Err()
}

// resume writes what is left of the data of the last entity of the file before this one.
func (d *dumper) resume(c *storage.Collection) (whole bool, err error) {
	e, found, err := storage.ReadEntity(d.view, d.App, c.ID, d.at.Seq)
	if err != nil {
		return false, err
	}
	if !found || e.Blob.IsZero() {
		d.at.Blob, d.at.Piece = entity.ID{}, 0
		return true, nil
	}
	return d.data(d.names[c.ID].quoted, &e)
}

// metadataOf returns what an entity says of its data; nil: nothing.
func metadataOf(object []byte) []byte {
	for o := index.NewObject(object); ; {
		p, ok := o.Next()
		if !ok {
			return nil
		}
		if p.Is(fileMetadata) && len(p.Value) > 0 && p.Value[0] == '{' {
			return p.Value
		}
	}
}

// fileMetadata is the property by which an entity describes its data.
const fileMetadata = "file-metadata"

// source reads data from its beginning to its end.
type source struct {
	d    *dumper
	id   entity.ID
	blob *entity.Blob
	body io.ReadCloser // of an object
}

// read fills p with the bytes from an offset on.
func (s *source) read(p []byte, offset uint64) error {
	if len(p) == 0 {
		return nil
	}
	if s.blob.Object != "" {
		return s.object(p, offset)
	}
	for len(p) > 0 {
		n, found, err := s.d.view.CopyChunk(p, s.d.App, s.id, uint32(offset/s.blob.Chunk), int(offset%s.blob.Chunk)) // #nosec G115 -- at most entity.MaxBlobChunks
		if err != nil {
			return err
		}
		if !found || n == 0 {
			return fault.New(fault.Corrupt, "data %s has no byte %d", s.id, offset)
		}
		p, offset = p[n:], offset+uint64(n) // #nosec G115 -- n is not negative
	}
	return nil
}

func (s *source) object(p []byte, offset uint64) (err error) {
	if s.d.Objects == nil {
		return fault.New(fault.NotImplemented, "the data is in an object store, and none is configured")
	}
	for again := false; ; again = true {
		if s.body == nil {
			if s.body, err = s.d.Objects(s.d.ctx, s.d.App, s.id, s.blob, int64(offset), int64(s.blob.Size-offset)); err != nil { // #nosec G115 -- sizes of files
				return err
			}
		}
		if _, err = io.ReadFull(s.body, p); err == nil {
			return nil
		}
		err = errors.Join(fmt.Errorf("object %s: %w", s.blob.Object, err), s.close())
		if s.body = nil; again || s.d.ctx.Err() != nil { // a store ends what a slow client leaves waiting
			return err
		}
	}
}

func (s *source) close() error {
	if s.body == nil {
		return nil
	}
	return s.body.Close()
}
