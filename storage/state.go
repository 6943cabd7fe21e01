package storage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// State is the state DB. Its methods are safe for concurrent use.
type State struct {
	db  *pebble.DB
	log *slog.Logger
}

const (
	blockSize   = 8 << 10 // a Get reads and decompresses one block
	bloomBits   = 10      // 1 % of the tables without a key are looked into
	l0Threshold = 4
)

// baseOptions are what both databases share.
func baseOptions(cfg *Config, cache *pebble.Cache, part string) *pebble.Options {
	o := &pebble.Options{
		FS:                    cfg.FS,
		Cache:                 cache,
		FormatMajorVersion:    pebble.FormatNewest, // the default is the oldest
		L0CompactionThreshold: l0Threshold,
		Logger:                &pebbleLogger{log: cfg.Log.With("db", part), part: part, halt: cfg.Halt},
		MaxOpenFiles:          1000,
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = blockSize
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
		o.Levels[i].FilterType = pebble.TableFilter
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	o.EventListener = listener(cfg, part)
	return o
}

// pebbleLogger passes Pebble's log on. A fatal message, which is how Pebble
// reports that its write-ahead log cannot be written, halts the node.
type pebbleLogger struct {
	log  *slog.Logger
	part string
	halt func(error)
}

func (l *pebbleLogger) Infof(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l *pebbleLogger) Errorf(format string, args ...any) { l.log.Error(fmt.Sprintf(format, args...)) }

// Fatalf does not return: Pebble would go on with a state it calls impossible.
func (l *pebbleLogger) Fatalf(format string, args ...any) {
	l.halt(fmt.Errorf("%s database: %s", l.part, fmt.Sprintf(format, args...)))
	panic(fmt.Sprintf("%s database: "+format, append([]any{l.part}, args...)...))
}

func listener(cfg *Config, part string) *pebble.EventListener {
	log := cfg.Log.With("db", part)
	return &pebble.EventListener{
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			cfg.Halt(fault.Wrap(i.Details, fault.Corrupt, "%s database: %s is damaged", part, i.Path))
		},
		BackgroundError: func(err error) {
			log.Error("background work", "error", err)
			if errors.Is(err, pebble.ErrCorruption) {
				cfg.Halt(fault.Wrap(err, fault.Corrupt, "%s database is damaged", part))
			}
		},
		DiskSlow: func(i pebble.DiskSlowInfo) {
			log.Warn("disk is slow", "path", i.Path, "operation", i.OpType.String(), "took", i.Duration)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) { log.Warn("writes stall", "reason", i.Reason) },
	}
}

// openState opens the state DB.
func openState(cfg *Config, dir string, cache *pebble.Cache, fresh bool) (*State, error) {
	o := baseOptions(cfg, cache, "state")
	o.DisableWAL = true
	o.MemTableSize = cfg.StateMemtableBytes
	o.ErrorIfNotExists = !fresh
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, openError("state", err)
	}
	return &State{db: db, log: cfg.Log}, nil
}

func openError(part string, err error) error {
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		return fault.Wrap(err, fault.Corrupt, "%s database is missing, but the identity file says this node has one", part)
	}
	return fmt.Errorf("open %s database: %w", part, classify(err))
}

// Flush makes every committed batch durable.
func (s *State) Flush() error {
	if err := s.db.Flush(); err != nil {
		return fmt.Errorf("flush state database: %w", err)
	}
	return nil
}

// Applied returns the last log index whose effect is in a partition, 0 if none.
func (s *State) Applied(p entity.Partition) (uint64, error) {
	return readApplied(&directReader{s, p})
}

// directReader reads the latest committed state without a snapshot.
type directReader struct {
	state     *State
	partition entity.Partition
}

func (r *directReader) Get(dst, key []byte) ([]byte, bool, error) { return get(r.state.db, dst, key) }
func (r *directReader) Partition() entity.Partition               { return r.partition }

// Digest is a hash over all keys and values of a partition at one applied
// index: replicas that have applied the same log have equal digests.
type Digest struct {
	Sum     [32]byte // SHA-256 over length-prefixed keys and values in key order
	Keys    uint64
	Applied uint64
}

// digestStep is how many keys are hashed between looks at the context.
const digestStep = 4096

// Digest reads a whole partition. Faults: Corrupt if a block is not what was written.
func (s *State) Digest(ctx context.Context, p entity.Partition) (d Digest, err error) {
	v := s.View(p)
	defer func() { err = errors.Join(err, v.Close()) }()
	if d.Applied, err = v.Applied(); err != nil {
		return d, err
	}
	it, err := v.Scan(keys.PartitionRange(p))
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	sum := sha256.New()
	for ok := it.First(); ok; ok = it.Next() {
		hashPart(sum, it.Key())
		hashPart(sum, it.Value())
		if d.Keys++; d.Keys%digestStep == 0 && ctx.Err() != nil {
			return d, ctx.Err()
		}
	}
	sum.Sum(d.Sum[:0])
	return d, it.Err()
}

func hashPart(h hash.Hash, b []byte) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(b)))
	h.Write(n[:])
	h.Write(b)
}
