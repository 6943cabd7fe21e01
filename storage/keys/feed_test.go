package keys_test

import (
	"bytes"
	"cmp"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// TestOrderOfLists: what was published last comes first, whatever the time, and of what
// was published at the same time what was added last.
func TestOrderOfLists(t *testing.T) {
	type entry struct {
		owner     entity.End
		list      byte
		published int64
		seq       entity.Seq
	}
	draw := func(t *rapid.T, name string) entry {
		small := rapid.Uint32Range(0, 1)
		return entry{
			entity.End{Collection: entity.CollectionID(small.Draw(t, name)), Seq: entity.Seq(small.Draw(t, name))},
			rapid.SampledFrom([]byte{keys.Outbox, keys.Feed}).Draw(t, name),
			rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, -1, math.MinInt64, math.MaxInt64})).Draw(t, name),
			entity.Seq(rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 2)).Draw(t, name)),
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, "a"), draw(t, "b")
		ka := keys.AppendListed(nil, 3, 16, a.owner, a.list, a.published, a.seq)
		kb := keys.AppendListed(nil, 3, 16, b.owner, b.list, b.published, b.seq)
		want := cmp.Or(
			cmp.Compare(a.owner.Collection, b.owner.Collection), cmp.Compare(a.owner.Seq, b.owner.Seq), cmp.Compare(a.list, b.list),
			cmp.Compare(b.published, a.published), cmp.Compare(b.seq, a.seq),
		)
		if got := bytes.Compare(ka, kb); got != want {
			t.Errorf("%+v and %+v: %d, want %d", a, b, got, want)
		}
		var back entry
		var ok bool
		if back.owner, back.list, back.published, back.seq, ok = keys.DecodeListed(ka); !ok || back != a {
			t.Errorf("%+v became %+v", a, back)
		}
		in := keys.AppendListedIn(nil, 3, 16, a.seq, a.owner, a.list)
		if seq, owner, list, ok := keys.DecodeListedIn(in); !ok || seq != a.seq || owner != a.owner || list != a.list {
			t.Errorf("%+v became %d %v %d", a, seq, owner, list)
		}
		lower, upper := keys.ListRange(3, 16, a.owner, a.list)
		if inside := bytes.Compare(lower, kb) <= 0 && bytes.Compare(kb, upper) < 0; inside != (a.owner == b.owner && a.list == b.list) {
			t.Errorf("%+v in the list of %+v: %v", b, a, inside)
		}
		if published, ok := keys.DecodePublished(keys.AppendPublished(nil, a.published)); !ok || published != a.published {
			t.Errorf("published %d became %d", a.published, published)
		}
	})
}
