package assets

import (
	"context"
	"crypto/md5" // #nosec G501 -- what clients know as checksum and ETag, not a secret
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/trellisdb/trellis/storage/fault"
)

// MinFileBytes is the least that a limit of the size of a file may be (spec
// assets-events-counters section 2).
const MinFileBytes = 5 << 20

// maxDropped is how much of a file is read and thrown away, beyond the limit, to tell
// its size.
const maxDropped = 1 << 30

// SpoolConfig bounds a spool. Begin with DefaultSpoolConfig.
type SpoolConfig struct {
	Dir       string // the spool's own; emptied when it opens
	FileBytes int64  // of one file, at least MinFileBytes
	AllBytes  int64  // of all files at one moment, at least FileBytes
}

// DefaultSpoolConfig is a working configuration for a directory.
func DefaultSpoolConfig(dir string) SpoolConfig {
	return SpoolConfig{Dir: dir, FileBytes: 50 << 20, AllBytes: 2 << 30}
}

// Spool keeps files while they arrive and until they are stored. It is safe for
// concurrent use.
type Spool struct {
	cfg  SpoolConfig
	used atomic.Int64
}

// OpenSpool makes an empty spool.
func OpenSpool(cfg SpoolConfig) (*Spool, error) {
	switch {
	case cfg.FileBytes < MinFileBytes:
		return nil, fmt.Errorf("assets: a file may have %d bytes, want %d at least", cfg.FileBytes, MinFileBytes)
	case cfg.AllBytes < cfg.FileBytes:
		return nil, fmt.Errorf("assets: all files may have %d bytes, want %d at least, as one alone may", cfg.AllBytes, cfg.FileBytes)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("assets: spool of uploads: %w", err)
	}
	left, err := os.ReadDir(cfg.Dir)
	for _, entry := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(cfg.Dir, entry.Name())))
	}
	if err != nil {
		return nil, fmt.Errorf("assets: empty the spool of uploads: %w", err)
	}
	return &Spool{cfg: cfg}, nil
}

// Used returns how many bytes the files have at this moment.
func (s *Spool) Used() int64 { return s.used.Load() }

// FileBytes is the limit of one file.
func (s *Spool) FileBytes() int64 { return s.cfg.FileBytes }

// File is a file that has arrived whole. Close gives its place back.
type File struct {
	Size     int64  // bytes; of one that is too large, too
	Checksum string // MD5 in hex
	Head     []byte // its first bytes
	TooLarge bool   // it is over the limit, and its bytes are gone

	spool *Spool
	file  *os.File
	name  string // if it could not be removed while it is open
	held  int64  // bytes of the spool
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, offset int64) (int, error) { return f.file.ReadAt(p, offset) }

// Close removes the file. It may be called more than once.
func (f *File) Close() error {
	if f == nil || f.file == nil {
		return nil
	}
	err := f.file.Close()
	if f.name != "" {
		err = errors.Join(err, os.Remove(f.name))
	}
	f.file = nil
	f.spool.used.Add(-f.held)
	f.held = 0
	return err
}

const (
	copyBytes = 64 << 10
	headBytes = 3072 // as much as the kind of a file is told by
)

var copyBuffers = sync.Pool{New: func() any { return new([copyBytes]byte) }}

// Take reads src to its end. Faults: Overloaded (the spool is full), DiskFull,
// RequestTooLarge (so far over the limit that nobody counts how far), and errors of src
// as they are.
func (s *Spool) Take(ctx context.Context, src io.Reader) (_ *File, err error) {
	f := &File{spool: s}
	if f.file, err = os.CreateTemp(s.cfg.Dir, "upload-"); err != nil {
		return nil, spoolError(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if os.Remove(f.file.Name()) != nil { // where open files cannot be removed
		f.name = f.file.Name()
	}
	buf := copyBuffers.Get().(*[copyBytes]byte)
	defer copyBuffers.Put(buf)
	sum := md5.New() // #nosec G401
	for {
		n, readErr := src.Read(buf[:])
		if err := f.add(buf[:n], sum); err != nil {
			return nil, err
		}
		switch {
		case errors.Is(readErr, io.EOF):
			f.Checksum = hex.EncodeToString(sum.Sum(nil))
			return f, nil
		case readErr != nil:
			return nil, arriving{readErr}
		case ctx.Err() != nil:
			return nil, fault.Wrap(context.Cause(ctx), fault.Stopping, "the node is shutting down")
		}
	}
}

// arriving is an error of what a file arrives from.
type arriving struct{ error }

// Unwrap returns the error.
func (a arriving) Unwrap() error { return a.error }

// add takes what has arrived.
func (f *File) add(p []byte, sum hash.Hash) error {
	f.Size += int64(len(p))
	if f.TooLarge {
		if f.Size > f.spool.cfg.FileBytes+maxDropped {
			return fault.New(fault.RequestTooLarge, "the file is larger than %d bytes", f.spool.cfg.FileBytes)
		}
		return nil
	}
	if f.Size > f.spool.cfg.FileBytes {
		size := f.Size
		err := f.Close()
		f.TooLarge, f.Size, f.Head = true, size, nil
		return err
	}
	if f.spool.used.Add(int64(len(p))) > f.spool.cfg.AllBytes {
		f.spool.used.Add(-int64(len(p)))
		return fault.New(fault.Overloaded, "too many files are being uploaded at this moment, try again")
	}
	f.held += int64(len(p))
	if room := headBytes - len(f.Head); room > 0 {
		f.Head = append(f.Head, p[:min(room, len(p))]...)
	}
	_, _ = sum.Write(p) // never fails
	if _, err := f.file.Write(p); err != nil {
		return spoolError(err)
	}
	return nil
}

// TooLargeFile stands for a file that announces a size over the limit, nothing of which
// was read.
func TooLargeFile(size int64) *File { return &File{Size: size, TooLarge: true} }

func spoolError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Wrap(err, fault.DiskFull, "there is no room for uploads at this moment, try again")
	}
	return fmt.Errorf("spool of uploads: %w", err)
}
