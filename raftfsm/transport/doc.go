// Package transport carries Raft messages between nodes, around
// raft.NetworkTransport of hashicorp/raft 1.8.0, which by itself is unsafe in
// two places and slow in another.
//
// It keeps four rules.
//
// A heartbeat takes the library's fast path, beside Raft's main loop, only at
// a follower that already stands at the heartbeat's term; there it changes no
// more than the time of last contact. Every other heartbeat goes through the
// main loop like any other message. Without this rule a heartbeat can change
// term and state while the main loop is at work (hashicorp/raft issue 695): a
// leader that was replaced takes an entry under a term it never won, or a
// voter goes back to a term it has left.
//
// A failed append or snapshot is reported only once a heartbeat to that peer
// has succeeded, or the node does not lead in that term any more, or after
// Config.Hold. The library counts reports and sleeps up to ten seconds after
// them, which nothing interrupts.
//
// A pipeline of appends ends with the first refusal, because the library's reader
// does: its sender could otherwise wait for ever for room that nobody makes, and
// the follower would get no entry until the leader changes.
//
// A Raft address is a node's id. It is resolved when dialling, so a node may
// come back under another address without a change of configuration.
//
// # How the fast path is kept from racing
//
// Looking at term and state and handing over the heartbeat happen under the
// read side of a gate. Two things leave the state Follower in the main loop.
// A time-out makes a candidate, which asks for pre-votes before it takes a new
// term; RequestPreVote passes the write side of the gate once, so a heartbeat
// that still saw a follower is finished by then, and later ones see the
// candidate. A TimeoutNow message makes a candidate that asks for no
// pre-votes; the gate is shut from before Raft sees the message until it has
// answered. A node that is the only voter asks nobody, but then nobody else
// can lead.
//
// # What it does not do
//
// It does not authenticate peers and does not share a port between partitions:
// that is the business of the raft.StreamLayer it is given. Dial gets the
// resolved address. Alone is such a layer for a cluster of one, which listens
// nowhere.
package transport
