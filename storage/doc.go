// Package storage keeps everything a node has on disk: two Pebble databases
// shared by all its partitions, beside an identity file and a file of
// high-water marks.
//
//	identity   who this node is; written last at the first start
//	creating   there during the first start, until the identity is
//	unfinished there during a restore or a recovery: nothing else may be done
//	LOCK       held while the store is open
//	state/     state DB: what the state machines have built; no write-ahead log
//	log/       log DB: Raft logs, votes, markers; every write synced
//	marks      per partition, how far the log DB had come; kept beside it
//	spool/     snapshots being sent, received or restored
//
// # Promises
//
// What Log acknowledges is on disk. What a Batch commits is visible at once and
// whole, and survives a crash only from the next Flush on: the Raft log is the
// write-ahead log of the state DB. Therefore the log of a partition is
// truncated only up to a marker, and a marker is set only when the state DB
// holds on disk all that the marker covers.
//
// Absence is not damage and damage is not absence: a store that is missing
// beside its identity, a log that has gone back behind its mark and a state
// behind its marker are refusals to start. A snapshot that was received but
// not installed before a crash is installed by Open.
//
// Replicas come and go. A replica is adopted under its number before anything of
// it is written, and dropped as a whole: a crash leaves all of it or, once Open
// has finished the drop, nothing. The next one begins from nothing.
//
// A disk error or damaged bytes that make it unsafe to go on call Config.Halt.
// Nothing that waits for a failed write is ever told that it succeeded: if Halt
// returns, the goroutine that met the error is parked for good.
//
// The package knows nothing of Raft and of what keys and values mean to a state
// machine, apart from the typed reads in records.go. Nobody else imports Pebble.
//
// # Locks
//
// logPart.mu orders the writes of one partition's log and is held across their
// sync; marks.mu is taken inside it. State.restores is held while a partition
// is replaced or dropped; a drop takes logPart.mu inside it. No two partitions'
// locks are ever held together.
package storage
