package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/storage/fault"
)

// TestOneNodeOfAName: a node is not taken in beside another of its name, and is
// once that one is gone: it may have been this one, before it lost its disk.
func TestOneNodeOfAName(t *testing.T) {
	c := newCluster(t, 4, func(i int, cfg *node.Config) {
		if i == 3 {
			cfg.Name, cfg.NameWait = "n2", 300*time.Millisecond
		}
	})
	c.start(3, 0, 1, 2)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	twin := c.config(3, 1)
	if n, err := node.Start(ctx, twin); !fault.Is(err, fault.Conflict) {
		if n != nil {
			c.nodes[3] = n
		}
		t.Fatalf("a second node of the name: %v", err)
	}

	twin.NameWait = patience
	started := make(chan error, 1)
	go func() {
		n, err := node.Start(ctx, twin)
		c.nodes[3] = n
		started <- err
	}()
	select {
	case err := <-started:
		t.Fatalf("started beside the other: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	c.stop(1)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
}
