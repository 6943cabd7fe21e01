// Package gossip lets the nodes of a cluster find one another.
//
// Every node tells the others a Peer: who it is, where it is reached, what it
// understands. Gossip spreads that, notices when a node falls silent, and wakes
// whoever watches. All of it is a hint. Nothing here decides who belongs to a
// cluster, who leads or who votes: Raft does.
//
// Underneath is hashicorp/memberlist. Around it the package sees to what the
// library leaves open:
//
//   - Everything is encrypted and authenticated with a key derived from the
//     cluster's secret; a stranger can neither join nor be heard, and the
//     streams a stranger opens are bounded in number, bytes and time.
//   - Two halves that have lost each other, or never met, do not find together
//     by themselves: addresses that belong to no living peer are tried again,
//     for ever.
//   - A node that comes back at another address is taken for itself as soon as
//     its old address has been dead for a while. Two living nodes under one id
//     are not: the first keeps the id.
//   - Nodes of another cluster, and what cannot be read, do not become peers.
//
// A node belongs to the cluster that its Peer names, or to none yet. A node of
// no cluster sees the members of any.
//
// memberlist calls back with its own lock held. The order is: updating,
// memberlist's, roster.mu; so memberlist is never called under roster.mu.
package gossip
