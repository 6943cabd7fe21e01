package tasks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
)

var itemRules = command.Rules{Collection: "items", Type: "item", Unique: []string{"name"}}

func (w *world) create(from, to int) {
	w.t.Helper()
	op := command.CreateEntities{Rules: itemRules}
	for i := from; i < to; i++ {
		op.Items = append(op.Items, command.NewEntity{ID: entity.NewID(), Created: int64(i), JSON: fmt.Appendf(nil, `{"name":"n%d","n":%d}`, i, i%7)})
	}
	w.do(appPartition, someApp, op)
}

func (w *world) items() (storage.Collection, entity.Settings) {
	w.t.Helper()
	v := w.Machines.View(appPartition)
	c, _, err := storage.ReadCollection(v, someApp, "items")
	settings, err2 := storage.ReadSettings(v, someApp, c.ID)
	if err := errors.Join(err, err2, v.Close()); err != nil {
		w.t.Fatal(err)
	}
	return c, settings
}

// settled waits until no task is left that is due.
func (w *world) settled() {
	w.t.Helper()
	time.Sleep(time.Hour)
	synctest.Wait()
	if list := w.tasks(appPartition, entity.TaskReady); len(list) > 0 {
		w.t.Errorf("tasks are left: %+v", list)
	}
}

// TestCollectionIsIndexedAnew, by as many changes of its settings as there are, with
// writes between them, whatever becomes of the proposals.
func TestCollectionIsIndexedAnew(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, appPartition)
			rng, pauses := rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 8))
			w.create(0, 900)
			_, stop := w.run(nil, Reindex())
			w.mu.Lock()
			w.fate = func() fate { return []fate{answered, answered, answered, unanswered, delayed}[rng.IntN(5)] }
			w.mu.Unlock()
			never := func() fate { return answered }
			for i := range 3 {
				w.mu.Lock()
				fate := w.fate
				w.fate = never
				w.mu.Unlock()
				composites := [][]entity.CompositeKey{{{Property: "n"}, {Property: "name", Desc: i%2 == 0}}}
				w.do(appPartition, someApp, command.PutSettings{Collection: "items", Task: entity.NewID(), Composites: &composites})
				w.create(1000+i*10, 1010+i*10)
				w.mu.Lock()
				w.fate = fate
				w.mu.Unlock()
				time.Sleep(time.Duration(pauses.IntN(2000)) * time.Millisecond)
			}
			w.settled()
			c, settings := w.items()
			if len(settings.Older) != 0 || len(c.Older) != 0 || c.Count != 930 || !settings.Ready(&settings.Plan.Composites[0]) {
				t.Errorf("collection %+v, settings %+v", c, settings)
			}
			stop()
			w.Close()
		})
	}
}

// TestReindexShowsHowFarItIs, in steps that are bounded by entities and by bytes.
func TestReindexShowsHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create(0, 600)
		w.do(appPartition, someApp, command.CreateEntities{Rules: itemRules, Items: []command.NewEntity{
			{ID: entity.NewID(), JSON: []byte(`{"big":"` + strings.Repeat("x", walkBytes) + `"}`)},
			{ID: entity.NewID(), JSON: []byte(`{"big":"` + strings.Repeat("y", walkBytes) + `"}`)},
		}})
		id := entity.NewID()
		w.do(appPartition, someApp, command.PutSettings{Collection: "items", Task: id, Fields: &command.Fields{List: []string{"n"}}})
		var done []uint64
		kind := Reindex()
		run := kind.Run
		kind.Run = func(ctx context.Context, job *Job) (Step, error) {
			if job.Task.ID == id {
				done = append(done, job.Task.Done)
				if job.Task.Total != 602 {
					t.Errorf("total is %d", job.Task.Total)
				}
			}
			return run(ctx, job)
		}
		_, stop := w.run(nil, kind)
		w.lead(appPartition)
		w.settled()
		if want := "[0 256 512 600 601 602]"; fmt.Sprint(done) != want {
			t.Errorf("done before the steps: %v, want %s", done, want)
		}
		// What was asked for again finds nothing to do.
		w.do(appPartition, someApp, command.Reindex{Collection: "items", Task: entity.NewID()})
		w.settled()
		stop()
		w.Close()
	})
}

// TestReindexSaysWhatCannotBeIndexed: its task waits for a person.
func TestReindexSaysWhatCannotBeIndexed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		w.do(appPartition, someApp, command.PutSettings{Collection: "items", Fields: &command.Fields{None: true}})
		w.create(0, 10)
		var numbers strings.Builder
		for i := range 21_000 {
			fmt.Fprintf(&numbers, "%d,", i)
		}
		w.do(appPartition, someApp, command.CreateEntities{Rules: itemRules, Items: []command.NewEntity{{ID: entity.NewID(), JSON: []byte(`{"n":[` + numbers.String() + `0]}`)}}})
		_, stop := w.run(nil, Reindex())
		w.do(appPartition, someApp, command.ClearSettings{Collection: "items", Task: entity.NewID()})
		w.settled()
		dead := w.tasks(appPartition, entity.TaskDead)
		if len(dead) != 1 || !strings.Contains(dead[0].LastError, "1 entities of collection items cannot be indexed") {
			t.Errorf("dead letters: %+v", dead)
		}
		stop()
		w.Close()
	})
}

// TestCollectionIsCleared of what was there, and was not changed since.
func TestCollectionIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		w.create(1, 1001)
		c, _ := w.items()
		body := entity.AppendWalk(nil, &entity.Walk{Collection: "items", Until: c.NextSeq, Time: 900})
		w.create(5001, 5011)
		w.do(appPartition, someApp, command.PutTask{Task: command.NewTask{ID: entity.NewID(), Kind: entity.TaskClear, Priority: entity.Normal, Body: body, Total: c.Count}})
		w.do(appPartition, someApp, command.UpdateEntity{Rules: itemRules, Target: command.Target{Aliases: []command.Alias{{Property: "name", Value: "n5"}}}, Patch: []byte(`{"n":0}`)})
		_, stop := w.run(nil, ClearCollection())
		w.settled()
		if c, _ := w.items(); c.Count != 1000-899+1+10 {
			t.Errorf("%d entities are left", c.Count)
		}
		w.do(appPartition, someApp, command.PutTask{Task: command.NewTask{ID: entity.NewID(), Kind: entity.TaskClear, Body: entity.AppendWalk(nil, &entity.Walk{Collection: "unknown", Until: 9})}})
		w.do(appPartition, someApp, command.PutTask{Task: command.NewTask{ID: entity.NewID(), Kind: entity.TaskClear, Body: entity.AppendWalk(nil, &entity.Walk{Collection: "items", Until: 9000})}})
		w.do(appPartition, someApp, command.PutTask{Task: command.NewTask{ID: entity.NewID(), Kind: entity.TaskClear, Body: []byte("x")}})
		w.settled()
		if c, _ := w.items(); c.Count != 0 {
			t.Errorf("%d entities are left", c.Count)
		}
		if dead := w.tasks(appPartition, entity.TaskDead); len(dead) != 1 {
			t.Errorf("dead letters: %+v", dead)
		}
		stop()
		w.Close()
	})
}
