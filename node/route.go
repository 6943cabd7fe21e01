package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/node/rpc"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Pauses between tries of a proposal that found no leader. A change of leader
// ends a pause at once.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = 100 * time.Millisecond
)

// propose brings an encoded command to the leader of its partition, wherever
// that is, as often as it takes: the request id in it makes the retry harmless.
// Faults: Overloaded, DiskFull and Stopping, nothing was done; NoQuorum and Timeout, the
// outcome may be unknown.
func (n *Node) propose(ctx context.Context, p entity.Partition, data []byte) (command.Outcome, error) {
	pause := shortestPause
	for try := 0; ; try++ {
		if try > 0 {
			n.traffic.retried.Add(1)
		}
		out, changed, err := n.proposeOnce(ctx, p, data, try)
		if err == nil || !worthRetrying(err) || n.stopping.Load() {
			return out, err
		}
		if ctx.Err() != nil {
			return out, fault.Wrap(err, fault.NoQuorum, "the write was not confirmed in time, it may still happen")
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
			pause = min(2*pause, longestPause)
		case <-changed:
			pause = shortestPause
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return out, fault.Wrap(err, fault.NoQuorum, "the write was not confirmed in time, it may still happen")
		}
	}
}

// elsewhere says that a proposal must be tried again: at another leader, or
// because it is not known what became of it.
type elsewhere struct{ error }

func (e elsewhere) Unwrap() error { return e.error }

func worthRetrying(err error) bool {
	var e elsewhere
	return errors.As(err, &e) || errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) ||
		errors.Is(err, raft.ErrLeadershipTransferInProgress) || errors.Is(err, raft.ErrRaftShutdown)
}

// proposeOnce tries where the leader is thought to be. changed is closed when
// somebody else is known to lead; it may be nil.
func (n *Node) proposeOnce(ctx context.Context, p entity.Partition, data []byte, try int) (command.Outcome, <-chan struct{}, error) {
	g := n.hosted(p)
	if g != nil && g.leads() {
		out, err := g.queue.propose(ctx, data)
		if fault.Is(err, fault.Stopping) && !n.stopping.Load() { // the replica is given up
			err = elsewhere{err}
		}
		return out, g.leader.Load().changed, err
	}
	to, changed, err := n.leaderOf(p, g, try)
	if err != nil {
		return command.Outcome{}, changed, elsewhere{err}
	}
	if to == n.ID() {
		return command.Outcome{}, changed, elsewhere{fault.New(fault.NoQuorum, "partition %d has just been won, try again", p)}
	}
	k, err := n.links.to(to)
	if err != nil {
		return command.Outcome{}, changed, elsewhere{fault.Wrap(err, fault.NoQuorum, "the leader of partition %d cannot be reached", p)}
	}
	n.traffic.forwarded.Add(1)
	verdict, err := k.propose.askWhile(ctx, changed, rpc.Proposal{Partition: p, Data: data})
	switch {
	case err != nil:
		n.guess(p, "")
		return command.Outcome{}, changed, elsewhere{fault.Wrap(err, fault.NoQuorum, "the leader of partition %d does not answer", p)}
	case verdict.NotLeader:
		n.guess(p, verdict.Leader)
		return command.Outcome{}, changed, elsewhere{fault.New(fault.NoQuorum, "partition %d has no leader yet, try again", p)}
	case verdict.Fault == nil:
		n.guess(p, to)
		return verdict.Outcome, changed, nil
	case verdict.Fault.Code == fault.Overloaded, verdict.Fault.Code == fault.DiskFull:
		return command.Outcome{}, changed, verdict.Fault
	default: // stopping, or not confirmed there
		return command.Outcome{}, changed, elsewhere{verdict.Fault}
	}
}

// leaderOf says which node is thought to lead a partition. Without a replica
// here, the nodes that are to have one are tried in turn.
func (n *Node) leaderOf(p entity.Partition, g *group, try int) (entity.NodeID, <-chan struct{}, error) {
	if g != nil {
		known := g.leader.Load()
		if r, ok := entity.ParseServerID(string(known.server)); ok {
			return r.Node, known.changed, nil
		}
		return "", known.changed, fault.New(fault.NoQuorum, "partition %d has no leader, try again", p)
	}
	if at, ok := n.guesses.Load(p); ok && at != entity.NodeID("") {
		return at.(entity.NodeID), nil, nil
	}
	place, err := n.placement(p)
	if err != nil {
		return "", nil, err
	}
	if len(place.Replicas) == 0 {
		return "", nil, fault.New(fault.NoQuorum, "partition %d is not placed yet, try again", p)
	}
	return place.Replicas[try%len(place.Replicas)].Node, nil, nil
}

// guess remembers which node leads a partition that has no replica here.
func (n *Node) guess(p entity.Partition, at entity.NodeID) {
	if n.hosted(p) == nil {
		n.guesses.Store(p, at)
	}
}

// placement reads where a partition is to be, as this node knows.
func (n *Node) placement(p entity.Partition) (entity.Placement, error) {
	view := n.store.State().View(entity.System)
	place, _, err := storage.ReadPlacement(view, p)
	return place, errors.Join(err, view.Close())
}

// services answer what other nodes ask.
func (n *Node) services() rpc.Services {
	return rpc.Services{
		Propose:   n.servePropose,
		ReadIndex: n.serveReadIndex,
		Standings: n.serveStandings,
		Join:      n.serveJoin,
		Adopt:     n.serveAdopt,
		Placed:    n.servePlaced,
		Digest:    func(ctx context.Context, q rpc.Digest) (any, error) { return n.serveDigest(ctx, q) },
		Spool:     n.serveSpool,
		Report:    func() any { return n.Report() },
		Tasks:     func() (any, error) { return n.ledTasks() },
	}
}

// servePropose puts proposals of other nodes into the queues of this one, all
// before it waits for the first.
func (n *Node) servePropose(ctx context.Context, list []rpc.Proposal) []rpc.Verdict {
	verdicts := make([]rpc.Verdict, len(list))
	waits := make([]*proposal, len(list))
	for i := range list {
		g := n.hosted(list[i].Partition)
		switch {
		case g == nil || !g.leads():
			verdicts[i] = n.notLeading(g)
		case n.diskFull.Load():
			verdicts[i].Fault = diskFull()
		default:
			var err error
			if waits[i], err = g.queue.enqueue(list[i].Data); err != nil {
				verdicts[i].Fault = faultOf(err)
			}
		}
	}
	for i, p := range waits {
		if p == nil {
			continue
		}
		out, err := p.wait(ctx)
		switch {
		case err == nil:
			verdicts[i].Outcome = out
		case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
			verdicts[i] = n.notLeading(n.hosted(list[i].Partition))
		default:
			verdicts[i].Fault = faultOf(err)
		}
	}
	return verdicts
}

func (n *Node) notLeading(g *group) rpc.Verdict {
	return rpc.Verdict{NotLeader: true, Leader: n.hint(g)}
}

// hint returns who leads a group, if that is known and not this node.
func (n *Node) hint(g *group) entity.NodeID {
	if g == nil {
		return ""
	}
	r, ok := entity.ParseServerID(string(g.leader.Load().server))
	if !ok || r.Node == n.ID() {
		return ""
	}
	return r.Node
}

func faultOf(err error) *fault.Error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	return fault.Wrap(err, fault.NoQuorum, "the write was not confirmed, it may still happen")
}

// serveReadIndex confirms for other nodes that this one leads. Their questions and
// this node's own reads share rounds.
func (n *Node) serveReadIndex(ctx context.Context, list []entity.Partition) []rpc.Index {
	asked := make(map[entity.Partition]*confirmation, len(list)) // many ask for the same
	for _, p := range list {
		if _, ok := asked[p]; ok {
			continue
		}
		asked[p] = nil
		if g := n.hosted(p); g != nil && g.leads() {
			asked[p] = g.confirm()
		}
	}
	indexes := make([]rpc.Index, len(list))
	for i, p := range list {
		if c := asked[p]; c != nil {
			select {
			case <-c.done:
				if c.err == nil {
					indexes[i] = c.index
					continue
				}
			case <-ctx.Done():
			}
		}
		indexes[i].Leader = n.hint(n.hosted(p))
	}
	return indexes
}

// serveStandings says how far replicas of this node are.
func (n *Node) serveStandings(list []rpc.Replica) []rpc.Standing {
	out := make([]rpc.Standing, len(list))
	for i, r := range list {
		if g := n.hosted(r.Partition); g != nil && string(g.id) == r.Server && !g.closed.Load() {
			out[i] = rpc.Standing{Term: g.raft.CurrentTerm()}
			if !n.diskFull.Load() { // else nobody is to count on it
				out[i].Applied = g.machine.Applied()
			}
		}
	}
	return out
}

// servePlaced says whether a replica belongs to a group that is led here.
func (n *Node) servePlaced(ctx context.Context, r rpc.Replica) (bool, error) {
	g := n.hosted(r.Partition)
	if g == nil || !g.leads() {
		return false, fault.New(fault.NoQuorum, "partition %d is not led here", r.Partition)
	}
	if _, err := g.leaderIndex(ctx); err != nil {
		return false, err
	}
	for _, s := range g.servers() {
		if string(s.ID) == r.Server {
			return true, nil
		}
	}
	return false, nil
}
