// Package entity is the vocabulary of Trellis: the identifiers and the stored
// form of an entity, which every other package speaks of.
//
// It does no I/O and imports nothing of ours but storage/fault.
package entity

import (
	"encoding/hex"
	"time"

	"github.com/google/uuid"
)

// Partition names one Raft group and the keyspace it replicates.
type Partition uint32

// System is the partition of organisations, admin users, the application
// registry and admin tokens. Partitions 1 and up hold applications.
const System Partition = 0

// AppID is an application's number: unique in the cluster, never reused, and
// part of every key of the application. Clients know applications by UUID.
type AppID uint32

const (
	// NoApp prefixes what belongs to a partition rather than an application:
	// applied index, dedup window.
	NoApp AppID = 0
	// Management is the built-in application, in the system partition, whose
	// collections hold admin users, organisations and application records.
	Management AppID = 1
	// FirstApp is the number of the first application ever created.
	FirstApp AppID = 16
)

// ManagementID is the UUID under which the management application is shown
// (spec auth-and-tokens section 1).
var ManagementID = ID{15: 1}

// CollectionID is a collection's number within its application.
type CollectionID uint32

// PropertyID is a property's number within its collection.
type PropertyID uint32

// Seq is an entity's number within its collection, given in apply: the order
// of addition, and the short id in index keys. Zero is no entity.
type Seq uint64

// VerbID is the number of a connection's verb within its application.
type VerbID uint32

// End is an entity as connections know it: they outlive its names, and hold
// no longer than the entity itself, since no other ever gets its number.
type End struct {
	Collection CollectionID
	Seq        Seq
}

// ID is a UUID. Its zero value is no entity.
type ID [16]byte

// NewID returns a version 7 UUID (RFC 9562), monotonic within this process.
// Proposers call it; apply never does. Safe for concurrent use. It panics only
// if the system has no source of randomness.
func NewID() ID { return ID(uuid.Must(uuid.NewV7())) }

// ParseID reads the form 8-4-4-4-12 hex digits in any case, and nothing else.
func ParseID(s string) (ID, bool) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, false
	}
	j := 0
	for i := 0; i < 36; {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			i++
			continue
		}
		hi, ok1 := nibble(s[i])
		lo, ok2 := nibble(s[i+1])
		if !ok1 || !ok2 {
			return ID{}, false
		}
		id[j] = hi<<4 | lo
		j++
		i += 2
	}
	return id, true
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// AppendText appends the lower-case text form, 36 bytes. It never fails.
func (id ID) AppendText(dst []byte) []byte {
	dst = hex.AppendEncode(dst, id[0:4])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[4:6])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[6:8])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[8:10])
	dst = append(dst, '-')
	return hex.AppendEncode(dst, id[10:16])
}

// String returns the lower-case text form.
func (id ID) String() string { return string(id.AppendText(make([]byte, 0, 36))) }

// IsZero reports whether id names no entity.
func (id ID) IsZero() bool { return id == ID{} }

// Time returns the milliseconds since the epoch that a version 1, 6 or 7 UUID
// carries, and false for every other version.
func (id ID) Time() (ms int64, ok bool) {
	u := uuid.UUID(id)
	if u.Variant() != uuid.RFC4122 {
		return 0, false
	}
	switch u.Version() {
	case 7:
		for _, b := range id[:6] {
			ms = ms<<8 | int64(b)
		}
		return ms, true
	case 1, 6:
		sec, nsec := u.Time().UnixTime()
		return time.Unix(sec, nsec).UnixMilli(), true
	}
	return 0, false
}

// Entity is one stored entity: the header the system keeps, and the client's
// properties as compact JSON. JSON holds no system property (uuid, type,
// created, modified, metadata): they are spliced in when it is shown.
type Entity struct {
	ID       ID
	Created  int64 // ms since the epoch
	Modified int64 // ms since the epoch, never before Created
	Seq      Seq
	Rev      Seq  // from the collection's counter, new at every change
	HasOut   bool // has connections out
	HasIn    bool // has connections in
	Blob     ID   // its binary data; zero: it has none
	// Generation names the plan its index entries were written under. It is the
	// state machine's: what creates an entity does not set it.
	Generation uint32
	JSON       []byte
}
