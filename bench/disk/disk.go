// Package disk gives a node a small disk of its own, which can freeze and fill
// up: an ext4 file system in a file, mounted over a loop device. It needs root,
// Linux, e2fsprogs and util-linux.
package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Disk is a mounted file system. Its methods are for one goroutine.
type Disk struct {
	image, mount string
	frozen       bool
}

// Open makes a file system of size bytes, which the file under it takes only as it
// is used, and mounts it in a folder of dir.
func Open(ctx context.Context, dir string, size int64) (*Disk, error) {
	d := &Disk{image: filepath.Join(dir, "disk.img"), mount: filepath.Join(dir, "disk")}
	if err := os.MkdirAll(d.mount, 0o755); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	if err := run(ctx, "mkfs.ext4", "-q", "-m", "0", d.image); err != nil {
		return nil, err
	}
	if err := run(ctx, "mount", "-o", "loop", d.image, d.mount); err != nil {
		return nil, err
	}
	return d, nil
}

func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("disk: %s: %w: %s", name, err, out)
	}
	return nil
}

// Path is the folder where the file system is mounted.
func (d *Disk) Path() string { return d.mount }

// Freeze makes every write wait until Thaw.
func (d *Disk) Freeze(ctx context.Context) error {
	if d.frozen {
		return nil
	}
	d.frozen = true
	return run(ctx, "fsfreeze", "--freeze", d.mount)
}

// Thaw ends Freeze.
func (d *Disk) Thaw(ctx context.Context) error {
	if !d.frozen {
		return nil
	}
	d.frozen = false
	return run(ctx, "fsfreeze", "--unfreeze", d.mount)
}

func (d *Disk) ballast() string { return filepath.Join(d.mount, "ballast") }

// Fill takes all of the free space but left bytes.
func (d *Disk) Fill(left int64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.mount, &fs); err != nil {
		return fmt.Errorf("disk: free space: %w", err)
	}
	f, err := os.Create(d.ballast())
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free > left {
		if err = syscall.Fallocate(int(f.Fd()), 0, 0, free-left); err != nil {
			err = fmt.Errorf("disk: fill: %w", err)
		}
	}
	return errors.Join(err, f.Close())
}

// Empty gives back what Fill took.
func (d *Disk) Empty() error {
	if err := os.Remove(d.ballast()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("disk: %w", err)
	}
	return nil
}

// Close unmounts the file system and removes it. Nobody must use it any more.
func (d *Disk) Close(ctx context.Context) error {
	if err := errors.Join(d.Thaw(ctx), run(ctx, "umount", d.mount)); err != nil {
		return err
	}
	return os.Remove(d.image)
}
