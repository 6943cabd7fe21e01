package node

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/trellisdb/trellis/node/peer"
	"github.com/trellisdb/trellis/node/rpc"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

// Time-outs and widths of what is asked of another node. A proposal takes as
// long as its commit; the rest is answered from memory.
const (
	dialTimeout     = time.Second
	proposeCalls    = 4
	proposeTimeout  = 5 * time.Second
	indexCalls      = 2
	indexTimeout    = 2 * time.Second
	standingCalls   = 2
	standingTimeout = 500 * time.Millisecond
)

// link is the way to one other node.
type link struct {
	client   *rpc.Client
	propose  coalescer[rpc.Proposal, rpc.Verdict]
	index    coalescer[entity.Partition, rpc.Index]
	standing coalescer[rpc.Replica, rpc.Standing]
}

func newLink(dial func(context.Context) (net.Conn, error)) *link {
	l := &link{client: rpc.NewClient(dial, dialTimeout)}
	l.propose = coalescer[rpc.Proposal, rpc.Verdict]{
		call: l.client.Propose, calls: proposeCalls, count: rpc.MaxProposals, timeout: proposeTimeout,
		size: func(p rpc.Proposal) int { return len(p.Data) }, maxSize: rpc.MaxBytes,
	}
	l.index = coalescer[entity.Partition, rpc.Index]{call: l.client.ReadIndex, calls: indexCalls, count: 1024, timeout: indexTimeout}
	l.standing = coalescer[rpc.Replica, rpc.Standing]{call: l.client.Standings, calls: standingCalls, count: 1024, timeout: standingTimeout}
	return l
}

func (l *link) close() {
	l.propose.close()
	l.index.close()
	l.standing.close()
	l.client.Close()
}

// links are the ways to all other nodes, made when they are first needed.
type links struct {
	network *peer.Network // nil: this node talks to nobody
	address func(entity.NodeID) (string, error)

	mu struct {
		sync.RWMutex
		to     map[entity.NodeID]*link
		closed bool
	}
}

func newLinks(network *peer.Network, address func(entity.NodeID) (string, error)) *links {
	l := &links{network: network, address: address}
	l.mu.to = make(map[entity.NodeID]*link)
	return l
}

// to returns the way to a node.
func (l *links) to(id entity.NodeID) (*link, error) {
	l.mu.RLock()
	k, ok := l.mu.to[id]
	l.mu.RUnlock()
	if ok {
		return k, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if k, ok := l.mu.to[id]; ok {
		return k, nil
	}
	if l.mu.closed {
		return nil, stopping()
	}
	if l.network == nil {
		return nil, fmt.Errorf("reach node %s: this node has no cluster secret and talks to nobody", id)
	}
	k = newLink(func(ctx context.Context) (net.Conn, error) {
		address, err := l.address(id)
		if err != nil {
			return nil, err
		}
		return l.network.Dial(ctx, address, peer.LaneRPC)
	})
	l.mu.to[id] = k
	return k, nil
}

// at calls a node of which only the address is known.
func (l *links) at(address string) (*rpc.Client, error) {
	if l.network == nil {
		return nil, fmt.Errorf("reach %s: this node has no cluster secret and talks to nobody", address)
	}
	return rpc.NewClient(func(ctx context.Context) (net.Conn, error) {
		return l.network.Dial(ctx, address, peer.LaneRPC)
	}, dialTimeout), nil
}

func (l *links) close() {
	l.mu.Lock()
	l.mu.closed = true
	all := l.mu.to
	l.mu.to = nil
	l.mu.Unlock()
	for _, k := range all {
		k.close()
	}
}

// addressOf says where a node can be reached now: gossip knows it first, the
// table of members also when nobody gossips.
func (n *Node) addressOf(id entity.NodeID) (string, error) {
	if n.gossip != nil {
		if p, ok := n.gossip.Peer(id); ok && p.ClusterAddr != "" {
			return p.ClusterAddr, nil
		}
	}
	view := n.store.State().View(entity.System)
	m, ok, err := storage.ReadMember(view, id)
	if closed := view.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return "", fmt.Errorf("find node %s: %w", id, err)
	}
	if !ok || m.ClusterAddr == "" {
		return "", fmt.Errorf("find node %s: nobody knows its address", id)
	}
	return m.ClusterAddr, nil
}
