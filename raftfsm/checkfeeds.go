package raftfsm

import (
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// lists is what is known of the lists of activities of the application being checked.
type lists struct {
	activities entity.CollectionID
	owners     [2]entity.CollectionID // users and groups; 0: there are none
	last       entity.End             // the owner that was looked at last
}

// listsOf begins with the lists of an application.
func (c *checker) listsOf(app entity.AppID) (err error) {
	c.lists = lists{}
	for name, id := range map[string]*entity.CollectionID{
		activities: &c.lists.activities, "users": &c.lists.owners[0], "groups": &c.lists.owners[1],
	} {
		if *id, _, err = storage.ReadCollectionID(c.view, app, name); err != nil {
			return err
		}
	}
	return nil
}

// listed checks a key by which an activity stands in a list. Tasks come before all
// applications, so it is known which entities may be gone.
func (c *checker) listed(k, v []byte) error {
	owner, list, published, seq, ok := keys.DecodeListed(k)
	if !ok || len(v) != 0 || list != keys.Outbox && list != keys.Feed {
		c.problem(k, "damaged activity in a list")
		return nil
	}
	c.report.Listed++
	said, also, err := storage.Listed(c.view, c.app, seq, owner, list)
	if err != nil {
		return err
	}
	if !also || said != published {
		c.problem(k, "activity %d is in a list as published at %d, and says it is not", seq, published)
	}
	if owner != c.lists.last {
		if c.lists.last = owner; owner.Collection == 0 || owner.Collection != c.lists.owners[0] && owner.Collection != c.lists.owners[1] {
			c.problem(k, "a list of entity %d of collection %d, which is no user or group", owner.Seq, owner.Collection)
		}
		if err := c.livesOrGoes(k, owner); err != nil {
			return err
		}
	}
	return c.livesOrGoes(k, entity.End{Collection: c.lists.activities, Seq: seq})
}

// livesOrGoes checks that an entity that a list has to do with exists, or that a task
// removes what is left of it.
func (c *checker) livesOrGoes(k []byte, end entity.End) error {
	if _, goes := c.gone[appEnd{c.app, end}]; goes {
		return nil
	}
	c.key = keys.AppendEntity(c.key[:0], c.view.Partition(), c.app, end.Collection, end.Seq)
	_, ok, err := c.get(c.key)
	if err == nil && !ok {
		c.problem(k, "a list has to do with entity %d of collection %d, which does not exist", end.Seq, end.Collection)
	}
	return err
}

// listedIn checks a key that says in which list an activity is.
func (c *checker) listedIn(k, v []byte) error {
	seq, owner, list, ok := keys.DecodeListedIn(k)
	published, valid := keys.DecodePublished(v)
	if !ok || !valid {
		c.problem(k, "damaged list of an activity")
		return nil
	}
	c.key = keys.AppendListed(c.key[:0], c.view.Partition(), c.app, owner, list, published, seq)
	_, ok, err := c.get(c.key)
	if err == nil && !ok {
		c.problem(c.key, "missing: activity %d at %x is in this list", seq, k)
	}
	return err
}
