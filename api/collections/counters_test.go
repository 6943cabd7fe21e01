package collections_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trellisdb/trellis/api/apitest"
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage/entity"
)

const day = int64(24 * 3600 * 1000)

// TestCountersOfTheSpecification is the worked example of section 9.
func TestCountersOfTheSpecification(t *testing.T) { everywhere(t, countersOfTheSpecification) }

func countersOfTheSpecification(t *testing.T, r *rest) {
	r.token = r.Admin
	const first = 1499817600000
	for _, e := range []struct {
		at     int64
		counts string
	}{{first + day, `"ad_clicks":5,"ad_sales":20`}, {first + 3*day - 1, `"ad_clicks":7`}, {first + 2*day, `"ad_clicks":3`}} {
		r.ok("POST", "/events", fmt.Sprintf(`{"timestamp":%d,"category":"advertising","counters":{%s}}`, e.at, e.counts))
	}
	a := r.ok("GET", "/counters?counter=ad_sales&counter=ad_clicks&resolution=day&start_time=1499817600000&end_time=1500076800000&pad=true", "")
	want := []shownCounter{
		{name: "ad_clicks", values: "1499817600000=0 1499904000000=5 1499990400000=10 1500076800000=0"},
		{name: "ad_sales", values: "1499817600000=0 1499904000000=20 1499990400000=0 1500076800000=0"},
	}
	if got := countersOf(r, a); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if len(a.Entities()) != 0 || a.Fields["entities"] == nil || number(a.Fields["count"]) != 0 || a.Fields["uri"] != r.URL+r.App || a.Fields["path"] != nil || a.Fields["action"] != "get" {
		t.Errorf("envelope %s", a.Body)
	}
	if got := fmt.Sprint(a.Fields["params"]); !strings.Contains(got, "resolution:[day]") || !strings.Contains(got, "counter:[ad_sales ad_clicks]") {
		t.Errorf("params %s", got)
	}
	r.wantCounter("counter=ad_clicks&resolution=day&start_time=1499817600000&end_time=1500076800000", "1499904000000=5 1499990400000=10")
}

func TestBucketsAndBorders(t *testing.T) { everywhere(t, bucketsAndBorders) }

func bucketsAndBorders(t *testing.T, r *rest) {
	r.token = r.Admin
	const hour = int64(3600 * 1000)
	base := 17361 * day // a multiple of all intervals up to a day
	for _, at := range []int64{base, base + 59_999, base + 60_000, base + hour - 1, base + hour} {
		r.ok("POST", "/events", fmt.Sprintf(`{"timestamp":%d,"counters":{"n":1}}`, at))
	}
	for query, want := range map[string]string{
		"":                       "1=5",
		"resolution=all":         "1=5",
		"resolution=six_day":     "1=5",
		"resolution=minute":      fmt.Sprintf("%d=2 %d=1 %d=1 %d=1", base, base+60_000, base+hour-60_000, base+hour),
		"resolution=MINUTE":      fmt.Sprintf("%d=2 %d=1 %d=1 %d=1", base, base+60_000, base+hour-60_000, base+hour),
		"resolution=5":           fmt.Sprintf("%d=3 %d=1 %d=1", base, base+hour-300_000, base+hour),
		"resolution=half_hour":   fmt.Sprintf("%d=3 %d=1 %d=1", base, base+hour/2, base+hour),
		"resolution=60":          fmt.Sprintf("%d=4 %d=1", base, base+hour),
		"resolution=six_hour":    fmt.Sprintf("%d=5", base),
		"resolution=day":         fmt.Sprintf("%d=5", base),
		"resolution=week":        fmt.Sprintf("%d=5", base-base%(7*day)),
		"resolution=month":       fmt.Sprintf("%d=5", base-base%(30*day)),
		"resolution=month&pad=1": fmt.Sprintf("%d=5", base-base%(30*day)),
		// Both ends are rounded down and belong to the range.
		fmt.Sprintf("resolution=minute&start_time=%d&end_time=%d", base+59_999, base+60_001):            fmt.Sprintf("%d=2 %d=1", base, base+60_000),
		fmt.Sprintf("resolution=minute&start_time=%d&end_time=%d", base+60_000, base+60_000):            fmt.Sprintf("%d=1", base+60_000),
		fmt.Sprintf("resolution=minute&start_time=%d&end_time=%d", base+120_000, base+180_000):          "",
		fmt.Sprintf("resolution=minute&start_time=%d&end_time=%d&pad=true", base+120_000, base+180_000): fmt.Sprintf("%d=0 %d=0", base+120_000, base+180_000),
		fmt.Sprintf("resolution=minute&start_time=%d&end_time=%d", base+hour, base):                     fmt.Sprintf("%d=1", base+hour), // to now
		fmt.Sprintf("start_time=%d&end_time=%d&pad=true", base+hour, base+2*hour):                       "1=5",                          // not of the whole
		fmt.Sprintf("resolution=day&start_time=-5&end_time=%d", base-1):                                 "",
		fmt.Sprintf("resolution=day&start_time=99999999999999999999&end_time=%d", base):                 "",
		fmt.Sprintf("resolution=day&start_time=%d&end_time=99999999999999999999", base):                 fmt.Sprintf("%d=5", base),
		fmt.Sprintf("resolution=month&start_time=%d&end_time=9223372036854775807", base):                fmt.Sprintf("%d=5", base-base%(30*day)),
		fmt.Sprintf("resolution=hour&start_time=&end_time=%d", base+hour):                               fmt.Sprintf("%d=4 %d=1", base, base+hour),
	} {
		r.wantCounter("counter=n&"+query, want)
	}
	padded := strings.Fields(r.counter("counter=n&resolution=minute&pad=true"))
	if len(padded) != 1000 || padded[0] != "0=0" || padded[999] != "59940000=0" {
		t.Errorf("%d padded values from %s to %s", len(padded), padded[0], padded[len(padded)-1])
	}
	// What nobody has counted is not padded.
	r.wantCounter(fmt.Sprintf("counter=other&resolution=minute&pad=true&start_time=%d&end_time=%d", base, base+60_000), "")
	// A bucket whose sum is 0 is shown.
	r.ok("POST", "/events", fmt.Sprintf(`{"timestamp":%d,"counters":{"n":-1}}`, base+hour))
	r.wantCounter("counter=n&resolution=hour", fmt.Sprintf("%d=4 %d=0", base, base+hour))
	for _, query := range []string{"start_time=x", "end_time=1.5", "start_time=1e3"} {
		r.fails("GET", "/counters?counter=n&"+query, "", 400, "illegal_argument")
	}
}

func TestCountersByDimension(t *testing.T) { everywhere(t, countersByDimension) }

func countersByDimension(t *testing.T, r *rest) {
	r.token = r.Admin
	ann := fmt.Sprint(r.ok("POST", "/users", `{"username":"ann","email":"ann@example.test"}`).Entity()["uuid"])
	bob := fmt.Sprint(r.ok("POST", "/users", `{"username":"bob"}`).Entity()["uuid"])
	team := fmt.Sprint(r.ok("POST", "/groups", `{"path":"dev/team"}`).Entity()["uuid"])
	r.ok("POST", "/events", fmt.Sprintf(`{"timestamp":5,"user":%q,"category":"ads:top","counters":{"n":1}}`, strings.ToUpper(ann)))
	r.ok("POST", "/events", fmt.Sprintf(`{"timestamp":5,"user":%q,"group":%q,"counters":{"n":10}}`, ann, team))
	r.ok("POST", "/events", fmt.Sprintf(`{"timestamp":5,"user":%q,"group":%q,"category":"Ads","counters":{"n":100}}`, bob, team))
	for query, want := range map[string]string{
		"counter=n":                                "1=111",
		"counter=n:*:*:*":                          "1=111",
		"counter=n:::":                             "1=111",
		"counter=n:ann":                            "1=11",
		"counter=N:ANN@example.test":               "1=11",
		"counter=n:" + ann:                         "1=11",
		"counter=n:*:dev/team":                     "1=110",
		"counter=n::" + team:                       "1=110",
		"counter=n:ann:dev/team":                   "1=10",
		"counter=n:bob:dev/team:Ads":               "1=100",
		"counter=n:::Ads":                          "1=100",
		"counter=n:::ads":                          "",
		"counter=n:::ads:top":                      "1=1",
		"counter=n:ann::ads:top":                   "1=1",
		"counter=n:ann::Ads":                       "",
		"counter=n:nobody":                         "",
		"counter=n:nobody&resolution=day&pad=true": "",
		"counter=n:*:nowhere":                      "",
		"counter=n:" + team:                        "",
		"counter=n&user=ann":                       "1=11",
		"counter=n&group=dev/team&category=Ads":    "1=100",
		"counter=n:bob&user=ann":                   "1=100",
		"counter=n:*&user=ann":                     "1=111",
	} {
		r.wantCounter(query, want)
	}
	// One element for each series, by name, with what it was asked for.
	a := r.ok("GET", "/counters?counter=n:ann&counter=m:::c&counter=n:"+ann+"&counter=n&counter=N&counter=&counter=n:nobody", "")
	want := []shownCounter{{name: "m", category: "c"}, {name: "n", user: ann, values: "1=11"}, {name: "n", values: "1=111"}, {name: "n", user: "nobody"}}
	if got := countersOf(r, a); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestNamesOfCounters(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	r.ok("POST", "/events", `[{"timestamp":5,"counters":{"Zeta":1,"a.b.c":1}},{"timestamp":5,"counters":{"a.b":0}}]`)
	a := r.ok("GET", "/counters", "")
	names := fmt.Sprint(a.Fields["data"])
	if names != "[a.b a.b.c application.collection.events application.collection.roles application.entities application.requests.get application.requests.post zeta]" || a.Fields["counters"] != nil {
		t.Errorf("names %s", a.Body)
	}
	if a := r.ok("GET", "/counters?access_token="+r.Admin, ""); fmt.Sprint(a.Fields["data"]) != names {
		t.Errorf("with a token: %s", a.Body)
	}
	for _, query := range []string{"resolution=day", "pad=true", "x=y", "counter="} {
		if a := r.ok("GET", "/counters?"+query, ""); a.Fields["data"] != nil || (a.Fields["counters"] != nil) != (query == "counter=") {
			t.Errorf("%s: %s", query, a.Body)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		r.fails(method, "/counters", `{"a":1}`, 405, "unsupported_service_operation")
		r.fails(method, "/counters/zeta", `{"a":1}`, 405, "unsupported_service_operation")
	}
	r.fails("GET", "/counters/zeta", "", 404, "service_resource_not_found")
}

// TestZeroResets: what section 8 says of 0.
func TestZeroResets(t *testing.T) { everywhere(t, zeroResets) }

func zeroResets(t *testing.T, r *rest) {
	r.token = r.Admin
	at := 17361*day + 5
	event := func(at int64, counts, more string) {
		r.Helper()
		r.ok("POST", "/events", fmt.Sprintf(`{"timestamp":%d,"counters":{%s}%s}`, at, counts, more))
	}
	event(at, `"a.b.c":1,"a.b":10`, `,"category":"x"`)
	event(at-day, `"a.b":100`, "")
	event(at, `"a.b":0,"new":0`, "")
	before := 17360 * day
	for query, want := range map[string]string{
		"counter=a.b":                  "1=0",
		"counter=a.b:::x":              "1=0",
		"counter=a.b&resolution=day":   fmt.Sprintf("%d=100 %d=0", before, before+day),
		"counter=a.b&resolution=week":  fmt.Sprintf("%d=0", entity.Week.Bucket(at)),
		"counter=a.b&resolution=month": fmt.Sprintf("%d=0", entity.Month.Bucket(at)),
		"counter=a":                    "1=111",
		"counter=a.b.c":                "1=1",
		"counter=new":                  "1=0",
		"counter=new:::x":              "",
	} {
		r.wantCounter(query, want)
	}
	event(at, `"a.b":5`, `,"category":"x"`)
	event(at-day, `"a.b":7`, "")
	for query, want := range map[string]string{
		"counter=a.b":                       "1=12",
		"counter=a.b:::x":                   "1=5",
		"counter=a.b&resolution=day":        fmt.Sprintf("%d=107 %d=5", before, before+day),
		"counter=a.b&resolution=month":      fmt.Sprintf("%d=12", entity.Month.Bucket(at)),
		"counter=a.b:::x&resolution=minute": fmt.Sprintf("%d=5", entity.Minute.Bucket(at)),
	} {
		r.wantCounter(query, want)
	}
}

// TestZeroAdds: the switch.
func TestZeroAdds(t *testing.T) {
	t.Parallel()
	s, err := apitest.OpenWith(t.TempDir(), apitest.Options{ZeroAdds: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rest{T: t, Server: s, token: s.Admin}
	r.ok("POST", "/events", `{"timestamp":5,"counters":{"a":5}}`)
	r.ok("POST", "/events", `{"timestamp":5,"counters":{"a":0,"b":0}}`)
	r.wantCounter("counter=a", "1=5")
	r.wantCounter("counter=b", "1=0")
}

// TestCountersOfTheSystem: what section 10 says is counted.
func TestCountersOfTheSystem(t *testing.T) {
	guest, r := closed(t)
	r.ok("GET", "", "")
	if got := r.counter("counter=application.requests"); got != "1=2" {
		t.Errorf("after a GET of the application, requests are %s", got)
	}
	for range 10 {
		r.ok("POST", "/testCollection", `{"a":1}`)
	}
	r.ok("PUT", "/testCollection/x", `{"a":1}`)
	r.wantCounter("counter=application.collection.testcollections", "1=11")
	r.ok("DELETE", "/testCollection/x", "")
	guest.fails("GET", "/testCollection", "", 401, "unauthorized") // a request all the same
	r.wantCounter("counter=application.collection.testcollections", "1=10")
	entities := r.counter("counter=application.entities")
	r.ok("DELETE", "/testCollection?limit=1000", "")
	r.wantCounter("counter=application.collection.testcollections", "1=0")
	if now := r.counter("counter=application.entities"); entities != "1=13" || now != "1=3" { // three roles
		t.Errorf("entities were %s, are %s", entities, now)
	}
	for name, want := range map[string]string{"post": "1=10", "put": "1=1", "delete": "1=2"} {
		r.wantCounter("counter=application.requests."+name, want)
	}
	// Those before, and itself.
	r.wantCounter("counter=application.requests.get", "1=12")
	a := r.ok("GET", fmt.Sprintf("/counters?counter=application.requests.post&resolution=minute&start_time=%d", time.Now().UnixMilli()-3*day), "")
	sum := int64(0)
	for _, v := range strings.Fields(countersOf(r, a)[0].values) {
		var at, n int64
		if _, err := fmt.Sscanf(v, "%d=%d", &at, &n); err != nil || at%60_000 != 0 {
			t.Errorf("value %s: %v", v, err)
		}
		sum += n
	}
	if sum != 10 {
		t.Errorf("%d posts by minute: %s", sum, a.Body)
	}
	// Tokens are not served by the application's services.
	before := r.counter("counter=application.requests.post")
	if a, err := r.Do("POST", "/acme/shop/token", "", `{"grant_type":"password","username":"x","password":"y"}`); err != nil || a.Status == 200 {
		t.Fatal(err, a.Body)
	}
	r.wantCounter("counter=application.requests.post", before)
}

// TestRequestsAreCountedAcrossARestart: nothing is lost when a server is stopped.
func TestRequestsAreCountedAcrossARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const runs, requests = 3, 7
	for run := range runs {
		s, err := apitest.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		r := &rest{T: t, Server: s, token: s.Admin}
		for range requests {
			r.ok("PUT", "/items/one", `{"a":1}`)
		}
		if run == runs-1 {
			r.wantCounter("counter=application.requests.put", fmt.Sprintf("1=%d", runs*requests))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCountersAreBounded: what would take too much is refused, and says what to do.
func TestCountersAreBounded(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	const values, perCommand = 100_001, 9000
	for at := int64(0); at < values; {
		var op command.Count
		for range perCommand {
			op.Tallies = append(op.Tallies, command.Tally{Time: at * 60_000, Increments: []command.Increment{{Name: "n", By: 1}}})
			at++
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, err := r.Node.Propose(ctx, entity.FirstApp, command.Command{App: entity.FirstApp, Op: op})
		cancel()
		if err != nil || out.Fault != nil {
			t.Fatal(err, out.Fault)
		}
	}
	r.fails("GET", "/counters?counter=n&resolution=minute", "", 400, "illegal_argument")
	r.fails("GET", "/counters?counter=n&resolution=half_hour", "", 400, "illegal_argument")
	r.fails("GET", "/counters?counter=n&counter=n:x&counter=n::y&counter=n:::z&resolution=minute", "", 400, "illegal_argument")
	if got := len(strings.Fields(r.counter("counter=n&resolution=half_hour&end_time=1800000000"))); got != 1001 {
		t.Errorf("%d half hours", got)
	}
	if got := len(strings.Fields(r.counter("counter=n&resolution=hour"))); got < values/60 {
		t.Errorf("%d hours", got)
	}
}

// TestIncrementsOfManyClients: each increment is sent one to three times under its key,
// by clients at once, and counts once.
func TestIncrementsOfManyClients(t *testing.T) {
	r := newRest(t)
	const clients, each = 32, 40
	id := fmt.Sprint(r.ok("POST", "/events", `{"timestamp":5}`).Entity()["uuid"])
	send := func(n int) error {
		method, path := "POST", "/events"
		if n%2 == 0 {
			method, path = "PUT", "/events/"+id
		}
		req, err := http.NewRequest(method, r.URL+r.App+path, strings.NewReader(`{"timestamp":5,"counters":{"hot":1}}`))
		if err != nil {
			return err
		}
		req.Header.Set("Idempotency-Key", fmt.Sprint("increment ", n))
		a, err := r.Send(req)
		if err == nil && a.Status != 200 {
			err = fmt.Errorf("%d %s", a.Status, a.Body)
		}
		return err
	}
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range each {
				n := c*each + i
				for range 1 + n%3 {
					if err := send(n); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	r.wantCounter("counter=hot", fmt.Sprintf("1=%d", clients*each))
	r.wantCounter("counter=application.collection.events", fmt.Sprintf("1=%d", 1+clients*each/2))
}

// naive is counters as a list of what was sent.
type naive []sent

type sent struct {
	at                    int64
	user, group, category string
	counts                map[string]int64
}

// read computes what GET of one counter answers.
func (n naive) read(name string, s sent, r entity.Resolution, from, to int64, pad bool) string {
	type bucket struct{ value int64 }
	buckets := map[int64]*bucket{}
	known := false
	for _, e := range n {
		for counter, by := range e.counts {
			if counter == "system" || name == "system" {
				continue
			}
			if by == 0 { // a reset: of this counter alone, in all series
				if counter == name {
					known = true
					at := r.Bucket(e.at)
					if s.user+s.group+s.category == "" && buckets[at] == nil {
						buckets[at] = &bucket{}
					}
					if b := buckets[at]; b != nil {
						b.value = 0
					}
				}
				continue
			}
			if counter != name && !strings.HasPrefix(counter, name+".") {
				continue
			}
			known = true
			if s.user != "" && s.user != e.user || s.group != "" && s.group != e.group || s.category != "" && s.category != e.category {
				continue
			}
			at := r.Bucket(e.at)
			if buckets[at] == nil {
				buckets[at] = &bucket{}
			}
			buckets[at].value += by
		}
	}
	var values []string
	if r == entity.Whole {
		if b := buckets[0]; b != nil {
			values = append(values, fmt.Sprintf("1=%d", b.value))
		}
		return strings.Join(values, " ")
	}
	count := 0
	for at := r.Bucket(from); at <= r.Bucket(to) && (!pad || count < 1000); at += r.Interval() {
		count++
		if b := buckets[at]; b != nil {
			values = append(values, fmt.Sprintf("%d=%d", at, b.value))
		} else if pad && known {
			values = append(values, fmt.Sprintf("%d=0", at))
		}
	}
	return strings.Join(values, " ")
}

// TestCountersAgreeWithANaiveReader: whatever events are sent, alone, in batches, by PUT,
// several times under one key, any series in any resolution and range is what a walk
// over all of them says.
func TestCountersAgreeWithANaiveReader(t *testing.T) {
	r := newRest(t)
	r.token = r.Admin
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	const ann, bob, team = "b11217fc-9d3a-11e7-b24e-699740088e05", "b11217fc-9d3a-11e7-b24e-699740088e06", "b11217fc-9d3a-11e7-b24e-699740088e07"
	event := func() (sent, string) {
		s := sent{at: 1 + rng.Int64N(70*day), user: pick("", ann, bob), group: pick("", team), category: pick("", "x", "y z"), counts: map[string]int64{}}
		for range rng.IntN(3) {
			// Each name once: what an event both resets and counts depends on their order.
			s.counts[pick("a", "a.b", "a.b.c", "q", "system")] = rng.Int64N(7) - 3
		}
		if len(s.counts) == 2 {
			for name, by := range s.counts {
				if by == 0 {
					s.counts[name] = 1
				}
			}
		}
		body := map[string]any{"timestamp": s.at, "counters": s.counts}
		for name, value := range map[string]string{"user": s.user, "group": s.group, "category": s.category} {
			if value != "" {
				body[name] = value
			}
		}
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return s, string(text)
	}
	var model naive
	for n := range 120 {
		method, path := "POST", "/events"
		s, body := event()
		model = append(model, s)
		switch rng.IntN(4) {
		case 0:
			method, path = "PUT", fmt.Sprintf("/events/b11217fc-9d3a-11e7-b24e-6997400880%02d", rng.IntN(3))
		case 1:
			more, text := event()
			model = append(model, more)
			body = "[" + body + "," + text + "]"
		}
		for range 1 + rng.IntN(3) {
			req, err := http.NewRequest(method, r.URL+r.App+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+r.Admin)
			req.Header.Set("Idempotency-Key", fmt.Sprint(n))
			if a, err := r.Send(req); err != nil || a.Status != 200 || a.Fields["errors"] != nil {
				t.Fatalf("%v %s", err, a.Body)
			}
		}
		for range 3 {
			of := sent{user: pick("", "", ann, bob), group: pick("", "", team), category: pick("", "", "x", "y z")}
			name, resolution := pick("a", "a.b", "a.b.c", "q", "b", "system"), pick("all", "minute", "five_minutes", "half_hour", "hour", "six_hour", "half_day", "day", "week", "month")
			from := rng.Int64N(80 * day)
			to, pad := from+rng.Int64N(20*day), rng.IntN(2) == 0
			if entity.ParseResolution(resolution).Interval() > 1000*60 {
				from, to = 0, 80*day-from%day
			}
			query := fmt.Sprintf("counter=%s&resolution=%s&start_time=%d&end_time=%d&pad=%v", url.QueryEscape(name+":"+of.user+":"+of.group+":"+of.category), resolution, from, to, pad)
			if got, want := r.counter(query), model.read(name, of, entity.ParseResolution(resolution), from, to, pad); got != want {
				t.Fatalf("after %d events, %s:\n%.600s\nwant\n%.600s", len(model), query, got, want)
			}
		}
	}
}
