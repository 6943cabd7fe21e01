package transport

import (
	"context"

	"github.com/hashicorp/raft"
)

// Stand makes the Raft instance that consumes from this transport a candidate at
// once, as if its leader had handed the lead over. It is for a group whose only
// voter is this one: there is nobody to wait for.
func (t *Transport) Stand(ctx context.Context) error {
	t.shutGate(true)
	defer t.shutGate(false)
	return t.inject(ctx, &raft.TimeoutNowRequest{RPCHeader: t.header(t.cfg.ID)})
}

// Commit is what the leader of a term says has been committed.
type Commit struct {
	Leader    raft.ServerID
	Term      uint64 // of the leader
	Index     uint64 // committed
	IndexTerm uint64 // of the entry at Index
}

// Learn tells the Raft instance that consumes from this transport what its
// leader has committed. It is an append without entries that the leader itself
// could have sent: a follower learns of a commit otherwise only with the next
// append, or after one to two commit time-outs. A log that does not hold the
// entry stays as it is. Call it only with what a leader said of its own term.
func (t *Transport) Learn(ctx context.Context, c Commit) error {
	return t.inject(ctx, &raft.AppendEntriesRequest{
		RPCHeader:         t.header(c.Leader),
		Term:              c.Term,
		PrevLogEntry:      c.Index,
		PrevLogTerm:       c.IndexTerm,
		LeaderCommitIndex: c.Index,
	})
}

func (t *Transport) header(from raft.ServerID) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(from), Addr: []byte(from)}
}

// inject gives a message to Raft's main loop and waits for the answer, which is
// dropped.
func (t *Transport) inject(ctx context.Context, message any) error {
	answer := make(chan raft.RPCResponse, 1)
	select {
	case t.consume <- raft.RPC{Command: message, RespChan: answer}:
	case <-t.closed:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case a := <-answer:
		return a.Error
	case <-t.closed:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
