package signin

import (
	"context"
	"errors"
	"time"
)

// MaxTokenBytes bounds a token that is looked at at all.
const MaxTokenBytes = 16 << 10

// Errors of Check.
var (
	// ErrRefused says that nobody vouches for the token: it is malformed, forged,
	// expired, or not meant for us.
	ErrRefused = errors.New("the token is not good")
	// ErrUnavailable says that the service cannot be asked, or answers what nobody
	// can make sense of. The token may be good.
	ErrUnavailable = errors.New("the service cannot be asked")
)

// Provider tells whose token a token is. It is safe for concurrent use.
type Provider interface {
	// Check asks about a token. Errors: ErrRefused, ErrUnavailable, with reasons for
	// the log. A profile comes with an ID always.
	Check(ctx context.Context, token string) (Profile, error)
	// Close ends idle connections. No Check may follow.
	Close()
}

// Profile is what a provider says of a person. What it does not say is empty. The
// texts are UTF-8 without control characters.
type Profile struct {
	ID            string    // the provider's, and for good; 1 to 255 visible ASCII characters
	Username      string    // up to 256 bytes; a wish at most: it is neither unique nor for good
	Name          string    // up to 256 bytes
	Email         string    // up to 254 bytes
	EmailVerified bool      // the provider says that the address is the person's
	Picture       string    // http or https URL, up to 2,048 bytes
	Expires       time.Time // of the ID token; zero: not known
	Raw           []byte    // JSON object of all the provider said, up to MaxProfileBytes
}

// wellFormed tells whether token could be a token: visible ASCII, as RFC 6750 has it.
func wellFormed(token string) bool {
	if token == "" || len(token) > MaxTokenBytes {
		return false
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return false
		}
	}
	return true
}
