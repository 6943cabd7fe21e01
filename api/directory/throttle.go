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
	count   int
	pending int // passwords being compared
	last    time.Time
	until   time.Time
}

// burst is how many times the wrong passwords that an account may have are
// compared at once: many clients of one account may begin together.
const burst = 5

// forgiven is how long after the last wrong password an account is as new.
const forgiven = 15 * time.Minute

func newThrottle(after int, longest time.Duration, max int) *throttle {
	t := &throttle{after: after, longest: longest, max: max}
	t.mu.failures = make(map[account]failures)
	return t
}

// begin returns TooManyRequests while an account has to wait. Otherwise the
// caller compares a password and says with end how that went. A burst must not
// be through before the first of it counts: an account that has had its wrong
// passwords gets one comparison at a time, any other a bounded number of them.
func (t *throttle) begin(a account, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, known := t.mu.failures[a]
	if now.Before(f.until) || (f.count >= t.after && f.pending > 0) || f.pending >= burst*t.after {
		return fault.New(fault.TooManyRequests, "too many wrong passwords; try again later")
	}
	if !known && len(t.mu.failures) >= t.max {
		for victim := range t.mu.failures {
			delete(t.mu.failures, victim)
			break
		}
	}
	f.pending++
	t.mu.failures[a] = f
	return nil
}

// outcome is how the comparison of a password ended.
type outcome byte

const (
	undecided outcome = iota // nothing was compared
	right
	wrong
)

// end notes the outcome of what begin allowed.
func (t *throttle) end(a account, o outcome, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.mu.failures[a]
	f.pending = max(0, f.pending-1)
	switch {
	case o == right:
		f = failures{pending: f.pending}
	case o == wrong:
		f = t.missed(f, now)
	}
	if f.pending == 0 && f.count == 0 {
		delete(t.mu.failures, a)
		return
	}
	t.mu.failures[a] = f
}

// missed counts a wrong password.
func (t *throttle) missed(f failures, now time.Time) failures {
	if now.Sub(f.last) > forgiven {
		f = failures{pending: f.pending}
	}
	f.count++
	f.last = now
	if over := f.count - t.after; over >= 0 {
		f.until = now.Add(min(time.Second<<min(over, 20), t.longest))
	}
	return f
}
