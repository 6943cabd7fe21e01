package transport

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// holdPoll is how often a held append looks whether the node still leads. Raft
// waits for held appends when it shuts down.
const holdPoll = 25 * time.Millisecond

// contacts wakes those who wait for a peer to answer a heartbeat.
type contacts struct {
	mu struct {
		sync.Mutex
		waiting map[raft.ServerID]chan struct{}
	}
}

// next returns a channel that is closed at the next contact with id.
func (c *contacts) next(id raft.ServerID) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.waiting == nil {
		c.mu.waiting = make(map[raft.ServerID]chan struct{})
	}
	ch, ok := c.mu.waiting[id]
	if !ok {
		ch = make(chan struct{})
		c.mu.waiting[id] = ch
	}
	return ch
}

// made says that id has answered a heartbeat.
func (c *contacts) made(id raft.ServerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch, ok := c.mu.waiting[id]; ok {
		close(ch)
		delete(c.mu.waiting, id)
	}
}

// hold waits until a heartbeat to id succeeds, this node does not lead in term
// any more, the transport is closed, or Config.Hold is over.
func (t *Transport) hold(id raft.ServerID, term uint64) {
	answered := t.contact.next(id)
	limit := time.NewTimer(t.cfg.Hold)
	defer limit.Stop()
	poll := time.NewTicker(holdPoll)
	defer poll.Stop()
	for {
		select {
		case <-answered:
			return
		case <-t.closed:
			return
		case <-limit.C:
			return
		case <-poll.C:
			s := t.standing.Load()
			if s != nil && ((*s).State() != raft.Leader || (*s).CurrentTerm() != term) {
				return
			}
		}
	}
}
