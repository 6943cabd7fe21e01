package query

import (
	"bytes"
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// walk yields entities in the order of an index.
type walk interface {
	// next returns the next entity. fresh says that it sorts after the one before as far as
	// the index knows, so that all that the index holds to be equal has been seen.
	next() (seq entity.Seq, fresh, ok bool)
	// used returns its direction, and how many keys it has examined.
	used() (back bool, examined int)
}

// classes are those of values in the order of the groups of a sort.
var classes = [...]byte{keys.ClassNumber, keys.ClassString, keys.ClassBool, keys.ClassMissing}

// valueWalk walks over an index of values: that of a property, or below some first values
// of a composite index. What is equal comes newest first in both directions.
//
// Forward it is one scan. Backward, every run of equal values is found from its end and
// read from its start, and every class is a scan by itself, since classes keep their order.
type valueWalk struct {
	s      *search
	index  string
	scan   *scan
	prefix []byte
	desc   []bool // how the keys have the values that the order goes by
	back   bool
	mask   byte     // flags that an entry must have
	bounds keyRange // of keys

	group  []byte // prefix and values of the group that is read
	seq    entity.Seq
	flags  byte
	key    []byte
	over   bool
	unread bool // the scan stands on an entry that was not returned yet
	begun  bool
	inRun  bool // backward: a run is being read forward
	parked bool // backward: the scan stands on the last key before the group
}

// from is where a walk begins: at the values of a group, and in it behind a rank.
type from struct {
	forms [][]byte
	rank  uint64
	inner bool // behind the rank; else at the start of the group
}

// start positions a walk. Without a place it begins with the first entry.
func (w *valueWalk) start(at *from) {
	w.scan = w.s.scan(w.bounds.lower, w.bounds.upper)
	if at == nil || w.s.err != nil {
		return
	}
	w.begun = true
	w.group = append(w.group[:0], w.prefix...)
	for i, form := range at.forms[:len(w.desc)] {
		n := len(w.group)
		w.group = append(w.group, form...)
		if w.desc[i] {
			invert(w.group[n+1:])
		}
	}
	w.key = append(w.key[:0], w.group...)
	if at.inner {
		w.key = keys.Successor(binary.BigEndian.AppendUint64(w.key, at.rank))
	}
	w.unread = w.scan.seek(w.key)
	if w.back {
		w.unread = w.unread && bytes.HasPrefix(w.scan.key(), w.group)
		w.inRun = w.unread
	} else {
		w.over = !w.unread
	}
}

// next implements walk.
func (w *valueWalk) next() (seq entity.Seq, fresh, ok bool) {
	for !w.over && w.s.err == nil {
		var begins bool
		if w.back {
			begins = w.stepBack()
		} else {
			begins = w.step()
		}
		fresh = fresh || begins
		if !w.over && w.s.err == nil && w.flags&w.mask == w.mask {
			return w.seq, fresh, true
		}
	}
	return 0, false, false
}

// load reads the entry the scan stands on.
func (w *valueWalk) load() {
	value := w.scan.value()
	if len(value) != 1 {
		w.corrupt()
		return
	}
	w.seq, w.flags = keys.Tail(w.scan.key()), value[0]
}

func (w *valueWalk) corrupt() {
	w.s.fail(fault.New(fault.Corrupt, "partition %d: entry %x of index %s", w.s.view.Partition(), w.scan.key(), w.index))
}

// step moves forward, and reports whether a group begins.
func (w *valueWalk) step() bool {
	moved := true
	switch {
	case w.unread:
		w.unread = false
	case !w.begun:
		moved = w.scan.first()
	default:
		moved = w.scan.next()
	}
	w.begun = true
	if !moved {
		w.over = true
		return false
	}
	w.load()
	key := w.scan.key()
	end := w.valuesEnd(key, len(w.desc))
	if end < 0 || bytes.Equal(key[:end], w.group) {
		return false
	}
	w.group = append(w.group[:0], key[:end]...)
	return true
}

// valuesEnd returns where the first values that the order goes by end in a key, or -1.
func (w *valueWalk) valuesEnd(key []byte, values int) int {
	at := len(w.prefix)
	for _, desc := range w.desc[:values] {
		n := keys.ValueEnd(key[at:], desc)
		if n < 0 {
			w.corrupt()
			return -1
		}
		at += n
	}
	return at
}

// stepBack moves to the next entry of the run, or to the first of the run before it, and
// reports whether a group begins.
func (w *valueWalk) stepBack() bool {
	if w.unread {
		w.unread = false
		w.load()
		return false
	}
	if w.inRun {
		if w.scan.next() && bytes.HasPrefix(w.scan.key(), w.group) {
			w.load()
			return false
		}
		w.inRun, w.parked = false, false
	}
	if w.s.err != nil || !w.before() {
		w.over = true
		return false
	}
	w.load()
	w.parked = w.scan.prev()
	if w.parked && bytes.HasPrefix(w.scan.key(), w.group) {
		w.parked, w.inRun = false, w.scan.seek(w.group)
		w.load()
	}
	return true
}

// before makes the group the next one, and moves the scan to its last key.
func (w *valueWalk) before() bool {
	if !w.begun {
		w.begun = true
		w.group = append(w.group, w.prefix...)
		return w.descend(0)
	}
	last := len(w.desc) - 1
	for level := last; level >= 0; level-- {
		base := w.valuesEnd(w.group, level)
		class := w.group[base]
		if !w.parked || level < last {
			w.key = append(w.key[:0], w.group[:w.valuesEnd(w.group, level+1)]...)
			w.parked = w.scan.seekBefore(w.key)
		}
		if w.parked && w.below(base, class) {
			return w.take(level)
		}
		for _, other := range classes {
			if other > class && w.lastOf(base, other) {
				return w.take(level)
			}
		}
	}
	return false
}

// below reports whether the scan stands on a key that shares the group as far as base and
// goes on with a value of a class.
func (w *valueWalk) below(base int, class byte) bool {
	key := w.scan.key()
	return len(key) > base && bytes.Equal(key[:base], w.group[:base]) && key[base] == class
}

// lastOf moves to the last key that goes on with a value of a class.
func (w *valueWalk) lastOf(base int, class byte) bool {
	w.key = append(append(w.key[:0], w.group[:base]...), class+1)
	return w.scan.seekBefore(w.key) && w.below(base, class)
}

// take makes the value of the current key at a level that of the group, and descends to
// the last key of what comes first below it.
func (w *valueWalk) take(level int) bool {
	key := w.scan.key()
	end := w.valuesEnd(key, level+1)
	if end < 0 {
		return false
	}
	w.group = append(w.group[:0], key[:end]...)
	return level == len(w.desc)-1 || w.descend(level+1)
}

// descend finds the first class that there is below the group.
func (w *valueWalk) descend(level int) bool {
	base := len(w.group)
	for _, class := range classes {
		if w.lastOf(base, class) {
			return w.take(level)
		}
	}
	return false
}

// used implements walk.
func (w *valueWalk) used() (back bool, examined int) { return w.back, w.scan.examined() }

// plainWalk walks over an index whose keys are in order in both directions: of times, or
// of UUIDs.
type plainWalk struct {
	s      *search
	index  string
	scan   *scan
	back   bool
	bounds keyRange
	seq    func(key, value []byte) (entity.Seq, bool)
	after  []byte // what the keys begin with of what the walk begins behind
	began  bool
}

// next implements walk.
func (w *plainWalk) next() (seq entity.Seq, fresh, ok bool) {
	switch {
	case !w.began:
		w.began = true
		w.scan = w.s.scan(w.bounds.lower, w.bounds.upper)
		switch {
		case w.after == nil && w.back:
			ok = w.scan.last()
		case w.after == nil:
			ok = w.scan.first()
		case w.back:
			ok = w.scan.seekBefore(w.after)
		default:
			ok = w.scan.seek(keys.Successor(w.after))
		}
	case w.back:
		ok = w.scan.prev()
	default:
		ok = w.scan.next()
	}
	if !ok {
		return 0, false, false
	}
	if seq, ok = w.seq(w.scan.key(), w.scan.value()); !ok {
		w.s.fail(fault.New(fault.Corrupt, "partition %d: entry %x of index %s", w.s.view.Partition(), w.scan.key(), w.index))
	}
	return seq, true, ok
}

// used implements walk.
func (w *plainWalk) used() (back bool, examined int) { return w.back, w.scan.examined() }
