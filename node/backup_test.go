package node_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/trellisdb/trellis/storage/fault"
)

// TestAbandonedBackupLeavesNothing: whoever fetches a backup may go away at any
// byte. Nothing of it stays on the disk, and the next one can begin.
func TestAbandonedBackupLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	ctx := context.Background()
	for _, after := range []int64{0, 10, 100, 1000, 1 << 30} {
		b, err := n.Backup(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := n.Backup(ctx); !fault.Is(err, fault.Conflict) {
			t.Errorf("two backups at a time: %v, %v", second, err)
		}
		if _, err := io.CopyN(io.Discard, b, after); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if err := errors.Join(b.Close(), b.Close()); err != nil {
			t.Error(err)
		}
		left, err := os.ReadDir(filepath.Join(dir, "spool"))
		if err != nil || len(left) != 0 {
			t.Errorf("after %d bytes: left in the spool: %v, %v", after, left, err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	b, err := n.Backup(ended)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, b); !errors.Is(err, context.Canceled) {
		t.Errorf("the server stops, and the backup goes on: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
