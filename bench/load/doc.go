// Package load drives operations against a server and measures how long they
// take.
//
// In a closed loop each connection begins its next operation when the last one
// is answered: this finds the throughput, and its latencies are those of a
// server that is never asked faster than it answers. In an open loop
// operations are due at a fixed rate whatever the server does; the latency of
// each counts from the moment it was due, not from when a connection was free
// to send it, so a stall of the server shows in every operation it delayed (no
// coordinated omission). Operations that were due and never sent count too,
// each with the time it has waited in vain.
//
// Every attempt is in the histogram, answered well or not; errors are counted
// by status beside it. Throughput counts only what succeeded.
package load
