package storage

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Metrics are a few plain numbers of both databases together, for status pages
// and benchmarks.
type Metrics struct {
	CacheBytes     int64  // held by the block cache
	CacheHits      int64  // since the start
	CacheMisses    int64  // since the start
	MemtableBytes  uint64 // held by memtables
	DiskBytes      uint64 // of tables and logs
	StateDiskBytes uint64 // of that, the state DB's
	Compactions    int64  // finished since the start
	Flushes        int64  // finished since the start
	ReadAmp        int    // how many tables a read of the state DB may have to look into
	L0Files        int64  // of the state DB: when they pile up, compaction is behind
	WrittenBytes   uint64 // by flushes and compactions of the state DB
}

// Metrics returns the numbers of now.
func (s *Store) Metrics() Metrics {
	state, log := s.state.db.Metrics(), s.logDB.db.Metrics()
	return Metrics{
		CacheBytes:     state.BlockCache.Size, // one cache serves both
		CacheHits:      state.BlockCache.Hits,
		CacheMisses:    state.BlockCache.Misses,
		MemtableBytes:  state.MemTable.Size + log.MemTable.Size,
		DiskBytes:      state.DiskSpaceUsage() + log.DiskSpaceUsage(),
		StateDiskBytes: state.DiskSpaceUsage(),
		ReadAmp:        state.ReadAmp(),
		Compactions:    state.Compact.Count + log.Compact.Count,
		Flushes:        state.Flush.Count + log.Flush.Count,
		L0Files:        state.Levels[0].TablesCount,
		WrittenBytes:   written(state),
	}
}

func written(m *pebble.Metrics) uint64 {
	total := m.Total()
	return total.TableBytesFlushed + total.TableBytesCompacted
}

// FreeBytes returns how much room the data directory's file system has left for
// this process.
func (s *Store) FreeBytes() (uint64, error) {
	usage, err := s.fs.GetDiskUsage(s.cfg.Dir)
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", s.cfg.Dir, err)
	}
	return usage.AvailBytes, nil
}
