package dump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
	"github.com/trellisdb/trellis/storage/portable"
)

// counters writes what was counted, by the names of the counters, but for what the system
// counts by itself, and reports whether it has come to the end of it.
func (d *dumper) counters() (whole bool, err error) {
	lower, upper := keys.CounterNameRange(d.view.Partition(), d.App)
	it, err := d.view.Scan(lower, upper)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	ok := it.First()
	if d.at.Counter != "" {
		ok = it.SeekGE(keys.AppendCounterName(nil, d.view.Partition(), d.App, d.at.Counter))
	}
	for ; ok; ok = it.Next() {
		name, valid := keys.DecodeCounterName(it.Key())
		c, sound := storage.DecodeCounter(it.Value())
		if !valid || !sound {
			return false, fault.New(fault.Corrupt, "partition %d: counter at key %x", d.view.Partition(), it.Key())
		}
		if name == "" || name == systemCounters || strings.HasPrefix(name, systemCounters+".") {
			continue
		}
		if name != d.at.Counter {
			d.at.Counter, d.at.Key, d.at.Cleared = name, nil, false
		}
		w := &counterWriter{d: d, line: portable.Counter{Name: name, Named: c.Named, Resets: c.Resets}}
		if whole, err := w.all(c.ID); err != nil || !whole {
			return false, err
		}
	}
	return true, errors.Join(it.Err(), d.w.Err())
}

// systemCounters is the name of the counter above all that the system counts by itself:
// requests, and entities, which an import counts anew.
const systemCounters = "application"

// counterWriter gathers the buckets that go into a line.
type counterWriter struct {
	d    *dumper
	line portable.Counter
	last []byte // key of the last bucket that was looked at
}

// all writes the sums of a counter, and then which buckets were reset.
func (w *counterWriter) all(c entity.CounterID) (whole bool, err error) {
	for _, cleared := range []bool{false, true} {
		if cleared && w.line.Resets == 0 || w.d.at.Cleared && !cleared {
			continue
		}
		if cleared && !w.d.at.Cleared {
			w.d.at.Cleared, w.d.at.Key = true, nil
		}
		if whole, err := w.buckets(c, cleared); err != nil || !whole {
			return false, err
		}
	}
	return true, nil
}

func (w *counterWriter) buckets(c entity.CounterID, cleared bool) (whole bool, err error) {
	d := w.d
	it, err := d.view.Scan(keys.CounterRange(d.view.Partition(), d.App, c, cleared))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	ok := it.First()
	if len(d.at.Key) > 0 {
		ok = it.SeekGE(append(bytes.Clone(d.at.Key), 0))
	}
	for ; ok; ok = it.Next() {
		if err := d.goOn(); err != nil {
			return false, err
		}
		key, valid := keys.DecodeCounter(it.Key())
		cell := entity.CounterCell{Resolution: key.Resolution, Bucket: key.Bucket, Clears: cleared}
		if valid {
			valid = readCell(&cell, it.Value())
		}
		if !valid {
			return false, fault.New(fault.Corrupt, "partition %d: counter at key %x", d.view.Partition(), it.Key())
		}
		if w.line.Resets == 0 && cell.Resolution != entity.Minute {
			continue // minutes make it up
		}
		if w.ends(&key, &cell) {
			if w.flush(); d.full() {
				return false, d.w.Err()
			}
		}
		w.line.Dimensions = key.Dimensions
		w.line.Cells = append(w.line.Cells, cell)
		w.last = append(w.last[:0], it.Key()...)
	}
	w.flush()
	return true, errors.Join(it.Err(), d.w.Err())
}

func readCell(cell *entity.CounterCell, value []byte) bool {
	if cell.Clears {
		n, size := binary.Uvarint(value)
		cell.Reset = n
		return size == len(value) && n > 0
	}
	sum, ok := storage.DecodeSum(value)
	cell.Value, cell.Reset = sum.Value, sum.Reset
	return ok
}

// ends reports whether a bucket does not go into the line with those before it.
func (w *counterWriter) ends(key *keys.CounterKey, cell *entity.CounterCell) bool {
	if len(w.line.Cells) == 0 {
		return false
	}
	if key.Dimensions != w.line.Dimensions || len(w.line.Cells) >= portable.MaxCells {
		return true
	}
	return w.line.Resets == 0 && entity.Day.Bucket(cell.Bucket) != entity.Day.Bucket(w.line.Cells[0].Bucket)
}

// flush writes what was gathered.
func (w *counterWriter) flush() {
	if len(w.line.Cells) > 0 {
		w.d.w.Counter(&w.line)
	}
	if w.line.Cells = w.line.Cells[:0]; len(w.last) > 0 {
		w.d.at.Key = bytes.Clone(w.last)
	}
}
