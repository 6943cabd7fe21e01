package peer

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/trellisdb/trellis/storage/entity"
)

// impostor answers every connection to the address it returns as it likes.
func impostor(t testing.TB, answer func(net.Conn)) string {
	t.Helper()
	l, err := listenConfig().Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				answer(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

// answered is the frame of an answer, with its proof.
func answered(talk *transcript, a *answer) []byte {
	talk.answer(a)
	p := talk.proof(acceptor)
	return append(appendAnswer(nil, a), p[:]...)
}

// connect opens a connection as a stranger does.
func connect(t *testing.T, n *Network) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", n.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// turnedAway checks that c is closed by the other side and says nothing more.
func turnedAway(t *testing.T, c net.Conn) {
	t.Helper()
	said, err := io.ReadAll(c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection is still open")
	}
	if len(said) > 0 {
		t.Errorf("the stranger was told %x", said)
	}
}

// spoken is a hello with its proof, as the node id says it after challenge.
func spoken(n *Network, challenge nonce, h hello, r role) []byte {
	talk := newTranscript(n.key, [bindingBytes]byte{}, challenge)
	talk.hello(&h)
	p := talk.proof(r)
	return append(appendHello(nil, &h), p[:]...)
}

// TestForgedHello lists what does not get in, and what differs from it by
// nothing but the forgery and does.
func TestForgedHello(t *testing.T) {
	b := start(t, config("b"))
	l := register(t, b, RaftLane(1, 1))
	register(t, b, RaftLane(2, 1))
	h := hello{lane: RaftLane(1, 1), nonce: newNonce(), claim: claim{id: "a", cluster: entity.ID{15: 1}}}
	changed := func(at int) func(nonce) []byte {
		return func(challenge nonce) []byte {
			said := spoken(b, challenge, h, dialler)
			said[at] ^= 3
			return said
		}
	}
	nonceAt := headBytes + 4
	claimAt := nonceAt + nonceBytes
	for _, tc := range []struct {
		name string
		say  func(challenge nonce) []byte
		in   bool
	}{
		{"as it should be", func(c nonce) []byte { return spoken(b, c, h, dialler) }, true},
		{"under the acceptor's role", func(c nonce) []byte { return spoken(b, c, h, acceptor) }, false},
		{"after another challenge", func(nonce) []byte { return spoken(b, newNonce(), h, dialler) }, false},
		{"lane swapped", changed(headBytes + 3), false},
		{"nonce changed", changed(nonceAt), false},
		{"cluster changed", changed(claimAt), false},
		{"node changed", changed(claimAt + 17), false},
		{"proof changed", changed(claimAt + 18), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := b.Stats().Refused[WrongSecret]
			c := connect(t, b)
			challenge, err := readChallenge(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(tc.say(challenge)); err != nil {
				t.Fatal(err)
			}
			if !tc.in {
				turnedAway(t, c)
				awaitRefused(t, b, WrongSecret, before+1)
				return
			}
			if a, _, err := readAnswer(c); err != nil || a.status != statusWelcome {
				t.Errorf("answer: %v, %v", a, err)
			}
			in, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_ = in.Close()
		})
	}
	if got := b.Stats().Accepted; got != 1 {
		t.Errorf("accepted %d, want the 1 that was right", got)
	}
}

// wiretap passes a connection on and returns what each side said.
func wiretap(t *testing.T, to *Network) (addr string, said func() (dialler, acceptor []byte)) {
	t.Helper()
	var out, back bytes.Buffer
	var ended sync.WaitGroup
	ended.Add(1)
	addr = impostor(t, func(c net.Conn) {
		defer ended.Done()
		through, err := net.Dial("tcp", to.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer through.Close()
		var returning sync.WaitGroup
		returning.Go(func() { _, _ = io.Copy(io.MultiWriter(c, &back), through) })
		_, _ = io.Copy(io.MultiWriter(through, &out), c)
		_ = through.Close()
		returning.Wait()
	})
	return addr, func() ([]byte, []byte) {
		ended.Wait()
		return out.Bytes(), back.Bytes()
	}
}

// TestReplay says again, to both sides, what was said in a handshake that
// succeeded.
func TestReplay(t *testing.T) {
	a, b := start(t, config("a")), start(t, config("b"))
	register(t, b, LaneRPC)
	addr, recorded := wiretap(t, b)
	c, err := a.Dial(t.Context(), addr, LaneRPC)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	fromDialler, fromAcceptor := recorded()

	again := connect(t, b)
	if _, err := readChallenge(again); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Write(fromDialler); err != nil {
		t.Fatal(err)
	}
	turnedAway(t, again)
	awaitRefused(t, b, WrongSecret, 1)

	addr = impostor(t, func(c net.Conn) {
		_, _ = c.Write(fromAcceptor)
		_, _ = io.Copy(io.Discard, c)
	})
	refuses(t, a, addr, LaneRPC, ErrSecret)
}

// TestReflection gives a dialler its own proof back as that of an acceptor, and
// an acceptor its own challenge.
func TestReflection(t *testing.T) {
	a := start(t, config("a"))
	register(t, a, LaneRPC)
	addr := impostor(t, func(c net.Conn) {
		_, _ = c.Write(appendChallenge(nil, newNonce()))
		h, p, err := readHello(c)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = c.Write(append(appendAnswer(nil, &answer{claim: h.claim}), p[:]...))
		_, _ = io.Copy(io.Discard, c)
	})
	refuses(t, a, addr, LaneRPC, ErrSecret)

	c := connect(t, a)
	if challenge, err := readChallenge(c); err != nil {
		t.Fatal(err)
	} else if _, err := c.Write(bytes.Repeat(appendChallenge(nil, challenge), 10)); err != nil {
		t.Fatal(err)
	}
	turnedAway(t, c)
	if got := a.Stats().Accepted; got != 0 {
		t.Errorf("accepted %d", got)
	}
}

// TestImpostor: whoever answers at a node's address without its secret learns
// that it was found out, whatever status it claims.
func TestImpostor(t *testing.T) {
	a := start(t, config("a"))
	for s := range status(5) {
		addr := impostor(t, func(c net.Conn) {
			challenge := newNonce()
			_, _ = c.Write(appendChallenge(nil, challenge))
			h, _, err := readHello(c)
			if err != nil {
				t.Error(err)
				return
			}
			talk := newTranscript([]byte("a guess"), [bindingBytes]byte{}, challenge)
			talk.hello(&h)
			_, _ = c.Write(answered(talk, &answer{status: s, claim: claim{id: "b"}}))
			_, _ = io.Copy(io.Discard, c)
		})
		refuses(t, a, addr, LaneRPC, ErrSecret)
	}
}

// TestOtherProtocols: a dialler that meets another protocol, or another version
// of ours, says so.
func TestOtherProtocols(t *testing.T) {
	a := start(t, config("a"))
	newer := appendChallenge(nil, newNonce())
	newer[headBytes-1] = version + 1
	for _, tc := range []struct {
		greeting string
		want     error
	}{
		{"220 mail.example ESMTP\r\n", errMalformed},
		{string(newer), ErrVersion},
	} {
		addr := impostor(t, func(c net.Conn) {
			_, _ = io.WriteString(c, tc.greeting)
			_, _ = io.Copy(io.Discard, c)
		})
		refuses(t, a, addr, LaneRPC, tc.want)
	}
}

// TestGarbage sends 10 MB of random bytes over one connection after the other:
// each is cut, memory stays as it was, and a node gets in meanwhile.
func TestGarbage(t *testing.T) {
	a, b := start(t, config("a")), start(t, config("b"))
	echo(t, b, LaneRPC)
	garbage := make([]byte, 10<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(garbage)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	const connections = 20
	for i := range connections {
		c := connect(t, b)
		if i%2 == 1 { // the head is right
			if _, err := c.Write(appendHead(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Write(garbage); err == nil && i%2 == 0 {
			t.Error("all of it was taken")
		}
		_ = c.Close()
		if _, err := exchange(t.Context(), a, b, LaneRPC, "text"); err != nil {
			t.Error(err)
		}
	}
	await(t, "no handshake is left", func() bool { return b.Stats().Handshakes == 0 })
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	refused := b.Stats().Refused
	if n := refused[Malformed] + refused[WrongSecret]; n != connections {
		t.Errorf("%d of %d connections refused as garbage: %v", n, connections, refused)
	}
}

// TestSilence: who says nothing, or not enough, is dropped at the deadline.
func TestSilence(t *testing.T) {
	cfg := config("b")
	cfg.HandshakeTimeout = 100 * time.Millisecond
	b := start(t, cfg)
	for i, part := range [][]byte{nil, appendHead(nil), make([]byte, headBytes-1)} {
		c := connect(t, b)
		if _, err := readChallenge(c); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(part); err != nil {
			t.Fatal(err)
		}
		turnedAway(t, c)
		awaitRefused(t, b, Timeout, uint64(i+1))
	}
}

// TestCrowd: handshakes beyond the bound are closed at once, and there is room
// again when those before them end.
func TestCrowd(t *testing.T) {
	a, b := start(t, config("a")), start(t, config("b"))
	echo(t, b, LaneRPC)
	crowd := make([]net.Conn, maxHandshakes)
	for i := range crowd {
		crowd[i] = connect(t, b)
	}
	await(t, "the crowd is in", func() bool { return b.Stats().Handshakes == maxHandshakes })
	turnedAway(t, connect(t, b))
	awaitRefused(t, b, Crowded, 1)
	for _, c := range crowd {
		_ = c.Close()
	}
	awaitRefused(t, b, Broken, maxHandshakes)
	if _, err := exchange(t.Context(), a, b, LaneRPC, "text"); err != nil {
		t.Error(err)
	}
}

// TestCloseDuringHandshakes does not wait for the silent.
func TestCloseDuringHandshakes(t *testing.T) {
	b := start(t, config("b"))
	crowd := make([]net.Conn, 50)
	for i := range crowd {
		crowd[i] = connect(t, b)
	}
	await(t, "all are in their handshake", func() bool { return b.Stats().Handshakes == len(crowd) })
	begun := time.Now()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("close took %v", took)
	}
	for _, c := range crowd {
		_, _ = readChallenge(c)
		turnedAway(t, c)
	}
}
