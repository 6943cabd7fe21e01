package tasks

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// keysOf counts the keys of an application in its partition.
func (w *world) keysOf(app entity.AppID) (n int) {
	w.t.Helper()
	v := w.Machines.View(appPartition)
	defer v.Close()
	it, err := v.Scan(keys.AppRange(appPartition, app))
	if err != nil {
		w.t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n
}

// TestDeletedApplicationIsPurged, after its grace and not before; the neighbour keeps
// everything; the name is free again and the number is not given again.
func TestDeletedApplicationIsPurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, entity.System, appPartition)
		organization, app := entity.NewID(), entity.NewID()
		w.do(entity.System, entity.Management, command.CreateOrganization{
			Name: "acme", Organization: command.NewEntity{ID: organization, JSON: []byte(`{"name":"acme"}`)},
			Owner: &command.NewEntity{ID: entity.NewID(), JSON: []byte(`{"username":"ada","email":"a@b.cd"}`)},
		})
		create := func(id entity.ID) {
			w.do(entity.System, entity.Management, command.CreateApplication{Organization: organization,
				Application: command.NewApplication{ID: id, Name: "shop", Partition: appPartition, Secret: "s"}})
		}
		remove := func(id entity.ID, at time.Time) {
			w.do(entity.System, entity.Management, command.DeleteApplication{Organization: organization, Application: id, PurgeAt: at.UnixMilli()})
		}
		create(app)
		rules := command.Rules{Collection: "items", Type: "item", Unique: []string{"name"}}
		for i := range 50 {
			for _, number := range []entity.AppID{16, 17} {
				w.do(appPartition, number, command.CreateEntities{Rules: rules, Items: []command.NewEntity{{ID: entity.NewID(), JSON: fmt.Appendf(nil, `{"name":"n%d"}`, i)}}})
			}
		}
		before := w.keysOf(17)
		_, stop := w.run(nil, PurgeApplication(nil), counting(1))
		remove(app, time.Now().Add(24*time.Hour))
		time.Sleep(24*time.Hour - time.Minute)
		synctest.Wait()
		if w.keysOf(16) == 0 {
			t.Error("purged before its time")
		}
		orphan := entity.NewID() // a task of the application itself
		w.do(appPartition, 16, command.PutTask{Task: command.NewTask{ID: orphan, Kind: "count", Priority: entity.Idle, NotBefore: time.Now().Add(time.Hour).UnixMilli()}})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := w.keysOf(16); n != 0 {
			t.Errorf("%d keys are left", n)
		}
		if n := w.keysOf(17); n != before {
			t.Errorf("the neighbour has %d keys, had %d", n, before)
		}
		if list := w.tasks(entity.System, entity.TaskReady); len(list) != 0 {
			t.Errorf("tasks are left: %+v", list)
		}
		v := w.Machines.View(entity.System)
		if _, _, ok, err := storage.ReadRoute(v, 16); ok || err != nil {
			t.Errorf("the route is still there; %v", err)
		}
		_ = v.Close()
		// What comes late finds no room.
		out, err := w.ProposeIn(t.Context(), appPartition, command.Command{App: 16, Op: command.CreateEntities{Rules: rules, Items: []command.NewEntity{{ID: entity.NewID()}}}})
		if err != nil || out.Fault == nil || out.Fault.Code != fault.NotFound {
			t.Errorf("a late write: %v %v", out.Fault, err)
		}
		// A task of the application goes when its time comes.
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, ok := w.task(appPartition, orphan); ok {
			t.Error("a task of a purged application is still there")
		}
		// The name can be used and deleted again, also before the purge.
		second, third := entity.NewID(), entity.NewID()
		create(second)
		remove(second, time.Now())
		synctest.Wait()
		create(third)
		remove(third, time.Now())
		synctest.Wait()
		if n := w.keysOf(18); n != 0 {
			t.Errorf("%d keys of the next", n)
		}
		stop()
		w.Close()
	})
}

// TestExpiredTokensGo: once an hour and in small steps, from every application, with
// exactly one task however many runners think they lead.
func TestExpiredTokensGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		now := time.Now()
		for app := entity.AppID(16); app < 19; app++ {
			w.do(appPartition, app, command.CreateCollections{Names: []string{"users"}}) // a key behind the tokens
			for i := range 600 {
				token := entity.Token{Kind: entity.PrincipalAppUser, Created: 1}
				switch i % 3 {
				case 0:
					token.Expires = now.UnixMilli() - 1
				case 1:
					token.Expires = now.Add(3 * time.Hour).UnixMilli()
				}
				w.do(appPartition, app, command.PutToken{Hash: [32]byte{byte(i), byte(i >> 8), byte(app)}, Token: token})
			}
		}
		left := func() (n int) {
			for app := entity.AppID(16); app < 19; app++ {
				v := w.Machines.View(appPartition)
				it, err := v.Scan(keys.TokenRange(appPartition, app))
				if err != nil {
					t.Fatal(err)
				}
				for ok := it.First(); ok; ok = it.Next() {
					n++
				}
				it.Close()
				v.Close()
			}
			return n
		}
		first, stop := w.run(nil, ExpireTokens())
		_, stopOther := w.run(nil, ExpireTokens())
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if n := left(); n != 1800 {
			t.Errorf("%d tokens left within the margin, want all", n)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := left(); n != 1200 {
			t.Errorf("%d tokens left, want 1200", n)
		}
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if n := left(); n != 600 {
			t.Errorf("%d tokens left, want those that never expire", n)
		}
		list := w.tasks(appPartition, entity.TaskReady)
		if len(list) != 1 || list[0].ID != OwnID("expire-tokens") || list[0].Done != 1200 || list[0].NotBefore <= time.Now().UnixMilli() {
			t.Errorf("tasks: %+v", list)
		}
		if c := first.Stats()[0]; c.Queued != 1 || c.Failures != 0 {
			t.Errorf("figures: %+v", c)
		}
		stop()
		stopOther()
		w.Close()
	})
}

// TestSweepGoesOnWhereItEnded, whatever its bounds are.
func TestSweepGoesOnWhereItEnded(t *testing.T) {
	w := newWorld(t)
	defer w.Close()
	want := 0
	for app := entity.AppID(16); app < 22; app++ {
		if app != 18 {
			w.do(appPartition, app, command.CreateCollections{Names: []string{"a", "b"}})
		}
		for i := range byte(app % 4) {
			w.do(appPartition, app, command.PutToken{Hash: [32]byte{i}, Token: entity.Token{Expires: 5}})
			want++
		}
	}
	for looks := 1; looks < 30; looks++ {
		v := w.Machines.View(appPartition)
		var from []byte
		found, steps := map[command.TokenRef]bool{}, 0
		for ; ; steps++ {
			s := sweep{before: 6, keys: looks, remove: 2}
			if err := s.run(t.Context(), v, from); err != nil {
				t.Fatal(err)
			}
			for _, ref := range s.found {
				if found[ref] {
					t.Errorf("token %v found twice", ref)
				}
				found[ref] = true
			}
			if from = s.rest; from == nil || steps > 100 {
				break
			}
		}
		v.Close()
		if len(found) != want || steps > 100 {
			t.Errorf("with %d looks a step: %d tokens in %d steps, want %d", looks, len(found), steps, want)
		}
	}
}

// TestEdgesOfTheDeletedGo: all of them, of an entity that had more than one command
// removes, and of several that were deleted together.
func TestEdgesOfTheDeletedGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		rules := command.Rules{Collection: "items", Type: "item"}
		ids := make([]entity.ID, 1000)
		create := command.CreateEntities{Rules: rules}
		for i := range ids {
			ids[i] = entity.NewID()
			create.Items = append(create.Items, command.NewEntity{ID: ids[i], JSON: []byte("{}")})
		}
		w.do(appPartition, 16, create)
		ref := func(i int) command.Ref {
			return command.Ref{Collection: "items", Target: command.Target{ID: ids[i]}}
		}
		for hub := range 2 {
			for i := range ids {
				w.do(appPartition, 16, command.Connect{Source: ref(hub), Verb: "likes", Target: ref(i)})
				w.do(appPartition, 16, command.Connect{Source: ref(i), Verb: "likes", Target: ref(hub)})
			}
		}
		w.do(appPartition, 16, command.DeleteEntities{Collection: "items", IDs: ids[:2]})
		if list := w.tasks(appPartition, entity.TaskReady); len(list) != 1 || list[0].Kind != entity.TaskDropEdges {
			t.Fatalf("tasks: %+v", list)
		}
		_, stop := w.run(nil, DropEdges())
		time.Sleep(time.Minute)
		synctest.Wait()
		if list := w.tasks(appPartition, entity.TaskReady); len(list) != 0 {
			t.Errorf("tasks are left: %+v", list)
		}
		v := w.Machines.View(appPartition)
		for seq := entity.Seq(3); seq <= 1000; seq++ {
			e, ok, err := storage.ReadEntity(v, 16, 1, seq)
			if err != nil || !ok || e.HasIn || e.HasOut {
				t.Fatalf("%d still has edges: %+v, %v", seq, e, err)
			}
		}
		_ = v.Close()
		// A body that names nothing is for a person to look at.
		broken := entity.NewID()
		w.do(appPartition, 16, command.PutTask{Task: command.NewTask{ID: broken, Kind: entity.TaskDropEdges, Body: []byte("x")}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if task, ok := w.task(appPartition, broken); !ok || task.State != entity.TaskDead {
			t.Errorf("a damaged task: %+v", task)
		}
		w.do(appPartition, 16, command.CancelTask{ID: broken})
		stop()
		w.Close()
	})
}

// TestEndedJobsGo after some weeks, and no others.
func TestEndedJobsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, appPartition)
		ended := time.Now().Add(2*time.Hour - JobsKept).UnixMilli() // they go in two hours
		for app := entity.AppID(16); app < 18; app++ {
			for n := range byte(120) {
				state := entity.JobFinished
				if n%3 == 0 {
					state = entity.JobStarted
				}
				op := command.PutJob{
					Job: entity.Job{ID: entity.ID{0: byte(app), 15: n + 1}, Kind: entity.JobImport, State: state, Files: 1}, Files: []entity.JobFile{{State: state}},
				}
				if out, err := w.ProposeIn(t.Context(), appPartition, command.Command{App: app, Time: ended, Op: op}); err != nil || out.Fault != nil {
					t.Fatal(err, out.Fault)
				}
			}
		}
		left := func() (n int) {
			for app := entity.AppID(16); app < 18; app++ {
				v := w.Machines.View(appPartition)
				list, err := storage.Jobs(v, app)
				if err != nil || v.Close() != nil {
					t.Fatal(err)
				}
				n += len(list)
			}
			return n
		}
		_, stop := w.run(nil, ExpireJobs())
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		if n := left(); n != 240 {
			t.Errorf("%d jobs are left too early, want all", n)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := left(); n != 80 {
			t.Errorf("%d jobs are left, want those that have not ended", n)
		}
		stop()
		w.Close()
	})
}
