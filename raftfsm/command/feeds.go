package command

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// MaxDelivered is how many entries one command adds to feeds: activities times feeds.
const MaxDelivered = 1000

// Publisher is who posts activities, and to whom. Of entity.NoAudience, one of User and
// Group is the owner of the feed.
type Publisher struct {
	Audience    entity.Audience
	User, Group entity.ID // zero: none
}

// Post creates activities, or takes the one that Link names if nothing is to be created,
// and puts them into the lists of their publisher, and into the feeds of his audience.
// If these are many, that is left to the task with the id Task, of kind
// entity.TaskFanOut: an activity is in the publisher's own lists at once. One that is in
// a list stays where it is.
//
// Create.Rules.Collection must be "activities", and at most entity.MaxPosted may be
// created. Outcome.Entities holds the activities, Outcome.Errors items that were skipped
// if Create.Partial. Faults: ServiceResourceNotFound (no such user, group or activity, or
// the user is not in the group), IllegalArgument, Conflict (a task has the id), and
// those of CreateEntities.
type Post struct {
	By     Publisher
	Create CreateEntities
	Link   entity.ID
	Task   entity.ID
}

// Deliver puts activities into feeds. Those that are gone, and feeds of users or groups
// that are, are left out. It is what the steps of tasks of the kinds entity.TaskFanOut
// and entity.TaskFollow do. Fault: IllegalArgument (more than MaxDelivered).
type Deliver struct {
	Activities []entity.Posted
	Feeds      []entity.End // their owners
}

// Unlist takes activities out of a list of a user or group (keys.Outbox, keys.Feed);
// they stay in all others.
//
// Outcome.Entities holds those that were in the list, Outcome.Handled how many of IDs
// were dealt with: at most MaxMany may be named, and MaxManyBytes counts. Faults:
// ServiceResourceNotFound (no such owner, or none was in the list), IllegalArgument.
type Unlist struct {
	Owner Ref
	List  byte
	IDs   []entity.ID
}

func (Post) kind() Kind    { return KindPost }
func (Deliver) kind() Kind { return KindDeliver }
func (Unlist) kind() Kind  { return KindUnlist }

// minPosted is the size of the smallest reference to an activity.
const minPosted = 1 + 1

func (o Post) appendBody(dst []byte) []byte {
	dst = append(dst, byte(o.By.Audience))
	dst = append(append(dst, o.By.User[:]...), o.By.Group[:]...)
	dst = append(append(dst, o.Link[:]...), o.Task[:]...)
	return o.Create.appendBody(dst)
}

func (d *Decoder) post(r *reader) Op {
	return Post{
		By:   Publisher{Audience: entity.Audience(r.byte()), User: r.id(), Group: r.id()},
		Link: r.id(), Task: r.id(), Create: d.createEntities(r),
	}
}

func (o Deliver) appendBody(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(o.Activities)))
	for _, p := range o.Activities {
		dst = binary.AppendVarint(binary.AppendUvarint(dst, uint64(p.Seq)), p.Published)
	}
	return AppendEnds(dst, o.Feeds)
}

func (r *reader) deliver() Op {
	var o Deliver
	if n := r.count(minPosted); n > 0 {
		o.Activities = make([]entity.Posted, n)
		for i := range o.Activities {
			o.Activities[i] = entity.Posted{Seq: entity.Seq(r.uvarint()), Published: r.varint()}
		}
	}
	o.Feeds = r.ends()
	return o
}

func (o Unlist) appendBody(dst []byte) []byte {
	return appendIDs(append(appendRef(dst, &o.Owner), o.List), o.IDs)
}

func (r *reader) unlist() Op { return Unlist{Owner: r.ref(), List: r.byte(), IDs: r.ids()} }
