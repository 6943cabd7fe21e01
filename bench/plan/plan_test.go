package plan

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func TestSameSeedSamePlan(t *testing.T) {
	c := Config{Nodes: 3, Duration: time.Minute, Network: true, Wipe: true}
	a, errA := Draw(rng(7), c)
	b, errB := Draw(rng(7), c)
	if d := cmp.Diff(a, b); d != "" || errA != nil || errB != nil {
		t.Errorf("%s %v %v", d, errA, errB)
	}
	other, err := Draw(rng(8), c)
	if err != nil || cmp.Equal(a, other) {
		t.Errorf("seed 8 draws the plan of seed 7, %v", err)
	}
}

func TestStrikesLieApartWithinTheSchedule(t *testing.T) {
	for seed := range uint64(300) {
		r := rng(seed)
		c := Config{Nodes: 3, Duration: time.Duration(100+r.IntN(120_000)) * time.Millisecond, Network: true}
		plan, err := Draw(r, c)
		if err != nil || len(plan) == 0 {
			t.Fatalf("seed %d: %v, %v", seed, plan, err)
		}
		var before time.Duration
		for _, s := range plan {
			if s.At <= before || s.For <= 0 || s.For > longest || s.End() >= c.Duration {
				t.Fatalf("seed %d, %s: %s after %s", seed, c.Duration, s, before)
			}
			before = s.End()
		}
	}
}

func TestOnlyPossibleFaultsAreDrawn(t *testing.T) {
	for _, tc := range []struct {
		config Config
		want   []Kind
	}{
		{Config{Nodes: 1}, []Kind{KillLeader, KillAll, PauseLeader, RollingRestart}},
		{Config{Nodes: 3}, []Kind{KillLeader, KillFollower, KillAll, PauseLeader, PauseFollower, RollingRestart}},
		{Config{Nodes: 3, Wipe: true, Only: []Kind{WipeFollower, CutLink}}, []Kind{WipeFollower}},
		{Config{Nodes: 3, Network: true, Wipe: true, Disks: true, Clock: true}, Kinds()},
	} {
		if d := cmp.Diff(tc.want, tc.config.possible()); d != "" {
			t.Errorf("%+v: %s", tc.config, d)
		}
	}
	drawn := make(map[Kind]bool)
	for seed := range uint64(40) {
		plan, err := Draw(rng(seed), Config{Nodes: 3, Duration: time.Minute, Network: true, Wipe: true, Disks: true, Clock: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range plan {
			drawn[s.Kind] = true
		}
	}
	if len(drawn) != len(Kinds()) {
		t.Errorf("%d of %d faults were ever drawn", len(drawn), len(Kinds()))
	}
	if _, err := Draw(rng(1), Config{Nodes: 1, Duration: time.Second, Only: []Kind{CutLink}}); err == nil {
		t.Error("a link of one node was cut")
	}
}

func TestFaultsAreNamed(t *testing.T) {
	got, err := Parse("kill-leader, cut one link,")
	if d := cmp.Diff([]Kind{KillLeader, CutLink}, got); d != "" || err != nil {
		t.Errorf("%s, %v", d, err)
	}
	if _, err := Parse("kill-everyone"); err == nil {
		t.Error("an unknown fault was accepted")
	}
	for _, k := range Kinds() {
		if Goal(k, 3) <= 0 || Goal(k, 1) != 0 {
			t.Errorf("%s: goals %s and %s", k, Goal(k, 3), Goal(k, 1))
		}
	}
}
