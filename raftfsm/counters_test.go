package raftfsm

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

var eventRules = command.Rules{Collection: "events", Type: "event"}

// isCounter reports whether a key has to do with counters.
func isCounter(k []byte) bool {
	return k[4]|k[5]|k[6]|k[7] != 0 && (k[8] == keys.KindCounter || k[8] == keys.KindCounterName)
}

// renderCounter adds a key of a counter to a dump: one line for each series, with
// the whole, minutes, days and months.
func renderCounter(all map[string]string, k, v []byte) {
	if name, ok := keys.DecodeCounterName(k); ok {
		c, _ := storage.DecodeCounter(v)
		all[fmt.Sprintf("n %q", name)] = fmt.Sprintf("%d named %v resets %d", c.ID, c.Named, c.Resets)
		return
	}
	key, _ := keys.DecodeCounter(k)
	line := fmt.Sprintf("N %d", key.Counter)
	if !key.Dimensions.User.IsZero() {
		line += fmt.Sprintf(" user #%d", number(key.Dimensions.User))
	}
	if !key.Dimensions.Group.IsZero() {
		line += fmt.Sprintf(" group #%d", number(key.Dimensions.Group))
	}
	if key.Dimensions.Category != "" {
		line += " " + key.Dimensions.Category
	}
	sum, _ := storage.DecodeSum(v)
	text := fmt.Sprintf("%d", sum.Value)
	if sum.Reset > 0 {
		text += fmt.Sprintf(" after reset %d", sum.Reset)
	}
	if key.Reset {
		line, text = line+" resets", fmt.Sprintf("reset %d", v[0])
	}
	switch key.Resolution {
	case entity.Whole:
		all[line] = text
	case entity.Minute, entity.Day, entity.Month:
		all[line] += fmt.Sprintf("; %d@%d: %s", key.Resolution, key.Bucket, text)
	}
}

// parseTallies reads lines of "time user=1 group=2 category=x name:5 other:0!"; an
// exclamation mark resets.
func parseTallies(t *testing.T, lines []string) (list []command.Tally) {
	for _, line := range lines {
		var tally command.Tally
		for i, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, ":")
			dimension, text, ok := strings.Cut(field, "=")
			n, _ := strconv.Atoi(text)
			switch {
			case i == 0:
				at, err := strconv.ParseInt(field, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				tally.Time = at
			case ok && dimension == "user":
				tally.Dimensions.User = idOf(n)
			case ok && dimension == "group":
				tally.Dimensions.Group = idOf(n)
			case ok && dimension == "category":
				tally.Dimensions.Category = text
			default:
				digits, reset := strings.CutSuffix(value, "!")
				by, err := strconv.ParseInt(digits, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				tally.Increments = append(tally.Increments, command.Increment{Name: name, By: by, Reset: reset})
			}
		}
		list = append(list, tally)
	}
	return list
}

// counts is what a counter should be: by series and bucket.
type counts map[string]map[bucketAt]int64

type bucketAt struct {
	r  entity.Resolution
	at int64
}

func seriesOf(name string, d entity.Dimensions) string {
	return fmt.Sprintf("%s|%s|%s|%s", name, d.User, d.Group, d.Category)
}

func (n counts) add(name string, d entity.Dimensions, at, by int64) {
	for subset := range byte(8) {
		if subset&^d.Given() != 0 {
			continue
		}
		s := seriesOf(name, d.Only(subset))
		if n[s] == nil {
			n[s] = map[bucketAt]int64{}
		}
		for r := range entity.Resolution(entity.Resolutions) {
			n[s][bucketAt{r, r.Bucket(at)}] += by
		}
	}
}

func (n counts) tally(t *command.Tally) {
	for _, inc := range t.Increments {
		if inc.Name == "system" {
			continue
		}
		if inc.Reset {
			n.add(inc.Name, entity.Dimensions{}, t.Time, 0)
			for s, buckets := range n {
				if name, _, _ := strings.Cut(s, "|"); name != inc.Name {
					continue
				}
				for at := range buckets {
					if at.at == at.r.Bucket(t.Time) {
						buckets[at] = 0
					}
				}
			}
			continue
		}
		parts := strings.Split(inc.Name, ".")
		for i := range parts {
			if name := strings.Join(parts[:i+1], "."); name != "system" {
				n.add(name, t.Dimensions, t.Time, inc.By)
			}
		}
	}
}

// of reads the same from a state.
func countsOf(t *rapid.T, s *storage.State, p entity.Partition, app entity.AppID, model counts) counts {
	v := s.View(p)
	got := counts{}
	for s := range model {
		f := strings.Split(s, "|")
		c, ok, err := storage.ReadCounter(v, app, f[0])
		if err != nil || !ok {
			t.Fatalf("counter %s: %v %v", f[0], ok, err)
		}
		ask := storage.Buckets{Counter: c, To: 1 << 62}
		ask.Dimensions.User, _ = entity.ParseID(f[1])
		ask.Dimensions.Group, _ = entity.ParseID(f[2])
		ask.Dimensions.Category = f[3]
		got[s] = map[bucketAt]int64{}
		for r := range entity.Resolution(entity.Resolutions) {
			ask.Resolution = r
			list, _, all, err := storage.ReadBuckets(v, app, &ask, 1000)
			if err != nil || !all {
				t.Fatalf("%s: %v %v", s, all, err)
			}
			for _, b := range list {
				got[s][bucketAt{r, b.At}] = b.Value
			}
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return got
}

func drawTally(t *rapid.T) command.Tally {
	tally := command.Tally{Time: rapid.SampledFrom([]int64{1, 59_999, 60_000, 3_600_000, 86_400_000, 2_591_999_999, 2_592_000_000}).Draw(t, "time")}
	if rapid.Bool().Draw(t, "user") {
		tally.Dimensions.User = idOf(rapid.IntRange(1, 2).Draw(t, "which"))
	}
	if rapid.Bool().Draw(t, "group") {
		tally.Dimensions.Group = idOf(9)
	}
	tally.Dimensions.Category = rapid.SampledFrom([]string{"", "", "a", "a\x00", "\x00\x01"}).Draw(t, "category")
	for range rapid.IntRange(0, 3).Draw(t, "increments") {
		tally.Increments = append(tally.Increments, command.Increment{
			Name:  rapid.SampledFrom([]string{"a", "a.b", "a.b.c", "ab", "system", "system.x"}).Draw(t, "name"),
			By:    rapid.Int64Range(-5, 5).Draw(t, "by"),
			Reset: rapid.IntRange(0, 4).Draw(t, "reset") == 0,
		})
	}
	return tally
}

// TestCountersAgreeWithAModel: whatever is counted and reset, sent again or not, in one
// batch of Raft's or in many, with restarts of the machine in between, every bucket of
// every series is what simple arithmetic says, and two replicas hold the same bytes.
func TestCountersAgreeWithAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		one, many := newFixture(t, 3, 0), newFixture(t, 3, 0)
		model := counts{}
		var log []*raft.Log
		var sent []command.Command
		for n := range rapid.IntRange(1, 30).Draw(rt, "commands") {
			cmd := command.Command{App: entity.FirstApp, Time: 1000, Request: requestOf(n + 1)}
			tally := drawTally(rt)
			switch rapid.IntRange(0, 4).Draw(rt, "kind") {
			case 0:
				cmd.Op = command.Count{Tallies: []command.Tally{tally}}
			case 1:
				item := command.NewEntity{ID: idOf(100 + n), Created: 1, JSON: []byte(`{"timestamp":1}`)}
				cmd.Op = command.CreateEvents{Create: command.CreateEntities{Rules: eventRules, Items: []command.NewEntity{item}}, Tallies: []command.Tally{tally}}
			case 2:
				item := command.NewEntity{ID: idOf(100 + n%3), Created: 1, JSON: []byte(`{"timestamp":1}`)}
				cmd.Op = command.CountEvent{Rules: eventRules, ID: item.ID, Create: &item, Tally: tally}
			case 3:
				tally = command.Tally{}
				cmd.Op = command.DeleteEntity{Collection: "events", Target: command.Target{ID: idOf(100 + n%3)}}
			case 4:
				if len(sent) > 0 {
					cmd, tally = rapid.SampledFrom(sent).Draw(rt, "again"), command.Tally{}
				} else {
					cmd.Op = command.Count{Tallies: []command.Tally{tally}}
				}
			}
			model.tally(&tally)
			sent = append(sent, cmd)
			log = append(log, entryOf(uint64(n+1), cmd))
		}
		for _, entry := range log {
			one.machine.Apply(entry)
			if rapid.IntRange(0, 9).Draw(rt, "restart") == 0 {
				one.machine = one.open(3, 0)
			}
		}
		for rest := log; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
			many.machine.ApplyBatch(rest[:n])
			rest = rest[n:]
		}
		for _, f := range []*fixture{one, many} {
			if f.halted != nil {
				rt.Fatal(f.halted)
			}
			got := countsOf(rt, f.state, 3, entity.FirstApp, model)
			for s, buckets := range model {
				if !maps.Equal(buckets, got[s]) {
					rt.Fatalf("%s: %v, want %v", s, got[s], buckets)
				}
			}
			f.sound()
			if t.Failed() {
				rt.FailNow()
			}
		}
		if one.digest() != many.digest() {
			rt.Fatal("the replicas differ")
		}
	})
}

// value is a counter as a whole.
func (f *fixture) value(name string) int64 {
	f.t.Helper()
	v := f.state.View(f.machine.cfg.Partition)
	c, ok, err := storage.ReadCounter(v, entity.FirstApp, name)
	if err != nil {
		f.t.Fatal(err)
	}
	var list []storage.Bucket
	if ok {
		if list, _, _, err = storage.ReadBuckets(v, entity.FirstApp, &storage.Buckets{Counter: c}, 1); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		f.t.Fatal(err)
	}
	if len(list) == 0 {
		return -1
	}
	return list[0].Value
}

// TestHundredThousandIncrementsWithRetries: each is sent up to three times, and counts
// once.
func TestHundredThousandIncrementsWithRetries(t *testing.T) {
	f := newFixture(t, 3, 0)
	rng := rand.New(rand.NewPCG(7, 7))
	const total, perEntry = 100_000, 500
	var again []command.Command
	index := uint64(0)
	for n := 0; n < total; {
		var cmds []command.Command
		for range perEntry {
			n++
			cmds = append(cmds, command.Command{App: entity.FirstApp, Request: requestOf(n), Op: command.Count{
				Tallies: []command.Tally{{Time: int64(n), Increments: []command.Increment{{Name: "hot.one", By: 1}}}},
			}})
		}
		mixed := slices.Concat(cmds, again, cmds[:perEntry/4])
		again = slices.Clone(cmds[perEntry/2:])
		rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		index++
		f.machine.Apply(entryOf(index, mixed...))
	}
	if hot, one := f.value("hot"), f.value("hot.one"); hot != total || one != total {
		t.Errorf("hot %d, hot.one %d, want %d", hot, one, total)
	}
	f.sound()
}

func TestCountIsRefused(t *testing.T) {
	f := newFixture(t, 3, 0)
	app := entity.FirstApp
	count := func(t command.Tally) command.Count { return command.Count{Tallies: []command.Tally{t}} }
	named := func(names ...string) (tally command.Tally) {
		for _, name := range names {
			tally.Increments = append(tally.Increments, command.Increment{Name: name, By: 1})
		}
		return tally
	}
	for _, name := range []string{"", ".", "a.", ".a", "a..b", strings.Repeat("x", command.MaxCounterName+1), strings.Repeat("a.", command.MaxCounterLevels) + "a"} {
		f.refused(app, fault.IllegalArgument, count(named("fine", name)))
	}
	many := make([]string, command.MaxIncrements+1)
	for i := range many {
		many[i] = fmt.Sprint("n", i)
	}
	f.refused(app, fault.IllegalArgument, count(named(many...)))
	f.refused(app, fault.IllegalArgument, count(command.Tally{Dimensions: entity.Dimensions{Category: strings.Repeat("c", command.MaxCategory+1)}}))
	deep := named(strings.Repeat("a.", command.MaxCounterLevels-1) + "a")
	deep.Dimensions = entity.Dimensions{User: idOf(1), Group: idOf(2), Category: "c"}
	tallies := make([]command.Tally, command.MaxCounted/deep.Work()+1)
	for i := range tallies {
		tallies[i] = deep
	}
	f.refused(app, fault.IllegalArgument, command.Count{Tallies: tallies})
	f.refused(app, fault.IllegalArgument, command.CreateEvents{Tallies: tallies[:1]})
	if got := f.value("fine"); got != -1 {
		t.Errorf("a refused command counted %d", got)
	}
	f.wanted(app, command.Count{Tallies: tallies[:len(tallies)-1]})

	// Items that are skipped are not counted, whatever comes of the others.
	f.wanted(app, command.CreateEvents{
		Create: command.CreateEntities{Rules: eventRules, Partial: true, Items: []command.NewEntity{
			{ID: idOf(1), JSON: []byte(`{}`)}, {ID: idOf(1), JSON: []byte(`{}`)}, {JSON: []byte(`{}`)}, {ID: idOf(2), JSON: []byte(`{}`)},
		}},
		Tallies: []command.Tally{named("first"), named("skipped"), named("skipped"), named("last")},
	})
	if a, b, c := f.value("first"), f.value("skipped"), f.value("last"); a != 1 || b != -1 || c != 1 {
		t.Errorf("first %d, skipped %d, last %d", a, b, c)
	}
	f.refused(app, fault.Conflict, command.CreateEvents{
		Create:  command.CreateEntities{Rules: eventRules, Items: []command.NewEntity{{ID: idOf(1), JSON: []byte(`{}`)}}},
		Tallies: []command.Tally{named("first")},
	})
	f.refused(app, fault.ServiceResourceNotFound, command.CountEvent{Rules: eventRules, ID: idOf(9), Tally: named("first")})
	if got := f.value("first"); got != 1 {
		t.Errorf("an event that was refused counted: %d", got)
	}
	f.sound()
}

// TestCountedEventsAreTheirOwn: an outcome does not change with what is applied after it.
func TestCountedEventsAreTheirOwn(t *testing.T) {
	f := newFixture(t, 3, 0)
	var items []command.NewEntity
	var cmds []command.Command
	for n := 1; n <= 3; n++ {
		items = append(items, command.NewEntity{ID: idOf(n), JSON: fmt.Appendf(nil, `{"n":%d}`, n)})
		cmds = append(cmds, command.Command{App: entity.FirstApp, Op: command.CountEvent{Rules: eventRules, ID: idOf(n)}})
	}
	f.wanted(entity.FirstApp, command.CreateEntities{Rules: eventRules, Items: items})
	for i, out := range f.apply(cmds...) {
		if got := string(out.Entities[0].JSON); got != string(items[i].JSON) {
			t.Errorf("event %d: %s", i+1, got)
		}
	}
}

// TestAnApplicationHasSoManyCounters: the bound holds, and what is known goes on.
func TestAnApplicationHasSoManyCounters(t *testing.T) {
	f := newFixture(t, 3, 0)
	app := entity.FirstApp
	b := f.state.NewBatch(3)
	b.Set(keys.AppendCounterName(nil, 3, app, ""), storage.AppendCounter(nil, &storage.Counter{ID: command.MaxCounters}))
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	count := func(names ...string) command.Count {
		var tally command.Tally
		for _, name := range names {
			tally.Increments = append(tally.Increments, command.Increment{Name: name, By: 1})
		}
		return command.Count{Tallies: []command.Tally{tally}}
	}
	f.refused(app, fault.IllegalArgument, count("a.b"))
	f.refused(app, fault.IllegalArgument, count("a", "b"))
	f.wanted(app, count("a", "a"))
	f.refused(app, fault.IllegalArgument, count("b"))
	f.wanted(app, count("a"))
	if got := f.value("a"); got != 3 {
		t.Errorf("a is %d", got)
	}
	f.wanted(app, count("application.requests.get"))
	f.wanted(app, command.CreateEntities{Rules: eventRules, Items: []command.NewEntity{{ID: idOf(1), JSON: []byte(`{}`)}}})
	if entities, requests := f.value("application.collection.events"), f.value("application.requests"); entities != 1 || requests != 1 {
		t.Errorf("entities and requests are not counted: %d, %d", entities, requests)
	}
	f.sound()
}

// TestEntitiesOfBeforeAreCounted: a directory from before there were counters has
// the right number from the first change on.
func TestEntitiesOfBeforeAreCounted(t *testing.T) {
	f := newFixture(t, 3, 0)
	app := entity.FirstApp
	items := make([]command.NewEntity, 5)
	for i := range items {
		items[i] = command.NewEntity{ID: idOf(i + 1), JSON: []byte(`{}`)}
	}
	f.wanted(app, command.CreateEntities{Rules: eventRules, Items: items})
	b := f.state.NewBatch(3)
	for _, r := range [][2][]byte{bounds(keys.CounterNameRange(3, app)), {
		append(keys.AppendCounterName(nil, 3, app, "")[:8], keys.KindCounter), append(keys.AppendCounterName(nil, 3, app, "")[:8], keys.KindCounter+1),
	}} {
		b.DeleteRange(r[0], r[1])
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	f.machine = f.open(3, 0)
	if got := f.value("application.entities"); got != -1 {
		t.Fatalf("still counted: %d", got)
	}
	f.wanted(app, command.DeleteEntity{Collection: "events", Target: command.Target{ID: idOf(2)}})
	for name, want := range map[string]int64{"application.collection.events": 4, "application.entities": 4, "application.collection": 4, "application": 8} {
		if got := f.value(name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	f.sound()
}

func bounds(lower, upper []byte) [2][]byte { return [2][]byte{lower, upper} }

// TestPurgedCountersAreForgotten: what the machine knew of an application's counters
// goes with them, and nothing is counted of it any more.
func TestPurgedCountersAreForgotten(t *testing.T) {
	f := newFixture(t, 3, 0)
	app := entity.FirstApp
	count := command.Count{Tallies: []command.Tally{{Increments: []command.Increment{{Name: "a", By: 1}}}}}
	f.wanted(app, count)
	out := f.apply(
		command.Command{App: app, Op: command.CreateEntities{Rules: eventRules, Items: []command.NewEntity{{ID: idOf(1), JSON: []byte(`{}`)}}}},
		command.Command{App: app, Op: command.PurgeApplication{}},
	)
	for _, o := range out {
		if o.Fault != nil {
			t.Fatal(o.Fault)
		}
	}
	f.refused(app, fault.NotFound, count)
	if len(f.machine.counters.known) != 0 {
		t.Errorf("still knows %v", f.machine.counters.known)
	}
	v := f.state.View(3)
	it, err := v.Scan(keys.AppRange(3, app))
	if err != nil {
		t.Fatal(err)
	}
	if it.First() {
		t.Errorf("left key %x", it.Key())
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCheckFindsDamagedCounters damages sound counters in one place each.
func TestCheckFindsDamagedCounters(t *testing.T) {
	app := entity.FirstApp
	bucket := func(c entity.CounterID, d entity.Dimensions, r entity.Resolution, at int64) []byte {
		return keys.AppendBucket(keys.AppendCounterSeries(nil, 3, app, c, &d), r, at)
	}
	one := storage.AppendSum(nil, storage.Sum{Value: 1})
	none := entity.Dimensions{}
	for _, tc := range []struct {
		what   string
		damage func(b *storage.Batch)
	}{
		{"comes to 2 in resolution 4, and to 1 as a whole", func(b *storage.Batch) { b.Merge(bucket(1, none, entity.Hour, 0), one) }},
		{"comes to 0 in resolution 7, and to 1 as a whole", func(b *storage.Batch) { b.Delete(bucket(1, none, entity.Day, 0)) }},
		{"comes to 0 in resolution 1, and to 1 as a whole", func(b *storage.Batch) { b.Delete(bucket(1, entity.Dimensions{Category: "c"}, entity.Minute, 0)) }},
		{"comes to 1 in resolution 1, and to 0 as a whole", func(b *storage.Batch) { b.Set(bucket(2, entity.Dimensions{Category: "zz"}, entity.Minute, 0), one) }},
		{"is kept in resolution 9, and was never reset", func(b *storage.Batch) { b.Set(bucket(1, none, entity.Month, 0), one) }},
		{"does not exist", func(b *storage.Batch) { b.Set(bucket(9, none, entity.Minute, 0), one) }},
		{"does not exist", func(b *storage.Batch) { b.Delete(keys.AppendCounterName(nil, 3, app, "a")) }},
		{"damaged sum", func(b *storage.Batch) { b.Set(bucket(1, none, entity.Minute, 0), []byte{0}) }},
		{"damaged sum", func(b *storage.Batch) {
			b.Set(bucket(3, none, entity.Minute, 0), storage.AppendSum(nil, storage.Sum{Reset: 2}))
		}},
		{"damaged key of a counter", func(b *storage.Batch) { b.Set(append(bucket(1, none, entity.Minute, 0), 0), one) }},
		{"damaged key of a counter", func(b *storage.Batch) { b.Set(bucket(1, none, entity.Minute, 7), one) }},
		{"damaged reset", func(b *storage.Batch) {
			b.Set(keys.AppendBucket(keys.AppendCounterResets(nil, 3, app, 3), entity.Minute, 0), []byte{2})
		}},
		{"damaged record of a counter", func(b *storage.Batch) { b.Set(keys.AppendCounterName(nil, 3, app, "b"), []byte("x")) }},
		{"which is another's", func(b *storage.Batch) {
			b.Set(keys.AppendCounterName(nil, 3, app, "b"), storage.AppendCounter(nil, &storage.Counter{ID: 1}))
		}},
		{"which was not given", func(b *storage.Batch) {
			b.Set(keys.AppendCounterName(nil, 3, app, "b"), storage.AppendCounter(nil, &storage.Counter{ID: 4}))
		}},
		{"which was not given", func(b *storage.Batch) { b.Delete(keys.AppendCounterName(nil, 3, app, "")) }},
		{"no counter has the name", func(b *storage.Batch) {
			b.Set(keys.AppendCounterName(nil, 3, app, "b..c"), storage.AppendCounter(nil, &storage.Counter{ID: 3}))
		}},
	} {
		f := newFixture(t, 3, 0)
		f.wanted(app, command.Count{Tallies: []command.Tally{
			{Dimensions: entity.Dimensions{Category: "c"}, Increments: []command.Increment{{Name: "a", By: 1}, {Name: "z", By: 5}}},
			{Increments: []command.Increment{{Name: "r", Reset: true}}},
		}})
		f.sound()
		b := f.state.NewBatch(3)
		tc.damage(b)
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		v := f.state.View(3)
		report, err := Check(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(report.Problems, func(p Problem) bool { return strings.Contains(p.String(), tc.what) }) {
			t.Errorf("no problem says %q: %v", tc.what, report.Problems)
		}
	}
}
