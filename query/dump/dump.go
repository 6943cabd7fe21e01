// Package dump writes what an application holds in the format of storage/portable, out
// of one view: everything in it is of one moment.
//
// Collections come in order of their names, entities in that of their addition, and
// edges in that in which they were made: who reads them in this order and makes them
// again has the same default orders. Memory is bounded whatever the application holds:
// edges are sorted some at a time, with one more walk over all of them for each time.
//
// The data of an entity stands behind it, a piece a line. Lists of activities and counters
// come after the edges.
//
// Not in it: tokens, PINs and client secrets, which nobody else's keys open; what the
// system counts by itself; jobs and tasks.
package dump

import (
	"context"
	"errors"
	"math"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/portable"
)

// Options say what is written.
type Options struct {
	App         entity.AppID
	Header      portable.Header
	Only        string // folded name of the one collection wanted, without edges; empty: all
	Credentials bool   // hashes of passwords, too
	NoData      bool   // without the data of entities
	// Objects opens data that lies in an object store; nil: there is no store, and an
	// export fails that meets such data.
	Objects Objects
	// EdgesAtOnce is how many edges are sorted in memory; 0: 100,000, some 5 MB.
	EdgesAtOnce int
}

// Position is where an export in several files stands: what was written last.
type Position struct {
	Begun      bool       `json:"begun,omitempty"`
	Collection string     `json:"collection,omitempty"` // of the last entity
	Seq        entity.Seq `json:"seq,omitempty"`        // of the last entity; 0: the collection is done
	Edges      bool       `json:"edges,omitempty"`      // all entities are written
	Edge       entity.Seq `json:"edge,omitempty"`       // number of the last edge
	Parts      int        `json:"parts,omitempty"`      // of edges, feeds and counters: how many are written whole
	// Of the data of the last entity, which is not written whole: which data it is, and
	// how many pieces of it are written.
	Blob  entity.ID `json:"blob,omitzero"`
	Piece uint64    `json:"piece,omitempty"`
	// Of feeds and counters: the key of what was written last, in the lists of the owners
	// of a collection, or among the sums or the resets of a counter.
	Key     []byte `json:"key,omitempty"`
	Owners  string `json:"owners,omitempty"`
	Counter string `json:"counter,omitempty"`
	Cleared bool   `json:"cleared,omitempty"`
}

// Write writes a whole file to w, and stops at the first error of reading or writing.
func Write(ctx context.Context, v *storage.View, o Options, w *portable.Writer) error {
	_, _, err := Slice(ctx, v, o, Position{}, w, math.MaxInt64)
	return err
}

// Slice writes one of several files: what comes after a position, until the file has so
// many bytes. It returns where the next one begins, and whether there is none.
func Slice(ctx context.Context, v *storage.View, o Options, at Position, w *portable.Writer, most int64) (Position, bool, error) {
	d := &dumper{ctx: ctx, view: v, Options: o, w: w, at: at, most: most}
	if d.EdgesAtOnce == 0 {
		d.EdgesAtOnce = 100_000
	}
	o.Header.Only, o.Header.Credentials, o.Header.NoData = o.Only, o.Credentials, o.NoData
	w.Header(o.Header)
	done, err := d.run()
	if err != nil {
		return d.at, false, err
	}
	w.End()
	return d.at, done, w.Err()
}

// run writes what lies between header and end, and reports whether that was all.
func (d *dumper) run() (done bool, err error) {
	collections, err := storage.Collections(d.view, d.App)
	if err != nil {
		return false, err
	}
	d.names = make(map[entity.CollectionID]*named, len(collections))
	for i := range collections {
		c := &collections[i]
		d.names[c.ID] = &named{name: c.Name, quoted: portable.Quoted(c.Name)}
		if d.at.Begun || !d.wants(c) {
			continue
		}
		if err := d.collection(c); err != nil {
			return false, err
		}
	}
	d.at.Begun = true
	for i := range collections {
		c := &collections[i]
		if !d.wants(c) || d.at.Edges || c.Name < d.at.Collection || c.Name == d.at.Collection && d.at.Seq == 0 {
			continue
		}
		if whole, err := d.entities(c); err != nil || !whole {
			return false, err
		}
		d.at.Collection, d.at.Seq = c.Name, 0
	}
	if d.at.Edges = true; d.Only != "" {
		return true, nil
	}
	return d.rest()
}

// rest writes what comes after the entities.
func (d *dumper) rest() (whole bool, err error) {
	for i, write := range []func() (bool, error){d.edges, d.feeds, d.counters} {
		if i < d.at.Parts {
			continue
		}
		if whole, err := write(); err != nil || !whole {
			return false, err
		}
		d.at.Parts, d.at.Key = i+1, nil
	}
	return true, nil
}

// full reports whether the file is as long as it may be.
func (d *dumper) full() bool { return d.w.Bytes() >= d.most }

type named struct {
	name   string
	quoted []byte
}

type dumper struct {
	Options
	ctx    context.Context
	view   *storage.View
	w      *portable.Writer
	names  map[entity.CollectionID]*named
	at     Position
	most   int64 // bytes of the file
	looked int
	piece  []byte // room for a piece of data
}

func (d *dumper) wants(c *storage.Collection) bool { return d.Only == "" || d.Only == c.Name }

// goOn says now and then whether to go on.
func (d *dumper) goOn() error {
	if d.looked++; d.looked%256 != 0 {
		return nil
	}
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	return d.w.Err()
}

func (d *dumper) collection(c *storage.Collection) error {
	line := portable.Collection{Name: c.Name, Entities: c.Count}
	s, err := storage.ReadSettings(d.view, d.App, c.ID)
	if err != nil {
		return err
	}
	if s.Declared {
		line.Settings = portable.SettingsOf(&s)
	}
	d.w.Collection(line)
	return d.w.Err()
}

// entities writes the entities of a collection, the oldest first, and reports whether
// it has come to its end. Keys have their numbers inverted.
func (d *dumper) entities(c *storage.Collection) (whole bool, err error) {
	it, err := d.view.Scan(keys.EntityRange(d.view.Partition(), d.App, c.ID))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var grants *storage.Iterator
	if c.Name == "users" || c.Name == "groups" || c.Name == "roles" {
		if grants, err = d.view.Scan(nil, nil); err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, grants.Close()) }()
	}
	quoted := d.names[c.ID].quoted
	if c.Name == d.at.Collection && !d.at.Blob.IsZero() {
		if whole, err := d.resume(c); err != nil || !whole {
			return false, err
		}
	}
	ok := false
	if c.Name != d.at.Collection {
		ok = it.Last()
	} else {
		ok = it.SeekLT(keys.AppendEntity(nil, d.view.Partition(), d.App, c.ID, d.at.Seq))
	}
	for ; ok; ok = it.Prev() {
		if d.full() {
			return false, nil
		}
		if err := d.goOn(); err != nil {
			return false, err
		}
		if whole, err := d.entity(c, quoted, it, grants); err != nil || !whole {
			return false, err
		}
	}
	return true, errors.Join(it.Err(), d.w.Err())
}

// entity writes an entity and its data, and reports whether it has come to the end of
// these.
func (d *dumper) entity(c *storage.Collection, quoted []byte, it, grants *storage.Iterator) (whole bool, err error) {
	e, err := entity.DecodeRecord(it.Value())
	if err != nil {
		return false, fault.New(fault.Corrupt, "partition %d: entity at key %x", d.view.Partition(), it.Key())
	}
	var held []string
	if grants != nil {
		if held, err = d.held(grants, e.ID); err != nil {
			return false, err
		}
	}
	var secrets []portable.Credential
	if d.Credentials && c.Name == "users" {
		if secrets, err = d.secrets(e.ID); err != nil {
			return false, err
		}
	}
	d.w.Entity(quoted, &e, held, secrets)
	d.at.Collection, d.at.Seq = c.Name, e.Seq
	if e.Blob.IsZero() || d.NoData {
		return true, nil
	}
	return d.data(quoted, &e)
}

// held returns the permissions of an owner.
func (d *dumper) held(it *storage.Iterator, owner entity.ID) (list []string, err error) {
	it.SetBounds(keys.GrantRange(d.view.Partition(), d.App, owner))
	for ok := it.First(); ok; ok = it.Next() {
		_, text, ok := keys.DecodeGrant(it.Key())
		if !ok {
			return nil, fault.New(fault.Corrupt, "partition %d: permission at key %x", d.view.Partition(), it.Key())
		}
		list = append(list, text)
	}
	return list, it.Err()
}

func (d *dumper) secrets(owner entity.ID) ([]portable.Credential, error) {
	c, ok, err := storage.ReadCredential(d.view, d.App, owner, entity.CredentialPassword)
	if err != nil || !ok || len(c.Value) == 0 {
		return nil, err
	}
	return []portable.Credential{{Kind: portable.Password, Value: string(c.Value)}}, nil
}
