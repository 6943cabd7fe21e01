// Package cursor makes and reads the opaque texts by which clients ask for the
// next page.
//
// A cursor is stateless: it says where the next page begins and for what, and
// it is authenticated with a key of the cluster, so it is valid on every node
// and after restarts, and no client can make one up or use it for something
// else. Its position says what the last entity of the page before sorts by:
// never an id that must still exist.
//
//	version 1 · fingerprint 8 · position · MAC 16, as base64url without padding
//
// The fingerprint binds it to a request: whatever must be the same on the next
// page. The MAC is HMAC-SHA-256 over everything before it, cut to 16 bytes.
//
// The package is pure, and knows nothing of what a position means.
package cursor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/trellisdb/trellis/storage/fault"
)

// Key authenticates cursors; it is derived from the cluster's.
type Key [32]byte

// MaxText is the longest text a client may send as a cursor.
const MaxText = 1024

// MaxPosition is how many bytes a position may have, so that its cursor fits.
const MaxPosition = MaxText/4*3 - overhead

const (
	version  = 2
	macSize  = 16
	headSize = 1 + len(Fingerprint{})
	overhead = headSize + macSize
)

// Fingerprint tells requests apart.
type Fingerprint [8]byte

// Bind returns the fingerprint of what a request consists of, part by part.
func Bind(parts ...[]byte) Fingerprint {
	h := sha256.New()
	var size [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		_, _ = h.Write(size[:]) // never fails
		_, _ = h.Write(part)
	}
	var sum [sha256.Size]byte
	return Fingerprint(h.Sum(sum[:0]))
}

// Encode returns the cursor of the page that begins after a position. It panics if
// the position is longer than MaxPosition.
func Encode(key *Key, f Fingerprint, position []byte) string {
	if len(position) > MaxPosition {
		panic(fmt.Sprintf("cursor: position of %d bytes", len(position)))
	}
	b := make([]byte, 0, overhead+len(position))
	b = append(b, version)
	b = append(b, f[:]...)
	b = append(b, position...)
	b = append(b, mac(key, b)...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Decode returns the position of a cursor that Encode made with the same
// fingerprint. Anything else is IllegalArgument.
func Decode(key *Key, f Fingerprint, text string) (position []byte, err error) {
	if len(text) > MaxText {
		return nil, invalid("is too long")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < overhead {
		return nil, invalid("is malformed")
	}
	end := len(b) - macSize
	if !hmac.Equal(mac(key, b[:end]), b[end:]) || b[0] != version {
		return nil, invalid("was not made by this cluster")
	}
	if Fingerprint(b[1:headSize]) != f {
		return nil, invalid("belongs to another request")
	}
	return b[headSize:end:end], nil
}

func mac(key *Key, b []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	_, _ = h.Write(b) // never fails
	return h.Sum(nil)[:macSize]
}

func invalid(why string) error {
	return fault.New(fault.IllegalArgument, "cursor %s", why)
}
