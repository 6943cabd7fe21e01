package signin

import (
	"context"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// keySet checks one signature, for go-oidc. That library's own set would fetch the
// keys once for every token with an unknown key, and keep withdrawn ones for good.
type keySet struct {
	keys        *kept[[]jose.JSONWebKey]
	algorithms  []string
	payload     []byte // of the token, once its signature is good
	unavailable error  // ErrUnavailable if the keys could not be had
}

// VerifySignature is that of go-oidc's KeySet.
func (s *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	var allowed []jose.SignatureAlgorithm
	for _, a := range s.algorithms {
		allowed = append(allowed, jose.SignatureAlgorithm(a))
	}
	signed, err := jose.ParseSignedCompact(token, allowed)
	if err != nil {
		return nil, err
	}
	header := signed.Signatures[0].Header
	// RFC 9068, 2.1, and RFC 8725, 3.11: a JWT for another purpose says so.
	if kind, ok := header.ExtraHeaders[jose.HeaderType].(string); ok && !strings.EqualFold(kind, "JWT") {
		return nil, errors.New("it is a JWT of another type")
	}
	known, err := s.keys.get(ctx)
	if err == nil && !s.verify(signed, header, known.value) {
		// The issuer may have a new key since: OpenID Connect Core, 10.1.1.
		var later held[[]jose.JSONWebKey]
		if later, err = s.keys.after(ctx, known.version); err == nil && !s.verify(signed, header, later.value) {
			return nil, errors.New("no key of the issuer fits")
		}
	}
	if err != nil {
		s.unavailable = err
		return nil, err
	}
	return s.payload, nil
}

// verify tells whether one of the keys made the signature, and keeps the payload.
func (s *keySet) verify(signed *jose.JSONWebSignature, header jose.Header, keys []jose.JSONWebKey) bool {
	for _, key := range keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(key); err == nil {
			s.payload = payload
			return true
		}
	}
	return false
}
