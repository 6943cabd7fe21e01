package directory

import (
	"strings"
	"sync"
	"time"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// account is one account of an application, by the name it was tried under.
type account struct {
	app  entity.AppID
	name string
}

func accountOf(app entity.AppID, name string) account {
	name = strings.ToLower(strings.TrimSpace(name))
	if len(name) > 256 {
		name = name[:256]
	}
	return account{app, name}
}

// throttle makes an account wait after wrong passwords: twice as long after
// each. It counts unknown names like known ones, and remembers a bounded number.
type throttle struct {
	after   int
	longest time.Duration
	max     int
	mu      struct {
		sync.Mutex
		failures map[account]failures
	}
}

type failures struct {
	count int
	last  time.Time
	until time.Time
}

// forgiven is how long after the last wrong password an account is as new.
const forgiven = 15 * time.Minute

func newThrottle(after int, longest time.Duration, max int) *throttle {
	t := &throttle{after: after, longest: longest, max: max}
	t.mu.failures = make(map[account]failures)
	return t
}

// allow returns TooManyRequests while an account has to wait.
func (t *throttle) allow(a account, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f, ok := t.mu.failures[a]; ok && now.Before(f.until) {
		return fault.New(fault.TooManyRequests, "too many wrong passwords; try again later")
	}
	return nil
}

// record notes how a sign-in ended.
func (t *throttle) record(a account, ok bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok {
		delete(t.mu.failures, a)
		return
	}
	f, known := t.mu.failures[a]
	if !known && len(t.mu.failures) >= t.max {
		for victim := range t.mu.failures {
			delete(t.mu.failures, victim)
			break
		}
	}
	if now.Sub(f.last) > forgiven {
		f = failures{}
	}
	f.count++
	f.last = now
	if over := f.count - t.after; over >= 0 {
		f.until = now.Add(min(time.Second<<min(over, 20), t.longest))
	}
	t.mu.failures[a] = f
}
