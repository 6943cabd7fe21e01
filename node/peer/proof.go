package peer

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"

	"github.com/trellisdb/trellis/storage/entity"
)

// role keeps what one side proves from proving anything for the other.
type role byte

const (
	dialler  role = 'D'
	acceptor role = 'A'
)

// bindingBytes is the size of what names a TLS channel; zeros without TLS.
const bindingBytes = 32

// deriveKey derives the key of the proofs from the cluster secret.
func deriveKey(secret []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, nil, "trellis peer handshake", sha256.Size)
}

func newNonce() (n nonce) {
	_, _ = rand.Read(n[:]) // never fails: it ends the process instead
	return n
}

// transcript is what both sides have said in one handshake. Frames say where
// they end, so different talks never read the same.
//
//	binding 32 · challenge · hello without proof · answer without proof
type transcript struct {
	key  []byte
	said []byte
}

func newTranscript(key []byte, binding [bindingBytes]byte, challenge nonce) *transcript {
	said := make([]byte, 0, bindingBytes+3*maxFrame)
	return &transcript{key: key, said: appendChallenge(append(said, binding[:]...), challenge)}
}

func (t *transcript) hello(h *hello)   { t.said = appendHello(t.said, h) }
func (t *transcript) answer(a *answer) { t.said = appendAnswer(t.said, a) }

// proof is what r gives as proof at this point of the talk.
func (t *transcript) proof(r role) (p proof) {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte{byte(r)})
	mac.Write(t.said)
	mac.Sum(p[:0])
	return p
}

// proves compares in constant time.
func (t *transcript) proves(r role, p proof) bool {
	want := t.proof(r)
	return hmac.Equal(want[:], p[:])
}

// strangers tells whether two nodes with these cluster ids refuse each other.
func strangers(a, b entity.ID) bool { return a != b && !a.IsZero() && !b.IsZero() }
