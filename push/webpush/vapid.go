package webpush

import (
	"crypto/ecdsa"
	"sync"
	"time"

	"github.com/trellisdb/trellis/push/provider"
)

const (
	tokenFor    = 12 * time.Hour // services take up to 24 hours
	tokenServes = 8 * time.Hour
	maxOrigins  = 256 // there are a handful of services
)

// vapid signs the tokens of a notifier and keeps one for each origin.
type vapid struct {
	key     *ecdsa.PrivateKey
	public  string
	subject string
	now     func() time.Time
	mu      struct {
		sync.Mutex
		by map[string]signedToken
	}
}

type signedToken struct {
	header string
	signed time.Time
}

// authorization is the header for an origin (RFC 8292 section 3).
func (v *vapid) authorization(origin string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	if kept, ok := v.mu.by[origin]; ok && now.Sub(kept.signed) < tokenServes && !now.Before(kept.signed) {
		return kept.header, nil
	}
	claims := map[string]any{"aud": origin, "exp": now.Add(tokenFor).Unix(), "sub": v.subject}
	token, err := provider.SignJWT(v.key, map[string]any{"typ": "JWT"}, claims)
	if err != nil {
		return "", err
	}
	if v.mu.by == nil || len(v.mu.by) >= maxOrigins {
		v.mu.by = map[string]signedToken{}
	}
	kept := signedToken{header: "vapid t=" + token + ", k=" + v.public, signed: now}
	v.mu.by[origin] = kept
	return kept.header, nil
}

// several is how many endpoints of a service must be refused, and none taken, before
// the notifier is thought to be the reason.
const several = 3

// refusals remembers which services refuse subscriptions.
type refusals struct {
	mu sync.Mutex
	by map[string]map[string]bool // by origin: endpoints refused since one was taken
}

// taken forgets the refusals of an origin.
func (r *refusals) taken(origin string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.by, origin)
}

// refused counts one; true: there are several.
func (r *refusals) refused(origin, endpoint string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil || len(r.by) >= maxOrigins {
		r.by = map[string]map[string]bool{}
	}
	if r.by[origin] == nil {
		r.by[origin] = map[string]bool{}
	}
	if len(r.by[origin]) < several {
		r.by[origin][endpoint] = true
	}
	return len(r.by[origin]) >= several
}
