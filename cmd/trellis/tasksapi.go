package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/node"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// tasksRoute answers /system/tasks/… for the superuser.
//
//	GET    /system/tasks             background tasks: state, progress, last error
//	PUT    /system/tasks/{id}/retry  run one now that has failed
//	DELETE /system/tasks/{id}        cancel one, whatever its state
func tasksRoute(req *wire.Request, n *node.Node, s []string) (*wire.Reply, error) {
	switch method := req.Method(); {
	case len(s) == 0 && method == "GET":
		return showTasks(req, n)
	case len(s) == 2 && s[1] == "retry" && method == "PUT":
		return changeTask(req, n, s[0], "retry task")
	case len(s) == 1 && method == "DELETE":
		return changeTask(req, n, s[0], "cancel task")
	}
	return nil, fault.New(fault.NotFound, "no such resource")
}

// taskView is a task as GET /system/tasks shows it.
type taskView struct {
	ID          string `json:"id"` // partition, a dash, UUID
	Kind        string `json:"kind"`
	State       string `json:"state"` // ready or dead
	Partition   uint32 `json:"partition"`
	Application uint32 `json:"application"` // number; 0: none, the partition's own
	Priority    int    `json:"priority"`    // smaller ones first
	Created     int64  `json:"created"`     // ms since the epoch
	NotBefore   int64  `json:"notBefore"`   // when the next step is due, ms since the epoch
	Steps       uint64 `json:"steps"`       // done
	Attempts    uint32 `json:"attempts"`    // failures since the last step that was done
	Done        uint64 `json:"done"`        // progress, in units of the kind
	Total       uint64 `json:"total"`       // 0: not known
	LastError   string `json:"lastError,omitempty"`
}

func showTasks(req *wire.Request, n *node.Node) (*wire.Reply, error) {
	list, err := n.Tasks(req.Context())
	if err != nil {
		return nil, err
	}
	views := make([]taskView, 0, len(list.Tasks))
	for i := range list.Tasks {
		p, t := list.Tasks[i].Partition, &list.Tasks[i].Task
		views = append(views, taskView{
			ID: taskID(p, t.ID), Kind: t.Kind, State: t.State.String(), Partition: uint32(p), Application: uint32(t.App),
			Priority: int(t.Priority), Created: t.Created, NotBefore: t.NotBefore, Steps: t.Step, Attempts: t.Attempts,
			Done: t.Done, Total: t.Total, LastError: t.LastError,
		})
	}
	slices.SortStableFunc(views, func(a, b taskView) int { // dead ones first, as a partition lists them
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Partition, b.Partition))
	})
	slices.Sort(list.Partitions)
	return wire.Management("get tasks").Field("data", map[string]any{
		"tasks": views, "more": list.More, "partitions": list.Partitions,
	}), nil
}

func changeTask(req *wire.Request, n *node.Node, text, action string) (*wire.Reply, error) {
	p, id, ok := parseTaskID(text)
	if !ok || uint32(p) > n.Cluster().Partitions {
		return nil, fault.New(fault.EntityNotFound, "no task has this id")
	}
	change := n.CancelTask
	if action == "retry task" {
		change = n.RetryTask
	}
	if err := change(req.Context(), p, id); err != nil {
		return nil, err
	}
	return wire.Management(action).Field("status", "ok").Field("data", map[string]string{"id": taskID(p, id)}), nil
}

// taskID is how clients name a task: its partition, a dash, and its UUID.
func taskID(p entity.Partition, id entity.ID) string {
	return strconv.FormatUint(uint64(p), 10) + "-" + id.String()
}

func parseTaskID(s string) (entity.Partition, entity.ID, bool) {
	number, text, _ := strings.Cut(s, "-")
	p, err := strconv.ParseUint(number, 10, 32)
	id, ok := entity.ParseID(text)
	return entity.Partition(p), id, ok && err == nil
}
