package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/trellisdb/trellis/bench/cluster"
	"github.com/trellisdb/trellis/bench/fake"
	"github.com/trellisdb/trellis/bench/history"
	"github.com/trellisdb/trellis/bench/plan"
)

func TestSoakPassesWhatKeepsItsPromises(t *testing.T) {
	out, err := bench(t, fake.None, "soak", "--nodes", "1", "--schedules", "2", "--duration", "400ms", "--seed", "3", "--faults", "kill-all,pause-leader,rolling-restart")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"schedule 1: ", "operations on", "| no fault | 2 |", "not linear"} {
		if strings.Contains(out, want) != (want != "not linear") {
			t.Errorf("%q in:\n%s", want, out)
		}
	}
}

// Faults that show however few requests there are: what the checker finds is
// tested where the number of requests is fixed, in bench/history.
func TestSoakSeesBrokenPromises(t *testing.T) {
	for fault, want := range map[fake.Fault]string{fake.Count: "a walk finds", fake.Dirty: "is not clean"} {
		out, err := bench(t, fault, "soak", "--nodes", "1", "--schedules", "2", "--duration", "150ms", "--seed", "3", "--faults", "pause-leader", "--clients", "2")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "again by --seed 3 --first 0") || strings.Contains(err.Error(), "schedule 1") {
			t.Errorf("%s: error %v\n%s", fault, err, out)
		}
	}
}

func TestSoakGoesOnAfterAFailure(t *testing.T) {
	_, err := bench(t, fake.Dirty, "soak", "--nodes", "1", "--schedules", "2", "--duration", "100ms", "--faults", "pause-leader", "--keep-going", "--clients", "1")
	if err == nil || !strings.Contains(err.Error(), "schedule 0") || !strings.Contains(err.Error(), "schedule 1") {
		t.Errorf("error %v", err)
	}
}

func TestSoakRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{{"--schedules", "0"}, {"--faults", "flood"}, {"--nodes", "9"}, {"--nodes", "1", "--faults", "cut-one-link"}} {
		if _, err := bench(t, fake.None, append([]string{"soak", "--duration", "100ms"}, args...)...); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

func TestFailoverMeasuresTheGap(t *testing.T) {
	out, err := bench(t, fake.None, "failover", "--nodes", "1", "--rounds", "2", "--down", "50ms", "--settle", "50ms", "--clients", "2")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"none of 6 is in another", "round 1: node 0 killed", "| the partition whose leader is killed | 2 |"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestGapsAreHeldToTheirGoals(t *testing.T) {
	h := &history.History{Acks: []history.Ack{{At: time.Second}, {At: 4 * time.Second}, {At: 5 * time.Second, App: 1}}}
	var g gapTable
	if gap := g.add(h, window{kind: plan.KillLeader, from: 500 * time.Millisecond, to: 4500 * time.Millisecond}, 1); gap != 3*time.Second {
		t.Errorf("gap %s", gap)
	}
	if gap := g.add(h, window{kind: plan.KillFollower, from: 500 * time.Millisecond, to: 4500 * time.Millisecond, struckLeader: []bool{true}}, 1); gap != 0 || len(g[plan.KillFollower]) > 0 {
		t.Errorf("a follower's fault takes over %s from an application that it led", gap)
	}
	if gap := g.add(h, window{kind: calm, from: 3900 * time.Millisecond, to: 4100 * time.Millisecond}, 1); gap > calmGoal {
		t.Errorf("calm gap %s", gap)
	}
	if err := g.over(3); err == nil || !strings.Contains(err.Error(), "kill leader") || strings.Contains(err.Error(), "no fault:") {
		t.Errorf("error %v", err)
	}
	if err := g.over(1); err != nil {
		t.Errorf("a single node is held to the goals of three: %v", err)
	}
	var out strings.Builder
	g.print(&out, 3)
	if !strings.Contains(out.String(), "| kill leader | 1 | 3s | 3s | 2.5s | 1 |") {
		t.Errorf("printed:\n%s", out.String())
	}
}

func TestVictimsAreNodesAndTheFollowerIsAnother(t *testing.T) {
	for nodes := 1; nodes <= 5; nodes++ {
		c, err := cluster.New(t.Context(), cluster.Config{Nodes: nodes})
		if err != nil {
			t.Fatal(err)
		}
		unknown := func([][]cluster.Replica, int) (int, bool) { return 0, false }
		known := func([][]cluster.Replica, int) (int, bool) { return nodes - 1, true }
		seen := make(map[int]bool)
		for pick := range uint64(60) {
			s := striker{cluster: c, leader: known}
			v := s.choose(plan.Strike{Pick: pick})
			if v.leader != nodes-1 || v.guessed || v.follower < 0 || v.follower >= nodes || nodes > 1 && v.follower == v.leader {
				t.Fatalf("%d nodes, pick %d: %+v", nodes, pick, v)
			}
			seen[v.follower] = true
			s.leader = unknown
			if v := s.choose(plan.Strike{Pick: pick}); !v.guessed || v.leader >= nodes || !strings.Contains(v.describe(plan.KillLeader), "a guess") {
				t.Fatalf("%d nodes, pick %d: %+v", nodes, pick, v)
			}
		}
		if want := max(1, nodes-1); len(seen) != want {
			t.Errorf("%d nodes: %d followers were ever struck, want %d", nodes, len(seen), want)
		}
	}
}

func TestEveryFaultCanBeBroughtAbout(t *testing.T) {
	c, err := cluster.New(t.Context(), cluster.Config{Nodes: 3, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := &striker{cluster: c}
	for _, k := range plan.Kinds() {
		switch k {
		case plan.RollingRestart, plan.FlapLink, plan.Split: // last for a time of their own
			continue
		case plan.WrongClock: // starts a node
			continue
		}
		// No node runs and there is no network and no disk: a fault of one is refused, all others do nothing.
		if err := s.begin(victim{leader: 0, follower: 1}, k); err != nil && !errors.Is(err, cluster.ErrNoNetwork) && !errors.Is(err, cluster.ErrNoDisk) {
			t.Errorf("%s: %v", k, err)
		}
	}
}
