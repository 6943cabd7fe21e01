package storage

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// FS is a file system. It is an alias so that tests of other packages can
// bring one of their own without importing Pebble.
type FS = vfs.FS

// Config says where a store lies and how much memory it may use.
type Config struct {
	Dir      string
	FS       FS     // nil: the operating system's
	NodeName string // must be the name in the identity on disk; empty: take that, or make one up at the first start
	Existing bool   // refuse to create a store
	New      *Work  // refuse any but a new one, on which this work is begun before anything else is there
	Resume   string // name of the work that may be unfinished; others than who finishes it leave it empty

	CacheBytes         int64  // block cache of both databases together
	RowCacheBytes      int64  // values of single keys that are read often, on Go's heap; 0: none
	StateMemtableBytes uint64 // of the state DB; up to two are held
	LogMemtableBytes   uint64 // of the log DB; up to two are held

	Log *slog.Logger // nil: slog.Default()
	// Halt is called once, when a disk error or damage makes it unsafe to go on.
	// In production it ends the process. nil: panic.
	Halt func(error)
}

// DefaultConfig returns a working configuration for a store in dir. Its memory
// adds up to 272 MiB: cache 128, memtables 64 and 32 and half as much again,
// which the cache may use while nothing is flushed and lends when something is.
func DefaultConfig(dir string) Config {
	return Config{
		Dir:                dir,
		CacheBytes:         128 << 20,
		RowCacheBytes:      16 << 20,
		StateMemtableBytes: 64 << 20,
		LogMemtableBytes:   32 << 20,
	}
}

// Names of what lies in a store's directory.
const (
	lockName       = "LOCK"
	creatingName   = "creating" // there during a first start only
	identityName   = "identity"
	unfinishedName = "unfinished" // there while a restore or a recovery is under way
	stateName      = "state"
	logName        = "log"
	marksName      = "marks"
	spoolName      = "spool"
)

// Store is an open data directory. It is safe for concurrent use.
type Store struct {
	cfg   Config
	fs    FS
	log   *slog.Logger
	lock  io.Closer
	cache *pebble.Cache

	state    *State
	logDB    *Log
	received received

	identity struct {
		sync.Mutex
		Identity
	}

	haltOnce sync.Once
	parked   chan struct{} // never closed: where goroutines that met a fatal error stay

	closed struct {
		sync.Mutex
		done bool
	}
}

// Open opens the store in cfg.Dir, or creates it if there is none. It refuses
// to open a store that is damaged or of which a part is missing: those errors
// carry fault.Corrupt. What was under way when the node stopped is finished
// before Open returns: a drop, and a snapshot that was received but not installed.
func Open(cfg Config) (_ *Store, err error) {
	s := &Store{cfg: cfg, fs: cfg.FS, log: cfg.Log, parked: make(chan struct{})}
	if s.fs == nil {
		s.fs = vfs.Default
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if cfg.Dir == "" {
		return nil, errors.New("open store: no directory given")
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store %s: %w", cfg.Dir, errors.Join(err, s.release()))
		}
	}()
	if cfg.NodeName != "" && !entity.ValidNodeName(cfg.NodeName) {
		return nil, fmt.Errorf("a node cannot be called %q: want 1 to %d letters, digits, dots, dashes and underscores", cfg.NodeName, entity.MaxNodeName)
	}
	if err := s.checkFinished(); err != nil && cfg.New == nil {
		return nil, err
	}
	if cfg.Existing {
		if _, err := s.fs.Stat(s.path(identityName)); err != nil {
			return nil, fmt.Errorf("there is no store: %w", err)
		}
	}
	if cfg.New != nil {
		if _, err := s.fs.Stat(cfg.Dir); !isNotExist(err) {
			return nil, errors.Join(errors.New("the directory exists already"), err)
		}
	}
	if err := makeDir(s.fs, cfg.Dir); err != nil {
		return nil, err
	}
	if s.lock, err = s.fs.Lock(s.path(lockName)); err != nil {
		return nil, fmt.Errorf("lock: is another process running on it? %w", err)
	}
	if cfg.New != nil {
		err = s.Begin(*cfg.New)
	} else {
		err = s.checkFinished() // now that nobody else can begin anything
	}
	if err != nil {
		return nil, err
	}
	id, found, err := readIdentity(s.fs, s.path(identityName))
	if err != nil {
		return nil, err
	}
	if found && cfg.NodeName != "" && cfg.NodeName != id.NodeID.Name() {
		return nil, fmt.Errorf("the store belongs to a node called %q (%s), not to one called %q", id.NodeID.Name(), id.NodeID, cfg.NodeName)
	}
	if err := s.prepare(found); err != nil {
		return nil, err
	}
	if err := s.openStores(found); err != nil {
		return nil, err
	}
	if !found {
		if err := s.create(); err != nil {
			return nil, err
		}
		return s, nil
	}
	s.identity.Identity = id
	if err := s.recover(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Store) openStores(exists bool) (err error) {
	if err := s.fs.MkdirAll(s.path(spoolName), 0o750); err != nil {
		return err
	}
	// Pebble takes the memory of memtables out of the cache it is given. Most
	// of the time one of each database is held, two while one is flushed.
	memtables := 3 * int64(s.cfg.StateMemtableBytes+s.cfg.LogMemtableBytes) / 2
	s.cache = pebble.NewCache(s.cfg.CacheBytes + memtables)
	if s.state, err = openState(s, exists); err != nil {
		return fmt.Errorf("state DB: %w", err)
	}
	if s.logDB, err = openLog(s, exists); err != nil {
		return fmt.Errorf("log DB: %w", err)
	}
	return nil
}

// prepare looks whether the parts of the store are there together, or not at
// all. What a first start left that did not come to its end is removed: the file
// that says so is durable before, and gone after, anything else is there.
func (s *Store) prepare(found bool) error {
	creating := s.exists(creatingName)
	for _, name := range []string{stateName, logName, marksName} {
		switch {
		case found && !s.exists(name):
			return fault.New(fault.Corrupt, "%s is missing beside the identity file", name)
		case !found && creating:
			if err := s.fs.RemoveAll(s.path(name)); err != nil {
				return fmt.Errorf("remove the rest of a first start: %w", err)
			}
		case !found && s.exists(name):
			return fault.New(fault.Corrupt, "there is %s, but the identity file is missing", name)
		}
	}
	switch {
	case !found:
		return writeFile(s.fs, s.path(creatingName), nil)
	case creating:
		return s.fs.Remove(s.path(creatingName))
	}
	return nil
}

func (s *Store) exists(name string) bool {
	_, err := s.fs.Stat(s.path(name))
	return !isNotExist(err)
}

// create completes a first start: the identity is written last, so that a store
// that has one is whole.
func (s *Store) create() error {
	if err := syncDir(s.fs, s.cfg.Dir); err != nil {
		return err
	}
	id, err := makeNodeID(s.cfg.NodeName)
	if err != nil {
		return err
	}
	s.identity.Identity = Identity{NodeID: id}
	if err := writeIdentity(s.fs, s.path(identityName), s.identity.Identity); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	if err := errors.Join(s.fs.Remove(s.path(creatingName)), syncDir(s.fs, s.cfg.Dir)); err != nil {
		return err
	}
	s.log.Info("store created", "dir", s.cfg.Dir, "node", s.identity.NodeID)
	return nil
}

// recover compares the stores with one another and finishes what a crash left.
func (s *Store) recover() error {
	for _, p := range s.logDB.Partitions() {
		if err := s.logDB.checkMark(p); err != nil { // damage first: nobody drops on its word
			return err
		}
		if s.logDB.isDropping(p) {
			s.log.Info("finishing the drop of a partition", "partition", p)
			if err := s.finishDrop(p); err != nil {
				return err
			}
			continue
		}
		m, ok, err := s.logDB.Marker(p)
		if err != nil {
			return err
		}
		if ok {
			err = s.finishRestore(p, m)
		} else {
			err = s.checkAhead(p)
		}
		if err != nil {
			return err
		}
	}
	return s.cleanSpool()
}

// checkAhead looks whether the state of a partition without a marker has come
// further than its log. Only damage of the state DB explains that: a replica
// which was dropped is back.
func (s *Store) checkAhead(p entity.Partition) error {
	applied, err := s.state.Applied(p)
	if err != nil {
		return err
	}
	if last := s.logDB.Last(p); applied > last {
		return fault.New(fault.Corrupt, "partition %d: the state DB is at index %d, the log ends at %d, and there is no marker", p, applied, last)
	}
	return nil
}

// State returns the state DB. It lives as long as the store.
func (s *Store) State() *State { return s.state }

// Log returns the log DB. It lives as long as the store.
func (s *Store) Log() *Log { return s.logDB }

// SpoolDir returns where snapshots are written while they travel.
func (s *Store) SpoolDir() string { return s.path(spoolName) }

// FS returns the file system the store lies on.
func (s *Store) FS() FS { return s.fs }

// Halt reports an error after which it is unsafe to go on, as the store itself
// does for errors of its own. Only the first report counts.
func (s *Store) Halt(err error) {
	s.haltOnce.Do(func() {
		s.log.Error("storage halted", "err", err)
		if s.cfg.Halt == nil {
			panic(err)
		}
		s.cfg.Halt(err)
	})
}

// park never returns. It is where a goroutine ends whose caller believes that
// a failed write cannot come back.
func (s *Store) park() { <-s.parked }

// Close flushes what is in memory and closes the store. All views, batches and
// spools must be closed before. Later calls do nothing.
func (s *Store) Close() error {
	s.closed.Lock()
	defer s.closed.Unlock()
	if s.closed.done {
		return nil
	}
	s.closed.done = true
	var err error
	if s.state != nil {
		err = s.state.Flush()
	}
	if err = errors.Join(err, s.release()); err != nil {
		return fmt.Errorf("close store %s: %w", s.cfg.Dir, err)
	}
	return nil
}

// release closes what is open, in reverse order.
func (s *Store) release() error {
	var errs []error
	if s.logDB != nil {
		errs = append(errs, s.logDB.close())
	}
	if s.state != nil {
		errs = append(errs, s.state.close())
	}
	if s.cache != nil {
		s.cache.Unref()
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

func (s *Store) path(name string) string { return s.fs.PathJoin(s.cfg.Dir, name) }

// makeDir creates a directory with all above it that are missing, durably. The
// entry of the directory itself is synced even if it is there already: who made
// it may have crashed before he did so.
func makeDir(fs FS, dir string) error {
	parents := []string{fs.PathDir(dir)}
	for {
		top := parents[len(parents)-1]
		if _, err := fs.Stat(top); err == nil || fs.PathDir(top) == top {
			break
		}
		parents = append(parents, fs.PathDir(top))
	}
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	for _, parent := range parents {
		if err := syncDir(fs, parent); err != nil {
			return fmt.Errorf("sync %s: %w", parent, err)
		}
	}
	return nil
}

// syncDir makes the entries of a directory durable.
func syncDir(fs FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeFile replaces a small file in one step and makes it durable.
func writeFile(fs FS, path string, content []byte) error {
	scratch := path + ".new"
	f, err := fs.Create(scratch, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(scratch, path); err != nil {
		return err
	}
	return syncDir(fs, fs.PathDir(path))
}

func readFile(fs FS, path string, limit int64) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	return b, errors.Join(err, f.Close())
}

func isNotExist(err error) bool { return errors.Is(err, os.ErrNotExist) }
