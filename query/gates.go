package query

import "github.com/trellisdb/trellis/query/ql"

// gates is a condition as a network: it keeps what every part of the condition comes
// to while its leaves are found to hold, one after the other. A leaf costs as much as
// it changes above it, so a condition of thousands of alternatives costs no more than
// one of which few are met.
type gates struct {
	all     []gate
	changed []int32 // gates to reset
}

// gate is a part of a condition. It holds if enough of the parts below it do, or the
// other way round if it negates.
type gate struct {
	parent int32 // -1: none
	need   int32
	count  int32
	base   int32 // count while no leaf holds
	negate bool
}

func (g *gate) holds() bool { return (g.count >= g.need) != g.negate }

// add appends the gate of a node and those below it, and calls leaf with every leaf.
func (g *gates) add(n ql.Node, parent int32, leaf func(n ql.Node, gate int32)) {
	self := int32(len(g.all))
	g.all = append(g.all, gate{parent: parent, need: 1})
	switch n := n.(type) {
	case *ql.And:
		g.all[self].need = int32(len(n.List))
		for _, part := range n.List {
			g.add(part, self, leaf)
		}
	case *ql.Or:
		for _, part := range n.List {
			g.add(part, self, leaf)
		}
	case *ql.Not:
		g.all[self].negate = true
		g.add(n.Of, self, leaf)
	default:
		leaf(n, self)
	}
	if parent >= 0 && g.all[self].holds() {
		g.all[parent].count++
	}
	g.all[self].base = g.all[self].count
}

// set notes that a leaf holds.
func (g *gates) set(leaf int32) {
	if g.all[leaf].count != 0 {
		return
	}
	at, step := leaf, int32(1)
	for at >= 0 {
		gate := &g.all[at]
		before := gate.holds()
		gate.count += step
		g.changed = append(g.changed, at)
		after := gate.holds()
		if before == after {
			return
		}
		if at, step = gate.parent, 1; !after {
			step = -1
		}
	}
}

// reset makes all leaves not hold.
func (g *gates) reset() {
	for _, at := range g.changed {
		g.all[at].count = g.all[at].base
	}
	g.changed = g.changed[:0]
}

// holds reports whether the whole condition does. Without any it does.
func (g *gates) holds() bool { return len(g.all) == 0 || g.all[0].holds() }

// keep makes what holds now hold of every entity.
func (g *gates) keep() {
	for i := range g.all {
		g.all[i].base = g.all[i].count
	}
	g.changed = g.changed[:0]
}
