package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// taskHost is the node as the runner of background tasks sees it.
type taskHost struct{ n *Node }

// Led returns the partitions this node leads.
func (h taskHost) Led() (led []entity.Partition) {
	for _, g := range h.n.running() {
		if g.leads() {
			led = append(led, g.partition)
		}
	}
	return led
}

// View shows a partition as it has been applied here.
func (h taskHost) View(p entity.Partition) (*storage.View, error) {
	g := h.n.hosted(p)
	if g == nil {
		return nil, notHere(p)
	}
	return g.view()
}

// ProposeIn is Node.Propose in a partition, whatever the application.
func (h taskHost) ProposeIn(ctx context.Context, p entity.Partition, cmd command.Command) (command.Outcome, error) {
	return h.n.proposeIn(ctx, p, cmd)
}

// Propose is Node.Propose.
func (h taskHost) Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error) {
	return h.n.Propose(ctx, app, cmd)
}

// Led returns the partitions that this node leads, as far as it knows.
func (n *Node) Led() []entity.Partition { return taskHost{n}.Led() }

// Leads reports whether this node leads a partition, as far as it knows. It costs little.
func (n *Node) Leads(p entity.Partition) bool {
	g := n.hosted(p)
	return g != nil && g.leads()
}

// Applied returns a snapshot of a partition as this node has applied it, whether or not
// that is up to date: for work in the background, which looks again. The caller closes
// it soon. Fault: NotHere.
func (n *Node) Applied(p entity.Partition) (*storage.View, error) { return taskHost{n}.View(p) }

// startTasks makes the runner; its work begins with Run.
func (n *Node) startTasks() (err error) {
	cfg := n.cfg.Tasks
	cfg.Log = n.cfg.Log
	n.tasks, err = tasks.New(cfg, taskHost{n})
	return err
}

// TaskStats returns the figures of background tasks on this node, by kind.
func (n *Node) TaskStats() []tasks.Counts { return n.tasks.Stats() }

// PartitionTask is a task and the partition that owns it.
type PartitionTask struct {
	Partition entity.Partition `json:"partition"`
	Task      entity.Task      `json:"task"`
}

// TaskList is what nodes say of the tasks of the partitions they lead. It crosses
// between nodes as JSON.
type TaskList struct {
	Tasks []PartitionTask `json:"tasks"`
	More  bool            `json:"more"` // there are more than are listed
	// Partitions whose leaders have answered: of others nothing is known now.
	Partitions []entity.Partition `json:"partitions"`
}

// maxListed bounds how many tasks of a state a partition lists.
const maxListed = 200

// ledTasks lists the tasks of the partitions that this node leads, without their
// bodies, which belong to their handlers.
func (n *Node) ledTasks() (list TaskList, err error) {
	for _, p := range (taskHost{n}).Led() {
		view, err := (taskHost{n}).View(p)
		if err != nil {
			continue // just given up
		}
		for _, state := range []entity.TaskState{entity.TaskDead, entity.TaskReady} {
			found, more, readErr := storage.Tasks(view, state, maxListed)
			err = errors.Join(err, readErr)
			list.More = list.More || more
			for _, t := range found {
				t.Body = nil
				list.Tasks = append(list.Tasks, PartitionTask{Partition: p, Task: t})
			}
		}
		if err = errors.Join(err, view.Close()); err != nil {
			return TaskList{}, err
		}
		list.Partitions = append(list.Partitions, p)
	}
	return list, nil
}

// Tasks lists the background tasks of all partitions whose leaders answer, dead ones
// first, up to 200 of a state in a partition.
func (n *Node) Tasks(ctx context.Context) (TaskList, error) {
	all, err := n.ledTasks()
	if err != nil {
		return TaskList{}, err
	}
	members, _, err := n.table()
	if err != nil {
		return TaskList{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, m := range members {
		if m.ID == n.ID() || m.State == entity.Removed || !n.alive(m.ID) {
			continue
		}
		k, err := n.links.to(m.ID)
		if err != nil {
			continue
		}
		asking.Go(func() {
			var list TaskList
			if k.client.Tasks(ctx, &list) != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all.Tasks = append(all.Tasks, list.Tasks...)
			all.Partitions = append(all.Partitions, list.Partitions...)
			all.More = all.More || list.More
		})
	}
	asking.Wait()
	return all, nil
}

// CancelTask removes a task of a partition. Faults: those of Propose, EntityNotFound.
func (n *Node) CancelTask(ctx context.Context, p entity.Partition, id entity.ID) error {
	return n.aboutTask(ctx, p, command.CancelTask{ID: id})
}

// RetryTask makes a task that has failed due now. Faults: those of Propose,
// EntityNotFound, Conflict.
func (n *Node) RetryTask(ctx context.Context, p entity.Partition, id entity.ID) error {
	return n.aboutTask(ctx, p, command.RetryTask{ID: id})
}

func (n *Node) aboutTask(ctx context.Context, p entity.Partition, op command.Op) error {
	out, err := n.proposeIn(ctx, p, command.Command{App: entity.NoApp, Op: op})
	if err == nil && out.Fault != nil {
		err = out.Fault
	}
	return err
}

// proposeIn puts a command through Raft in a partition. Its application is the
// command's.
func (n *Node) proposeIn(ctx context.Context, p entity.Partition, cmd command.Command) (command.Outcome, error) {
	if n.stopping.Load() {
		return command.Outcome{}, stopping()
	}
	if n.diskFull.Load() {
		if g := n.hosted(p); g != nil && g.leads() {
			return command.Outcome{}, diskFull()
		}
	}
	if needs := cmd.Protocol(); needs > max(1, n.protocol.Load()) {
		return command.Outcome{}, fault.New(fault.NotImplemented, "not before every node of the cluster has been upgraded")
	}
	if cmd.Request == (command.RequestID{}) {
		cmd.Request = command.RequestID(entity.NewID())
	}
	if cmd.Time == 0 {
		cmd.Time = time.Now().UnixMilli()
	}
	ctx, cancel := bound(ctx, n.cfg.ProposeTimeout)
	defer cancel()
	return n.propose(ctx, p, command.AppendCommand(nil, &cmd))
}
