// Package cluster runs the nodes of a cluster as processes of their own on
// this machine, and does to them what machines and networks do: kill, stop,
// pause, wipe, cut off, slow down.
//
// Processes listen on loopback, or, with Config.Network, each on an address of
// its own inside a network namespace (package mesh), which is what faults of
// the network need. Everything started here ends with the harness: Close ends
// it in order, and processes are told by the kernel if the harness dies.
//
// Who leads is read from GET /status (Replica). A server that does not say
// leaves the choice to the caller.
package cluster
