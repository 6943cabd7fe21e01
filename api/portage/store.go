package portage

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/objects"
)

// access says where files are, and by whose leave. It is kept sealed only.
type access struct {
	Endpoint, Region, Bucket string
	Key, Secret              string
	PathStyle                bool
}

// maxStores is how many clients of stores are kept for the next step.
const maxStores = 16

// bucket returns the client of a bucket.
func (h *Handlers) bucket(a *access) (*objects.Bucket, error) {
	h.stores.Lock()
	defer h.stores.Unlock()
	if b := h.stores.open[*a]; b != nil {
		return b, nil
	}
	b, err := objects.Open(objects.Config{
		Endpoint: a.Endpoint, Region: a.Region, Bucket: a.Bucket, AccessKey: a.Key, SecretKey: a.Secret, PathStyle: a.PathStyle,
	})
	if err != nil {
		return nil, err
	}
	if h.stores.open == nil || len(h.stores.open) >= maxStores {
		for _, old := range h.stores.open {
			old.Close()
		}
		h.stores.open = map[access]*objects.Bucket{}
	}
	h.stores.open[*a] = b
	return b, nil
}

// storage reads the properties of a request (spec management section 9). The bucket
// may be followed by a slash and a prefix of names.
func (h *Handlers) storage(body *fastjson.Value) (a access, prefix string, err error) {
	if h.cfg.Endpoint == "" && !h.cfg.AnyEndpoint {
		return a, "", fault.New(fault.NotImplemented, "this server has no object store for exports and imports: --export-endpoint is not set")
	}
	missing := func(name string) error {
		return fault.New(fault.NullArgument, "the property %s is required", name)
	}
	properties := body.Get("properties")
	if properties == nil || properties.Type() != fastjson.TypeObject {
		return a, "", missing("properties")
	}
	switch provider := text(properties, "storage_provider"); {
	case provider == "":
		return a, "", missing("storage_provider")
	case !strings.EqualFold(provider, "s3"):
		return a, "", fault.New(fault.IllegalArgument, "storage_provider must be s3")
	}
	info := properties.Get("storage_info")
	if info == nil || info.Type() != fastjson.TypeObject {
		return a, "", missing("storage_info")
	}
	a = access{Endpoint: h.cfg.Endpoint, Region: h.cfg.Region, PathStyle: h.cfg.PathStyle}
	for _, p := range []struct {
		to   *string
		name string
	}{{&a.Bucket, "bucket_location"}, {&a.Key, "s3_access_id"}, {&a.Secret, "s3_key"}} {
		if *p.to = text(info, p.name); *p.to == "" {
			return a, "", missing(p.name)
		}
		if len(*p.to) > entity.MaxJobText {
			return a, "", fault.New(fault.IllegalArgument, "%s is too long", p.name)
		}
	}
	a.Bucket, prefix, _ = strings.Cut(a.Bucket, "/")
	if endpoint := text(info, "s3_endpoint"); endpoint != "" && endpoint != a.Endpoint {
		if !h.cfg.AnyEndpoint {
			return a, "", fault.New(fault.IllegalArgument, "this server does not let requests name an object store: s3_endpoint")
		}
		a.Endpoint, a.PathStyle = endpoint, info.GetBool("s3_path_style")
	}
	if region := text(info, "s3_region"); region != "" {
		a.Region = region
	}
	if a.Endpoint == "" {
		return a, "", missing("s3_endpoint")
	}
	_, err = h.bucket(&a)
	return a, prefix, err
}

func text(v *fastjson.Value, name string) string {
	return strings.TrimSpace(string(v.GetStringBytes(name)))
}

// rangeBytes is how much of an object one request reads.
const rangeBytes = 1 << 20

// object reads an object from an offset on, some at a time: whoever stops reading
// leaves little unread, and the connection is used again.
type object struct {
	ctx    context.Context // kept because whoever reads it knows of none
	bucket *objects.Bucket
	key    string
	at     int64
	size   int64
	part   io.ReadCloser
	left   int64 // of part
}

// Read implements io.Reader.
func (o *object) Read(p []byte) (int, error) {
	if o.at >= o.size {
		return 0, io.EOF
	}
	if o.part == nil {
		o.left = min(rangeBytes, o.size-o.at)
		part, err := o.bucket.Get(o.ctx, o.key, o.at, o.left)
		if err != nil {
			return 0, err
		}
		o.part = part
	}
	n, err := o.part.Read(p[:min(len(p), int(o.left))])
	o.at += int64(n)
	o.left -= int64(n)
	switch {
	case o.left == 0:
		err = o.Close()
	case errors.Is(err, io.EOF):
		err = fault.New(fault.Timeout, "the object %.200q ended early; it may have been replaced", o.key)
	}
	return n, err
}

// Close gives up what was not read.
func (o *object) Close() error {
	if o.part == nil {
		return nil
	}
	_, drained := io.Copy(io.Discard, o.part)
	err := errors.Join(drained, o.part.Close())
	o.part = nil
	return err
}
