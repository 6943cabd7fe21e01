package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/trellisdb/trellis/storage/fault"
)

// slowDisk is how long a disk operation may take before it is logged.
const slowDisk = 2 * time.Second

// fullDiskPause is the time between two tries to flush to a full disk.
const fullDiskPause = 200 * time.Millisecond

// blockBytes is the size of a block of a table, unless a single value is larger.
const blockBytes = 8 << 10

// options are what both databases have in common. Each choice is deliberate:
//
//   - FormatMajorVersion newest: the default is the oldest. Columnar blocks save
//     a tenth of the disk, and the WAL tells a torn tail from damage.
//   - balanced compression, blocks of 8 KiB, bloom filters of 10 bits a key:
//     entities of a few hundred bytes are read one by one and in pages. The last
//     level has no filters: Pebble does not look at them there.
//   - L0CompactionThreshold 4: reads meet few overlapping tables.
//   - two compactions at a time at most: a node may have but two cores.
//   - one block cache for both databases.
func (s *Store) options(part string, memtable uint64, exists bool) *pebble.Options {
	log := s.log.With("part", part)
	opts := &pebble.Options{
		FormatMajorVersion:          pebble.FormatNewest,
		Cache:                       s.cache,
		MemTableSize:                memtable,
		MemTableStopWritesThreshold: 2,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		CompactionConcurrencyRange:  func() (lower, upper int) { return 1, 2 },
		ErrorIfNotExists:            exists,
		Logger:                      &logger{store: s, log: log},
		EventListener:               s.events(part, log),
	}
	if s.cfg.FS != nil { // else Pebble adds its own monitor of slow disks
		opts.FS = s.fs
	}
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = blockBytes
		opts.Levels[i].IndexBlockSize = 256 << 10
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].FilterType = pebble.TableFilter
	}
	opts.Levels[len(opts.Levels)-1].FilterPolicy = pebble.NoFilterPolicy
	return opts
}

func (s *Store) events(part string, log *slog.Logger) *pebble.EventListener {
	return &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			s.Halt(fault.Wrap(info.Details, fault.Corrupt, "%s DB: file %s, keys %s: damaged", part, info.Path, info.Bounds))
		},
		BackgroundError: func(err error) { s.backgroundError(part, err) },
		DiskSlow: func(info pebble.DiskSlowInfo) {
			if info.Duration >= slowDisk {
				log.Warn("disk is slow", "file", info.Path, "took", info.Duration)
			}
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) { log.Warn("writes stalled", "reason", info.Reason) },
		WriteStallEnd:   func() { log.Info("writes go on") },
		LowDiskSpace: func(info pebble.LowDiskSpaceInfo) {
			log.Warn("disk space is low", "free", info.AvailBytes, "total", info.TotalBytes)
		},
	}
}

// backgroundError judges a failed flush or compaction. Pebble tries again; a
// full disk may have room by then, anything else is a disk not to be trusted.
func (s *Store) backgroundError(part string, err error) {
	if errors.Is(err, pebble.ErrCancelledCompaction) || errors.Is(err, context.Canceled) {
		return
	}
	if errors.Is(err, syscall.ENOSPC) {
		s.log.Error("disk is full", "part", part, "err", err)
		time.Sleep(fullDiskPause) // Pebble tries again at once, and for ever
		return
	}
	s.Halt(corrupt(fmt.Errorf("%s DB: flush or compaction: %w", part, err)))
	s.park()
}

// logger receives Pebble's words. Its Fatalf never returns: Pebble calls it
// where a commit, or the list of tables, could not be written, and would tell
// the caller of success.
type logger struct {
	store *Store
	log   *slog.Logger
}

func (l *logger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("pebble", "says", fmt.Sprintf(format, args...))
	}
}

func (l *logger) Errorf(format string, args ...any) {
	l.log.Error("pebble", "says", fmt.Sprintf(format, args...))
}

func (l *logger) Fatalf(format string, args ...any) {
	l.store.Halt(fmt.Errorf(format, args...))
	l.store.park()
}

// corrupt marks errors that Pebble says are damage.
func corrupt(err error) error {
	if err != nil && pebble.IsCorruptionError(err) && !fault.Is(err, fault.Corrupt) {
		return fault.Wrap(err, fault.Corrupt, "stored bytes are damaged")
	}
	return err
}
