package raftfsm

import (
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// chunkRun is what was met of the chunks of a blob, which lie one after the other.
type chunkRun struct {
	app    entity.AppID
	id     entity.ID
	blob   entity.Blob
	known  bool
	chunks uint64
}

// chunk checks a chunk of a blob.
func (c *checker) chunk(k, v []byte) error {
	id, number, ok := keys.DecodeChunk(k)
	if !ok {
		c.problem(k, "damaged key of a chunk")
		return nil
	}
	if id != c.chunks.id || c.app != c.chunks.app {
		c.endChunks()
		b, known, err := storage.ReadBlob(c.view, c.app, id)
		if err != nil {
			return err
		}
		c.chunks = chunkRun{app: c.app, id: id, blob: b, known: known}
		if !known {
			c.problem(k, "belongs to data %s, which does not exist", id)
		}
	}
	r := &c.chunks
	r.chunks++
	switch {
	case !r.known:
	case uint64(number) >= r.blob.Chunks():
		c.problem(k, "data %s has %d chunks", id, r.blob.Chunks())
	case uint64(len(v)) != r.blob.ChunkSize(uint64(number)):
		c.problem(k, "has %d bytes, not the %d of chunk %d of data %s", len(v), r.blob.ChunkSize(uint64(number)), number, id)
	}
	return nil
}

// endChunks checks what is known of a blob once all its chunks were met.
func (c *checker) endChunks() {
	if r := &c.chunks; r.known && r.chunks != r.blob.Written {
		c.problem(keys.AppendBlob(nil, c.view.Partition(), r.app, r.id), "says that %d chunks are there; there are %d", r.blob.Written, r.chunks)
	}
	c.chunks = chunkRun{}
}

// blob checks the record of a blob: an entity has it, or its task removes it.
func (c *checker) blob(k, v []byte) error {
	id, ok := keys.DecodeBlob(k)
	b, err := entity.DecodeBlob(v)
	if !ok || err != nil {
		c.problem(k, "damaged record of data")
		return nil
	}
	c.report.Blobs++
	if b.Written > 0 {
		if some, err := c.any(keys.ChunkRange(c.view.Partition(), c.app, id)); err != nil {
			return err
		} else if !some { // else its chunks were counted
			c.problem(k, "says that %d chunks are there; there is none", b.Written)
		}
	}
	if b.State != entity.BlobAttached {
		_, known, err := storage.ReadTask(c.view, dropID(c.app, id))
		if err == nil && !known {
			c.problem(k, "no entity has data %s, and no task removes it", id)
		}
		return err
	}
	if b.Written != b.Chunks() {
		c.problem(k, "data of an entity has %d chunks of %d", b.Written, b.Chunks())
	}
	e, found, err := storage.ReadEntity(c.view, c.app, b.Owner.Collection, b.Owner.Seq)
	if err == nil && (!found || e.Blob != id) {
		c.problem(k, "is not the data of entity %d of collection %d", b.Owner.Seq, b.Owner.Collection)
	}
	return err
}

// any reports whether there is a key in [lower, upper).
func (c *checker) any(lower, upper []byte) (bool, error) {
	it, err := c.view.Scan(lower, upper)
	if err != nil {
		return false, err
	}
	some := it.First()
	return some, it.Close()
}

// hasBlob checks that an entity has the data that its record names.
func (c *checker) hasBlob(k []byte, collection entity.CollectionID, e *entity.Entity) error {
	if e.Blob.IsZero() {
		return nil
	}
	b, known, err := storage.ReadBlob(c.view, c.app, e.Blob)
	if err == nil && (!known || b.State != entity.BlobAttached || b.Owner != entity.End{Collection: collection, Seq: e.Seq}) {
		c.problem(k, "entity %s names data %s, which is not its own", e.ID, e.Blob)
	}
	return err
}
