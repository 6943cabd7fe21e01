package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Key is a key derived from the cluster's master key for one purpose.
type Key [32]byte

// DeriveKey derives the key of a purpose ("token", "cursor") with HKDF-SHA-256.
func DeriveKey(master [32]byte, purpose string) Key {
	b, err := hkdf.Key(sha256.New, master[:], nil, purpose, len(Key{}))
	if err != nil {
		panic(err) // only a length no hash can reach
	}
	return Key(b)
}

// Layout of an access token: prefix, then base64url without padding of
//
//	version 1 UUID 16 · expiry in ms 8 · random 16 · HMAC-SHA-256 over all before 4
//
// The last 4 bytes of the UUID's node are the number of the application whose
// keyspace holds the record. The expiry is MaxInt64 if there is none.
const (
	TokenLength = 63 // characters of every access token

	tokenPrefix = "YWMt"
	tokenBytes  = 16 + 8 + 16 + 4
	macOffset   = tokenBytes - 4

	// TokenEntropy is how many random bytes NewToken wants.
	TokenEntropy = 16 + 2 + 2 + 2
)

// gregorian is the offset of the UUID epoch (1582-10-15) before 1970, in 100 ns.
const gregorian = 0x01b21dd213814000

// Token is what the text of a token says.
type Token struct {
	ID      entity.ID    // version 1: carries the time of creation
	App     entity.AppID // whose keyspace holds the record
	Expires int64        // ms since the epoch; 0: never
	Hash    [32]byte     // SHA-256 of the text: the key of its record
}

// NewToken makes a token and its text. entropy must come from a
// cryptographic source; times are ms since the epoch, expires 0 for never.
func NewToken(key Key, app entity.AppID, created, expires int64, entropy [TokenEntropy]byte) (Token, string) {
	var b [tokenBytes]byte
	putTokenID(b[:16], app, created, &entropy)
	stamp := expires
	if stamp == 0 {
		stamp = math.MaxInt64
	}
	binary.BigEndian.PutUint64(b[16:], uint64(stamp))
	copy(b[24:macOffset], entropy[:16])
	copy(b[macOffset:], tokenMAC(key, b[:macOffset]))
	text := tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	t := Token{App: app, Expires: expires, Hash: sha256.Sum256([]byte(text))}
	copy(t.ID[:], b[:16])
	return t, text
}

// putTokenID writes the version 1 UUID of a token.
func putTokenID(b []byte, app entity.AppID, created int64, entropy *[TokenEntropy]byte) {
	sub := binary.BigEndian.Uint16(entropy[20:]) % 10000
	ticks := uint64(created)*10000 + gregorian + uint64(sub)
	binary.BigEndian.PutUint32(b[0:], uint32(ticks))
	binary.BigEndian.PutUint16(b[4:], uint16(ticks>>32))
	binary.BigEndian.PutUint16(b[6:], uint16(ticks>>48)&0x0fff|0x1000)
	b[8], b[9] = entropy[16]&0x3f|0x80, entropy[17]
	b[10], b[11] = entropy[18]|0x01, entropy[19] // multicast: no real network card
	binary.BigEndian.PutUint32(b[12:], uint32(app))
}

func tokenMAC(key Key, b []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write(b)
	return h.Sum(nil)[:tokenBytes-macOffset]
}

func corruptToken() error {
	return fault.New(fault.BadAccessToken, "Unable to authenticate due to corrupt access token")
}

// ParseToken reads the text of a token. It returns BadAccessToken for what is
// no access token of this cluster (A2), and ExpiredToken for one whose stamp
// is past (A1). Whether a record of it exists is for the caller to see (A3).
// The well-formed tokens of e-mail links and other categories are AuthInvalid.
func ParseToken(key Key, text string, now int64) (Token, error) {
	if IsMailToken(text) || (len(text) == MailTokenLength && (strings.HasPrefix(text, "cmUt") || strings.HasPrefix(text, "b2Yt"))) {
		return Token{}, fault.New(fault.AuthInvalid, "Unable to authenticate")
	}
	if len(text) != TokenLength || !strings.HasPrefix(text, tokenPrefix) {
		return Token{}, corruptToken()
	}
	var b [tokenBytes]byte
	if n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(text[len(tokenPrefix):])); err != nil || n != tokenBytes {
		return Token{}, corruptToken()
	}
	if !hmac.Equal(tokenMAC(key, b[:macOffset]), b[macOffset:]) {
		return Token{}, corruptToken()
	}
	t := Token{
		App:     entity.AppID(binary.BigEndian.Uint32(b[12:])),
		Expires: int64(binary.BigEndian.Uint64(b[16:])),
		Hash:    sha256.Sum256([]byte(text)),
	}
	copy(t.ID[:], b[:16])
	if t.Expires == math.MaxInt64 {
		t.Expires = 0
	} else if t.Expires <= now {
		return Token{}, fault.New(fault.ExpiredToken, "Unable to authenticate due to expired access token")
	}
	return t, nil
}
