package cursor

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/fault"
)

var key = &Key{1, 2, 3}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := listings().Draw(t, "listing")
		seq := entity.Seq(rapid.Uint64().Draw(t, "seq"))
		text := Encode(key, l, seq)
		if got, err := Decode(key, l, text); err != nil || got != seq {
			t.Fatalf("Decode(%s) = %d, %v", text, got, err)
		}
		if strings.ContainsAny(text, "+/=&%") || len(text) > MaxText {
			t.Fatalf("%q is not safe in a URL", text)
		}
		other := listings().Draw(t, "other")
		if _, err := Decode(key, other, text); other != l && !fault.Is(err, fault.IllegalArgument) {
			t.Fatalf("cursor of %+v taken for %+v: %v", l, other, err)
		}
	})
}

func listings() *rapid.Generator[Listing] {
	return rapid.Custom(func(t *rapid.T) Listing {
		return Listing{
			App:         entity.AppID(rapid.Uint32().Draw(t, "app")),
			Collection:  entity.CollectionID(rapid.Uint32().Draw(t, "collection")),
			OldestFirst: rapid.Bool().Draw(t, "oldest first"),
		}
	})
}

func TestRefusals(t *testing.T) {
	l := Listing{App: 17, Collection: 3}
	good := Encode(key, l, 42)
	for name, text := range map[string]string{
		"empty":           "",
		"rubbish":         "LTEyMzQ1Njc4OTA",
		"truncated":       good[:len(good)-1],
		"longer":          good + "A",
		"padded":          good + "=",
		"other alphabet":  strings.Repeat("/", len(good)),
		"of another key":  Encode(&Key{9}, l, 42),
		"very long":       strings.Repeat("A", 1<<20),
		"loose last bits": loosen(good),
	} {
		if _, err := Decode(key, l, text); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if seq, err := Decode(key, l, base64.RawURLEncoding.EncodeToString(raw)); !fault.Is(err, fault.IllegalArgument) {
				t.Errorf("bit %d of byte %d flipped: %d, %v", bit, i, seq, err)
			}
			raw[i] ^= 1 << bit
		}
	}
}

// loosen changes bits of the last character that stand for nothing, if the
// length leaves any.
func loosen(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(s)%4 == 0 {
		return s[:len(s)-2]
	}
	i := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + string(alphabet[i^1])
}

func FuzzDecode(f *testing.F) {
	l := Listing{App: 16, Collection: 1, OldestFirst: true}
	f.Add(Encode(key, l, 1))
	f.Add(Encode(key, l, math.MaxUint64))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		seq, err := Decode(key, l, text)
		if err == nil && Encode(key, l, seq) != text {
			t.Fatalf("%q decodes to %d, which is written otherwise", text, seq)
		}
		if err != nil && !fault.Is(err, fault.IllegalArgument) {
			t.Fatalf("%v", err)
		}
	})
}
