package tasks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/node/nodetest"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	appPartition = entity.Partition(3)
	someApp      = entity.AppID(16)
)

// world is the system partition and one of applications, each a real state machine
// with a log, and runners that believe to lead them.
type world struct {
	*nodetest.Machines
	t       *testing.T
	mu      sync.Mutex
	runners []*Runner
	led     []entity.Partition
	// fate says what becomes of a command; nil: it is applied and answered.
	fate func() fate
	late []lateCommand
}

// fate is what can become of a command.
type fate int

const (
	answered fate = iota
	unanswered
	delayed // unanswered, and applied when others have been
)

type lateCommand struct {
	p     entity.Partition
	after int // log entries
	cmd   command.Command
}

func newWorld(t *testing.T, led ...entity.Partition) *world {
	w := &world{t: t, led: led}
	w.Machines = nodetest.StartMachines(t, nodetest.MachinesConfig{
		Partitions:   []entity.Partition{entity.System, appPartition},
		DedupEntries: 4, // a window of few entries: what the runner promises must not hang on it
		Tasked:       w.woken, MemtableBytes: 1 << 20,
	})
	return w
}

func (w *world) woken(p entity.Partition) {
	for _, r := range w.runners {
		r.Wake(p)
	}
}

// lead changes which partitions are led.
func (w *world) lead(led ...entity.Partition) {
	w.mu.Lock()
	w.led = led
	w.mu.Unlock()
	w.woken(entity.System)
}

func (w *world) Led() []entity.Partition {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.led
}

func (w *world) View(p entity.Partition) (*storage.View, error) { return w.Machines.View(p), nil }

func (w *world) ProposeIn(ctx context.Context, p entity.Partition, cmd command.Command) (command.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return command.Outcome{}, fault.New(fault.Timeout, "too late")
	}
	become := answered
	if w.fate != nil {
		become = w.fate()
	}
	unknown := fault.New(fault.Timeout, "the outcome is not known")
	if become == delayed {
		w.late = append(w.late, lateCommand{p: p, after: w.Entries(p) + 12, cmd: cmd})
		return command.Outcome{}, unknown
	}
	for len(w.late) > 0 && w.Entries(w.late[0].p) >= w.late[0].after {
		w.Apply(w.late[0].p, w.late[0].cmd)
		w.late = w.late[1:]
	}
	out := w.Apply(p, cmd)
	if become == unanswered {
		return command.Outcome{}, unknown
	}
	return out, nil
}

func (w *world) Propose(ctx context.Context, app entity.AppID, cmd command.Command) (command.Outcome, error) {
	cmd.App = app
	if app <= entity.Management {
		return w.ProposeIn(ctx, entity.System, cmd)
	}
	return w.ProposeIn(ctx, appPartition, cmd)
}

// do proposes what must succeed.
func (w *world) do(p entity.Partition, app entity.AppID, op command.Op) command.Outcome {
	w.t.Helper()
	out, err := w.ProposeIn(context.Background(), p, command.Command{App: app, Op: op})
	if err != nil || out.Fault != nil {
		w.t.Fatalf("%T: %v %v", op, err, out.Fault)
	}
	return out
}

// put records a task that is due at once.
func (w *world) put(app entity.AppID, kind string, priority entity.Priority) entity.ID {
	w.t.Helper()
	id := entity.NewID()
	w.do(appPartition, app, command.PutTask{Task: command.NewTask{ID: id, Kind: kind, Priority: priority}})
	return id
}

func (w *world) task(p entity.Partition, id entity.ID) (entity.Task, bool) {
	w.t.Helper()
	v := w.Machines.View(p)
	task, ok, err := storage.ReadTask(v, id)
	if err := errors.Join(err, v.Close()); err != nil {
		w.t.Fatal(err)
	}
	return task, ok
}

func (w *world) tasks(p entity.Partition, state entity.TaskState) []entity.Task {
	w.t.Helper()
	v := w.Machines.View(p)
	list, _, err := storage.Tasks(v, state, 10_000)
	if err := errors.Join(err, v.Close()); err != nil {
		w.t.Fatal(err)
	}
	return list
}

// run starts a runner until stop is called.
func (w *world) run(change func(*Config), kinds ...Kind) (r *Runner, stop func()) {
	w.t.Helper()
	cfg := DefaultConfig()
	cfg.Kinds, cfg.Log = kinds, slog.New(slog.DiscardHandler)
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg, w)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.runners = append(w.runners, r)
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	return r, func() { cancel(); <-done }
}

// eventually waits for a fact.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for range 20_000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatalf("not so after a long time: %s", what)
}

// counting is a kind of task whose every step adds an entity that says which step it
// was; one that happened twice or never shows.
func counting(steps uint64) Kind {
	return Kind{Name: "count", Run: func(_ context.Context, job *Job) (Step, error) {
		s := job.Keep()
		s.Done++
		s.Total = steps
		s.Finish = s.Done == steps
		s.Effect = command.CreateEntities{Rules: command.Rules{Collection: "counts", Type: "count"}, Items: []command.NewEntity{{
			ID: entity.NewID(), JSON: fmt.Appendf(nil, `{"task":%q,"step":%d}`, job.Task.ID, job.Task.Step),
		}}}
		return s, nil
	}}
}

// counted returns how often each step of each task happened.
func (w *world) counted() map[string]int {
	w.t.Helper()
	v := w.Machines.View(appPartition)
	defer v.Close()
	c, ok, err := storage.ReadCollection(v, someApp, "counts")
	if err != nil {
		w.t.Fatal(err)
	}
	seen := map[string]int{}
	if !ok {
		return seen
	}
	it, err := v.Scan(keys.EntityRange(appPartition, someApp, c.ID))
	if err != nil {
		w.t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		e, err := entity.DecodeRecord(it.Value())
		if err != nil {
			w.t.Fatal(err)
		}
		seen[string(e.JSON)]++
	}
	return seen
}

// exactly fails the test unless each of the steps of each task happened once.
func (w *world) exactly(ids []entity.ID, steps int) {
	w.t.Helper()
	seen := w.counted()
	for _, id := range ids {
		for step := range steps {
			what := fmt.Sprintf(`{"task":%q,"step":%d}`, id, step)
			if seen[what] != 1 {
				w.t.Errorf("%s happened %d times", what, seen[what])
			}
			delete(seen, what)
		}
	}
	if len(seen) > 0 {
		w.t.Errorf("besides: %v", seen)
	}
}
