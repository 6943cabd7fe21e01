// Package storagetest opens stores on disks in memory that can lose power,
// fail and rot.
package storagetest

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/trellisdb/trellis/storage"
)

// Dir is where the stores of this package lie on their disk.
const Dir = "data"

// Disk is a disk in memory that remembers what was synced.
type Disk = vfs.MemFS

// NewDisk returns an empty disk.
func NewDisk() *Disk { return vfs.NewCrashableMem() }

// CutPower returns the disk as it could be found after a power loss: of what
// was not synced, each block survives with the given probability in percent.
// With 100 it is a copy of the disk, as after kill -9.
func CutPower(d *Disk, percent int, rng *rand.Rand) *Disk {
	return d.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
}

// Config returns the configuration of a small store on fs. Its halts are
// recorded in the second result.
func Config(fs storage.FS) (storage.Config, *Halts) {
	h := &Halts{first: make(chan struct{})}
	cfg := storage.DefaultConfig(Dir)
	cfg.FS = fs
	cfg.NodeName = "test"
	cfg.CacheBytes = 1 << 20
	cfg.StateMemtableBytes = 128 << 10
	cfg.LogMemtableBytes = 128 << 10
	cfg.Log = slog.New(slog.DiscardHandler)
	cfg.Halt = h.halt
	return cfg, h
}

// Open opens a store on fs and closes it at the end of the test, which fails
// if the store was halted.
func Open(t testing.TB, fs storage.FS) *storage.Store {
	t.Helper()
	cfg, halts := Config(fs)
	s, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := halts.Err(); err != nil {
			t.Errorf("the store was halted: %v", err)
			return
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Halts records the halt of a store. A store that was halted must not be
// closed: as after the end of a process, nothing of it is used again.
type Halts struct {
	mu    sync.Mutex
	err   error
	first chan struct{}
}

func (h *Halts) halt(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
		close(h.first)
	}
}

// Err returns why the store was halted, nil if it was not.
func (h *Halts) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Done is closed when the store is halted.
func (h *Halts) Done() <-chan struct{} { return h.first }

// ErrInjected is what a failing disk answers.
var ErrInjected = errors.New("injected disk error")

// Failing returns a disk whose operation number index fails, counted from 0,
// and, if all is set, every write after it too. A negative index never fails.
// The counter tells how many operations there were.
//
// Pebble panics when it cannot sync its own directory, which ends a process but
// would end the test with it: there the goroutine stops for good instead, and
// the halt is recorded.
func Failing(d *Disk, index int64, all bool, halts *Halts) (fs storage.FS, operations *atomic.Int64) {
	operations = new(atomic.Int64)
	return errorfs.Wrap(d, errorfs.InjectorFunc(func(op errorfs.Op) error {
		n := operations.Add(1) - 1
		fails := n == index || (all && index >= 0 && n > index && op.Kind.ReadOrWrite() == errorfs.OpIsWrite)
		if !fails {
			return nil
		}
		if base := d.PathBase(op.Path); op.Kind == errorfs.OpFileSync && (base == "state" || base == "log") {
			halts.halt(ErrInjected)
			select {}
		}
		return ErrInjected
	})), operations
}

// Watched returns a disk that calls before every operation.
func Watched(d *Disk, before func()) storage.FS {
	return errorfs.Wrap(d, errorfs.InjectorFunc(func(errorfs.Op) error {
		before()
		return nil
	}))
}

// Room returns fs with as much free space as free says.
func Room(fs storage.FS, free *atomic.Uint64) storage.FS { return roomFS{fs, free} }

type roomFS struct {
	storage.FS
	free *atomic.Uint64
}

// GetDiskUsage implements vfs.FS.
func (f roomFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.free.Load()}, nil
}

// File is a file on a disk.
type File struct {
	Path string
	Size int64
}

// Files returns all files below the store's directory, in order.
func Files(t testing.TB, d *Disk) []File {
	t.Helper()
	var list []File
	var walk func(dir string)
	walk = func(dir string) {
		names, err := d.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			path := d.PathJoin(dir, name)
			info, err := d.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.IsDir() {
				walk(path)
			} else {
				list = append(list, File{path, info.Size()})
			}
		}
	}
	walk(Dir)
	return list
}

// Flip changes one bit of a file.
func Flip(t testing.TB, d *Disk, path string, at int64, bit uint) {
	t.Helper()
	f, err := d.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
