package tasks

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

// TestTwoLeadersRepeatNoStep lets two runners believe that they lead, takes the lead
// from both now and then, hides the outcome of some commands, and lets others come so
// late that the dedup window has forgotten their requests.
func TestTwoLeadersRepeatNoStep(t *testing.T) {
	const steps = 40
	w := newWorld(t, appPartition)
	defer w.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	ids := []entity.ID{w.put(someApp, "count", entity.Normal), w.put(someApp, "count", entity.Idle), w.put(someApp, "count", entity.Normal)}
	w.fate = func() fate { return []fate{answered, answered, answered, answered, unanswered, delayed}[rng.IntN(6)] }
	first, stopFirst := w.run(nil, counting(steps))
	_, stopSecond := w.run(nil, counting(steps))
	for range 10 {
		time.Sleep(10 * time.Millisecond)
		w.lead()
		time.Sleep(time.Millisecond)
		w.lead(appPartition)
	}
	w.eventually("the tasks are done", func() bool { return len(w.tasks(appPartition, entity.TaskReady)) == 0 })
	stopFirst()
	stopSecond()
	w.exactly(ids, steps)
	for _, c := range first.Stats() {
		if c.Failures != 0 || c.Running != 0 || c.Queued != 0 {
			t.Errorf("figures: %+v", c)
		}
	}
}

// TestCrashesRepeatNoStep cuts the power again and again while tasks run.
func TestCrashesRepeatNoStep(t *testing.T) {
	const steps = 200
	w := newWorld(t, appPartition)
	rng := rand.New(rand.NewPCG(2, 2))
	ids := []entity.ID{w.put(someApp, "count", entity.Normal), w.put(someApp, "count", entity.Normal)}
	crashes := 0
	for ; len(w.tasks(appPartition, entity.TaskReady)) > 0; crashes++ {
		_, stop := w.run(nil, counting(steps))
		time.Sleep(time.Duration(rng.IntN(15)) * time.Millisecond)
		if rng.IntN(2) == 0 {
			if err := w.State().Flush(); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		w.runners = nil
		w.Crash(rng)
		if crashes > 1000 {
			t.Fatal("the tasks do not come to an end")
		}
	}
	t.Logf("%d crashes", crashes)
	w.exactly(ids, steps)
	w.Close()
}

// TestFailuresPauseAndEndAmongTheDead also shows that a dead task can be revived,
// and what the pauses are.
func TestFailuresPauseAndEndAmongTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		var tries []time.Time
		broken := true
		kind := Kind{Name: "fails", MaxAttempts: 5, Run: func(context.Context, *Job) (Step, error) {
			tries = append(tries, time.Now())
			switch {
			case !broken:
				return Step{Finish: true}, nil
			case len(tries)%2 == 0:
				panic("at the disco")
			}
			return Step{}, errors.New("it rained")
		}}
		id := w.put(someApp, "fails", entity.Normal)
		r, stop := w.run(nil, kind)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(tries) != 5 {
			t.Fatalf("%d tries, want 5", len(tries))
		}
		for i := 1; i < len(tries); i++ {
			pause, want := tries[i].Sub(tries[i-1]), time.Second<<(i-1)
			if pause < want*3/4 || pause > want*5/4+10*time.Millisecond {
				t.Errorf("pause %d is %s, want about %s", i, pause, want)
			}
		}
		task, ok := w.task(appPartition, id)
		if !ok || task.State != entity.TaskDead || task.Attempts != 5 || task.LastError != "it rained" {
			t.Errorf("task is %+v", task)
		}
		if c := r.Stats()[0]; c.Dead != 1 || c.Queued != 0 || c.Failures != 5 || c.Finished != 0 {
			t.Errorf("figures: %+v", c)
		}
		broken = false
		w.do(appPartition, someApp, command.RetryTask{ID: id})
		synctest.Wait()
		if _, ok := w.task(appPartition, id); ok || len(tries) != 6 {
			t.Errorf("the task is still there after %d tries", len(tries))
		}
		stop()
		w.Close()
	})
}

func TestPermanentFailureIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		id := w.put(someApp, "fails", entity.Normal)
		_, stop := w.run(nil, Kind{Name: "fails", Run: func(context.Context, *Job) (Step, error) {
			return Step{}, Permanent(errors.New(strings.Repeat("é", entity.MaxTaskError)))
		}})
		synctest.Wait()
		task, _ := w.task(appPartition, id)
		if task.State != entity.TaskDead || task.Attempts != 1 || len(task.LastError) != entity.MaxTaskError {
			t.Errorf("task is %+v", task)
		}
		stop()
		w.Close()
	})
}

// TestRefusedEffectIsAFailure: the step is not done, and is not taken for somebody
// else's.
func TestRefusedEffectIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		id := w.put(someApp, "refused", entity.Normal)
		steps := []Step{
			{Effect: command.DeleteEntity{Collection: "items", Target: command.Target{ID: entity.NewID()}}},
			{Effect: command.TermStart{}},
			{Body: make([]byte, entity.MaxTaskBody+1)},
		}
		n := 0
		_, stop := w.run(nil, Kind{Name: "refused", MaxAttempts: len(steps), Run: func(context.Context, *Job) (Step, error) {
			n++
			return steps[n-1], nil
		}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if task, _ := w.task(appPartition, id); task.State != entity.TaskDead || task.Step != 0 || task.Attempts != 3 {
			t.Errorf("task is %+v", task)
		}
		stop()
		w.Close()
	})
}

// TestLostLeadStopsAStep: its context ends at once, and nothing is recorded.
func TestLostLeadStopsAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		id := w.put(someApp, "long", entity.Normal)
		var began, ended atomic.Int64
		_, stop := w.run(nil, Kind{Name: "long", Run: func(ctx context.Context, _ *Job) (Step, error) {
			began.Add(1)
			<-ctx.Done()
			ended.Add(1)
			return Step{}, ctx.Err()
		}})
		synctest.Wait()
		w.lead()
		synctest.Wait()
		if began.Load() != 1 || ended.Load() != 1 {
			t.Errorf("%d steps began and %d ended", began.Load(), ended.Load())
		}
		time.Sleep(time.Second)
		w.lead(appPartition)
		synctest.Wait()
		if began.Load() != 2 {
			t.Errorf("%d steps began", began.Load())
		}
		if task, _ := w.task(appPartition, id); task.Turn != 0 {
			t.Errorf("task is %+v", task)
		}
		// A step that takes too long is a failure.
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if task, _ := w.task(appPartition, id); task.Attempts != 1 || !strings.Contains(task.LastError, "deadline") {
			t.Errorf("task is %+v", task)
		}
		time.Sleep(5 * time.Second)
		// Cancelling a task ends its step.
		before := ended.Load()
		w.do(appPartition, someApp, command.CancelTask{ID: id})
		synctest.Wait()
		if ended.Load() != before+1 {
			t.Error("the step of a cancelled task goes on")
		}
		stop()
		w.Close()
	})
}

// TestNobodyStarves: two applications have hundreds of tasks, others have one each,
// and one of these is of the last priority.
func TestNobodyStarves(t *testing.T) {
	w := newWorld(t, appPartition)
	defer w.Close()
	var mu sync.Mutex
	var order []entity.AppID
	for range 300 {
		w.put(16, "turn", entity.Normal)
		w.put(22, "turn", entity.Normal)
	}
	for app := entity.AppID(17); app < 20; app++ {
		w.put(app, "turn", entity.Normal)
	}
	w.put(20, "turn", entity.Idle)
	w.put(21, "turn", entity.Urgent)
	_, stop := w.run(func(c *Config) { c.Workers, c.PerApp = 1, 1 }, Kind{Name: "turn", Run: func(_ context.Context, job *Job) (Step, error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, job.Task.App)
		return Step{Finish: true}, nil
	}})
	w.eventually("all had their turn", func() bool { return len(w.tasks(appPartition, entity.TaskReady)) == 0 })
	stop()
	for app, latest := range map[entity.AppID]int{21: 1, 17: 8, 18: 8, 19: 8, 20: 9} {
		if at := slices.Index(order, app); at < 0 || at >= latest {
			t.Errorf("application %d had turn %d, want one of the first %d", app, at, latest)
		}
	}
}

// TestBoundsHold: never more steps at a time than workers, nor of one application
// than it may have, nor two of one task.
func TestBoundsHold(t *testing.T) {
	w := newWorld(t, appPartition)
	defer w.Close()
	var mu sync.Mutex
	apps, tasks, all, most := map[entity.AppID]int{}, map[entity.ID]int{}, 0, 0
	for i := range 60 {
		w.put(entity.AppID(16+i%3), "bound", entity.Priority(1+i%2))
	}
	_, stop := w.run(func(c *Config) { c.Workers, c.PerApp = 5, 2 }, Kind{Name: "bound", Run: func(_ context.Context, job *Job) (Step, error) {
		note := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			all, apps[job.Task.App], tasks[job.Task.ID] = all+by, apps[job.Task.App]+by, tasks[job.Task.ID]+by
			most = max(most, all)
			if all > 5 || apps[job.Task.App] > 2 || tasks[job.Task.ID] > 1 {
				t.Errorf("%d steps, %d of application %d, %d of one task", all, apps[job.Task.App], job.Task.App, tasks[job.Task.ID])
			}
		}
		note(1)
		time.Sleep(time.Millisecond)
		note(-1)
		s := job.Keep()
		s.Done++
		s.Finish = s.Done == 3
		return s, nil
	}})
	w.eventually("all are done", func() bool { return len(w.tasks(appPartition, entity.TaskReady)) == 0 })
	stop()
	if most < 4 {
		t.Errorf("at most %d steps ran at a time", most)
	}
}

// TestUnknownKindsWait for a node that knows them, and hold up nobody.
func TestUnknownKindsWait(t *testing.T) {
	w := newWorld(t, appPartition)
	defer w.Close()
	for range 20 {
		w.put(someApp, "of-the-future", entity.Urgent)
	}
	id := w.put(someApp, "count", entity.Idle)
	r, stop := w.run(nil, counting(1))
	w.eventually("what is known is done", func() bool { _, ok := w.task(appPartition, id); return !ok })
	if stats := r.Stats(); len(stats) != 2 || stats[1].Kind != "of-the-future" || stats[1].Queued != 20 {
		t.Errorf("figures: %+v", stats)
	}
	stop()
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no workers": func(c *Config) { c.Workers = 0 }, "no log": func(*Config) {},
		"no pause": func(c *Config) { c.Backoff = 0 }, "no handler": func(c *Config) { c.Kinds = []Kind{{Name: "x"}} },
		"twice": func(c *Config) { c.Kinds = []Kind{PurgeApplication(nil), PurgeApplication(nil)} },
		"name":  func(c *Config) { c.Kinds = []Kind{{Name: "X", Run: purge}} },
	} {
		cfg := DefaultConfig()
		if name != "no log" {
			cfg.Log = slog.New(slog.DiscardHandler)
		}
		change(&cfg)
		if _, err := New(cfg, &world{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestLateTasksWaitForNoQueue: an application has thousands of tasks with many steps, and
// one of another application, or in another partition, that comes later waits for no more of
// them than run already.
func TestLateTasksWaitForNoQueue(t *testing.T) {
	w := newWorld(t, appPartition, entity.System)
	defer w.Close()
	const workers, perApp = 6, 4
	var mu sync.Mutex
	var order []string     // of steps as they begin
	var gate chan struct{} // if there is one, steps that have begun wait for its end
	for range 3000 {
		w.put(16, "long", entity.Normal)
	}
	steps := func(name string, finish bool) Handler {
		return func(_ context.Context, job *Job) (Step, error) {
			mu.Lock()
			order = append(order, name)
			wait := gate
			mu.Unlock()
			if wait != nil {
				<-wait
			}
			s := job.Keep()
			s.Finish = finish
			return s, nil
		}
	}
	_, stop := w.run(func(c *Config) { c.Workers, c.PerApp = workers, perApp },
		Kind{Name: "long", Run: steps("long", false)}, Kind{Name: "late", Run: steps("late", true)}, Kind{Name: "elsewhere", Run: steps("elsewhere", true)})
	w.eventually("the queue is worked on", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(order) > 200
	})
	mu.Lock()
	gate = make(chan struct{})
	before := len(order)
	mu.Unlock()
	w.put(17, "late", entity.Normal)
	w.do(entity.System, entity.Management, command.PutTask{Task: command.NewTask{ID: entity.NewID(), Kind: "elsewhere", Priority: entity.Normal}})
	// None of the queue's steps ends meanwhile: these two wait for none of them.
	w.eventually("both have their turn", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(order, "late") && slices.Contains(order, "elsewhere")
	})
	close(gate)
	stop()
	for _, name := range []string{"late", "elsewhere"} {
		if at := slices.Index(order, name) - before; at > perApp+1 {
			t.Errorf("%s waited for %d steps, want %d at most", name, at, perApp+1)
		}
	}
}
