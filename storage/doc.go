// Package storage keeps a node's bytes: two Pebble databases shared by all its
// partitions, beside an identity file and a file of high-water marks.
//
// The log DB holds the Raft log and Raft's stable store, with a write-ahead log
// that is synced before an append returns. The state DB holds everything else
// and has no write-ahead log: the Raft log is its log. A batch of the state DB
// carries the applied index of its partition, so after a crash a partition
// stands at some earlier applied index, whole, and Raft replays the rest. That
// is sound only while the log reaches back to what the state DB has flushed:
// Flush first, then let the log go.
//
// Nothing here decides what a key means; storage/keys draws them, records.go
// reads the common ones. Nobody else imports Pebble.
//
// Damage is told from absence: a store that is missing while the identity is
// there, a log shorter than its high-water mark, a state behind its marker is
// a refusal to open, never an empty store.
package storage
