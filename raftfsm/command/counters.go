package command

import (
	"encoding/binary"
	"math/bits"
	"strings"

	"github.com/trellisdb/trellis/storage/entity"
)

// Bounds of counters. Apply decides by them, so they are no settings.
const (
	MaxCounters      = 20_000  // names of an application, those above others included
	MaxCounterName   = 256     // bytes of a name
	MaxCounterLevels = 16      // parts of a name between dots
	MaxIncrements    = 64      // of one tally
	MaxCategory      = 256     // bytes
	MaxCounted       = 100_000 // what Tally.Work says of all tallies of a command
)

// Tally is what is counted at one time, with some dimensions.
type Tally struct {
	Time       int64 // ms since the epoch: the time of the buckets
	Dimensions entity.Dimensions
	Increments []Increment
}

// Increment adds to a counter, and to all that are above it: those of "a.b.c" are "a.b"
// and "a". It counts for each subset of the tally's dimensions and in each resolution.
// The counter "system" is never counted. If Reset, By means nothing: the counter alone,
// neither one above nor one below it, becomes 0 as a whole and in the buckets of the
// tally's time, with whatever dimensions.
type Increment struct {
	Name  string // folded; 1 to MaxCounterName bytes, up to MaxCounterLevels parts
	By    int64
	Reset bool
}

// ValidCounterName reports whether a counter can have a name: what it is made of is
// between its dots, and none of it is empty.
func ValidCounterName(name string) bool {
	if len(name) == 0 || len(name) > MaxCounterName || strings.Count(name, ".") >= MaxCounterLevels {
		return false
	}
	return name[0] != '.' && name[len(name)-1] != '.' && !strings.Contains(name, "..")
}

// Work is how many keys the tally changes, at most.
func (t *Tally) Work() int {
	series := 1 << bits.OnesCount8(t.Dimensions.Given())
	n := 0
	for i := range t.Increments {
		if inc := &t.Increments[i]; inc.Reset {
			n += 2 * entity.Resolutions
		} else {
			n += (strings.Count(inc.Name, ".") + 1) * series * entity.Resolutions
		}
	}
	return n
}

// Count counts, and nothing else. Faults: IllegalArgument, if a bound does not hold.
type Count struct{ Tallies []Tally }

// CreateEvents creates entities and counts what each brings, in one step: the tally
// of an item that is skipped is not counted. Faults: those of both.
type CreateEvents struct {
	Create  CreateEntities
	Tallies []Tally // one for each of Create.Items
}

// CountEvent counts, and returns an entity, which it leaves alone, or creates it if there
// is none. Outcome.Entities holds it, Outcome.Created says whether it was created.
// Faults: those of Count; UnexpectedEntityType (it is an entity of another collection);
// ServiceResourceNotFound (no entity and no Create); EntityTooLarge.
type CountEvent struct {
	Rules  Rules
	ID     entity.ID
	Create *NewEntity
	Tally  Tally
}

func (Count) kind() Kind        { return KindCount }
func (CreateEvents) kind() Kind { return KindCreateEvents }
func (CountEvent) kind() Kind   { return KindCountEvent }

// minTally is the size of the smallest tally, minIncrement that of the smallest
// increment.
const (
	minTally     = 1 + 16 + 16 + 1 + 1
	minIncrement = 1 + 1 + 1
)

func appendTally(dst []byte, t *Tally) []byte {
	dst = binary.AppendVarint(dst, t.Time)
	dst = append(append(dst, t.Dimensions.User[:]...), t.Dimensions.Group[:]...)
	dst = appendString(dst, t.Dimensions.Category)
	dst = binary.AppendUvarint(dst, uint64(len(t.Increments)))
	for i := range t.Increments {
		inc := &t.Increments[i]
		dst = appendBool(binary.AppendVarint(appendString(dst, inc.Name), inc.By), inc.Reset)
	}
	return dst
}

func (r *reader) tally() Tally {
	t := Tally{Time: r.varint(), Dimensions: entity.Dimensions{User: r.id(), Group: r.id(), Category: r.string()}}
	if n := r.count(minIncrement); n > 0 {
		t.Increments = make([]Increment, n)
		for i := range t.Increments {
			t.Increments[i] = Increment{Name: r.string(), By: r.varint(), Reset: r.bool()}
		}
	}
	return t
}

func appendTallies(dst []byte, list []Tally) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for i := range list {
		dst = appendTally(dst, &list[i])
	}
	return dst
}

func (r *reader) tallies() (list []Tally) {
	if n := r.count(minTally); n > 0 {
		list = make([]Tally, n)
		for i := range list {
			list[i] = r.tally()
		}
	}
	return list
}

func (o Count) appendBody(dst []byte) []byte { return appendTallies(dst, o.Tallies) }

func (o CreateEvents) appendBody(dst []byte) []byte {
	return appendTallies(o.Create.appendBody(dst), o.Tallies)
}

func (d *Decoder) createEvents(r *reader) Op {
	return CreateEvents{Create: d.createEntities(r), Tallies: r.tallies()}
}

func (o CountEvent) appendBody(dst []byte) []byte {
	dst = append(appendRules(dst, &o.Rules), o.ID[:]...)
	return appendTally(appendOptional(dst, o.Create), &o.Tally)
}

func (d *Decoder) countEvent(r *reader) Op {
	return CountEvent{Rules: d.readRules(r), ID: r.id(), Create: r.optional(), Tally: r.tally()}
}
