package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/trellisdb/trellis/storage/entity"
)

// Owner is the kind of thing a client id names.
type Owner byte

// Owners of client ids.
const (
	NoOwner Owner = iota
	OwnerOrganization
	OwnerApplication
	OwnerAdmin
	OwnerUser
)

// prefix is the base64 of a tag of two letters and a colon.
func (o Owner) prefix() string {
	switch o {
	case OwnerOrganization:
		return "b3U6" // ou:
	case OwnerApplication:
		return "YXA6" // ap:
	case OwnerAdmin:
		return "YWQ6" // ad:
	case OwnerUser:
		return "YXU6" // au:
	}
	return ""
}

// Lengths of client credentials.
const (
	clientIDLength = 26
	// SecretEntropy is how many random bytes a client secret carries.
	SecretEntropy = 20
)

// ClientID returns the client id of an owner: a function of its UUID, never
// stored.
func ClientID(o Owner, id entity.ID) string {
	return o.prefix() + base64.RawURLEncoding.EncodeToString(id[:])
}

// ParseClientID reads what ClientID wrote, and nothing else.
func ParseClientID(s string) (Owner, entity.ID, bool) {
	var id entity.ID
	if len(s) != clientIDLength {
		return NoOwner, id, false
	}
	for o := OwnerOrganization; o <= OwnerUser; o++ {
		if s[:4] != o.prefix() {
			continue
		}
		n, err := base64.RawURLEncoding.Strict().Decode(id[:], []byte(s[4:]))
		if err != nil || n != len(id) {
			return NoOwner, entity.ID{}, false
		}
		return o, id, true
	}
	return NoOwner, id, false
}

// ClientSecret returns the text of a client secret. entropy must come from a
// cryptographic source.
func ClientSecret(o Owner, entropy [SecretEntropy]byte) string {
	return o.prefix() + base64.RawURLEncoding.EncodeToString(entropy[:])
}

// Same compares two secrets in a time that depends on neither.
func Same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
