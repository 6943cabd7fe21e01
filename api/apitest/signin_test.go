package apitest_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api"
	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/api/directory"
)

// signIns is a server behind a proxy, and somebody who signs in through it.
type signIns struct {
	*apitest.Server

	tb testing.TB
}

func startSignIns(tb testing.TB, change func(*directory.Config)) *signIns {
	tb.Helper()
	s, err := apitest.OpenWith(tb.TempDir(), apitest.Options{Directory: change, API: func(c *api.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close server: %v", err)
		}
	})
	x := &signIns{s, tb}
	if a := x.do("POST", "/users", `{"username":"lee","email":"lee@example.test","password":"pw4lee"}`, "192.0.2.1"); a.Status != 200 {
		tb.Fatal(a.Body)
	}
	return x
}

func (x *signIns) do(method, path, body, from string) apitest.Answer {
	x.tb.Helper()
	req, err := http.NewRequest(method, x.URL+x.App+path, strings.NewReader(body))
	if err != nil {
		x.tb.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", from)
	a, err := x.Send(req)
	if err != nil {
		x.tb.Fatal(err)
	}
	return a
}

func (x *signIns) as(name, password, from string) apitest.Answer {
	x.tb.Helper()
	return x.do("POST", "/token", fmt.Sprintf(`{"grant_type":"password","username":%q,"password":%q}`, name, password), from)
}

// TestBruteForce tries passwords from many addresses and from one.
func TestBruteForce(t *testing.T) {
	x := startSignIns(t, nil)
	if a := x.as("lee", "pw4lee", "192.0.2.7"); a.Status != 200 {
		t.Fatal(a.Body)
	}
	compared := func(n int, name, from func(i int) string) (tried int) {
		for i := range n {
			switch a := x.as(name(i), fmt.Sprint("wrong", i), from(i)); {
			case a.Status == 400 && a.Code() == "invalid_grant":
				tried++
			case a.Status != 429 || a.Code() != "too_many_requests" || a.Header.Get("Retry-After") == "":
				t.Fatalf("%d: %d %s", i, a.Status, a.Body)
			}
		}
		return tried
	}
	lee := func(int) string { return "lee" }
	many := func(i int) string { return fmt.Sprintf("198.51.%d.%d", i/200, i%200) }
	if n := compared(1000, lee, many); n > 60 {
		t.Errorf("%d of 1000 wrong passwords from many addresses were compared", n)
	}
	if a := x.as("lee", "pw4lee", "192.0.2.7"); a.Status != 200 {
		t.Errorf("the owner, from his own address: %d %s", a.Status, a.Body)
	}
	if a := x.as("lee@example.test", "pw4lee", "203.0.113.1"); a.Status != 429 {
		t.Errorf("somebody with the right password meanwhile, by another name: %d", a.Status)
	}
	if n := compared(1000, func(i int) string { return fmt.Sprint("nobody", i) }, func(int) string { return "203.0.113.9" }); n > 200 {
		t.Errorf("%d of 1000 accounts were tried from one address", n)
	}
	if a := x.as("lee", "pw4lee", "192.0.2.7"); a.Status != 200 {
		t.Errorf("the owner, in the end: %d %s", a.Status, a.Body)
	}
}

// TestUnknownUsersCostTheSame compares what an unknown user and a wrong password say, and
// how long that takes.
func TestUnknownUsersCostTheSame(t *testing.T) {
	x := startSignIns(t, func(c *directory.Config) { c.BcryptCost, c.ThrottleAfter, c.AddressAfter = 8, 1000, 1000 })
	times := map[string][]time.Duration{}
	bodies := map[string]string{}
	for i := range 25 {
		for _, name := range []string{"lee", "nobody"} {
			began := time.Now()
			a := x.as(name, fmt.Sprint("wrong", i), "192.0.2.50")
			times[name] = append(times[name], time.Since(began))
			bodies[name] = fmt.Sprint(a.Status, a.Body)
		}
	}
	if bodies["lee"] != bodies["nobody"] {
		t.Errorf("%s\n%s", bodies["lee"], bodies["nobody"])
	}
	median := func(name string) time.Duration { slices.Sort(times[name]); return times[name][len(times[name])/2] }
	known, unknown := median("lee"), median("nobody")
	if known > 3*unknown+15*time.Millisecond || unknown > 3*known+15*time.Millisecond {
		t.Errorf("a wrong password takes %v, an unknown user %v", known, unknown)
	}
}

// BenchmarkReadsBesideLoginStorm compares how long reads take beside 500 clients that
// sign in at once with how long they take alone.
func BenchmarkReadsBesideLoginStorm(b *testing.B) {
	x := startSignIns(b, func(c *directory.Config) { c.BcryptCost = 10 })
	for i := range 100 {
		body := fmt.Sprintf(`{"username":"user%d","password":"pw4user"}`, i)
		if a := x.do("POST", "/users", body, "192.0.2.1"); a.Status != 200 {
			b.Fatal(a.Body)
		}
	}
	reads := func(n int) (p99 time.Duration) {
		var took []time.Duration
		for range n {
			began := time.Now()
			if a := x.do("GET", "/users/lee", "", "192.0.2.1"); a.Status != 200 {
				b.Fatal(a.Body)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	reads(200)
	for b.Loop() {
		calm := reads(2000)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for i := range 500 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if a := x.as(fmt.Sprint("user", i%100), "pw4user", fmt.Sprintf("198.51.100.%d", i%250)); a.Status >= 500 && a.Status != 503 {
						b.Error(a.Body)
					}
					time.Sleep(100 * time.Millisecond) // what a polite client waits before it tries again
				}
			})
		}
		storm := reads(2000)
		close(stop)
		wg.Wait()
		b.ReportMetric(float64(calm.Microseconds()), "calm-p99-µs")
		b.ReportMetric(float64(storm.Microseconds()), "storm-p99-µs")
		b.ReportMetric(float64(storm)/float64(calm), "ratio")
	}
}
