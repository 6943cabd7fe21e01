package placement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/trellisdb/trellis/storage/entity"
)

// The scripts in testdata describe a cluster in two lists:
//
//	nodes               a node a line, with what is special about it
//	a zone=north
//	b dead
//
//	table               a partition a line; a replica with a dash doesn't vote
//	0 a#1 b#2-
//	1 a#1 b#2 unsettled load=7
//
// Then "plan" prints the changes of one plan, "settle" makes changes and takes
// them for settled until there are none, and "initial" places a new cluster.
func TestPlan(t *testing.T) {
	datadriven.Walk(t, "testdata/plan", func(t *testing.T, path string) {
		c := Cluster{Replication: 3, SystemVoters: 5}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "nodes":
				d.MaybeScanArgs(t, "replication", &c.Replication)
				d.MaybeScanArgs(t, "voters", &c.SystemVoters)
				c.Nodes = parseNodes(t, d.Input)
				return ""
			case "table":
				parseTable(t, d.Input, &c)
				return ""
			case "plan":
				changes := Plan(c)
				if len(changes) == 0 {
					return "nothing"
				}
				return say(changes)
			case "settle":
				return settle(t, &c)
			case "initial":
				var partitions uint32
				d.ScanArgs(t, "partitions", &partitions)
				var members []entity.Member
				for _, n := range c.Nodes {
					members = append(members, n.Member)
				}
				c.Placements = Initial(members, partitions, c.Replication, parseReplicas(t, strings.Fields(d.Input)))
				c.Unsettled = nil
				return tableText(c.Placements)
			}
			t.Fatalf("%s: no such command: %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

// settle prints the changes until there are none, and then the table.
func settle(t *testing.T, c *Cluster) string {
	var out strings.Builder
	for i := range c.Placements {
		c.Placements[i].Formed = true
	}
	for range 1000 {
		changes := Plan(*c)
		if len(changes) == 0 {
			out.WriteString(tableText(c.Placements))
			return out.String()
		}
		out.WriteString(say(changes))
		apply(t, c, changes)
		c.Unsettled = nil
	}
	t.Fatalf("no end of changes:\n%s", out.String())
	return ""
}

func say(changes []Change) string {
	var out strings.Builder
	for _, change := range changes {
		fmt.Fprintf(&out, "%s\n", change.Why)
	}
	return out.String()
}

// fataler is a *testing.T or *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// apply puts changes into the table by the rules of the state machine.
func apply(t fataler, c *Cluster, changes []Change) {
	t.Helper()
	for _, change := range changes {
		now := change.Placement
		i := slices.IndexFunc(c.Placements, func(p entity.Placement) bool { return p.Partition == now.Partition })
		if i < 0 {
			t.Fatalf("%s: no such partition", change.Why)
		}
		old := &c.Placements[i]
		if now.Version != old.Version+1 || now.Next < old.Next || now.Formed != old.Formed {
			t.Fatalf("%s: %+v can't follow %+v", change.Why, now, *old)
		}
		checkReplicas(t, now)
		for _, r := range now.Replicas {
			before, ok := old.Replica(r.Node)
			if r.Number < old.Next && (!ok || before.Number != r.Number) {
				t.Fatalf("%s: number of %s was given before: %+v after %+v", change.Why, r.ServerID(), now, *old)
			}
		}
		*old = now
	}
}

// checkReplicas holds a placement against the rules of the state machine.
func checkReplicas(t fataler, p entity.Placement) {
	t.Helper()
	voters := 0
	for i, r := range p.Replicas {
		if r.Number == 0 || r.Number >= p.Next || r.Node == "" {
			t.Fatalf("partition %d: bad number: %+v", p.Partition, p)
		}
		if r.Voter {
			voters++
		}
		for _, other := range p.Replicas[:i] {
			if other.Node == r.Node || other.Number == r.Number {
				t.Fatalf("partition %d: %s is there twice: %+v", p.Partition, r.ServerID(), p)
			}
		}
	}
	if voters == 0 {
		t.Fatalf("partition %d: no voter: %+v", p.Partition, p)
	}
}

func parseNodes(t *testing.T, input string) []Node {
	var nodes []Node
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		n := Node{Member: entity.Member{ID: entity.NodeID(words[0]), State: entity.Active}}
		for _, word := range words[1:] {
			zone, isZone := strings.CutPrefix(word, "zone=")
			switch {
			case isZone:
				n.Zone = zone
			case word == "draining":
				n.State = entity.Draining
			case word == "removed":
				n.State = entity.Removed
			case word == "down":
				n.Down = true
			case word == "dead":
				n.Down, n.Dead = true, true
			default:
				t.Fatalf("node %s: %s?", n.ID, word)
			}
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func parseTable(t *testing.T, input string, c *Cluster) {
	c.Placements, c.Unsettled, c.Load = nil, map[entity.Partition]bool{}, map[entity.Partition]int64{}
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		n, err := strconv.ParseUint(words[0], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		p := entity.Placement{Partition: entity.Partition(n), Version: 1, Formed: true, Next: 1}
		var replicas []string
		for _, word := range words[1:] {
			load, isLoad := strings.CutPrefix(word, "load=")
			switch {
			case isLoad:
				if c.Load[p.Partition], err = strconv.ParseInt(load, 10, 64); err != nil {
					t.Fatal(err)
				}
			case word == "unsettled":
				c.Unsettled[p.Partition] = true
			case word == "unformed":
				p.Formed = false
			default:
				replicas = append(replicas, word)
			}
		}
		p.Replicas = parseReplicas(t, replicas)
		for _, r := range p.Replicas {
			p.Next = max(p.Next, r.Number+1)
		}
		c.Placements = append(c.Placements, p)
	}
}

func parseReplicas(t *testing.T, words []string) []entity.Replica {
	var replicas []entity.Replica
	for _, word := range words {
		id, follows := strings.CutSuffix(word, "-")
		r, ok := entity.ParseServerID(id)
		if !ok {
			t.Fatalf("no replica: %s", word)
		}
		r.Voter = !follows
		replicas = append(replicas, r)
	}
	return replicas
}

func tableText(placements []entity.Placement) string {
	var out strings.Builder
	for _, p := range placements {
		fmt.Fprintf(&out, "%d", p.Partition)
		for _, r := range p.Replicas {
			fmt.Fprintf(&out, " %s", serverText(Server{ID: r.ServerID(), Voter: r.Voter}))
		}
		if !p.Formed {
			out.WriteString(" unformed")
		}
		out.WriteString("\n")
	}
	return out.String()
}

func serverText(s Server) string {
	if s.Voter {
		return s.ID
	}
	return s.ID + "-"
}

// In the scripts for groups the first line is what the table wants, the second
// the configuration: a dash for a non-voter, "!" for one that is dead and "~" for
// one that hasn't caught up. What a third line names is dead once it joins.
//
// "step" prints the next step. "run" makes steps, where all that joins and isn't
// dead catches up at once, and prints the configurations on the way.
func TestReconcile(t *testing.T) {
	datadriven.Walk(t, "testdata/reconcile", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var self string
			d.ScanArgs(t, "self", &self)
			lines := strings.Split(d.Input, "\n")
			want := entity.Placement{Replicas: parseReplicas(t, strings.Fields(lines[0]))}
			var have []Server
			standing := map[string]Standing{}
			for _, word := range strings.Fields(lines[1]) {
				id := strings.TrimRight(word, "-!~")
				have = append(have, Server{ID: id, Voter: !strings.Contains(word, "-")})
				standing[id] = Standing{Alive: !strings.Contains(word, "!"), CaughtUp: !strings.ContainsAny(word, "!~")}
			}
			var dead []string
			if len(lines) > 2 {
				dead = strings.Fields(lines[2])
			}
			switch d.Cmd {
			case "step":
				return stepText(Reconcile(want, have, standing, self)) + settledText(want, have)
			case "run":
				return run(t, want, have, standing, self, dead)
			}
			t.Fatalf("%s: no such command: %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

func stepText(s Step) string { return strings.TrimSpace(fmt.Sprintf("%s %s", s.Kind, s.Server)) }

func settledText(want entity.Placement, have []Server) string {
	if Settled(want, have) {
		return " (settled)"
	}
	return ""
}

func run(t *testing.T, want entity.Placement, have []Server, standing map[string]Standing, self string, dead []string) string {
	var out strings.Builder
	for range 100 {
		step := Reconcile(want, have, standing, self)
		if step.Kind == None {
			fmt.Fprintf(&out, "none%s", settledText(want, have))
			return out.String()
		}
		switch step.Kind {
		case Transfer:
			self = step.Server
		default:
			have = change(t, have, step)
			if step.Kind == AddNonvoter && !slices.Contains(dead, step.Server) {
				standing[step.Server] = Standing{Alive: true, CaughtUp: true}
			}
		}
		fmt.Fprintf(&out, "%s:", stepText(step))
		for _, s := range have {
			fmt.Fprintf(&out, " %s", serverText(s))
		}
		out.WriteString("\n")
	}
	t.Fatalf("no end of steps:\n%s", out.String())
	return ""
}

// change returns the configuration after a step that changes it, which must be one it can make.
func change(t fataler, have []Server, step Step) []Server {
	t.Helper()
	i := slices.IndexFunc(have, func(s Server) bool { return s.ID == step.Server })
	possible := i >= 0
	switch step.Kind {
	case AddNonvoter:
		possible = i < 0
	case Promote:
		possible = possible && !have[i].Voter
	case Demote:
		possible = possible && have[i].Voter
	}
	if !possible {
		t.Fatalf("%s: can't, of %v", stepText(step), have)
	}
	have = slices.Clone(have)
	switch step.Kind {
	case AddNonvoter:
		have = append(have, Server{ID: step.Server})
	case Promote:
		have[i].Voter = true
	case Demote:
		have[i].Voter = false
	case Remove:
		have = slices.Delete(have, i, i+1)
	}
	return have
}
