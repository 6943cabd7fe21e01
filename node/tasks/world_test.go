package tasks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/raftfsm"
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
	t        *testing.T
	fs       *vfs.MemFS
	store    *storage.Store
	mu       sync.Mutex
	machines map[entity.Partition]*raftfsm.Machine
	logs     map[entity.Partition][]*raft.Log
	runners  []*Runner
	led      []entity.Partition
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
	w := &world{t: t, fs: vfs.NewCrashableMem(), logs: map[entity.Partition][]*raft.Log{}, led: led}
	if err := w.fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := w.fs.OpenDir("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		t.Fatal(err)
	}
	w.open()
	return w
}

// open starts the machines and gives them what their logs have.
func (w *world) open() {
	w.t.Helper()
	cfg := storage.DefaultConfig("data")
	cfg.FS = w.fs
	cfg.CacheBytes, cfg.StateMemtableBytes, cfg.LogMemtableBytes = 1<<20, 1<<20, 256<<10
	cfg.Log = slog.New(slog.DiscardHandler)
	cfg.Halt = func(err error) { w.t.Errorf("storage halted: %v", err) }
	var err error
	if w.store, err = storage.Open(cfg); err != nil {
		w.t.Fatal(err)
	}
	w.machines = map[entity.Partition]*raftfsm.Machine{}
	for _, p := range []entity.Partition{entity.System, appPartition} {
		// A window of few entries: what the runner promises must not hang on it.
		m, err := raftfsm.Open(raftfsm.Config{Partition: p, State: w.store.State(), DedupEntries: 4,
			Halt: func(err error) { w.t.Errorf("halted: %v", err) }, Tasked: func() { w.woken(p) }})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, entry := range w.logs[p] {
			m.ApplyBatch([]*raft.Log{entry})
		}
		w.machines[p] = m
	}
}

func (w *world) close() {
	w.t.Helper()
	for p := range w.machines {
		v := w.store.State().View(p)
		report, err := raftfsm.Check(context.Background(), v)
		if err := errors.Join(err, v.Close()); err != nil {
			w.t.Error(err)
		}
		for _, problem := range report.Problems {
			w.t.Error(problem)
		}
	}
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// crash cuts the power: the state goes back to what was flushed, the log stays.
func (w *world) crash(rng *rand.Rand) {
	after := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
	w.fs = after
	w.open()
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

func (w *world) View(p entity.Partition) (*storage.View, error) { return w.store.State().View(p), nil }

func (w *world) ProposeIn(ctx context.Context, p entity.Partition, cmd command.Command) (command.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return command.Outcome{}, fault.New(fault.Timeout, "too late")
	}
	if cmd.Time == 0 {
		cmd.Time = time.Now().UnixMilli()
	}
	become := answered
	if w.fate != nil {
		become = w.fate()
	}
	unknown := fault.New(fault.Timeout, "the outcome is not known")
	if become == delayed {
		w.late = append(w.late, lateCommand{p: p, after: len(w.logs[p]) + 12, cmd: cmd})
		return command.Outcome{}, unknown
	}
	for len(w.late) > 0 && len(w.logs[w.late[0].p]) >= w.late[0].after {
		w.apply(w.late[0].p, w.late[0].cmd)
		w.late = w.late[1:]
	}
	out := w.apply(p, cmd)
	if become == unanswered {
		return command.Outcome{}, unknown
	}
	return out, nil
}

// apply appends a command to the log and applies it.
func (w *world) apply(p entity.Partition, cmd command.Command) command.Outcome {
	entry := &raft.Log{Index: uint64(len(w.logs[p]) + 1), Term: 1, Type: raft.LogCommand, Data: command.AppendEntry(nil, []command.Command{cmd})}
	w.logs[p] = append(w.logs[p], entry)
	return w.machines[p].Apply(entry).([]command.Outcome)[0]
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
	v := w.store.State().View(p)
	task, ok, err := storage.ReadTask(v, id)
	if err := errors.Join(err, v.Close()); err != nil {
		w.t.Fatal(err)
	}
	return task, ok
}

func (w *world) tasks(p entity.Partition, state entity.TaskState) []entity.Task {
	w.t.Helper()
	v := w.store.State().View(p)
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
	v := w.store.State().View(appPartition)
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
