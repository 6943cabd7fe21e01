package raftfsm

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/raftfsm/command"
	"github.com/trellisdb/trellis/storage"
	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

func (m *Machine) importCounters(cmd *command.Command, op *command.ImportCounters) (result, error) {
	cells := 0
	for i := range op.Parts {
		cells += len(op.Parts[i].Cells)
	}
	if cells > command.MaxCells || len(op.Parts) > command.MaxCells {
		return result{}, refuse(fault.IllegalArgument, "%d buckets, more than the %d allowed", cells, command.MaxCells)
	}
	var res result
	for i := range op.Parts {
		taken, err := m.importCounter(cmd.App, &op.Parts[i], op.Replace)
		if f := refusedBy(err); f != nil {
			res.Errors = append(res.Errors, command.ItemError{Index: i, Code: f.Code, Message: f.Message})
			continue
		}
		if err != nil {
			return result{}, err
		}
		if taken {
			res.Handled++
		}
	}
	lines := func(i int) uint64 { return op.Parts[i].Line }
	return res, m.noteJob(cmd, &op.Note, res, 0, lines, nil)
}

// importCounter makes some of a counter what it was elsewhere, and reports whether
// anything of it was not there.
func (m *Machine) importCounter(app entity.AppID, part *command.CounterPart, replace bool) (bool, error) {
	if err := part.Valid(); err != nil {
		return false, refuseAs(err)
	}
	c, known, err := m.counter(app, part.Name)
	if err != nil {
		return false, err
	}
	switch {
	case known && c.Resets != part.Resets && replace:
		return false, refuse(fault.Conflict, "counter %s was reset %d times here, and %d times there", excerpt(part.Name), c.Resets, part.Resets)
	case known && c.Resets != part.Resets:
		return false, nil
	case !known:
		if err := m.roomForCounter(app); err != nil {
			return false, err
		}
	}
	if c, err = m.enrolled(app, part.Name, part.Named); err != nil {
		return false, err
	}
	if c.Resets != part.Resets {
		c.Resets = part.Resets
		m.putCounter(app, part.Name, c)
	}
	if part.Resets == 0 {
		return m.importDay(app, &c, part, replace)
	}
	return m.importCells(app, &c, part, replace)
}

func (m *Machine) roomForCounter(app entity.AppID) error {
	next, err := m.nextCounter(app)
	if err == nil && int(next) > command.MaxCounters {
		err = refuse(fault.IllegalArgument, "the application has %d counters and cannot have another", next-1)
	}
	return err
}

// importDay adds a day to a series that was never reset: to its minutes, and to the hours,
// the day and the whole that they make up. A day in which something was counted stays, or
// is taken out first.
func (m *Machine) importDay(app entity.AppID, c *storage.Counter, part *command.CounterPart, replace bool) (bool, error) {
	if len(part.Cells) == 0 {
		return false, nil
	}
	day := entity.Day.Bucket(part.Cells[0].Bucket)
	series := keys.AppendCounterSeries(nil, m.cfg.Partition, app, c.ID, &part.Dimensions)
	before, there, err := m.sumAt(keys.AppendBucket(series, entity.Day, day))
	if err != nil || there && !replace {
		return false, err
	}
	whole := -before.Value
	if there {
		if err := m.clearDay(series, day); err != nil {
			return false, err
		}
	}
	var hours [24]struct {
		sum   int64
		there bool
	}
	total := int64(0)
	for i := range part.Cells {
		cell := &part.Cells[i]
		h := &hours[(cell.Bucket-day)/entity.Hour.Interval()]
		h.sum, h.there = h.sum+cell.Value, true
		total += cell.Value
		m.setSum(keys.AppendBucket(series, entity.Minute, cell.Bucket), storage.Sum{Value: cell.Value})
	}
	for i := range hours {
		if hours[i].there {
			m.setSum(keys.AppendBucket(series, entity.Hour, day+int64(i)*entity.Hour.Interval()), storage.Sum{Value: hours[i].sum})
		}
	}
	m.setSum(keys.AppendBucket(series, entity.Day, day), storage.Sum{Value: total})
	m.value = storage.AppendSum(m.value[:0], storage.Sum{Value: whole + total})
	m.batch.Merge(keys.AppendBucket(series, entity.Whole, 0), m.value)
	return true, nil
}

// clearDay removes the minutes and hours of a day of a series.
func (m *Machine) clearDay(series []byte, day int64) error {
	last := day + entity.Day.Interval() - 1
	for _, r := range []entity.Resolution{entity.Minute, entity.Hour} {
		var found [][]byte
		lower, upper := keys.BucketRange(series, r, day, r.Bucket(last))
		err := m.batch.Scan(lower, upper, func(key, _ []byte) bool {
			found = append(found, append([]byte(nil), key...))
			return true
		})
		if err != nil {
			return err
		}
		for _, key := range found {
			m.batch.Delete(key)
		}
	}
	return nil
}

func (m *Machine) sumAt(key []byte) (s storage.Sum, there bool, err error) {
	raw, there, err := m.get(key)
	if err == nil && there {
		var ok bool
		if s, ok = storage.DecodeSum(raw); !ok {
			err = fault.New(fault.Corrupt, "counter at key %x", key)
		}
	}
	return s, there, err
}

func (m *Machine) setSum(key []byte, s storage.Sum) {
	m.value = storage.AppendSum(m.value[:0], s)
	m.batch.Set(key, m.value)
}

// importCells puts buckets of a counter that was reset where there are none yet, or in the
// place of those that are.
func (m *Machine) importCells(app entity.AppID, c *storage.Counter, part *command.CounterPart, replace bool) (taken bool, err error) {
	series := keys.AppendCounterSeries(nil, m.cfg.Partition, app, c.ID, &part.Dimensions)
	resets := keys.AppendCounterResets(nil, m.cfg.Partition, app, c.ID)
	for i := range part.Cells {
		cell := &part.Cells[i]
		prefix := series
		if cell.Clears {
			prefix = resets
		}
		m.key = keys.AppendBucket(append(m.key[:0], prefix...), cell.Resolution, cell.Bucket)
		_, there, err := m.get(m.key)
		if err != nil {
			return taken, err
		}
		if there && !replace {
			continue
		}
		taken = true
		if cell.Clears {
			m.value = binary.AppendUvarint(m.value[:0], cell.Reset)
			m.batch.Set(m.key, m.value)
		} else {
			m.setSum(m.key, storage.Sum{Reset: cell.Reset, Value: cell.Value})
		}
	}
	return taken, nil
}
