package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"sync"
	"time"

	"github.com/trellisdb/trellis/push/provider"
	"github.com/trellisdb/trellis/storage/fault"
)

const (
	signEvery   = 50 * time.Minute // Apple takes a token for an hour
	signAtLeast = 20 * time.Minute // Apple refuses those who change it more often
)

// parseKey reads the PEM text of a .p8 file.
func parseKey(text string) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, fault.New(fault.IllegalArgument, "authKey is no PEM text")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.IllegalArgument, "authKey is no key in PKCS#8")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fault.New(fault.IllegalArgument, "authKey is no key on the curve P-256")
	}
	return key, nil
}

// maxIdleSigners bounds the signers that are kept of keys that nobody uses.
const maxIdleSigners = 100

// signers are those in use, shared by notifiers with the same key, and those that have
// signed lately: a notifier that is tested, changed or used again soon goes on with its
// token.
type signers struct {
	mu sync.Mutex
	by map[[32]byte]*signer
}

// get returns the signer of a key, and how to give it back.
func (s *signers) get(team, keyID string, key *ecdsa.PrivateKey, now func() time.Time) (_ *signer, release func()) {
	scalar, err := key.Bytes()
	if err != nil { // a key of P-256 that was parsed can be written
		panic("apns: " + err.Error())
	}
	id := sha256.Sum256([]byte(team + "\x00" + keyID + "\x00" + string(scalar)))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[[32]byte]*signer{}
	}
	found := s.by[id]
	if found == nil {
		found = &signer{team: team, keyID: keyID, key: key, now: now}
		s.by[id] = found
	}
	found.users++
	return found, sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		found.users--
		s.sweep()
	})
}

// sweep drops the signers that nobody uses and that may sign anew anyway; mu is held.
func (s *signers) sweep() {
	idle := 0
	for id, other := range s.by {
		if other.users > 0 {
			continue
		}
		if idle++; idle > maxIdleSigners || !other.signedLately() {
			delete(s.by, id)
		}
	}
}

// signedLately tells whether Apple would mind another token now.
func (s *signer) signedLately() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := s.now().Sub(s.mu.signed)
	return s.mu.token != "" && age >= 0 && age < signAtLeast
}

// signer signs tokens of one key and keeps the newest.
type signer struct {
	team, keyID string
	key         *ecdsa.PrivateKey
	now         func() time.Time
	users       int // guarded by the mu of signers
	mu          struct {
		sync.Mutex
		token   string
		signed  time.Time
		renewed time.Time // when a token was last signed because one was refused
	}
}

// token returns the one to use.
func (s *signer) token() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); s.mu.token == "" || now.Sub(s.mu.signed) >= signEvery || now.Before(s.mu.signed) {
		return s.sign(now)
	}
	return s.mu.token, nil
}

// sign makes a new one; mu is held.
func (s *signer) sign(now time.Time) (string, error) {
	claims := map[string]any{"iss": s.team, "iat": now.Unix()}
	token, err := provider.SignJWT(s.key, map[string]any{"kid": s.keyID}, claims)
	if err == nil {
		s.mu.token, s.mu.signed = token, now
	}
	return token, err
}

// renew makes another one after Apple has refused one as expired; false: it would be
// the second within the time in which Apple wants one.
func (s *signer) renew(refused string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.token != refused {
		return true
	}
	now := s.now()
	if !s.mu.renewed.IsZero() && now.Sub(s.mu.renewed) < signAtLeast {
		return false
	}
	s.mu.renewed = now
	_, err := s.sign(now)
	return err == nil
}
