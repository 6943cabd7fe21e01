package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// Dial connects to a lane of the node at addr, HOST:PORT. When it returns, the
// other side has proved that it knows the secret, and has welcomed us.
//
// ctx bounds the whole, Config.HandshakeTimeout the part after connecting.
// Errors say whether ErrSecret, ErrRefused, ErrOtherCluster, ErrNoLane, ErrBusy
// or ErrVersion was the reason, net.ErrClosed if the network was closed; others
// are those of the network, of TLS and of ctx. The caller owns the connection.
func (n *Network) Dial(ctx context.Context, addr string, l Lane) (net.Conn, error) {
	c, err := n.dial(ctx, addr, l)
	if err != nil {
		return nil, fmt.Errorf("dial lane %s of peer %s: %w", l, addr, err)
	}
	n.counts.dial()
	return c, nil
}

func (n *Network) dial(ctx context.Context, addr string, l Lane) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end, err := n.begin(func() { cancel(net.ErrClosed) })
	if err != nil {
		return nil, err
	}
	defer end()

	raw, err := n.dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, because(ctx, err)
	}
	c, err := n.introduce(ctx, raw, l)
	if err != nil {
		_ = raw.Close()
		return nil, because(ctx, err)
	}
	return c, nil
}

// because returns why ctx ended, if it did, and else err.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// introduce runs the dialler's side of the handshake, which ends early with
// ctx. It does not close the connection.
func (n *Network) introduce(ctx context.Context, raw net.Conn, l Lane) (*conn, error) {
	if err := raw.SetDeadline(time.Now().Add(n.cfg.HandshakeTimeout)); err != nil {
		return nil, err
	}
	calm := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	c, err := n.greet(raw, l)
	if !calm() { // the deadline has been set, or will be
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return c, raw.SetDeadline(time.Time{})
}

func (n *Network) greet(raw net.Conn, l Lane) (*conn, error) {
	secured, binding, err := n.tls.dial(raw)
	if err != nil {
		return nil, err
	}
	challenge, err := readChallenge(secured)
	if err != nil {
		return nil, fmt.Errorf("read challenge: %w", err)
	}
	h := hello{lane: l, nonce: newNonce(), claim: n.claim()}
	talk := newTranscript(n.key, binding, challenge)
	talk.hello(&h)
	ours := talk.proof(dialler)
	if _, err := secured.Write(append(appendHello(nil, &h), ours[:]...)); err != nil {
		return nil, hungUp(err)
	}
	a, given, err := readAnswer(secured)
	if err != nil {
		return nil, hungUp(err)
	}
	talk.answer(&a)
	switch {
	case !talk.proves(acceptor, given):
		return nil, ErrSecret
	case a.status != statusWelcome:
		return nil, a.status.err()
	case strangers(h.cluster, a.cluster):
		return nil, ErrOtherCluster
	}
	return &conn{Conn: secured, remote: a.id}, nil
}

// hungUp makes ErrRefused of a connection that ends where the answer should be.
func hungUp(err error) error {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return ErrRefused
		}
	}
	return fmt.Errorf("read answer: %w", err)
}
