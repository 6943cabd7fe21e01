package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trellisdb/trellis/storage/entity"
)

const (
	marksName     = "marks"
	markSlot      = 32 // bytes a partition: index 8 · partition 4 · CRC-32C of both 4 · zero
	marksInterval = time.Second
)

// marks is the file of high-water marks: for each partition the last log index
// that a synced append has covered.
//
// Pebble drops what follows a damaged record in its newest write-ahead log,
// since a crash leaves such tails, so a flipped byte there would silently lose
// synced entries. The mark is how that is noticed. It is written after every
// synced append without a sync of its own, so it never runs ahead of the log,
// survives the death of the process exactly, and a power loss up to a second old.
type marks struct {
	log  *slog.Logger
	file vfs.File

	mu    sync.Mutex
	last  map[entity.Partition]uint64
	dirty bool

	stop chan struct{}
	done chan struct{}
}

func openMarks(cfg *Config, fresh bool) (*marks, error) {
	path := cfg.FS.PathJoin(cfg.Dir, marksName)
	m := &marks{log: cfg.Log, last: map[entity.Partition]uint64{}, stop: make(chan struct{}), done: make(chan struct{})}
	raw, err := readFile(cfg.FS, path)
	switch {
	case errors.Is(err, errNoFile) && !fresh:
		return nil, damaged("the file %s is missing, but the identity file says this node has one", marksName)
	case err != nil && !errors.Is(err, errNoFile):
		return nil, err
	}
	if !fresh {
		for p := 0; p*markSlot < len(raw); p++ {
			slot := raw[p*markSlot : min((p+1)*markSlot, len(raw))]
			if err := m.load(entity.Partition(p), slot); err != nil {
				return nil, err
			}
		}
	}
	if m.file, err = cfg.FS.OpenReadWrite(path, vfs.WriteCategoryUnspecified); err != nil {
		return nil, fmt.Errorf("open %s: %w", marksName, err)
	}
	if fresh {
		if err := errors.Join(m.file.Sync(), syncDir(cfg.FS, cfg.Dir)); err != nil {
			return nil, errors.Join(fmt.Errorf("make %s: %w", marksName, err), m.file.Close())
		}
	}
	go m.run()
	return m, nil
}

func syncDir(fs FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (m *marks) load(p entity.Partition, slot []byte) error {
	if allZero(slot) {
		return nil
	}
	if len(slot) != markSlot ||
		binary.BigEndian.Uint32(slot[8:]) != uint32(p) ||
		binary.BigEndian.Uint32(slot[12:]) != crc32.Checksum(slot[:12], castagnoli) ||
		!allZero(slot[16:]) {
		return damaged("the file %s is not what was written (partition %d)", marksName, p)
	}
	m.last[p] = binary.BigEndian.Uint64(slot)
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// get returns the mark of a partition, 0 if none.
func (m *marks) get(p entity.Partition) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[p]
}

// set moves the mark of a partition; sync makes it durable at once.
func (m *marks) set(p entity.Partition, index uint64, sync bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last[p] == index {
		return nil
	}
	var slot [markSlot]byte
	binary.BigEndian.PutUint64(slot[:], index)
	binary.BigEndian.PutUint32(slot[8:], uint32(p))
	binary.BigEndian.PutUint32(slot[12:], crc32.Checksum(slot[:12], castagnoli))
	if _, err := m.file.WriteAt(slot[:], int64(p)*markSlot); err != nil {
		return fmt.Errorf("partition %d: write %s: %w", p, marksName, err)
	}
	m.last[p] = index
	m.dirty = true
	if sync {
		return m.syncLocked()
	}
	return nil
}

func (m *marks) syncLocked() error {
	if !m.dirty {
		return nil
	}
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", marksName, err)
	}
	m.dirty = false
	return nil
}

// run syncs the file now and then.
func (m *marks) run() {
	defer close(m.done)
	tick := time.NewTicker(marksInterval)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			m.mu.Lock()
			err := m.syncLocked()
			m.mu.Unlock()
			if err != nil {
				m.log.Error("high-water marks are not durable", "error", err)
			}
		}
	}
}

func (m *marks) close() error {
	close(m.stop)
	<-m.done
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(m.syncLocked(), m.file.Close())
}

func isNotExist(err error) bool { return errors.Is(err, os.ErrNotExist) }
