package keys

import (
	"encoding/binary"

	"github.com/trellisdb/trellis/storage/entity"
)

// Kinds of the counters of an application.
const (
	KindCounter     = 'N' // counter · dimensions · resolution · bucket → sum (merge operator)
	KindCounterName = 'n' // name → counter record; under the empty name, the next number
)

// resets stands in a counter's key in the place of its dimensions: all resets come after
// all sums.
const resets = 0x80

// AppendCounterName appends the key of a counter's record, by its folded name.
func AppendCounterName(dst []byte, p entity.Partition, app entity.AppID, name string) []byte {
	return append(appendApp(dst, p, app, KindCounterName), name...)
}

// CounterNameRange bounds the records of all counters, in order of their names.
func CounterNameRange(p entity.Partition, app entity.AppID) (lower, upper []byte) {
	return rangeOf(appendApp(nil, p, app, KindCounterName))
}

// DecodeCounterName is the inverse of AppendCounterName.
func DecodeCounterName(k []byte) (name string, ok bool) {
	if len(k) < 9 || k[8] != KindCounterName {
		return "", false
	}
	return string(k[9:]), true
}

// AppendCounterSeries appends what the keys of the sums of a counter with some dimensions
// begin with.
//
//	partition 4 · application 4 · 'N' · counter 4 · dimensions 1 · [user 16] · [group 16] · [category 00 01]
//
// Dimensions has a bit for each that is given: 1 user, 2 group, 4 category, whose zero
// bytes are written 00 ff.
func AppendCounterSeries(dst []byte, p entity.Partition, app entity.AppID, c entity.CounterID, d *entity.Dimensions) []byte {
	dst = binary.BigEndian.AppendUint32(appendApp(dst, p, app, KindCounter), uint32(c))
	given := d.Given()
	dst = append(dst, given)
	if given&entity.ByUser != 0 {
		dst = append(dst, d.User[:]...)
	}
	if given&entity.ByGroup != 0 {
		dst = append(dst, d.Group[:]...)
	}
	if given&entity.ByCategory != 0 {
		for i := range len(d.Category) {
			if dst = append(dst, d.Category[i]); d.Category[i] == 0 {
				dst = append(dst, escaped)
			}
		}
		dst = append(dst, 0, endMark)
	}
	return dst
}

// AppendBucket appends what ends a key of a counter: resolution 1 · begin of the
// bucket 8. The begin is not before the epoch.
func AppendBucket(dst []byte, r entity.Resolution, bucket int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, byte(r)), uint64(bucket))
}

// AppendCounterResets appends what the keys of a counter's resets begin with; AppendBucket
// ends them.
func AppendCounterResets(dst []byte, p entity.Partition, app entity.AppID, c entity.CounterID) []byte {
	return append(binary.BigEndian.AppendUint32(appendApp(dst, p, app, KindCounter), uint32(c)), resets)
}

// CounterRange bounds all sums of a counter, or if cleared is set all its
// resets.
func CounterRange(p entity.Partition, app entity.AppID, c entity.CounterID, cleared bool) (lower, upper []byte) {
	lower = binary.BigEndian.AppendUint32(appendApp(nil, p, app, KindCounter), uint32(c))
	if cleared {
		return rangeOf(append(lower, resets))
	}
	return lower, append(append([]byte(nil), lower...), resets)
}

// BucketRange bounds the keys that go on from a prefix with buckets of a resolution,
// which begin from from to to, both included.
func BucketRange(prefix []byte, r entity.Resolution, from, to int64) (lower, upper []byte) {
	lower = AppendBucket(append([]byte(nil), prefix...), r, from)
	upper = AppendBucket(append([]byte(nil), prefix...), r, to)
	return lower, Successor(upper)
}

// DecodeBucket reads what AppendBucket appended, from the end of a key.
func DecodeBucket(k []byte) (r entity.Resolution, bucket int64, ok bool) {
	if len(k) < 9 {
		return 0, 0, false
	}
	tail := k[len(k)-9:]
	r, bucket = entity.Resolution(tail[0]), int64(binary.BigEndian.Uint64(tail[1:]))
	return r, bucket, r < entity.Resolutions && bucket >= 0 && r.Bucket(bucket) == bucket
}

// CounterKey is what a key of kind KindCounter names.
type CounterKey struct {
	Counter    entity.CounterID
	Reset      bool // no sum, but when it was reset
	Dimensions entity.Dimensions
	Resolution entity.Resolution
	Bucket     int64
}

// DecodeCounter reads a key of kind KindCounter; ok is false for what no key of it can be.
func DecodeCounter(k []byte) (c CounterKey, ok bool) {
	if len(k) < 9+4+1+9 || k[8] != KindCounter {
		return c, false
	}
	if c.Resolution, c.Bucket, ok = DecodeBucket(k); !ok {
		return c, false
	}
	c.Counter = entity.CounterID(binary.BigEndian.Uint32(k[9:]))
	given, rest := k[13], k[14:len(k)-9]
	if given == resets {
		c.Reset = true
		return c, len(rest) == 0
	}
	if given&^(entity.ByUser|entity.ByGroup|entity.ByCategory) != 0 {
		return c, false
	}
	id := func(bit byte, to *entity.ID) bool {
		if given&bit == 0 {
			return true
		}
		if len(rest) < len(to) {
			return false
		}
		rest = rest[copy(to[:], rest):]
		return !to.IsZero()
	}
	if !id(entity.ByUser, &c.Dimensions.User) || !id(entity.ByGroup, &c.Dimensions.Group) {
		return c, false
	}
	if given&entity.ByCategory != 0 {
		if c.Dimensions.Category, ok = decodeCategory(rest); !ok {
			return c, false
		}
		rest = nil
	}
	return c, len(rest) == 0
}

func decodeCategory(b []byte) (string, bool) {
	var text []byte
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] != 0:
			text = append(text, b[i])
		case i+1 == len(b):
			return "", false
		case b[i+1] == escaped:
			text = append(text, 0)
			i++
		default:
			return string(text), b[i+1] == endMark && i+2 == len(b) && len(text) > 0
		}
	}
	return "", false
}

// IsCounter reports whether a key is one of a sum, by its kind alone.
func IsCounter(k []byte) bool { return len(k) > 9+4 && k[8] == KindCounter && k[13] != resets }
