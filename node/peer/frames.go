package peer

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"

	"github.com/trellisdb/trellis/storage/entity"
)

// Every frame begins with a magic number and the version of the protocol.
//
//	challenge   head 5 · nonce 32
//	hello       head 5 · lane 8 · nonce 32 · claim · proof 32
//	answer      head 5 · status 1 · claim · proof 32
//	claim       cluster id 16 · length 1 · node id 1…255
//
// Numbers are big-endian. No frame is longer than maxFrame: the one length that
// is announced is a byte.
const (
	version   = 1
	headBytes = len(magic) + 1
	maxID     = 255
	maxFrame  = headBytes + 8 + nonceBytes + 16 + 1 + maxID + sha256.Size

	nonceBytes = 32
)

const magic = "TRLP"

var (
	errMalformed = errors.New("what was received is no handshake of a node")
	errIDLength  = errors.New("a node id has 1 to 255 bytes")
)

type nonce [nonceBytes]byte

type proof [sha256.Size]byte

// status is what the acceptor makes of a dialler who knows the secret.
type status byte

const (
	statusWelcome status = 0
	statusNoLane  status = 1
	statusCluster status = 2
	statusBusy    status = 3
)

// claim is who a node says it is.
type claim struct {
	cluster entity.ID // zero: it belongs to none yet
	id      entity.NodeID
}

// hello is what the dialler says, without its proof.
type hello struct {
	lane  Lane
	nonce nonce
	claim
}

// answer is what the acceptor says in the end, without its proof.
type answer struct {
	status status
	claim
}

func appendHead(dst []byte) []byte { return append(append(dst, magic...), version) }

func appendChallenge(dst []byte, n nonce) []byte { return append(appendHead(dst), n[:]...) }

func appendHello(dst []byte, h *hello) []byte {
	dst = binary.BigEndian.AppendUint64(appendHead(dst), uint64(h.lane))
	dst = append(dst, h.nonce[:]...)
	return appendClaim(dst, &h.claim)
}

func appendAnswer(dst []byte, a *answer) []byte {
	return appendClaim(append(appendHead(dst), byte(a.status)), &a.claim)
}

func appendClaim(dst []byte, c *claim) []byte {
	dst = append(dst, c.cluster[:]...)
	dst = append(dst, byte(len(c.id)))
	return append(dst, c.id...)
}

// The readers take from r exactly the bytes of their frame. They stop at the
// head if it is not ours, so that who speaks another protocol is not waited for.

func readHead(r io.Reader) error {
	var b [headBytes]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return err
	}
	switch {
	case string(b[:len(magic)]) != magic:
		return errMalformed
	case b[len(magic)] != version:
		return ErrVersion
	}
	return nil
}

func readChallenge(r io.Reader) (n nonce, err error) {
	if err = readHead(r); err != nil {
		return n, err
	}
	_, err = io.ReadFull(r, n[:])
	return n, err
}

func readHello(r io.Reader) (h hello, p proof, err error) {
	if err = readHead(r); err != nil {
		return h, p, err
	}
	var b [8 + nonceBytes]byte
	if _, err = io.ReadFull(r, b[:]); err != nil {
		return h, p, err
	}
	h.lane = Lane(binary.BigEndian.Uint64(b[:]))
	h.nonce = nonce(b[8:])
	h.claim, p, err = readClaim(r)
	return h, p, err
}

func readAnswer(r io.Reader) (a answer, p proof, err error) {
	if err = readHead(r); err != nil {
		return a, p, err
	}
	var b [1]byte
	if _, err = io.ReadFull(r, b[:]); err != nil {
		return a, p, err
	}
	a.status = status(b[0])
	a.claim, p, err = readClaim(r)
	return a, p, err
}

// readClaim reads a claim and the proof behind it.
func readClaim(r io.Reader) (c claim, p proof, err error) {
	var fixed [16 + 1]byte
	if _, err = io.ReadFull(r, fixed[:]); err != nil {
		return c, p, err
	}
	c.cluster = entity.ID(fixed[:16])
	length := int(fixed[16])
	if length == 0 {
		return c, p, errMalformed
	}
	var rest [maxID + sha256.Size]byte
	if _, err = io.ReadFull(r, rest[:length+sha256.Size]); err != nil {
		return c, p, err
	}
	c.id = entity.NodeID(rest[:length])
	p = proof(rest[length:])
	return c, p, nil
}
