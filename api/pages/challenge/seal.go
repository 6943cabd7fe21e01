package challenge

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/trellisdb/trellis/api/auth"
)

// Config is how Arithmetic and Work ask. All fields are wanted.
type Config struct {
	Key      auth.Key         // the same on all nodes of a cluster
	Now      func() time.Time // the clock
	Life     time.Duration    // from question to answer
	Remember int              // answers that this node remembers to have taken
}

// DefaultConfig returns a working configuration for this key: questions count
// for 15 minutes, and 100 000 answers, some 10 MB, are remembered.
func DefaultConfig(key auth.Key) Config {
	return Config{Key: key, Now: time.Now, Life: 15 * time.Minute, Remember: 100_000}
}

// Layout of a seal, in base64url without padding:
//
//	version 1 · bits of work 1 · expiry in ms 8 · random 16 · HMAC-SHA-256 over all before and the purpose 16
//
// The bits are 0 for arithmetic.
const (
	sealVersion = 1
	macOffset   = 1 + 1 + 8 + 16
	sealBytes   = macOffset + 16
)

// sealer makes seals and says which of them count.
type sealer struct {
	key  auth.Key
	now  func() time.Time
	life time.Duration
	used *memory
}

func newSealer(cfg Config) (sealer, error) {
	if cfg.Now == nil {
		return sealer{}, fmt.Errorf("challenge: there is no clock")
	}
	if cfg.Life < time.Second {
		return sealer{}, fmt.Errorf("challenge: life of a question is %v, want at least 1s", cfg.Life)
	}
	if cfg.Remember < 1 {
		return sealer{}, fmt.Errorf("challenge: %d answers are remembered, want at least 1", cfg.Remember)
	}
	return sealer{key: cfg.Key, now: cfg.Now, life: cfg.Life, used: newMemory(cfg.Remember)}, nil
}

// seal is what the text of a seal says.
type seal struct {
	bits    int
	expires int64 // ms since the epoch
	random  [16]byte
}

func (s *sealer) issue(purpose string, bits int) (seal, string) {
	made := seal{bits: bits, expires: s.now().Add(s.life).UnixMilli()}
	_, _ = rand.Read(made.random[:]) // never fails
	b := make([]byte, 0, sealBytes)
	b = append(b, sealVersion, byte(bits))
	b = binary.BigEndian.AppendUint64(b, uint64(made.expires))
	b = append(b, made.random[:]...)
	b = append(b, s.mac("seal", b, purpose)...)
	return made, base64.RawURLEncoding.EncodeToString(b)
}

// open reads a seal that this cluster made for the purpose and whose time is
// not over.
func (s *sealer) open(purpose, text string) (seal, error) {
	if len(text) != base64.RawURLEncoding.EncodedLen(sealBytes) {
		return seal{}, wrong(". Please try again.")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != sealBytes || b[0] != sealVersion || !hmac.Equal(s.mac("seal", b[:macOffset], purpose), b[macOffset:]) {
		return seal{}, wrong(". Please try again.")
	}
	read := seal{bits: int(b[1]), expires: int64(binary.BigEndian.Uint64(b[2:]))}
	copy(read.random[:], b[10:macOffset])
	if s.now().UnixMilli() >= read.expires {
		return seal{}, wrong(": the question is too old. Please answer the new one.")
	}
	return read, nil
}

// spend takes a seal that has not been taken before.
func (s *sealer) spend(read seal) error {
	if !s.used.add(read.random, read.expires, s.now().UnixMilli()) {
		return wrong(": the question was answered before. Please answer the new one.")
	}
	return nil
}

// mac is over texts of fixed length, but for the last.
func (s *sealer) mac(label string, b []byte, purpose string) []byte {
	h := hmac.New(sha256.New, s.key[:])
	_, _ = h.Write([]byte("challenge " + label + "\x00")) // never fails
	_, _ = h.Write(b)
	_, _ = h.Write([]byte(purpose))
	return h.Sum(nil)[:sealBytes-macOffset]
}
