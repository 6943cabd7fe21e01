package cursor

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/fault"
)

var key = &Key{1, 2, 3}

func TestRoundTrip(t *testing.T) {
	parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 3), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		mine := parts.Draw(t, "request")
		position := rapid.SliceOfN(rapid.Byte(), 0, MaxPosition).Draw(t, "position")
		text := Encode(key, Bind(mine...), position)
		if got, err := Decode(key, Bind(mine...), text); err != nil || !bytes.Equal(got, position) {
			t.Fatalf("Decode(%s) = %x, %v", text, got, err)
		}
		if strings.ContainsAny(text, "+/=&%") || len(text) > MaxText {
			t.Fatalf("%q is not safe in a URL", text)
		}
		other := parts.Draw(t, "other")
		same := len(mine) == len(other)
		for i := 0; same && i < len(mine); i++ {
			same = bytes.Equal(mine[i], other[i])
		}
		if _, err := Decode(key, Bind(other...), text); !same && !fault.Is(err, fault.IllegalArgument) {
			t.Fatalf("cursor of %x taken for %x: %v", mine, other, err)
		}
	})
}

func TestLongestPositionFits(t *testing.T) {
	if text := Encode(key, Fingerprint{}, make([]byte, MaxPosition)); len(text) != MaxText {
		t.Errorf("the longest cursor has %d characters, want %d", len(text), MaxText)
	}
}

func TestRefusals(t *testing.T) {
	f := Bind([]byte("request"))
	good := Encode(key, f, []byte("position"))
	for name, text := range map[string]string{
		"empty":           "",
		"rubbish":         "LTEyMzQ1Njc4OTA",
		"truncated":       good[:len(good)-1],
		"longer":          good + "A",
		"padded":          good + "=",
		"other alphabet":  strings.Repeat("/", len(good)),
		"of another key":  Encode(&Key{9}, f, []byte("position")),
		"very long":       strings.Repeat("A", 1<<20),
		"loose last bits": loosen(good),
	} {
		if _, err := Decode(key, f, text); !fault.Is(err, fault.IllegalArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if position, err := Decode(key, f, base64.RawURLEncoding.EncodeToString(raw)); !fault.Is(err, fault.IllegalArgument) {
				t.Errorf("bit %d of byte %d flipped: %x, %v", bit, i, position, err)
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
	mine := Bind([]byte("request"), nil)
	f.Add(Encode(key, mine, nil))
	f.Add(Encode(key, mine, bytes.Repeat([]byte{0xff}, MaxPosition)))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		position, err := Decode(key, mine, text)
		if err == nil && Encode(key, mine, position) != text {
			t.Fatalf("%q decodes to %x, which is written otherwise", text, position)
		}
		if err != nil && !fault.Is(err, fault.IllegalArgument) {
			t.Fatalf("%v", err)
		}
	})
}
