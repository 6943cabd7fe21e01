package rescue_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/node/rescue"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func start(t *testing.T, dir string) *node.Node {
	t.Helper()
	cfg := node.DefaultConfig(dir)
	cfg.Name, cfg.Partitions = "n", 2
	cfg.Log = slog.New(slog.DiscardHandler)
	cfg.Halt = func(err error) { t.Errorf("halt: %v", err) }
	n, err := node.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func config(dir string) rescue.Config {
	c := rescue.Config{Storage: storage.DefaultConfig(dir), Protocol: node.Protocol}
	c.Storage.Log = slog.New(slog.DiscardHandler)
	return c
}

func plan(t *testing.T, dir string) *rescue.Recovery {
	t.Helper()
	r, err := rescue.PlanRecovery(context.Background(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestMissingPartitionBeginsAnew: only if that is asked for, and the node is then
// a cluster that serves all partitions.
func TestMissingPartitionBeginsAnew(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	n := start(t, dir)
	old := n.Cluster()
	if err := n.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if r, err := rescue.PlanRecovery(ctx, config(dir)); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a whole cluster of one is recovered: %+v, %v", r, err)
	}
	store, err := storage.Open(config(dir).Storage)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.Drop(ctx, 2), store.Close()); err != nil {
		t.Fatal(err)
	}

	r := plan(t, dir)
	if !slices.Equal(r.Missing, []entity.Partition{2}) || len(r.Held) != 2 {
		t.Errorf("missing %v, held %v", r.Missing, r.Held)
	}
	if err := r.Run(ctx, false); !fault.Is(err, fault.Conflict) {
		t.Errorf("a partition was given up silently: %v", err)
	}
	if err := errors.Join(r.Run(ctx, true), r.Close()); err != nil {
		t.Fatal(err)
	}
	n = start(t, dir)
	defer func() {
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	now := n.Cluster()
	if now.ID == old.ID || now.Key != old.Key || now.Partitions != 2 {
		t.Errorf("cluster %+v became %+v", old, now)
	}
	if err := n.Healthy(ctx); err != nil || len(n.Partitions()) != 3 {
		t.Errorf("%d partitions, %v", len(n.Partitions()), err)
	}
}

// TestUnfinishedRecoveryIsTheOnlyWayOn: a node does not start on half of one, and
// what is run again completes it.
func TestUnfinishedRecoveryIsTheOnlyWayOn(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	if err := start(t, dir).Close(ctx); err != nil {
		t.Fatal(err)
	}
	store, err := storage.Open(config(dir).Storage)
	if err != nil {
		t.Fatal(err)
	}
	wanted := entity.NewID()
	if err := errors.Join(store.Begin(storage.Work{Name: "recover", Cluster: wanted}), store.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.Open(config(dir).Storage); !fault.Is(err, fault.Conflict) {
		t.Errorf("half a recovery was opened: %v", err)
	}
	r := plan(t, dir)
	if !r.Resumes {
		t.Error("the recovery does not know that it resumes one")
	}
	if err := errors.Join(r.Run(ctx, false), r.Close()); err != nil {
		t.Fatal(err)
	}
	n := start(t, dir)
	if err := n.Close(ctx); err != nil || n.Cluster().ID != wanted {
		t.Errorf("cluster %s, wanted %s: %v", n.Cluster().ID, wanted, err)
	}
}
