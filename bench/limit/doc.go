// Package limit measures what the machine allows, so that a workload can be
// judged as a share of it: the same requests answered by a bare fasthttp
// handler, and the same bytes committed by hashicorp/raft on Pebble with
// nothing around them.
//
// Both run in a process of their own, as the server does. They use the
// server's libraries and none of its code: a log store of one synced Pebble
// batch per append, a state store without a write-ahead log that sets one key
// an entry. A Raft group of several nodes has them all in one process, which
// spares it what processes cost, and sends what it replicates over real TCP
// connections on loopback.
package limit
