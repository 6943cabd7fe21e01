package mesh

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Rule says what becomes of packets from one node to another. The zero rule
// lets all pass. ARP is exempt: a fault is one of IP packets, as it would be
// behind a router.
type Rule struct {
	Cut           bool
	Delay         time.Duration
	Jitter        time.Duration // delay is drawn from Delay ± Jitter, so packets overtake one another
	Loss          float64       // share of packets lost
	Duplicate     float64       // share of packets sent twice
	BitsPerSecond int           // 0 is unlimited
}

// String names what is not as it should be.
func (r Rule) String() string {
	var parts []string
	if r.Cut {
		return "cut"
	}
	if r.Delay > 0 || r.Jitter > 0 {
		parts = append(parts, fmt.Sprintf("%s ± %s", r.Delay, r.Jitter))
	}
	if r.Loss > 0 {
		parts = append(parts, fmt.Sprintf("%.0f %% lost", 100*r.Loss))
	}
	if r.Duplicate > 0 {
		parts = append(parts, fmt.Sprintf("%.0f %% twice", 100*r.Duplicate))
	}
	if r.BitsPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%.1f Mbit/s", float64(r.BitsPerSecond)/1e6))
	}
	if len(parts) == 0 {
		return "clear"
	}
	return strings.Join(parts, ", ")
}

// longestBacklog is how much a slow link buffers, in time: more is lost, as at
// any router.
const longestBacklog = 500 * time.Millisecond

// due says when the copies of a packet of size bytes arrive that is sent now;
// none if it is lost. free is when the link has sent what it took before, and
// comes back moved.
func (r Rule) due(rng *rand.Rand, now, free time.Time, size int) (arrivals []time.Time, moved time.Time) {
	if r.Cut || r.Loss > 0 && rng.Float64() < r.Loss {
		return nil, free
	}
	sent := now
	if r.BitsPerSecond > 0 {
		if free.Before(now) {
			free = now
		}
		if free.Sub(now) > longestBacklog {
			return nil, free
		}
		free = free.Add(time.Duration(size) * 8 * time.Second / time.Duration(r.BitsPerSecond))
		sent = free
	}
	copies := 1
	if r.Duplicate > 0 && rng.Float64() < r.Duplicate {
		copies = 2
	}
	for range copies {
		delay := r.Delay
		if r.Jitter > 0 {
			delay += time.Duration(rng.Int64N(2*int64(r.Jitter)+1)) - r.Jitter
		}
		arrivals = append(arrivals, sent.Add(max(0, delay)))
	}
	return arrivals, free
}

// link is one direction between two ports.
type link struct {
	deliver func(frame []byte)
	wake    chan struct{}

	mu struct {
		sync.Mutex
		rule    Rule
		rng     *rand.Rand
		free    time.Time
		waiting frames
		order   uint64
	}
}

func newLink(seed uint64, deliver func([]byte)) *link {
	l := &link{deliver: deliver, wake: make(chan struct{}, 1)}
	l.mu.rng = rand.New(rand.NewPCG(seed, 0))
	return l
}

func (l *link) set(r Rule) {
	l.mu.Lock()
	l.mu.rule = r
	l.mu.Unlock()
}

// send lets a frame go over the link. The frame is the caller's again when it
// returns.
func (l *link) send(frame []byte, exempt bool) {
	l.mu.Lock()
	rule := l.mu.rule
	if exempt || rule == (Rule{}) {
		l.mu.Unlock()
		l.deliver(frame)
		return
	}
	now := time.Now()
	arrivals, free := rule.due(l.mu.rng, now, l.mu.free, len(frame))
	l.mu.free = free
	var kept []byte
	for _, at := range arrivals {
		if !at.After(now) {
			continue
		}
		if kept == nil {
			kept = append(kept, frame...)
		}
		l.mu.order++
		heap.Push(&l.mu.waiting, waiting{at: at, order: l.mu.order, frame: kept})
	}
	l.mu.Unlock()
	for _, at := range arrivals {
		if !at.After(now) {
			l.deliver(frame)
		}
	}
	if kept != nil {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// run delivers what waits when it is due, until stop is closed.
func (l *link) run(stop <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(l.deliverDue())
		select {
		case <-timer.C:
		case <-l.wake:
		case <-stop:
			return
		}
	}
}

// deliverDue delivers what is due and says how long the next frame has.
func (l *link) deliverDue() time.Duration {
	for {
		l.mu.Lock()
		if len(l.mu.waiting) == 0 {
			l.mu.Unlock()
			return time.Hour
		}
		if wait := time.Until(l.mu.waiting[0].at); wait > 0 {
			l.mu.Unlock()
			return wait
		}
		next := heap.Pop(&l.mu.waiting).(waiting)
		l.mu.Unlock()
		l.deliver(next.frame)
	}
}

// waiting is a frame under way.
type waiting struct {
	at    time.Time
	order uint64 // frames due at one time keep their order
	frame []byte
}

// frames is a heap of frames under way, the next first.
type frames []waiting

func (f frames) Len() int { return len(f) }
func (f frames) Less(i, j int) bool {
	if f[i].at.Equal(f[j].at) {
		return f[i].order < f[j].order
	}
	return f[i].at.Before(f[j].at)
}
func (f frames) Swap(i, j int) { f[i], f[j] = f[j], f[i] }

// Push is for container/heap.
func (f *frames) Push(x any) { *f = append(*f, x.(waiting)) }

// Pop is for container/heap.
func (f *frames) Pop() any {
	old := *f
	last := old[len(old)-1]
	old[len(old)-1] = waiting{}
	*f = old[:len(old)-1]
	return last
}
