// Package dump writes what an application holds in the format of storage/portable, out
// of one view: everything in it is of one moment.
//
// Collections come in order of their names, entities in that of their addition, and
// edges in that in which they were made: who reads them in this order and makes them
// again has the same default orders. Memory is bounded whatever the application holds:
// edges are sorted some at a time, with one more walk over all of them for each time.
//
// Not in it: tokens, PINs and client secrets, which nobody else's keys open; counters;
// the data of assets; jobs and tasks.
package dump

import (
	"context"
	"errors"

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
	// EdgesAtOnce is how many edges are sorted in memory; 0: 100,000, some 5 MB.
	EdgesAtOnce int
}

// Write writes a whole file to w, and stops at the first error of reading or writing.
func Write(ctx context.Context, v *storage.View, o Options, w *portable.Writer) error {
	d := &dumper{ctx: ctx, view: v, Options: o, w: w}
	if d.EdgesAtOnce == 0 {
		d.EdgesAtOnce = 100_000
	}
	o.Header.Only, o.Header.Credentials = o.Only, o.Credentials
	w.Header(o.Header)
	collections, err := storage.Collections(v, o.App)
	if err != nil {
		return err
	}
	d.names = make(map[entity.CollectionID]*named, len(collections))
	for i := range collections {
		c := &collections[i]
		d.names[c.ID] = &named{name: c.Name, quoted: portable.Quoted(c.Name)}
		if !d.wants(c) {
			continue
		}
		if err := d.collection(c); err != nil {
			return err
		}
	}
	for i := range collections {
		if d.wants(&collections[i]) {
			if err := d.entities(&collections[i]); err != nil {
				return err
			}
		}
	}
	if o.Only == "" {
		if err := d.edges(); err != nil {
			return err
		}
	}
	w.End()
	return w.Err()
}

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
	looked int
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

// entities writes the entities of a collection, the oldest first: keys have their
// numbers inverted.
func (d *dumper) entities(c *storage.Collection) (err error) {
	it, err := d.view.Scan(keys.EntityRange(d.view.Partition(), d.App, c.ID))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var grants *storage.Iterator
	if c.Name == "users" || c.Name == "groups" || c.Name == "roles" {
		if grants, err = d.view.Scan(nil, nil); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, grants.Close()) }()
	}
	quoted := d.names[c.ID].quoted
	for ok := it.Last(); ok; ok = it.Prev() {
		if err := d.goOn(); err != nil {
			return err
		}
		e, err := entity.DecodeRecord(it.Value())
		if err != nil {
			return fault.New(fault.Corrupt, "partition %d: entity at key %x", d.view.Partition(), it.Key())
		}
		var held []string
		if grants != nil {
			if held, err = d.held(grants, e.ID); err != nil {
				return err
			}
		}
		var secrets []portable.Credential
		if d.Credentials && c.Name == "users" {
			if secrets, err = d.secrets(e.ID); err != nil {
				return err
			}
		}
		d.w.Entity(quoted, &e, held, secrets)
	}
	return errors.Join(it.Err(), d.w.Err())
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
