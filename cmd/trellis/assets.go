package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/trellisdb/trellis/api/assets"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/storage/objects"
)

// uploadsName is the directory, in that of the data, where uploads arrive.
const uploadsName = "uploads"

// assetsConfig says how large the binary data of an entity may be, and where it goes.
type assetsConfig struct {
	MaxMB     int    `koanf:"max-asset-mb"`
	UploadsMB int    `koanf:"uploads-mb"`
	Store     string `koanf:"asset-store"`
	Endpoint  string `koanf:"asset-s3-endpoint"`
	Region    string `koanf:"asset-s3-region"`
	Bucket    string `koanf:"asset-s3-bucket"`
	PathStyle bool   `koanf:"asset-s3-path-style"`

	// Secrets come from the environment or the file.
	AccessKey string `koanf:"asset-s3-access-key"`
	SecretKey string `koanf:"asset-s3-secret-key"`
}

// maxAssetMB is the most that --max-asset-mb may be.
const maxAssetMB = 256 << 10

func addAssetFlags(fs *pflag.FlagSet) {
	fs.Int("max-asset-mb", 50, "largest binary data of an entity in MiB; larger data is discarded")
	fs.Int("uploads-mb", 2048, "disk space in MiB that uploads may take while they arrive")
	fs.String("asset-store", "cluster", "where new binary data of entities goes: cluster or s3")
	fs.String("asset-s3-endpoint", "", "URL of an S3-compatible object store, without bucket and path")
	fs.String("asset-s3-region", "", "its region (default: asked of the store)")
	fs.String("asset-s3-bucket", "", "bucket for binary data; the keys come from TRELLIS_ASSET_S3_ACCESS_KEY and TRELLIS_ASSET_S3_SECRET_KEY")
	fs.Bool("asset-s3-path-style", false, "the bucket is in the path of URLs rather than in the name of the host")
}

func (c *assetsConfig) check() error {
	switch {
	case c.MaxMB < assets.MinFileBytes>>20 || c.MaxMB > maxAssetMB:
		return fmt.Errorf("--max-asset-mb is %d, want %d to %d", c.MaxMB, assets.MinFileBytes>>20, maxAssetMB)
	case c.UploadsMB < c.MaxMB:
		return fmt.Errorf("--uploads-mb is %d, want --max-asset-mb, which is %d, at least", c.UploadsMB, c.MaxMB)
	case c.Store != "cluster" && c.Store != "s3":
		return fmt.Errorf("--asset-store is %q, want cluster or s3", c.Store)
	case c.Store == "s3" && c.Endpoint == "":
		return fmt.Errorf("--asset-store is s3, and there is no --asset-s3-endpoint")
	}
	_, err := c.bucket()
	return err
}

// bucket makes the client of the object store; nil if none is configured.
func (c *assetsConfig) bucket() (*objects.Bucket, error) {
	if c.Endpoint == "" {
		return nil, nil
	}
	b, err := objects.Open(objects.Config{
		Endpoint: c.Endpoint, Region: c.Region, Bucket: c.Bucket, AccessKey: c.AccessKey, SecretKey: c.SecretKey, PathStyle: c.PathStyle,
	})
	if err != nil {
		return nil, fmt.Errorf("object store for binary data: %w", err)
	}
	return b, nil
}

// kinds lets tasks that have to do with binary data know the bucket, if there is one.
func (c *assetsConfig) kinds(kinds []tasks.Kind, bucket *objects.Bucket) []tasks.Kind {
	if bucket == nil {
		return kinds
	}
	return tasks.WithObjects(kinds, assets.Bucket{Client: bucket})
}

// store makes the store of binary data of a node, which has locked its data directory.
func (c *assetsConfig) store(n assets.Cluster, dir string, bucket *objects.Bucket) (*assets.Store, error) {
	sc := assets.DefaultSpoolConfig(filepath.Join(dir, uploadsName))
	sc.FileBytes, sc.AllBytes = int64(c.MaxMB)<<20, int64(c.UploadsMB)<<20
	spool, err := assets.OpenSpool(sc)
	if err != nil {
		return nil, err
	}
	store := assets.New(n, spool)
	if bucket != nil {
		store.WithObjects(assets.Bucket{Client: bucket}, c.Store == "s3")
	}
	return store, nil
}
