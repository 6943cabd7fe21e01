package assets

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Open reads size bytes of data from an offset on, which lie within it. The reader holds
// nothing between two reads, and is for one goroutine. It fails if the data goes
// meanwhile.
func (s *Store) Open(ctx context.Context, app entity.AppID, id entity.ID, b *entity.Blob, offset, size int64) (io.ReadCloser, error) {
	s.served.Add(1)
	if b.Object == "" {
		return &reader{store: s, ctx: ctx, app: app, id: id, chunk: int64(b.Chunk), at: offset, end: offset + size}, nil // #nosec G115 -- at most entity.MaxBlobChunk
	}
	if s.objects == nil {
		return nil, fault.New(fault.NotImplemented, "the data is in an object store, and none is configured")
	}
	body, err := s.objects.Get(ctx, b.Object, offset, size)
	if err != nil {
		return nil, fmt.Errorf("get object %s: %w", b.Object, err)
	}
	return &counted{store: s, ReadCloser: body, left: size}, nil
}

// reader reads the chunks of data.
type reader struct {
	store   *Store
	ctx     context.Context
	app     entity.AppID
	id      entity.ID
	chunk   int64
	at, end int64
}

// Read implements io.Reader, with at most what is left of a chunk.
func (r *reader) Read(p []byte) (n int, err error) {
	if r.at == r.end {
		return 0, io.EOF
	}
	if left := r.end - r.at; int64(len(p)) > left {
		p = p[:left]
	}
	if n, err = r.read(p); err != nil {
		r.store.failed.Add(1)
		return 0, err
	}
	r.at += int64(n)
	r.store.out.Add(uint64(n)) // #nosec G115 -- of a read
	return n, nil
}

func (r *reader) read(p []byte) (n int, err error) {
	view, _, err := r.store.cluster.StaleView(r.ctx, r.app)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	n, found, err := view.CopyChunk(p, r.app, r.id, uint32(r.at/r.chunk), int(r.at%r.chunk)) // #nosec G115 -- at most entity.MaxBlobChunks
	if err == nil && len(p) > 0 && (!found || n == 0) {
		err = fault.New(fault.EntityNotFound, "data %s is gone", r.id)
	}
	return n, err
}

// Close implements io.Closer.
func (r *reader) Close() error { return nil }

// counted is an object as it is read.
type counted struct {
	io.ReadCloser

	store *Store
	left  int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.left -= int64(n)
	c.store.out.Add(uint64(n)) // #nosec G115 -- of a read
	if err != nil && c.left > 0 {
		c.store.failed.Add(1)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}
