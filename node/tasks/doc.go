// Package tasks runs background work: tasks that commands have recorded in a
// partition, step by step, by whoever leads the partition.
//
// What a handler can rely on:
//
//   - A step's effect happens exactly once. The handler reads, and returns what is
//     to change; effect and advance of the task are one command, which names the turn
//     of the task that the handler saw. After a crash, a change of leader or an
//     unknown outcome the step is run again, and of several proposals one is applied.
//   - What a handler does beside that (a mail sent, a command proposed to another
//     partition) happens at least once: it must be harmless to repeat.
//   - Steps of one task never overlap on one node; a leader that does not know yet
//     that it is none may still run one, whose proposal is then refused.
//   - A step that fails is tried again after a growing pause, and after so many
//     failures waits among the dead letters for a person. A panic is a failure.
//     Losing the lead or stopping is none.
//
// Of what is due, smaller priorities go first, and within one applications take
// turns; one look in eight begins at the other end, so that nothing starves. An
// application runs at most Config.PerApp steps at a time in a partition, and a node
// Config.Workers in all.
//
// One goroutine decides, and owns all state; steps run in goroutines of their own
// and report to it. Run ends when all have ended. The only lock guards what Wake and
// Stats share with it; nothing is called while it is held.
package tasks
