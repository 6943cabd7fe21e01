package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// scripted is a worker whose n-th operation, over all workers, is given.
type scripted struct {
	n  *atomic.Int64
	do func(n int64) Outcome
}

func (s *scripted) Do() Outcome  { return s.do(s.n.Add(1) - 1) }
func (s *scripted) Close() error { return nil }

func script(do func(n int64) Outcome) func(int) (Worker, error) {
	n := &atomic.Int64{}
	return func(int) (Worker, error) { return &scripted{n: n, do: do}, nil }
}

func ok(int64) Outcome { return Outcome{Status: 200} }

func TestClosedLoopEndsAfterItsOperations(t *testing.T) {
	r, err := Run(t.Context(), Plan{Connections: 7, Operations: 1000}, script(ok), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Succeeded != 1000 || r.Attempts != 1000 || r.Latency.TotalCount() != 1000 {
		t.Errorf("succeeded %d, attempts %d, latencies %d, want 1000", r.Succeeded, r.Attempts, r.Latency.TotalCount())
	}
}

func TestEveryFailureIsCountedByItsClass(t *testing.T) {
	r, err := Run(t.Context(), Plan{Connections: 3, Operations: 400}, script(func(n int64) Outcome {
		switch n % 4 {
		case 0:
			return Outcome{Status: 503}
		case 1:
			return Outcome{Err: errors.New("reset")}
		case 2:
			return Outcome{Status: 200, Err: errors.New("another entity")}
		}
		return Outcome{Status: 200}
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range []string{"503", "transport", "wrong answer"} {
		if r.Errors[class] != 100 {
			t.Errorf("%s: %d, want 100", class, r.Errors[class])
		}
	}
	if r.Succeeded != 100 || r.Failed() != 300 || r.Latency.TotalCount() != 400 || r.FirstErr == nil {
		t.Errorf("succeeded %d, failed %d, latencies %d, example %v", r.Succeeded, r.Failed(), r.Latency.TotalCount(), r.FirstErr)
	}
	if got, want := r.Throughput(), 100/r.Elapsed.Seconds(); math.Abs(got-want) > 1e-9 {
		t.Errorf("throughput %g, want %g: failures do not count", got, want)
	}
}

func TestWarmUpIsNotMeasured(t *testing.T) {
	measuring := false
	var warm, measured atomic.Int64
	r, err := Run(t.Context(), Plan{Connections: 1, WarmUp: 5 * time.Millisecond, Operations: 10}, script(func(int64) Outcome {
		if measuring {
			measured.Add(1)
		} else {
			warm.Add(1)
		}
		return Outcome{Status: 200}
	}), func() { measuring = true })
	if err != nil {
		t.Fatal(err)
	}
	if warm.Load() == 0 || measured.Load() != 10 || r.Attempts != 10 {
		t.Errorf("%d operations in the warm-up, %d measured, %d reported", warm.Load(), measured.Load(), r.Attempts)
	}
}

func TestIntendedStartsAreEvenlySpaced(t *testing.T) {
	for _, tc := range []struct {
		i    uint64
		rate float64
		want time.Duration
	}{{0, 100, 0}, {1, 100, 10 * time.Millisecond}, {250, 100, 2500 * time.Millisecond}, {3, 0.5, 6 * time.Second}, {3_600_000, 1000, time.Hour}} {
		if got := Intended(tc.i, tc.rate); got != tc.want {
			t.Errorf("operation %d at %g/s is due after %s, want %s", tc.i, tc.rate, got, tc.want)
		}
	}
}

func TestOpenLoopKeepsItsRateAndNeverBeginsEarly(t *testing.T) {
	var mu sync.Mutex
	var starts []time.Duration
	var begin time.Time
	plan := Plan{Connections: 4, Rate: 2000, Duration: 250 * time.Millisecond, Grace: time.Second}
	r, err := Run(t.Context(), plan, script(func(int64) Outcome {
		mu.Lock()
		defer mu.Unlock()
		starts = append(starts, time.Since(begin))
		return Outcome{Status: 200}
	}), func() { begin = time.Now() })
	if err != nil {
		t.Fatal(err)
	}
	if r.Attempts != 500 {
		t.Fatalf("%d operations, want 500", r.Attempts)
	}
	slices.Sort(starts)
	for i, at := range starts {
		if due := Intended(uint64(i), plan.Rate); at < due {
			t.Fatalf("operation %d began at %s, due at %s", i, at, due)
		}
	}
}

// One stall of the only connection delays all operations due meanwhile, and an
// open loop says so for each; a closed loop sees a single slow operation.
func TestStallShowsInEveryOperationItDelayed(t *testing.T) {
	const stall = 100 * time.Millisecond
	do := func(n int64) Outcome {
		if n == 10 {
			time.Sleep(stall)
		}
		return Outcome{Status: 200}
	}
	slow := func(r *Result) (n int64) {
		for _, bar := range r.Latency.Distribution() {
			if bar.From > int64(stall/4) {
				n += bar.Count
			}
		}
		return n
	}
	open, err := Run(t.Context(), Plan{Connections: 1, Rate: 1000, Operations: 300, Grace: time.Second}, script(do), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := slow(open); n < 60 {
		t.Errorf("open loop: %d slow operations, want about 75: those due in the first three quarters of the stall", n)
	}
	closed, err := Run(t.Context(), Plan{Connections: 1, Operations: 300}, script(do), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := slow(closed); n < 1 || n > 10 {
		t.Errorf("closed loop: %d slow operations, want 1 (a few more on a busy machine)", n)
	}
}

func TestOperationsThatWereDueAndNeverSentAreReported(t *testing.T) {
	release := make(chan struct{})
	time.AfterFunc(150*time.Millisecond, func() { close(release) })
	r, err := Run(t.Context(), Plan{Connections: 2, Rate: 1000, Duration: 50 * time.Millisecond}, script(func(int64) Outcome {
		<-release
		return Outcome{Status: 200}
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors[notSent] != 48 || r.Attempts != 2 || r.Latency.TotalCount() != 50 {
		t.Errorf("%d not sent, %d attempts, %d latencies; want 48, 2, 50", r.Errors[notSent], r.Attempts, r.Latency.TotalCount())
	}
}

func TestHistogramKeepsThreeDigitsFromMicrosecondsToMinutes(t *testing.T) {
	for _, d := range []time.Duration{time.Microsecond, 41500 * time.Nanosecond, 7 * time.Millisecond, 3 * time.Second, 9 * time.Minute} {
		r := newResult()
		r.observe(d)
		got := time.Duration(r.Latency.ValueAtQuantile(50))
		if off := math.Abs(float64(got-d)) / float64(d); off > 0.06 || d > 100*time.Microsecond && off > 0.001 {
			t.Errorf("%s comes back as %s", d, got)
		}
	}
	r := newResult()
	r.observe(time.Hour)
	r.observe(-time.Second)
	if r.Latency.TotalCount() != 2 {
		t.Errorf("%d of 2 values beyond the range were kept", r.Latency.TotalCount())
	}
}

func TestMergeAddsUp(t *testing.T) {
	a, b := newResult(), newResult()
	for i := range 90 {
		a.record(time.Millisecond, Outcome{Status: 200})
		if i < 10 {
			b.record(time.Second, Outcome{Status: 500})
		}
	}
	a.merge(b)
	if a.Attempts != 100 || a.Succeeded != 90 || a.Errors["500"] != 10 || a.FirstErr == nil {
		t.Errorf("merged to %+v", a)
	}
	if p50, p99 := a.Latency.ValueAtQuantile(50), a.Latency.ValueAtQuantile(99); p50 > 2e6 || p99 < 9e8 {
		t.Errorf("p50 %d ns, p99 %d ns", p50, p99)
	}
}

func TestRunClosesWorkersAndReportsAFailedOne(t *testing.T) {
	var closed atomic.Int64
	_, err := Run(t.Context(), Plan{Connections: 3, Operations: 1}, func(i int) (Worker, error) {
		if i == 2 {
			return nil, errors.New("no port left")
		}
		return closing{&closed}, nil
	}, nil)
	if err == nil || closed.Load() != 2 {
		t.Errorf("error %v, %d workers closed, want 2", err, closed.Load())
	}
}

type closing struct{ n *atomic.Int64 }

func (c closing) Do() Outcome  { return Outcome{Status: 200} }
func (c closing) Close() error { c.n.Add(1); return nil }

func TestRunEndsWithItsContext(t *testing.T) {
	for _, rate := range []float64{0, 100} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Run(ctx, Plan{Connections: 1, Rate: rate, Duration: time.Hour, Grace: time.Hour}, script(func(n int64) Outcome {
			if n == 3 {
				cancel()
			}
			return Outcome{Status: 200}
		}), nil)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("rate %g: error %v, want %v", rate, err, context.Canceled)
		}
	}
}

func TestCheckRefusesPlansWithoutAnEnd(t *testing.T) {
	for _, p := range []Plan{{}, {Connections: 1}, {Connections: 1, Duration: -1}, {Connections: 1, Rate: -1, Duration: 1},
		{Connections: 1, Rate: math.Inf(1), Duration: 1}, {Connections: 1, Rate: 1e6, Duration: time.Hour}} {
		if p.Check() == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
}

func ExampleOutcome_Class() {
	fmt.Println(Outcome{Status: 404}.Class(), Outcome{Status: 200}.Class() == "")
	// Output: 404 true
}
