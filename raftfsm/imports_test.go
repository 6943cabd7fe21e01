package raftfsm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

const importApp = entity.AppID(16)

// try runs an operation of the application.
func (f *fixture) try(op command.Op) command.Outcome {
	f.t.Helper()
	return f.apply(command.Command{App: importApp, Time: int64(1000 + f.index), Op: op})[0]
}

// checked fails for what is wrong with the partition.
func (f *fixture) checked() {
	f.t.Helper()
	v := f.state.View(f.machine.cfg.Partition)
	defer v.Close()
	report, err := Check(context.Background(), v)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, p := range report.Problems {
		f.t.Error(p)
	}
}

// TestTasksOfAnApplicationAreBounded, also after a restart, and what another has is
// nothing to it.
func TestTasksOfAnApplicationAreBounded(t *testing.T) {
	f := newFixture(t, 3, 4)
	put := func(app entity.AppID, n int) *fault.Error {
		return f.apply(command.Command{App: app, Op: command.PutTask{Task: command.NewTask{ID: idOf(int(app)*100_000 + n), Kind: "x", Priority: entity.Priority(1 + n%3)}}})[0].Fault
	}
	for n := range entity.MaxTasks {
		if f := put(16, n); f != nil {
			t.Fatal(f)
		}
	}
	for range 2 {
		if got := put(16, entity.MaxTasks); got == nil || got.Code != fault.TooManyRequests {
			t.Errorf("one too many: %v", got)
		}
		if got := put(16, 0); got != nil {
			t.Errorf("one that is there already: %v", got)
		}
		f.machine = f.open(3, 4)
	}
	if got := put(17, 0); got != nil {
		t.Errorf("of another application: %v", got)
	}
	f.try(command.CancelTask{ID: idOf(1_600_007)})
	if got := put(16, entity.MaxTasks); got != nil {
		t.Errorf("after one was cancelled: %v", got)
	}
	if got := put(16, entity.MaxTasks+1); got == nil {
		t.Error("the next is not refused")
	}
	f.try(command.ImportEntities{Rules: command.Rules{Collection: "things", Type: "thing"}, Items: []command.ImportItem{
		{NewEntity: command.NewEntity{ID: idOf(1), JSON: []byte(`{}`)}}}})
	owner := command.Ref{Collection: "things", Target: command.Target{ID: idOf(1)}}
	if out := f.try(command.ImportData{Owner: owner, Blob: idOf(2), Size: 2, Chunk: 1, Bytes: []byte("a")}); len(out.Errors) != 1 || out.Errors[0].Code != fault.TooManyRequests {
		t.Errorf("data that would wait: %+v", out)
	}
	if out := f.try(command.ImportData{Owner: owner, Blob: idOf(2), Size: 1, Chunk: 1, Bytes: []byte("a")}); out.Handled != 1 {
		t.Errorf("data that is whole: %+v", out)
	}
}

// TestImportedEntities: what is imported is what was meant, once, and a random run of imports,
// of which some are sent again, leaves the partition sound and all replicas the same.
func TestImportedEntities(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		f, other := newFixture(t, 3, 4), newFixture(t, 3, 4)
		rules := []command.Rules{{Collection: "items", Type: "item", Unique: []string{"name"}}, {Collection: "roles", Type: "role", Unique: []string{"name"}, Required: []string{"name"}}}
		job := idOf(999)
		f.try(command.PutJob{Job: entity.Job{ID: job, Kind: entity.JobImport, State: entity.JobStarted, Files: 1}, Files: []entity.JobFile{{State: entity.JobCreated}}})
		other.try(command.PutJob{Job: entity.Job{ID: job, Kind: entity.JobImport, State: entity.JobStarted, Files: 1}, Files: []entity.JobFile{{State: entity.JobCreated}}})
		sum := entity.JobFile{State: entity.JobCreated}
		var batches [][]command.Command
		for n := range 30 {
			note := command.JobNote{Job: job, Position: uint64(n), Lines: uint64(n)}
			var op command.Op
			items := 1 + rng.IntN(6)
			if rng.IntN(3) > 0 {
				o := command.ImportEntities{Rules: rules[rng.IntN(2)], Replace: rng.IntN(2) == 0, Adopt: rng.IntN(2) == 0, Note: note}
				for range items {
					item := command.ImportItem{NewEntity: command.NewEntity{
						ID: idOf(1 + rng.IntN(20)), Created: int64(rng.IntN(100)), Modified: int64(rng.IntN(100)),
						JSON: fmt.Appendf(nil, `{"name":"n%d","x":%d}`, rng.IntN(12), rng.IntN(3)),
					}}
					if o.Rules.Collection == "roles" {
						item.Permissions = []string{"get:/a", "put:/b", "post:/c"}[rng.IntN(3):]
					}
					o.Items = append(o.Items, item)
				}
				op = o
			} else {
				o := command.ImportEdges{Note: note}
				for range items {
					ref := func() command.Ref {
						return command.Ref{Collection: rules[rng.IntN(2)].Collection, Any: rng.IntN(2) == 0, Target: command.Target{ID: idOf(1 + rng.IntN(20))}}
					}
					o.Edges = append(o.Edges, command.ImportEdge{Source: ref(), Target: ref(), Verb: "likes"})
				}
				op = o
			}
			cmd := command.Command{Request: requestOf(n + 1), App: importApp, Time: 1000, Op: op}
			out := f.apply(cmd)[0]
			if out.Fault != nil {
				t.Fatal(out.Fault)
			}
			switch o := op.(type) {
			case command.ImportEntities:
				sum.Imported += uint64(out.Handled)
				sum.Existing += uint64(len(o.Items) - out.Handled - len(out.Errors))
			case command.ImportEdges:
				sum.Linked += uint64(out.Handled)
			}
			sum.Failed += uint64(len(out.Errors))
			if again := f.apply(cmd)[0]; again.Handled != out.Handled || len(again.Errors) != len(out.Errors) {
				t.Errorf("seed %d: a retry has outcome %+v, not %+v", seed, again, out)
			}
			batches = append(batches, []command.Command{cmd})
		}
		for _, cmds := range batches {
			other.apply(cmds...)
			other.apply(cmds...)
		}
		if f.digest() != other.digest() {
			t.Errorf("seed %d: replicas differ", seed)
		}
		v := f.state.View(3)
		got, ok, err := storage.ReadJobFile(v, importApp, job, 0)
		errs, err2 := storage.JobErrors(v, importApp, job, 0)
		_ = v.Close()
		sum.Position, sum.Lines = 29, 29
		if err != nil || err2 != nil || !ok || got != sum || uint64(len(errs)) != sum.Failed {
			t.Errorf("seed %d: the job says %+v and has %d errors, want %+v", seed, got, len(errs), sum)
		}
		f.checked()
	}
}

// TestJobsAreBoundedAndGo when they are dropped, if they have ended.
func TestJobsAreBoundedAndGo(t *testing.T) {
	f := newFixture(t, 3, 4)
	job := func(n int, state entity.JobState) *fault.Error {
		return f.try(command.PutJob{Job: entity.Job{ID: idOf(n), Kind: entity.JobImport, State: state, Files: 1}, Files: []entity.JobFile{{State: state}}}).Fault
	}
	for n := range entity.MaxJobs {
		state := entity.JobStarted
		if n%2 == 0 {
			state = entity.JobFinished
		}
		if f := job(n+1, state); f != nil {
			t.Fatal(f)
		}
	}
	if got := job(5000, entity.JobCreated); got == nil || got.Code != fault.TooManyRequests {
		t.Errorf("one too many: %v", got)
	}
	f.try(command.DropJobs{Jobs: []entity.ID{idOf(1), idOf(2), idOf(1), idOf(7777)}})
	if got := job(5000, entity.JobCreated); got != nil {
		t.Errorf("after one was dropped: %v", got)
	}
	v := f.state.View(3)
	list, err := storage.Jobs(v, importApp)
	_, second, err2 := storage.ReadJob(v, importApp, idOf(2))
	_ = v.Close()
	if err != nil || err2 != nil || len(list) != entity.MaxJobs || !second {
		t.Errorf("%d jobs, the second is there: %v; %v %v", len(list), second, err, err2)
	}
	f.checked()
}

// TestJobIsSettledByItsFiles.
func TestJobIsSettledByItsFiles(t *testing.T) {
	f := newFixture(t, 3, 4)
	id := idOf(1)
	f.try(command.PutJob{Job: entity.Job{ID: id, Kind: entity.JobExport, State: entity.JobCreated, Files: 2, Target: "b"},
		Files: []entity.JobFile{{State: entity.JobCreated, Name: "x"}, {Number: 1, State: entity.JobCreated, Name: "y"}}})
	for _, tc := range []struct {
		number uint32
		state  entity.JobState
		want   entity.JobState
	}{{0, entity.JobStarted, entity.JobStarted}, {1, entity.JobFailed, entity.JobStarted}, {0, entity.JobFinished, entity.JobFailed}} {
		f.try(command.PutJob{Job: entity.Job{ID: id, Kind: entity.JobExport, State: entity.JobStarted}, Files: []entity.JobFile{{Number: tc.number, State: tc.state}}, Settle: true})
		v := f.state.View(3)
		got, _, err := storage.ReadJob(v, importApp, id)
		_ = v.Close()
		if err != nil || got.State != tc.want || got.Target != "b" || got.Files != 2 {
			t.Errorf("file %d %s: %+v, %v", tc.number, tc.state, got, err)
		}
	}
	f.try(command.PutJob{Job: entity.Job{ID: idOf(2), Kind: entity.JobExport, State: entity.JobStarted}, Settle: true})
	f.checked()
}
