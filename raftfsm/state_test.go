package raftfsm

import (
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/trellisdb/trellis/storage"
)

// openStore opens a data directory; the caller closes it.
func openStore(t testing.TB, fs storage.FS) *storage.Store {
	t.Helper()
	cfg := storage.DefaultConfig("data")
	cfg.FS = fs
	if _, bench := t.(*testing.B); !bench {
		cfg.CacheBytes, cfg.StateMemtableBytes, cfg.LogMemtableBytes = 1<<20, 1<<20, 256<<10
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	cfg.Halt = func(err error) { t.Errorf("storage halted: %v", err) }
	s, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newState(t testing.TB) *storage.State {
	t.Helper()
	s := openStore(t, vfs.NewMem())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.State()
}
