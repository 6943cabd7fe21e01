package peer

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Waits after an error of accepting, which double up to the longest: descriptors
// may be used up, and are given back by others.
const (
	firstAcceptWait = 5 * time.Millisecond
	maxAcceptWait   = 200 * time.Millisecond
)

// acceptAll accepts connections until the network is closed.
func (n *Network) acceptAll() {
	wait := firstAcceptWait
	for {
		raw, err := n.listener.Accept()
		if err == nil {
			wait = firstAcceptWait
			n.receive(raw)
			continue
		}
		if !n.pause(wait) {
			return
		}
		if wait == firstAcceptWait {
			n.cfg.Log.Warn("accepting peers is interrupted", "err", err)
		}
		wait = min(2*wait, maxAcceptWait)
	}
}

// pause waits and tells whether the network is still open.
func (n *Network) pause(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-n.closed:
		return false
	}
}

// receive begins the handshake of an accepted connection, unless too many are
// under way.
func (n *Network) receive(raw net.Conn) {
	select {
	case n.slots <- struct{}{}:
	default:
		_ = raw.Close()
		n.refused(raw, Crowded, nil)
		return
	}
	n.running.Go(func() {
		defer func() { <-n.slots }()
		n.welcome(raw)
	})
}

// welcome hands a connection to its lane, or closes it.
func (n *Network) welcome(raw net.Conn) {
	l, c, err := n.examine(raw)
	if err == nil {
		err = raw.SetDeadline(time.Time{})
		if err != nil {
			l.free()
		}
	}
	if err != nil {
		_ = raw.Close()
		n.refused(raw, reasonOf(err), err)
		return
	}
	n.counts.accept()
	l.put(c)
}

// examine runs the acceptor's side of the handshake. With the connection it
// returns the lane, in which it has taken a place.
func (n *Network) examine(raw net.Conn) (*lane, *conn, error) {
	end, err := n.begin(func() { _ = raw.Close() })
	if err != nil {
		return nil, nil, err
	}
	defer end()
	if err := raw.SetDeadline(time.Now().Add(n.cfg.HandshakeTimeout)); err != nil {
		return nil, nil, err
	}
	secured, binding, err := n.tls.accept(raw)
	if err != nil {
		return nil, nil, err
	}

	challenge := newNonce()
	if _, err := secured.Write(appendChallenge(nil, challenge)); err != nil {
		return nil, nil, err
	}
	h, given, err := readHello(secured)
	if err != nil {
		return nil, nil, err
	}
	talk := newTranscript(n.key, binding, challenge)
	talk.hello(&h)
	if !talk.proves(dialler, given) {
		return nil, nil, ErrSecret
	}

	l := n.lane(h.lane)
	a := answer{claim: n.claim()}
	if strangers(h.cluster, a.cluster) {
		a.status = statusCluster
	} else {
		a.status = l.take()
	}
	talk.answer(&a)
	ours := talk.proof(acceptor)
	_, err = secured.Write(append(appendAnswer(nil, &a), ours[:]...))
	switch {
	case a.status != statusWelcome:
		return nil, nil, &refusal{by: a.status, dialler: h}
	case err != nil:
		l.free()
		return nil, nil, err
	}
	return l, &conn{Conn: secured, remote: h.id}, nil
}

// refusal is the error of a dialler who knows the secret and is refused.
type refusal struct {
	by      status
	dialler hello
}

func (r *refusal) Error() string { return r.Unwrap().Error() }
func (r *refusal) Unwrap() error { return r.by.err() }

// err is what the status means to the dialler.
func (s status) err() error {
	switch s {
	case statusWelcome:
		return nil
	case statusNoLane:
		return ErrNoLane
	case statusCluster:
		return ErrOtherCluster
	case statusBusy:
		return ErrBusy
	}
	return errMalformed
}

// reasonOf classifies what ended an accepted connection.
func reasonOf(err error) Reason {
	var onTLS *tlsError
	switch {
	case errors.Is(err, ErrSecret):
		return WrongSecret
	case errors.Is(err, ErrOtherCluster):
		return OtherCluster
	case errors.Is(err, ErrNoLane):
		return NoLane
	case errors.Is(err, ErrBusy):
		return Busy
	case errors.Is(err, errMalformed), errors.Is(err, ErrVersion):
		return Malformed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return Broken
	case errors.As(err, &onTLS):
		return TLSFailed
	}
	return Broken
}
