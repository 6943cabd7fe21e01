package entity

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/fault"
)

// Audience says whose feeds an activity reaches when it is posted, beside the
// publisher's own.
type Audience byte

// Audiences.
const (
	NoAudience Audience = iota // only the feed that it is put into; there is no publisher
	Followers                  // a user publishes: those who follow him
	Members                    // a group publishes: the users in it
	Friends                    // a user publishes inside a group: those in it who follow him
)

// Posted is an activity as lists know it.
type Posted struct {
	Seq       Seq   // within the collection of activities
	Published int64 // ms since the epoch
}

// FanOut is the body of a task that brings activities into feeds: of TaskFanOut.
//
// It walks over followers, or over members, from the oldest edge on. Members count that
// joined before the activities were posted. So do followers: one who has begun to
// follow since has the activities with all others of the user, and one whose edge was
// renewed is met at its new place.
type FanOut struct {
	Audience    Audience
	ByMembers   bool // of Friends: the walk is over members, and asks who of them follows
	User, Group End  // who publishes, and where
	Next        Seq  // number of the first edge that was not looked at
	Until       Seq  // memberships from this number on are newer than the activities
	Activities  []Posted
}

// Outbox is the body of a task that brings what a user has published into the feed of
// a new follower: of TaskFollow. It walks from what was published last on.
type Outbox struct {
	Follower, Followed End
	After              Posted // the last that was brought
	// Until is the number that the next activity had when the follower came: later ones
	// come to him by themselves, if they are for him.
	Until Seq
}

// Bounds of what a fan-out brings at once. Apply decides by them, so they are no
// settings.
const (
	// MaxPosted is how many activities one fan-out brings.
	MaxPosted = 1000
)

const feedVersion = 1

func appendEnd(dst []byte, e End) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(e.Collection)), uint64(e.Seq))
}

func readEnd(b []byte) (e End, rest []byte, ok bool) {
	c, b, ok := uvarint(b)
	if !ok || c > 1<<32-1 {
		return e, nil, false
	}
	seq, b, ok := uvarint(b)
	return End{Collection: CollectionID(c), Seq: Seq(seq)}, b, ok
}

func appendPosted(dst []byte, p Posted) []byte {
	return binary.AppendVarint(binary.AppendUvarint(dst, uint64(p.Seq)), p.Published)
}

func readPosted(b []byte) (p Posted, rest []byte, ok bool) {
	seq, b, ok := uvarint(b)
	if !ok {
		return p, nil, false
	}
	p.Seq = Seq(seq)
	p.Published, b, ok = varint(b)
	return p, b, ok
}

// AppendFanOut appends the stored form: version 1 · audience 1 · by members 1 · user,
// group: collection and seq uvarints each · next, until uvarints · activities: count
// uvarint, each seq uvarint · published varint.
func AppendFanOut(dst []byte, f *FanOut) []byte {
	by := byte(0)
	if f.ByMembers {
		by = 1
	}
	dst = append(dst, feedVersion, byte(f.Audience), by)
	dst = appendEnd(appendEnd(dst, f.User), f.Group)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(f.Next)), uint64(f.Until))
	dst = binary.AppendUvarint(dst, uint64(len(f.Activities)))
	for _, p := range f.Activities {
		dst = appendPosted(dst, p)
	}
	return dst
}

// DecodeFanOut reads what AppendFanOut wrote, or returns fault.Corrupt.
func DecodeFanOut(b []byte) (FanOut, error) {
	bad := fault.New(fault.Corrupt, "body of a fan-out: damaged or of another version")
	if len(b) < 3 || b[0] != feedVersion || b[1] > byte(Friends) || b[2] > 1 {
		return FanOut{}, bad
	}
	f := FanOut{Audience: Audience(b[1]), ByMembers: b[2] == 1}
	b = b[3:]
	var ok bool
	for _, e := range []*End{&f.User, &f.Group} {
		if *e, b, ok = readEnd(b); !ok {
			return FanOut{}, bad
		}
	}
	var numbers [3]uint64
	for i := range numbers {
		if numbers[i], b, ok = uvarint(b); !ok {
			return FanOut{}, bad
		}
	}
	f.Next, f.Until = Seq(numbers[0]), Seq(numbers[1])
	if numbers[2] > MaxPosted {
		return FanOut{}, bad
	}
	for range numbers[2] {
		var p Posted
		if p, b, ok = readPosted(b); !ok {
			return FanOut{}, bad
		}
		f.Activities = append(f.Activities, p)
	}
	if len(b) != 0 {
		return FanOut{}, bad
	}
	return f, nil
}

// AppendOutbox appends the stored form: version 1 · follower, followed: collection and
// seq uvarints each · seq uvarint · published varint · until uvarint.
func AppendOutbox(dst []byte, o *Outbox) []byte {
	dst = appendEnd(appendEnd(append(dst, feedVersion), o.Follower), o.Followed)
	return binary.AppendUvarint(appendPosted(dst, o.After), uint64(o.Until))
}

// DecodeOutbox reads what AppendOutbox wrote, or returns fault.Corrupt.
func DecodeOutbox(b []byte) (Outbox, error) {
	bad := fault.New(fault.Corrupt, "body of the task of a new follower: damaged or of another version")
	if len(b) == 0 || b[0] != feedVersion {
		return Outbox{}, bad
	}
	var o Outbox
	var ok bool
	b = b[1:]
	for _, e := range []*End{&o.Follower, &o.Followed} {
		if *e, b, ok = readEnd(b); !ok {
			return Outbox{}, bad
		}
	}
	if o.After, b, ok = readPosted(b); !ok {
		return Outbox{}, bad
	}
	until, b, ok := uvarint(b)
	if !ok || len(b) != 0 {
		return Outbox{}, bad
	}
	o.Until = Seq(until)
	return o, nil
}
