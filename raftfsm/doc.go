// Package raftfsm is the state machine of a partition: it runs committed
// commands in log order on the state DB.
//
// What it promises:
//
//   - Apply is pure. State and command alone decide an outcome: no clock, no
//     randomness, no map order, no setting. Replicas that applied the same log
//     hold the same bytes, however Raft cut the log into batches, and however
//     often they were restarted or restored in between.
//   - All of an entry or nothing. The effect of a batch, the outcomes in the
//     dedup window and the applied index are one write of the state DB.
//   - A retry does no harm. A request id that is in the dedup window gets the
//     recorded outcome. The window is measured in log entries, never in time.
//   - What a user can cause is an outcome, and then the command changed
//     nothing: handlers check first and write after. What a disk or an unknown
//     command causes halts the node: a replica that missed a write must not
//     answer.
//
// One file a family of commands: entities.go, settings.go, credentials.go,
// registry.go; run in machine.go is their flat switch. names.go keeps collections,
// their properties, settings and counters, indexes.go what changes beside the
// index entries of an entity, window.go the dedup window, merge.go the JSON of an
// update.
//
// The index entries of an entity are those of the plan that its record names. So
// what an update removes is known exactly, and a change of settings is another
// plan, which entities come to one after the other.
//
// The state DB has no write-ahead log, so a snapshot is a marker (snapshot.go):
// it makes the state durable and never copies it.
package raftfsm
