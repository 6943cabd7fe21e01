package placement

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
)

// host is a node of a simulated cluster.
type host struct {
	entity.Member
	up   bool
	away int // ticks it has not been up
}

// grace is how many ticks a host is away before it is dead.
const grace = 3

// raftGroup is a simulated Raft group. A copy is a length of log; the leader's
// grows, and what a majority of the voters has is acknowledged.
type raftGroup struct {
	partition entity.Partition
	servers   []Server
	copies    map[string]int // by server id; on disk, whether or not the host is up
	leader    string
	acked     int
	known     struct { // what the last leader told the planner
		version uint64
		settled bool
	}
}

// world is a simulated cluster.
type world struct {
	t      *rapid.T
	rng    *rand.Rand
	c      Cluster // Placements, Replication and SystemVoters; the rest is filled in for each plan
	hosts  []*host
	groups []*raftGroup
	quick  bool // followers have what the leader has at every tick
	story  []string
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, rng: seeded(t)}
	w.c.Replication = rapid.SampledFrom([]int{1, 2, 3, 3, 3, 5}).Draw(t, "replication")
	w.c.SystemVoters = rapid.SampledFrom([]int{1, 3, 5, 5}).Draw(t, "system voters")
	var members []entity.Member
	var system []entity.Replica
	for i := range rapid.IntRange(1, 5).Draw(t, "hosts") {
		h := w.join()
		members = append(members, h.Member)
		system = append(system, entity.Replica{Node: h.ID, Number: uint32(i + 1), Voter: true})
	}
	w.c.Placements = Initial(members, uint32(rapid.IntRange(1, 6).Draw(t, "partitions")), w.c.Replication, system)
	for i := range w.c.Placements {
		p := &w.c.Placements[i]
		checkReplicas(t, *p)
		p.Formed = true
		g := &raftGroup{partition: p.Partition, copies: map[string]int{}}
		for _, r := range p.Replicas {
			g.servers = append(g.servers, Server{ID: r.ServerID(), Voter: r.Voter})
			g.copies[r.ServerID()] = 0
		}
		w.groups = append(w.groups, g)
	}
	return w
}

// seeded returns chance that a test can repeat, for what is not worth shrinking.
func seeded(t *rapid.T) *rand.Rand { return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)) }

// shuffled returns s in another order.
func shuffled[T any](rng *rand.Rand, s []T) []T {
	s = slices.Clone(s)
	rng.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	return s
}

func (w *world) say(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

// fail ends the test with what has happened and how things stand.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	var out strings.Builder
	for _, line := range w.story[max(0, len(w.story)-60):] {
		fmt.Fprintf(&out, "  %s\n", line)
	}
	for _, h := range w.hosts {
		fmt.Fprintf(&out, "host %s zone=%q %s up=%v\n", h.ID, h.Zone, h.State, h.up)
	}
	out.WriteString(tableText(w.c.Placements))
	for _, g := range w.groups {
		fmt.Fprintf(&out, "group %d led by %q: %v, copies %v, acknowledged %d\n", g.partition, g.leader, g.servers, g.copies, g.acked)
	}
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), out.String())
}

// Fatalf and Helper let apply and change report through fail.
func (w *world) Fatalf(format string, args ...any) { w.t.Helper(); w.fail(format, args...) }
func (w *world) Helper()                           {}

func (w *world) join() *host {
	h := &host{up: true}
	h.ID = entity.NodeID(fmt.Sprintf("n%02d", len(w.hosts)+1))
	h.State = entity.Active
	h.Zone = rapid.SampledFrom([]string{"", "", "north", "south"}).Draw(w.t, "zone")
	w.hosts = append(w.hosts, h)
	return h
}

func (w *world) host(server string) *host {
	r, ok := entity.ParseServerID(server)
	i := slices.IndexFunc(w.hosts, func(h *host) bool { return h.ID == r.Node })
	if !ok || i < 0 {
		w.fail("no host of server %s", server)
	}
	return w.hosts[i]
}

// tick lets time pass: groups work, copies come and go, each leader makes a
// step, and if plans is true the leader of the system partition plans.
func (w *world) tick(plans bool) {
	for _, h := range w.hosts {
		h.away++
		if h.up {
			h.away = 0
		}
	}
	for _, g := range w.groups {
		w.work(g)
	}
	if plans && w.groups[0].leader != "" {
		w.plan()
	}
}

func (w *world) running(g *raftGroup, server string) bool {
	_, has := g.copies[server]
	return has && w.host(server).up
}

// standing is what a group's leader knows of the others.
func (w *world) standing(g *raftGroup) map[string]Standing {
	standing := map[string]Standing{}
	for _, s := range g.servers {
		if w.running(g, s.ID) {
			standing[s.ID] = Standing{Alive: true, CaughtUp: g.copies[s.ID] >= g.copies[g.leader]-1}
		}
	}
	return standing
}

// work is one tick of a group.
func (w *world) work(g *raftGroup) {
	w.keepCopies(g)
	w.elect(g)
	if g.leader == "" {
		return
	}
	g.copies[g.leader]++
	for _, s := range g.servers {
		if w.running(g, s.ID) && (w.quick || w.rng.IntN(4) > 0) {
			g.copies[s.ID] = g.copies[g.leader]
		}
	}
	w.acknowledge(g)
	w.reconcile(g)
	now := w.c.Placements[g.partition]
	g.known.version, g.known.settled = now.Version, Settled(now, g.servers)
}

// keepCopies deletes the copies that are out of the configuration, and begins
// those that are new in it, where the host has no other.
func (w *world) keepCopies(g *raftGroup) {
	occupied := map[*host]bool{}
	for _, id := range slices.Sorted(maps.Keys(g.copies)) {
		in := slices.ContainsFunc(g.servers, func(s Server) bool { return s.ID == id })
		if !in && w.host(id).up {
			delete(g.copies, id)
			continue
		}
		occupied[w.host(id)] = true
	}
	for _, s := range g.servers {
		if h := w.host(s.ID); h.up && !occupied[h] {
			if s.Voter {
				w.fail("group %d: voter %s has no copy", g.partition, s.ID)
			}
			g.copies[s.ID] = 0
			occupied[h] = true
		}
	}
}

// elect makes sure that the group has a leader, if it can have one.
func (w *world) elect(g *raftGroup) {
	var logs []int
	var running []string
	for _, s := range g.servers {
		if s.Voter && w.running(g, s.ID) {
			running = append(running, s.ID)
			logs = append(logs, g.copies[s.ID])
		}
	}
	majority := voters(g.servers)/2 + 1
	if len(running) < majority {
		g.leader = ""
		return
	}
	if slices.Contains(running, g.leader) {
		return
	}
	slices.Sort(logs)
	running = slices.DeleteFunc(running, func(id string) bool { return g.copies[id] < logs[majority-1] })
	slices.Sort(running)
	g.leader = running[w.rng.IntN(len(running))]
	w.say("group %d: %s leads", g.partition, g.leader)
	if g.copies[g.leader] < g.acked {
		w.fail("group %d: %s leads with a log of %d, and %d is acknowledged", g.partition, g.leader, g.copies[g.leader], g.acked)
	}
	for id := range g.copies {
		g.copies[id] = min(g.copies[id], g.copies[g.leader])
	}
}

func (w *world) acknowledge(g *raftGroup) {
	var logs []int
	for _, s := range g.servers {
		if s.Voter {
			logs = append(logs, g.copies[s.ID])
		}
	}
	slices.Sort(logs)
	g.acked = max(g.acked, logs[len(logs)-len(logs)/2-1])
}

// followsTable reports whether a server's host has a copy of the system partition that is up to date.
func (w *world) followsTable(server string) bool {
	system := w.groups[0]
	return system.leader != "" && slices.ContainsFunc(system.servers, func(s Server) bool {
		return w.running(system, s.ID) && w.host(s.ID) == w.host(server)
	})
}

// reconcile makes the step a leader finds, and checks it.
func (w *world) reconcile(g *raftGroup) {
	if !w.followsTable(g.leader) {
		return
	}
	want, standing := w.c.Placements[g.partition], w.standing(g)
	step := Reconcile(want, g.servers, standing, g.leader)
	if again := Reconcile(want, shuffled(w.rng, g.servers), standing, g.leader); again != step {
		w.fail("group %d: %s, and in another order %s", g.partition, stepText(step), stepText(again))
	}
	switch step.Kind {
	case None:
		return
	case Transfer:
		if !standing[step.Server].CaughtUp || !isVoter(g.servers, step.Server) {
			w.fail("group %d: %s, which can't lead", g.partition, stepText(step))
		}
		w.say("group %d: %s", g.partition, stepText(step))
		g.copies[step.Server] = g.copies[g.leader]
		g.leader = step.Server
		return
	}
	now := change(w, g.servers, step)
	checkStep(w, g.servers, now, standing, step, g.leader)
	ready := 0
	for _, s := range now {
		if s.Voter && w.running(g, s.ID) {
			ready++
		}
	}
	if 2*ready <= voters(now) {
		return // will never be committed, so that it may as well not have been tried
	}
	w.say("group %d: %s: %s", g.partition, g.leader, stepText(step))
	g.servers = now
	g.copies[g.leader]++
	for _, s := range now {
		if s.Voter && w.running(g, s.ID) {
			g.copies[s.ID] = g.copies[g.leader]
		}
	}
	w.acknowledge(g)
}

func voters(servers []Server) (n int) {
	for _, s := range servers {
		if s.Voter {
			n++
		}
	}
	return n
}

func isVoter(servers []Server, id string) bool {
	return slices.Contains(servers, Server{ID: id, Voter: true})
}

// checkStep holds the configuration after a step against the promises.
func checkStep(t fataler, before, after []Server, standing map[string]Standing, step Step, self string) {
	t.Helper()
	healthy := func(servers []Server) bool {
		fit := 0
		for _, s := range servers {
			if s.Voter && (s.ID == self || standing[s.ID].Alive && standing[s.ID].CaughtUp) {
				fit++
			}
		}
		return 2*fit > voters(servers)
	}
	if healthy(before) && !healthy(after) {
		t.Fatalf("%s by %s: no majority in %v, given %v", stepText(step), self, after, standing)
	}
	if step.Server == self {
		t.Fatalf("%s by itself", stepText(step))
	}
	names := func(servers []Server) map[entity.NodeID]int {
		votes := map[entity.NodeID]int{}
		for _, s := range servers {
			if r, _ := entity.ParseServerID(s.ID); s.Voter {
				votes[r.Node]++
			}
		}
		return votes
	}
	was := names(before)
	for id, n := range names(after) {
		if n > 1 && n > was[id] {
			t.Fatalf("%s by %s: node %s votes twice in %v", stepText(step), self, id, after)
		}
	}
}

// cluster is what the planner is shown.
func (w *world) cluster() Cluster {
	c := w.c
	c.Nodes, c.Unsettled = nil, map[entity.Partition]bool{}
	for _, h := range w.hosts {
		c.Nodes = append(c.Nodes, Node{Member: h.Member, Down: !h.up, Dead: h.away > grace})
	}
	for _, g := range w.groups {
		c.Unsettled[g.partition] = !g.known.settled || g.known.version != c.Placements[g.partition].Version
	}
	return c
}

func (w *world) plan() {
	c := w.cluster()
	changes := Plan(c)
	checkOrder(w, w.rng, c, changes)
	for _, change := range changes {
		w.say("plan: %s", change.Why)
		w.checkChange(c, change)
	}
	apply(w, &w.c, changes)
}

// checkOrder plans the same cluster in another order.
func checkOrder(t fataler, rng *rand.Rand, c Cluster, changes []Change) {
	t.Helper()
	c.Nodes = shuffled(rng, c.Nodes)
	c.Placements = shuffled(rng, c.Placements)
	if again := Plan(c); !slices.EqualFunc(again, changes, sameChange) {
		t.Fatalf("in one order\n%sin another\n%s", say(changes), say(again))
	}
}

func sameChange(a, b Change) bool {
	return a.Why == b.Why && a.Placement.Version == b.Placement.Version && a.Placement.Next == b.Placement.Next &&
		a.Placement.Partition == b.Placement.Partition && slices.Equal(a.Placement.Replicas, b.Placement.Replicas)
}

// checkChange holds a change against the promises of the package comment.
func (w *world) checkChange(c Cluster, change Change) {
	now := change.Placement
	old := c.Placements[now.Partition]
	live, dead := livingVoters(c, now)
	if before, gone := livingVoters(c, old); before > gone && live <= dead {
		w.fail("%s: of %s a majority is dead", change.Why, tableText([]entity.Placement{now}))
	}
	if now.Partition != 0 && now.Next > old.Next+1 {
		w.fail("%s: more than one new replica", change.Why)
	}
	for _, r := range now.Replicas {
		if _, had := old.Replica(r.Node); had {
			continue
		}
		i := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.ID == r.Node })
		if n := c.Nodes[i]; n.State == entity.Removed || now.Partition != 0 && (n.Dead || n.Down || n.State != entity.Active) {
			w.fail("%s: %s can't take a replica", change.Why, r.Node)
		}
	}
}

func livingVoters(c Cluster, p entity.Placement) (live, dead int) {
	for _, r := range p.Replicas {
		i := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.ID == r.Node })
		switch {
		case !r.Voter:
		case c.Nodes[i].Dead:
			dead++
		default:
			live++
		}
	}
	return live, dead
}

// disturb does something to the cluster that people or machines do.
func (w *world) disturb() {
	h := w.hosts[rapid.IntRange(0, len(w.hosts)-1).Draw(w.t, "host")]
	manage := func(to entity.MemberState) {
		if w.groups[0].leader != "" && h.State != entity.Removed {
			w.say("%s is %s", h.ID, to)
			h.State = to
		}
	}
	switch rapid.SampledFrom([]string{"join", "kill", "kill", "kill", "revive", "revive", "drain", "activate", "remove"}).Draw(w.t, "event") {
	case "join":
		if w.groups[0].leader != "" && len(w.hosts) < 9 {
			w.say("%s joins", w.join().ID)
		}
	case "kill":
		w.say("%s goes down", h.ID)
		h.up = false
	case "revive":
		w.say("%s comes up", h.ID)
		h.up = true
	case "drain":
		manage(entity.Draining)
	case "activate":
		manage(entity.Active)
	case "remove":
		manage(entity.Removed)
	}
}

// quiet lets time pass until nothing happens any more.
func (w *world) quiet(what string) {
	w.say("%s", what)
	w.quick = true
	for calm, ticks := 0, 0; calm < 2*grace; ticks++ {
		if ticks > 500 {
			w.fail("%s: never quiet", what)
		}
		events := len(w.story)
		w.tick(true)
		if calm++; len(w.story) > events {
			calm = 0
		}
	}
	w.quick = false
}

func TestClusterConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 25).Draw(t, "events") {
			w.disturb()
			for range rapid.IntRange(0, 8).Draw(t, "ticks") {
				w.tick(w.rng.IntN(2) == 0)
			}
		}
		w.quiet("nothing else happens")
		w.checkNoneHangs()
		for _, h := range w.hosts {
			h.up = true
		}
		w.quiet("all come up")
		w.checkFinal()
	})
}

// checkNoneHangs holds a cluster that came to rest with some hosts dead against
// what those that are up can do: a group which works gets all it wants where a
// host is free to take the place of a dead one.
func (w *world) checkNoneHangs() {
	if w.groups[0].leader == "" {
		return
	}
	for _, g := range w.groups[1:] {
		want := w.c.Placements[g.partition]
		oldest := slices.MinFunc(want.Replicas, func(a, b entity.Replica) int { return cmp.Compare(a.Number, b.Number) })
		if g.leader == "" || !w.followsTable(g.leader) || !w.host(oldest.ServerID()).up {
			continue // waits for a leader, or for a copy that may be the last
		}
		for _, h := range w.hosts {
			if _, holds := want.Replica(h.ID); !holds && h.up && h.State == entity.Active && !Settled(want, g.servers) {
				w.fail("group %d hangs, while %s is free", g.partition, h.ID)
			}
		}
		for _, r := range want.Replicas {
			if h := w.host(r.ServerID()); !h.up && len(want.Replicas) > w.c.Replication {
				w.fail("group %d: %s is dead, and one too many", g.partition, h.ID)
			}
		}
	}
}

// checkFinal holds a cluster that is up and has come to rest against what it should be.
func (w *world) checkFinal() {
	c := w.cluster()
	if changes := Plan(c); len(changes) > 0 {
		w.fail("still to do: %s", say(changes))
	}
	usable := 0
	state := map[entity.NodeID]entity.MemberState{}
	for _, n := range c.Nodes {
		state[n.ID] = n.State
		if n.State == entity.Active {
			usable++
		}
	}
	for _, g := range w.groups {
		want := c.Placements[g.partition]
		if !Settled(want, g.servers) {
			w.fail("group %d is not settled", g.partition)
		}
		if usable == 0 {
			continue
		}
		first := want.Replicas[0]
		if r, _ := entity.ParseServerID(g.leader); r.Node != first.Node || state[first.Node] != entity.Active {
			w.fail("group %d is led by %s", g.partition, g.leader)
		}
		w.checkRest(g.partition, want, state, usable)
	}
	w.checkBalance(c, usable)
}

func (w *world) checkRest(p entity.Partition, want entity.Placement, state map[entity.NodeID]entity.MemberState, usable int) {
	active, others := 0, 0
	for _, r := range want.Replicas {
		switch state[r.Node] {
		case entity.Removed:
			w.fail("partition %d: still on %s", p, r.Node)
		case entity.Active:
			active++
		default:
			others++
		}
	}
	if p == 0 {
		members := 0
		for _, s := range state {
			if s != entity.Removed {
				members++
			}
		}
		if active+others != members {
			w.fail("system partition: %d replicas for %d members", active+others, members)
		}
		if n := min(w.c.SystemVoters, usable); n >= 3 && voters(placementServers(want)) != odd(n) {
			w.fail("system partition: %d voters", voters(placementServers(want)))
		}
		return
	}
	if active != min(w.c.Replication, usable) || others > w.c.Replication-active {
		w.fail("partition %d: %d replicas on active nodes, %d on others", p, active, others)
	}
}

func placementServers(p entity.Placement) (servers []Server) {
	for _, r := range p.Replicas {
		servers = append(servers, Server{ID: r.ServerID(), Voter: r.Voter})
	}
	return servers
}

// checkBalance compares the nodes' shares where zones don't matter.
func (w *world) checkBalance(c Cluster, usable int) {
	replicas := map[entity.NodeID]int{}
	zones := map[string]bool{}
	for _, n := range c.Nodes {
		if n.State == entity.Active {
			zones[n.Zone] = true
			replicas[n.ID] = 0
		}
	}
	for _, p := range c.Placements[1:] {
		for _, r := range p.Replicas {
			if _, ok := replicas[r.Node]; ok {
				replicas[r.Node]++
			}
		}
	}
	if len(zones) > 1 || usable == 0 {
		return
	}
	counts := slices.Sorted(maps.Values(replicas))
	if counts[len(counts)-1]-counts[0] > 1 {
		w.fail("replicas of nodes: %v", replicas)
	}
}

// anyCluster draws a cluster nobody would have made, within the rules of the state machine.
func anyCluster(t *rapid.T) Cluster {
	c := Cluster{
		Replication:  rapid.IntRange(1, 5).Draw(t, "replication"),
		SystemVoters: rapid.IntRange(1, 7).Draw(t, "system voters"),
		Unsettled:    map[entity.Partition]bool{},
		Load:         map[entity.Partition]int64{},
	}
	zones := rapid.SampledFrom([][]string{{""}, {"north", "south"}, {"", "north", "south", "west"}}).Draw(t, "zones")
	for i := range rapid.IntRange(1, 8).Draw(t, "nodes") {
		n := Node{Member: entity.Member{ID: entity.NodeID(fmt.Sprintf("n%d", i+1))}}
		n.State = rapid.SampledFrom([]entity.MemberState{entity.Active, entity.Active, entity.Active, entity.Draining, entity.Removed}).Draw(t, "state")
		n.Zone = rapid.SampledFrom(zones).Draw(t, "zone")
		n.Dead = rapid.IntRange(0, 5).Draw(t, "dead") == 0
		n.Down = n.Dead || rapid.IntRange(0, 5).Draw(t, "down") == 0
		c.Nodes = append(c.Nodes, n)
	}
	for i := range rapid.IntRange(1, 8).Draw(t, "partitions") {
		p := entity.Placement{Partition: entity.Partition(i), Version: 7, Formed: rapid.IntRange(0, 9).Draw(t, "unformed") > 0}
		holders := rapid.Permutation(c.Nodes).Draw(t, "holders")
		numbers := rapid.Permutation([]uint32{1, 2, 3, 4, 5, 6, 7, 8}).Draw(t, "numbers")
		for j := range rapid.IntRange(1, len(holders)).Draw(t, "replicas") {
			p.Replicas = append(p.Replicas, entity.Replica{Node: holders[j].ID, Number: numbers[j], Voter: j == 0 || i > 0 || rapid.Bool().Draw(t, "voter")})
		}
		p.Next = 9
		c.Placements = append(c.Placements, p)
		c.Unsettled[p.Partition] = rapid.IntRange(0, 5).Draw(t, "unsettled") == 0
		c.Load[p.Partition] = int64(rapid.IntRange(0, 3).Draw(t, "load"))
	}
	return c
}

// Plans come to an end from any table, whether what they want comes true or not.
func TestPlansEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyCluster(t)
		rng := seeded(t)
		settles := rapid.Bool().Draw(t, "settles")
		var story strings.Builder
		story.WriteString(tableText(c.Placements))
		for range 1000 {
			changes := Plan(c)
			checkOrder(t, rng, c, changes)
			if len(changes) == 0 {
				return
			}
			story.WriteString(say(changes))
			apply(t, &c, changes)
			for _, change := range changes {
				c.Unsettled[change.Placement.Partition] = !settles
			}
		}
		t.Fatalf("no end:\n%s", story.String())
	})
}

// Zones and leads are as even as they can be: no partition could gain.
func TestSpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.IntRange(1, 4).Draw(t, "zones")
		var members []entity.Member
		size := map[string]int{}
		for i := range rapid.IntRange(1, 9).Draw(t, "nodes") {
			m := entity.Member{ID: entity.NodeID(fmt.Sprintf("n%d", i+1)), State: entity.Active}
			m.Zone = fmt.Sprintf("z%d", rapid.IntRange(1, zones).Draw(t, "zone"))
			size[m.Zone]++
			members = append(members, m)
		}
		replication := rapid.IntRange(1, 5).Draw(t, "replication")
		partitions := rapid.IntRange(1, 24).Draw(t, "partitions")
		table := Initial(members, uint32(partitions), replication, []entity.Replica{{Node: "n1", Number: 1, Voter: true}})
		zoneOf := map[entity.NodeID]string{}
		for _, m := range members {
			zoneOf[m.ID] = m.Zone
		}
		leads := map[entity.NodeID]int{}
		for _, p := range table[1:] {
			if p.Formed || p.Version != 1 || len(p.Replicas) != min(replication, len(members)) || int(p.Next) != len(p.Replicas)+1 {
				t.Fatalf("not a first placement: %+v", p)
			}
			checkReplicas(t, p)
			leads[p.Replicas[0].Node]++
			in := map[string]int{}
			for _, r := range p.Replicas {
				in[zoneOf[r.Node]]++
			}
			for full, n := range in {
				for zone := range size {
					if n-in[zone] > 1 && size[zone] > in[zone] {
						t.Fatalf("partition %d: %d replicas in %s, %d in %s:\n%s", p.Partition, n, full, in[zone], zone, tableText(table))
					}
				}
			}
		}
		if len(size) > 1 {
			return
		}
		shares := make([]int, 0, len(members))
		for _, m := range members {
			shares = append(shares, leads[m.ID])
		}
		if slices.Max(shares)-slices.Min(shares) > 1 {
			t.Fatalf("leads: %v\n%s", leads, tableText(table))
		}
	})
}

// From any configuration towards any placement: each step keeps the promises,
// and they come to an end.
func TestStepsEnd(t *testing.T) {
	nodes := []entity.NodeID{"a", "b", "c", "d", "e"}
	rapid.Check(t, func(t *rapid.T) {
		rng := seeded(t)
		want := entity.Placement{}
		for i, id := range rapid.Permutation(nodes).Draw(t, "wanted")[:rapid.IntRange(1, 5).Draw(t, "number wanted")] {
			want.Replicas = append(want.Replicas, entity.Replica{Node: id, Number: uint32(rapid.IntRange(1, 2).Draw(t, "number")), Voter: i == 0 || rapid.IntRange(0, 3).Draw(t, "votes") > 0})
		}
		var have []Server
		standing := map[string]Standing{}
		know := func(id string) {
			standing[id] = rapid.SampledFrom([]Standing{{}, {Alive: true}, {Alive: true, CaughtUp: true}, {Alive: true, CaughtUp: true}}).Draw(t, "standing")
		}
		for i, id := range rapid.Permutation(nodes).Draw(t, "there")[:rapid.IntRange(1, 5).Draw(t, "number there")] {
			s := Server{ID: entity.Replica{Node: id, Number: uint32(rapid.IntRange(1, 2).Draw(t, "number"))}.ServerID()}
			s.Voter = i == 0 || rapid.IntRange(0, 3).Draw(t, "votes") > 0
			have = append(have, s)
			know(s.ID)
		}
		self := have[0].ID
		standing[self] = Standing{Alive: true, CaughtUp: true}
		var story strings.Builder
		fmt.Fprintf(&story, "want %+v\nhave %v\n%v, led by %s\n", want.Replicas, have, standing, self)
		for range 60 {
			step := Reconcile(want, have, standing, self)
			if again := Reconcile(want, shuffled(rng, have), standing, self); again != step {
				t.Fatalf("%s, and in another order %s", stepText(step), stepText(again))
			}
			fmt.Fprintf(&story, "%s by %s\n", stepText(step), self)
			switch step.Kind {
			case None:
				return
			case Transfer:
				self = step.Server
				continue
			case AddNonvoter:
				know(step.Server)
			}
			now := change(t, have, step)
			checkStep(t, have, now, standing, step, self)
			have = now
		}
		t.Fatalf("no end:\n%s", story.String())
	})
}

// What nobody knows much of does no harm.
func TestNothingKnown(t *testing.T) {
	if changes := Plan(Cluster{}); changes != nil {
		t.Errorf("Plan of nothing: %s", say(changes))
	}
	c := Cluster{Placements: []entity.Placement{
		{Formed: true, Next: 1}, {Partition: 1, Formed: true, Next: 1},
		{Partition: 2, Formed: true, Next: 2, Replicas: []entity.Replica{{Node: "a", Number: 1, Voter: true}}},
	}}
	c.Unsettled = map[entity.Partition]bool{0: true, 1: true, 2: true}
	if changes := Plan(c); changes != nil {
		t.Errorf("Plan without members: %s", say(changes))
	}
	if step := Reconcile(entity.Placement{}, []Server{{ID: "a#1", Voter: true}}, nil, "a#1"); step.Kind != None {
		t.Errorf("towards nothing: %s", stepText(step))
	}
	if got := cmp.Or(Step{}.Kind.String(), "?"); got != "none" {
		t.Errorf("no step is called %s", got)
	}
}
