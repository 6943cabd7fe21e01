package collections

import (
	"strings"

	"github.com/trellisdb/trellis/api/wire"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// projection shows entities reduced to some properties (spec query-language
// section 8).
type projection struct {
	columns []ql.Column
	paths   []string // of the columns, folded
	labeled bool
	list    []byte // elements of the array "list"
	n       int
}

func newProjection(q *ql.Query) *projection {
	if len(q.Columns) == 0 {
		return nil
	}
	p := &projection{columns: q.Columns, labeled: q.Labeled}
	for _, c := range q.Columns {
		p.paths = append(p.paths, keys.Fold(c.Property))
	}
	return p
}

// reduce notes the entity in the list, and returns the properties that are asked for
// as an object without uuid and type, which are shown anyway.
func (p *projection) reduce(e *entity.Entity, typ string) []byte {
	whole := wire.AppendSystem(nil, e, typ)
	p.note(whole)
	if p.labeled {
		return p.relabel(whole)
	}
	reduced := reduceValue(whole, p.paths)
	if reduced == nil {
		return []byte("{}")
	}
	return without(reduced, "uuid", "type")
}

// note adds an entity to the list, unless it has none of the values.
func (p *projection) note(whole []byte) {
	start, found := len(p.list), false
	if p.n > 0 {
		p.list = append(p.list, ',')
	}
	open, end := byte('['), byte(']')
	if p.labeled {
		open, end = '{', '}'
	}
	p.list = append(p.list, open)
	for i, path := range p.paths {
		if i > 0 {
			p.list = append(p.list, ',')
		}
		if p.labeled {
			p.list = append(wire.AppendString(p.list, p.columns[i].Label), ':')
		}
		value := pick(whole, path)
		if value == nil {
			value = []byte("null")
		} else {
			found = true
		}
		p.list = append(p.list, value...)
	}
	p.list = append(p.list, end)
	if !found {
		p.list = p.list[:start]
		return
	}
	p.n++
}

// relabel is the object of the values under their labels.
func (p *projection) relabel(whole []byte) []byte {
	b := []byte{'{'}
	for i, path := range p.paths {
		value := pick(whole, path)
		if value == nil {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(wire.AppendString(b, p.columns[i].Label), ':')
		b = append(b, value...)
	}
	return append(b, '}')
}

// finish puts the list into the reply.
func (p *projection) finish(reply *wire.Reply) {
	list := append([]byte{'['}, p.list...)
	reply.RawField("list", append(list, ']'))
	reply.Count(p.n)
}

// below returns what is left of a path below a member: "" if the member is what the
// path names, and false if it leads elsewhere.
func below(path, member string) (string, bool) {
	rest, ok := strings.CutPrefix(path, member)
	switch {
	case !ok:
		return "", false
	case rest == "":
		return "", true
	case rest[0] == '.' && len(rest) > 1:
		return rest[1:], true
	}
	return "", false
}

// reduceValue keeps of a JSON value what folded paths lead to; nil if nothing is there.
func reduceValue(value []byte, paths []string) []byte {
	switch value[0] {
	case '{':
		return reduceObject(value, paths)
	case '[':
		var b []byte
		for _, element := range elements(value) {
			if r := reduceValue(element, paths); r != nil {
				b = append(append(b, ','), r...)
			}
		}
		if b == nil {
			return nil
		}
		b[0] = '['
		return append(b, ']')
	}
	return nil
}

func reduceObject(value []byte, paths []string) []byte {
	var b []byte
	// The callbacks of this file never fail, so neither do the walks.
	_ = eachMember(value, func(m member) error {
		name, kept := keys.Fold(m.key), []byte(nil)
		var deeper []string
		for _, path := range paths {
			if rest, ok := below(path, name); ok && rest == "" {
				kept = m.value
			} else if ok {
				deeper = append(deeper, rest)
			}
		}
		if kept == nil && deeper != nil {
			kept = reduceValue(m.value, deeper)
		}
		if kept != nil {
			b = append(append(append(append(b, ','), m.quote...), ':'), kept...)
		}
		return nil
	})
	if b == nil {
		return nil
	}
	b[0] = '{'
	return append(b, '}')
}

// pick returns the value a folded path leads to: an array of several below an array.
func pick(value []byte, path string) (found []byte) {
	switch value[0] {
	case '{':
		_ = eachMember(value, func(m member) error {
			rest, ok := below(path, keys.Fold(m.key))
			if found != nil || !ok {
				return nil
			}
			if found = m.value; rest != "" {
				found = pick(m.value, rest)
			}
			return nil
		})
	case '[':
		for _, element := range elements(value) {
			if v := pick(element, path); v != nil {
				found = append(append(found, ','), v...)
			}
		}
		if found != nil {
			found[0] = '['
			found = append(found, ']')
		}
	}
	return found
}

// elements returns the elements of a compact JSON array.
func elements(array []byte) (list [][]byte) {
	_ = eachElement(array, func(value []byte) error {
		list = append(list, value)
		return nil
	})
	return list
}

// without returns an object without some of its members.
func without(object []byte, names ...string) []byte {
	b := []byte{'{'}
	_ = eachMember(object, func(m member) error {
		if contains(names, m.key) {
			return nil
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, m.quote...), ':'), m.value...)
		return nil
	})
	return append(b, '}')
}
