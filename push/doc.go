// Package push sends notifications: it finds the devices that one is for, hands what
// is on its way to them to the services of their makers, and keeps count.
//
// What a caller can rely on:
//
//   - Everything that must outlive a node lies in the partition of the application: the
//     notification, its task (entity.TaskPush), and a record of each delivery. Step is
//     the handler of the task. What is in memory here is what the node that leads the
//     partition is doing now; the next leader finds the rest in the records and goes on.
//   - A device gets a notification at most once, save for what was handed to a service
//     while the lead changed or a node died, before the outcome was written. The id of
//     a message is the same each time.
//   - Each notifier of an application has a pool of its own, with a bound on what is in
//     flight: a service that hangs or refuses costs those who send through that
//     notifier. Within a pool notifications take turns.
//   - Of a broadcast, however large, some thousand deliveries at most are in memory.
//   - What has become of deliveries is gathered and written in few commands, at most
//     Config.Settlers of a pool at a time. Requests of clients wait for none of it.
//   - A node that has lost the lead of a partition begins no delivery any more.
//
// # Goroutines and locks
//
// One goroutine a pool decides, and owns its state; sends and writes run in goroutines
// of their own and report to it. lane.mu guards what the pools of an application share
// with the steps of its tasks, Engine.mu the lanes and the number of pools. lane.mu may
// be held when Engine.mu or busy.mu is taken, not the other way round. None is held
// across Raft, disk or network.
//
// The clients of the services are in push/provider and beside it.
package push
