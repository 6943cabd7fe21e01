package directory

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/trellisdb/trellis/api/auth"
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

// networkOf is what counts as one address: a whole /64 of IPv6 is at one's disposal as
// easily as one address of IPv4.
func networkOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address is known
	}
	return p
}

// counted is what wrong passwords are counted of: an account as strangers try it, an
// account from an address that has had its password right, or an address.
type counted struct {
	account account
	from    netip.Prefix
}

// throttle makes an account wait after wrong passwords, and an address after more of
// them, whatever the accounts: twice as long after each. It counts unknown names like
// known ones, and remembers a bounded number.
//
// Who has signed in before from an address is counted apart there, so that strangers
// who try his account do not keep him out.
type throttle struct {
	after, addressAfter int
	longest             time.Duration
	max                 int
	mu                  struct {
		sync.Mutex
		failures map[counted]failures
		familiar map[counted]struct{}
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

func newThrottle(after, addressAfter int, longest time.Duration, max int) *throttle {
	t := &throttle{after: after, addressAfter: addressAfter, longest: longest, max: max}
	t.mu.failures = make(map[counted]failures)
	t.mu.familiar = make(map[counted]struct{})
	return t
}

// attempt is one comparison of a password, and what it counts for.
type attempt struct {
	account account
	of      []counted
	after   []int // wrong passwords before each of them has to wait
	from    netip.Prefix
}

// begin returns TooManyRequests while an account or address has to wait. Otherwise the
// caller compares a password and says with end how that went. A burst must not
// be through before the first of it counts: what has had its wrong passwords gets one
// comparison at a time, anything else a bounded number of them.
func (t *throttle) begin(a account, from netip.Addr, now time.Time) (attempt, error) {
	at := attempt{account: a, from: networkOf(from)}
	t.mu.Lock()
	defer t.mu.Unlock()
	at.of, at.after = []counted{{account: a}}, []int{t.after}
	if at.from.IsValid() {
		pair := counted{a, at.from}
		if _, familiar := t.mu.familiar[pair]; familiar {
			at.of[0] = pair
		}
		at.of, at.after = append(at.of, counted{from: at.from}), append(at.after, t.addressAfter)
	}
	return at, t.admit(&at, now)
}

func (t *throttle) admit(at *attempt, now time.Time) error {
	for i, key := range at.of {
		f, after := t.mu.failures[key], at.after[i]
		if now.Before(f.until) || (f.count >= after && f.pending > 0) || f.pending >= burst*after {
			return fault.New(fault.TooManyRequests, "too many wrong passwords; try again later")
		}
	}
	for _, key := range at.of {
		f, known := t.mu.failures[key]
		if !known {
			makeRoom(t.mu.failures, t.max)
		}
		f.pending++
		t.mu.failures[key] = f
	}
	return nil
}

// makeRoom removes some entry of a map that is full.
func makeRoom[K comparable, V any](m map[K]V, most int) {
	if len(m) < most {
		return
	}
	for victim := range m {
		delete(m, victim)
		return
	}
}

// outcome is how the comparison of a password ended.
type outcome byte

const (
	undecided outcome = iota // nothing was compared
	right
	wrong
)

// end notes the outcome of what begin allowed. A right password clears its account,
// and not the address: who tries others' accounts may well have one of his own.
func (t *throttle) end(at *attempt, o outcome, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, key := range at.of {
		f := t.mu.failures[key]
		f.pending = max(0, f.pending-1)
		switch {
		case o == right && i == 0:
			f = failures{pending: f.pending}
		case o == wrong:
			f = t.missed(f, at.after[i], now)
		}
		if f.pending == 0 && f.count == 0 {
			delete(t.mu.failures, key)
			continue
		}
		t.mu.failures[key] = f
	}
	if o == right && at.from.IsValid() {
		pair := counted{at.account, at.from}
		if _, known := t.mu.familiar[pair]; !known {
			makeRoom(t.mu.familiar, t.max)
			t.mu.familiar[pair] = struct{}{}
		}
	}
}

// missed counts a wrong password.
func (t *throttle) missed(f failures, after int, now time.Time) failures {
	if now.Sub(f.last) > forgiven {
		f = failures{pending: f.pending}
	}
	f.count++
	f.last = now
	if over := f.count - after; over >= 0 {
		f.until = now.Add(min(time.Second<<min(over, 20), t.longest))
	}
	return f
}

// Mails of one account, and of one address, before further ones have to wait.
const (
	mailsOfAccount = 3
	mailsOfAddress = 20
)

// AllowMail counts a mail that somebody who has proved nothing asks for: to reset a
// password, to activate an account. TooManyRequests if there were too many for the
// account, by whichever name, or from the address of the request. It does not depend
// on whether there is such an account.
func (d *Directory) AllowMail(ctx context.Context, app entity.AppID, who string) error {
	return d.mails.count(accountOf(app, who), auth.AddressOf(ctx), d.now())
}

// count notes something that counts like a wrong password.
func (t *throttle) count(a account, from netip.Addr, now time.Time) error {
	at, err := t.begin(a, from, now)
	if err != nil {
		return fault.New(fault.TooManyRequests, "too many requests; try again later")
	}
	t.end(&at, wrong, now)
	return nil
}
