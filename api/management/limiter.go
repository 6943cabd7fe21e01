package management

import (
	"sync"
	"time"

	"github.com/trellisdb/trellis/storage/entity"
)

// limiter bounds how many mails anybody may have sent to an account: so many within a
// window. It remembers a bounded number of accounts, on this node.
type limiter struct {
	most   int
	window time.Duration
	max    int
	mu     struct {
		sync.Mutex
		sent map[entity.ID]sent
	}
}

// sent counts mails since the window began.
type sent struct {
	since time.Time
	n     int
}

func newLimiter(most int, window time.Duration, max int) *limiter {
	l := &limiter{most: most, window: window, max: max}
	l.mu.sent = map[entity.ID]sent{}
	return l
}

// take counts a mail to an account; false: it has had its mails.
func (l *limiter) take(id entity.ID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, known := l.mu.sent[id]
	if !known && len(l.mu.sent) >= l.max {
		l.forget(now)
	}
	if !known || now.Sub(s.since) >= l.window {
		s = sent{since: now}
	}
	if s.n >= l.most {
		return false
	}
	s.n++
	l.mu.sent[id] = s
	return true
}

// forget makes room: what is over goes, or if nothing is, anything.
func (l *limiter) forget(now time.Time) {
	for id, s := range l.mu.sent {
		if now.Sub(s.since) >= l.window {
			delete(l.mu.sent, id)
		}
	}
	for id := range l.mu.sent {
		if len(l.mu.sent) < l.max {
			return
		}
		delete(l.mu.sent, id)
	}
}
