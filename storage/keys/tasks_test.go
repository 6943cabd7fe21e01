package keys_test

import (
	"bytes"
	"cmp"
	"testing"

	"pgregory.net/rapid"

	"github.com/trellisdb/trellis/storage/entity"
	"github.com/trellisdb/trellis/storage/keys"
)

// TestOrderOfTheQueue: places sort by state, priority, application, time, id.
func TestOrderOfTheQueue(t *testing.T) {
	draw := func(t *rapid.T) keys.Queued {
		return keys.Queued{
			State: entity.TaskState(rapid.ByteRange(1, 2).Draw(t, "state")), Priority: entity.Priority(rapid.ByteRange(1, 3).Draw(t, "priority")),
			App: entity.AppID(rapid.Uint32Range(0, 3).Draw(t, "app")), NotBefore: rapid.Int64Min(0).Draw(t, "not before"),
			ID: entity.ID{rapid.Byte().Draw(t, "id")},
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t), draw(t)
		want := cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.App, b.App),
			cmp.Compare(a.NotBefore, b.NotBefore), bytes.Compare(a.ID[:], b.ID[:]))
		if got := bytes.Compare(keys.AppendQueued(nil, 2, a), keys.AppendQueued(nil, 2, b)); got != want {
			t.Errorf("%+v and %+v compare as %d, want %d", a, b, got, want)
		}
	})
}

// FuzzDecodeTaskKeys: what a decoder accepts, its encoder writes again.
func FuzzDecodeTaskKeys(f *testing.F) {
	f.Add(keys.AppendTask(nil, 1, entity.ID{1}))
	f.Add(keys.AppendQueued(nil, 1, keys.Queued{State: 1, Priority: 2, App: 16, NotBefore: 5, ID: entity.ID{1}}))
	f.Add(keys.AppendGone(nil, 1, 16))
	f.Add(keys.AppendToken(nil, 1, 16, [32]byte{1}))
	f.Fuzz(func(t *testing.T, k []byte) {
		p, ok := keys.PartitionOf(k)
		if !ok {
			return
		}
		var again [][]byte
		if id, ok := keys.DecodeTask(k); ok {
			again = append(again, keys.AppendTask(nil, p, id))
		}
		if q, ok := keys.DecodeQueued(k); ok {
			again = append(again, keys.AppendQueued(nil, p, q))
		}
		if app, ok := keys.DecodeGone(k); ok {
			again = append(again, keys.AppendGone(nil, p, app))
		}
		if app, hash, ok := keys.DecodeToken(k); ok {
			again = append(again, keys.AppendToken(nil, p, app, hash))
		}
		for _, a := range again {
			if !bytes.Equal(a, k) {
				t.Errorf("%x became %x", k, a)
			}
		}
	})
}
