package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/trellisdb/trellis/storage/fault"
)

// MinPart is how many bytes each part of an upload has at least, but the last; a rule
// of S3. MaxParts is how many parts there can be.
const (
	MinPart  = 5 << 20
	MaxParts = 10_000
)

// streamPart is how many bytes of a long object Put sends at a time: what it holds in
// memory.
const streamPart = 8 << 20

// Config says where a bucket is and who asks.
type Config struct {
	Endpoint  string // "https://s3.eu-central-1.amazonaws.com": scheme, host and port, nothing else
	Region    string // "us-east-1", for one; empty: asked of the store
	Bucket    string
	AccessKey string
	SecretKey string
	PathStyle bool // the bucket is in the path of URLs, not in the name of the host
	// Timeout bounds each request but for what its body takes, 0: 30 s.
	Timeout time.Duration
}

// Object is what the store says of one object.
type Object struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
	ETag     string // without quotes
}

// Part is a part of an upload that the store has.
type Part struct {
	Number int // from 1 on
	ETag   string
}

// Bucket is a client of one bucket. It is safe for concurrent use.
type Bucket struct {
	core      minio.Core
	transport *http.Transport
	name      string
}

// Open makes the client of a bucket. It asks nothing of the store yet. Fault:
// IllegalArgument.
func Open(cfg Config) (*Bucket, error) {
	at, err := url.Parse(cfg.Endpoint)
	switch {
	case err != nil, at.Host == "", at.Scheme != "http" && at.Scheme != "https", strings.Trim(at.Path, "/") != "", at.RawQuery != "", at.User != nil:
		return nil, fault.New(fault.IllegalArgument, "the endpoint of an object store is a URL of scheme, host and port")
	case cfg.AccessKey == "" || cfg.SecretKey == "":
		return nil, fault.New(fault.IllegalArgument, "an object store needs an access key and a secret key")
	case !validBucket(cfg.Bucket):
		return nil, fault.New(fault.IllegalArgument, "a bucket has a name of 3 to 63 lower-case letters, digits, dots and hyphens")
	}
	timeout := cfg.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.ResponseHeaderTimeout = timeout
	transport.DisableCompression = true // what is stored compressed stays so
	lookup := minio.BucketLookupDNS
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.New(at.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""),
		Secure:       at.Scheme == "https",
		Transport:    direct{transport},
		Region:       cfg.Region,
		BucketLookup: lookup,
		MaxRetries:   3,
	})
	if err != nil {
		return nil, fault.New(fault.IllegalArgument, "the endpoint of the object store cannot be used")
	}
	return &Bucket{core: minio.Core{Client: client}, transport: transport, name: cfg.Bucket}, nil
}

// direct refuses to be sent elsewhere: a store's answer must not lead requests, and
// what they carry, to hosts that nobody configured.
type direct struct{ *http.Transport }

// RoundTrip sends one request. A redirection is an error.
func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return nil, errors.Join(errRedirected, resp.Body.Close())
	}
	return resp, nil
}

var errRedirected = errors.New("the object store answers with another address: wrong endpoint or region")

// Close ends idle connections. Requests under way go on.
func (b *Bucket) Close() { b.transport.CloseIdleConnections() }

// Put stores what r yields under key, in place of what was there. The size is the
// number of bytes, or -1 if it is not known.
func (b *Bucket) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := checkKey(key); err != nil {
		return err
	}
	_, err := b.core.Client.PutObject(ctx, b.name, key, r, size, minio.PutObjectOptions{PartSize: streamPart, NumThreads: 1})
	return b.classify(ctx, "put", key, err)
}

// Get reads length bytes of an object from offset on; a length less than 0 means all
// that follow. The caller closes the stream, whose errors are the connection's.
func (b *Bucket) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if length == 0 {
		return http.NoBody, nil
	}
	var opts minio.GetObjectOptions
	var err error
	switch {
	case length > 0:
		err = opts.SetRange(offset, offset+length-1)
	case offset > 0:
		err = opts.SetRange(offset, 0)
	}
	if err != nil {
		return nil, fault.New(fault.IllegalArgument, "no such range of an object: %d bytes from %d on", length, offset)
	}
	body, _, _, err := b.core.GetObject(ctx, b.name, key, opts)
	if err != nil {
		return nil, b.classify(ctx, "get", key, err)
	}
	return body, nil
}

// Stat says what the store has under key. Fault: EntityNotFound.
func (b *Bucket) Stat(ctx context.Context, key string) (Object, error) {
	if err := checkKey(key); err != nil {
		return Object{}, err
	}
	info, err := b.core.StatObject(ctx, b.name, key, minio.StatObjectOptions{})
	if err != nil {
		return Object{}, b.classify(ctx, "stat", key, err)
	}
	return objectOf(&info), nil
}

// Delete removes an object; that there is none is no error.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	err := b.classify(ctx, "delete", key, b.core.RemoveObject(ctx, b.name, key, minio.RemoveObjectOptions{}))
	if fault.Is(err, fault.EntityNotFound) {
		return nil
	}
	return err
}

// List returns objects whose keys begin with prefix and come after a key, in order of
// their keys: up to limit of them, at most 1000.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]Object, error) {
	ctx, stop := context.WithCancel(ctx) // else the library goes on listing
	defer stop()
	limit = min(limit, 1000)
	var found []Object
	for info := range b.core.Client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: prefix, StartAfter: after, Recursive: true, MaxKeys: limit}) {
		if info.Err != nil {
			return nil, b.classify(ctx, "list", prefix, info.Err)
		}
		if found = append(found, objectOf(&info)); len(found) >= limit {
			break
		}
	}
	return found, nil
}

func objectOf(info *minio.ObjectInfo) Object {
	return Object{Key: info.Key, Size: info.Size, Modified: info.LastModified, ETag: info.ETag}
}

// Begin starts an upload in parts, which others can go on with: its id is all they
// need. Nothing is seen of it before Finish.
func (b *Bucket) Begin(ctx context.Context, key string) (upload string, err error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	upload, err = b.core.NewMultipartUpload(ctx, b.name, key, minio.PutObjectOptions{})
	return upload, b.classify(ctx, "begin", key, err)
}

// PutPart uploads one part, numbered from 1 to MaxParts; one with the same number is
// replaced. All parts but the last have MinPart bytes or more. Fault EntityNotFound:
// there is no such upload any more.
func (b *Bucket) PutPart(ctx context.Context, key, upload string, number int, r io.Reader, size int64) (Part, error) {
	part, err := b.core.PutObjectPart(ctx, b.name, key, upload, number, r, size, minio.PutObjectPartOptions{})
	if err != nil {
		return Part{}, b.classify(ctx, "put a part of", key, err)
	}
	return Part{Number: number, ETag: part.ETag}, nil
}

// Finish makes an object of the parts of an upload, which are in order.
func (b *Bucket) Finish(ctx context.Context, key, upload string, parts []Part) error {
	all := make([]minio.CompletePart, len(parts))
	for i, p := range parts {
		all[i] = minio.CompletePart{PartNumber: p.Number, ETag: p.ETag}
	}
	_, err := b.core.CompleteMultipartUpload(ctx, b.name, key, upload, all, minio.PutObjectOptions{})
	return b.classify(ctx, "finish", key, err)
}

// Abandon removes an upload and its parts; that there is none is no error.
func (b *Bucket) Abandon(ctx context.Context, key, upload string) error {
	err := b.classify(ctx, "abandon", key, b.core.AbortMultipartUpload(ctx, b.name, key, upload))
	if fault.Is(err, fault.EntityNotFound) {
		return nil
	}
	return err
}

// classify makes a fault of what the library says.
func (b *Bucket) classify(ctx context.Context, act, key string, err error) error {
	if err == nil {
		return nil
	}
	where := fmt.Sprintf("%s object %q in bucket %s", act, key, b.name)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", where, ctx.Err())
	}
	var resp minio.ErrorResponse
	if !errors.As(err, &resp) {
		return fault.Wrap(fmt.Errorf("%s: %w", where, err), fault.NoQuorum, "the object store cannot be reached")
	}
	err = fmt.Errorf("%s: status %d, %s", where, resp.StatusCode, resp.Code)
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return fault.Wrap(err, fault.EntityNotFound, "the object store has no %q in bucket %s", key, b.name)
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return fault.Wrap(err, fault.Unauthorized, "the object store refuses access to bucket %s", b.name)
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return fault.Wrap(err, fault.NoQuorum, "the object store cannot answer now")
	}
	return fault.Wrap(err, fault.IllegalArgument, "the object store refuses the request: %s", resp.Code)
}

// checkKey refuses what no store takes (S3: 1 to 1024 bytes of UTF-8), and what some
// take for a path out of the bucket.
func checkKey(key string) error {
	if key == "" || len(key) > 1024 || !validText(key) {
		return fault.New(fault.IllegalArgument, "an object has a name of 1 to 1024 bytes of text without control characters")
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "." || segment == ".." {
			return fault.New(fault.IllegalArgument, "the name of an object has no segment . or ..")
		}
	}
	return nil
}

func validText(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return false
		}
	}
	return true
}

// validBucket follows the rules of S3 for names of buckets.
func validBucket(name string) bool {
	if len(name) < 3 || len(name) > 63 || strings.Contains(name, "..") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		inner := i > 0 && i < len(name)-1
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (!inner || c != '.' && c != '-') {
			return false
		}
	}
	return true
}
