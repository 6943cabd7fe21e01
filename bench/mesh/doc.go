// Package mesh gives each node of a cluster a network namespace of its own on
// this machine, and joins them by a switch inside this process, which can lose,
// delay, repeat and cut what goes between any two of them.
//
// The switch carries Ethernet frames between TAP devices, one a node and one
// for the harness. A bridge with netem and iptables would do the same inside
// the kernel, but many kernels come without netem, and what a process holds
// open goes away with it, however it ends: only empty namespaces can be left
// behind, and Open removes those of harnesses that are gone.
//
// The namespaces have no route to anywhere but one another and the harness, so
// no packet leaves the machine. The harness itself is never cut off: clients
// stay attached to a node that its peers cannot reach.
//
// It needs root, iproute2 and /dev/net/tun.
package mesh
