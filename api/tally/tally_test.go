package tally

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counted is a cluster that counts what it is proposed, once for each request id.
type counted struct {
	mu       sync.Mutex
	seen     map[command.RequestID]bool
	sums     map[entity.AppID]map[string]int64
	minutes  map[int64]int64
	commands int
	// fails says what becomes of a proposal: of one that is lost, nothing; of one that is
	// not answered, all but an answer.
	fails func(n int, app entity.AppID) (lost bool, err error)
}

func newCounted() *counted {
	return &counted{seen: map[command.RequestID]bool{}, sums: map[entity.AppID]map[string]int64{}, minutes: map[int64]int64{}}
}

func (c *counted) Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return command.Outcome{}, context.Cause(ctx)
	}
	c.commands++
	var err error
	if c.fails != nil {
		var lost bool
		if lost, err = c.fails(c.commands, app); lost {
			return command.Outcome{}, err
		}
	}
	if !c.seen[cmd.Request] {
		c.seen[cmd.Request] = true
		for _, t := range cmd.Op.(command.Count).Tallies {
			for _, inc := range t.Increments {
				if c.sums[app] == nil {
					c.sums[app] = map[string]int64{}
				}
				c.sums[app][strings.TrimPrefix(inc.Name, "application.requests.")] += inc.By
				c.minutes[t.Time] += inc.By
			}
		}
	}
	return command.Outcome{}, err
}

func (c *counted) sum(app entity.AppID, method string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sums[app][method]
}

func start(t testing.TB, cfg Config, c Cluster) *Tally {
	t.Helper()
	tally, err := Start(cfg, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return tally
}

func ended(t testing.TB, tally *Tally) {
	t.Helper()
	if err := tally.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

const app = entity.FirstApp

// TestWritesAreSharedAndNothingIsLost: however many requests there are, an application
// has one write an interval; what is left goes with Close.
func TestWritesAreSharedAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounted()
		tally := start(t, DefaultConfig(), c)
		for range 3 {
			for range 1000 {
				tally.count(app, time.Now().UnixMilli(), methodOf("GET"), 1)
				tally.count(app, time.Now().UnixMilli(), methodOf("DELETE"), 1)
				tally.count(app+1, time.Now().UnixMilli(), methodOf("PUT"), 1)
			}
			if got := tally.Stats().Applications; got != 2 {
				t.Errorf("%d applications wait", got)
			}
			time.Sleep(DefaultConfig().Interval)
			synctest.Wait()
		}
		if c.commands != 6 || c.sum(app, "get") != 3000 || c.sum(app, "delete") != 3000 || c.sum(app+1, "put") != 3000 {
			t.Errorf("%d commands, sums %v", c.commands, c.sums)
		}
		time.Sleep(2 * DefaultConfig().Interval)
		synctest.Wait()
		if c.commands != 6 || tally.Stats().Applications != 0 {
			t.Errorf("%d commands although there was nothing", c.commands)
		}
		tally.count(app, time.Now().UnixMilli(), methodOf("POST"), 1)
		ended(t, tally)
		ended(t, tally)
		if c.sum(app, "post") != 1 || tally.Stats().Written != 7 {
			t.Errorf("Close has lost a request: %v", c.sums)
		}
	})
}

// TestEachRequestCountsOnce: writes that are lost, and writes that are not answered, are
// sent again under the same id.
func TestEachRequestCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounted()
		c.fails = func(n int, _ entity.AppID) (bool, error) {
			switch n % 4 {
			case 0:
				return true, fault.New(fault.NoQuorum, "no leader")
			case 1:
				return false, fault.New(fault.Timeout, "no answer")
			case 2:
				return true, errors.New("torn connection")
			}
			return false, nil
		}
		tally := start(t, DefaultConfig(), c)
		for n := range int64(50) {
			for range n {
				tally.count(app, time.Now().UnixMilli(), methodOf("GET"), 1)
			}
			time.Sleep(DefaultConfig().Interval)
			synctest.Wait()
		}
		for range 4 {
			if tally.Flush(t.Context(), app) == nil {
				break
			}
		}
		if got := c.sum(app, "get"); got != 50*49/2 {
			t.Errorf("counted %d, want %d", got, 50*49/2)
		}
		if tally.Stats().Failed == 0 {
			t.Error("nothing has failed")
		}
		c.fails = nil
		ended(t, tally)
	})
}

// TestFlushWaitsForWhatWasCounted: of many readers at once, each finds its own request.
func TestFlushWaitsForWhatWasCounted(t *testing.T) {
	c := newCounted()
	tally := start(t, Config{Interval: time.Hour, Timeout: time.Minute, Writers: 1}, c)
	const readers, each = 16, 50
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			for n := range each {
				tally.count(app, 1, 0, 1)
				if err := tally.Flush(t.Context(), app); err != nil {
					t.Error(err)
				}
				if got := c.sum(app, "get"); got < int64(n+1) {
					t.Errorf("%d are readable, this reader alone has counted %d", got, n+1)
				}
			}
		})
	}
	all.Wait()
	if got := c.sum(app, "get"); got != readers*each {
		t.Errorf("counted %d", got)
	}
	before := c.commands
	if err := tally.Flush(t.Context(), app); err != nil || c.commands != before {
		t.Errorf("a write of nothing: %v", err)
	}
	ended(t, tally)
}

// TestMinutesOfALongOutage: an hour of minutes is kept apart, what is older as one.
func TestMinutesOfALongOutage(t *testing.T) {
	c := newCounted()
	c.fails = func(int, entity.AppID) (bool, error) { return true, fault.New(fault.NoQuorum, "no leader") }
	tally := start(t, Config{Interval: time.Hour, Timeout: time.Minute, Writers: 1}, c)
	const minute, minutes = 60_000, 200
	for n := range int64(minutes) {
		tally.count(app, n*minute+5, 1, 1)
		tally.count(app, n*minute+6, 1, 1)
	}
	c.fails = nil
	ended(t, tally)
	if c.sum(app, "post") != 2*minutes || len(c.minutes) != maxMinutes || c.minutes[(minutes-1)*minute] != 2 || c.minutes[(minutes-maxMinutes)*minute] != 2*(minutes-maxMinutes+1) {
		t.Errorf("sums %v in %d minutes %v", c.sums, len(c.minutes), c.minutes)
	}
}

// TestWhatIsLost: Close says so, and a deleted application is nobody's loss.
func TestWhatIsLost(t *testing.T) {
	c := newCounted()
	c.fails = func(_ int, of entity.AppID) (bool, error) {
		if of == app {
			return true, fault.New(fault.NoQuorum, "no leader")
		}
		return true, fault.New(fault.NotFound, "the application was deleted")
	}
	tally := start(t, Config{Interval: time.Hour, Timeout: time.Minute, Writers: 3}, c)
	for n := range entity.AppID(5) {
		tally.count(app+n, 1, 0, 1)
	}
	if err := tally.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "of 1 applications are lost") {
		t.Errorf("Close says %v", err)
	}
	if s := tally.Stats(); s.Refused != 4 || s.Applications != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestWhatIsLeftToAnotherNodeIsCountedThere: and a request that was taken back entirely
// needs no write.
func TestWhatIsLeftToAnotherNodeIsCountedThere(t *testing.T) {
	c := newCounted()
	tally := start(t, Config{Interval: time.Hour, Timeout: time.Minute, Writers: 1}, c)
	answer := error(nil)
	handle := tally.Counting(func(*wire.Request) (*wire.Reply, error) { return nil, answer })
	req := &wire.Request{App: &wire.Application{Number: app}}
	answer = fault.New(fault.NotHere, "no replica")
	if _, err := handle(req); !fault.Is(err, fault.NotHere) {
		t.Error(err)
	}
	if err := tally.Flush(t.Context(), app); err != nil || c.commands != 0 {
		t.Errorf("%d commands, %v", c.commands, err)
	}
	answer = fault.New(fault.Unauthorized, "no")
	if _, err := handle(req); !fault.Is(err, fault.Unauthorized) {
		t.Error(err)
	}
	ended(t, tally)
	if got := c.sum(app, "delete"); got != 1 { // the method of an empty request
		t.Errorf("counted %v", c.sums)
	}
}

func TestStartRefuses(t *testing.T) {
	for _, cfg := range []Config{{}, {Interval: 1, Timeout: 1}, {Interval: 1, Writers: 1}, {Timeout: 1, Writers: 1}} {
		if _, err := Start(cfg, newCounted(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	tally := start(t, Config{Interval: time.Hour, Timeout: time.Minute, Writers: 1}, newCounted())
	defer ended(t, tally)
	tally.count(app, 1, 0, 1)
	if n := testing.AllocsPerRun(1000, func() { tally.count(app, 1, 0, 1) }); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

// BenchmarkCount is what a request pays, alone and with all processors on one
// application.
func BenchmarkCount(b *testing.B) {
	tally := start(b, Config{Interval: time.Hour, Timeout: time.Minute, Writers: 1}, newCounted())
	defer ended(b, tally)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tally.count(app, 1, 0, 1)
		}
	})
	b.Run("contended", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				tally.count(app, 1, 0, 1)
			}
		})
	})
}
