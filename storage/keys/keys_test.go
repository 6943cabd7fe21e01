package keys_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// FuzzDecode: what a decoder accepts, its encoder writes again.
func FuzzDecode(f *testing.F) {
	id := entity.ID{1, 2, 3}
	f.Add(keys.AppendEntity(nil, 1, 16, 2, 3))
	f.Add(keys.AppendID(nil, 1, 16, 2, id))
	f.Add(keys.AppendUnique(nil, 1, 16, 2, 3, "a\x00b"))
	f.Add(keys.AppendName(nil, 1, 16, 0, "items"))
	f.Add(keys.AppendLink(nil, 0, 1, keys.LinkMember, id, id))
	f.Add(keys.AppendRoute(nil, 16))
	f.Add(keys.AppendDedup(nil, 1, 7, [16]byte{9}))
	f.Add(keys.AppendListed(nil, 1, 16, entity.End{Collection: 2, Seq: 3}, keys.Feed, -4, 5))
	f.Add(keys.AppendListedIn(nil, 1, 16, 5, entity.End{Collection: 2, Seq: 3}, keys.Outbox))
	f.Fuzz(func(t *testing.T, k []byte) {
		p, ok := keys.PartitionOf(k)
		if !ok || len(k) < 9 {
			return
		}
		app := entity.AppID(uint32(k[4])<<24 | uint32(k[5])<<16 | uint32(k[6])<<8 | uint32(k[7]))
		var again [][]byte
		if c, seq, ok := keys.DecodeEntity(k); ok {
			again = append(again, keys.AppendEntity(nil, p, app, c, seq))
		}
		if c, id, ok := keys.DecodeID(k); ok {
			again = append(again, keys.AppendID(nil, p, app, c, id))
		}
		if owner, name, ok := keys.DecodeName(k); ok {
			again = append(again, keys.AppendName(nil, p, app, owner, name))
		}
		if relation, from, to, ok := keys.DecodeLink(k); ok {
			again = append(again, keys.AppendLink(nil, p, app, relation, from, to))
		}
		if epoch, request, ok := keys.DecodeDedup(k); ok && app == entity.NoApp {
			again = append(again, keys.AppendDedup(nil, p, epoch, request))
		}
		if owner, list, published, seq, ok := keys.DecodeListed(k); ok {
			again = append(again, keys.AppendListed(nil, p, app, owner, list, published, seq))
		}
		if seq, owner, list, ok := keys.DecodeListedIn(k); ok {
			again = append(again, keys.AppendListedIn(nil, p, app, seq, owner, list))
		}
		for _, a := range again {
			if !bytes.Equal(a, k) {
				t.Errorf("%x became %x", k, a)
			}
		}
	})
}

// TestOrderOfKeys: keys sort as their tuples do, the newest entity first.
func TestOrderOfKeys(t *testing.T) {
	type tuple struct {
		p   entity.Partition
		app entity.AppID
		c   entity.CollectionID
		seq entity.Seq
	}
	draw := func(t *rapid.T, name string) tuple {
		small := rapid.Uint32Range(0, 2)
		return tuple{
			entity.Partition(small.Draw(t, name)), entity.AppID(small.Draw(t, name)),
			entity.CollectionID(small.Draw(t, name)), entity.Seq(rapid.Uint64().Draw(t, name)),
		}
	}
	less := func(a, b tuple) bool {
		switch {
		case a.p != b.p:
			return a.p < b.p
		case a.app != b.app:
			return a.app < b.app
		case a.c != b.c:
			return a.c < b.c
		}
		return a.seq > b.seq
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, "a"), draw(t, "b")
		ka, kb := keys.AppendEntity(nil, a.p, a.app, a.c, a.seq), keys.AppendEntity(nil, b.p, b.app, b.c, b.seq)
		if got, want := bytes.Compare(ka, kb) < 0, less(a, b); got != want {
			t.Errorf("%+v before %+v: %v, want %v", a, b, got, want)
		}
		lower, upper := keys.EntityRange(a.p, a.app, a.c)
		inside := bytes.Compare(lower, kb) <= 0 && bytes.Compare(kb, upper) < 0
		if same := a.p == b.p && a.app == b.app && a.c == b.c; inside != same {
			t.Errorf("%+v in the range of %+v: %v", b, a, inside)
		}
	})
}

// FuzzUniqueStrings: two strings have one form exactly if they are equal after
// trimming and folding, and forms never are prefixes of one another.
func FuzzUniqueStrings(f *testing.F) {
	f.Add("Hammer", " hammer ")
	f.Add("a\x00", "a")
	f.Add(strings.Repeat("ä", 130), strings.Repeat("ä", 131))
	f.Fuzz(func(t *testing.T, a, b string) {
		ka, kb := keys.AppendUniqueString(nil, a), keys.AppendUniqueString(nil, b)
		same := keys.Fold(strings.TrimSpace(a)) == keys.Fold(strings.TrimSpace(b))
		if bytes.Equal(ka, kb) != same {
			t.Errorf("%q and %q: one form %v, want %v", a, b, !same, same)
		}
		if !same && (bytes.HasPrefix(ka, kb) || bytes.HasPrefix(kb, ka)) {
			t.Errorf("%q and %q: one form begins with the other", a, b)
		}
	})
}

// SameFold is what Fold makes equal, whatever shortcut it takes.
func TestSameFold(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"disabled", "DisableD", true},
		{"disabled", "d\u0130sabled", true},
		{"Kind", "\u212aind", true},
		{"disabled", "di\u017fabled", false},
		{"a", "ab", false},
		{"a\xff", "A\xff", true},
		{"", "\u0130", false},
	} {
		if got := keys.SameFold(tc.a, tc.b); got != tc.same || got != keys.SameFold(tc.b, tc.a) {
			t.Errorf("%q, %q: %v", tc.a, tc.b, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringMatching(`[aAiI\x{130}\x{131}sS\x{17f}kK\x{212a}\xff]{0,4}`)
		a, b := letters.Draw(t, "a"), letters.Draw(t, "b")
		if got, want := keys.SameFold(a, b), keys.Fold(a) == keys.Fold(b); got != want {
			t.Errorf("%q, %q: %v, want %v", a, b, got, want)
		}
	})
}
