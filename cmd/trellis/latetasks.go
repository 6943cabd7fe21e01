package main

import (
	"sync/atomic"

	"github.com/trellisdb/trellis/api/directory"
	"github.com/trellisdb/trellis/node/tasks"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// lateTasks are kinds of tasks that need what is made only once the node has started:
// until then their steps fail and are tried again.
type lateTasks struct {
	directory atomic.Pointer[directory.Directory]
}

func (l *lateTasks) kinds() []tasks.Kind {
	return []tasks.Kind{tasks.Reseal(l.reseal)}
}

func (l *lateTasks) reseal(owner entity.ID, kind byte, sealed []byte) ([]byte, bool, error) {
	d := l.directory.Load()
	if d == nil {
		return nil, false, fault.New(fault.Stopping, "the node is starting")
	}
	return d.Reseal(owner, kind, sealed)
}
