package query

import (
	"bytes"
	"encoding/binary"

	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/query/cursor"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

const (
	// maxSortKeys is how many properties a query may be ordered by: as many as leave
	// each a useful part of a cursor.
	maxSortKeys = 32
	// maxNear is how many distances are an order without "order by"; further ones of the
	// same query do not matter.
	maxNear = 8
)

// order is the total order of a result (spec query-language section 7): its sort keys,
// then the number by which the entity, or the edge to it, was added.
//
// The place of an entity in it is a text of bytes: the form of what it sorts by for
// each key, then the number. Places compare as their bytes do, so a place serves as the
// position of a cursor as well.
type order struct {
	keys     []sortKey
	explicit bool       // "order by" was given
	oldest   bool       // what is equal is oldest first, else newest first
	cut      int        // bytes of a string that count
	near     *ql.Within // what rows tell their distance from, or nil
	listed   bool       // of a list of activities: without keys, its place in the list is that of one
}

// sortKind is what a sort key looks at.
type sortKind byte

const (
	byValue sortKind = iota
	byCreated
	byModified
	byUUID
	byType
	byDistance
)

// sortKey is one key of an order.
type sortKey struct {
	kind     sortKind
	property string
	desc     bool
	lat, lng float64 // the distance from here
}

// newOrder returns the order of a query. In a result of one type, the type orders nothing,
// and nothing orders further what was created or changed one after the other.
func newOrder(q *ql.Query, oldestFirst, oneType bool) (*order, error) {
	o := &order{cut: keys.MaxValue}
	if q == nil {
		o.oldest = oldestFirst
		return o, nil
	}
	near := q.Near()
	if len(near) > 0 {
		o.near = near[0]
	}
	o.explicit = len(q.Order) > 0
	switch {
	case len(q.Order) > maxSortKeys:
		return nil, fault.New(fault.IllegalArgument, "a query can be ordered by %d properties, not by %d", maxSortKeys, len(q.Order))
	case o.explicit:
		for _, k := range q.Order {
			key := newSortKey(k, near)
			if oneType && key.kind == byType {
				continue
			}
			o.keys = append(o.keys, key)
			if oneType && (key.kind == byCreated || key.kind == byModified || key.kind == byUUID) {
				break // no two entities of a collection are equal in it
			}
		}
	case len(near) > 0:
		o.oldest = true
		for _, n := range near[:min(len(near), maxNear)] {
			o.keys = append(o.keys, sortKey{kind: byDistance, property: n.Property, lat: n.Lat, lng: n.Lng})
		}
	default:
		o.oldest = oldestFirst
	}
	if n := len(o.keys); n > 0 {
		o.cut = min(o.cut, (cursor.MaxPosition-8)/n-3)
	}
	return o, nil
}

func newSortKey(k ql.SortKey, near []*ql.Within) sortKey {
	key := sortKey{property: k.Property, desc: k.Desc}
	switch k.Property {
	case "created":
		key.kind = byCreated
	case "modified":
		key.kind = byModified
	case "uuid":
		key.kind = byUUID
	case "type":
		key.kind = byType
	default:
		for _, n := range near {
			if n.Property == k.Property {
				key.kind, key.lat, key.lng = byDistance, n.Lat, n.Lng
				break
			}
		}
	}
	return key
}

// plain reports whether the order is that of addition alone.
func (o *order) plain() bool { return len(o.keys) == 0 }

// rank returns the number of an entity or edge as it sorts: what comes first is lowest.
func (o *order) rank(seq entity.Seq) uint64 {
	if o.oldest {
		return uint64(seq)
	}
	return ^uint64(seq)
}

// seq is the inverse of rank.
func (o *order) seq(rank uint64) entity.Seq {
	if o.oldest {
		return entity.Seq(rank)
	}
	return entity.Seq(^rank)
}

// sortKeys makes the lens look out for what its order goes by.
func (l *lens) sortKeys() {
	l.forms = make([][]byte, len(l.order.keys))
	for i := range l.order.keys {
		key := &l.order.keys[i]
		if key.kind != byValue && key.kind != byDistance {
			continue
		}
		w := l.watch(key.property)
		switch {
		case w == nil:
		case key.kind == byValue:
			w.values = append(w.values, int32(i))
		default:
			w.distances = append(w.distances, int32(i))
		}
	}
}

// sortValue notes a value that a sort key looks at: of the first class an entity has, its
// smallest value counts, or its largest if descending.
func (l *lens) sortValue(key int32, v *entity.Value) {
	l.scratch = cutForm(keys.AppendValue(l.scratch[:0], v), l.order.cut)
	l.sortForm(key)
}

func (l *lens) sortDistance(key int32, lat, lng float64) {
	k := &l.order.keys[key]
	l.scratch = keys.AppendNumber(l.scratch[:0], entity.Int(index.Distance(k.lat, k.lng, lat, lng)))
	l.sortForm(key)
}

func (l *lens) sortForm(key int32) {
	old := l.forms[key]
	if len(old) > 0 {
		if old[0] < l.scratch[0] {
			return
		}
		if old[0] == l.scratch[0] && (bytes.Compare(l.scratch, old) < 0) == l.order.keys[key].desc {
			return
		}
	}
	l.forms[key] = append(old[:0], l.scratch...)
}

// place appends the place of the entity that was last looked at. Seq is that of the
// entity or of the edge to it.
func (l *lens) place(dst []byte, e *entity.Entity, seq entity.Seq) []byte {
	for i := range l.order.keys {
		key := &l.order.keys[i]
		at := len(dst)
		switch key.kind {
		case byCreated:
			dst = appendTime(dst, e.Created, e.Seq)
		case byModified:
			dst = appendTime(dst, e.Modified, e.Rev)
		case byUUID:
			dst = l.appendText(dst, lend(e.ID.AppendText(l.idText[:0])))
		case byType:
			dst = l.appendText(dst, l.typ)
		default:
			if len(l.forms[i]) == 0 {
				dst = append(dst, keys.ClassMissing)
			}
			dst = append(dst, l.forms[i]...)
		}
		if key.desc {
			invert(dst[at+1:])
		}
	}
	return binary.BigEndian.AppendUint64(dst, l.order.rank(seq))
}

func (l *lens) appendText(dst []byte, s string) []byte {
	at := len(dst)
	dst = keys.AppendValue(dst, &entity.Value{Class: entity.StringClass, String: s})
	return dst[:at+len(cutForm(dst[at:], l.order.cut))]
}

func appendTime(dst []byte, ms int64, number entity.Seq) []byte {
	return binary.BigEndian.AppendUint64(keys.AppendNumber(dst, entity.Int(ms)), uint64(number))
}

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

// The end of the form of a string that is cut, and what follows a zero in the middle of
// one, as package keys writes them.
const (
	cutEnd  = 0x02
	zeroRun = 0xff
)

// cutForm cuts the form of a string to at most limit bytes besides class and end. Other
// forms are not changed. Forms that are cut keep the order of the whole ones, but for
// what becomes equal.
func cutForm(form []byte, limit int) []byte {
	if form[0] != keys.ClassString || len(form) <= limit+3 {
		return form
	}
	end := 1
	for end < len(form)-2 {
		size := 1
		if form[end] == 0 && form[end+1] == zeroRun {
			size = 2
		}
		if end+size > limit+1 {
			break
		}
		end += size
	}
	return append(form[:end], 0, cutEnd)
}

// position is a place taken apart. The forms are those of an ascending order; they alias
// the text.
type position struct {
	text  []byte
	forms [][]byte
	rank  uint64
}

// parse takes a place apart; false if it is none of this order.
func (o *order) parse(text []byte) (position, bool) {
	p := position{text: text}
	rest := bytes.Clone(text)
	for i := range o.keys {
		key := &o.keys[i]
		end := keys.ValueEnd(rest, key.desc)
		if end > 0 && (key.kind == byCreated || key.kind == byModified) {
			end += 8
		}
		if end <= 0 || end > len(rest) {
			return p, false
		}
		if key.desc {
			invert(rest[1:end])
		}
		p.forms = append(p.forms, rest[:end:end])
		rest = rest[end:]
	}
	if o.listed && o.plain() {
		return p, len(rest) == keys.ListedPlaceSize
	}
	if len(rest) != 8 {
		return p, false
	}
	p.rank = binary.BigEndian.Uint64(rest)
	return p, true
}
