// Package node hosts the partitions of one Trellis process.
//
// Every partition is a Raft group of its own over the two stores of the node.
// Two doors lead to a partition: Propose, which puts a command through Raft
// and answers with its outcome, and View, which gives a consistent read-only
// snapshot no older than the request asked for. Nothing else reads or writes
// a partition.
//
// The path of a write: Propose encodes the command and puts it into the bounded
// queue of its partition; the partition's proposer packs what waits there into
// one log entry as soon as the one before has been applied, so that entries grow
// with the load; Raft commits, the state machine applies, and the outcomes
// travel back to the callers. A full queue is an answer (fault.Overloaded),
// never a wait.
//
// The path of a read: the partition's leader notes its commit index, the local
// state machine applies up to it, and a Pebble snapshot is taken.
//
// The node runs as a cluster of one. Lock order: none; no lock is held across
// Raft, disk or another lock.
package node
