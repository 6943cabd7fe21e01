// Package raftlog keeps what Raft itself remembers of one partition in the log
// DB: log entries, term and vote, and snapshots.
//
// # Promises
//
// What is stored is on disk when the call returns. Pairs of writes of which the
// library needs both or neither go in one: the term and the name of a vote, the
// first term and the first entry of a bootstrap. The log may have gaps and says
// nothing of raft.MonotonicLogStore: a monotonic one would lose entries behind
// a received snapshot that the library still counts on.
//
// A snapshot of this node's own state is a marker: index, term, configuration,
// and the promise that the state DB holds on disk all that came before. It has
// no bytes until a follower needs them; Open then writes the partition, as it
// stands at that moment, into a spool. A received snapshot is kept as it came
// until the state has it: if the node stops in between, storage.Open installs
// it, before Raft starts.
//
// The store must not be put behind raft.LogCache: receiving a snapshot rewrites
// the log entry at its index, which a cache would not see.
package raftlog
