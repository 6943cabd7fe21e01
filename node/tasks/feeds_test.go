package tasks

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

var (
	userRules     = command.Rules{Collection: "users", Type: "user", Unique: []string{"username"}}
	groupRules    = command.Rules{Collection: "groups", Type: "group", Unique: []string{"path"}}
	activityRules = command.Rules{Collection: "activities", Type: "activity"}
)

// listName is a list of an owner.
type listName struct {
	owner entity.ID
	list  byte
}

// society is what a world of feeds is compared with: sets, and no task anywhere.
type society struct {
	w             *world
	rng           *rand.Rand
	users, groups []entity.ID
	follows       map[[2]entity.ID]bool // follower, followed
	members       map[[2]entity.ID]bool // user, group
	lists         map[listName]map[entity.ID]bool
	published     map[entity.ID]entity.Posted // of activities that exist
	stop          func()
}

func newSociety(w *world, seed uint64) *society {
	s := &society{
		w: w, rng: rand.New(rand.NewPCG(seed, 1)), follows: map[[2]entity.ID]bool{}, members: map[[2]entity.ID]bool{},
		lists: map[listName]map[entity.ID]bool{}, published: map[entity.ID]entity.Posted{},
	}
	for i := range 15 {
		s.newcomer(i)
	}
	s.run()
	return s
}

// run starts the tasks; what becomes of what they propose is chance.
func (s *society) run() {
	fates := rand.New(rand.NewPCG(s.rng.Uint64(), 2))
	_, s.stop = s.w.run(func(c *Config) { c.Workers = 2 }, FanOut(), Follow(), DropEdges())
	s.w.mu.Lock()
	s.w.fate = func() fate { return []fate{answered, answered, answered, unanswered, delayed}[fates.IntN(5)] }
	s.w.mu.Unlock()
}

// do proposes what must succeed, and is known to have.
func (s *society) do(op command.Op) command.Outcome {
	s.w.t.Helper()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	out := s.w.Apply(appPartition, command.Command{Time: time.Now().UnixMilli(), App: someApp, Op: op})
	if out.Fault != nil {
		s.w.t.Fatalf("%+v: %v", op, out.Fault)
	}
	return out
}

func (s *society) settle() {
	s.w.t.Helper()
	s.w.settled()
}

func (s *society) newcomer(i int) {
	id, rules, json := entity.NewID(), userRules, fmt.Sprintf(`{"username":"u%d"}`, i)
	if i%5 == 4 {
		rules, json = groupRules, fmt.Sprintf(`{"path":"g%d"}`, i)
		s.groups = append(s.groups, id)
	} else {
		s.users = append(s.users, id)
	}
	s.do(command.CreateEntities{Rules: rules, Items: []command.NewEntity{{ID: id, JSON: []byte(json)}}})
}

func ref(collection string, id entity.ID) command.Ref {
	return command.Ref{Collection: collection, Target: command.Target{ID: id}}
}

func pick(rng *rand.Rand, ids []entity.ID) entity.ID { return ids[rng.IntN(len(ids))] }

// star is a user, of whom some are more popular than others.
func (s *society) star() entity.ID {
	if s.rng.IntN(3) > 0 {
		return pick(s.rng, s.users[:2])
	}
	return pick(s.rng, s.users)
}

func (s *society) put(owner entity.ID, list byte, activity entity.ID) {
	at := listName{owner, list}
	if s.lists[at] == nil {
		s.lists[at] = map[entity.ID]bool{}
	}
	s.lists[at][activity] = true
}

// spread is what an activity that is posted does.
func (s *society) spread(by command.Publisher, activity entity.ID) {
	own := by.User
	if own.IsZero() {
		own = by.Group
	}
	s.put(own, keys.Feed, activity)
	if by.Audience != entity.NoAudience {
		s.put(own, keys.Outbox, activity)
	}
	for _, u := range s.users {
		follows, member := s.follows[[2]entity.ID{u, by.User}], s.members[[2]entity.ID{u, by.Group}]
		switch {
		case by.Audience == entity.Followers && follows, by.Audience == entity.Members && member, by.Audience == entity.Friends && follows && member:
			s.put(u, keys.Feed, activity)
		}
	}
}

func (s *society) publisher() (by command.Publisher, ok bool) {
	user, group := s.star(), pick(s.rng, s.groups)
	switch by.Audience = entity.Audience(s.rng.IntN(4)); by.Audience {
	case entity.Followers:
		by.User = user
	case entity.Members:
		by.Group = group
	case entity.Friends:
		by.User, by.Group = user, group
		return by, s.members[[2]entity.ID{user, group}]
	default:
		if by.User = user; s.rng.IntN(2) == 0 {
			by.User, by.Group = entity.ID{}, group
		}
	}
	return by, true
}

func (s *society) post() {
	by, ok := s.publisher()
	if !ok {
		return
	}
	op := command.Post{By: by, Task: entity.NewID(), Create: command.CreateEntities{Rules: activityRules}}
	n := 1 + s.rng.IntN(4)
	if s.rng.IntN(3) == 0 {
		n = 100 + s.rng.IntN(200) // with some followers that is a task's
	}
	for range n {
		published := []int64{s.rng.Int64N(20), -1 << 63, 1<<63 - 1, -5}[s.rng.IntN(20)/17]
		op.Create.Items = append(op.Create.Items, command.NewEntity{
			ID: entity.NewID(), Created: 3, JSON: fmt.Appendf(nil, `{"verb":"post","published":%d}`, published),
		})
		s.published[op.Create.Items[len(op.Create.Items)-1].ID] = entity.Posted{Published: published}
	}
	for _, e := range s.do(op).Entities {
		s.published[e.ID] = entity.Posted{Seq: e.Seq, Published: s.published[e.ID].Published}
		s.spread(by, e.ID)
	}
}

func (s *society) activity() (entity.ID, bool) {
	all := slices.SortedFunc(maps.Keys(s.published), func(a, b entity.ID) int { return slices.Compare(a[:], b[:]) })
	if len(all) == 0 {
		return entity.ID{}, false
	}
	return pick(s.rng, all), true
}

func (s *society) linkOne() {
	by, ok := s.publisher()
	activity, some := s.activity()
	if !ok || !some {
		return
	}
	if by.Audience == entity.Friends {
		s.settle() // who has just begun to follow gets it with the rest of the outbox
	}
	s.do(command.Post{By: by, Task: entity.NewID(), Create: command.CreateEntities{Rules: activityRules}, Link: activity})
	s.spread(by, activity)
}

func (s *society) follow() {
	a, b := pick(s.rng, s.users), s.star()
	s.do(command.Connect{Source: ref("users", a), Verb: "following", Target: ref("users", b)})
	if edge := [2]entity.ID{a, b}; !s.follows[edge] {
		s.follows[edge] = true
		for activity := range s.lists[listName{b, keys.Outbox}] {
			s.put(a, keys.Feed, activity)
		}
	}
}

func (s *society) join() {
	u, g := pick(s.rng, s.users), pick(s.rng, s.groups)
	s.do(command.Connect{Source: ref("users", u), Verb: entity.VerbGroups, Target: ref("groups", g), Keep: true})
	s.members[[2]entity.ID{u, g}] = true
}

// leave ends some edges, which a fan-out on its way would or would not have met.
func (s *society) leave() {
	s.settle()
	u := pick(s.rng, s.users)
	for edge := range maps.Clone(s.follows) {
		if edge[0] == u && edge[1][15]%2 == 0 {
			s.do(command.Disconnect{Source: ref("users", u), Verb: "following", Targets: []command.Ref{ref("users", edge[1])}})
			delete(s.follows, edge)
		}
	}
	for edge := range maps.Clone(s.members) {
		if edge[0] == u && edge[1][15]%2 == 0 {
			s.do(command.Disconnect{Source: ref("users", u), Verb: entity.VerbGroups, Targets: []command.Ref{ref("groups", edge[1])}})
			delete(s.members, edge)
		}
	}
}

func (s *society) unlistSome() {
	s.settle()
	for at, list := range s.lists {
		if len(list) == 0 || at.owner[15]%4 != byte(s.rng.IntN(4)) {
			continue
		}
		collection := "users"
		if slices.Contains(s.groups, at.owner) {
			collection = "groups"
		}
		op := command.Unlist{Owner: ref(collection, at.owner), List: at.list, IDs: []entity.ID{entity.NewID()}}
		for id := range list {
			if op.IDs = append(op.IDs, id); len(op.IDs) == 10 {
				break
			}
		}
		if out := s.do(op); len(out.Entities) != len(op.IDs)-1 || out.Handled != len(op.IDs) {
			s.w.t.Fatalf("%d of %d taken out, %d dealt with", len(out.Entities), len(op.IDs)-1, out.Handled)
		}
		for _, id := range op.IDs {
			delete(list, id)
		}
	}
}

// deleteActivities may come while they are on their way.
func (s *society) deleteActivities() {
	op := command.DeleteEntities{Collection: "activities"}
	for range s.rng.IntN(40) {
		if id, ok := s.activity(); ok {
			op.IDs = append(op.IDs, id)
		}
	}
	s.do(op)
	for _, id := range op.IDs {
		delete(s.published, id)
		for _, list := range s.lists {
			delete(list, id)
		}
	}
}

func (s *society) deleteOwner() {
	s.settle()
	owners, collection := &s.users, "users"
	if s.rng.IntN(3) == 0 {
		owners, collection = &s.groups, "groups"
	}
	if len(*owners) < 3 {
		return
	}
	id := pick(s.rng, *owners)
	s.do(command.DeleteEntity{Collection: collection, Target: command.Target{ID: id}})
	*owners = slices.DeleteFunc(*owners, func(o entity.ID) bool { return o == id })
	maps.DeleteFunc(s.lists, func(at listName, _ map[entity.ID]bool) bool { return at.owner == id })
	gone := func(edge [2]entity.ID, _ bool) bool { return edge[0] == id || edge[1] == id }
	maps.DeleteFunc(s.follows, gone)
	maps.DeleteFunc(s.members, gone)
}

func (s *society) crash() {
	s.stop()
	s.w.mu.Lock()
	s.w.late = nil // with the process that would have sent them
	s.w.Crash(s.rng)
	s.w.runners = nil
	s.w.mu.Unlock()
	s.run()
}

// compare looks at every list of everybody.
func (s *society) compare() {
	s.w.t.Helper()
	v := s.w.Machines.View(appPartition)
	defer v.Close()
	listed := 0
	for i, owners := range [][]entity.ID{s.users, s.groups} {
		for _, id := range owners {
			c, _, err := storage.ReadCollectionID(v, someApp, []string{"users", "groups"}[i])
			if err != nil {
				s.w.t.Fatal(err)
			}
			e, ok, err := storage.ReadEntityByID(v, someApp, c, id)
			if err != nil || !ok {
				s.w.t.Fatalf("owner %s: %v, %v", id, ok, err)
			}
			for _, list := range []byte{keys.Outbox, keys.Feed} {
				var want []entity.Posted
				for activity := range s.lists[listName{id, list}] {
					want = append(want, s.published[activity])
				}
				slices.SortFunc(want, func(a, b entity.Posted) int {
					return cmp.Or(cmp.Compare(b.Published, a.Published), cmp.Compare(b.Seq, a.Seq))
				})
				got := postedIn(s.w, v, entity.End{Collection: c, Seq: e.Seq}, list)
				if listed += len(got); !slices.Equal(got, want) {
					s.w.t.Errorf("list %d of %s has %d activities, want %d", list, id, len(got), len(want))
				}
			}
		}
	}
	n, err := keysUnder(v, keys.KindListed)
	back, err2 := keysUnder(v, keys.KindListedIn)
	if err := errors.Join(err, err2); err != nil || n != listed || back != listed {
		s.w.t.Errorf("%d entries and %d back, in lists are %d: %v", n, back, listed, err)
	}
}

func postedIn(w *world, v *storage.View, owner entity.End, list byte) (found []entity.Posted) {
	it, err := v.Scan(keys.ListRange(appPartition, someApp, owner, list))
	if err != nil {
		w.t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		_, _, published, seq, _ := keys.DecodeListed(it.Key())
		found = append(found, entity.Posted{Seq: seq, Published: published})
	}
	return found
}

func keysUnder(v *storage.View, kind byte) (n int, err error) {
	it, err := v.Scan(keys.AppRange(appPartition, someApp))
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if it.Key()[8] == kind {
			n++
		}
	}
	return n, it.Close()
}

// TestFeedsAgreeWithAModel: whatever is posted, linked, followed, joined, left and deleted,
// whatever becomes of the steps of tasks, and however often the power fails, in the end
// every list has what it should, in its order, once.
func TestFeedsAgreeWithAModel(t *testing.T) {
	tasked := map[string]uint64{}
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, appPartition)
			s := newSociety(w, seed)
			for range 60 {
				switch s.rng.IntN(20) {
				case 0, 1, 2, 3, 4:
					s.post()
				case 5:
					s.linkOne()
				case 6, 7, 8, 9, 10, 11:
					s.follow()
				case 12, 13, 14:
					s.join()
				case 15:
					s.leave()
				case 16:
					s.unlistSome()
				case 17:
					s.deleteActivities()
				case 18:
					s.deleteOwner()
				case 19:
					s.crash()
				}
				for _, task := range w.tasks(appPartition, entity.TaskReady) {
					tasked[task.Kind]++
				}
				time.Sleep(time.Duration(s.rng.IntN(300)) * time.Microsecond)
			}
			s.settle()
			s.compare()
			s.stop()
			w.Close()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
	for _, kind := range []string{entity.TaskFanOut, entity.TaskFollow} {
		if tasked[kind] == 0 {
			t.Errorf("no task of kind %s was ever recorded: %v", kind, tasked)
		}
	}
	t.Logf("tasks seen waiting: %v", tasked)
}
