package keys_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// drawValue draws values that are close to each other.
func drawValue(t *rapid.T, label string) entity.Value {
	class := entity.Class(rapid.IntRange(1, 4).Draw(t, label))
	v := entity.Value{Class: class}
	switch class {
	case entity.NumberClass:
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			v.Number = entity.Int(rapid.Int64().Draw(t, "int"))
		case 1:
			v.Number = entity.Float(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "float"))
		default:
			near := rapid.SampledFrom([]int64{0, 1 << 53, -1 << 53, math.MaxInt64 - 600, math.MinInt64 + 600}).Draw(t, "near")
			v.Number = entity.Int(near + rapid.Int64Range(-600, 600).Draw(t, "off"))
		}
	case entity.StringClass:
		v.String = keys.Fold(rapid.StringOf(rapid.SampledFrom([]rune("ab\x00\x01ÿ\uffff"))).Draw(t, "text"))
		v.String = strings.Repeat("x", rapid.SampledFrom([]int{0, 0, 126, 127, 128}).Draw(t, "pad")) + v.String
	case entity.BoolClass:
		v.Bool = rapid.Bool().Draw(t, "bool")
	}
	return v
}

// compare orders values as their forms must be, beyond the cut included.
func compare(a, b entity.Value) int {
	if a.Class != b.Class {
		return int(a.Class) - int(b.Class)
	}
	switch a.Class {
	case entity.NumberClass:
		return a.Number.Compare(b.Number)
	case entity.StringClass:
		return strings.Compare(a.String, b.String)
	case entity.BoolClass:
		if a.Bool == b.Bool {
			return 0
		} else if b.Bool {
			return -1
		}
		return 1
	}
	return 0
}

func TestFormsSortAsValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawValue(t, "a"), drawValue(t, "b")
		x, y := keys.AppendValue(nil, &a), keys.AppendValue(nil, &b)
		back, cut, ok := keys.DecodeValue(x)
		if !ok || cut && !strings.HasPrefix(a.String, back.String) || !cut && back != a {
			t.Fatalf("%+v became %+v, cut %v, ok %v", a, back, cut, ok)
		}
		_, otherCut, _ := keys.DecodeValue(y)
		want, got := compare(a, b), bytes.Compare(x, y)
		if got != want && !(got == 0 && cut && otherCut) && (got < 0) != (want < 0) || got == 0 && want != 0 && !cut {
			t.Fatalf("%+v %x against %+v %x: %d, want %d", a, x, b, y, got, want)
		}
		dx, dy := keys.AppendDescending(nil, &a), keys.AppendDescending(nil, &b)
		if a.Class == b.Class {
			got = -got
		}
		if down := bytes.Compare(dx, dy); (down < 0) != (got < 0) || (down > 0) != (got > 0) {
			t.Fatalf("%x against %x: %d descending, %d the other way", dx, dy, down, got)
		}
		tail := rapid.SliceOf(rapid.Byte()).Draw(t, "tail")
		if end := keys.ValueEnd(slices.Concat(x, tail), false); end != len(x) {
			t.Fatalf("%x ends at %d", x, end)
		}
		if end := keys.ValueEnd(slices.Concat(dx, tail), true); end != len(dx) {
			t.Fatalf("descending %x ends at %d", dx, end)
		}
		if a.Class == entity.StringClass {
			if head := a.String[:len(a.String)/2]; !bytes.HasPrefix(x, keys.AppendPrefix(nil, head)) {
				t.Fatalf("%x does not begin as %q", x, head)
			}
			if head := a.String[:len(a.String)/2]; !bytes.HasPrefix(keys.AppendWord(nil, a.String), keys.AppendWordPrefix(nil, head)) {
				t.Fatalf("word %q does not begin as %q", a.String, head)
			}
		}
	})
}

func FuzzValue(f *testing.F) {
	for _, v := range []entity.Value{
		{Class: entity.NumberClass, Number: entity.Int(math.MaxInt64)}, {Class: entity.NumberClass, Number: entity.Float(-2.5)},
		{Class: entity.StringClass, String: "a\x00b"}, {Class: entity.BoolClass, Bool: true}, {Class: entity.MissingClass},
	} {
		f.Add(keys.AppendValue(nil, &v))
		f.Add(keys.AppendDescending(nil, &v))
	}
	f.Fuzz(func(t *testing.T, form []byte) {
		for _, descending := range []bool{false, true} {
			if end := keys.ValueEnd(form, descending); end > len(form) || end == 0 {
				t.Fatalf("%x ends at %d", form, end)
			}
		}
		_, _, _ = keys.DecodeValue(form) // must not panic
	})
}

func FuzzDecodeIndex(f *testing.F) {
	a, b := entity.End{Collection: 1, Seq: 2}, entity.End{Collection: 3, Seq: 4}
	f.Add(keys.AppendTail(keys.AppendOrdered(nil, 1, 16, 2, 3), 7))
	f.Add(keys.AppendEdge(nil, 1, 16, keys.Outbound, a, 5, 6, b))
	f.Add(keys.AppendConnected(nil, 1, 16, a, 5, b))
	f.Add(keys.AppendVerb(nil, 1, 16, a, keys.Inbound, 5))
	f.Add(keys.AppendCreated(nil, 1, 16, 2, 3, 4))
	f.Fuzz(func(t *testing.T, k []byte) {
		p, ok := keys.PartitionOf(k)
		if !ok || len(k) < 9 {
			return
		}
		app := entity.AppID(uint32(k[4])<<24 | uint32(k[5])<<16 | uint32(k[6])<<8 | uint32(k[7]))
		var again [][]byte
		if direction, near, verb, eseq, far, ok := keys.DecodeEdge(k); ok {
			again = append(again, keys.AppendEdge(nil, p, app, direction, near, verb, eseq, far))
		}
		if source, verb, target, ok := keys.DecodeConnected(k); ok {
			again = append(again, keys.AppendConnected(nil, p, app, source, verb, target))
		}
		if end, direction, verb, ok := keys.DecodeVerb(k); ok {
			again = append(again, keys.AppendVerb(nil, p, app, end, direction, verb))
		}
		if kind, c, prop, rest, ok := keys.DecodeIndex(k); ok && kind == keys.KindOrdered {
			again = append(again, append(keys.AppendOrdered(nil, p, app, c, prop), rest...))
		}
		for _, got := range again {
			if !bytes.Equal(got, k) {
				t.Errorf("%x became %x", k, got)
			}
		}
	})
}
