package query

import (
	"github.com/trellisdb/trellis/index"
	"github.com/trellisdb/trellis/query/ql"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// lens is a condition and an order as they concern the entities of one collection. It
// looks at one entity at a time, walking over its JSON once. It implements
// index.Visitor.
type lens struct {
	settings *entity.Settings // of the collection, if the lens is that of a search
	plan     *entity.IndexPlan
	typ      string // folded
	blind    bool   // there is a condition or an order, and the collection has no indexes
	gates    gates
	paths    map[string]*watch // of client properties
	system   [systemProperties]*watch
	order    *order
	forms    [][]byte // of the sort keys of the entity last looked at
	near     *ql.Within
	distance int64 // from it

	flat    index.Flattener
	scratch []byte
	idText  [36]byte
	words   []string
	work    int // leaves that were tried one by one, since work was last taken
}

// systemProperty is a property that lies beside an entity's JSON.
type systemProperty int

const (
	propCreated systemProperty = iota
	propModified
	propUUID
	propType
	systemProperties
)

var systemNames = map[string]systemProperty{"created": propCreated, "modified": propModified, "uuid": propUUID, "type": propType}

// init prepares the lens. The order may be nil.
func (l *lens) init(condition ql.Node, order *order, plan *entity.IndexPlan, typ string) {
	l.plan, l.typ, l.order, l.distance = plan, keys.Fold(typ), order, NoDistance
	l.paths = make(map[string]*watch)
	l.blind = plan.None && (condition != nil || order != nil && order.explicit)
	if condition != nil {
		l.gates.add(condition, -1, l.leaf)
	}
	if order != nil {
		l.near = order.near
		l.sortKeys()
	}
	if w := l.system[propType]; w != nil {
		l.text(w, l.typ)
		l.gates.keep()
		l.system[propType] = nil
	}
}

// watch returns that of a property, nil if the property is as if missing.
func (l *lens) watch(property string) *watch {
	if !l.plan.Covers(property) {
		return nil
	}
	at := func() **watch {
		if p, ok := systemNames[property]; ok {
			return &l.system[p]
		}
		return nil
	}()
	if at == nil {
		w := l.paths[property]
		if w == nil {
			w = new(watch)
			l.paths[property] = w
		}
		return w
	}
	if *at == nil {
		*at = new(watch)
	}
	return *at
}

// leaf makes the watch of a leaf's property look out for it.
func (l *lens) leaf(n ql.Node, leaf int32) {
	switch n := n.(type) {
	case *ql.Compare:
		if w := l.watch(n.Property); w != nil {
			w.compare(n, leaf)
		}
	case *ql.Contains:
		if w := l.watch(n.Property); w != nil {
			w.contains(n, leaf)
		}
	case *ql.Within:
		if w := l.watch(n.Property); w != nil {
			w.within(n, leaf)
		}
	}
}

// look reports whether an entity satisfies the condition, and learns what it sorts by.
func (l *lens) look(e *entity.Entity) (bool, error) {
	if l.blind {
		return false, nil
	}
	l.gates.reset()
	l.distance = NoDistance
	for i := range l.forms {
		l.forms[i] = l.forms[i][:0]
	}
	if w := l.system[propCreated]; w != nil {
		l.number(w, entity.Int(e.Created))
	}
	if w := l.system[propModified]; w != nil {
		l.number(w, entity.Int(e.Modified))
	}
	if w := l.system[propUUID]; w != nil {
		l.text(w, lend(e.ID.AppendText(l.idText[:0])))
	}
	if len(l.paths) > 0 {
		if err := l.flat.Flatten(e.JSON, l); err != nil {
			return false, fault.Wrap(err, fault.Corrupt, "entity %s", e.ID)
		}
	}
	return l.gates.holds(), nil
}

// takeWork returns how much work the condition has been beyond one step an entity, in
// steps, and begins anew.
func (l *lens) takeWork() int {
	steps := l.work / 64
	l.work -= steps * 64
	return steps
}

// Scalar implements index.Visitor.
func (l *lens) Scalar(path []byte, v *entity.Value) {
	w := l.paths[string(path)]
	if w == nil {
		return
	}
	switch v.Class {
	case entity.NumberClass:
		l.number(w, v.Number)
	case entity.StringClass:
		l.text(w, v.String)
	case entity.BoolClass:
		l.hold(w.bools[bit(v.Bool)])
		l.inRanges(w, v)
	}
	for _, key := range w.values {
		l.sortValue(key, v)
	}
}

// Point implements index.Visitor.
func (l *lens) Point(path []byte, lat, lng float64) {
	w := l.paths[string(path)]
	if w == nil || !index.InRange(lat, lng) {
		return
	}
	for i := range w.places {
		p := &w.places[i]
		if float64(index.Distance(p.lat, p.lng, lat, lng)) <= p.mm {
			l.gates.set(p.leaf)
		}
	}
	l.work += len(w.places)
	for _, key := range w.distances {
		l.sortDistance(key, lat, lng)
	}
	if l.near != nil && l.near.Property == string(path) {
		d := index.Distance(l.near.Lat, l.near.Lng, lat, lng)
		if l.distance == NoDistance || d < l.distance {
			l.distance = d
		}
	}
}

func (l *lens) hold(leaves []int32) {
	for _, leaf := range leaves {
		l.gates.set(leaf)
	}
}

func (l *lens) inRanges(w *watch, v *entity.Value) {
	for i := range w.ranges {
		if w.ranges[i].holds(v) {
			l.gates.set(w.ranges[i].leaf)
		}
	}
	l.work += len(w.ranges)
}

func (l *lens) number(w *watch, n entity.Number) {
	if w.numbers != nil {
		l.hold(w.numbers[n])
	}
	if w.ranges != nil {
		l.inRanges(w, &entity.Value{Class: entity.NumberClass, Number: n})
	}
}

// text holds what a folded string, which is lent, makes hold.
func (l *lens) text(w *watch, s string) {
	if w.texts != nil {
		l.hold(w.texts[s])
	}
	if w.ranges != nil {
		l.inRanges(w, &entity.Value{Class: entity.StringClass, String: s})
	}
	for i := range w.globs {
		if w.globs[i].pattern.Match(s) {
			l.gates.set(w.globs[i].leaf)
		}
		l.work += 1 + len(s)/64
	}
	if w.words == nil {
		return
	}
	l.words = index.Words(l.words[:0], s)
	for _, word := range l.words {
		l.hold(w.words[word])
		for i := range w.wordGlobs {
			if w.wordGlobs[i].pattern.Match(word) {
				l.gates.set(w.wordGlobs[i].leaf)
			}
		}
	}
	l.work += len(l.words) * (1 + len(w.wordGlobs))
	clear(l.words) // they are lent
}
