// Package placement decides which nodes hold which partitions, and how a Raft
// group gets from the servers it has to those it should have.
//
// Two pure functions do it, and run again whenever something may have changed:
//
//	members, table, health  ──Plan──▶       next version of a few placements   (leader of the system partition)
//	placement, configuration ─Reconcile─▶   next step of one group             (leader of that group)
//
// Neither remembers anything. What has been decided is in the table and in the
// Raft configurations; whoever leads next goes on from there. The same input in
// another order gives the same result.
//
// # The system partition
//
// It has a replica on every member. Up to SystemVoters of them vote, an odd
// number of those that are active and alive, from as many zones as possible; who
// votes already is preferred. Draining and dead members vote only where
// there would be fewer than three voters without, and the dead never so many
// that the living would be no majority. A removed member loses its vote at once,
// but keeps following while it is alive and may have a part in another group:
// it has to see in the table that it should hand that over.
//
// # Application partitions
//
// Replicas belong on nodes that are active and not dead, at most one on each,
// Replication of them or as many as there are nodes. A node gets some once it has
// one of the system partition. Zones come first, then
// the number of replicas of a node, then their load.
//
//   - A change adds at most one replica to a partition, the newest by number, and
//     the next waits until that one votes.
//   - Who can still serve leaves after its successor votes, in a change of its
//     own: the replica of a draining or removed node, one that moves for
//     balance. If the successor dies on the way, nothing has been given up.
//   - Who is dead leaves in the change that names its successor.
//   - Without a node that could take its place, the replica of a dead node stays:
//     it may come back, and the majority is counted with it, as before. That of a
//     draining node stays too: draining doesn't cost copies. That of a
//     removed node goes. The last one that is alive never goes, nor do dead ones
//     stay that would be as many as the living.
//   - Nothing changes while a partition is not formed, while a majority of its
//     voters is dead, or while it is unsettled. Of the last there are two
//     exceptions, without which it could stay so for ever. A replica on a dead
//     node is replaced, or given up, if an older one is alive: it may be the target
//     of a change that isn't finished. And one is added if the living are
//     no majority of what is wanted, since the group then keeps who else is in it.
//   - A partition gets replicas for the sake of balance only when nothing in the
//     cluster is unsettled and nothing needs repair, one at a time, and never
//     on account of a node that is merely down.
//
// The first replica is to lead. It is one on a usable node whenever there is one,
// and the nodes' shares are as equal as the replicas allow. A node that is down
// for a moment keeps its places: Raft elects another leader by itself, and hands
// the lead back only once the preferred one has caught up.
//
// # Changes of a group
//
// One at a time: wanted servers join without a vote, get one when they have
// caught up, and then those not wanted lose theirs, the dead first and the leader
// last, who hands over the lead for it. See Reconcile.
//
// If the table wants another replica of a node whose present one still votes,
// because it was to go and now is to stay, the present one stands for it. If it is
// dead or has no vote it leaves first, since a node runs one replica of a
// partition at a time.
//
// # What the caller owes
//
// A node deletes its copy of a partition only when the group's committed
// configuration no longer has it; that the table doesn't want it, or wants
// another number, is not enough. A server is alive in Reconcile's sense if the
// node runs the replica of this very number.
//
// A leader asks Reconcile only while its node's copy of the system partition is
// up to date. Two leaders that went by different versions of the table could hand
// the lead to and fro, and one that was removed would never learn of it.
package placement
