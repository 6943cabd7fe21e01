package raftfsm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

var (
	feedUsers      = command.Rules{Collection: "users", Type: "user"}
	feedGroups     = command.Rules{Collection: "groups", Type: "group"}
	feedActivities = command.Rules{Collection: "activities", Type: "activity"}
)

// Users of the tests have the ids from 100 on, groups from 200, activities from 1000.
func feedUser(n int) command.Ref {
	return command.Ref{Collection: "users", Target: command.Target{ID: idOf(100 + n)}}
}

func feedGroup(n int) command.Ref {
	return command.Ref{Collection: "groups", Target: command.Target{ID: idOf(200 + n)}}
}

func follow(from, to int) command.Connect {
	return command.Connect{Source: feedUser(from), Verb: "following", Target: feedUser(to)}
}

func joinGroup(user, group int) command.Connect {
	return command.Connect{Source: feedUser(user), Verb: entity.VerbGroups, Target: feedGroup(group), Keep: true}
}

// society makes users and groups.
func (f *fixture) society(users, groups int) {
	f.t.Helper()
	op := command.CreateEntities{Rules: feedUsers}
	for i := range users {
		op.Items = append(op.Items, command.NewEntity{ID: feedUser(i).Target.ID, JSON: []byte(`{}`)})
	}
	f.must(op)
	op = command.CreateEntities{Rules: feedGroups}
	for i := range groups {
		op.Items = append(op.Items, command.NewEntity{ID: feedGroup(i).Target.ID, JSON: []byte(`{}`)})
	}
	f.must(op)
}

// say is a post of so many activities from an id on.
func say(by command.Publisher, from, n int) command.Post {
	op := command.Post{By: by, Task: idOf(500_000 + from), Create: command.CreateEntities{Rules: feedActivities}}
	for i := range n {
		op.Create.Items = append(op.Create.Items, command.NewEntity{ID: idOf(from + i), Created: 7, JSON: fmt.Appendf(nil, `{"verb":"post","published":%d}`, i%5)})
	}
	return op
}

func fromUser(n int) command.Publisher {
	return command.Publisher{Audience: entity.Followers, User: feedUser(n).Target.ID}
}

// entries counts what is in lists.
func (f *fixture) entries() (n int) {
	f.t.Helper()
	report, err := Check(context.Background(), f.view())
	if err != nil {
		f.t.Fatal(err)
	}
	return int(report.Listed)
}

// TestPostsAreDeterministic: machines that apply entry by entry, and in batches with
// restarts between them, come to the same.
func TestPostsAreDeterministic(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		one, many := newFixture(t, 3, 0), newFixture(t, 3, 0)
		one.society(6, 2)
		many.society(6, 2)
		var log []*raft.Log
		next := 1000
		for range 40 {
			a, b, g := rng.IntN(6), rng.IntN(6), rng.IntN(2)
			var op command.Op
			switch rng.IntN(9) {
			case 0, 1, 2:
				by := []command.Publisher{fromUser(a), {Audience: entity.Members, Group: feedGroup(g).Target.ID}, {User: feedUser(a).Target.ID},
					{Audience: entity.Friends, User: feedUser(a).Target.ID, Group: feedGroup(g).Target.ID}}[rng.IntN(4)]
				post := say(by, next, 1+rng.IntN(90))
				post.Create.Partial = rng.IntN(2) == 0
				if next += 90; rng.IntN(4) == 0 {
					post.Create.Items, post.Link = nil, idOf(1000+rng.IntN(next-1000))
				}
				op = post
			case 3, 4, 5:
				op = follow(a, b)
			case 6:
				op = joinGroup(a, g)
			case 7:
				op = command.Unlist{Owner: feedUser(a), List: keys.Feed, IDs: []entity.ID{idOf(1000 + rng.IntN(next-999)), idOf(1000)}}
			case 8:
				op = command.DeleteEntities{Collection: []string{"activities", "users", "groups"}[rng.IntN(3)], IDs: []entity.ID{idOf(100 + a), idOf(200 + g), idOf(1000 + rng.IntN(next-999))}}
			}
			cmd := command.Command{Time: 2000, App: 16, Op: op}
			one.apply(cmd)
			log = append(log, entryOf(one.index, cmd))
		}
		for len(log) > 0 {
			n := 1 + rng.IntN(len(log))
			many.machine.ApplyBatch(log[:n])
			if log = log[n:]; rng.IntN(2) == 0 {
				many.machine = many.open(3, 0)
			}
		}
		if one.digest() != many.digest() {
			t.Errorf("seed %d: the machines differ", seed)
		}
		checkClean(t, one.state, 3)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestPostIsRefused, and then changes nothing.
func TestPostIsRefused(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.society(3, 1)
	f.must(follow(1, 0))
	f.must(say(fromUser(0), 1000, 1))
	user, group, nobody := feedUser(0).Target.ID, feedGroup(0).Target.ID, idOf(9)
	with := func(change func(*command.Post)) command.Post {
		op := say(fromUser(0), 2000, 2)
		change(&op)
		return op
	}
	before := f.digest().Keys
	for _, tc := range []struct {
		code fault.Code
		op   command.Op
	}{
		{fault.ServiceResourceNotFound, with(func(o *command.Post) { o.By.User = nobody })},
		{fault.ServiceResourceNotFound, with(func(o *command.Post) { o.By = command.Publisher{Audience: entity.Members, Group: nobody} })},
		{fault.ServiceResourceNotFound, with(func(o *command.Post) { o.By = command.Publisher{Audience: entity.Friends, User: user, Group: group} })},
		{fault.ServiceResourceNotFound, with(func(o *command.Post) { o.Create.Items, o.Link = nil, nobody })},
		{fault.IllegalArgument, with(func(o *command.Post) { o.By = command.Publisher{} })},
		{fault.IllegalArgument, with(func(o *command.Post) { o.By = command.Publisher{User: user, Group: group} })},
		{fault.IllegalArgument, with(func(o *command.Post) { o.By.Group = group })},
		{fault.IllegalArgument, with(func(o *command.Post) { o.By.Audience = entity.Members })},
		{fault.IllegalArgument, with(func(o *command.Post) { o.By.Audience = 9 })},
		{fault.IllegalArgument, with(func(o *command.Post) { o.Task = entity.ID{} })},
		{fault.IllegalArgument, with(func(o *command.Post) { o.Create.Rules = feedUsers })},
		{fault.IllegalArgument, say(fromUser(0), 2000, entity.MaxPosted+1)},
		{fault.Conflict, with(func(o *command.Post) { o.Create.Items[1].ID = idOf(1000) })},
		{fault.ServiceResourceNotFound, command.Unlist{Owner: feedUser(2), List: keys.Feed, IDs: []entity.ID{idOf(1000)}}},
		{fault.ServiceResourceNotFound, command.Unlist{Owner: feedUser(9), List: keys.Feed, IDs: []entity.ID{idOf(1000)}}},
		{fault.IllegalArgument, command.Unlist{Owner: feedUser(0), List: keys.Feed, IDs: make([]entity.ID, command.MaxMany+1)}},
		{fault.IllegalArgument, command.Deliver{Activities: make([]entity.Posted, 500), Feeds: make([]entity.End, 3)}},
	} {
		f.refused(16, tc.code, tc.op)
	}
	if n := f.digest().Keys; n != before {
		t.Errorf("%d keys more", n-before)
	}
	// A task has the id that another would get.
	f.must(command.PutTask{Task: command.NewTask{ID: idOf(77), Kind: "mail", Priority: entity.Normal}})
	f.refused(16, fault.Conflict, with(func(o *command.Post) { o.Task = idOf(77) }))
	system := newFixture(t, entity.System, 0)
	for _, op := range []command.Op{command.Post{}, command.Deliver{}, command.Unlist{}} {
		system.refused(entity.Management, fault.ForbiddenOperation, op)
	}
	checkClean(t, f.state, 3)
}

// TestPostIsRepeatable: a request that is sent again has its effect once, and is answered
// as it was.
func TestPostIsRepeatable(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.society(3, 1)
	f.must(follow(1, 0))
	f.must(say(fromUser(2), 900, 1))
	link := say(fromUser(0), 1000, 0)
	link.Link, link.Task = idOf(900), idOf(55)
	ops := []command.Op{
		say(fromUser(0), 1000, 2), link,
		command.Unlist{Owner: feedUser(1), List: keys.Feed, IDs: []entity.ID{idOf(1000), idOf(7), idOf(900)}},
	}
	var first []command.Outcome
	run := func(i int) command.Outcome {
		out := f.apply(command.Command{Request: requestOf(i), Time: 1000, App: 16, Op: ops[i]})[0]
		if out.Fault != nil {
			t.Fatalf("%T: %v", ops[i], out.Fault)
		}
		return out
	}
	for i := range ops {
		first = append(first, run(i))
	}
	want := f.entries()
	for i := range ops {
		again := run(i)
		if len(again.Entities) != len(first[i].Entities) || again.Handled != first[i].Handled {
			t.Fatalf("%T: first %+v, then %+v", ops[i], first[i], again)
		}
		for n, e := range again.Entities {
			if e.ID != first[i].Entities[n].ID || string(e.JSON) != string(first[i].Entities[n].JSON) {
				t.Errorf("%T: %s %s", ops[i], e.ID, e.JSON)
			}
		}
	}
	if got := f.entries(); got != want {
		t.Errorf("%d entries, had %d", got, want)
	}
	// One that was deleted since is still what the request had made.
	f.must(command.DeleteEntity{Collection: "activities", Target: command.Target{ID: idOf(1000)}})
	if again := run(0); string(again.Entities[0].JSON) != string(first[0].Entities[0].JSON) {
		t.Errorf("of a deleted one: %s", again.Entities[0].JSON)
	}
	checkClean(t, f.state, 3)
}

// TestSmallAudiencesNeedNoTask, and large ones leave to it what it says.
func TestSmallAudiencesNeedNoTask(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.society(90, 1)
	for i := 1; i < 86; i++ {
		f.must(follow(i, 0))
	}
	f.must(say(fromUser(0), 1000, 3)) // 255 entries in the feeds of others
	if n := f.entries(); n != 3*85+6 {
		t.Errorf("%d entries", n)
	}
	f.must(follow(86, 0)) // has them as well
	f.must(follow(87, 0))
	if n := f.entries(); n != 3*87+6 {
		t.Errorf("%d entries", n)
	}
	f.must(say(fromUser(0), 2000, 3))
	task, ok, err := storage.ReadTask(f.view(), idOf(502_000))
	if err != nil || !ok || task.Kind != entity.TaskFanOut || task.Priority != entity.Urgent || task.Total != 87 {
		t.Fatalf("task %+v, %v, %v", task, ok, err)
	}
	if n := f.entries(); n != 3*87+12 {
		t.Errorf("%d entries", n)
	}
	body, err := entity.DecodeFanOut(task.Body)
	if err != nil || len(body.Activities) != 3 || body.Until != 88 || body.Next != 0 || body.Audience != entity.Followers {
		t.Errorf("body %+v, %v", body, err)
	}
	// What is gone gets nothing, and brings nothing.
	f.must(command.DeleteEntity{Collection: "users", Target: command.Target{ID: feedUser(5).Target.ID}})
	f.must(command.DeleteEntity{Collection: "activities", Target: command.Target{ID: idOf(2001)}})
	before := f.entries()
	f.must(command.StepTask{ID: task.ID, Turn: 0, Finish: true, Effect: command.Deliver{
		Activities: body.Activities, Feeds: []entity.End{{Collection: body.User.Collection, Seq: 6}, {Collection: body.User.Collection, Seq: 7}},
	}})
	if n := f.entries(); n != before+2 {
		t.Errorf("%d entries, had %d", n, before)
	}
	checkClean(t, f.state, 3)
}

// TestManyEntriesGoInSteps: an activity in more lists than one command takes it out of is
// gone at once, and a task names it until the last has gone. So is a user with a long feed.
func TestManyEntriesGoInSteps(t *testing.T) {
	f := newFixture(t, 3, 0)
	f.society(maxDropped+500, 1)
	f.must(say(fromUser(0), 10_000, 1))
	feeds := make([]entity.End, 0, command.MaxDelivered)
	for i := 1; i < maxDropped+500; i++ {
		feeds = append(feeds, entity.End{Collection: 1, Seq: entity.Seq(i + 1)})
		if len(feeds) == cap(feeds) || i == maxDropped+499 {
			f.must(command.Deliver{Activities: []entity.Posted{{Seq: 1, Published: 0}}, Feeds: feeds})
			feeds = feeds[:0]
		}
	}
	f.must(command.DeleteEntity{Collection: "activities", Target: command.Target{ID: idOf(10_000)}})
	end := entity.End{Collection: 3, Seq: 1}
	id := endID(entity.TaskDropEdges, 16, end, 0)
	task, ok, err := storage.ReadTask(f.view(), id)
	if err != nil || !ok {
		t.Fatalf("task: %v, %v", ok, err)
	}
	left := f.entries()
	if left != 501 {
		t.Errorf("%d entries are left", left)
	}
	for turn := uint64(0); left > 0; turn++ {
		f.must(command.StepTask{ID: id, Turn: turn, Body: task.Body, Effect: command.DropEdges{Ends: []entity.End{end}, Limit: 300}})
		if now := f.entries(); now != max(0, left-300) {
			t.Fatalf("a step left %d of %d", now, left)
		} else {
			left = now
		}
		checkClean(t, f.state, 3)
	}
	f.must(command.CancelTask{ID: id})
	for i := range 3 {
		f.must(say(fromUser(0), 20_000+i*1000, 1000))
	}
	f.must(follow(1, 0))
	if task, ok, err := storage.ReadTask(f.view(), endID(entity.TaskFollow, 16, entity.End{Collection: 1, Seq: 2}, 1)); err != nil || !ok || task.Kind != entity.TaskFollow {
		t.Errorf("task of a follower: %+v, %v, %v", task, ok, err)
	}
	if n := f.entries(); n != 6000+maxSpread {
		t.Errorf("%d entries", n)
	}
	f.must(command.DeleteEntity{Collection: "users", Target: command.Target{ID: feedUser(0).Target.ID}})
	if n := f.entries(); n != 4000+1+maxSpread { // an edge was one of those that went
		t.Errorf("%d entries", n)
	}
	checkClean(t, f.state, 3)
	f.must(command.PurgeApplication{})
	if n := f.entries(); n != 0 {
		t.Errorf("%d entries after the purge", n)
	}
}

// TestCheckFindsDamagedLists damages sound lists in one place each.
func TestCheckFindsDamagedLists(t *testing.T) {
	const p, app = entity.Partition(3), entity.AppID(16)
	owner, group := entity.End{Collection: 1, Seq: 1}, entity.End{Collection: 2, Seq: 1}
	entry := keys.AppendListed(nil, p, app, owner, keys.Outbox, 0, 1)
	back := keys.AppendListedIn(nil, p, app, 1, owner, keys.Outbox)
	task := func(kind, body string) func(b *storage.Batch) {
		return func(b *storage.Batch) {
			b.Set(keys.AppendTask(nil, p, idOf(50)), entity.AppendTask(nil, &entity.Task{ID: idOf(50), Kind: kind, App: app, State: entity.TaskReady, Body: []byte(body)}))
		}
	}
	both := func(owner entity.End, list byte, seq entity.Seq) func(b *storage.Batch) {
		return func(b *storage.Batch) {
			b.Set(keys.AppendListed(nil, p, app, owner, list, 5, seq), nil)
			b.Set(keys.AppendListedIn(nil, p, app, seq, owner, list), keys.AppendPublished(nil, 5))
		}
	}
	for _, tc := range []struct {
		what   string // part of the problem that is reported
		damage func(b *storage.Batch)
	}{
		{"missing: activity 1", func(b *storage.Batch) { b.Delete(entry) }},
		{"says it is not", func(b *storage.Batch) { b.Delete(back) }},
		{"says it is not", func(b *storage.Batch) { b.Set(back, keys.AppendPublished(nil, 3)) }},
		{"damaged list of an activity", func(b *storage.Batch) { b.Set(back, []byte("x")) }},
		{"damaged activity in a list", func(b *storage.Batch) { b.Set(entry, []byte("x")) }},
		{"damaged activity in a list", both(owner, 3, 1)},
		{"no user or group", both(entity.End{Collection: 3, Seq: 1}, keys.Feed, 1)},
		{"entity 9 of collection 2, which does not exist", both(entity.End{Collection: 2, Seq: 9}, keys.Feed, 1)},
		{"entity 8 of collection 3, which does not exist", both(group, keys.Feed, 8)},
		{"fan-out", task(entity.TaskFanOut, "x")},
		{"new follower", task(entity.TaskFollow, "x")},
	} {
		f := newFixture(t, p, 0)
		f.society(1, 1)
		f.must(say(fromUser(0), 1000, 1))
		checkClean(t, f.state, p)
		b := f.state.NewBatch(p)
		tc.damage(b)
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		report, err := Check(context.Background(), f.view())
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, problem := range report.Problems {
			found = found || strings.Contains(problem.String(), tc.what)
		}
		if !found {
			t.Errorf("no problem says %q: %v", tc.what, report.Problems)
		}
	}
}

// BenchmarkPost is the cost of one activity of many in an entry, by the number of
// followers.
func BenchmarkPost(b *testing.B) {
	for _, followers := range []int{0, 10, 100, 250, 10_000} {
		b.Run(fmt.Sprintf("followers=%d", followers), func(b *testing.B) {
			f := newFixture(b, 3, 0)
			f.society(1, 1)
			for from := 0; from < followers; from += 500 {
				op := command.CreateEntities{Rules: feedUsers}
				var links []command.Command
				for i := from; i < min(from+500, followers); i++ {
					id := idOf(1_000_000 + i)
					op.Items = append(op.Items, command.NewEntity{ID: id, JSON: []byte(`{}`)})
					links = append(links, command.Command{App: 16, Op: command.Connect{
						Source: command.Ref{Collection: "users", Target: command.Target{ID: id}}, Verb: "following", Target: feedUser(0)}})
				}
				f.must(op)
				f.apply(links...)
			}
			n := 0
			b.ResetTimer()
			for b.Loop() {
				n++
				op := say(fromUser(0), 10_000_000+n, 1)
				op.Task = idOf(20_000_000 + n)
				f.must(op)
			}
		})
	}
}
