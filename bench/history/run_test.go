package history

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/bench/client"
	"github.com/trellisdb/trellis/bench/fake"
)

// serve starts a fake with several listeners, which are nodes that always
// agree.
func serve(t *testing.T, dir string, fault fake.Fault, nodes int) (addrs []string, stop func()) {
	t.Helper()
	s, err := fake.Open(dir, fault)
	if err != nil {
		t.Fatal(err)
	}
	for range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go s.Serve(l)
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// config is for tests that end after a number of operations: what they find
// does not depend on the speed of the machine.
func config(addrs []string, clients, operations int) Config {
	c := DefaultConfig()
	c.Apps = []client.Target{{Org: "o", App: "a", Token: "t"}, {Org: "o", App: "b", Token: "t"}}
	c.Nodes, c.Collection, c.Clients, c.Operations, c.Seed = addrs, "things", clients, operations, 1
	c.HotKeys, c.PerKey, c.Page = 4, 120, 3
	c.Attempt, c.GiveUp = 20*time.Second, time.Minute
	return c
}

func record(t *testing.T, c Config) *Recorder {
	t.Helper()
	r, err := NewRecorder(c)
	if err != nil {
		t.Fatal(err)
	}
	r.Run(t.Context())
	return r
}

// verify walks both applications through the first node.
func verify(t *testing.T, r *Recorder) {
	t.Helper()
	for app := range r.cfg.Apps {
		if _, err := r.Verify(app, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// complaints is all that is wrong with a history.
func complaints(t *testing.T, h *History) []string {
	t.Helper()
	v, err := h.Check(time.Minute, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if len(v.GaveUp) > 0 {
		t.Errorf("gave up on %v", v.GaveUp)
	}
	all := append(slices.Clone(h.Wrong), h.CheckStale()...)
	for _, key := range v.Illegal {
		all = append(all, "not linearizable: "+key)
	}
	return all
}

func TestPromisesThatAreKeptPass(t *testing.T) {
	for _, fault := range []fake.Fault{fake.None, fake.Mute} {
		t.Run(string(fault), func(t *testing.T) {
			addrs, stop := serve(t, "", fault, 3)
			defer stop()
			r := record(t, config(addrs, 6, 150))
			verify(t, r)
			var listings []Listing
			for node := range addrs {
				l, err := r.Verify(0, node)
				if err != nil {
					t.Fatal(err)
				}
				listings = append(listings, l)
			}
			h := r.History()
			for _, wrong := range complaints(t, h) {
				t.Error(wrong)
			}
			for _, l := range listings[1:] {
				for _, d := range Differences(listings[0], l) {
					t.Error(d)
				}
			}
			if n := h.Counts; n.Operations < 500 || n.Stale == 0 || n.Refused == 0 || (n.Retried > 0) != (fault == fake.Mute) || n.Unknown > 0 || len(h.Acks) == 0 {
				t.Errorf("%+v, %d acknowledged", n, len(h.Acks))
			}
		})
	}
}

func TestBrokenPromisesAreCaught(t *testing.T) {
	for fault, want := range map[fake.Fault]string{
		fake.Stale:  "not linearizable",
		fake.Drop:   "not linearizable",
		fake.Forget: "not linearizable",
		fake.Twice:  "not linearizable",
		fake.Wrong:  "the answer is about",
		fake.Young:  "a later write was acknowledged",
		fake.Skip:   "not linearizable",
		fake.Repeat: "twice",
	} {
		t.Run(string(fault), func(t *testing.T) {
			addrs, stop := serve(t, "", fault, 1)
			defer stop()
			c := config(addrs, 1, 400) // a single client: the same requests every time
			switch fault {
			case fake.Young:
				c.HotKeys, c.Mix = 1, Mix{Update: 1, Stale: 1}
				c.Operations = 60
			case fake.Skip:
				c.HotKeys = 60 // several pages
			}
			r := record(t, c)
			if fault == fake.Young {
				overtake(r)
			}
			verify(t, r)
			h := r.History()
			if all := complaints(t, h); !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, want) }) {
				t.Errorf("want %q, there is %q", want, all)
			}
		})
	}
}

// overtake makes the writes of a history longer ago than the tolerance of
// ages, so that the test does not need to wait.
func overtake(r *Recorder) {
	for i := range r.history.Ops {
		r.history.Ops[i].Call -= time.Second
		r.history.Ops[i].Return -= time.Second
	}
	for i := range r.history.Stale {
		r.history.Stale[i].Return += time.Second
	}
}

func TestAcknowledgedWritesThatAreGoneAreCaught(t *testing.T) {
	for fault, want := range map[fake.Fault]string{fake.None: "", fake.Lose: "not linearizable", fake.Half: "is not whole"} {
		t.Run(string(fault), func(t *testing.T) {
			dir := t.TempDir()
			addrs, stop := serve(t, dir, fault, 1)
			c := config(addrs, 1, 500)
			c.HotKeys = 400 // so that most writes are the last of their key
			r := record(t, c)
			stop()
			addrs, stop = serve(t, dir, fake.None, 1)
			defer stop()
			r.cfg.Nodes = addrs
			verify(t, r)
			all := complaints(t, r.History())
			if want == "" && len(all) > 0 || want != "" && !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, want) }) {
				t.Errorf("want %q, there is %q", want, all)
			}
		})
	}
}

func TestClientsLeaveADeadNodeAndComeBack(t *testing.T) {
	addrs, stop := serve(t, "", fake.None, 2)
	defer stop()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := dead.Addr().String()
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	r := record(t, config([]string{nobody, addrs[0], addrs[1]}, 3, 40))
	h := r.History()
	for _, wrong := range complaints(t, h) {
		t.Error(wrong)
	}
	for _, o := range h.Ops {
		if o.Node == 0 || o.Outcome == Unknown {
			t.Fatalf("%s at node %d", o, o.Node)
		}
	}
}

func TestNodesThatDifferAreToldApart(t *testing.T) {
	a := Listing{{UUID: "1", Name: "x", Value: 1}, {UUID: "2", Name: "y", Value: 2}}
	if d := Differences(a, slices.Clone(a)); len(d) > 0 {
		t.Error(d)
	}
	for _, b := range []Listing{a[:1], {a[1], a[0]}, {a[0], {UUID: "2", Name: "y", Value: 3}}} {
		if len(Differences(a, b)) == 0 {
			t.Errorf("%v and %v are the same", a, b)
		}
	}
}

func TestRecorderRefusesNonsense(t *testing.T) {
	good := config([]string{"a:1"}, 1, 1)
	for _, change := range []func(*Config){
		func(c *Config) { c.Apps = nil },
		func(c *Config) { c.Nodes = nil },
		func(c *Config) { c.Collection = "" },
		func(c *Config) { c.Clients = 0 },
		func(c *Config) { c.Mix = Mix{} },
		func(c *Config) { c.Mix.Read = -1 },
		func(c *Config) { c.HotKeys = 0 },
		func(c *Config) { c.GiveUp = 0 },
	} {
		c := good
		change(&c)
		if _, err := NewRecorder(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	if _, err := NewRecorder(good); err != nil {
		t.Error(err)
	}
}
