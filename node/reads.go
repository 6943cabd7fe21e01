package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/node/rpc"
	"github.com/trellisdb/trellis/raftfsm/transport"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// reads makes linearizable reads of one replica possible: it knows up to which
// moment the replica is known to be complete, and finds out anew for all
// reads that wait at once.
type reads struct {
	// fresh: the replica shows all that was acknowledged before this moment, in
	// ns since the node started.
	fresh atomic.Int64

	running sync.WaitGroup
	mu      struct {
		sync.Mutex
		next   *confirmation // the question is not sent yet
		asking bool
		closed bool
	}
}

// confirmation is one question for a read index, and those who wait for it.
type confirmation struct {
	done  chan struct{}
	began int64 // ns since the node started: the question was sent later
	index rpc.Index
	err   error
}

// readRetry is how long a read waits before it asks again for a read index.
const readRetry = 15 * time.Millisecond

// close refuses further questions and waits for the one under way.
func (r *reads) close() {
	r.mu.Lock()
	r.mu.closed = true
	r.mu.Unlock()
	r.running.Wait()
}

// advance notes that the replica is complete up to a moment.
func (r *reads) advance(to int64) {
	for {
		now := r.fresh.Load()
		if now >= to || r.fresh.CompareAndSwap(now, to) {
			return
		}
	}
}

// clock is the node's monotonic clock, in ns since it started.
func (n *Node) clock() int64 { return int64(time.Since(n.started)) }

// since turns a time of this process into one of the node's clock.
func (n *Node) since(t time.Time) int64 { return int64(t.Sub(n.started)) }

// await returns once the replica shows all that was acknowledged before a moment.
// Faults: NoQuorum, Timeout.
func (g *group) await(ctx context.Context, since int64) error {
	if g.alone.Load() {
		return g.awaitAlone()
	}
	for {
		if g.reads.fresh.Load() >= since {
			return nil
		}
		c := g.confirm()
		select {
		case <-c.done:
		case <-ctx.Done():
			return g.late(ctx)
		}
		if c.err == nil {
			if err := g.machine.WaitApplied(ctx, c.index.Index); err != nil {
				return g.late(ctx)
			}
			g.reads.advance(c.began)
			continue
		}
		if fault.Is(c.err, fault.Stopping) {
			return c.err
		}
		known := g.leader.Load()
		select {
		case <-time.After(readRetry):
		case <-known.changed:
		case <-ctx.Done():
			return fault.Wrap(c.err, fault.NoQuorum, "partition %d has no leader that a majority follows, try again", g.partition)
		}
	}
}

func (g *group) late(ctx context.Context) error {
	if g.ctx.Err() != nil {
		return stopping()
	}
	return fault.Wrap(context.Cause(ctx), fault.NoQuorum, "partition %d did not confirm the read in time, try again", g.partition)
}

// awaitAlone is await where this replica is the whole group: no later leader can exist and
// no other replica can be ahead, so what is applied here is all that was
// ever acknowledged, and nothing needs asking.
func (g *group) awaitAlone() error {
	if !g.leads() {
		return fault.New(fault.NoQuorum, "partition %d has no leader yet, try again", g.partition)
	}
	return nil
}

// confirm joins the next question for a read index. The question is sent after
// confirm was called.
func (g *group) confirm() *confirmation {
	r := &g.reads
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.next == nil {
		r.mu.next = &confirmation{done: make(chan struct{})}
	}
	c := r.mu.next
	if r.mu.closed {
		r.mu.next = nil
		c.err = stopping()
		close(c.done)
		return c
	}
	if !r.mu.asking {
		r.mu.asking = true
		r.running.Go(g.askIndexes)
	}
	return c
}

// askIndexes sends questions until nobody waits for one.
func (g *group) askIndexes() {
	r := &g.reads
	for {
		r.mu.Lock()
		c := r.mu.next
		r.mu.next = nil
		if c == nil {
			r.mu.asking = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		c.began = g.node.clock()
		ctx, cancel := context.WithTimeout(g.ctx, indexTimeout)
		c.index, c.err = g.findIndex(ctx)
		cancel()
		close(c.done)
	}
}

// findIndex returns a read index from the leader, wherever it is.
func (g *group) findIndex(ctx context.Context) (rpc.Index, error) {
	if g.leads() {
		return g.leaderIndex(ctx)
	}
	known := g.leader.Load()
	at, ok := entity.ParseServerID(string(known.server))
	if !ok || at.Node == g.replica.Node {
		return rpc.Index{}, fault.New(fault.NoQuorum, "partition %d has no leader", g.partition)
	}
	k, err := g.node.links.to(at.Node)
	if err != nil {
		return rpc.Index{}, fault.Wrap(err, fault.NoQuorum, "partition %d: its leader cannot be reached", g.partition)
	}
	g.node.traffic.asked.Add(1)
	x, err := k.index.askWhile(ctx, known.changed, g.partition)
	if err != nil {
		return rpc.Index{}, fault.Wrap(err, fault.NoQuorum, "partition %d: its leader does not answer", g.partition)
	}
	if !x.OK {
		return rpc.Index{}, fault.New(fault.NoQuorum, "partition %d: its leader has changed", g.partition)
	}
	g.learn(ctx, &x)
	return x, nil
}

// learn tells Raft what the leader has committed, so that a read need not wait
// until Raft itself says so.
func (g *group) learn(ctx context.Context, x *rpc.Index) {
	if g.machine.Applied() >= x.Index || g.raft.CommitIndex() >= x.Index ||
		g.raft.State() != raft.Follower || g.raft.CurrentTerm() != x.Term {
		return
	}
	_ = g.trans.Learn(ctx, transport.Commit{
		Leader: raft.ServerID(x.Server), Term: x.Term, Index: x.Index, IndexTerm: x.IndexTerm,
	}) // if Raft does not take it, it learns by itself a little later
}

// leaderIndex returns the read index of this replica, which leads, and makes sure
// that it still leads (design section 5). The commit index is noted first; then
// a majority is asked for its term. If it still stands at this leader's, no
// later one was elected before the question, and all that was acknowledged by
// then lies at or before the index.
func (g *group) leaderIndex(ctx context.Context) (rpc.Index, error) {
	term := g.readableTerm.Load()
	if term == 0 || g.raft.State() != raft.Leader {
		return rpc.Index{}, fault.New(fault.NoQuorum, "partition %d is not led here", g.partition)
	}
	index := g.raft.CommitIndex()
	if err := g.confirmTerm(ctx, term); err != nil {
		return rpc.Index{}, err
	}
	// Looked at last: this server is one of the majority.
	if g.raft.CurrentTerm() != term || g.raft.State() != raft.Leader {
		return rpc.Index{}, fault.New(fault.NoQuorum, "partition %d is not led here any more", g.partition)
	}
	// All entries from the term-start command on are of this term, and the commit
	// index lies at or behind it.
	return rpc.Index{OK: true, Server: string(g.id), Term: term, Index: index, IndexTerm: term}, nil
}

// confirmTerm asks the other voters for their term until a majority, this
// replica included, is known to stand at it.
func (g *group) confirmTerm(ctx context.Context, term uint64) error {
	var others []entity.Replica
	voters, self := 0, false
	for _, s := range g.servers() {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s.ID == g.id {
			self = true
			continue
		}
		if r, ok := entity.ParseServerID(string(s.ID)); ok {
			others = append(others, r)
		}
	}
	need := voters/2 + 1
	if self {
		need--
	}
	if need <= 0 {
		return nil
	}
	g.node.traffic.confirmed.Add(1)
	type reply struct {
		standing rpc.Standing
		err      error
	}
	replies := make(chan reply, len(others)) // takes all of them, awaited or not
	for _, r := range others {
		k, err := g.node.links.to(r.Node)
		if err != nil {
			replies <- reply{err: err}
			continue
		}
		k.standing.submit(rpc.Replica{Partition: g.partition, Server: r.ServerID()},
			func(s rpc.Standing, err error) { replies <- reply{s, err} })
	}
	for range others {
		select {
		case r := <-replies:
			if r.err != nil {
				continue
			}
			if r.standing.Term > term {
				return fault.New(fault.NoQuorum, "partition %d is not led here any more", g.partition)
			}
			if r.standing.Term == term {
				if need--; need == 0 {
					return nil
				}
			}
		case <-ctx.Done():
			return fault.Wrap(context.Cause(ctx), fault.NoQuorum, "partition %d: no majority answers", g.partition)
		}
	}
	return fault.New(fault.NoQuorum, "partition %d: no majority follows this node", g.partition)
}
