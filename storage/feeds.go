package storage

import (
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Listed reports whether an activity is in a list of an owner (keys.Outbox, keys.Feed),
// and when it was published, in ms since the epoch.
func Listed(r Reader, app entity.AppID, activity entity.Seq, owner entity.End, list byte) (published int64, listed bool, err error) {
	var buf [40]byte
	var val [8]byte
	raw, ok, err := r.Get(val[:0], keys.AppendListedIn(buf[:0], r.Partition(), app, activity, owner, list))
	if err != nil || !ok {
		return 0, false, err
	}
	if published, ok = keys.DecodePublished(raw); !ok {
		return 0, false, fault.New(fault.Corrupt, "partition %d: activity %d in a list of entity %d of collection %d of application %d",
			r.Partition(), activity, owner.Seq, owner.Collection, app)
	}
	return published, true, nil
}

// Names of what feeds are made of.
const (
	activities = "activities"
	users      = "users"
	following  = "following"
)

// Reach is who a fan-out brings activities to: the far ends of inbound edges of Near by
// Verb, as far as Reaches says so.
type Reach struct {
	Near entity.End
	Verb entity.VerbID
	Size uint64 // how many edges these are

	app   entity.AppID
	f     *entity.FanOut
	users entity.CollectionID
	other entity.VerbID // of Friends: the verb that is asked for
}

// ReachOf returns who a fan-out reaches. Where it may walk over either of two, as long as
// the walk has not begun, it takes the shorter and notes that in f. Of nobody the size
// is 0.
func ReachOf(r Reader, app entity.AppID, f *entity.FanOut) (Reach, error) {
	reach := Reach{app: app, f: f}
	var known bool
	var err error
	if reach.users, known, err = ReadCollectionID(r, app, users); err != nil || !known {
		return reach, err
	}
	follows, followed, err := inbound(r, app, f.User, following)
	if err != nil {
		return reach, err
	}
	belongs, members, err := inbound(r, app, f.Group, entity.VerbGroups)
	if err != nil {
		return reach, err
	}
	switch f.Audience {
	case entity.Followers:
		reach.Near, reach.Verb, reach.Size = f.User, follows, followed
	case entity.Members:
		reach.Near, reach.Verb, reach.Size = f.Group, belongs, members
	case entity.Friends:
		if f.Next == 0 {
			f.ByMembers = members < followed
		}
		reach.Near, reach.Verb, reach.other, reach.Size = f.User, follows, belongs, followed
		if f.ByMembers {
			reach.Near, reach.Verb, reach.other, reach.Size = f.Group, belongs, follows, members
		}
		if follows == 0 || belongs == 0 {
			reach.Size = 0
		}
	}
	return reach, nil
}

// inbound returns the number of a verb, and how many edges by it lead to an end; 0 of both
// if there are none.
func inbound(r Reader, app entity.AppID, end entity.End, verb string) (entity.VerbID, uint64, error) {
	if end == (entity.End{}) {
		return 0, 0, nil
	}
	id, known, err := VerbID(r, app, verb)
	if err != nil || !known {
		return 0, 0, err
	}
	n, err := EdgeCount(r, app, end, keys.Inbound, id)
	return id, n, err
}

// Reaches reports whether the far end of an edge of the walk gets the activities. Whether
// it still exists is not asked.
func (r *Reach) Reaches(from Reader, eseq entity.Seq, far entity.End) (bool, error) {
	switch {
	case far.Collection != r.users:
		return false, nil
	case r.f.Audience == entity.Members:
		return eseq < r.f.Until, nil
	case r.f.Audience != entity.Friends:
		return true, nil
	case r.f.ByMembers:
		if eseq >= r.f.Until {
			return false, nil
		}
		_, follows, err := Connected(from, r.app, far, r.other, r.f.User)
		return follows, err
	}
	joined, member, err := Connected(from, r.app, far, r.other, r.f.Group)
	return member && joined < r.f.Until, err
}

// ListingOf returns the bounds of the keys by which an entity has to do with lists of
// activities: its own, if it is a user or group, or those that it is in, if it is an
// activity. Both are nil of any other.
func ListingOf(r Reader, app entity.AppID, end entity.End) (lower, upper []byte, err error) {
	for _, name := range [...]string{activities, users, "groups"} {
		c, known, err := ReadCollectionID(r, app, name)
		switch {
		case err != nil:
			return nil, nil, err
		case !known || c != end.Collection:
		case name == activities:
			lower, upper = keys.ListedInRange(r.Partition(), app, end.Seq)
		default:
			lower, upper = keys.ListsRange(r.Partition(), app, end)
		}
	}
	return lower, upper, nil
}
