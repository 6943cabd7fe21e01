package directory

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/trellisdb/trellis/storage/fault"
)

func TestParseAuthorization(t *testing.T) {
	basic := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tc := range []struct {
		header string
		want   authorization
	}{
		{"", authorization{}},
		{"Bearer x", authorization{bearer: "x"}},
		{"bEARER  x ", authorization{bearer: "x"}},
		{"Bearer", authorization{}},
		{"Bearer x, Bearer y", authorization{bearer: "x"}},
		{"Basic " + basic("a:b:c"), authorization{basic: true, name: "a", secret: "b:c"}},
		{"Basic " + strings.TrimRight(basic("a:bc"), "="), authorization{basic: true, name: "a", secret: "bc"}},
		{"basic " + basic("a:") + ",Bearer x", authorization{bearer: "x", basic: true, name: "a"}},
		{"Basic " + basic("a"), authorization{basic: true, name: "a"}},
		{"Basic %", authorization{basic: true}},
		{"Basic " + basic("\xff:x"), authorization{basic: true}},
		{"Digest x", authorization{}},
		{",,, ,", authorization{}},
	} {
		if got := parseAuthorization(tc.header); got != tc.want {
			t.Errorf("%q: %+v, want %+v", tc.header, got, tc.want)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add("Basic YTpi, Bearer x")
	f.Fuzz(func(t *testing.T, header string) {
		a := parseAuthorization(header)
		if a.bearer != "" && !strings.Contains(header, a.bearer) {
			t.Errorf("%q has no token %q", header, a.bearer)
		}
		if !a.basic && (a.name != "" || a.secret != "") {
			t.Errorf("%q: %+v", header, a)
		}
	})
}

func TestIsEmail(t *testing.T) {
	for s, want := range map[string]bool{
		"a@b.org": true, "A.b+c%d'e-f_g@x-y.co": true, "a@b.c.info": true,
		"a": false, "@b.org": false, "a@b": false, "a@.org": false, "a@b.o": false, "a@b.o1": false, "a@b@c.org": false, "a b@c.org": false, "": false,
	} {
		if IsEmail(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache[int, string](3)
	for i := range 100 {
		c.put(i, fmt.Sprint(i), uint64(i))
		c.put(i, fmt.Sprint(i, "again"), uint64(i))
		if v, version, ok := c.get(i); !ok || v != fmt.Sprint(i, "again") || version != uint64(i) {
			t.Fatalf("%d: %q %d %v", i, v, version, ok)
		}
	}
	if n := len(c.mu.entries); n != 3 {
		t.Errorf("%d entries", n)
	}
}

// tries is a throttle and the clock of its test.
type tries struct {
	*throttle

	t   *testing.T
	now time.Time
}

func (x *tries) one(a account, from string, o outcome) error {
	x.t.Helper()
	var addr netip.Addr
	if from != "" {
		addr = netip.MustParseAddr(from)
	}
	at, err := x.begin(a, addr, x.now)
	if err == nil {
		x.end(&at, o, x.now)
	}
	return err
}

// fail tries a wrong password, and returns how long the account then has to wait.
func (x *tries) fail(a account, from string) time.Duration {
	x.t.Helper()
	if err := x.one(a, from, wrong); err != nil {
		x.t.Fatalf("%v at %v", err, x.now)
	}
	for wait := time.Duration(0); ; wait += time.Second {
		if x.one(a, from, undecided) == nil {
			return wait
		}
		x.now = x.now.Add(time.Second)
	}
}

func TestThrottle(t *testing.T) {
	x := &tries{newThrottle(3, 100, 8*time.Second, 2), t, time.Unix(1_700_000_000, 0)}
	a, b := accountOf(16, "Lee"), accountOf(17, "lee")
	for i, want := range []time.Duration{0, 0, 1, 2, 4, 8, 8} {
		if got := x.fail(a, ""); got != want*time.Second {
			t.Errorf("after %d wrong passwords: %v, want %v s", i+1, got, int(want))
		}
	}
	if err := x.one(b, "", undecided); err != nil {
		t.Errorf("another application's lee: %v", err)
	}
	first, err := x.begin(a, netip.Addr{}, x.now)
	if err != nil {
		t.Error(err)
	}
	if err := x.one(a, "", undecided); !fault.Is(err, fault.TooManyRequests) {
		t.Errorf("a second try beside the first: %v", err)
	}
	x.end(&first, undecided, x.now)
	if err := x.one(accountOf(16, " LEE "), "", right); err != nil {
		t.Error(err)
	}
	if got := x.fail(a, ""); got != 0 {
		t.Errorf("after a right password: %v", got)
	}
	for i := range burst * 3 {
		if _, err := x.begin(b, netip.Addr{}, x.now); err != nil {
			t.Errorf("try %d beside others: %v", i, err)
		}
	}
	if err := x.one(b, "", undecided); !fault.Is(err, fault.TooManyRequests) {
		t.Errorf("one too many at once: %v", err)
	}
	for i := range 100 {
		if err := x.one(accountOf(1, fmt.Sprint(i)), fmt.Sprintf("10.0.0.%d", i), wrong); err != nil {
			t.Fatal(err)
		}
		if err := x.one(accountOf(2, fmt.Sprint(i)), fmt.Sprintf("10.0.1.%d", i), right); err != nil {
			t.Fatal(err)
		}
	}
	if n, m := len(x.mu.failures), len(x.mu.familiar); n > 2 || m > 2 {
		t.Errorf("%d accounts and addresses and %d pairs are remembered", n, m)
	}
}

// TestThrottleOfAddresses tries many accounts from one address, and one account from
// many.
func TestThrottleOfAddresses(t *testing.T) {
	x := &tries{newThrottle(5, 20, time.Minute, 10_000), t, time.Unix(1_700_000_000, 0)}
	owner := accountOf(16, "lee")
	if err := x.one(owner, "192.0.2.7", right); err != nil {
		t.Fatal(err)
	}
	through := func(n int, who func(i int) account, from func(i int) string) (passed int) {
		for i := range n {
			if x.one(who(i), from(i), wrong) == nil {
				passed++
			}
		}
		return passed
	}
	spread := func(int) account { return owner }
	if n := through(1000, spread, func(i int) string { return fmt.Sprintf("198.51.%d.%d", i/250, i%250) }); n != 5 {
		t.Errorf("%d of 1000 wrong passwords from many addresses were compared, want 5", n)
	}
	if err := x.one(owner, "192.0.2.7", right); err != nil {
		t.Errorf("the owner, from where he signed in before, while others try: %v", err)
	}
	if err := x.one(owner, "203.0.113.9", right); !fault.Is(err, fault.TooManyRequests) {
		t.Errorf("a stranger meanwhile: %v", err)
	}
	x.now = x.now.Add(2 * time.Minute)
	if err := x.one(owner, "203.0.113.9", right); err != nil {
		t.Errorf("the owner, from elsewhere, afterwards: %v", err)
	}
	// A whole /64 is one address.
	various := func(i int) account { return accountOf(16, fmt.Sprint("user", i)) }
	if n := through(1000, various, func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }); n != 20 {
		t.Errorf("%d of 1000 accounts were tried from one network, want 20", n)
	}
	if err := x.one(various(1), "2001:db8:0:1::1", wrong); err != nil {
		t.Errorf("from another network: %v", err)
	}
	if err := x.one(owner, "2001:db8::77", right); !fault.Is(err, fault.TooManyRequests) {
		t.Errorf("a right password from an address that has to wait: %v", err)
	}
	// A mapped address is the one it maps.
	y := &tries{newThrottle(5, 1, time.Minute, 100), t, x.now}
	_ = y.one(owner, "192.0.2.9", wrong)
	if err := y.one(various(2), "::ffff:192.0.2.9", wrong); !fault.Is(err, fault.TooManyRequests) {
		t.Errorf("the same address, mapped: %v", err)
	}
}

func TestPasswords(t *testing.T) {
	p, err := newPasswords(bcrypt.MinCost, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	long := strings.Repeat("x", 100)
	for _, password := range []string{"pw4lee", "", long, "with\x00nul", strings.Repeat("é", 40)} {
		hash, err := p.hash(ctx, password)
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			password string
			want     bool
		}{{password, true}, {password + "x", false}, {"x" + password, false}} {
			if ok, err := p.matches(ctx, hash, tc.password); err != nil || ok != tc.want {
				t.Errorf("%.20q against %.20q: %v, %v", tc.password, password, ok, err)
			}
		}
	}
	if ok, err := p.matches(ctx, nil, ""); ok || err != nil {
		t.Errorf("no hash matches: %v, %v", ok, err)
	}
	if ok, err := p.matches(ctx, []byte("imported nonsense"), "x"); ok || err != nil {
		t.Errorf("a hash of another kind: %v, %v", ok, err)
	}
	if _, err := newPasswords(99, 1, 1); err == nil {
		t.Error("cost 99 is accepted")
	}
}

// While all slots are taken one request may wait, the next is refused, and who
// waits stops when his time is over.
func TestPasswordSlots(t *testing.T) {
	p, err := newPasswords(bcrypt.MinCost, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	release, err := p.slot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var waited error
	wg.Go(func() { _, waited = p.slot(ctx) })
	for p.waiting.Load() == 0 {
		runtime.Gosched() // until the other stands in the queue
	}
	if _, err := p.slot(context.Background()); !fault.Is(err, fault.Overloaded) {
		t.Errorf("beyond the queue: %v", err)
	}
	cancel()
	wg.Wait()
	if !fault.Is(waited, fault.Overloaded) || !errors.Is(waited, context.Canceled) {
		t.Errorf("who waited got %v", waited)
	}
	release()
	if release, err = p.slot(context.Background()); err != nil {
		t.Fatal(err)
	}
	release()
}

func TestLife(t *testing.T) {
	d := &Directory{cfg: DefaultConfig()}
	const week = 604_800_000
	eternalApp, short, huge, negative := &Application{HasTTL: true}, &Application{HasTTL: true, TokenTTL: 1000},
		&Application{HasTTL: true, TokenTTL: 1<<63 - 1}, &Application{HasTTL: true, TokenTTL: -5}
	for _, tc := range []struct {
		ttl  string
		app  *Application
		want int64 // -1: refused
	}{
		{"", nil, week}, {"0", nil, week}, {" 5000 ", nil, 5000}, {"604800000", nil, week}, {"604800001", nil, -1}, {"-1", nil, -1}, {"x", nil, -1},
		{"1e3", nil, -1}, {"99999999999999999999", nil, -1},
		{"", &Application{}, week}, {"", eternalApp, 0}, {"0", eternalApp, 0}, {"999999999999", eternalApp, -1}, {"5000", eternalApp, 5000},
		{"", short, 1000}, {"1001", short, -1}, {"", huge, eternal * 1000}, {"", negative, week},
	} {
		got, err := d.Life(tc.ttl, tc.app)
		if tc.want < 0 {
			if !fault.Is(err, fault.IllegalArgument) {
				t.Errorf("ttl %q: %d, %v", tc.ttl, got, err)
			}
		} else if err != nil || got != tc.want {
			t.Errorf("ttl %q: %d, %v, want %d", tc.ttl, got, err, tc.want)
		}
	}
}
