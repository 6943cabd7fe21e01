package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// SignJWT makes a JSON web token (RFC 7519): ES256 with a key on P-256, RS256 with an
// RSA key. header needs no alg.
func SignJWT(key crypto.Signer, header map[string]any, claims any) (string, error) {
	full := map[string]any{}
	for name, value := range header {
		full[name] = value
	}
	var sign func(digest []byte) ([]byte, error)
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		full["alg"], sign = "ES256", func(digest []byte) ([]byte, error) { return signES256(k, digest) }
	case *rsa.PrivateKey:
		full["alg"], sign = "RS256", func(digest []byte) ([]byte, error) {
			return rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest)
		}
	default:
		return "", errors.New("sign a token: the key is neither ECDSA nor RSA")
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString(Marshal(full)) + "." + b64.EncodeToString(Marshal(claims))
	digest := sha256.Sum256([]byte(signed))
	signature, err := sign(digest[:])
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed + "." + b64.EncodeToString(signature), nil
}

// signES256 signs as RFC 7518 section 3.4 has it: r and s of 32 bytes each.
func signES256(key *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	if key.Curve.Params().BitSize != 256 {
		return nil, errors.New("the key is not on P-256")
	}
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}
