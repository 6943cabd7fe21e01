package node

import (
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// meteredLog is a raft.LogStore that counts what is appended.
type meteredLog struct {
	raft.LogStore
	appended atomic.Uint64 // bytes since the node started
}

// StoreLog implements raft.LogStore.
func (l *meteredLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l *meteredLog) StoreLogs(entries []*raft.Log) error {
	if err := l.LogStore.StoreLogs(entries); err != nil {
		return err
	}
	var n uint64
	for _, e := range entries {
		n += uint64(len(e.Data))
	}
	l.appended.Add(n)
	return nil
}
