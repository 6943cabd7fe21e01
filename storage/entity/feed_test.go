package entity_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trellisdb/trellis/storage/entity"
)

// FuzzDecodeFeeds: what a decoder of the bodies of feeds' tasks accepts, its encoder writes
// again.
func FuzzDecodeFeeds(f *testing.F) {
	f.Add(entity.AppendFanOut(nil, &entity.FanOut{
		Audience: entity.Friends, ByMembers: true, User: entity.End{Collection: 1, Seq: 300}, Group: entity.End{Collection: 2, Seq: 1 << 40},
		Next: 7, Until: 90, Activities: []entity.Posted{{Seq: 1, Published: -5}, {Seq: 1 << 50, Published: 1700000000000}},
	}))
	f.Add(entity.AppendFanOut(nil, &entity.FanOut{Audience: entity.Followers}))
	f.Add(entity.AppendOutbox(nil, &entity.Outbox{Follower: entity.End{Collection: 1, Seq: 2}, Followed: entity.End{Collection: 1, Seq: 3}, After: entity.Posted{Seq: 9, Published: 4}, Until: 300}))
	f.Add([]byte{1, 9, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if body, err := entity.DecodeFanOut(b); err == nil {
			again, err := entity.DecodeFanOut(entity.AppendFanOut(nil, &body))
			if err != nil || cmp.Diff(body, again) != "" {
				t.Errorf("%+v became %+v, %v", body, again, err)
			}
			if len(body.Activities) > entity.MaxPosted {
				t.Errorf("%d activities", len(body.Activities))
			}
		}
		if body, err := entity.DecodeOutbox(b); err == nil {
			again, err := entity.DecodeOutbox(entity.AppendOutbox(nil, &body))
			if err != nil || body != again {
				t.Errorf("%+v became %+v, %v", body, again, err)
			}
		}
	})
}

// TestFeedBytes pins version 1 of the bodies.
func TestFeedBytes(t *testing.T) {
	f := entity.FanOut{Audience: entity.Members, Group: entity.End{Collection: 2, Seq: 3}, Next: 4, Until: 5, Activities: []entity.Posted{{Seq: 6, Published: -7}}}
	if got := entity.AppendFanOut(nil, &f); !bytes.Equal(got, []byte{1, 2, 0, 0, 0, 2, 3, 4, 5, 1, 6, 13}) {
		t.Errorf("fan-out % x", got)
	}
	o := entity.Outbox{Follower: entity.End{Collection: 1, Seq: 2}, Followed: entity.End{Collection: 3, Seq: 4}, After: entity.Posted{Seq: 5, Published: 6}, Until: 7}
	if got := entity.AppendOutbox(nil, &o); !bytes.Equal(got, []byte{1, 1, 2, 3, 4, 5, 12, 7}) {
		t.Errorf("outbox % x", got)
	}
	most := entity.FanOut{Next: 1<<64 - 1, Until: 1<<64 - 1}
	for range entity.MaxPosted {
		most.Activities = append(most.Activities, entity.Posted{Seq: 1<<64 - 1, Published: -1 << 63})
	}
	if n := len(entity.AppendFanOut(nil, &most)); n > entity.MaxTaskBody {
		t.Errorf("the largest body has %d bytes", n)
	}
}
