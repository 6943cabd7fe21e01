package load

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Outcome is how one operation ended.
type Outcome struct {
	Status int   // of the answer; 0 if there was none
	Err    error // why there was no answer, or what was wrong with it
}

// Class names the outcome in counts of errors; it is empty for a success.
func (o Outcome) Class() string {
	switch {
	case o.Err != nil && o.Status == 0:
		return "transport"
	case o.Err != nil:
		return "wrong answer"
	case o.Status/100 != 2:
		return strconv.Itoa(o.Status)
	}
	return ""
}

// Worker performs operations over one connection, one after the other.
type Worker interface {
	Do() Outcome
	Close() error
}

// Plan says how operations are driven.
type Plan struct {
	Connections int
	Rate        float64       // operations a second over all connections; 0 is a closed loop
	WarmUp      time.Duration // driven the same way before, and not measured
	Duration    time.Duration // of the measurement; 0 if Operations says when to end
	Operations  uint64        // at most so many in the measurement; 0 is no bound
	Grace       time.Duration // how long an open loop may work off what is due after its end
}

// Check says what is wrong with a plan.
func (p Plan) Check() error {
	switch {
	case p.Connections < 1:
		return fmt.Errorf("connections is %d, want at least 1", p.Connections)
	case p.Rate < 0 || p.Rate > 10e6:
		return fmt.Errorf("rate is %g a second, want 0 to 10 million", p.Rate)
	case p.Duration < 0 || p.WarmUp < 0 || p.Grace < 0:
		return errors.New("a duration is negative")
	case p.Duration == 0 && p.Operations == 0:
		return errors.New("neither a duration nor a number of operations says when to end")
	case p.Rate > 0 && p.due() > 100e6:
		return fmt.Errorf("%g operations are due, want at most 100 million", p.due())
	}
	return nil
}

// due is how many operations an open loop has to send.
func (p Plan) due() float64 {
	n := p.Rate * p.Duration.Seconds()
	if p.Duration == 0 || p.Operations > 0 && float64(p.Operations) < n {
		n = float64(p.Operations)
	}
	return n
}

// Result is what a measurement found.
type Result struct {
	Elapsed   time.Duration
	Succeeded uint64
	Attempts  uint64            // sent, whatever came of it
	Errors    map[string]uint64 // attempts that failed, by Outcome.Class, and "not sent" in an open loop
	FirstErr  error             // one example, for the log
	Latency   *hdrhistogram.Histogram
}

// Throughput is successes a second.
func (r *Result) Throughput() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Succeeded) / r.Elapsed.Seconds()
}

// Failed is the number of operations that did not succeed.
func (r *Result) Failed() uint64 {
	var n uint64
	for _, c := range r.Errors {
		n += c
	}
	return n
}

// Latencies are kept in nanoseconds, from 100 ns to 10 min, to three digits.
const (
	lowestLatency  = 100
	highestLatency = int64(10 * time.Minute)
	notSent        = "not sent"
)

func newResult() *Result {
	return &Result{Errors: make(map[string]uint64), Latency: hdrhistogram.New(lowestLatency, highestLatency, 3)}
}

func (r *Result) record(latency time.Duration, o Outcome) {
	r.Attempts++
	r.observe(latency)
	class := o.Class()
	if class == "" {
		r.Succeeded++
		return
	}
	r.Errors[class]++
	if r.FirstErr == nil {
		r.FirstErr = o.Err
		if o.Err == nil {
			r.FirstErr = fmt.Errorf("status %d", o.Status)
		}
	}
}

func (r *Result) observe(latency time.Duration) {
	v := max(lowestLatency, min(int64(latency), highestLatency))
	if err := r.Latency.RecordValue(v); err != nil {
		panic(fmt.Sprintf("latency %d does not fit the histogram: %v", v, err)) // it was clamped to its range
	}
}

func (r *Result) merge(o *Result) {
	r.Succeeded += o.Succeeded
	r.Attempts += o.Attempts
	for class, n := range o.Errors {
		r.Errors[class] += n
	}
	if r.FirstErr == nil {
		r.FirstErr = o.FirstErr
	}
	r.Latency.Merge(o.Latency)
}

// Run drives workers, one a connection, as plan says. measured is called
// between warm-up and measurement, and may be nil.
func Run(ctx context.Context, plan Plan, worker func(connection int) (Worker, error), measured func()) (result *Result, err error) {
	if err := plan.Check(); err != nil {
		return nil, err
	}
	workers := make([]Worker, 0, plan.Connections)
	defer func() {
		for _, w := range workers {
			err = errors.Join(err, w.Close())
		}
	}()
	for i := range plan.Connections {
		w, err := worker(i)
		if err != nil {
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		workers = append(workers, w)
	}
	if plan.WarmUp > 0 {
		warm := plan
		warm.Duration, warm.Operations, warm.Grace = plan.WarmUp, 0, 0
		drive(ctx, warm, workers)
	}
	runtime.GC() // what the set-up left behind is not collected during the measurement
	if measured != nil {
		measured()
	}
	result = drive(ctx, plan, workers)
	return result, ctx.Err()
}

// drive runs one phase.
func drive(ctx context.Context, plan Plan, workers []Worker) *Result {
	if plan.Duration > 0 && plan.Rate == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, plan.Duration)
		defer cancel()
	}
	results := make([]*Result, len(workers))
	var done sync.WaitGroup
	start := time.Now()
	loop := closed(ctx, plan)
	if plan.Rate > 0 {
		loop = open(ctx, plan, start, &done)
	}
	for i, w := range workers {
		results[i] = newResult()
		done.Go(func() { loop(w, results[i]) })
	}
	done.Wait()
	total := newResult()
	total.Elapsed = time.Since(start)
	for _, r := range results {
		total.merge(r)
	}
	return total
}

// closed gives the loop of a worker that is never idle.
func closed(ctx context.Context, plan Plan) func(Worker, *Result) {
	var begun atomic.Uint64
	return func(w Worker, r *Result) {
		for ctx.Err() == nil {
			if plan.Operations > 0 && begun.Add(1) > plan.Operations {
				return
			}
			begin := time.Now()
			o := w.Do()
			r.record(time.Since(begin), o)
		}
	}
}

// open starts the pacer and gives the loop of a worker that takes the next
// operation that is due.
func open(ctx context.Context, plan Plan, start time.Time, done *sync.WaitGroup) func(Worker, *Result) {
	n := uint64(plan.due())
	due := make(chan time.Duration, n) // room for all: the schedule never waits for the server
	done.Go(func() {
		defer close(due)
		pace(ctx, n, plan.Rate, start, due)
	})
	deadline := start.Add(time.Duration(float64(n)/plan.Rate*float64(time.Second)) + plan.Grace)
	return func(w Worker, r *Result) {
		for intended := range due {
			if ctx.Err() != nil || time.Now().After(deadline) {
				r.Errors[notSent]++
				r.observe(time.Since(start) - intended)
				continue
			}
			o := w.Do()
			r.record(time.Since(start)-intended, o)
		}
	}
}

// Intended is when operation i of an open loop is due, after its start.
func Intended(i uint64, rate float64) time.Duration {
	return time.Duration(float64(i) / rate * float64(time.Second))
}

// pace hands out each operation when it is due. It sleeps in the system call
// on a thread of its own, since timers of the Go runtime are up to a
// millisecond late when the process is otherwise idle.
func pace(ctx context.Context, n uint64, rate float64, start time.Time, due chan<- time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const setTimerSlack = 29 // PR_SET_TIMERSLACK: the kernel may be 50 µs late else, and this thread keeps it, harmless to others
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0)
	for i := range n {
		intended := Intended(i, rate)
		for wait := intended - time.Since(start); wait > 0; wait = intended - time.Since(start) {
			if ctx.Err() != nil {
				return
			}
			ts := syscall.NsecToTimespec(int64(min(wait, 10*time.Millisecond)))
			if err := syscall.Nanosleep(&ts, nil); err != nil && !errors.Is(err, syscall.EINTR) {
				time.Sleep(wait)
			}
		}
		due <- intended
	}
}
