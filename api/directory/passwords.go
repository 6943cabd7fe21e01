package directory

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"

	"github.com/trellisdb/trellis/storage/fault"
)

// passwords hashes and compares passwords in a bounded number of slots, so
// that a login storm leaves the processors to others.
type passwords struct {
	cost    int
	slots   chan struct{}
	queue   int64
	waiting atomic.Int64
	dummy   []byte // hash of nothing anybody knows
}

func newPasswords(cost, slots, queue int) (*passwords, error) {
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost {
		return nil, fmt.Errorf("bcrypt cost is %d, want %d to %d", cost, bcrypt.MinCost, bcrypt.MaxCost)
	}
	p := &passwords{cost: cost, slots: make(chan struct{}, slots), queue: int64(queue)}
	noise, err := RandomPassword()
	if err != nil {
		return nil, err
	}
	if p.dummy, err = bcrypt.GenerateFromPassword([]byte(noise), cost); err != nil {
		return nil, fmt.Errorf("hash a password: %w", err)
	}
	return p, nil
}

// prepared is what bcrypt is given: it takes 72 bytes at most, so that longer
// passwords are replaced by a hash of theirs.
func prepared(password string) []byte {
	if len(password) <= 72 {
		return []byte(password)
	}
	sum := sha256.Sum256([]byte("long password\x00" + password))
	return []byte(base64.RawStdEncoding.EncodeToString(sum[:]))
}

// slot waits for a slot and returns what gives it back. Overloaded if too many
// wait already.
func (p *passwords) slot(ctx context.Context) (func(), error) {
	release := func() { <-p.slots }
	select {
	case p.slots <- struct{}{}:
		return release, nil
	default:
	}
	if p.waiting.Add(1) > p.queue {
		p.waiting.Add(-1)
		return nil, fault.New(fault.Overloaded, "too many sign-ins at once; try again")
	}
	defer p.waiting.Add(-1)
	select {
	case p.slots <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), fault.Overloaded, "too many sign-ins at once; try again")
	}
}

// hash returns the text under which a password is stored.
func (p *passwords) hash(ctx context.Context, password string) ([]byte, error) {
	release, err := p.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	h, err := bcrypt.GenerateFromPassword(prepared(password), p.cost)
	if err != nil {
		return nil, fmt.Errorf("directory: hash a password: %w", err)
	}
	return h, nil
}

// maxCost bounds the work that a hash from elsewhere may ask for: a login would hold a
// slot for hours.
const maxCost = 16

// transferred returns the bcrypt hash in a secret that came from Usergrid, which keeps
// its hashes in base64; others as they are.
func transferred(hash []byte) []byte {
	if len(hash) == 0 || hash[0] == '$' {
		return hash
	}
	text := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(string(hash), "="))
	if decoded, err := base64.RawStdEncoding.DecodeString(text); err == nil && len(decoded) > 0 && decoded[0] == '$' {
		return decoded
	}
	return hash
}

// matches compares a password with a stored hash; with none it takes as long
// and is false.
func (p *passwords) matches(ctx context.Context, hash []byte, password string) (bool, error) {
	release, err := p.slot(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	hash = transferred(hash)
	known := len(hash) > 0
	if cost, err := bcrypt.Cost(hash); known && (err != nil || cost > maxCost) {
		known = false
	}
	if !known {
		hash = p.dummy
	}
	err = bcrypt.CompareHashAndPassword(hash, prepared(password))
	switch {
	case err == nil:
		return known, nil
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return false, nil
	}
	// An imported hash that no password matches is no error of ours.
	return false, nil
}
