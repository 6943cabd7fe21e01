package dump

import (
	"cmp"
	"container/heap"
	"errors"
	"slices"
	"strings"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/portable"
)

// edge is one that is to be written.
type edge struct {
	eseq           entity.Seq
	source, target entity.End
	verb           entity.VerbID
}

// oldest keeps the edges with the smallest numbers: the largest of them is on top.
type oldest []edge

func (o oldest) Len() int           { return len(o) }
func (o oldest) Less(i, j int) bool { return o[i].eseq > o[j].eseq }
func (o oldest) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }

// Push implements heap.Interface.
func (o *oldest) Push(x any) { *o = append(*o, x.(edge)) }

// Pop implements heap.Interface.
func (o *oldest) Pop() any {
	last := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return last
}

// edges writes all edges in the order of their numbers. They lie in another order, so each
// walk over them takes the oldest that were not written yet, as many as there is room for.
//
// It reports whether it has come to the end of them.
func (d *dumper) edges() (whole bool, err error) {
	texts, err := storage.VerbNames(d.view, d.App)
	if err != nil {
		return false, err
	}
	ends := &endCache{d: d, known: make(map[entity.End]entity.ID)}
	for {
		batch, more, err := d.oldestEdges(d.at.Edge)
		if err != nil {
			return false, err
		}
		for i := range batch {
			if d.full() {
				return false, nil
			}
			if err := d.edge(ends, texts, &batch[i]); err != nil {
				return false, err
			}
			d.at.Edge = batch[i].eseq
		}
		if !more {
			return true, d.w.Err()
		}
	}
}

// oldestEdges returns the edges that come next after a number, in their order, and
// whether there are others behind them.
func (d *dumper) oldestEdges(after entity.Seq) (list []edge, more bool, err error) {
	it, err := d.view.Scan(keys.ConnectedRange(d.view.Partition(), d.App))
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var kept oldest
	for ok := it.First(); ok; ok = it.Next() {
		if err := d.goOn(); err != nil {
			return nil, false, err
		}
		var e edge
		var known bool
		e.source, e.verb, e.target, known = keys.DecodeConnected(it.Key())
		eseq, valid := keys.DecodeSeq(it.Value())
		if !known || !valid {
			return nil, false, fault.New(fault.Corrupt, "partition %d: edge at key %x", d.view.Partition(), it.Key())
		}
		if e.eseq = eseq; eseq <= after {
			continue
		}
		if len(kept) < d.EdgesAtOnce {
			heap.Push(&kept, e)
			continue
		}
		more = true
		if eseq < kept[0].eseq {
			kept[0] = e
			heap.Fix(&kept, 0)
		}
	}
	slices.SortFunc(kept, func(a, b edge) int { return cmp.Compare(a.eseq, b.eseq) })
	return kept, more, it.Err()
}

// edge writes an edge, unless one of its ends was deleted and it is on its way out, or
// it is one of the system's own.
func (d *dumper) edge(ends *endCache, texts map[entity.VerbID]string, e *edge) error {
	if err := d.goOn(); err != nil {
		return err
	}
	text, ok := texts[e.verb]
	if !ok {
		return fault.New(fault.Corrupt, "partition %d: verb %d of application %d has no name", d.view.Partition(), e.verb, d.App)
	}
	member := entity.ReservedVerb(text)
	if member {
		text = strings.TrimPrefix(text, "\x00")
		if _, _, _, exported := entity.Membership(text); !exported {
			return nil
		}
	}
	from, ok, err := ends.id(e.source)
	if err != nil || !ok {
		return err
	}
	to, ok, err := ends.id(e.target)
	if err != nil || !ok {
		return err
	}
	d.w.Edge(member, d.names[e.source.Collection].quoted, from, portable.Quoted(text), d.names[e.target.Collection].quoted, to)
	return d.w.Err()
}

// endCache remembers the ids of some ends: neighbours often share one.
type endCache struct {
	d     *dumper
	known map[entity.End]entity.ID
}

// maxEnds is how many ends are remembered.
const maxEnds = 20_000

func (c *endCache) id(end entity.End) (entity.ID, bool, error) {
	if id, ok := c.known[end]; ok {
		return id, true, nil
	}
	if c.d.names[end.Collection] == nil {
		return entity.ID{}, false, nil
	}
	e, ok, err := storage.ReadEntity(c.d.view, c.d.App, end.Collection, end.Seq)
	if err != nil || !ok {
		return entity.ID{}, false, err
	}
	if len(c.known) >= maxEnds {
		clear(c.known)
	}
	c.known[end] = e.ID
	return e.ID, true, nil
}
