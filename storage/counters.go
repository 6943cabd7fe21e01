package storage

import (
	"encoding/binary"
	"errors"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
	"github.com/trellisdb/trellis/storage/keys"
)

// Counter is the record of a counter.
type Counter struct {
	ID     entity.CounterID
	Named  bool   // it was counted under its own name, and not only as what is above another
	Resets uint64 // how often it was reset
}

const (
	counterVersion = 1
	counterNamed   = 1
)

// AppendCounter appends the stored form: version 1 · number uvarint · flags 1 · resets
// uvarint. The record under the empty name says by its number which the next counter
// gets.
func AppendCounter(dst []byte, c *Counter) []byte {
	dst = binary.AppendUvarint(append(dst, counterVersion), uint64(c.ID))
	var flags byte
	if c.Named {
		flags = counterNamed
	}
	return binary.AppendUvarint(append(dst, flags), c.Resets)
}

// DecodeCounter reads what AppendCounter wrote.
func DecodeCounter(b []byte) (c Counter, ok bool) {
	if len(b) == 0 || b[0] != counterVersion {
		return c, false
	}
	b = b[1:]
	id, n := uvarint(b)
	if n == 0 || id == 0 || id > 1<<32-1 || len(b) == n || b[n] > counterNamed {
		return c, false
	}
	c.ID, c.Named, b = entity.CounterID(id), b[n] == counterNamed, b[n+1:]
	c.Resets, n = uvarint(b)
	return c, n != 0 && n == len(b)
}

// ReadCounter returns a counter by its folded name. The one with the empty name has the
// number that the next counter gets.
func ReadCounter(r Reader, app entity.AppID, name string) (Counter, bool, error) {
	var buf [96]byte
	var val [24]byte
	raw, ok, err := r.Get(val[:0], keys.AppendCounterName(buf[:0], r.Partition(), app, name))
	if err != nil || !ok {
		return Counter{}, false, err
	}
	c, ok := DecodeCounter(raw)
	if !ok {
		return Counter{}, false, fault.New(fault.Corrupt, "partition %d: record of counter %q of application %d", r.Partition(), name, app)
	}
	return c, true, nil
}

// ReadReset returns the number of the last reset of a bucket of a counter; 0 if there was
// none.
func ReadReset(r Reader, app entity.AppID, c entity.CounterID, res entity.Resolution, bucket int64) (uint64, error) {
	var buf [32]byte
	var val [10]byte
	key := keys.AppendBucket(keys.AppendCounterResets(buf[:0], r.Partition(), app, c), res, bucket)
	raw, ok, err := r.Get(val[:0], key)
	if err != nil || !ok {
		return 0, err
	}
	n, size := uvarint(raw)
	if size == 0 || size != len(raw) {
		return 0, fault.New(fault.Corrupt, "partition %d: reset at key %x", r.Partition(), key)
	}
	return n, nil
}

// CounterNames returns the names of the counters that were counted under their own, in
// order.
func CounterNames(v *View, app entity.AppID) (names []string, err error) {
	it, err := v.Scan(keys.CounterNameRange(v.Partition(), app))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		name, ok := keys.DecodeCounterName(it.Key())
		c, valid := DecodeCounter(it.Value())
		if !ok || !valid {
			return nil, fault.New(fault.Corrupt, "partition %d: counter at key %x", v.Partition(), it.Key())
		}
		if name != "" && c.Named {
			names = append(names, name)
		}
	}
	return names, it.Err()
}

// Bucket is what was counted in a bucket, which begins at a time in ms since the epoch.
type Bucket struct {
	At, Value int64
	whole     bool // Value is all there is
}

// Buckets are some buckets of a counter.
type Buckets struct {
	Counter    Counter
	Dimensions entity.Dimensions
	Resolution entity.Resolution
	From, To   int64 // begin of the first and of the last
}

// ReadBuckets returns the buckets in which something was ever counted, in order of time,
// and how many keys it looked at. It ends, with all false, when these would be more than
// most.
func ReadBuckets(v *View, app entity.AppID, ask *Buckets, most int) (list []Bucket, looked int, all bool, err error) {
	base, last := ask.Resolution.Base(), ask.To
	if base != ask.Resolution {
		last += ask.Resolution.Interval() - base.Interval()
	}
	prefix := keys.AppendCounterSeries(nil, v.Partition(), app, ask.Counter.ID, &ask.Dimensions)
	it, err := v.Scan(keys.BucketRange(prefix, base, ask.From, last))
	if err != nil {
		return nil, 0, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if looked++; looked > most {
			return list, looked, false, nil
		}
		_, at, ok := keys.DecodeBucket(it.Key())
		sum, valid := DecodeSum(it.Value())
		if !ok || !valid {
			return nil, looked, false, damagedCounter(v, it.Key())
		}
		at = ask.Resolution.Bucket(at)
		if n := len(list); n > 0 && list[n-1].At == at {
			if list[n-1].whole {
				continue
			}
			list[n-1].Value += sum.Value
			continue
		}
		b := Bucket{At: at, Value: sum.Value}
		if ask.Counter.Resets > 0 {
			if err := b.afterReset(v, app, ask, prefix, sum); err != nil {
				return nil, looked, false, err
			}
		}
		list = append(list, b)
	}
	return list, looked, true, it.Err()
}

func damagedCounter(v *View, key []byte) error {
	return fault.New(fault.Corrupt, "partition %d: counter at key %x", v.Partition(), key)
}

// afterReset makes the value of a bucket, of which the first sum was met, what it is
// since the bucket was reset. One that is made of others has a sum of its own from then
// on, which says all.
func (b *Bucket) afterReset(v *View, app entity.AppID, ask *Buckets, prefix []byte, sum Sum) error {
	last, err := ReadReset(v, app, ask.Counter.ID, ask.Resolution, b.At)
	if err != nil || last == 0 {
		return err
	}
	b.whole = true
	if ask.Resolution != ask.Resolution.Base() {
		key := keys.AppendBucket(append([]byte(nil), prefix...), ask.Resolution, b.At)
		raw, ok, err := v.Get(nil, key)
		if err != nil {
			return err
		}
		if sum = (Sum{}); ok {
			if sum, ok = DecodeSum(raw); !ok {
				return damagedCounter(v, key)
			}
		}
	}
	b.Value = 0
	if sum.Reset >= last {
		b.Value = sum.Value
	}
	return nil
}
