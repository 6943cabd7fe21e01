package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/node/placement"
	"github.com/trellisdb/trellis/node/rpc"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Pauses and bounds of what leaders do for their cluster.
const (
	managePause    = 500 * time.Millisecond
	hurriedPause   = 10 * time.Millisecond
	tendPause      = 250 * time.Millisecond
	changeTimeout  = 5 * time.Second
	caughtUpWithin = 512              // log entries a replica may lack and count as caught up
	leadAtLeast    = 10 * time.Second // before the lead is handed to whom the table prefers
	systemVoters   = 5
)

// manage does, while this node leads the system partition, what keeps the table
// of placements as it should be. It hurries while there is no table.
func (n *Node) manage(ctx context.Context) {
	for {
		pause := managePause
		if system := n.hosted(entity.System); !system.leads() {
			clear(n.lastSeen)
			clear(n.settled)
			pause = hurriedPause
		} else if placed, err := n.manageOnce(ctx); err != nil && ctx.Err() == nil {
			n.log.Debug("cluster not managed, trying again", "error", err)
		} else if !placed {
			pause = hurriedPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// manageOnce takes the next steps: the cluster's record, the first placements,
// then whatever changes members and their health ask for. It reports whether
// partitions are placed.
func (n *Node) manageOnce(ctx context.Context) (placed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if err := n.hosted(entity.System).await(ctx, n.clock()); err != nil {
		return false, err
	}
	cluster, err := n.ensureCluster(ctx)
	if err != nil {
		return false, err
	}
	members, protocol, err := n.table()
	if err != nil {
		return false, err
	}
	table, err := n.placements()
	if err != nil {
		return false, err
	}
	if len(table) == 0 {
		return false, n.placeFirst(ctx, cluster, members, protocol)
	}
	if err := n.raiseProtocol(ctx, members, protocol); err != nil {
		return false, err
	}
	reports := n.askReports(ctx, members)
	if formed := n.newlyFormed(table, reports); len(formed) > 0 {
		return true, n.setPlacements(ctx, formed)
	}
	return true, n.replan(ctx, members, table, reports)
}

// ensureCluster returns the cluster's record and writes it first if there is
// none.
func (n *Node) ensureCluster(ctx context.Context) (entity.Cluster, error) {
	cluster, found, err := n.readCluster()
	if err != nil || found {
		return cluster, err
	}
	cluster = entity.Cluster{ID: n.store.Identity().Cluster, Partitions: uint32(n.cfg.Partitions), Created: time.Now().UnixMilli()}
	if _, err := rand.Read(cluster.Key[:]); err != nil {
		return cluster, fmt.Errorf("make cluster key: %w", err)
	}
	if err := n.command(ctx, command.InitCluster{Cluster: cluster}); err != nil {
		return cluster, fmt.Errorf("write cluster record: %w", err)
	}
	cluster, found, err = n.readCluster() // an earlier one stands
	if err == nil && !found {
		err = fault.New(fault.Corrupt, "the cluster record was written and is not there")
	}
	return cluster, err
}

func (n *Node) readCluster() (entity.Cluster, bool, error) {
	view := n.store.State().View(entity.System)
	cluster, found, err := storage.ReadCluster(view)
	if err = errors.Join(err, view.Close()); err != nil {
		return cluster, found, fmt.Errorf("read cluster record: %w", err)
	}
	return cluster, found, nil
}

// command runs a command of the system partition; a refusal is an error.
func (n *Node) command(ctx context.Context, op command.Op) error {
	out, err := n.Propose(ctx, entity.Management, command.Command{Op: op})
	if err == nil && out.Fault != nil {
		return out.Fault
	}
	return err
}

// placeFirst makes the table of a new cluster, once all who formed it are members, and
// before it lets the cluster use what they understand: there is no time in which a new
// cluster does less than it can.
func (n *Node) placeFirst(ctx context.Context, cluster entity.Cluster, members []entity.Member, protocol uint32) error {
	known := map[entity.NodeID]bool{}
	for _, m := range members {
		known[m.ID] = m.State != entity.Removed
	}
	var system []entity.Replica
	for _, s := range n.hosted(entity.System).servers() {
		r, ok := entity.ParseServerID(string(s.ID))
		if !ok || !known[r.Node] {
			return fmt.Errorf("wait until %s is registered", s.ID)
		}
		r.Voter = s.Suffrage == raft.Voter
		system = append(system, r)
	}
	if err := n.raiseProtocol(ctx, members, protocol); err != nil {
		return err
	}
	return n.setPlacements(ctx, placement.Initial(members, cluster.Partitions, n.cfg.Replication, system))
}

// setPlacements writes placements, as many at a time as one command should have.
func (n *Node) setPlacements(ctx context.Context, list []entity.Placement) error {
	const most = 128
	for len(list) > 0 {
		head := list[:min(most, len(list))]
		if err := n.command(ctx, command.SetPlacements{Placements: head}); err != nil {
			return fmt.Errorf("place partitions: %w", err)
		}
		list = list[len(head):]
	}
	return nil
}

// raiseProtocol lets the cluster use what all its members understand.
func (n *Node) raiseProtocol(ctx context.Context, members []entity.Member, now uint32) error {
	all := uint32(Protocol)
	for _, m := range members {
		if m.State != entity.Removed {
			all = min(all, m.Protocol)
		}
	}
	if all <= now {
		return nil
	}
	return n.command(ctx, command.SetProtocol{Version: all})
}

// askReports asks all live nodes how they are. Who does not answer is left out.
func (n *Node) askReports(ctx context.Context, members []entity.Member) []Report {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	reports := []Report{n.Report()}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, m := range members {
		if m.State == entity.Removed || m.ID == n.ID() || !n.alive(m.ID) {
			continue
		}
		k, err := n.links.to(m.ID)
		if err != nil {
			continue
		}
		asking.Go(func() {
			var r Report
			if k.client.Report(ctx, &r) == nil {
				mu.Lock()
				defer mu.Unlock()
				reports = append(reports, r)
			}
		})
	}
	asking.Wait()
	return reports
}

// newlyFormed returns the placements of partitions that have a leader for the
// first time.
func (n *Node) newlyFormed(table []entity.Placement, reports []Report) []entity.Placement {
	led := map[entity.Partition]bool{}
	for i := range reports {
		for _, p := range reports[i].Partitions {
			if p.Role == roleLeader && p.Ready {
				led[p.Partition] = true
			}
		}
	}
	var list []entity.Placement
	for _, place := range table {
		if !place.Formed && led[place.Partition] {
			place.Formed = true
			place.Version++
			list = append(list, place)
		}
	}
	return list
}

// replan changes the table as the planner wants.
func (n *Node) replan(ctx context.Context, members []entity.Member, table []entity.Placement, reports []Report) error {
	now := n.clock()
	in := placement.Cluster{
		Placements: table, Unsettled: map[entity.Partition]bool{}, Load: map[entity.Partition]int64{},
		Replication: n.cfg.Replication, SystemVoters: systemVoters,
	}
	for _, m := range members {
		down := !n.alive(m.ID)
		if _, known := n.lastSeen[m.ID]; !down || !known {
			n.lastSeen[m.ID] = now
		}
		in.Nodes = append(in.Nodes, placement.Node{
			Member: m, Down: down, Dead: down && now-n.lastSeen[m.ID] > int64(n.cfg.Grace),
		})
	}
	n.noteSettled(table, reports)
	for _, place := range table {
		if n.settled[place.Partition] != place.Version {
			in.Unsettled[place.Partition] = true
		}
	}
	changes := placement.Plan(in)
	list := make([]entity.Placement, len(changes))
	for i, c := range changes {
		n.log.Info("placement changes", "partition", c.Placement.Partition, "why", c.Why)
		list[i] = c.Placement
	}
	return n.setPlacements(ctx, list)
}

// noteSettled remembers with which version of its placement each partition's leader
// has last agreed. While a group has no leader, what it said stands.
func (n *Node) noteSettled(table []entity.Placement, reports []Report) {
	for i := range reports {
		for _, p := range reports[i].Partitions {
			if p.Role != roleLeader {
				continue
			}
			for _, place := range table {
				if place.Partition != p.Partition {
					continue
				}
				if placement.Settled(place, p.servers()) {
					n.settled[p.Partition] = place.Version
				} else {
					delete(n.settled, p.Partition)
				}
			}
		}
	}
}

// tend brings, for every partition that this node leads, the configuration of
// its Raft group in line with the table.
func (n *Node) tend(ctx context.Context) {
	tick := time.NewTicker(tendPause)
	defer tick.Stop()
	for {
		table, err := n.currentPlacements(ctx)
		if err != nil && ctx.Err() == nil {
			n.log.Debug("table of placements not read", "error", err)
		}
		var tending sync.WaitGroup
		for _, place := range table {
			if g := n.hosted(place.Partition); g != nil && g.leads() {
				tending.Go(func() {
					if err := g.reconcile(ctx, &place); err != nil && ctx.Err() == nil {
						g.log.Info("configuration is not changed, trying again", "error", err)
					}
				})
			}
		}
		tending.Wait()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// currentPlacements reads the table once this node's replica of it is up to date: two
// leaders with tables of different age could hand the lead to and fro.
func (n *Node) currentPlacements(ctx context.Context) ([]entity.Placement, error) {
	ctx, cancel := context.WithTimeout(ctx, indexTimeout)
	defer cancel()
	if err := n.hosted(entity.System).await(ctx, n.clock()); err != nil {
		return nil, err
	}
	return n.placements()
}

// reconcile takes one step from the configuration of the group to what the
// table wants.
func (g *group) reconcile(ctx context.Context, want *entity.Placement) error {
	future := g.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return err
	}
	have := placementServers(future.Configuration().Servers)
	if len(have) == 1 && placement.Settled(*want, have) {
		return nil // most often: a node alone
	}
	step := placement.Reconcile(*want, have, g.standings(ctx, have), string(g.id))
	id, at := raft.ServerID(step.Server), raft.ServerAddress(step.Server)
	var change raft.Future
	switch step.Kind {
	case placement.None:
		return nil
	case placement.AddNonvoter:
		change = g.raft.AddNonvoter(id, at, future.Index(), changeTimeout)
	case placement.Promote:
		change = g.raft.AddVoter(id, at, future.Index(), changeTimeout)
	case placement.Demote:
		change = g.raft.DemoteVoter(id, future.Index(), changeTimeout)
	case placement.Remove:
		change = g.raft.RemoveServer(id, future.Index(), changeTimeout)
	case placement.Transfer:
		if _, wanted := want.Replica(g.replica.Node); wanted && time.Since(time.Unix(0, g.leadSince.Load())) < leadAtLeast {
			return nil
		}
		change = g.raft.LeadershipTransferToServer(id, at)
	}
	if err := change.Error(); err != nil {
		return fmt.Errorf("%s %s: %w", step.Kind, step.Server, err)
	}
	g.log.Info("configuration changed", "step", step.Kind.String(), "server", step.Server)
	return nil
}

func placementServers(list []raft.Server) []placement.Server {
	out := make([]placement.Server, len(list))
	for i, s := range list {
		out[i] = placement.Server{ID: string(s.ID), Voter: s.Suffrage == raft.Voter}
	}
	return out
}

// standings asks all servers of the group how far they are.
func (g *group) standings(ctx context.Context, have []placement.Server) map[string]placement.Standing {
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	commit, term := g.raft.CommitIndex(), g.raft.CurrentTerm()
	out := make(map[string]placement.Standing, len(have))
	type reply struct {
		server string
		s      rpc.Standing
		err    error
	}
	replies := make(chan reply, len(have))
	asked := 0
	for _, s := range have {
		if s.ID == string(g.id) {
			out[s.ID] = placement.Standing{Alive: true, CaughtUp: true}
			continue
		}
		r, ok := entity.ParseServerID(s.ID)
		if !ok || !g.node.alive(r.Node) {
			continue
		}
		k, err := g.node.links.to(r.Node)
		if err != nil {
			continue
		}
		asked++
		k.standing.submit(rpc.Replica{Partition: g.partition, Server: s.ID},
			func(a rpc.Standing, err error) { replies <- reply{s.ID, a, err} })
	}
	for range asked {
		select {
		case r := <-replies:
			if r.err == nil && r.s.Term != 0 {
				out[r.server] = placement.Standing{Alive: true, CaughtUp: r.s.Term == term && r.s.Applied+caughtUpWithin >= commit}
			}
		case <-ctx.Done():
			return out
		}
	}
	return out
}

// watchStalls ends the node, or only warns where nobody could take its lead, if
// a write of the log or an apply does not end: Raft's heartbeats go on beside
// them, and would keep a lead that does nothing.
func (n *Node) watchStalls(ctx context.Context) {
	tick := time.NewTicker(stallLook)
	defer tick.Stop()
	most := max(1, int(n.cfg.StallLimit/stallLook))
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, g := range n.running() {
			looks := max(g.entries.stall.look(), g.fsm.stall.look())
			if looks < most {
				continue
			}
			if g.alone.Load() {
				if looks == most {
					g.log.Error("the disk has not taken a write for seconds")
				}
				continue
			}
			n.halt(fmt.Errorf("partition %d: the disk has not taken a write for %s: others must take over", g.partition, n.cfg.StallLimit))
			return
		}
	}
}

// stallLook is how often it is looked whether writes end.
const stallLook = 500 * time.Millisecond
