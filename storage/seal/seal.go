// Package seal encrypts the secrets that must be shown again, and can therefore not
// be stored hashed: client secrets, PINs, the bodies of mails that hold a token.
//
// A ring holds the key that seals, and older ones that still open. A sealed value
// says which key it needs, so a key is changed by putting a new one in front: what
// the old one sealed stays readable until it has been sealed anew.
//
// The package is pure: nonces are the caller's.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/trellisdb/trellis/storage/fault"
)

// NonceSize is the size of the random nonce a value is sealed with, in bytes.
const NonceSize = 12

const (
	version = 1
	idSize  = 4
	head    = 1 + idSize + NonceSize
)

// MinKey is how short the text of a key may be, in bytes.
const MinKey = 16

// Ring is the keys of an installation. It is immutable and safe for concurrent use.
type Ring struct{ keys []key }

type key struct {
	id   [idSize]byte
	aead cipher.AEAD
}

// NewRing makes a ring of secrets, from each of which a key is derived by HKDF with
// SHA-256 (RFC 5869): the first seals, all open. One that occurs twice counts once.
func NewRing(secrets ...[]byte) (*Ring, error) {
	var r Ring
	for _, secret := range secrets {
		id, err := hkdf.Key(sha256.New, secret, nil, "trellis seal id 1", idSize)
		if err != nil {
			return nil, fmt.Errorf("seal: derive a key: %w", err)
		}
		raw, err := hkdf.Key(sha256.New, secret, nil, "trellis seal key 1", 32)
		if err != nil {
			return nil, fmt.Errorf("seal: derive a key: %w", err)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		k := key{id: [idSize]byte(id)}
		if k.aead, err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		if r.find(k.id) == nil {
			r.keys = append(r.keys, k)
		}
	}
	if len(r.keys) == 0 {
		return nil, fmt.Errorf("seal: a ring without keys")
	}
	return &r, nil
}

func (r *Ring) find(id [idSize]byte) *key {
	for i := range r.keys {
		if r.keys[i].id == id {
			return &r.keys[i]
		}
	}
	return nil
}

// Seal encrypts and authenticates plain by AES-256-GCM (NIST SP 800-38D). nonce must
// never be used twice: make it random. The value opens only with the same context,
// which says what it belongs to.
//
//	version 1 · id of the key 4 · nonce 12 · ciphertext and tag
func (r *Ring) Seal(plain []byte, nonce [NonceSize]byte, context string) []byte {
	k := &r.keys[0]
	dst := make([]byte, 0, head+len(plain)+k.aead.Overhead())
	dst = append(dst, version)
	dst = append(dst, k.id[:]...)
	dst = append(dst, nonce[:]...)
	return k.aead.Seal(dst, nonce[:], plain, []byte(context))
}

// Open decrypts what Seal made. stale says that it was sealed with an older key, or is
// not sealed at all, as values from before there were keys: those are returned as they
// are. Fault: Corrupt if the ring does not have the key, or the value or its context
// is another.
func (r *Ring) Open(sealed []byte, context string) (plain []byte, stale bool, err error) {
	if len(sealed) == 0 || sealed[0] != version {
		return sealed, len(sealed) > 0, nil
	}
	if len(sealed) < head {
		return nil, false, fault.New(fault.Corrupt, "a sealed value is cut short")
	}
	k := r.find([idSize]byte(sealed[1:]))
	if k == nil {
		return nil, false, fault.New(fault.Corrupt, "a value was sealed with key %x, which this node has not been given", sealed[1:1+idSize])
	}
	plain, err = k.aead.Open(nil, sealed[1+idSize:head], sealed[head:], []byte(context))
	if err != nil {
		return nil, false, fault.Wrap(err, fault.Corrupt, "a sealed value does not open")
	}
	return plain, k != &r.keys[0], nil
}

// Parse reads a file of keys: one a line, the newest first; empty lines and those that
// begin with # do not count. A key is any text of MinKey bytes or more.
func Parse(text string) ([][]byte, error) {
	var keys [][]byte
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if len(line) < MinKey {
			return nil, fmt.Errorf("line %d: a key has at least %d bytes", n, MinKey)
		}
		keys = append(keys, []byte(line))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no key")
	}
	return keys, nil
}
