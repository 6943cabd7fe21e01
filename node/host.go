package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/node/rpc"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// Pauses of the host: how often it looks whether the table of placements has
// changed, and how often it looks at everything.
const (
	hostPause = 50 * time.Millisecond
	hostRound = time.Second
)

// hosted returns this node's replica of a partition, nil if it runs none.
func (n *Node) hosted(p entity.Partition) *group {
	groups := *n.groups.Load()
	if int(p) >= len(groups) {
		return nil
	}
	return groups[p]
}

// running returns all replicas that run here, by partition.
func (n *Node) running() []*group {
	groups := *n.groups.Load()
	return slices.DeleteFunc(slices.Clone(groups), func(g *group) bool { return g == nil })
}

// setHosted makes g the replica of a partition, nil for none. The host alone calls it.
func (n *Node) setHosted(p entity.Partition, g *group) {
	groups := slices.Clone(*n.groups.Load())
	for int(p) >= len(groups) {
		groups = append(groups, nil)
	}
	groups[p] = g
	n.groups.Store(&groups)
}

// placements reads the whole table, as this node knows it.
func (n *Node) placements() ([]entity.Placement, error) {
	view := n.store.State().View(entity.System)
	list, err := storage.Placements(view)
	return list, errors.Join(err, view.Close())
}

// host runs the replicas that the table of placements gives to this node.
func (n *Node) host(ctx context.Context) {
	tick := time.NewTicker(hostPause)
	defer tick.Stop()
	var seen uint64
	var last time.Time
	for {
		version := n.hosted(entity.System).machine.Version(entity.Management).Principals
		if version != seen || time.Since(last) >= hostRound {
			seen, last = version, time.Now()
			if _, protocol, err := n.table(); err == nil {
				n.protocol.Store(protocol)
			}
			if err := n.hostAll(ctx); err != nil && ctx.Err() == nil {
				n.log.Warn("replicas are not as they are to be, trying again", "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// hostAll brings the replicas here in line with the table.
func (n *Node) hostAll(ctx context.Context) error {
	table, err := n.placements()
	if err != nil {
		return err
	}
	var errs []error
	var opening sync.WaitGroup
	var mu sync.Mutex
	opened := map[entity.Partition]*group{}
	for _, place := range table {
		if place.Partition == entity.System {
			continue // opened by the start, and kept until the node is removed
		}
		want, wanted := place.Replica(n.ID())
		has, err := n.store.Replica(place.Partition)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		switch {
		case has != 0 && (!wanted || want.Number != has):
			errs = append(errs, n.giveUp(ctx, &place, has))
		case wanted && n.hosted(place.Partition) == nil:
			opening.Go(func() {
				g, err := openGroup(n, place.Partition, want, firstServers(&place))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					errs = append(errs, err)
					return
				}
				opened[place.Partition] = g
			})
		}
	}
	opening.Wait()
	for p, g := range opened {
		n.setHosted(p, g)
	}
	return errors.Join(errs...)
}

// firstServers is the configuration with which a partition's group is formed; nil
// once it has been.
func firstServers(place *entity.Placement) []raft.Server {
	if place.Formed {
		return nil
	}
	list := make([]raft.Server, len(place.Replicas))
	for i, r := range place.Replicas {
		list[i] = server(r)
	}
	slices.SortFunc(list, func(a, b raft.Server) int { // the same on every node
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return list
}

// giveUp drops a replica that the table does not name any more, once its group
// has let go of it. Until then it goes on, as others may count on it.
func (n *Node) giveUp(ctx context.Context, place *entity.Placement, number uint32) error {
	p := place.Partition
	old := entity.Replica{Node: n.ID(), Number: number}
	g := n.hosted(p)
	if g == nil && !n.givingUp(p) { // after a restart
		var err error
		if g, err = openGroup(n, p, old, nil); err != nil {
			return err
		}
		n.setHosted(p, g)
	}
	if released, err := n.released(ctx, place, old); err != nil || !released {
		return err
	}
	if g != nil {
		n.setHosted(p, nil)
		if err := g.close(); err != nil {
			return fmt.Errorf("partition %d: close replica %d: %w", p, number, err)
		}
	}
	n.dropping = append(n.dropping, p)
	if err := n.store.Drop(ctx, p); err != nil {
		return fmt.Errorf("partition %d: drop replica %d: %w", p, number, err)
	}
	n.dropping = slices.DeleteFunc(n.dropping, func(other entity.Partition) bool { return other == p })
	n.log.Info("replica given up", "partition", p, "replica", number)
	return nil
}

// givingUp reports whether a drop of a partition failed before.
func (n *Node) givingUp(p entity.Partition) bool { return slices.Contains(n.dropping, p) }

// released reports whether the leader of a partition says that a replica does
// not belong to its group.
func (n *Node) released(ctx context.Context, place *entity.Placement, old entity.Replica) (bool, error) {
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	question := rpc.Replica{Partition: place.Partition, Server: old.ServerID()}
	for _, r := range place.Replicas {
		if r.Node == n.ID() {
			continue
		}
		k, err := n.links.to(r.Node)
		if err != nil {
			return false, err
		}
		if placed, err := k.client.Placed(ask, question); err == nil {
			return !placed, nil
		}
	}
	return false, nil // nobody who knows answers: again in the next round
}

// stayFresh confirms again and again that the replicas here follow their
// leaders. That they do is what makes a node ready, and how old a stale read
// can be at most.
func (n *Node) stayFresh(ctx context.Context) {
	tick := time.NewTicker(freshPause)
	defer tick.Stop()
	for {
		round, cancel := context.WithTimeout(ctx, indexTimeout)
		var all sync.WaitGroup
		for _, g := range n.running() {
			if !g.alone.Load() {
				all.Go(func() { _ = g.await(round, n.clock()) }) // what it comes to shows in the replica's freshness
			}
		}
		all.Wait()
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// freshPause is how often replicas confirm that they are up to date; staleAfter
// is when one that could not does not count as ready any more.
const (
	freshPause = 500 * time.Millisecond
	staleAfter = 5 * time.Second
)

// ready reports whether reads and writes of the replica's partition can be served
// through it: somebody leads, and the replica has lately been up to date.
func (g *group) ready() bool {
	if g.alone.Load() {
		return g.leads()
	}
	fresh := g.reads.fresh.Load()
	return fresh > 0 && g.node.clock()-fresh < int64(staleAfter)
}
