package node

import (
	"context"
	"errors"
	"net"

	"github.com/trellisdb/trellis/node/peer"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// absent is the fault NotHere, with what it is about.
type absent struct {
	error
	partition entity.Partition
}

// Unwrap returns the fault.
func (a absent) Unwrap() error { return a.error }

// notHere says that this node has no replica of a partition.
func notHere(p entity.Partition) error {
	return absent{fault.New(fault.NotHere, "partition %d has no replica on this node", p), p}
}

// Here returns NotHere if this node has no replica of the partition of an
// application; other errors are left to whoever uses the application.
func (n *Node) Here(app entity.AppID) error {
	if p, ok := n.routes.Load(app); ok {
		if n.hosted(p.(entity.Partition)) == nil {
			return notHere(p.(entity.Partition))
		}
		return nil
	}
	p, err := n.partitionOf(context.Background(), app)
	if err == nil && n.hosted(p) == nil {
		return notHere(p)
	}
	return nil
}

// Elsewhere names a live node that has what an error said this one lacks.
func (n *Node) Elsewhere(err error) (string, bool) {
	var a absent
	if !errors.As(err, &a) {
		return "", false
	}
	place, err := n.placement(a.partition)
	if err != nil {
		return "", false
	}
	if at, ok := n.guesses.Load(a.partition); ok && n.alive(at.(entity.NodeID)) {
		if _, has := place.Replica(at.(entity.NodeID)); has && at != n.ID() {
			return string(at.(entity.NodeID)), true
		}
	}
	for _, r := range place.Replicas {
		if r.Node != n.ID() && n.alive(r.Node) {
			return string(r.Node), true
		}
	}
	return "", false
}

// DialAPI connects to the API of another node, over the port between nodes.
func (n *Node) DialAPI(ctx context.Context, node string) (net.Conn, error) {
	address, err := n.addressOf(entity.NodeID(node))
	if err != nil {
		return nil, err
	}
	return n.network.Dial(ctx, address, peer.LaneAPI)
}

// Forwarded is where requests that other nodes forward arrive; nil on a node that
// talks to nobody. The node closes it.
func (n *Node) Forwarded() net.Listener { return n.forwarded }
