package query

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strings"
	"unicode"

	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
)

// This file answers queries as their page in the specification says, as plainly as can
// be: with encoding/json, and by looking at everything.

// atom is a value at a path.
type atom struct {
	path string
	at   any // float64 or *big.Int as json.Number, string, bool, or place
}

type place struct{ lat, lng float64 }

// atoms returns the values of an entity that a plan indexes.
func atoms(d *doc, plan *entity.IndexPlan) []atom {
	if d.atoms == nil {
		d.atoms = allAtoms(d)
	}
	list := make([]atom, 0, len(d.atoms))
	for _, a := range d.atoms {
		if naiveCovers(plan, a.path) {
			list = append(list, a)
		}
	}
	return list
}

func allAtoms(d *doc) []atom {
	dec := json.NewDecoder(bytes.NewReader(d.JSON))
	dec.UseNumber()
	var root map[string]any
	if err := dec.Decode(&root); err != nil {
		panic(err)
	}
	var list []atom
	var walk func(path string, v any, element bool)
	walk = func(path string, v any, element bool) {
		switch v := v.(type) {
		case map[string]any:
			if len(v) == 2 && v["latitude"] != nil && v["longitude"] != nil {
				lat, _ := v["latitude"].(json.Number).Float64()
				lng, _ := v["longitude"].(json.Number).Float64()
				if math.Abs(lat) <= 90 && math.Abs(lng) <= 180 {
					list = append(list, atom{path, place{lat, lng}})
				}
				return
			}
			for name, below := range v {
				walk(strings.TrimPrefix(path+"."+strings.ToLower(name), "."), below, false)
			}
		case []any:
			if !element {
				for _, below := range v {
					walk(path, below, true)
				}
			}
		case string:
			if v != "" {
				list = append(list, atom{path, strings.ToLower(v)})
			}
		case json.Number, bool:
			list = append(list, atom{path, v})
		}
	}
	walk("", root, false)
	return append(list,
		atom{"uuid", d.ID.String()}, atom{"type", d.kind.typ},
		atom{"created", json.Number(big.NewInt(d.Created).String())}, atom{"modified", json.Number(big.NewInt(d.Modified).String())})
}

func naiveCovers(plan *entity.IndexPlan, path string) bool {
	if plan.None {
		return false
	}
	if plan.All || slices.Contains([]string{"uuid", "type", "name", "created", "modified"}, path) {
		return true
	}
	return slices.ContainsFunc(plan.Fields, func(f string) bool { return path == f || strings.HasPrefix(path, f+".") })
}

func exact(n json.Number) *big.Rat {
	i, ok := new(big.Int).SetString(n.String(), 10)
	if ok && i.IsInt64() {
		return new(big.Rat).SetInt(i)
	}
	f, _ := n.Float64()
	return new(big.Rat).SetFloat64(f)
}

func exactNumber(n entity.Number) *big.Rat {
	r := new(big.Rat).SetFloat64(n.Float)
	return r.Add(r, new(big.Rat).SetInt64(int64(n.Rest)))
}

// naiveMatch evaluates a condition.
func naiveMatch(n ql.Node, list []atom) bool {
	switch n := n.(type) {
	case nil:
		return true
	case *ql.And:
		return !slices.ContainsFunc(n.List, func(n ql.Node) bool { return !naiveMatch(n, list) })
	case *ql.Or:
		return slices.ContainsFunc(n.List, func(n ql.Node) bool { return naiveMatch(n, list) })
	case *ql.Not:
		return !naiveMatch(n.Of, list)
	case *ql.Compare:
		return slices.ContainsFunc(list, func(a atom) bool { return a.path == n.Property && naiveCompare(n, a.at) })
	case *ql.Contains:
		return slices.ContainsFunc(list, func(a atom) bool {
			text, ok := a.at.(string)
			return ok && a.path == n.Property && naiveContains(text, n.Text)
		})
	case *ql.Within:
		return slices.ContainsFunc(list, func(a atom) bool {
			p, ok := a.at.(place)
			return ok && a.path == n.Property && float64(naiveDistance(n, p)) <= n.Meters*1000
		})
	}
	panic("node")
}

func naiveCompare(n *ql.Compare, at any) bool {
	order := 0
	switch at := at.(type) {
	case json.Number:
		if n.Value.Class != entity.NumberClass {
			return false
		}
		order = exact(at).Cmp(exactNumber(n.Value.Number))
	case string:
		if n.Value.Class != entity.StringClass {
			return false
		}
		if n.Op == ql.Equal && strings.Contains(n.Value.String, "*") {
			return naiveGlob([]rune(n.Value.String), []rune(at))
		}
		order = strings.Compare(at, n.Value.String)
	case bool:
		if n.Value.Class != entity.BoolClass {
			return false
		}
		order = cmp.Compare(map[bool]int{true: 1}[at], map[bool]int{true: 1}[n.Value.Bool])
	default:
		return false
	}
	switch n.Op {
	case ql.Less:
		return order < 0
	case ql.LessEqual:
		return order <= 0
	case ql.Greater:
		return order > 0
	case ql.GreaterEqual:
		return order >= 0
	}
	return order == 0
}

func naiveGlob(pattern, s []rune) bool {
	if len(pattern) == 0 {
		return len(s) == 0
	}
	if pattern[0] == '*' {
		return naiveGlob(pattern[1:], s) || len(s) > 0 && naiveGlob(pattern, s[1:])
	}
	return len(s) > 0 && (pattern[0] == '?' || pattern[0] == s[0]) && naiveGlob(pattern[1:], s[1:])
}

// naiveWords splits what the tests write: letters, digits and _ in words.
func naiveWords(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' })
}

func naiveContains(text, literal string) bool {
	if strings.Contains(literal, "*") {
		return slices.ContainsFunc(naiveWords(text), func(w string) bool { return naiveGlob([]rune(literal), []rune(w)) })
	}
	return slices.ContainsFunc(naiveWords(literal), func(w string) bool { return slices.Contains(naiveWords(text), w) })
}

func naiveDistance(n *ql.Within, p place) int64 {
	const rad = math.Pi / 180
	a := math.Pow(math.Sin((p.lat-n.Lat)*rad/2), 2) + math.Cos(p.lat*rad)*math.Cos(n.Lat*rad)*math.Pow(math.Sin((p.lng-n.Lng)*rad/2), 2)
	return int64(math.Round(2 * math.Asin(math.Sqrt(min(a, 1))) * 6371008.8 * 1000))
}

// candidate is an entity that matches, with what it sorts by.
type candidate struct {
	doc       *doc
	eseq      entity.Seq
	published int64 // of what is in a list
	keys      []sortable
}

// sortable is what an entity sorts by for one key.
type sortable struct {
	group int // numbers, strings, booleans, missing
	num   *big.Rat
	text  string
	cut   bool
	tie   entity.Seq // of created and modified
}

func (a sortable) compare(b sortable, desc bool) int {
	if c := cmp.Compare(a.group, b.group); c != 0 || a.group == 3 {
		return c
	}
	c := 0
	switch a.group {
	case 0, 2:
		c = cmp.Or(a.num.Cmp(b.num), cmp.Compare(a.tie, b.tie))
	case 1:
		c = cmp.Or(strings.Compare(a.text, b.text), cmp.Compare(map[bool]int{true: 1}[a.cut], map[bool]int{true: 1}[b.cut]))
	}
	if desc {
		return -c
	}
	return c
}

func naiveValue(at any) (sortable, bool) {
	switch at := at.(type) {
	case json.Number:
		return sortable{num: exact(at)}, true
	case string:
		room := 128
		for i := range len(at) {
			size := 1
			if at[i] == 0 {
				size = 2
			}
			if room -= size; room < 0 {
				return sortable{group: 1, text: at[:i], cut: true}, true
			}
		}
		return sortable{group: 1, text: at}, true
	case bool:
		return sortable{group: 2, num: big.NewRat(map[bool]int64{true: 1}[at], 1)}, true
	}
	return sortable{}, false
}

// naiveKey returns what an entity sorts by for a property.
func naiveKey(list []atom, d *doc, property string, desc bool, near *ql.Within) sortable {
	best := sortable{group: 3}
	for _, a := range list {
		if a.path != property {
			continue
		}
		v, ok := naiveValue(a.at)
		if near != nil {
			var p place
			if p, ok = a.at.(place); ok {
				v = sortable{num: new(big.Rat).SetInt64(naiveDistance(near, p))}
			}
		}
		if ok && (best.group > v.group || best.group == v.group && v.compare(best, desc) < 0) {
			best = v
		}
	}
	switch {
	case best.group == 3:
	case property == "created":
		best.tie = d.Seq
	case property == "modified":
		best.tie = d.Rev
	}
	return best
}

// naive answers a request: all that matches, in order.
func (w *world) naive(req *Request, plan func(*kind) *entity.IndexPlan) []candidate {
	q := req.Query
	var list []candidate
	if req.List != nil {
		for seq, published := range w.lists[*req.List] {
			if d := w.kinds[req.From.ID].docs[seq]; d != nil {
				list = append(list, candidate{doc: d, published: published})
			}
		}
	} else if req.Edges == nil {
		for _, d := range w.kinds[req.From.ID].docs {
			list = append(list, candidate{doc: d})
		}
	} else {
		list = w.naiveTargets(req.Edges)
	}
	near := q.Near()
	var found []candidate
	for _, c := range list {
		p := plan(c.doc.kind)
		values := atoms(c.doc, p)
		if p.None && (q.Where != nil || len(q.Order) > 0) || !naiveMatch(q.Where, values) {
			continue
		}
		for _, k := range q.Order {
			i := slices.IndexFunc(near, func(n *ql.Within) bool { return n.Property == k.Property })
			if i < 0 {
				c.keys = append(c.keys, naiveKey(values, c.doc, k.Property, k.Desc, nil))
			} else {
				c.keys = append(c.keys, naiveKey(values, c.doc, k.Property, k.Desc, near[i]))
			}
		}
		if len(q.Order) == 0 {
			for _, n := range near {
				c.keys = append(c.keys, naiveKey(values, c.doc, n.Property, false, n))
			}
		}
		found = append(found, c)
	}
	slices.SortFunc(found, naiveOrder(req))
	return found
}

func planOf(k *kind) *entity.IndexPlan { return &k.settings.Plan }

// naiveOrder compares what matches a request.
func naiveOrder(req *Request) func(a, b candidate) int {
	q := req.Query
	oldest := len(q.Order) == 0 && (req.OldestFirst || len(q.Near()) > 0)
	return func(a, b candidate) int {
		for i := range a.keys {
			if c := a.keys[i].compare(b.keys[i], i < len(q.Order) && q.Order[i].Desc); c != 0 {
				return c
			}
			if req.Edges == nil && i < len(q.Order) && slices.Contains([]string{"created", "modified", "uuid"}, q.Order[i].Property) {
				break // it is the same entity
			}
		}
		c := cmp.Compare(b.added(), a.added())
		// All are of one type, so that orders nothing.
		typed := !slices.ContainsFunc(q.Order, func(k ql.SortKey) bool { return k.Property != "type" })
		if req.List != nil && typed && (len(q.Order) > 0 || len(q.Near()) == 0) {
			c = cmp.Or(cmp.Compare(b.published, a.published), c)
		}
		if oldest {
			return -c
		}
		return c
	}
}

func (c *candidate) added() entity.Seq {
	if c.eseq != 0 {
		return c.eseq
	}
	return c.doc.Seq
}

func (w *world) naiveTargets(e *Edges) (list []candidate) {
	newest := map[entity.End]entity.Seq{}
	for _, l := range w.links {
		near, far := l.near, l.far
		if e.Direction == 'c' {
			near, far = far, near
		}
		if near == e.Near && slices.Contains(e.Verbs, l.verb) && (e.Only == 0 || e.Only == far.Collection) {
			newest[far] = max(newest[far], l.eseq)
		}
	}
	for far, eseq := range newest {
		if d := w.kinds[far.Collection].docs[far.Seq]; d != nil {
			list = append(list, candidate{doc: d, eseq: eseq})
		}
	}
	return list
}
