package raftfsm

import (
	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// follows reports whether an edge makes its source a follower, who has what its target
// has published.
func follows(source, target *place, verb string) bool {
	return verb == "following" && source.in.name == "users" && target.in.name == "users"
}

// followed brings into the feed of a new follower what a user has published, or leaves it
// to a task if that is much.
func (m *Machine) followed(cmd *command.Command, e *edge) error {
	var list []entity.Posted
	var bad error
	more := false
	lower, upper := keys.ListRange(m.cfg.Partition, cmd.App, e.target, keys.Outbox)
	err := m.batch.Scan(lower, upper, func(key, _ []byte) bool {
		if more = len(list) == maxSpread; more {
			return false
		}
		_, _, published, seq, ok := keys.DecodeListed(key)
		if !ok {
			bad = fault.New(fault.Corrupt, "activity in a list at key %x", key)
			return false
		}
		list = append(list, entity.Posted{Seq: seq, Published: published})
		return true
	})
	if err == nil {
		err = bad
	}
	if err != nil || len(list) == 0 {
		return err
	}
	if _, err := m.deliver(cmd, &command.Deliver{Activities: list, Feeds: []entity.End{e.source}}); err != nil || !more {
		return err
	}
	posts, err := m.open(cmd.App, activities, nil)
	if err != nil {
		return err
	}
	m.recordTask(nil, &entity.Task{
		ID: endID(entity.TaskFollow, cmd.App, e.source, e.eseq), Kind: entity.TaskFollow, App: cmd.App, Priority: entity.Normal,
		State: entity.TaskReady, Created: cmd.Time,
		Body: entity.AppendOutbox(nil, &entity.Outbox{Follower: e.source, Followed: e.target, After: list[len(list)-1], Until: posts.next}),
	})
	return nil
}

// lists reports whether entities of a collection have lists of activities, or are in such.
func (c *collection) lists() bool {
	return c.name == activities || c.name == "users" || c.name == "groups"
}

// dropListing takes an activity that is gone out of all lists, or removes the lists of a
// user or group that is. It reports whether nothing is left.
func (m *Machine) dropListing(app entity.AppID, end entity.End, room *dropRoom) (done bool, err error) {
	lower, upper, err := storage.ListingOf(m.batch, app, end)
	if err != nil || lower == nil {
		return true, err
	}
	type entry struct {
		owner entity.End
		list  byte
		entity.Posted
	}
	var found []entry
	done = true
	scanned := m.batch.Scan(lower, upper, func(key, value []byte) bool {
		if len(found) >= room.edges {
			done = false
			return false
		}
		var e entry
		var ok, valid bool
		if e.Seq, e.owner, e.list, ok = keys.DecodeListedIn(key); ok {
			e.Published, valid = keys.DecodePublished(value)
		} else {
			e.owner, e.list, e.Published, e.Seq, valid = keys.DecodeListed(key)
		}
		if !valid {
			err = fault.New(fault.Corrupt, "activity in a list at key %x", key)
			return false
		}
		found = append(found, e)
		return true
	})
	if err == nil {
		err = scanned
	}
	if err != nil {
		return false, err
	}
	for _, e := range found {
		m.unlistActivity(app, e.owner, e.list, e.Posted)
	}
	room.edges -= len(found)
	return done, nil
}
