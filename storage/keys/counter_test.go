package keys_test

import (
	"bytes"
	"cmp"
	"testing"

	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

func drawCounter(t *rapid.T) (c keys.CounterKey) {
	c.Counter = entity.CounterID(rapid.Uint32Range(1, 3).Draw(t, "counter"))
	c.Resolution = entity.Resolution(rapid.IntRange(0, entity.Resolutions-1).Draw(t, "resolution"))
	c.Bucket = c.Resolution.Bucket(rapid.Int64Range(0, 1<<50).Draw(t, "time"))
	if rapid.IntRange(0, 5).Draw(t, "reset") == 0 {
		c.Reset = true
		return c
	}
	if rapid.Bool().Draw(t, "user") {
		c.Dimensions.User = entity.ID{15: rapid.ByteRange(1, 3).Draw(t, "id")}
	}
	if rapid.Bool().Draw(t, "group") {
		c.Dimensions.Group = entity.ID{0: rapid.ByteRange(1, 3).Draw(t, "id")}
	}
	c.Dimensions.Category = rapid.SampledFrom([]string{"", "a", "a\x00", "a\x00b", "ab", "\x00", "\x01", "\xff", "é"}).Draw(t, "category")
	return c
}

func appendCounter(dst []byte, c *keys.CounterKey) []byte {
	if c.Reset {
		dst = keys.AppendCounterResets(dst, 2, 16, c.Counter)
	} else {
		dst = keys.AppendCounterSeries(dst, 2, 16, c.Counter, &c.Dimensions)
	}
	return keys.AppendBucket(dst, c.Resolution, c.Bucket)
}

// TestCounterKeys: a key is read as what it was made of, keys sort as the tuples do, and
// no key of another series lies among the buckets of one.
func TestCounterKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawCounter(t), drawCounter(t)
		ka, kb := appendCounter(nil, &a), appendCounter(nil, &b)
		if got, ok := keys.DecodeCounter(ka); !ok || got != a {
			t.Fatalf("%+v became %+v, %v", a, got, ok)
		}
		if keys.IsCounter(ka) == a.Reset {
			t.Fatalf("%+v: a sum %v", a, !a.Reset)
		}
		if got, want := bytes.Compare(ka, kb), compareCounters(&a, &b); got != want {
			t.Fatalf("%+v and %+v: order %d, want %d", a, b, got, want)
		}
		lower, upper := keys.BucketRange(ka[:len(ka)-9], a.Resolution, a.Bucket, a.Bucket)
		within := bytes.Compare(lower, kb) <= 0 && bytes.Compare(kb, upper) < 0
		if within != (a == b) {
			t.Fatalf("%+v lies in the range of %+v: %v", b, a, within)
		}
	})
}

func compareCounters(a, b *keys.CounterKey) int {
	which := func(c *keys.CounterKey) byte {
		if c.Reset {
			return 0x80
		}
		return c.Dimensions.Given()
	}
	return cmp.Or(
		cmp.Compare(a.Counter, b.Counter), cmp.Compare(which(a), which(b)),
		bytes.Compare(a.Dimensions.User[:], b.Dimensions.User[:]), bytes.Compare(a.Dimensions.Group[:], b.Dimensions.Group[:]),
		cmp.Compare(a.Dimensions.Category, b.Dimensions.Category),
		cmp.Compare(a.Resolution, b.Resolution), cmp.Compare(a.Bucket, b.Bucket),
	)
}

func FuzzDecodeCounterKeys(f *testing.F) {
	f.Add(appendCounter(nil, &keys.CounterKey{Counter: 1, Resolution: entity.Day, Bucket: 86_400_000, Dimensions: entity.Dimensions{User: entity.ID{1}, Category: "a\x00b"}}))
	f.Add(appendCounter(nil, &keys.CounterKey{Counter: 1, Reset: true}))
	f.Add(keys.AppendCounterName(nil, 2, 16, "a.b"))
	f.Fuzz(func(t *testing.T, k []byte) {
		if len(k) < 8 || !bytes.Equal(k[:8], []byte{0, 0, 0, 2, 0, 0, 0, 16}) {
			return
		}
		if name, ok := keys.DecodeCounterName(k); ok && !bytes.Equal(keys.AppendCounterName(nil, 2, 16, name), k) {
			t.Errorf("%x became %q", k, name)
		}
		if c, ok := keys.DecodeCounter(k); ok {
			if again := appendCounter(nil, &c); !bytes.Equal(again, k) {
				t.Errorf("%x became %+v and %x", k, c, again)
			}
		}
	})
}
