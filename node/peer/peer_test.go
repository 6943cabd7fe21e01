package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trellisdb/trellis/storage/entity"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"), // sleeps for seconds
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1.1"))
}

// config is that of a node of the cluster all tests share, with time for a busy
// machine.
func config(id entity.NodeID) Config {
	return Config{
		ID:               id,
		Cluster:          func() entity.ID { return entity.ID{15: 1} },
		Secret:           []byte("the secret of the cluster"),
		HandshakeTimeout: 30 * time.Second,
	}
}

func start(t testing.TB, cfg Config) *Network {
	t.Helper()
	n, err := Listen(t.Context(), "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

func register(t testing.TB, n *Network, l Lane) net.Listener {
	t.Helper()
	listener, err := n.Lane(l)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// echo answers on a lane what it gets, after its name, until the lane closes.
func echo(t testing.TB, n *Network, l Lane) {
	t.Helper()
	listener := register(t, n, l)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				fmt.Fprintf(c, "%s ", l)
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
}

// exchange sends text over a lane and returns what comes back.
func exchange(ctx context.Context, from, to *Network, l Lane, text string) (string, error) {
	c, err := from.Dial(ctx, to.Addr().String(), l)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	back := make([]byte, len(l.String())+1+len(text))
	_, err = io.ReadFull(c, back)
	return string(back), err
}

// refuses dials and wants that error.
func refuses(t *testing.T, from *Network, addr string, l Lane, want error) {
	t.Helper()
	c, err := from.Dial(t.Context(), addr, l)
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, want) {
		t.Errorf("dial: %v, want %v", err, want)
	}
}

// await polls for a fact.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !fact(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func awaitRefused(t *testing.T, n *Network, r Reason, count uint64) {
	t.Helper()
	await(t, fmt.Sprintf("%d refused, %s", count, r), func() bool { return n.Stats().Refused[r] == count })
}

// TestLanes runs RPC and several partitions at once over one port.
func TestLanes(t *testing.T) {
	a, b := start(t, config("a")), start(t, config("b"))
	lanes := []Lane{LaneRPC, RaftLane(entity.System, 1), RaftLane(1, 1), RaftLane(2, 1), RaftLane(8, 1)}
	for _, l := range lanes {
		echo(t, b, l)
	}
	var running sync.WaitGroup
	for _, l := range lanes {
		for i := range 8 {
			running.Go(func() {
				text := strings.Repeat(fmt.Sprint(i), 100_000)
				if got, err := exchange(t.Context(), a, b, l, text); err != nil || got != l.String()+" "+text {
					t.Errorf("lane %s: got %.20q, %v", l, got, err)
				}
			})
		}
	}
	running.Wait()
	if s := b.Stats(); s.Accepted != 40 {
		t.Errorf("accepted %d, want 40", s.Accepted)
	}
	if s := a.Stats(); s.Dialled != 40 {
		t.Errorf("dialled %d, want 40", s.Dialled)
	}
}

// TestRemoteID: each side learns who the other is.
func TestRemoteID(t *testing.T) {
	longest := entity.NodeID(strings.Repeat("b", maxID))
	a, b := start(t, config("a~01")), start(t, config(longest))
	l := register(t, b, LaneRPC)
	out, err := a.Dial(t.Context(), b.Addr().String(), LaneRPC)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if id, ok := RemoteID(out); id != longest || !ok {
		t.Errorf("dialled %q, %v", id, ok)
	}
	if id, ok := RemoteID(in); id != "a~01" || !ok {
		t.Errorf("accepted %q, %v", id, ok)
	}
	if id, ok := RemoteID(in.(*conn).Conn); ok {
		t.Errorf("a connection of nobody is one of %q", id)
	}
}

// TestWrongSecret: neither of two nodes with different secrets gets through to
// the other.
func TestWrongSecret(t *testing.T) {
	other := config("b")
	other.Secret = []byte("the secret of another cluster")
	a, b := start(t, config("a")), start(t, other)
	for _, pair := range [][2]*Network{{a, b}, {b, a}} {
		from, to := pair[0], pair[1]
		echo(t, to, LaneRPC)
		refuses(t, from, to.Addr().String(), LaneRPC, ErrRefused)
		awaitRefused(t, to, WrongSecret, 1)
		if s := to.Stats(); s.Accepted != 0 {
			t.Errorf("accepted %d", s.Accepted)
		}
	}
}

// TestClusters lists which cluster ids go together.
func TestClusters(t *testing.T) {
	one, two, none := entity.ID{1}, entity.ID{2}, entity.ID{}
	for _, tc := range []struct {
		name     string
		from, to entity.ID
		want     error
	}{
		{"the same", one, one, nil},
		{"none yet at the dialler", none, one, nil},
		{"none yet at the acceptor", one, none, nil},
		{"none yet at both", none, none, nil},
		{"different", one, two, ErrOtherCluster},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ca, cb := config("a"), config("b")
			ca.Cluster = func() entity.ID { return tc.from }
			cb.Cluster = func() entity.ID { return tc.to }
			a, b := start(t, ca), start(t, cb)
			echo(t, b, LaneRPC)
			if _, err := exchange(t.Context(), a, b, LaneRPC, "text"); !errors.Is(err, tc.want) {
				t.Errorf("dial: %v, want %v", err, tc.want)
			}
			if tc.want != nil {
				awaitRefused(t, b, OtherCluster, 1)
			}
		})
	}
}

// TestDiallerChecksCluster: an acceptor that joined a cluster only after it
// compared, or does not compare, is refused by the dialler.
func TestDiallerChecksCluster(t *testing.T) {
	a := start(t, config("a"))
	addr := impostor(t, func(c net.Conn) {
		challenge := newNonce()
		_, _ = c.Write(appendChallenge(nil, challenge))
		h, _, err := readHello(c)
		if err != nil {
			t.Error(err)
			return
		}
		talk := newTranscript(a.key, [bindingBytes]byte{}, challenge)
		talk.hello(&h)
		_, _ = c.Write(answered(talk, &answer{claim: claim{id: "b", cluster: entity.ID{7}}}))
	})
	refuses(t, a, addr, LaneRPC, ErrOtherCluster)
}

// TestNoLane: a lane nobody listens on refuses, before it is registered and
// after it is closed, and serves again when it is registered again.
func TestNoLane(t *testing.T) {
	a, b := start(t, config("a")), start(t, config("b"))
	l := RaftLane(3, 1)
	refuse := func(count uint64) {
		t.Helper()
		refuses(t, a, b.Addr().String(), l, ErrNoLane)
		awaitRefused(t, b, NoLane, count)
	}
	refuse(1)
	for i := range uint64(3) {
		listener := register(t, b, l)
		if _, err := b.Lane(l); err == nil {
			t.Error("the lane is registered twice")
		}
		out, err := a.Dial(t.Context(), b.Addr().String(), l)
		if err != nil {
			t.Fatal(err)
		}
		in, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		refuse(i + 2)
		// What was accepted stays open.
		if _, err := io.WriteString(out, "x"); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		_, _ = in.Close(), out.Close()
	}
}

// TestClosedLane: Close of a lane ends Accept and closes who waits there, and a
// second one leaves the lane's successor alone.
func TestClosedLane(t *testing.T) {
	a, b := start(t, config("a")), start(t, config("b"))
	first := register(t, b, LaneRPC)
	waiting, err := a.Dial(t.Context(), b.Addr().String(), LaneRPC)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	await(t, "a connection in the queue", func() bool { return b.Stats().Accepted == 1 })
	_ = first.Close()
	if _, err := waiting.Read(make([]byte, 1)); err == nil {
		t.Error("a connection nobody accepted can be read from")
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	echo(t, b, LaneRPC)
	_ = first.Close()
	if _, err := exchange(t.Context(), a, b, LaneRPC, "text"); err != nil {
		t.Error(err)
	}
}

// TestSlowLane: a lane whose user accepts nothing turns further connections
// away, and no other lane notices.
func TestSlowLane(t *testing.T) {
	a, b := start(t, config("a")), start(t, config("b"))
	slow := register(t, b, RaftLane(1, 1))
	echo(t, b, RaftLane(2, 1))
	addr := b.Addr().String()
	for range laneQueue {
		c, err := a.Dial(t.Context(), addr, RaftLane(1, 1))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	refuses(t, a, addr, RaftLane(1, 1), ErrBusy)
	awaitRefused(t, b, Busy, 1)
	for range 10 {
		if _, err := exchange(t.Context(), a, b, RaftLane(2, 1), "text"); err != nil {
			t.Error(err)
		}
	}
	in, err := slow.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	c, err := a.Dial(t.Context(), addr, RaftLane(1, 1))
	if err != nil {
		t.Fatalf("a place was freed, but: %v", err)
	}
	defer c.Close()
}

// TestDialEnds lists what ends a dial to somebody who never says anything.
func TestDialEnds(t *testing.T) {
	silent := impostor(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for _, tc := range []struct {
		name    string
		timeout time.Duration
		end     func(context.CancelFunc, *Network)
		want    error
	}{
		{"the context is cancelled", 0, func(cancel context.CancelFunc, _ *Network) { cancel() }, context.Canceled},
		{"the network is closed", 0, func(_ context.CancelFunc, n *Network) { _ = n.Close() }, net.ErrClosed},
		{"the handshake's time is up", 50 * time.Millisecond, func(context.CancelFunc, *Network) {}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := config("a")
			if tc.timeout > 0 {
				cfg.HandshakeTimeout = tc.timeout
			}
			a := start(t, cfg)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error)
			go func() {
				_, err := a.Dial(ctx, silent, LaneRPC)
				ended <- err
			}()
			await(t, "a dial under way", func() bool { return a.dialling() == 1 })
			tc.end(cancel, a)
			err := <-ended
			var timeout net.Error
			if tc.want != nil && !errors.Is(err, tc.want) || tc.want == nil && (!errors.As(err, &timeout) || !timeout.Timeout()) {
				t.Errorf("dial: %v, want %v", err, tc.want)
			}
		})
	}
}

func (n *Network) dialling() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.mu.underway)
}

// TestClosed: nothing begins on a closed network.
func TestClosed(t *testing.T) {
	a, b := start(t, config("a")), start(t, config("b"))
	l := register(t, b, LaneRPC)
	addr := b.Addr().String()
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if _, err := b.Lane(RaftLane(1, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("register: %v", err)
	}
	if _, err := b.Dial(t.Context(), a.Addr().String(), LaneRPC); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial from it: %v", err)
	}
	if _, err := a.Dial(t.Context(), addr, LaneRPC); err == nil {
		t.Error("it can be dialled")
	}
}

// TestConnectionsOutliveTheNetwork: they belong to their users.
func TestConnectionsOutliveTheNetwork(t *testing.T) {
	a, b := start(t, config("a")), start(t, config("b"))
	l := register(t, b, LaneRPC)
	out, err := a.Dial(t.Context(), b.Addr().String(), LaneRPC)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	_, _ = a.Close(), b.Close()
	if _, err := io.WriteString(out, "x"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// TestHandshakeTimeIsForHandshakes: a connection lives on when it is over.
func TestHandshakeTimeIsForHandshakes(t *testing.T) {
	ca, cb := config("a"), config("b")
	ca.HandshakeTimeout, cb.HandshakeTimeout = time.Second, time.Second
	a, b := start(t, ca), start(t, cb)
	echo(t, b, LaneRPC)
	c, err := a.Dial(t.Context(), b.Addr().String(), LaneRPC)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.Sleep(ca.HandshakeTimeout + 50*time.Millisecond) // the time itself is what is tested
	if _, err := io.WriteString(c, "text"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(c, make([]byte, len("rpc text"))); err != nil {
		t.Error(err)
	}
}

// TestListenRefuses names what a configuration lacks.
func TestListenRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
	}{
		{"no id", func(c *Config) { c.ID = "" }},
		{"an id of 256 bytes", func(c *Config) { c.ID = entity.NodeID(strings.Repeat("x", 256)) }},
		{"no secret", func(c *Config) { c.Secret = nil }},
		{"a negative time-out", func(c *Config) { c.HandshakeTimeout = -1 }},
		{"no certificate", func(c *Config) { c.TLS = &TLSFiles{} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := config("a")
			tc.change(&cfg)
			if n, err := Listen(t.Context(), "127.0.0.1:0", cfg); err == nil {
				_ = n.Close()
				t.Error("is accepted")
			}
		})
	}
}

// exhausted is a listener that first fails some times, as one does while the
// process has no descriptors left.
type exhausted struct {
	net.Listener
	left int // used by the accept loop only
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.left > 0 {
		l.left--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

// TestAcceptGoesOn after errors that pass.
func TestAcceptGoesOn(t *testing.T) {
	var log bytes.Buffer
	cfg := config("b")
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	b, err := newNetwork(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := listenConfig().Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.serve(&exhausted{Listener: l, left: 4})
	echo(t, b, LaneRPC)
	if _, err := exchange(t.Context(), start(t, config("a")), b, LaneRPC, "text"); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("%d lines in the log:\n%s", lines, &log)
	}
}

// TestSecretStaysOut of the log and of errors, and strangers do not fill the log.
func TestSecretStaysOut(t *testing.T) {
	var log bytes.Buffer
	cfg, other := config("b"), config("a")
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	other.Secret = []byte("the secret of another cluster")
	a := start(t, other)
	b, err := Listen(t.Context(), "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		_, err := a.Dial(t.Context(), b.Addr().String(), LaneRPC)
		if err == nil || strings.Contains(err.Error(), "the secret of") {
			t.Errorf("dial: %v", err)
		}
	}
	awaitRefused(t, b, WrongSecret, 20)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || strings.Contains(text, "the secret of") {
		t.Errorf("log:\n%s", text)
	}
}
