// Package rpc carries what nodes ask of each other beside Raft: proposals on
// their way to a leader, read indexes, terms, and the few words that form a
// cluster.
//
// It is HTTP between nodes, over connections that the caller's dialler and
// listener have authenticated. What is asked for every request of a client,
// proposals, read indexes and standings, is binary and asks for many at once;
// the rest is JSON. Messages carry no version of their own: nodes agree on one
// through the protocol version of their cluster.
//
// A call either has an answer or an error. An error says nothing about what the
// other node did: whoever proposes repeats the proposal under its request id.
package rpc
