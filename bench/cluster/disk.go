package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/trellisdb/trellis/bench/disk"
)

// diskSize is large enough for a node to have the free space it wants.
const diskSize = 4 << 30

// diskTimeout bounds what is done to a disk.
const diskTimeout = 20 * time.Second

// ErrNoDisk marks faults of disks asked of a cluster whose nodes have none of their own.
var ErrNoDisk = errors.New("no disk of its own")

// openDisks gives each node a disk of its own.
func (c *Cluster) openDisks(ctx context.Context) error {
	for i, n := range c.nodes {
		var err error
		if n.disk, err = disk.Open(ctx, filepath.Dir(c.LogFile(i)), diskSize); err != nil {
			return err
		}
	}
	return nil
}

// onDisk does something to the disk of a node.
func (c *Cluster) onDisk(i int, do func(context.Context, *disk.Disk) error) error {
	d := c.nodes[i].disk
	if d == nil {
		return fmt.Errorf("node %d: %w", i, ErrNoDisk)
	}
	ctx, cancel := context.WithTimeout(context.Background(), diskTimeout)
	defer cancel()
	return do(ctx, d)
}

// Freeze lets every write to a node's disk wait until HealDisks.
func (c *Cluster) Freeze(i int) error {
	return c.onDisk(i, func(ctx context.Context, d *disk.Disk) error { return d.Freeze(ctx) })
}

// Fill leaves a node so many bytes of free space until HealDisks.
func (c *Cluster) Fill(i int, left int64) error {
	return c.onDisk(i, func(_ context.Context, d *disk.Disk) error { return d.Fill(left) })
}

// HealDisks ends what Freeze and Fill did.
func (c *Cluster) HealDisks() error {
	return c.all(func(i int) error {
		if c.nodes[i].disk == nil {
			return nil
		}
		return c.onDisk(i, func(ctx context.Context, d *disk.Disk) error {
			if err := d.Thaw(ctx); err != nil {
				return err
			}
			return d.Empty()
		})
	})
}

// closeDisks unmounts all.
func (c *Cluster) closeDisks() error {
	return c.all(func(i int) error {
		if c.nodes[i].disk == nil {
			return nil
		}
		return c.onDisk(i, func(ctx context.Context, d *disk.Disk) error {
			c.nodes[i].disk = nil
			return d.Close(ctx)
		})
	})
}
