package node

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// meteredLog is a raft.LogStore that counts what is appended and lets the
// queue wait until no append is under way.
type meteredLog struct {
	raft.LogStore
	writing  sync.RWMutex  // held for reading while an append is under way
	appended atomic.Uint64 // bytes since the node started
}

// StoreLog implements raft.LogStore.
func (l *meteredLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l *meteredLog) StoreLogs(entries []*raft.Log) error {
	l.writing.RLock()
	defer l.writing.RUnlock()
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

// idle returns when no append is under way.
func (l *meteredLog) idle() {
	l.writing.Lock()
	l.writing.Unlock() //nolint:staticcheck // passing through the lock is the wait
}
