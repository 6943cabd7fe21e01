package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Layout of a token in the link of a mail: prefix, then base64url without padding of
//
//	version 1 UUID 16 · random 16 · HMAC-SHA-256 over all before 4
//
// The UUID is that of an access token. When the token ends is in its record alone.
const (
	MailTokenLength = 52 // characters of every such token

	mailTokenPrefix = "ZW0t"
	mailTokenBytes  = 16 + 16 + 4
	mailMACOffset   = mailTokenBytes - 4
)

// NewMailToken makes a token for the link of a mail, and its text. entropy must come
// from a cryptographic source; created is in ms since the epoch.
func NewMailToken(key Key, app entity.AppID, created int64, entropy [TokenEntropy]byte) (Token, string) {
	var b [mailTokenBytes]byte
	putTokenID(b[:16], app, created, &entropy)
	copy(b[16:mailMACOffset], entropy[:16])
	copy(b[mailMACOffset:], mailTokenMAC(key, b[:mailMACOffset]))
	text := mailTokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	t := Token{App: app, Hash: sha256.Sum256([]byte(text))}
	copy(t.ID[:], b[:16])
	return t, text
}

// mailTokenMAC is over the prefix, too, so that it is never that of an access token.
func mailTokenMAC(key Key, b []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte(mailTokenPrefix))
	h.Write(b)
	return h.Sum(nil)[:mailTokenBytes-mailMACOffset]
}

// IsMailToken reports whether a text has the shape of a token in the link of a mail.
func IsMailToken(text string) bool {
	return len(text) == MailTokenLength && strings.HasPrefix(text, mailTokenPrefix)
}

// ParseMailToken reads the text of a token from the link of a mail: AuthInvalid for what
// is none of this cluster. Whether a record of it exists is for the caller to see.
func ParseMailToken(key Key, text string) (Token, error) {
	var b [mailTokenBytes]byte
	if IsMailToken(text) {
		n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(text[len(mailTokenPrefix):]))
		if err == nil && n == mailTokenBytes && hmac.Equal(mailTokenMAC(key, b[:mailMACOffset]), b[mailMACOffset:]) {
			t := Token{App: entity.AppID(binary.BigEndian.Uint32(b[12:])), Hash: sha256.Sum256([]byte(text))}
			copy(t.ID[:], b[:16])
			return t, nil
		}
	}
	return Token{}, fault.New(fault.AuthInvalid, "Unable to authenticate")
}
