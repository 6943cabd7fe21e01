// Package cursor makes and reads the opaque texts by which clients ask for the
// next page.
//
// A cursor is stateless: it says where the next page begins and for what, and
// it is authenticated with a key of the cluster, so it is valid on every node
// and after restarts, and no client can make one up or use it for something
// else. Its position is a sequence number, never an id that must still exist.
//
//	version 1 · fingerprint 8 · position · MAC 16, as base64url without padding
//
// The fingerprint binds it to application, collection and direction. The MAC
// is HMAC-SHA-256 over everything before it, cut to 16 bytes.
//
// The package is pure.
package cursor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

// Key authenticates cursors; it is derived from the cluster's.
type Key [32]byte

// MaxText is the longest text a client may send as a cursor.
const MaxText = 1024

const (
	version = 1
	macSize = 16
	size    = 1 + 8 + 8 + macSize
)

// Listing is a plain listing of one collection: what its cursors are bound to.
type Listing struct {
	App         entity.AppID
	Collection  entity.CollectionID
	OldestFirst bool
}

// fingerprint tells listings apart.
func (l Listing) fingerprint(dst []byte) []byte {
	h := sha256.New()
	var b [10]byte
	b[0] = 'L' // plain listings; queries will take another letter
	binary.BigEndian.PutUint32(b[1:], uint32(l.App))
	binary.BigEndian.PutUint32(b[5:], uint32(l.Collection))
	if l.OldestFirst {
		b[9] = 1
	}
	_, _ = h.Write(b[:]) // never fails
	return append(dst, h.Sum(nil)[:8]...)
}

// Encode returns the cursor of the page that begins after the entity numbered
// last, in the direction of the listing.
func Encode(key *Key, l Listing, last entity.Seq) string {
	b := make([]byte, 0, size)
	b = append(b, version)
	b = l.fingerprint(b)
	b = binary.BigEndian.AppendUint64(b, uint64(last))
	b = append(b, mac(key, b)...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Decode returns the position of a cursor that Encode made for the same
// listing. Anything else is IllegalArgument.
func Decode(key *Key, l Listing, text string) (entity.Seq, error) {
	if len(text) > MaxText {
		return 0, invalid("is too long")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != size {
		return 0, invalid("is malformed")
	}
	if !hmac.Equal(mac(key, b[:size-macSize]), b[size-macSize:]) || b[0] != version {
		return 0, invalid("was not made by this cluster")
	}
	if string(b[1:9]) != string(l.fingerprint(nil)) {
		return 0, invalid("belongs to another request")
	}
	return entity.Seq(binary.BigEndian.Uint64(b[9:])), nil
}

func mac(key *Key, b []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	_, _ = h.Write(b) // never fails
	return h.Sum(nil)[:macSize]
}

func invalid(why string) error {
	return fault.New(fault.IllegalArgument, "cursor %s", why)
}
