package management

import (
	"errors"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/api/inflect"
	"github.com/trellisdb/trellis/api/schema"
	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// The size of a collection is that of its entities as they are shown, without metadata,
// in bytes. It is measured when it is asked for, within the time of a request and up to a
// number of entities (Config.MaxMeasured): of more it is not told.

func sized(action string, sizes map[string]int64) *wire.Reply {
	return wire.Management(action).Field("metadata", map[string]any{"aggregation": map[string]any{"size": sizes}})
}

func (c *call) applicationSize() (*wire.Reply, error) {
	sizes, err := c.sizes(func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	var sum int64
	for _, n := range sizes {
		sum += n
	}
	return sized("get application size for all entities", map[string]int64{"application": sum}), nil
}

func (c *call) collectionsSize() (*wire.Reply, error) {
	sizes, err := c.sizes(func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	return sized("get collection size for all entities", sizes), nil
}

func (c *call) collectionSize() (*wire.Reply, error) {
	t, err := schema.Of(c.segment("collection"))
	if err != nil {
		return nil, err
	}
	sizes, err := c.sizes(func(name string) bool { return name == t.Collection })
	if err != nil {
		return nil, err
	}
	if sizes[t.Collection] == 0 {
		sizes[t.Collection] = 0 // it is shown, too, where there is nothing
	}
	return sized("get collection size for all entities", sizes), nil
}

// sizes measures collections of the application, by name.
func (c *call) sizes(wanted func(string) bool) (map[string]int64, error) {
	sizes := map[string]int64{}
	err := c.reading(c.app.Number, func(v *storage.View) error {
		all, err := storage.Collections(v, c.app.Number)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(c storage.Collection) bool { return !wanted(c.Name) })
		var count uint64
		for i := range all {
			count += all[i].Count
		}
		if count > c.cfg.MaxMeasured {
			return fault.New(fault.QueryTooCostly, "there are %d entities, and up to %d are measured in a request", count, c.cfg.MaxMeasured)
		}
		for i := range all {
			if sizes[all[i].Name], err = c.measure(v, &all[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return sizes, err
}

func (c *call) measure(v *storage.View, col *storage.Collection) (size int64, err error) {
	it, err := v.Scan(keys.EntityRange(v.Partition(), c.app.Number, col.ID))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	typ := inflect.Type(col.Name)
	if t, err := schema.Of(col.Name); err == nil {
		typ = t.Name
	}
	var text []byte
	for n, ok := 0, it.First(); ok; n, ok = n+1, it.Next() {
		if n%1024 == 0 && c.req.Context().Err() != nil {
			return 0, fault.Wrap(c.req.Context().Err(), fault.Timeout, "there are too many entities to measure in the time of a request")
		}
		e, err := entity.DecodeRecord(it.Value())
		if err != nil {
			return 0, err
		}
		text = wire.AppendSystem(text[:0], &e, typ)
		size += int64(len(text))
	}
	return size, it.Err()
}

// jobSeparator stands between the parts of the id of a job.
const jobSeparator = "_"

func cutJob(id string) (app, task entity.ID, ok bool) {
	a, t, found := strings.Cut(id, jobSeparator)
	app, okApp := entity.ParseID(a)
	task, okTask := entity.ParseID(t)
	return app, task, found && okApp && okTask
}
