package mesh

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCommandsOfANode(t *testing.T) {
	p := plan{pid: 4194304, nodes: 3, net: netip.MustParsePrefix("10.9.8.0/24")}
	var got []string
	for _, c := range append(append(p.setUp(1), p.setUpHarness()...), p.tearDown(1)...) {
		got = append(got, strings.Join(c, " "))
	}
	want := []string{
		"netns add tr4194304n1",
		"link set dev tr4194304n1 netns tr4194304n1",
		"-netns tr4194304n1 link set dev lo up",
		"-netns tr4194304n1 link set dev tr4194304n1 address 02:54:52:00:00:01",
		"-netns tr4194304n1 addr add 10.9.8.2/24 dev tr4194304n1",
		"-netns tr4194304n1 link set dev tr4194304n1 up",
		"link set dev tr4194304n3 address 02:54:52:00:00:03",
		"addr add 10.9.8.4/24 dev tr4194304n3",
		"link set dev tr4194304n3 up",
		"netns del tr4194304n1",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"ip", "netns", "exec", "tr4194304n1"}, p.exec(1)); d != "" {
		t.Error(d)
	}
	if n := len(p.device(200)); n > 15 {
		t.Errorf("a device name has %d bytes, the kernel takes 15", n)
	}
}

func TestPrefixOverlapsNothingInUse(t *testing.T) {
	first, err := choosePrefix(300, nil)
	if err != nil || first.String() != "10.1.44.0/24" {
		t.Fatalf("%s, %v", first, err)
	}
	second, err := choosePrefix(300, []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")})
	if err != nil || second.Overlaps(netip.MustParsePrefix("10.1.0.0/16")) || second.Bits() != 24 {
		t.Errorf("%s, %v", second, err)
	}
	if p, err := choosePrefix(1, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err == nil {
		t.Errorf("%s was chosen in a network that is in use", p)
	}
}

func TestOnlyOwnNamespacesOfDeadHarnessesAreOrphans(t *testing.T) {
	list := "tr12n0 (id: 3)\ntr12n1\ntr13n0\ntrx\nblue\ntr12n0x\n"
	got := orphans([]byte(list), func(pid int) bool { return pid == 13 })
	if d := cmp.Diff([]string{"tr12n0", "tr12n1"}, got); d != "" {
		t.Error(d)
	}
}

func TestRuleDecidesWhenAPacketArrives(t *testing.T) {
	now := time.Unix(1000, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	if at, _ := (Rule{Cut: true}).due(rng, now, now, 100); at != nil {
		t.Errorf("cut: arrives at %v", at)
	}
	for range 100 {
		at, _ := Rule{Delay: 100 * time.Millisecond, Jitter: 30 * time.Millisecond}.due(rng, now, now, 100)
		if len(at) != 1 || at[0].Sub(now) < 70*time.Millisecond || at[0].Sub(now) > 130*time.Millisecond {
			t.Fatalf("delayed: arrives at %v", at)
		}
	}
	lost, twice := 0, 0
	for range 10_000 {
		switch at, _ := (Rule{Loss: 0.1, Duplicate: 0.05}).due(rng, now, now, 100); len(at) {
		case 0:
			lost++
		case 2:
			twice++
		}
	}
	if lost < 800 || lost > 1200 || twice < 350 || twice > 550 {
		t.Errorf("%d of 10000 lost, %d twice", lost, twice)
	}
}

func TestSlowLinkQueuesAndOverflows(t *testing.T) {
	now := time.Unix(1000, 0)
	rule := Rule{BitsPerSecond: 1_000_000} // 1250 bytes are 10 ms
	free, arrived := time.Time{}, 0
	for i := range 100 {
		var at []time.Time
		if at, free = rule.due(nil, now, free, 1250); len(at) == 0 {
			continue
		}
		arrived++
		if want := now.Add(time.Duration(i+1) * 10 * time.Millisecond); !at[0].Equal(want) {
			t.Fatalf("packet %d arrives at %s, want %s", i, at[0], want)
		}
	}
	if arrived != 51 { // 500 ms of backlog, and the one on the wire
		t.Errorf("%d packets of 100 arrived, want 51", arrived)
	}
}

func TestRulesSayWhatTheyDo(t *testing.T) {
	for want, r := range map[string]Rule{
		"clear":                          {},
		"cut":                            {Cut: true, Loss: 1},
		"100ms ± 30ms":                   {Delay: 100 * time.Millisecond, Jitter: 30 * time.Millisecond},
		"10 % lost, 5 % twice":           {Loss: 0.1, Duplicate: 0.05},
		"1ms ± 0s, 1 % lost, 1.0 Mbit/s": {Delay: time.Millisecond, Loss: 0.01, BitsPerSecond: 1e6},
	} {
		if r.String() != want {
			t.Errorf("%q, want %q", r.String(), want)
		}
	}
}

// wire is a port: what the test puts in is read by the switch, what the switch
// writes is kept.
type wire struct {
	in     chan []byte
	closed chan struct{}
	mu     sync.Mutex
	out    []string
}

func (w *wire) Read(p []byte) (int, error) {
	select {
	case f := <-w.in:
		return copy(p, f), nil
	case <-w.closed:
		return 0, io.EOF
	}
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(w.out, string(p[headerBytes:]))
	return len(p), nil
}

func (w *wire) Close() error {
	close(w.closed)
	return nil
}

func (w *wire) got() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.out...)
}

func frame(to [6]byte, kind uint16, payload string) []byte {
	f := append(to[:], make([]byte, 6)...)
	f = binary.BigEndian.AppendUint16(f, kind)
	return append(f, payload...)
}

func TestSwitchKeepsTheRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wires := make([]*wire, 3)
		ports := make([]io.ReadWriteCloser, 3)
		for i := range wires {
			wires[i] = &wire{in: make(chan []byte), closed: make(chan struct{})}
			ports[i] = wires[i]
		}
		e := startSwitch(1, ports)
		const ip = 0x0800
		send := func(from int, f []byte) {
			wires[from].in <- f
			synctest.Wait()
		}
		expect := func(port int, want ...string) {
			t.Helper()
			if d := cmp.Diff(want, wires[port].got()); d != "" {
				t.Errorf("port %d: %s", port, d)
			}
		}
		send(0, frame(address(1), ip, "a"))
		send(0, frame([6]byte{255, 255, 255, 255, 255, 255}, ip, "all"))
		send(0, []byte("short"))
		expect(0)
		expect(1, "a", "all")
		expect(2, "all")

		e.links[0][1].set(Rule{Cut: true})
		send(0, frame(address(1), ip, "lost"))
		send(0, frame(address(1), typeARP, "arp"))
		send(1, frame(address(0), ip, "back"))
		expect(1, "a", "all", "arp")
		expect(0, "back")

		e.links[0][1].set(Rule{Delay: time.Second})
		send(0, frame(address(1), ip, "late 1"))
		send(0, frame(address(1), ip, "late 2"))
		e.links[0][1].set(Rule{})
		send(0, frame(address(1), ip, "prompt"))
		expect(1, "a", "all", "arp", "prompt")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		expect(1, "a", "all", "arp", "prompt", "late 1", "late 2")
		if err := e.close(); err != nil {
			t.Error(err)
		}
	})
}
