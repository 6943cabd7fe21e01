package storage

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// FS is the file system a store lives on: an alias, so that tests of other
// packages can pass one without importing Pebble.
type FS = vfs.FS

// Config is where and how a store is opened. Begin with DefaultConfig.
type Config struct {
	Dir      string
	FS       FS     // nil: the operating system's
	NodeID   string // name for a new identity; empty: a random one. For an existing one it must be empty or equal
	Existing bool   // refuse to create what is not there

	CacheBytes         int64  // block cache, shared by both databases
	StateMemtableBytes uint64 // changes of the state DB held in memory before they are flushed
	LogMemtableBytes   uint64 // log entries held in memory: with room for the log between two markers most die there

	Log  *slog.Logger
	Halt func(error) // called when a disk error or damage makes it unsafe to go on; in production it does not return
}

// DefaultConfig returns a working configuration for a directory, made to keep
// a node within 500 MB. The caller sets Log and Halt.
func DefaultConfig(dir string) Config {
	return Config{
		Dir:                dir,
		CacheBytes:         128 << 20,
		StateMemtableBytes: 64 << 20,
		LogMemtableBytes:   64 << 20,
	}
}

// Names in the data directory.
const (
	stateDir = "state"
	logDir   = "log"
	spoolDir = "spool"
)

// Store is a node's data directory. Its methods are safe for concurrent use.
type Store struct {
	cfg      Config
	lock     *pebble.Lock
	cache    *pebble.Cache
	identity *identityFile
	marks    *marks
	state    *State
	log      *Log
}

// Open opens a data directory, or makes it if it is empty. The caller ends it
// with Close. Faults: Corrupt if something is missing or is not what was written.
func Open(cfg Config) (s *Store, err error) {
	if cfg.Dir == "" || cfg.Log == nil || cfg.Halt == nil {
		return nil, fmt.Errorf("storage: directory, logger and halt function are needed")
	}
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	if !cfg.Existing {
		if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
	}
	s = &Store{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if s.lock, err = pebble.LockDirectory(cfg.Dir, cfg.FS); err != nil {
		return s, fmt.Errorf("data directory %s is in use, or cannot be locked: %w", cfg.Dir, err)
	}
	var fresh bool
	if s.identity, fresh, err = openIdentity(&cfg); err != nil {
		return s, err
	}
	s.cache = pebble.NewCache(cfg.CacheBytes)
	if s.state, err = openState(&cfg, cfg.FS.PathJoin(cfg.Dir, stateDir), s.cache, fresh); err != nil {
		return s, err
	}
	if s.marks, err = openMarks(&cfg, fresh); err != nil {
		return s, err
	}
	if s.log, err = openLog(&cfg, cfg.FS.PathJoin(cfg.Dir, logDir), s.cache, s.marks, fresh); err != nil {
		return s, err
	}
	if fresh {
		// The identity is written last: until it is there the directory counts as new.
		if err = s.identity.save(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// State returns the state DB.
func (s *Store) State() *State { return s.state }

// Log returns the log DB.
func (s *Store) Log() *Log { return s.log }

// Identity returns whose data this is.
func (s *Store) Identity() Identity { return s.identity.get() }

// SetCluster records the cluster this data belongs to, once, durably. Fault:
// Conflict if another is recorded.
func (s *Store) SetCluster(id entity.ID) error {
	return s.identity.setCluster(id)
}

// SpoolDir returns the directory for received and sent snapshots.
func (s *Store) SpoolDir() string { return s.cfg.FS.PathJoin(s.cfg.Dir, spoolDir) }

// FS returns the file system the store lives on.
func (s *Store) FS() FS { return s.cfg.FS }

// Close makes everything durable and ends the store. It is safe after a
// failed Open.
func (s *Store) Close() error {
	var errs []error
	if s.state != nil {
		errs = append(errs, s.state.Flush(), s.state.db.Close())
	}
	if s.log != nil {
		errs = append(errs, s.log.db.Close())
	}
	if s.marks != nil {
		errs = append(errs, s.marks.close())
	}
	if s.cache != nil {
		s.cache.Unref()
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	*s = Store{cfg: s.cfg}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close data directory: %w", err)
	}
	return nil
}

// Metrics are a few plain numbers of both databases.
type Metrics struct {
	DiskBytes      uint64 // of both databases, logs included
	StateDiskBytes uint64
	CacheBytes     int64
	MemtableBytes  uint64
	Compactions    int64
	L0Files        int64
	ReadAmp        int
}

// Metrics returns what the databases report now.
func (s *Store) Metrics() Metrics {
	state, log := s.state.db.Metrics(), s.log.db.Metrics()
	return Metrics{
		DiskBytes:      state.DiskSpaceUsage() + log.DiskSpaceUsage(),
		StateDiskBytes: state.DiskSpaceUsage(),
		CacheBytes:     state.BlockCache.Size,
		MemtableBytes:  state.MemTable.Size + log.MemTable.Size,
		Compactions:    state.Compact.Count + log.Compact.Count,
		L0Files:        state.Levels[0].TablesCount + log.Levels[0].TablesCount,
		ReadAmp:        state.ReadAmp(),
	}
}

func damaged(format string, args ...any) error { return fault.New(fault.Corrupt, format, args...) }
