package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/storage/entity"
)

// TestMain waits for memberlist, whose Shutdown does not: a probe under way
// sits out its interval.
func TestMain(m *testing.M) {
	code := m.Run()
	leak := goleak.Find()
	for end := time.Now().Add(5 * time.Second); leak != nil && time.Now().Before(end); {
		leak = goleak.Find()
	}
	if code == 0 && leak != nil {
		fmt.Fprintln(os.Stderr, leak)
		code = 1
	}
	os.Exit(code)
}

// patience is for machines that do much else. What is bounded is checked apart.
const patience = 60 * time.Second

// await waits until fact holds.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !fact(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// logged collects log lines.
type logged struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.Write(b)
}

// times returns how many lines contain text.
func (l *logged) times(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.mu.String(), text)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func config(id entity.NodeID, seeds ...string) Config {
	return Config{
		Bind:   "127.0.0.1:0",
		Self:   Peer{ID: id, ClusterAddr: "127.0.0.1:1", HTTPAddr: "127.0.0.1:2", Zone: "z", Version: "test", Protocol: 1, Expect: 3},
		Secret: []byte("a secret of the tests"),
		Seeds:  seeds,
		Log:    slog.New(slog.DiscardHandler),
	}
}

func mustStart(t *testing.T, cfg Config) *Gossip {
	t.Helper()
	g, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel() // without good-bye
		if err := g.Close(ended); err != nil {
			t.Errorf("close %s: %v", cfg.Self.ID, err)
		}
	})
	return g
}

// kill ends a node as a crash does.
func (g *Gossip) kill(t *testing.T) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Close(ended); err != nil {
		t.Fatal(err)
	}
}

// sees tells whether the peers of g are the nodes with these ids.
func sees(g *Gossip, ids ...entity.NodeID) bool {
	return slices.EqualFunc(g.Peers(), ids, func(p Peer, id entity.NodeID) bool { return p.ID == id })
}

func awaitAll(t *testing.T, nodes []*Gossip, ids ...entity.NodeID) {
	t.Helper()
	for _, g := range nodes {
		await(t, fmt.Sprintf("%s sees %v", g.self().ID, ids), func() bool { return sees(g, ids...) })
	}
}

// startThree starts a, b and c, of which a is the seed.
func startThree(t *testing.T) []*Gossip {
	t.Helper()
	a := mustStart(t, config("a~01"))
	nodes := []*Gossip{a, mustStart(t, config("b~02", a.Addr())), mustStart(t, config("c~03", a.Addr()))}
	awaitAll(t, nodes, "a~01", "b~02", "c~03")
	return nodes
}

// freePort returns an address on which nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	var l net.ListenConfig
	ln, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestThreeNodesMeet(t *testing.T) {
	nodes := startThree(t)
	for _, g := range nodes {
		for _, other := range nodes {
			got, ok := g.Peer(other.self().ID)
			if !ok || got != other.self() {
				t.Errorf("%s has %+v of %+v", g.self().ID, got, other.self())
			}
			if !g.Alive(other.self().ID) || g.Suspects(other.self().ID) {
				t.Errorf("%s suspects %s", g.self().ID, other.self().ID)
			}
		}
	}
	if nodes[0].Alive("d~04") || nodes[0].Suspects("d~04") {
		t.Error("something is known of a node that never was")
	}
}

func TestUpdateSpreads(t *testing.T) {
	nodes := startThree(t)
	for drained := false; !drained; {
		select {
		case <-nodes[2].Changed():
		default:
			drained = true
		}
	}
	cluster := entity.NewID()
	err := nodes[0].Update(func(p *Peer) { p.Cluster, p.Expect, p.ID, p.GossipAddr = cluster, 0, "z", "elsewhere:1" })
	if err != nil {
		t.Fatal(err)
	}
	want := nodes[0].self()
	if want.Cluster != cluster || want.ID != "a~01" || want.GossipAddr != nodes[0].Addr() {
		t.Errorf("the node now is %+v", want)
	}
	select {
	case <-nodes[2].Changed():
	case <-time.After(patience):
		t.Fatal("the watcher is not woken")
	}
	for _, g := range nodes {
		await(t, "the update", func() bool { p, _ := g.Peer("a~01"); return p == want })
	}
}

// TestUpdatesSurviveDenials checks that no update gets lost while a node denies
// what somebody else says of it.
func TestUpdatesSurviveDenials(t *testing.T) {
	a := mustStart(t, config("a~01"))
	b := mustStart(t, config("b~02", a.Addr()))
	awaitAll(t, []*Gossip{a, b}, "a~01", "b~02")

	slanderer := mustCreate(t, "a~01", netip.MustParseAddrPort(a.Addr()), &mute{meta: []byte("slander")})
	stop := make(chan struct{})
	var slander sync.WaitGroup
	for range 4 {
		slander.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					slanderer.Join([]string{a.Addr()})
				}
			}
		})
	}
	for i := range 5000 {
		version := fmt.Sprint(i)
		if err := a.Update(func(p *Peer) { p.Version = version }); err != nil {
			t.Fatal(err)
		}
		if got, err := decodePeer("a~01", a.list.LocalNode().Meta); err != nil || got.Version != version {
			t.Errorf("memberlist says version %q, %v after an update to %q", got.Version, err, version)
		}
	}
	close(stop)
	slander.Wait()
	if err := slanderer.Shutdown(); err != nil {
		t.Fatal(err)
	}
	await(t, "the last version", func() bool { p, _ := b.Peer("a~01"); return p.Version == "4999" })
}

func TestWrongSecretStaysOut(t *testing.T) {
	var aLog, strangerLog logged
	cfg := config("a~01")
	cfg.Log = aLog.logger()
	a := mustStart(t, cfg)
	cfg = config("evil~02", a.Addr())
	cfg.Secret, cfg.Log = []byte("another secret"), strangerLog.logger()
	stranger := mustStart(t, cfg)

	await(t, "refusal", func() bool { return aLog.times(strangers) > 0 })
	await(t, "the stranger's complaint", func() bool { return strangerLog.times("it is tried further") > 0 })
	if !sees(a, "a~01") || !sees(stranger, "evil~02") {
		t.Errorf("they see %v and %v", a.Peers(), stranger.Peers())
	}
	if n := aLog.times(strangers); n != 1 {
		t.Errorf("the refusal is logged %d times", n)
	}
}

func TestKilledNodeDisappears(t *testing.T) {
	nodes := startThree(t)
	killed := time.Now()
	nodes[1].kill(t)
	for _, g := range []*Gossip{nodes[0], nodes[2]} {
		await(t, "b is gone", func() bool { return sees(g, "a~01", "c~03") })
		if !g.Suspects("b~02") || g.Alive("b~02") {
			t.Error("b is not suspected")
		}
	}
	// 4 s by design; the rest is for a machine that runs other tests.
	if took := time.Since(killed); took > 15*time.Second {
		t.Errorf("the death is noticed after %v", took)
	} else {
		t.Logf("the death is noticed after %v", took)
	}
}

func TestGoodbyeIsNoticedAtOnce(t *testing.T) {
	nodes := startThree(t)
	closed := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := nodes[1].Close(ctx); err != nil {
		t.Fatal(err)
	}
	awaitAll(t, []*Gossip{nodes[0], nodes[2]}, "a~01", "c~03")
	t.Logf("the good-bye is noticed after %v", time.Since(closed))
	if err := nodes[1].Close(ctx); err != nil {
		t.Errorf("second close: %v", err)
	}
	if err := nodes[1].Update(func(p *Peer) { p.Zone = "later" }); err != nil {
		t.Errorf("update after close: %v", err)
	}
}

func TestReturnAtAnotherAddress(t *testing.T) {
	nodes := startThree(t)
	nodes[1].kill(t)
	killed := time.Now()
	back := mustStart(t, config("b~02", nodes[0].Addr())) // before anyone takes it for dead
	if back.Addr() == nodes[1].Addr() {
		t.Fatal("the system chose the same port")
	}
	for _, g := range []*Gossip{nodes[0], nodes[2]} {
		await(t, "b at its new address", func() bool {
			p, ok := g.Peer("b~02")
			return ok && p.GossipAddr == back.Addr()
		})
		if g.Suspects("b~02") {
			t.Error("b is back and suspected")
		}
	}
	awaitAll(t, []*Gossip{nodes[0], nodes[2], back}, "a~01", "b~02", "c~03")
	t.Logf("b is back after %v", time.Since(killed))
}

// TestReturnAtTheSameAddress checks that a node which others remember with a
// later incarnation is heard, and with what it now says.
func TestReturnAtTheSameAddress(t *testing.T) {
	nodes := startThree(t)
	for i := range 5 {
		if err := nodes[1].Update(func(p *Peer) { p.Version = fmt.Sprint(i) }); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the last update", func() bool { p, _ := nodes[0].Peer("b~02"); return p.Version == "4" })
	nodes[1].kill(t)
	cfg := config("b~02", nodes[0].Addr())
	cfg.Bind, cfg.Self.Version = nodes[1].Addr(), "new"
	mustStart(t, cfg)
	for _, g := range []*Gossip{nodes[0], nodes[2]} {
		await(t, "b is back", func() bool { p, ok := g.Peer("b~02"); return ok && p.Version == "new" })
	}
}

func TestTwoLivingNodesOfOneID(t *testing.T) {
	var l logged
	cfg := config("a~01")
	cfg.Log = l.logger()
	a := mustStart(t, cfg)
	b := mustStart(t, config("b~02", a.Addr()))
	awaitAll(t, []*Gossip{a, b}, "a~01", "b~02")
	clone := mustStart(t, config("b~02", a.Addr()))

	await(t, "several conflicts", func() bool {
		a.roster.mu.RLock()
		defer a.roster.mu.RUnlock()
		return a.roster.mu.told["conflict b~02 "+clone.Addr()] >= 3
	})
	if p, _ := a.Peer("b~02"); p.GossipAddr != b.Addr() {
		t.Errorf("b is believed at %s, not at %s where it was first", p.GossipAddr, b.Addr())
	}
	if n := l.times("claimed at a second address"); n != 1 {
		t.Errorf("the conflict is logged %d times", n)
	}
}

func TestSameName(t *testing.T) {
	a := mustStart(t, config("a~01"))
	twin := mustStart(t, config("a~99", a.Addr()))
	awaitAll(t, []*Gossip{a, twin}, "a~01", "a~99")
	if got := twin.SameName("a~99"); len(got) != 1 || got[0].ID != "a~01" {
		t.Errorf("of the same name: %+v", got)
	}
	if got := twin.SameName("b~01"); len(got) != 0 {
		t.Errorf("of the same name: %+v", got)
	}
}

func TestHalvesMeetOnceTheSeedIsUp(t *testing.T) {
	seed := freePort(t)
	a1 := mustStart(t, config("a~01"))
	a2 := mustStart(t, config("a~02", a1.Addr(), seed))
	b1 := mustStart(t, config("b~01"))
	b2 := mustStart(t, config("b~02", b1.Addr(), seed))
	awaitAll(t, []*Gossip{a1, a2}, "a~01", "a~02")
	awaitAll(t, []*Gossip{b1, b2}, "b~01", "b~02")

	cfg := config("s~01")
	cfg.Bind = seed
	s := mustStart(t, cfg)
	awaitAll(t, []*Gossip{a1, a2, b1, b2, s}, "a~01", "a~02", "b~01", "b~02", "s~01")
}

func TestKnownAddresses(t *testing.T) {
	a := mustStart(t, config("a~01"))
	cfg := config("b~02")
	cfg.Known = func() []string { return []string{"no address", a.Addr()} }
	awaitAll(t, []*Gossip{a, mustStart(t, cfg)}, "a~01", "b~02")
}

func TestHostNames(t *testing.T) {
	if _, err := lookUp(t.Context(), "localhost"); err != nil {
		t.Skip(err)
	}
	cfg := config("a~01")
	cfg.Bind, cfg.Advertise = "127.0.0.1:0", "localhost:0"
	a := mustStart(t, cfg)
	if !strings.HasPrefix(a.Addr(), "localhost:") || strings.HasSuffix(a.Addr(), ":0") {
		t.Errorf("address is %s", a.Addr())
	}
	b := mustStart(t, config("b~02", a.Addr()))
	awaitAll(t, []*Gossip{a, b}, "a~01", "b~02")
}

func TestIPv6(t *testing.T) {
	cfg := config("a~01")
	cfg.Bind = "[::1]:0"
	a, err := Start(cfg)
	if err != nil {
		t.Skip(err) // a machine without
	}
	defer a.kill(t)
	cfg = config("b~02", a.Addr())
	cfg.Bind = "[::1]:0"
	awaitAll(t, []*Gossip{a, mustStart(t, cfg)}, "a~01", "b~02")
}

func TestOtherClusterIsIgnored(t *testing.T) {
	ours, theirs := entity.NewID(), entity.NewID()
	var l logged
	cfg := config("a~01")
	cfg.Self.Cluster, cfg.Log = ours, l.logger()
	a := mustStart(t, cfg)
	cfg = config("x~09", a.Addr())
	cfg.Self.Cluster = theirs
	x := mustStart(t, cfg)
	await(t, "refusal", func() bool { return l.times("node ignored") > 0 })

	// A node of no cluster sees both, and does not make them meet.
	free := mustStart(t, config("f~05", a.Addr(), x.Addr()))
	awaitAll(t, []*Gossip{free}, "a~01", "f~05", "x~09")
	awaitAll(t, []*Gossip{a}, "a~01", "f~05")
	awaitAll(t, []*Gossip{x}, "f~05", "x~09")

	// Once it belongs to one it sees and is seen by its own.
	if err := free.Update(func(p *Peer) { p.Cluster = theirs }); err != nil {
		t.Fatal(err)
	}
	awaitAll(t, []*Gossip{free, x}, "f~05", "x~09")
	awaitAll(t, []*Gossip{a}, "a~01")
	if a.Alive("f~05") || a.Alive("x~09") {
		t.Error("a node of another cluster is alive")
	}
	if n := l.times("node ignored"); n != 2 {
		t.Errorf("two nodes ignored are logged %d times", n)
	}
	if err := free.Update(func(p *Peer) { p.Cluster = ours }); err != nil {
		t.Fatal(err)
	}
	awaitAll(t, []*Gossip{free, a}, "a~01", "f~05")
}

// mute is a node of another kind: it has the secret, and says things that are
// not understood.
type mute struct{ meta []byte }

func (m *mute) NodeMeta(int) []byte             { return m.meta }
func (m *mute) NotifyMsg([]byte)                {}
func (m *mute) GetBroadcasts(_, _ int) [][]byte { return nil }
func (m *mute) LocalState(bool) []byte          { return nil }
func (m *mute) MergeRemoteState([]byte, bool)   {}

// mustCreate starts memberlist with the tests' secret. It says that it is at
// the address given, if one is.
func mustCreate(t *testing.T, name string, at netip.AddrPort, says *mute) *memberlist.Memberlist {
	t.Helper()
	key, err := deriveKey(config("a~01").Secret)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := listen(netip.MustParseAddr("127.0.0.1"), 0, log.New(io.Discard, "", 0))
	if err != nil {
		t.Fatal(err)
	}
	if !at.IsValid() {
		at = tr.address()
	}
	cfg := memberlist.DefaultLANConfig()
	cfg.Name, cfg.Transport, cfg.Delegate = name, tr, says
	cfg.AdvertiseAddr, cfg.AdvertisePort = at.Addr().String(), int(at.Port())
	cfg.Label, cfg.SecretKey, cfg.LogOutput = label, key, io.Discard
	list, err := memberlist.Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { list.Shutdown() })
	return list
}

func TestUnreadableMetadataIsIgnored(t *testing.T) {
	a := mustStart(t, config("a~01"))
	m := &mute{meta: []byte("\x02of tomorrow")}
	list := mustCreate(t, "m~07", netip.AddrPort{}, m)
	join := func() {
		t.Helper()
		if _, err := list.Join([]string{a.Addr()}); err != nil {
			t.Fatal(err)
		}
	}
	join()
	await(t, "an announcement that is ignored", func() bool { return a.Ignored() > 0 })
	if !sees(a, "a~01") {
		t.Errorf("peers: %v", a.Peers())
	}

	readable := Peer{ID: "m~07", Version: "readable"}
	m.meta = appendPeer(nil, &readable)
	if err := list.UpdateNode(patience); err != nil {
		t.Fatal(err)
	}
	join()
	awaitAll(t, []*Gossip{a}, "a~01", "m~07")

	m.meta = nil
	if err := list.UpdateNode(patience); err != nil {
		t.Fatal(err)
	}
	awaitAll(t, []*Gossip{a}, "a~01")
}

// TestGarbageIsHarmless sends random bytes to both ports, some of them with a
// beginning that memberlist takes for its own.
func TestGarbageIsHarmless(t *testing.T) {
	var l logged
	cfg := config("a~01")
	cfg.Log = l.logger()
	a := mustStart(t, cfg)
	rng := rand.NewChaCha8([32]byte{7})
	garbage := make([]byte, 1<<20)
	beginnings := [][]byte{nil, []byte("\xf4\x07" + label), []byte("\xf4\x07" + label + "\x0a\x00\x0f\x00\x00"), {0xf4}, {0xf4, 255}, {0x0a, 0xff, 0xff, 0xff, 0xff}}
	var dialer net.Dialer
	for i := range 12 {
		rng.Read(garbage)
		conn, err := dialer.DialContext(t.Context(), "tcp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(beginnings[i%len(beginnings)])
		_, _ = conn.Write(garbage) // the node may hang up
		conn.Close()
	}
	packets, err := dialer.DialContext(t.Context(), "udp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	for i := range 2000 {
		n := copy(garbage, beginnings[i%len(beginnings)])
		_, _ = packets.Write(garbage[:n+1+i%1300])
	}
	b := mustStart(t, config("b~02", a.Addr()))
	awaitAll(t, []*Gossip{a, b}, "a~01", "b~02")
	if n := l.times("WARN"); n != 1 {
		t.Errorf("%d warnings of it", n)
	}
}

// TestIdleStreamsAreBounded opens streams that say nothing.
func TestIdleStreamsAreBounded(t *testing.T) {
	a := mustStart(t, config("a~01"))
	var dialer net.Dialer
	for range 3 * maxStreamsOfHost {
		conn, err := dialer.DialContext(t.Context(), "tcp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	taken := func() int {
		a.transport.mu.Lock()
		defer a.transport.mu.Unlock()
		return a.transport.mu.taken
	}
	await(t, "the limit", func() bool { return taken() == maxStreamsOfHost })
	await(t, "the end of all of them", func() bool { return taken() == 0 })
	awaitAll(t, []*Gossip{a, mustStart(t, config("b~02", a.Addr()))}, "a~01", "b~02")
}

func TestLongStreamBreaksOff(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	s := &stream{Conn: ours, left: 1000, release: func() {}}
	defer s.Close()
	go theirs.Write(make([]byte, 2000))
	n, err := io.Copy(io.Discard, s)
	if n != 1000 || !errors.Is(err, errStreamTooLong) {
		t.Errorf("%d bytes are read, then %v", n, err)
	}
}

func TestMetadataLimit(t *testing.T) {
	a := mustStart(t, config("a~01"))
	cfg := config("b~02", a.Addr())
	// The address has as many digits as the longest can.
	cfg.Self.GossipAddr = "127.0.0.1:65535"
	for len(appendPeer(nil, &cfg.Self)) < memberlist.MetaMaxSize {
		cfg.Self.Zone += "z"
	}
	b := mustStart(t, cfg)
	await(t, "the long zone", func() bool { p, _ := a.Peer("b~02"); return p.Zone == cfg.Self.Zone })

	before := b.self()
	if err := b.Update(func(p *Peer) { p.Version += strings.Repeat("v", 10) }); err == nil {
		t.Error("too long an update passes")
	}
	if b.self() != before {
		t.Error("an update that failed has changed the node")
	}
	cfg.Self.ID, cfg.Self.Zone = "c~03", cfg.Self.Zone+strings.Repeat("z", 10)
	if g, err := Start(cfg); err == nil {
		g.kill(t)
		t.Error("too long a zone passes")
	}
}

func TestStartRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no secret":               func(c *Config) { c.Secret = nil },
		"no port":                 func(c *Config) { c.Bind = "127.0.0.1" },
		"port by name":            func(c *Config) { c.Bind = "127.0.0.1:http" },
		"every address":           func(c *Config) { c.Bind = "0.0.0.0:0" },
		"every address, IPv6":     func(c *Config) { c.Bind = "[::]:0" },
		"no host":                 func(c *Config) { c.Bind = ":0" },
		"advertise every address": func(c *Config) { c.Advertise = "0.0.0.0:1" },
		"advertise no host":       func(c *Config) { c.Advertise = ":1" },
		"zone":                    func(c *Config) { c.Bind = "[fe80::1%lo]:0" },
		"seed":                    func(c *Config) { c.Seeds = []string{"127.0.0.1"} },
		"id":                      func(c *Config) { c.Self.ID = "not a name" },
		"not ours":                func(c *Config) { c.Bind = "192.0.2.1:0" },
	} {
		cfg := config("a~01")
		change(&cfg)
		if g, err := Start(cfg); err == nil {
			g.kill(t)
			t.Errorf("%s: starts", name)
		}
	}
	cfg := config("a~01")
	cfg.Bind, cfg.Advertise = "0.0.0.0:0", "127.0.0.1:0"
	mustStart(t, cfg)
}

// TestSeekerRests checks that nothing is tried while all addresses are known,
// and what counts as known.
func TestSeekerRests(t *testing.T) {
	r := newRoster(Peer{ID: "a~01", GossipAddr: "self:1"}, nil, netip.MustParseAddrPort("10.0.0.1:1"), slog.New(slog.DiscardHandler))
	b := Peer{ID: "b~02", GossipAddr: "b.example:1"}
	r.NotifyJoin(&memberlist.Node{Name: "b~02", Addr: net.IP{10, 0, 0, 2}, Port: 1, Meta: appendPeer(nil, &b)})
	var joined []string
	s := &seeker{
		seeds:  []string{"self:1", "10.0.0.1:1", "b.example:1", "[::ffff:10.0.0.2]:1"},
		self:   r,
		join:   func(at string) error { joined = append(joined, at); return nil },
		log:    slog.New(slog.DiscardHandler),
		places: make(map[string][]netip.AddrPort),
		silent: make(map[string]int),
	}
	if missing := s.missing(); len(missing) > 0 {
		t.Errorf("missing: %v", missing)
	}
	// A name for two nodes is known when both are.
	s.seeds = []string{"nodes.example:1"}
	if missing := s.missing(); len(missing) != 1 {
		t.Errorf("missing: %v", missing)
	}
	s.places["nodes.example:1"] = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:1"), netip.MustParseAddrPort("10.0.0.3:1")}
	if missing := s.missing(); len(missing) != 1 {
		t.Errorf("missing: %v", missing)
	}
	s.places["nodes.example:1"] = s.places["nodes.example:1"][:1]
	if missing := s.missing(); len(missing) != 0 {
		t.Errorf("missing: %v", missing)
	}
	s.seeds = []string{"10.0.0.3:1", "10.0.0.2:1"}
	s.round(t.Context(), s.missing())
	if !slices.Equal(joined, []string{"10.0.0.3:1"}) {
		t.Errorf("joined: %v", joined)
	}
	r.NotifyLeave(&memberlist.Node{Name: "b~02"})
	if missing := s.missing(); len(missing) != 2 {
		t.Errorf("missing after a death: %v", missing)
	}
}
