package crash

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/fake"
)

// serve runs a fake in this process.
func serve(t *testing.T, fault fake.Fault) client.Target {
	t.Helper()
	s, err := fake.Open("", fault)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return client.Target{Addr: l.Addr().String(), Org: "o", App: "a", Token: "t"}
}

// written is a model and the server it was written to.
func written(t *testing.T) (*Model, client.Target, Counts) {
	t.Helper()
	target := serve(t, fake.None)
	m := NewModel("records", 1, 8)
	var counts Counts
	for end := time.Now().Add(time.Minute); counts.Acknowledged < 1000 && time.Now().Before(end); {
		ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
		counts.Add(m.Write(ctx, target, 0))
		stop()
	}
	if counts.Acknowledged < 1000 || counts.Unanswered > 0 {
		t.Fatalf("%+v", counts)
	}
	return m, target, counts
}

func mustVerify(t *testing.T, m *Model, target client.Target) *Findings {
	t.Helper()
	f, err := m.Verify(target, Depth{Everything: true})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestHonestServerHasNoViolations(t *testing.T) {
	m, target, counts := written(t)
	f := mustVerify(t, m, target)
	if len(f.Violations) > 0 {
		t.Errorf("%d violations, the first: %s", len(f.Violations), f.Violations[0])
	}
	if counts.Refused == 0 {
		t.Error("no contest was lost: uniqueness was not tried")
	}
	if f.Asked < 100 || f.Entities < m.Live() {
		t.Errorf("asked for %d, %d entities, %d live", f.Asked, f.Entities, m.Live())
	}
	m.Settle(f)
	if f := mustVerify(t, m, target); len(f.Violations) > 0 {
		t.Errorf("after settling: %s", f.Violations[0])
	}
}

// Each case spoils the server behind the model's back.
func TestVerifyFinds(t *testing.T) {
	m, target, _ := written(t)
	var alive, dead *record
	for _, w := range m.writers {
		for _, r := range w.records {
			if r.version != 0 {
				alive = r
			} else if r.uuid != "" {
				dead = r
			}
		}
	}
	if alive == nil || dead == nil {
		t.Fatal("nothing alive or nothing deleted")
	}
	c := client.NewConn(target.Addr, time.Second)
	defer c.Close()
	call := func(method, name string, body any) {
		t.Helper()
		if err := target.Call(c, method, target.Path("records", name), body, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name, want string
		spoil      func()
		repair     func()
	}{
		{"an update that nobody sent", "acknowledged is", func() { call("PUT", alive.name, compose(alive.name, 999)) }, func() { call("PUT", alive.name, compose(alive.name, alive.version)) }},
		{"half an update", "half there", func() { call("PUT", alive.name, map[string]int{"version": 998}) }, func() { call("PUT", alive.name, compose(alive.name, alive.version)) }},
		{"a deleted entity back", "acknowledged is 0", func() { call("PUT", dead.name, compose(dead.name, 3)) }, func() { call("DELETE", dead.name, nil) }},
		{"an entity nobody wrote", "nobody wrote it", func() { call("PUT", "stranger", compose("stranger", 1)) }, func() { call("DELETE", "stranger", nil) }},
		{"a new identity", "has uuid", func() {
			call("DELETE", alive.name, nil)
			call("PUT", alive.name, compose(alive.name, alive.version))
		}, func() {}},
		{"a lost entity", "has version 0", func() { call("DELETE", alive.name, nil) }, func() {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.spoil()
			f := mustVerify(t, m, target)
			if !slices.ContainsFunc(f.Violations, func(v string) bool { return strings.Contains(v, tc.want) }) {
				t.Errorf("no %q in %q", tc.want, f.Violations)
			}
			tc.repair()
		})
	}
}

func TestUnansweredWritesMayHaveHappenedOrNotButNothingElse(t *testing.T) {
	r := &record{name: "a", version: 3, maybe: []uint64{0}}
	for v, want := range map[uint64]bool{3: true, 0: true, 1: false, 4: false} {
		if r.allowed(v) != want {
			t.Errorf("version %d allowed: %t", v, !want)
		}
	}
}

func TestUnansweredNameIsLeftAlone(t *testing.T) {
	w := newWriter(NewModel("records", 1, 1), 0)
	w.frozen = make(map[*record]bool)
	r := w.fresh()
	w.settle(r, unknown, 5)
	if r.version != 0 || !r.allowed(5) || !r.allowed(0) {
		t.Errorf("%+v", r)
	}
	for range 100 {
		if w.pick() == r {
			t.Fatal("a name with an unanswered write was written again")
		}
	}
}

func TestContestRules(t *testing.T) {
	there := map[string]stored{"x": {UUID: "1", Name: "x"}}
	for name, tc := range map[string]struct {
		contest contest
		listed  map[string]stored
		broken  bool
	}{
		"one winner, there":           {contest{winners: []string{"1"}, refused: 5}, there, false},
		"one winner, absent":          {contest{winners: []string{"1"}}, nil, true},
		"one winner, another there":   {contest{winners: []string{"2"}}, there, true},
		"two winners":                 {contest{winners: []string{"1", "2"}}, there, true},
		"unanswered, there":           {contest{unknown: 1, refused: 3}, there, false},
		"unanswered, absent":          {contest{unknown: 1}, nil, false},
		"all refused, absent":         {contest{refused: 3}, nil, true},
		"all refused, there":          {contest{refused: 3}, there, true},
		"settled absent, there later": {contest{unknown: 1, settled: true}, there, true},
	} {
		m := NewModel("records", 1, 1)
		m.mu.contests["x"] = &tc.contest
		f := &Findings{listed: tc.listed}
		m.compareContests(f)
		if broken := len(f.Violations) > 0; broken != tc.broken {
			t.Errorf("%s: violations %q", name, f.Violations)
		}
	}
}

func TestParseRefusesMixtures(t *testing.T) {
	whole := compose("n", 4)
	whole.UUID = "u"
	for name, spoil := range map[string]func(*stored){
		"":           func(*stored) {},
		"version":    func(e *stored) { e.Version = 5 },
		"twin":       func(e *stored) { e.Twin = 3 },
		"sum":        func(e *stored) { e.Sum = compose("n", 5).Sum },
		"filler":     func(e *stored) { e.Filler = e.Filler[1:] },
		"name":       func(e *stored) { e.Name = "m" },
		"no uuid":    func(e *stored) { e.UUID = "" },
		"no version": func(e *stored) { *e = compose("n", 0); e.UUID = "u" },
	} {
		e := whole
		spoil(&e)
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(raw); (err != nil) != (name != "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestVerifyFailsWhenTheServerIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := client.Target{Addr: l.Addr().String(), Org: "o", App: "a"}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	m := NewModel("records", 1, 2)
	if c := m.Write(t.Context(), target, 0); c != (Counts{}) {
		t.Errorf("%+v", c)
	}
	if _, err := m.Verify(target, Depth{}); err == nil {
		t.Error("verified against nothing")
	}
}
