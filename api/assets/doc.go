// Package assets takes binary data in, keeps it in the cluster or in an object store,
// and gives it out again, piece by piece: no file is ever in memory as a whole.
//
// The way in: a Spool takes a body as it arrives into a file that nobody can see, and
// learns size, checksum and kind. Only what has arrived whole goes on: Store.Put sends
// it through Raft in chunks, or to the object store, where it is nobody's yet, and a
// task removes it some time later. The caller then gives it to an entity by one
// command, which ends the task: data shows whole or not at all. What little data fits
// into that command goes with it.
//
// The way out: Store.Open reads the data an entity had at one moment. Each piece is
// read through a view of its own, so that a slow client holds up nothing; if the entity
// gets other data meanwhile, the reader fails.
//
// What a form with files, a Range or an Accept header says is worked out here too,
// without any HTTP library.
package assets
