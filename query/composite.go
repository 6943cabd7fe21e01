package query

import (
	"slices"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// compositeName names a composite index as it is declared.
func compositeName(x *entity.Composite) string {
	parts := make([]string, len(x.Keys))
	for i, key := range x.Keys {
		parts[i] = key.Property
		if key.Desc {
			parts[i] += " desc"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (p *planner) compositePrefix(x *entity.Composite) []byte {
	return keys.AppendComposite(nil, p.s.view.Partition(), p.s.req.App, p.c.c, x.Number)
}

func appendForm(dst []byte, v *entity.Value, descending bool) []byte {
	if descending {
		return keys.AppendDescending(dst, v)
	}
	return keys.AppendValue(dst, v)
}

// compositeWalk returns the walk over a composite index whose first properties the
// condition fixes and whose next are those of the order, all in the declared direction or
// all in the other one; nil if it is no such index.
//
// Of the entries of an entity with several values, those count that say what it sorts by.
// For properties behind those of the order one entry an entity will do, but it tells
// nothing of the order of what is equal.
func (p *planner) compositeWalk(x *entity.Composite) *ordered {
	s := p.s
	w := &ordered{index: compositeName(x), rest: slices.Clone(p.factors)}
	prefix := p.compositePrefix(x)
	at := 0
	for ; at < len(x.Keys); at++ {
		f := equalOn(w.rest, x.Keys[at].Property)
		if f == nil {
			break
		}
		prefix = appendForm(prefix, f.leaf.equal, x.Keys[at].Desc)
		w.rest = slices.DeleteFunc(w.rest, func(o *term) bool { return o == f })
		w.used++
	}
	v := &valueWalk{s: s, index: w.index, prefix: prefix}
	for _, key := range s.order.keys {
		i := at + w.values
		if i == len(x.Keys) || key.kind == byDistance || key.kind == byType || key.property != x.Keys[i].Property {
			break
		}
		back := key.desc != x.Keys[i].Desc
		if w.values > 0 && back != v.back {
			break
		}
		v.back = back
		v.desc = append(v.desc, x.Keys[i].Desc)
		v.mask |= flagOf(&s.order.keys[w.values]) << (2 * i)
		w.values++
	}
	if w.values == 0 {
		return nil
	}
	behind := at + w.values
	for i := behind; i < len(x.Keys); i++ {
		v.mask |= keys.FlagSmallest << (2 * i)
	}
	w.inGroup = compositeGroups(s.order, w.values, behind < len(x.Keys))
	v.bounds = p.bound(w, p.c.property(x.Keys[at].Property), prefix, v.desc[0])
	w.walk = v
	w.start = func() { v.start(p.resumeAt(w)) }
	return w
}

// compositeGroups says how entities are to be sorted that are equal in so many sort keys.
func compositeGroups(o *order, values int, more bool) inGroup {
	last := &o.keys[values-1]
	switch {
	case last.kind == byModified:
		return byPlace
	case last.kind == byCreated && !last.desc:
		return oldestFirst
	case values < len(o.keys):
		return byPlace
	case more:
		return newestFirst
	}
	return asWanted
}
