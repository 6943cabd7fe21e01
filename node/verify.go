package node

import (
	"context"
	"encoding/hex"
	"sync"

	"github.com/trellisdb/trellis/node/rpc"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// ReplicaDigest is the state hash of a replica.
type ReplicaDigest struct {
	Node    entity.NodeID `json:"node"`
	Applied uint64        `json:"applied"` // log index
	Keys    uint64        `json:"keys"`
	Sum     string        `json:"sum"`             // SHA-256 of all keys and values, hex
	Error   string        `json:"error,omitempty"` // why there is no digest
}

// verifyTries is how often replicas are compared anew because writes came in between.
const verifyTries = 5

// VerifyTimeout is how long the states of large partitions may take to be read.
const VerifyTimeout = rpc.DigestTimeout

// Verify compares the state hashes of all replicas of a partition, and reports
// whether all have the same at the same log index. Every replica reads its whole
// state for it, checksums included. While writes go on, replicas are seldom at
// the same index: then they do not agree, and the digests say where they are. ctx
// should have VerifyTimeout: a gigabyte takes seconds.
// Faults: NoQuorum, EntityNotFound.
func (n *Node) Verify(ctx context.Context, p entity.Partition) (digests []ReplicaDigest, agree bool, err error) {
	place, err := n.placement(p)
	if err != nil {
		return nil, false, err
	}
	if len(place.Replicas) == 0 {
		return nil, false, fault.New(fault.EntityNotFound, "there is no partition %d", p)
	}
	var least uint64
	if g := n.hosted(p); g != nil {
		if err := g.await(ctx, n.clock()); err != nil {
			return nil, false, err
		}
		least = g.machine.Applied()
	}
	for range verifyTries {
		digests = n.digests(ctx, &place, least)
		agree = true
		for _, d := range digests {
			least = max(least, d.Applied)
			agree = agree && d.Error == "" && d.Applied == digests[0].Applied && d.Sum == digests[0].Sum
		}
		if agree || ctx.Err() != nil {
			break
		}
	}
	return digests, agree, nil
}

// digests asks all replicas, in the order of the placement.
func (n *Node) digests(ctx context.Context, place *entity.Placement, least uint64) []ReplicaDigest {
	out := make([]ReplicaDigest, len(place.Replicas))
	var asking sync.WaitGroup
	for i, r := range place.Replicas {
		asking.Go(func() {
			q := rpc.Digest{Partition: place.Partition, Least: least}
			var err error
			if r.Node == n.ID() {
				out[i], err = n.serveDigest(ctx, q)
			} else {
				var k *link
				if k, err = n.links.to(r.Node); err == nil {
					err = k.client.Digest(ctx, q, &out[i])
				}
			}
			out[i].Node = r.Node
			if err != nil {
				out[i].Error = err.Error()
			}
		})
	}
	asking.Wait()
	return out
}

// serveDigest hashes the replica here once it has come to an index.
func (n *Node) serveDigest(ctx context.Context, q rpc.Digest) (ReplicaDigest, error) {
	g := n.hosted(q.Partition)
	if g == nil {
		return ReplicaDigest{}, notHere(q.Partition)
	}
	if err := g.machine.WaitApplied(ctx, q.Least); err != nil {
		return ReplicaDigest{}, fault.Wrap(err, fault.Timeout, "partition %d has not come to log index %d here", q.Partition, q.Least)
	}
	d, err := n.store.State().Digest(ctx, q.Partition)
	if err != nil {
		return ReplicaDigest{}, err
	}
	return ReplicaDigest{Node: n.ID(), Applied: d.Applied, Keys: d.Keys, Sum: hex.EncodeToString(d.Sum[:])}, nil
}
