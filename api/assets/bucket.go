package assets

import (
	"context"
	"io"

	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/objects"
)

// Bucket is a bucket of an S3-compatible object store as data and the tasks that delete it
// need it. It is safe for concurrent use.
type Bucket struct{ Client *objects.Bucket }

// Put stores an object whole, or not at all.
func (b Bucket) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	return b.Client.Put(ctx, key, body, size)
}

// Get reads size bytes of an object from an offset on.
func (b Bucket) Get(ctx context.Context, key string, offset, size int64) (io.ReadCloser, error) {
	return b.Client.Get(ctx, key, offset, size)
}

// Delete deletes an object. One that does not exist is no error.
func (b Bucket) Delete(ctx context.Context, key string) error {
	err := b.Client.Delete(ctx, key)
	if fault.Is(err, fault.EntityNotFound) {
		return nil
	}
	return err
}

// deleteAtOnce is how many objects one call of DeleteAll deletes.
const deleteAtOnce = 200

// DeleteAll deletes objects whose names begin with a prefix, and reports whether none is
// left.
func (b Bucket) DeleteAll(ctx context.Context, prefix string) (done bool, err error) {
	list, err := b.Client.List(ctx, prefix, "", deleteAtOnce)
	if err != nil {
		return false, err
	}
	for _, object := range list {
		if err := b.Delete(ctx, object.Key); err != nil {
			return false, err
		}
	}
	return len(list) < deleteAtOnce, nil
}
