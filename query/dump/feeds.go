package dump

import (
	"bytes"
	"errors"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/portable"
)

// feedLine is how many activities one line has, at most.
const feedLine = 500

// feeds writes the lists of users and groups, each in its order, and reports whether it
// has come to the end of them. What is on its way out is left out.
func (d *dumper) feeds() (whole bool, err error) {
	var activities entity.CollectionID
	for id, c := range d.names {
		if c.name == "activities" {
			activities = id
		}
	}
	f := &feedWriter{d: d, activities: activities, ends: &endCache{d: d, known: make(map[entity.End]entity.ID)}}
	// Owners in the order of their keys would be in that of their collections' numbers, which
	// another application gives otherwise.
	for _, owners := range []string{"groups", "users"} {
		for id, c := range d.names {
			if c.name != owners || c.name < d.at.Owners {
				continue
			}
			if c.name > d.at.Owners {
				d.at.Owners, d.at.Key = c.name, nil
			}
			if whole, err := f.of(id); err != nil || !whole {
				return false, err
			}
		}
	}
	return true, d.w.Err()
}

// feedWriter gathers what goes into a line.
type feedWriter struct {
	d          *dumper
	activities entity.CollectionID
	ends       *endCache
	owner      entity.End
	list       byte
	line       portable.Feed
	last       []byte // key of the last activity that was looked at
}

// of writes the lists of the owners of a collection.
func (f *feedWriter) of(c entity.CollectionID) (whole bool, err error) {
	d := f.d
	it, err := d.view.Scan(keys.ListsOfRange(d.view.Partition(), d.App, c))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	ok := it.First()
	if len(d.at.Key) > 0 {
		ok = it.SeekGE(append(bytes.Clone(d.at.Key), 0))
	}
	for ; ok; ok = it.Next() {
		if err := d.goOn(); err != nil {
			return false, err
		}
		owner, list, _, activity, valid := keys.DecodeListed(it.Key())
		if !valid {
			return false, fault.New(fault.Corrupt, "partition %d: activity at key %x", d.view.Partition(), it.Key())
		}
		if owner != f.owner || list != f.list || len(f.line.Activities) >= feedLine {
			if err := f.flush(); err != nil || d.full() {
				return false, err
			}
			f.owner, f.list = owner, list
		}
		id, there, err := f.ends.id(entity.End{Collection: f.activities, Seq: activity})
		if err != nil {
			return false, err
		}
		if there {
			f.line.Activities = append(f.line.Activities, id)
		}
		f.last = append(f.last[:0], it.Key()...)
	}
	return true, errors.Join(it.Err(), f.flush())
}

// flush writes what was gathered, unless its owner is on its way out.
func (f *feedWriter) flush() error {
	d := f.d
	if len(f.last) > 0 {
		d.at.Key = bytes.Clone(f.last)
	}
	gathered := f.line.Activities
	f.line.Activities = gathered[:0]
	if len(gathered) == 0 {
		return nil
	}
	e, found, err := storage.ReadEntity(d.view, d.App, f.owner.Collection, f.owner.Seq)
	if err != nil || !found {
		return err
	}
	f.line.ID, f.line.List = e.ID, portable.ListFeed
	if f.list == keys.Outbox {
		f.line.List = portable.ListOutbox
	}
	line := f.line
	line.Activities = gathered
	d.w.Feed(d.names[f.owner.Collection].quoted, &line)
	return d.w.Err()
}
