// Package node hosts the replicas of one Trellis process and makes it a member
// of a cluster.
//
// Every partition is a Raft group of its own over the two stores of the node.
// Two doors lead to a partition: Propose, which puts a command through Raft
// wherever its leader is and answers with its outcome, and View, which gives a
// consistent read-only snapshot no older than the request asked for. Nothing
// else reads or writes a partition.
//
// The path of a write (route.go, queue.go): Propose encodes the command; the
// leader's bounded queue packs what waits into one log entry as soon as the one
// before has been applied, so that entries grow with the load; Raft commits, the
// state machine applies, and the outcomes travel back to the callers. A node
// that does not lead sends the command, with others bound for the same node, and
// tries again under the same request id when a leader changes or does not answer. A
// full queue is an answer (fault.Overloaded), never a wait.
//
// The path of a read (reads.go): the leader notes its commit index and has a
// majority confirm its term; the local replica applies up to that index; a Pebble
// snapshot is taken. One question serves all reads that wait for it. A node
// without a replica says so (fault.NotHere) and names one that has it.
//
// Who is in the cluster and where partitions lie is in the system partition, of
// which every node has a replica: membership.go gets the node in, host.go runs the
// replicas that the table gives it, manage.go keeps table and Raft configurations as
// they should be, by the pure functions of node/placement. Gossip says where nodes
// are and who is alive, and decides nothing. background.go runs the tasks of what
// the node leads.
//
// Lock order: none; no lock is held across Raft, disk, network or another lock, but
// for the one that keeps a node from promising itself to two clusters at once.
package node
