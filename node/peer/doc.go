// Package peer is the one TCP port of a node for everything between nodes.
//
// A connection belongs to a lane: the Raft of one partition, or RPC. Its two
// ends prove to each other that they know the cluster secret before a byte of
// payload is read, and only then is it handed to whoever listens on the lane.
// Strangers cost a bounded time, a bounded number of goroutines and some
// kilobytes of memory each, and learn a random number and the protocol's
// version.
//
// # Handshake
//
// Three flights, the acceptor's first; the frames are drawn in frames.go.
//
//	acceptor  →  challenge   nonce
//	dialler   →  hello       lane, nonce, cluster id, node id, proof
//	acceptor  →  answer      status, cluster id, node id, proof
//
// A proof is HMAC-SHA-256 (RFC 2104) under a key derived from the secret with
// HKDF-SHA-256 (RFC 5869), over the role of who gives it and everything both
// have said so far, protocol version included. So the dialler's covers both
// nonces, its own ids and the lane, and the acceptor's covers the same and its
// status and ids: bytes recorded from one connection prove nothing on another,
// what one role said proves nothing in the other, and a lane or an id that was
// changed on the way breaks the proof. The dialler proves first, since the
// acceptor tells a stranger nothing; for that reason the dialler's proof cannot
// cover ids of the acceptor, which it does not know yet.
//
// Whose proof is wrong is cut off without a word. Who has proved the secret is
// told by a status why it is refused: another cluster, nobody on the lane, or
// too many waiting there. The first payload may follow the answer.
//
// # What it does not do
//
// Without TLS what follows the handshake is neither encrypted nor
// authenticated record by record. Who can only connect to the port gets
// nowhere; who can change packets on the way, or gets a node to dial him and
// passes the handshake on to another, can read a connection and write into it.
// Configure TLS wherever the network between nodes is not trusted: then the
// proofs also cover the TLS channel (RFC 9266), and a handshake cannot be
// passed on.
//
// A dialler's hello shows its node id, cluster id and lane to whoever answers
// at the address, with a proof against which guesses of the secret can be
// tried. The secret must therefore be random and long (32 random bytes), not
// words.
//
// The secret says that a peer belongs to the cluster, not which node it is:
// every node can claim every id. A dialler who means a certain node compares
// RemoteID, since addresses move from node to node.
//
// A connection is given up when what was sent stays unacknowledged for two seconds
// (TCP_USER_TIMEOUT). On Linux that includes a receiver who reads nothing for so
// long while more is sent than the buffers of the two sockets hold, some
// megabytes: users keep reading, or are ready to dial again.
//
// # Locks
//
// Network.mu guards the lanes and what is under way, each lane's mu its queue;
// no two are held at once, and none across the network.
package peer
