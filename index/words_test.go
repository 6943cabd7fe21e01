package index

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/keys"
)

func TestWords(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"", nil}, {" ", nil}, {"_", nil}, {"...", nil}, {"50% off", []string{"50", "off"}},
		{"a tale of two cities", []string{"a", "tale", "of", "two", "cities"}},
		{"the handmaid's tale", []string{"the", "handmaid's", "tale"}},
		{"o'brien", []string{"o'brien"}}, {"'quoted'", []string{"quoted"}}, {"dogs' x", []string{"dogs", "x"}},
		{"e.g. u.s.a.", []string{"e.g", "u.s.a"}}, {"end.next", []string{"end.next"}}, {"end. next", []string{"end", "next"}},
		{"well-known", []string{"well", "known"}}, {"snake_case _x_", []string{"snake_case", "_x_"}},
		{"3.25 1,000 1,a a,1 7:30", []string{"3.25", "1,000", "1", "a", "a", "1", "7", "30"}},
		{"key:value", []string{"key:value"}}, {"file-metadata/content;type", []string{"file", "metadata", "content", "type"}},
		{"émile zola’s", []string{"émile", "zola’s"}}, {"über-groß", []string{"über", "groß"}},
		{"東京タワー", []string{"東", "京", "タワー"}}, {"안녕 세계", []string{"안녕", "세계"}},
		{"e\u0301t\u00e9", []string{"e\u0301t\u00e9"}}, {"☺ ½ ²", []string{"½", "²"}}, {"a\x00b\nc", []string{"a", "b", "c"}},
	} {
		if diff := cmp.Diff(tc.want, Words(nil, tc.text)); diff != "" {
			t.Errorf("%q: -want +got\n%s", tc.text, diff)
		}
	}
}

// TestASCIIWordsAreTheOthers holds for any string of ASCII.
func TestASCIIWordsAreTheOthers(t *testing.T) {
	char := rapid.SampledFrom([]rune("aZ09_.:,;'\"- \n\x00"))
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(char).Draw(t, "text")
		if diff := cmp.Diff(appendWords(nil, s), appendASCIIWords(nil, s)); diff != "" {
			t.Fatalf("%q: -library +ours\n%s", s, diff)
		}
	})
}

// TestWordBoundariesArePinned fails when a release of the library, or a table of
// ours, divides text otherwise than entries on disk were made by.
func TestWordBoundariesArePinned(t *testing.T) {
	const want = "f55fbf1b1674f4eb7cf3dab2675a024f5b1acd21735f5d2c3bd634e12cd54e6f"
	h := sha256.New()
	step := rune(1)
	for r := rune(0); r <= utf8.MaxRune; r += step {
		if r >= 0x20000 { // ideographs, and planes without characters
			step = 101
		}
		if !utf8.ValidRune(r) {
			continue
		}
		c := string(r)
		text := keys.Fold(c + " a" + c + "b a" + c + " 1" + c + "2 _" + c + " א" + c + "א カ" + c + "カ " + c + c)
		_, _ = io.WriteString(h, strings.Join(Words(nil, text), "\x01"))
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Fatalf("digest of all words is %s, want %s", got, want)
	}
}

// FuzzWords states that words are pieces of the text, in its order, and no input
// makes it panic.
func FuzzWords(f *testing.F) {
	for _, seed := range []string{"", "a tale of two cities", "o'brien 3.25 é東京タワー", "\xff\xfea"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rest := text
		for _, w := range Words(nil, text) {
			_, after, ok := strings.Cut(rest, w)
			if !ok || w == "" {
				t.Fatalf("%q: word %q", text, w)
			}
			rest = after
		}
	})
}

func BenchmarkWords(b *testing.B) {
	for name, text := range map[string]string{
		"ascii": "a hammer of good steel, hardly used, with a handle of ash wood",
		"other": "ein hammer aus gutem stahl, kaum gebraucht, mit stiel aus eschenholz für geübte",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var list []string
			for b.Loop() {
				list = Words(list[:0], text)
			}
		})
	}
}
